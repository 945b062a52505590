//! permessage-deflate beside `Endpoint`: the pool of its contexts, and whole messages for a chain of extensions.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use super::errors;
use crate::deflate::{self, DeflateSettings, Deflater, Inflater};

/// The contexts that connections with permessage-deflate share, each for the length of a message.
///
/// Args:
///     capacity: how many deflaters it keeps between messages, and how many inflaters.
///
/// Connections take turns: the context that has waited longest is taken over by another that finds its own no more. It then learns what
/// that connection's next message may refer to. A copy, by `copy.deepcopy` or pickle, is a new pool.
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
    /// What the core shares, of a pool that there may be.
    pub fn of(pool: Option<&Bound<'_, Self>>) -> Option<Arc<deflate::Pool>> {
        pool.map(|pool| Arc::clone(&pool.get().shared))
    }
}

/// permessage-deflate on whole messages, for a connection on which another extension stands next to the wire.
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

    /// Let no later message refer to those before.
    fn forget(&mut self) {
        self.deflater.forget();
    }

    /// Undo what the peer's `deflate` did; `RemoteProtocolError` for what does not inflate, or to more than the limit.
    fn inflate<'py>(&mut self, py: Python<'py>, data: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        match self.inflater.inflate(data, usize::MAX, &mut out).and_then(|_| self.inflater.finish()) {
            Ok(()) => Ok(PyBytes::new(py, &out)),
            Err(fault) => Err(PyErr::from_value(errors::remote(py, &fault)?)),
        }
    }
}
