//! Errors as Python values: the caller's are raised, the peer's are carried by `Failed`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::fault::Fault;

pyo3::import_exception!(mintws.errors, LocalProtocolError);

/// Returns the `RemoteProtocolError` for a fault of the peer.
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

/// Returns the `RemoteProtocolError` of a connection that an exception has ended, with the exception as its cause.
pub fn interrupted<'py>(py: Python<'py>, cause: &PyErr) -> PyResult<Bound<'py, PyAny>> {
    let error = remote(py, &Fault::Interrupted)?;
    error.setattr("__cause__", cause.value(py))?;
    Ok(error)
}

/// Wraps a `RemoteProtocolError` in a `Failed`.
pub fn failed<'py>(py: Python<'py>, error: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "mintws.events", "Failed")?.call1((error,))
}

/// Returns the error of a wrong call.
pub fn local(message: impl std::fmt::Display) -> PyErr {
    LocalProtocolError::new_err(message.to_string())
}
