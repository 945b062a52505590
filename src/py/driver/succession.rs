//! A coroutine that is followed by another in the same task.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::awaitable::Step;
use crate::py::guarded::Guarded;

/// A coroutine that is followed by another, however it ends: a handler, and the closing of its WebSocket.
///
/// As a coroutine of Python it would be one that awaits the first, whose frame would be entered each time that the first goes on.
///
/// Args:
///     first: called when the task begins; returns the first coroutine.
///     then: called with the exception that `first` or its coroutine has raised, or `None`; returns the other coroutine.
#[pyclass(frozen, module = "mintws._core")]
pub struct Succession(Guarded<Stage>);

enum Stage {
    Fresh { first: Py<PyAny>, then: Py<PyAny> },
    First { coroutine: Py<PyAny>, then: Py<PyAny> },
    Last(Py<PyAny>),
    Done,
}

#[pymethods]
impl Succession {
    #[new]
    fn new(first: Py<PyAny>, then: Py<PyAny>) -> Self {
        Self(Guarded::new(Stage::Fresh { first, then }))
    }

    /// The name shown for its task: that of the coroutine that runs.
    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let named = match &*self.0.borrow(py)? {
            Stage::First { coroutine, .. } | Stage::Last(coroutine) => coroutine.clone_ref(py),
            Stage::Fresh { .. } | Stage::Done => py.get_type::<Self>().into_any().unbind(),
        };
        named.getattr(py, "__qualname__")
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::step(slf, None)?.into_python(slf.py())
    }

    /// Resume it with a value, as for a coroutine.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::step(slf, Some(value))?.into_python(slf.py())
    }

    /// Raise an exception in the coroutine that runs.
    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Some(coroutine) = Self::begun(slf)? else {
            return Err(PyRuntimeError::new_err("it has ended"));
        };
        let thrown = match (value, traceback) {
            (_, Some(traceback)) => coroutine.call_method1(py, "throw", (kind, value, traceback)),
            (Some(value), None) => coroutine.call_method1(py, "throw", (kind, value)),
            (None, None) => coroutine.call_method1(py, "throw", (kind,)),
        };
        let step = match thrown {
            Ok(value) => Ok(Step::Yield(value)),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(Step::Return(py.None())),
            Err(error) => Err(error),
        };
        Self::go_on(slf, step)?.into_python(py)
    }

    /// End it: the coroutine that runs is closed, and none follows.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let stage = std::mem::replace(&mut *slf.get().0.borrow_mut(py)?, Stage::Done);
        match stage {
            Stage::First { coroutine, .. } | Stage::Last(coroutine) => coroutine.call_method0(py, "close").map(drop),
            Stage::Fresh { .. } | Stage::Done => Ok(()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(stage) = self.0.visited(&visit) else { return Ok(()) };
        match &*stage {
            Stage::Fresh { first: one, then } | Stage::First { coroutine: one, then } => {
                visit.call(one)?;
                visit.call(then)
            }
            Stage::Last(coroutine) => visit.call(coroutine),
            Stage::Done => Ok(()),
        }
    }
}

impl Succession {
    /// Runs until there is something to wait for, or the end.
    fn step(slf: &Bound<'_, Self>, value: Option<&Bound<'_, PyAny>>) -> PyResult<Step> {
        match Self::begun(slf)? {
            Some(coroutine) => Self::go_on(slf, Step::of(coroutine.bind(slf.py()), value)),
            None => Err(PyRuntimeError::new_err("it has ended")),
        }
    }

    /// Returns the coroutine that runs, which begins with the first call.
    fn begun(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let (first, then) = match &*slf.get().0.borrow(py)? {
            Stage::First { coroutine, .. } | Stage::Last(coroutine) => return Ok(Some(coroutine.clone_ref(py))),
            Stage::Fresh { first, then } => (first.clone_ref(py), then.clone_ref(py)),
            Stage::Done => return Ok(None),
        };
        let (coroutine, stage) = match first.call0(py) {
            Ok(coroutine) => (coroutine.clone_ref(py), Stage::First { coroutine, then }),
            Err(error) => {
                let coroutine = then.call1(py, (error.into_value(py),))?;
                (coroutine.clone_ref(py), Stage::Last(coroutine))
            }
        };
        *slf.get().0.borrow_mut(py)? = stage;
        Ok(Some(coroutine))
    }

    /// Goes on after a step: with the other coroutine, if the first has ended by it.
    fn go_on(slf: &Bound<'_, Self>, step: PyResult<Step>) -> PyResult<Step> {
        let py = slf.py();
        if let Ok(Step::Yield(_)) = step {
            return step;
        }
        let stage = std::mem::replace(&mut *slf.get().0.borrow_mut(py)?, Stage::Done);
        let Stage::First { then, .. } = stage else { return step };
        let last = then.call1(py, (step.err().map(|error| error.into_value(py)),))?;
        let step = Step::of(last.bind(py), None)?;
        if let Step::Yield(_) = step {
            *slf.get().0.borrow_mut(py)? = Stage::Last(last);
        }
        Ok(step)
    }
}
