//! State that only an attached thread touches, which under the GIL is one at a time.

use std::cell::{Ref, RefCell, RefMut};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyVisit, Python};

/// What a frozen class holds to be changed nevertheless.
///
/// `PyO3`'s own check of what is borrowed is made for threads that run side by side: an atomic exchange each time. The asyncio driver
/// borrows eleven times for a message that it echoes, which by sampling was 8 % of the message's time.
pub struct Attached<T>(RefCell<T>);

// SAFETY: what is here is reached with a `Python` or by the collector's traversal, so by a thread that is attached. The module is loaded
// under the GIL only (`super::require_gil`), and by the main interpreter only (`super::require_main_interpreter`): there is one such
// thread at a time, and it sees what those before it wrote. What is lent stays borrowed while Python lets another thread run, since the
// guard cannot leave its thread: there, to borrow it is an error.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Attached<T> {}

impl<T> Attached<T> {
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
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

#[cold]
fn taken() -> PyErr {
    PyRuntimeError::new_err("Already borrowed")
}
