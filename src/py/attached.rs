//! State that only an attached thread touches, which under the GIL is one at a time.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyVisit, Python};

#[cfg(not(Py_GIL_DISABLED))]
pub use std::cell::{Ref, RefMut};
#[cfg(Py_GIL_DISABLED)]
pub use std::sync::{MutexGuard as Ref, MutexGuard as RefMut};

/// Mutable state of a frozen class. State that is borrowed already cannot be borrowed again: that is an error.
///
/// `PyO3`'s own check of what is borrowed is made for threads that run side by side: an atomic exchange each time. The asyncio driver
/// borrows eleven times for a message that it echoes, which by sampling was 8 % of the message's time. So only a Python without a GIL
/// pays for a lock, which is never waited for: a thread that waits for another may be one that it waits for.
#[cfg(not(Py_GIL_DISABLED))]
pub struct Attached<T>(std::cell::RefCell<T>);
#[cfg(Py_GIL_DISABLED)]
pub struct Attached<T>(std::sync::Mutex<T>);

// SAFETY: what is here is reached with a `Python` or by the collector's traversal, so by a thread that is attached. The module is loaded
// under the GIL only (`super::require_gil`), and by the main interpreter only (`super::require_main_interpreter`): there is one such
// thread at a time, and it sees what those before it wrote. What is lent stays borrowed while Python lets another thread run, since the
// guard cannot leave its thread: there, to borrow it is an error.
#[cfg(not(Py_GIL_DISABLED))]
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Attached<T> {}

#[cfg(not(Py_GIL_DISABLED))]
impl<T> Attached<T> {
    pub const fn new(value: T) -> Self {
        Self(std::cell::RefCell::new(value))
    }

    /// Lends it to be read.
    #[inline]
    pub fn borrow<'a>(&'a self, _: Python<'a>) -> PyResult<Ref<'a, T>> {
        self.0.try_borrow().map_err(|_| taken())
    }

    /// Lends it to be changed.
    #[inline]
    pub fn borrow_mut<'a>(&'a self, _: Python<'a>) -> PyResult<RefMut<'a, T>> {
        self.0.try_borrow_mut().map_err(|_| taken())
    }

    /// Lends it to the collector, unless it is being changed.
    pub fn visited<'a>(&'a self, _: &PyVisit<'a>) -> Option<Ref<'a, T>> {
        self.0.try_borrow().ok()
    }
}

#[cfg(Py_GIL_DISABLED)]
impl<T> Attached<T> {
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Lends it to be read.
    pub fn borrow<'a>(&'a self, _: Python<'a>) -> PyResult<Ref<'a, T>> {
        self.lock().ok_or_else(taken)
    }

    /// Lends it to be changed.
    pub fn borrow_mut<'a>(&'a self, _: Python<'a>) -> PyResult<RefMut<'a, T>> {
        self.lock().ok_or_else(taken)
    }

    /// Lends it to the collector, unless it is lent.
    pub fn visited<'a>(&'a self, _: &PyVisit<'a>) -> Option<Ref<'a, T>> {
        self.lock()
    }

    fn lock(&self) -> Option<RefMut<'_, T>> {
        use std::sync::TryLockError::{Poisoned, WouldBlock};

        match self.0.try_lock() {
            Ok(lent) => Some(lent),
            // As with the GIL, a panic leaves it as it is.
            Err(Poisoned(lent)) => Some(lent.into_inner()),
            Err(WouldBlock) => None,
        }
    }
}

#[cold]
fn taken() -> PyErr {
    PyRuntimeError::new_err("Already borrowed")
}
