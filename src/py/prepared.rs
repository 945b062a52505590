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

/// The windows that permessage-deflate knows, from 8 bits on.
const WINDOWS: usize = 8;

/// A message that is encoded once and sent on many connections.
///
/// Args:
///     event: a whole `Text` or `Binary`.
///     level: how hard to compress, 0 to 9. It is compressed once for each size of window that a connection asks for, with no
///         context from other messages (RFC 7692 §7.1.1), and not at all before one does.
///
/// Raises:
///     LocalProtocolError: the message is a fragment, its text is no UTF-8, or `level` is out of its range.
///     TypeError: `event` is no message.
///
/// Hand it to `Connection.send`. Servers without compression share the very bytes; each client masks its own (RFC 6455 §5.3).
#[pyclass(frozen, module = "mintws")]
pub struct PreparedMessage {
    opcode: Opcode,
    /// The payload as it was given.
    plain: Py<PyBytes>,
    /// The whole frame of a server without compression.
    frame: Py<PyBytes>,
    level: u8,
    /// The payload compressed with an empty window of 8 to 15 bits, made when first asked for.
    deflated: Mutex<[Option<Py<PyBytes>>; WINDOWS]>,
}

/// Those of a call: positional and by name.
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

    // How it is copied and pickled: what was compressed is not kept.
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

    /// How many bytes the message has.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.plain.bind(py).as_bytes().len()
    }

    /// The frame of a server without compression.
    pub fn frame<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.frame.bind(py).clone()
    }

    /// The payload, compressed for a window of so many bits or, with `None`, as it is.
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
