//! The calls of an application of ASGI on its WebSocket. While that is open, they need no Python frame.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::awaitable::{Awaitable, RecvKind};
use super::websocket::WebSocketBase;
use crate::py::border;
use crate::py::guarded::Guarded;

/// Base class of the life of a WebSocket in an application of ASGI: `receive` and `send`.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct AsgiCycle(Guarded<Option<Py<WebSocketBase>>>);

#[pymethods]
impl AsgiCycle {
    #[new]
    #[pyo3(signature = (*_arguments))]
    fn new(_arguments: &Bound<'_, PyTuple>) -> Self {
        Self(Guarded::new(None))
    }

    /// The WebSocket, while it is open.
    #[getter(_open)]
    fn open<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, WebSocketBase>>> {
        Ok(self.0.borrow(py)?.as_ref().map(|websocket| websocket.bind(py).clone()))
    }

    #[setter(_open)]
    fn set_open(&self, py: Python<'_>, websocket: Option<Py<WebSocketBase>>) -> PyResult<()> {
        // A destructor may use this object, so drop the old value after the borrow has ended.
        let _old = std::mem::replace(&mut *self.0.borrow_mut(py)?, websocket);
        Ok(())
    }

    /// Wait for the next event and return it.
    fn receive<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().open(slf.py())? {
            Some(websocket) => reading(&websocket),
            None => border::asgicycle::receive(slf),
        }
    }

    /// Take an event of the application.
    ///
    /// Raises:
    ///     ClientDisconnected: the WebSocket has ended.
    ///     LocalProtocolError: the event is not allowed, or not now.
    fn send<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(websocket) = slf.get().open(slf.py())?
            && let Some(data) = data_of(message)?
        {
            return Ok(Awaitable::sending(&websocket, data.unbind(), None)?.into_bound(slf.py()).into_any());
        }
        border::asgicycle::send(slf, message)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.visited(&visit).map_or(Ok(()), |open| visit.call(&*open))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().set_open(slf.py(), None)
    }
}

fn reading<'py>(websocket: &Bound<'py, WebSocketBase>) -> PyResult<Bound<'py, PyAny>> {
    Ok(Awaitable::reading(websocket, RecvKind::Asgi)?.into_bound(websocket.py()).into_any())
}

/// Returns the payload of a `websocket.send` event; `None` if it is another event, has no payload, or is not a `dict`.
fn data_of<'py>(message: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = message.py();
    let Ok(message) = message.cast_exact::<PyDict>() else { return Ok(None) };
    let Some(kind) = message.get_item(intern!(py, "type"))? else { return Ok(None) };
    if !kind.cast_exact::<PyString>().is_ok_and(|kind| kind == "websocket.send") {
        return Ok(None);
    }
    match message.get_item(intern!(py, "bytes"))? {
        Some(data) if !data.is_none() => Ok(Some(data)),
        _ => message.get_item(intern!(py, "text")),
    }
}
