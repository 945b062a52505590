//! A message that is encoded once and sent on many connections.

use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::buffer::{frame_bytes, payload_of};
use super::errors::local;
use super::events::{self, Kind};
use crate::deflate::{DeflateSettings, Deflater};
use crate::encoder::Frame;
use crate::frame::{Opcode, RSV1};

/// The number of window sizes of permessage-deflate, from 8 bits.
const WINDOWS: usize = 8;

/// A message that is encoded once and sent on many connections.
///
/// Args:
///     event: a complete `Text` or `Binary`.
///     level: the compression level, 0 to 9. The message is compressed lazily, once for each window size in use, with no context
///         from other messages (RFC 7692 §7.1.1).
///
/// Raises:
///     LocalProtocolError: the message is a fragment, its text is not UTF-8, or `level` is out of range.
///     TypeError: `event` is not a message.
///
/// Pass it to `Connection.send`. Servers without compression share the same bytes; each client masks its own (RFC 6455 §5.3).
#[pyclass(frozen, module = "mintws")]
pub struct PreparedMessage {
    opcode: Opcode,
    /// Without compression.
    plain: SharedFrame,
    level: u8,
    /// Compressed with an empty window of 8 to 15 bits, on first use.
    deflated: Mutex<[Option<SharedFrame>; WINDOWS]>,
}

/// A complete frame of a server, which many connections send as it is.
pub struct SharedFrame {
    bytes: Py<PyBytes>,
    header_len: usize,
}

/// The arguments of a call: positional and by name.
type Arguments<'py> = ((Bound<'py, PyAny>,), HashMap<&'static str, u8>);

#[pymethods]
impl PreparedMessage {
    #[new]
    #[pyo3(signature = (event, *, level=None), text_signature = "(event, *, level=6)")]
    fn new(py: Python<'_>, event: &Bound<'_, PyAny>, level: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let level =
            level.map_or(Some(6), events::number).ok_or_else(|| PyTypeError::new_err("level must be an int"))?;
        let Some(level) = u8::try_from(level).ok().filter(|level| *level <= 9) else {
            return Err(local("the level of compression is 0 to 9"));
        };
        let Some((kind @ (Kind::Text | Kind::Binary), data, Some(fin))) = events::fields(event) else {
            return Err(PyTypeError::new_err("PreparedMessage takes a Text or a Binary"));
        };
        if !events::is_final(fin) {
            return Err(local("a prepared message is whole: give it with fin=True"));
        }
        let opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
        let plain = SharedFrame::new(py, opcode, payload_of(kind, data)?, false)?;
        Ok(Self { opcode, plain, level, deflated: Mutex::new([const { None }; WINDOWS]) })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let kind = if self.opcode == Opcode::Text { "text" } else { "binary" };
        format!("<PreparedMessage of {kind}, {} bytes>", self.len(py))
    }

    // Copies and pickles do not contain the compressed payloads.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'py>> {
        let kind = if self.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
        let event = events::with_data(PyBytes::new(py, self.payload(py)).into_any(), kind, true)?;
        Ok(((event,), HashMap::from([("level", self.level)])))
    }

    /// Whether it is text, and its bytes.
    #[getter(_content)]
    fn content<'py>(&self, py: Python<'py>) -> (bool, Bound<'py, PyBytes>) {
        (self.opcode == Opcode::Text, PyBytes::new(py, self.payload(py)))
    }
}

impl PreparedMessage {
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The length of the message in bytes.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.payload(py).len()
    }

    /// The message, uncompressed.
    pub fn payload<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        self.plain.payload(py)
    }

    /// The frame of a server, compressed for a window of the given bits, or uncompressed for `None`.
    pub fn frame(&self, py: Python<'_>, window_bits: Option<u8>) -> PyResult<SharedFrame> {
        let Some(window_bits) = window_bits else { return Ok(self.plain.clone_ref(py)) };
        let mut all = self.deflated.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let compress = || {
            let mut out = Vec::new();
            let settings = DeflateSettings { window_bits, level: self.level, memory_level: 8, context_takeover: false };
            Deflater::new(settings).compress(self.payload(py), true, &mut out);
            SharedFrame::new(py, self.opcode, &out, true)
        };
        match all.get_mut(usize::from(window_bits.saturating_sub(8))) {
            Some(Some(known)) => Ok(known.clone_ref(py)),
            Some(place) => Ok(place.insert(compress()?).clone_ref(py)),
            None => compress(),
        }
    }
}

impl SharedFrame {
    fn new(py: Python<'_>, opcode: Opcode, payload: &[u8], compressed: bool) -> PyResult<Self> {
        let rsv = if compressed { RSV1 } else { 0 };
        let frame = Frame::whole(opcode, rsv, payload);
        Ok(Self { bytes: frame_bytes(py, &frame)?.unbind(), header_len: frame.header().len() })
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { bytes: self.bytes.clone_ref(py), header_len: self.header_len }
    }

    pub fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.bytes.bind(py).clone()
    }

    pub fn payload<'a>(&'a self, py: Python<'a>) -> &'a [u8] {
        &self.bytes.bind(py).as_bytes()[self.header_len..]
    }
}
