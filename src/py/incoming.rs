//! Received messages as Python objects. A payload is touched once, on its way into its `str` or `bytes`.

use std::mem::MaybeUninit;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};
use pyo3::{ffi, intern};

use super::border;
use super::buffer::new_bytes;
use super::events::{self, Kind as EventKind};
use crate::decoder::Payload;
use crate::fault::Fault;
use crate::frame::Opcode;

/// The largest buffer kept for the next text, in bytes.
const KEPT_SCRATCH: usize = 16 * 1024;

/// The reason why a message cannot be delivered.
pub enum Failure<'py> {
    /// The peer broke a rule.
    Fault(Fault),
    /// The peer broke a rule of an extension.
    Peer(Bound<'py, PyAny>),
    /// An exception, such as `MemoryError`.
    Python(PyErr),
}

impl From<PyErr> for Failure<'_> {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// A received message or fragment.
#[derive(Clone)]
pub struct Message<'py> {
    /// `Text` or `Binary`.
    pub kind: EventKind,
    pub data: Bound<'py, PyAny>,
    pub fin: bool,
}

impl<'py> Message<'py> {
    pub fn into_event(self) -> PyResult<Bound<'py, PyAny>> {
        events::with_data(self.data, self.kind, self.fin)
    }

    /// Converts it to an event of ASGI.
    pub fn into_asgi(self) -> PyResult<Bound<'py, PyAny>> {
        // To copy a dict and to replace a value costs half as much as to add two.
        static TEXT: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
        static BINARY: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
        let py = self.data.py();
        let (key, empty) = match self.kind {
            EventKind::Text => (intern!(py, "text"), &TEXT),
            _ => (intern!(py, "bytes"), &BINARY),
        };
        let empty = empty.get_or_try_init(py, || {
            let event = PyDict::new(py);
            event.set_item(intern!(py, "type"), intern!(py, "websocket.receive"))?;
            event.set_item(key, py.None())?;
            Ok::<_, PyErr>(event.unbind())
        })?;
        let event = empty.bind(py).copy()?;
        event.set_item(key, self.data)?;
        Ok(event.into_any())
    }
}

/// Creates the Python objects of a message. Its payload is touched once.
#[inline]
pub fn message<'py>(
    py: Python<'py>,
    opcode: Opcode,
    fin: bool,
    payload: &Payload<'_>,
    text_as_bytes: bool,
    scratch: &mut Vec<u8>,
) -> Result<Message<'py>, Failure<'py>> {
    if opcode != Opcode::Text {
        return Ok(Message { kind: EventKind::Binary, data: bytes_of(py, payload)?.into_any(), fin });
    }
    let data = if text_as_bytes {
        let bytes = bytes_of(py, payload)?;
        if !payload.is_checked() && simdutf8::basic::from_utf8(bytes.as_bytes()).is_err() {
            return Err(Failure::Fault(Fault::InvalidUtf8));
        }
        bytes.into_any()
    } else {
        text_of(py, payload, scratch)?
    };
    Ok(Message { kind: EventKind::Text, data, fin })
}

/// Creates the `str` of a text payload.
#[inline]
fn text_of<'py>(
    py: Python<'py>,
    payload: &Payload<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Bound<'py, PyAny>, Failure<'py>> {
    let Ok(len) = ffi::Py_ssize_t::try_from(payload.len()) else {
        return Err(Failure::Fault(Fault::LengthOverflow));
    };
    if len > 0 {
        // SAFETY: a new str of `len` ASCII characters has room for `len` bytes, nobody else has seen it, and if not all of them
        // are written with ASCII it is dropped unseen.
        #[allow(unsafe_code)]
        unsafe {
            let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(len, 127))?;
            let room = ffi::PyUnicode_1BYTE_DATA(text.as_ptr()).cast::<MaybeUninit<u8>>();
            if payload.write_ascii_to(std::slice::from_raw_parts_mut(room, payload.len())) {
                return Ok(text);
            }
        }
    }
    let bytes = payload.unmasked(scratch);
    // SAFETY: `bytes` is a live slice of `len` bytes.
    #[allow(unsafe_code)]
    let text = unsafe {
        Bound::from_owned_ptr_or_opt(py, ffi::PyUnicode_DecodeUTF8(bytes.as_ptr().cast(), len, std::ptr::null()))
    };
    if scratch.capacity() > KEPT_SCRATCH {
        *scratch = Vec::new();
    }
    text.ok_or_else(|| {
        let error = PyErr::fetch(py);
        if error.is_instance_of::<pyo3::exceptions::PyUnicodeDecodeError>(py) {
            Failure::Fault(Fault::InvalidUtf8)
        } else {
            Failure::Python(error)
        }
    })
}

/// Creates the `bytes` of a payload.
#[inline]
pub fn bytes_of<'py>(py: Python<'py>, payload: &Payload<'_>) -> PyResult<Bound<'py, PyBytes>> {
    new_bytes(py, payload.len(), |room| payload.write_to(room))
}

/// Passes a message through the extensions written in Python.
pub fn transformed<'py>(
    transforms: &Bound<'py, PyAny>,
    opcode: Opcode,
    rsv: u8,
    data: Bound<'py, PyBytes>,
    text_as_bytes: bool,
) -> PyResult<Result<Message<'py>, Failure<'py>>> {
    let py = transforms.py();
    let text = opcode == Opcode::Text;
    let (data, error): (Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyAny>>) =
        border::transforms::receive(transforms, text, rsv, data)?.extract()?;
    let whole = |kind, data| Ok(Message { kind, data, fin: true });
    Ok(match (data, error) {
        (Some(data), None) if !text => whole(EventKind::Binary, data.into_any()),
        (Some(data), None) => match simdutf8::basic::from_utf8(data.as_bytes()) {
            Ok(_) if text_as_bytes => whole(EventKind::Text, data.into_any()),
            Ok(text) => whole(EventKind::Text, PyString::new(py, text).into_any()),
            Err(_) => Err(Failure::Fault(Fault::InvalidUtf8)),
        },
        (_, Some(error)) => Err(Failure::Peer(error)),
        (None, None) => Err(Failure::Python(PyTypeError::new_err("an extension gave no data"))),
    })
}
