//! The windows in which an HTTP/2 connection sends, and its output buffer, as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::attached::{Attached, RefMut};
use super::buffer::with_bytes;
use crate::data_sender;

/// What an HTTP/2 connection sends: DATA within the peer's windows, and the frames of the HTTP/2 library in between.
///
/// A stream's window is 0 once it has closed.
#[pyclass(frozen, module = "mintws._core")]
pub struct DataSender(Attached<data_sender::DataSender>);

#[pymethods]
impl DataSender {
    #[new]
    fn new(window: i64, max_frame_size: usize) -> Self {
        Self(Attached::new(data_sender::DataSender::new(window, max_frame_size)))
    }

    /// Write frames of any type but DATA.
    pub fn write(&self, py: Python<'_>, frames: &[u8]) -> PyResult<()> {
        self.state(py)?.write(frames);
        Ok(())
    }

    /// Write DATA and take it off both windows.
    fn write_data(&self, py: Python<'_>, stream: u32, data: &Bound<'_, PyAny>) -> PyResult<()> {
        with_bytes(data, |data| {
            self.state(py)?.write_data(stream, data);
            Ok(())
        })
    }

    /// Give what is to be written to the transport.
    pub fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut this = self.state(py)?;
        let out = PyBytes::new(py, this.output());
        this.clear();
        Ok(out)
    }

    /// Have what is sent on a stream wait behind what waits there already, or no more.
    fn block(&self, py: Python<'_>, stream: u32, blocked: bool) -> PyResult<()> {
        self.state(py)?.block(stream, blocked);
        Ok(())
    }

    /// Give the window of a stream, or of the connection (0).
    fn window(&self, py: Python<'_>, stream: u32) -> PyResult<i64> {
        Ok(self.state(py)?.window(stream))
    }

    /// Set the window of a stream, which may be new, or of the connection (0).
    fn set_window(&self, py: Python<'_>, stream: u32, window: i64) -> PyResult<()> {
        self.state(py)?.set_window(stream, window);
        Ok(())
    }

    /// Forget a stream that has closed.
    fn drop(&self, py: Python<'_>, stream: u32) -> PyResult<()> {
        self.state(py)?.drop_stream(stream);
        Ok(())
    }

    /// Note how many bytes of a stream wait for the windows.
    fn set_pending(&self, py: Python<'_>, stream: u32, pending: usize) -> PyResult<()> {
        self.state(py)?.set_pending(stream, pending);
        Ok(())
    }

    /// Give how many bytes wait for the windows, of a stream or of all (0).
    pub fn pending(&self, py: Python<'_>, stream: u32) -> PyResult<usize> {
        Ok(self.state(py)?.pending(stream))
    }

    /// The largest frame that the peer takes.
    #[getter]
    fn max_frame_size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.max_frame_size())
    }

    #[setter]
    fn set_max_frame_size(&self, py: Python<'_>, size: usize) -> PyResult<()> {
        self.state(py)?.set_max_frame_size(size);
        Ok(())
    }

    /// Give how many useful bytes have gone out at once since the last call.
    fn tally(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.tally())
    }
}

impl DataSender {
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, data_sender::DataSender>> {
        self.0.borrow_mut(py)
    }

    /// Gives all that is to be written, with DATA at its end; `None` if the DATA has to wait.
    #[inline]
    pub fn send<'py>(&self, py: Python<'py>, stream: u32, data: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut this = self.state(py)?;
        if !this.send(stream, data) {
            return Ok(None);
        }
        let out = PyBytes::new(py, this.output());
        this.clear();
        Ok(Some(out))
    }

    /// Whether DATA of a stream may be sent at once, as far as the windows go.
    pub fn is_open(&self, py: Python<'_>, stream: u32) -> PyResult<bool> {
        Ok(self.state(py)?.is_open(stream))
    }
}
