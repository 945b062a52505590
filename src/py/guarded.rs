//! A `RefCell` guarded by the GIL.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyVisit, Python};

#[cfg(not(Py_GIL_DISABLED))]
pub use std::cell::{Ref, RefMut};
#[cfg(Py_GIL_DISABLED)]
pub use std::sync::{MutexGuard as Ref, MutexGuard as RefMut};

/// Mutable state of a frozen class. Borrowing it while it is borrowed is an error.
///
/// `PyO3`'s own borrow check supports concurrent threads by an atomic exchange for each borrow. The asyncio driver borrows eleven
/// times for a message that it echoes, which was 8 % of the message's time by sampling. So only a free-threaded Python pays for a
/// lock. It never blocks, because that could deadlock.
#[cfg(not(Py_GIL_DISABLED))]
pub struct Guarded<T>(std::cell::RefCell<T>);
#[cfg(Py_GIL_DISABLED)]
pub struct Guarded<T>(std::sync::Mutex<T>);

// SAFETY: the state is reached with a `Python` or by the collector's traversal, so by an attached thread. The module is imported only
// under the GIL (`super::require_gil`) and only by the main interpreter (`super::require_main_interpreter`), so there is one such thread
// at a time, and it sees the writes of earlier ones. State stays borrowed while Python lets another thread run, because the guard
// cannot leave its thread; borrowing it there is an error.
#[cfg(not(Py_GIL_DISABLED))]
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Guarded<T> {}

#[cfg(not(Py_GIL_DISABLED))]
impl<T> Guarded<T> {
    pub const fn new(value: T) -> Self {
        Self(std::cell::RefCell::new(value))
    }

    /// Borrows the state immutably.
    #[inline]
    pub fn borrow<'a>(&'a self, _: Python<'a>) -> PyResult<Ref<'a, T>> {
        self.0.try_borrow().map_err(|_| taken())
    }

    /// Borrows the state mutably.
    #[inline]
    pub fn borrow_mut<'a>(&'a self, _: Python<'a>) -> PyResult<RefMut<'a, T>> {
        self.0.try_borrow_mut().map_err(|_| taken())
    }

    /// Borrows the state for the collector, unless it is mutably borrowed.
    pub fn visited<'a>(&'a self, _: &PyVisit<'a>) -> Option<Ref<'a, T>> {
        self.0.try_borrow().ok()
    }
}

#[cfg(Py_GIL_DISABLED)]
impl<T> Guarded<T> {
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Borrows the state immutably.
    pub fn borrow<'a>(&'a self, _: Python<'a>) -> PyResult<Ref<'a, T>> {
        self.lock().ok_or_else(taken)
    }

    /// Borrows the state mutably.
    pub fn borrow_mut<'a>(&'a self, _: Python<'a>) -> PyResult<RefMut<'a, T>> {
        self.lock().ok_or_else(taken)
    }

    /// Borrows the state for the collector, unless it is borrowed.
    pub fn visited<'a>(&'a self, _: &PyVisit<'a>) -> Option<Ref<'a, T>> {
        self.lock()
    }

    fn lock(&self) -> Option<RefMut<'_, T>> {
        use std::sync::TryLockError::{Poisoned, WouldBlock};

        match self.0.try_lock() {
            Ok(lent) => Some(lent),
            // As with the GIL, a panic leaves the state unchanged.
            Err(Poisoned(lent)) => Some(lent.into_inner()),
            Err(WouldBlock) => None,
        }
    }
}

#[cold]
fn taken() -> PyErr {
    PyRuntimeError::new_err("Already borrowed")
}
