//! permessage-deflate on whole messages, for a connection on which another extension stands next to the wire.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::errors;
use crate::deflate::{DeflateSettings, Deflater, Inflater};
use crate::fault::Fault;

/// permessage-deflate on whole messages, for a connection on which another extension stands next to the wire.
#[pyclass(module = "mintws._core")]
pub struct Contexts {
    inflater: Inflater,
    deflater: Deflater,
    limit: usize,
}

#[pymethods]
impl Contexts {
    #[new]
    fn new(inflate: (u8, bool), deflate: (u8, bool, u8, u8, usize), limit: Option<usize>) -> Self {
        let (window_bits, context_takeover, level, memory_level, _threshold) = deflate;
        Self {
            inflater: Inflater::new(inflate.0, inflate.1),
            deflater: Deflater::new(DeflateSettings { window_bits, level, memory_level, context_takeover }),
            limit: limit.unwrap_or(usize::MAX),
        }
    }

    /// Compress a message (RFC 7692 §7.2.1).
    fn deflate<'py>(&mut self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut out = Vec::new();
        self.deflater.compress(data, true, &mut out);
        PyBytes::new(py, &out)
    }

    /// Undo what the peer's `deflate` did; `RemoteProtocolError` for what does not inflate, or to more than the limit.
    fn inflate<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        let inflated = self.inflater.inflate(data, self.limit, &mut out).and_then(|()| self.inflater.finish());
        match inflated {
            Ok(()) => Ok(PyBytes::new(py, &out)),
            Err(Fault::MessageTooBig { .. }) => {
                let fault = Fault::MessageTooBig { limit: self.limit as u64 };
                Err(PyErr::from_value(errors::remote(py, &fault)?))
            }
            Err(fault) => Err(PyErr::from_value(errors::remote(py, &fault)?)),
        }
    }
}
