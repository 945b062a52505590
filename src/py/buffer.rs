//! Bytes between Rust and Python, without unnecessary copies.

use std::mem::MaybeUninit;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::errors::local;
use super::events::Kind;
use crate::encoder::Frame;

#[inline]
pub fn frame_bytes<'py>(py: Python<'py>, frame: &Frame<'_>) -> PyResult<Bound<'py, PyBytes>> {
    new_bytes(py, frame.len(), |room| frame.write_to(room))
}

/// Joins frames to one `bytes`.
pub fn frames_bytes<'py>(py: Python<'py>, frames: &[Frame<'_>]) -> PyResult<Bound<'py, PyBytes>> {
    new_bytes(py, frames.iter().map(Frame::len).sum(), |mut room| {
        for frame in frames {
            let place;
            (place, room) = room.split_at_mut(frame.len());
            frame.write_to(place);
        }
    })
}

/// Creates a `bytes` that `write` fills completely.
#[inline]
pub fn new_bytes(
    py: Python<'_>,
    len: usize,
    write: impl FnOnce(&mut [MaybeUninit<u8>]),
) -> PyResult<Bound<'_, PyBytes>> {
    let size = ffi::Py_ssize_t::try_from(len)?;
    if size == 0 {
        return Ok(PyBytes::new(py, b""));
    }
    // SAFETY: a new bytes object of `len` bytes that nobody else has seen; the slice is dropped before it is handed on. Those of
    // one byte may be shared, but only once they are made from that byte.
    #[allow(unsafe_code)]
    unsafe {
        let bytes = Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))?;
        let room = ffi::PyBytes_AsString(bytes.as_ptr()).cast::<MaybeUninit<u8>>();
        write(std::slice::from_raw_parts_mut(room, len));
        Ok(bytes.cast_into_unchecked())
    }
}

/// Borrows the bytes of a `bytes`, `bytearray` or contiguous `memoryview`.
pub fn with_bytes<T>(data: &Bound<'_, PyAny>, use_them: impl FnOnce(&[u8]) -> PyResult<T>) -> PyResult<T> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return use_them(bytes.as_bytes());
    }
    let buffer = PyBuffer::<u8>::get(data).map_err(|_| {
        PyTypeError::new_err("receive() takes bytes, or a bytearray or memoryview whose items are bytes in one piece")
    })?;
    if !buffer.is_c_contiguous() {
        return Err(PyTypeError::new_err("receive() takes a memoryview that is in one piece"));
    }
    // SAFETY: the exporter keeps the memory in place while `buffer` lives. What another thread writes into it meanwhile is its own
    // loss: a payload is read once, into the object that holds it from then on.
    #[allow(unsafe_code)]
    let bytes = unsafe {
        match buffer.item_count() {
            0 => &[],
            len => std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), len),
        }
    };
    use_them(bytes)
}

/// Borrows the first `len` bytes of a read buffer.
pub fn filled<T>(buffer: &PyBuffer<u8>, len: usize, use_them: impl FnOnce(&[u8]) -> PyResult<T>) -> PyResult<T> {
    if !buffer.is_c_contiguous() || len > buffer.item_count() {
        return Err(PyTypeError::new_err("what is read into must be in one piece, and large enough"));
    }
    // SAFETY: the exporter keeps its memory in place while `buffer` lives, and nobody reads into it again before this returns.
    #[allow(unsafe_code)]
    let bytes = unsafe {
        match len {
            0 => &[],
            len => std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), len),
        }
    };
    use_them(bytes)
}

pub fn payload_of<'a>(kind: Kind, data: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        if kind == Kind::Text && simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(local("Text was given bytes that are not UTF-8; send them as Binary"));
        }
        return Ok(bytes);
    }
    Ok(utf8_of(data.cast::<PyString>()?)?.as_bytes())
}

pub fn utf8_of<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|_| local("a str with surrogates has no form in UTF-8; encode it yourself and send Binary"))
}

/// Returns the UTF-8 of a `str` as a `memoryview`.
pub fn view_of_text<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    let lender = Bound::new(py, TextBuffer { text: text.clone().unbind() })?;
    // SAFETY: `lender` is a live object.
    #[allow(unsafe_code)]
    unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyMemoryView_FromObject(lender.as_ptr()))
    }
}

/// A `str` that exports its UTF-8 by the buffer protocol.
#[pyclass(frozen, module = "mintws._core")]
struct TextBuffer {
    text: Py<PyString>,
}

#[pymethods]
#[allow(unsafe_code)]
#[allow(clippy::needless_pass_by_value, reason = "PyO3 passes it so")]
impl TextBuffer {
    // SAFETY: CPython calls this with a buffer to be filled; the text, which `slf` keeps alive, never changes.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: std::ffi::c_int) -> PyResult<()> {
        let bytes = slf.get().text.bind(slf.py()).to_str()?;
        let len = ffi::Py_ssize_t::try_from(bytes.len())?;
        let start = bytes.as_ptr().cast_mut().cast();
        // SAFETY: `view` is ours to fill, `start` is valid for `len` bytes and read-only is asked for.
        if unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 1, flags) } < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}
