//! The windows in which an HTTP/2 connection sends, and its output buffer, as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::buffer::with_bytes;
use super::guarded::{Guarded, RefMut};
use crate::data_sender;
use crate::turns::Work;

/// The sending half of an HTTP/2 connection: DATA within the peer's windows, and the frames of the HTTP/2 library in between.
///
/// A stream's window is 0 once it has closed.
#[pyclass(frozen, module = "mintws._core")]
pub struct DataSender(Guarded<data_sender::DataSender>);

#[pymethods]
impl DataSender {
    #[new]
    fn new(window: i64, max_frame_size: usize) -> Self {
        Self(Guarded::new(data_sender::DataSender::new(window, max_frame_size)))
    }

    /// Write frames of any type but DATA.
    pub fn write(&self, py: Python<'_>, frames: &[u8]) -> PyResult<()> {
        self.state(py)?.write(frames);
        Ok(())
    }

    /// Write DATA, or keep it until the windows let it pass; nothing is sent on a stream that has ended.
    fn send(&self, py: Python<'_>, stream: u32, data: &Bound<'_, PyAny>) -> PyResult<()> {
        with_bytes(data, |data| {
            self.state(py)?.send(stream, data);
            Ok(())
        })
    }

    /// Send no more on a stream than waits there; say whether its end is to be written now, and not once that has gone out.
    fn finish(&self, py: Python<'_>, stream: u32) -> PyResult<bool> {
        Ok(self.state(py)?.finish(stream))
    }

    /// Send nothing more on a stream, and drop what waits there.
    fn close(&self, py: Python<'_>, stream: u32) -> PyResult<()> {
        self.state(py)?.close(stream);
        Ok(())
    }

    /// Give how many bytes wait for the windows, of a stream or of all (0).
    pub fn pending(&self, py: Python<'_>, stream: u32) -> PyResult<usize> {
        Ok(self.state(py)?.pending(stream))
    }

    /// Give what is to be written to the transport.
    pub fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut this = self.state(py)?;
        let out = PyBytes::new(py, this.output());
        this.clear();
        Ok(out)
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

    /// Forget a stream that has closed, and what waits there.
    fn drop(&self, py: Python<'_>, stream: u32) -> PyResult<()> {
        self.state(py)?.drop_stream(stream);
        Ok(())
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

    /// Give how many useful bytes have gone out since the last call.
    fn tally(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.tally())
    }
}

impl DataSender {
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, data_sender::DataSender>> {
        self.0.borrow_mut(py)
    }

    /// Has DATA written, or kept, and gives all that is to be written.
    #[inline]
    pub fn deliver<'py>(
        &self,
        py: Python<'py>,
        stream: u32,
        data: &[u8],
        frames: Frames,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut this = self.state(py)?;
        match frames {
            Frames::Any => this.send(stream, data),
            Frames::Pongs => this.answer(stream, data),
        }
        let out = PyBytes::new(py, this.output());
        this.clear();
        Ok(out)
    }

    /// Writes what the windows let pass, as far as there is time, and gives the streams whose end is to be written.
    pub fn pump(&self, py: Python<'_>, work: &mut Work) -> PyResult<Vec<u32>> {
        Ok(self.state(py)?.pump(work))
    }

    /// Gives how many bytes `pump` has written since the last call.
    pub fn take_pumped(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.take_pumped())
    }

    /// Gives how many bytes have waited on a stream for the windows, and then gone out.
    pub fn pumped(&self, py: Python<'_>, stream: u32) -> PyResult<u64> {
        Ok(self.state(py)?.pumped(stream))
    }

    /// Whether the windows let pass more than there was time for.
    pub fn is_behind(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.is_behind())
    }
}

/// The frames of a WebSocket that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    Any,
    /// What answers Pings by itself.
    Pongs,
}
