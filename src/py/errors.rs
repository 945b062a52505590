//! The faults of both sides as Python values: the caller's are raised, the peer's are carried by `Failed`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::fault::Fault;

pyo3::import_exception!(mintws.errors, LocalProtocolError);

/// Makes a `RemoteProtocolError` that says which rule the peer broke.
pub fn remote<'py>(py: Python<'py>, fault: &Fault) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "mintws.errors", "RemoteProtocolError")?;
    let named = PyDict::new(py);
    named.set_item("code", fault.close_code())?;
    named.set_item("section", fault.section())?;
    named.set_item("status", fault.http_status())?;
    named.set_item("hint", fault.hint())?;
    class.call((fault.to_string(),), Some(&named))
}

/// Makes the `RemoteProtocolError` of a connection whose input an exception has ended, which is its cause.
pub fn interrupted<'py>(py: Python<'py>, cause: &PyErr) -> PyResult<Bound<'py, PyAny>> {
    let error = remote(py, &Fault::Interrupted)?;
    error.setattr("__cause__", cause.value(py))?;
    Ok(error)
}

/// Makes a `Failed` around a `RemoteProtocolError`.
pub fn failed<'py>(py: Python<'py>, error: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "mintws.events", "Failed")?.call1((error,))
}

/// Makes the error that a wrong call raises.
pub fn local(message: impl std::fmt::Display) -> PyErr {
    LocalProtocolError::new_err(message.to_string())
}
