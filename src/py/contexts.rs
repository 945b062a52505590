//! permessage-deflate outside of `Endpoint`: the pool of contexts, and complete messages for a chain of extensions.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use super::errors;
use crate::deflate::{self, DeflateSettings, Deflater, Inflater};

/// A pool of compression contexts, which connections with permessage-deflate share message by message.
///
/// Args:
///     capacity: the number of deflaters kept between messages, and of inflaters.
///
/// A connection whose own context is gone takes over the least recently used one and primes it with the data that its next message may
/// refer to. A copy, by `copy.deepcopy` or pickle, is a new pool.
#[pyclass(frozen, module = "mintws._core")]
pub struct Pool {
    shared: Arc<deflate::Pool>,
    capacity: usize,
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (capacity=8))]
    fn new(capacity: usize) -> Self {
        Self { shared: Arc::new(deflate::Pool::new(capacity)), capacity }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (usize,)) {
        (slf.get_type(), (slf.get().capacity,))
    }
}

impl Pool {
    /// Returns the core's pool, if there is one.
    pub fn of(pool: Option<&Bound<'_, Self>>) -> Option<Arc<deflate::Pool>> {
        pool.map(|pool| Arc::clone(&pool.get().shared))
    }
}

/// permessage-deflate on complete messages, for a connection with another extension next to the wire.
#[pyclass(module = "mintws._core")]
pub struct Contexts {
    inflater: Inflater,
    deflater: Deflater,
}

#[pymethods]
impl Contexts {
    #[new]
    #[pyo3(signature = (inflate, deflate, limit, pool=None))]
    fn new(
        inflate: (u8, bool),
        deflate: (u8, bool, u8, u8, usize),
        limit: Option<u64>,
        pool: Option<&Bound<'_, Pool>>,
    ) -> Self {
        let (window_bits, context_takeover, level, memory_level, _threshold) = deflate;
        Self {
            inflater: Inflater::new(inflate.0, inflate.1, limit.unwrap_or(u64::MAX)).sharing(Pool::of(pool)),
            deflater: Deflater::new(DeflateSettings { window_bits, level, memory_level, context_takeover })
                .sharing(Pool::of(pool)),
        }
    }

    /// Compress a message (RFC 7692 §7.2.1).
    fn deflate<'py>(&mut self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut out = Vec::new();
        self.deflater.compress(data, true, &mut out);
        PyBytes::new(py, &out)
    }

    /// Prevent later messages from referring to earlier ones.
    fn forget(&mut self) {
        self.deflater.forget();
    }

    /// Decompress a message; raise `RemoteProtocolError` if it is corrupt or exceeds the limit.
    fn inflate<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        match self.inflater.inflate(data, usize::MAX, &mut out).and_then(|_| self.inflater.finish()) {
            Ok(()) => Ok(PyBytes::new(py, &out)),
            Err(fault) => Err(PyErr::from_value(errors::remote(py, &fault)?)),
        }
    }
}
