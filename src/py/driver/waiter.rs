//! The future that a reader waits for.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::py::guarded::Guarded;

/// A future, by asyncio's protocol, that `recv` waits for and that wakes its task at once.
///
/// An `asyncio.Future` wakes its task in the loop's next turn, which costs another call of the selector for each message that
/// answers another.
#[pyclass(frozen, freelist = 64, module = "mintws._core")]
pub struct Waiter {
    event_loop: Py<PyAny>,
    state: Guarded<State>,
    /// Set when it is yielded to a task, and reset by the task (PEP 3156).
    blocking: AtomicBool,
}

enum State {
    Pending,
    /// A task waits, with its callback and the context to run it in.
    Awaited(Py<PyAny>, Option<Py<PyAny>>),
    Done,
    /// Cancelled, with the message given to `cancel`.
    Cancelled(Option<Py<PyAny>>),
}

#[pymethods]
impl Waiter {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.blocking.load(Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Relaxed);
    }

    /// See `asyncio.Future.get_loop()`.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// See `asyncio.Future.add_done_callback()`.
    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(&self, py: Python<'_>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        self.move_to(py, State::Awaited(callback, context)).map(drop)
    }

    /// See `asyncio.Future.remove_done_callback()`.
    fn remove_done_callback(&self, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        Ok(usize::from(matches!(self.move_to(callback.py(), State::Pending)?, State::Awaited(..))))
    }

    /// See `asyncio.Future.done()`.
    #[pyo3(name = "done")]
    pub fn is_done(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(matches!(*self.state.borrow(py)?, State::Done | State::Cancelled(_)))
    }

    /// See `asyncio.Future.cancelled()`.
    fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(matches!(*self.state.borrow(py)?, State::Cancelled(_)))
    }

    /// See `asyncio.Future.result()`.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match &*self.state.borrow(py)? {
            State::Cancelled(message) => Err(cancelled(py, message.as_ref())?),
            _ => Ok(()),
        }
    }

    /// See `asyncio.Future.cancel()`.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        if this.is_done(py)? {
            return Ok(false);
        }
        if let State::Awaited(callback, context) = this.move_to(py, State::Cancelled(msg))? {
            this.call_soon(py, &callback, context, slf.as_any())?;
        }
        Ok(true)
    }

    /// Run the waiting task until it waits again. No task may be running.
    #[pyo3(name = "wake")]
    fn wake_with(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::wake(slf, done)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        let Some(state) = self.state.visited(&visit) else { return Ok(()) };
        match &*state {
            State::Awaited(callback, context) => {
                visit.call(callback)?;
                visit.call(context)
            }
            State::Cancelled(message) => visit.call(message),
            State::Pending | State::Done => Ok(()),
        }
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().move_to(slf.py(), State::Done).map(drop)
    }
}

impl Waiter {
    /// Replaces the state and returns the old one.
    fn move_to(&self, py: Python<'_>, state: State) -> PyResult<State> {
        Ok(std::mem::replace(&mut *self.state.borrow_mut(py)?, state))
    }

    /// Creates one that a task of `event_loop` is about to wait for.
    pub fn awaited(py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Bound<'_, Self>> {
        let new = Self { event_loop, state: Guarded::new(State::Pending), blocking: AtomicBool::new(true) };
        let new = Bound::new(py, new)?;
        super::track(&new);
        Ok(new)
    }

    /// Runs the waiting task until it waits again. No task may be running.
    ///
    /// The task is passed `done`, a completed `asyncio.Future`, instead of this one, because it can check that faster.
    pub fn wake(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_done(py)? {
            return Ok(());
        }
        let State::Awaited(callback, context) = slf.get().move_to(py, State::Done)? else { return Ok(()) };
        let woken = match &context {
            Some(context) => context.bind(py).call_method1(intern!(py, "run"), (&callback, done)),
            None => callback.bind(py).call1((done,)),
        };
        match woken {
            // The task did not run, because its context is entered already or another task runs. The loop is to run it.
            Err(error) if error.is_instance_of::<PyRuntimeError>(py) => {
                slf.get().call_soon(py, &callback, context, done)
            }
            woken => woken.map(drop),
        }
    }

    /// Wakes the task in the next turn of the loop.
    pub fn wake_soon(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        let event_loop = slf.get().event_loop.bind(slf.py());
        event_loop.call_method1("call_soon", (slf.getattr("wake")?, done)).map(drop)
    }

    fn call_soon(
        &self,
        py: Python<'_>,
        callback: &Py<PyAny>,
        context: Option<Py<PyAny>>,
        argument: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let named = PyDict::new(py);
        named.set_item("context", context)?;
        self.event_loop.bind(py).call_method("call_soon", (callback, argument), Some(&named)).map(drop)
    }
}

fn cancelled(py: Python<'_>, message: Option<&Py<PyAny>>) -> PyResult<PyErr> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "asyncio", "CancelledError")?;
    Ok(PyErr::from_value(match message {
        Some(message) => class.call1((message,))?,
        None => class.call0()?,
    }))
}
