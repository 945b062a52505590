//! What a reader waits for.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, intern};

/// What `recv` waits for: a future by asyncio's protocol that wakes its task at once.
///
/// An `asyncio.Future` wakes it in the loop's next turn, which costs another call of the selector for each message that answers
/// another.
#[pyclass(freelist = 64, module = "mintws._core")]
pub struct Arrival {
    event_loop: Py<PyAny>,
    state: State,
    /// Set by whoever yields it to a task, and taken back by the task (PEP 3156).
    #[pyo3(get, set, name = "_asyncio_future_blocking")]
    blocking: bool,
}

enum State {
    Pending,
    /// A task waits: its callback, and the context to run it in.
    Awaited(Py<PyAny>, Option<Py<PyAny>>),
    Done,
    /// With the message that `cancel` was given.
    Cancelled(Option<Py<PyAny>>),
}

#[pymethods]
impl Arrival {
    /// As an `asyncio.Future` does.
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// As an `asyncio.Future` does.
    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(&mut self, callback: Py<PyAny>, context: Option<Py<PyAny>>) {
        self.state = State::Awaited(callback, context);
    }

    /// As an `asyncio.Future` does.
    fn remove_done_callback(&mut self, _callback: &Bound<'_, PyAny>) -> usize {
        usize::from(matches!(std::mem::replace(&mut self.state, State::Pending), State::Awaited(..)))
    }

    /// As an `asyncio.Future` does.
    pub fn done(&self) -> bool {
        matches!(self.state, State::Done | State::Cancelled(_))
    }

    /// As an `asyncio.Future` does.
    fn cancelled(&self) -> bool {
        matches!(self.state, State::Cancelled(_))
    }

    /// As an `asyncio.Future` does.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match &self.state {
            State::Cancelled(message) => Err(cancelled(py, message.as_ref())?),
            _ => Ok(()),
        }
    }

    /// As an `asyncio.Future` does.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let (event_loop, before) = {
            let mut this = slf.try_borrow_mut()?;
            if this.done() {
                return Ok(false);
            }
            (this.event_loop.clone_ref(py), std::mem::replace(&mut this.state, State::Cancelled(msg)))
        };
        if let State::Awaited(callback, context) = before {
            let named = PyDict::new(py);
            named.set_item("context", context)?;
            event_loop.bind(py).call_method("call_soon", (callback, slf), Some(&named))?;
        }
        Ok(true)
    }

    /// Run the task that waits until it waits again; only where no task runs.
    #[pyo3(name = "wake")]
    fn wake_with(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::wake(slf, done)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let State::Awaited(callback, context) = &self.state {
            visit.call(callback)?;
            visit.call(context)?;
        }
        if let State::Cancelled(message) = &self.state {
            visit.call(message)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.state = State::Done;
    }
}

impl Arrival {
    /// Makes one that a task of `event_loop` is about to wait for.
    pub fn awaited(py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Bound<'_, Self>> {
        let new = Bound::new(py, Self { event_loop, state: State::Pending, blocking: true })?;
        super::track(&new);
        Ok(new)
    }

    /// Runs the task that waits until it waits again; only where no task runs.
    ///
    /// The task is given `done`, a future that is done, in this one's place: an `asyncio.Future` it need not ask by name.
    pub fn wake(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        let before = {
            let mut this = slf.try_borrow_mut()?;
            if this.done() {
                return Ok(());
            }
            std::mem::replace(&mut this.state, State::Done)
        };
        match before {
            State::Awaited(callback, Some(context)) => {
                context.bind(slf.py()).call_method1(intern!(slf.py(), "run"), (callback, done))?;
            }
            State::Awaited(callback, None) => {
                callback.bind(slf.py()).call1((done,))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Wakes the task, at once unless another is running.
    pub fn wake_soon(slf: &Bound<'_, Self>, done: &Bound<'_, PyAny>) -> PyResult<()> {
        static CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        let event_loop = slf.try_borrow()?.event_loop.clone_ref(py);
        if CURRENT_TASK.import(py, "asyncio", "current_task")?.call1((&event_loop,))?.is_none() {
            Self::wake(slf, done)
        } else {
            event_loop.bind(py).call_method1("call_soon", (slf.getattr("wake")?, done)).map(drop)
        }
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
