//! A message that is encoded once and sent on many connections.

use std::collections::HashMap;
use std::sync::Mutex;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::errors::local;
use super::events::{self, Kind};
use crate::deflate::{DeflateSettings, Deflater};
use crate::encoder::Encoder;
use crate::frame::Opcode;

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
    /// The uncompressed payload.
    plain: Py<PyBytes>,
    /// The complete frame of a server without compression.
    frame: Py<PyBytes>,
    level: u8,
    /// The payload compressed with an empty window of 8 to 15 bits, computed on first use.
    deflated: Mutex<[Option<Py<PyBytes>>; WINDOWS]>,
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
        let plain = match data.cast::<PyString>() {
            Ok(text) => PyBytes::new(
                py,
                text.to_str().map_err(|_| local("a str with surrogates has no form in UTF-8"))?.as_bytes(),
            ),
            Err(_) => data.cast::<PyBytes>()?.clone(),
        };
        if kind == Kind::Text && simdutf8::basic::from_utf8(plain.as_bytes()).is_err() {
            return Err(local("Text was given bytes that are not UTF-8; send them as Binary"));
        }
        let mut frame = Vec::new();
        Encoder::new(None, None).append_prepared(&mut frame, opcode, plain.as_bytes(), 0, false).map_err(local)?;
        Ok(Self {
            opcode,
            frame: PyBytes::new(py, &frame).unbind(),
            plain: plain.unbind(),
            level,
            deflated: Mutex::new([const { None }; WINDOWS]),
        })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let kind = if self.opcode == Opcode::Text { "text" } else { "binary" };
        format!("<PreparedMessage of {kind}, {} bytes>", self.len(py))
    }

    // Copies and pickles do not contain the compressed payloads.
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'py>> {
        let kind = if self.opcode == Opcode::Text { Kind::Text } else { Kind::Binary };
        let event = events::with_data(self.plain.bind(py).clone().into_any(), kind, true)?;
        Ok(((event,), HashMap::from([("level", self.level)])))
    }

    /// Whether it is text, and its bytes.
    #[getter(_content)]
    fn content<'py>(&self, py: Python<'py>) -> (bool, Bound<'py, PyBytes>) {
        (self.opcode == Opcode::Text, self.plain.bind(py).clone())
    }
}

impl PreparedMessage {
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The length of the message in bytes.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.plain.bind(py).as_bytes().len()
    }

    /// The frame of a server without compression.
    pub fn frame<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.frame.bind(py).clone()
    }

    /// The payload, compressed for a window of the given bits, or uncompressed for `None`.
    pub fn payload<'py>(&self, py: Python<'py>, window_bits: Option<u8>) -> Bound<'py, PyBytes> {
        let Some(window_bits) = window_bits else { return self.plain.bind(py).clone() };
        let mut all = self.deflated.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let compress = || {
            let mut out = Vec::new();
            let settings = DeflateSettings { window_bits, level: self.level, memory_level: 8, context_takeover: false };
            Deflater::new(settings).compress(self.plain.bind(py).as_bytes(), true, &mut out);
            PyBytes::new(py, &out)
        };
        match all.get_mut(usize::from(window_bits.saturating_sub(8))) {
            Some(Some(known)) => known.bind(py).clone(),
            Some(place) => {
                let made = compress();
                *place = Some(made.clone().unbind());
                made
            }
            None => compress(),
        }
    }
}
