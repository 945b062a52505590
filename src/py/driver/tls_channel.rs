//! TLS between a transport of the loop and a protocol: what is read is decrypted into the protocol's buffer.

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PySequence, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::ProtocolBase;
use crate::py::border;
use crate::py::buffer::filled;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::tls::{Decrypted, TlsRecords, Unencrypted, is_ssl_error};
use crate::records::RecordCounter;

/// The most records that are decrypted in a turn of the loop. OpenSSL takes up to 45 µs for a `KeyUpdate`, of 27 bytes.
const RECORDS_PER_TURN: usize = 100;
/// The most ciphertext that is taken in a turn of the loop while no plaintext passes.
const SMALL: usize = 3 << 10;
/// The most ciphertext that costs less to copy than to be lent as a part of the buffer.
const COPIED: usize = 4 << 10;

/// Base class of a protocol with TLS: the work for each chunk that is read, and for each write.
///
/// What comes before and after the time in which plaintext passes is the subclass's: `_receive` gets the chunk then. So is what
/// waits for a later turn: `_wait` gets it, and calls `buffer_updated` with it then.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct TlsChannel(Guarded<State>);

struct State {
    /// What all transports of the loop read ciphertext into.
    buffer: Py<PySequence>,
    /// The part of it that is read into while no plaintext passes.
    small: Py<PySequence>,
    /// Counts records while plaintext passes.
    counter: RecordCounter,
    open: Option<Open>,
}

/// What there is while plaintext passes.
struct Open {
    records: Py<TlsRecords>,
    /// The `write` of the transport beneath.
    write: Py<PyAny>,
    /// The `is_closing` of the transport beneath.
    is_closing: Py<PyAny>,
    protocol: Above,
}

/// The protocol above.
enum Above {
    ProtocolBase(Py<ProtocolBase>),
    /// Another `asyncio.BufferedProtocol`.
    Other(Py<PyAny>),
}

#[pymethods]
impl TlsChannel {
    /// Make one that reads ciphertext into the buffers of its loop; all other arguments are the subclass's.
    #[new]
    #[pyo3(signature = (buffers, *_args, **_named))]
    fn new(
        buffers: &Bound<'_, PyAny>,
        _args: &Bound<'_, PyTuple>,
        _named: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let buffer = buffers.getattr(intern!(buffers.py(), "ciphertext"))?.cast_into::<PySequence>()?;
        let small = buffer.get_slice(0, SMALL)?.unbind();
        let buffer = buffer.unbind();
        Ok(Self(Guarded::new(State { buffer, small, counter: RecordCounter::new(), open: None })))
    }

    /// Let plaintext pass between a transport and a protocol.
    fn _open(
        &self,
        records: Py<TlsRecords>,
        transport: &Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = transport.py();
        let protocol = match protocol.cast::<ProtocolBase>() {
            Ok(protocol) => Above::ProtocolBase(protocol.clone().unbind()),
            Err(_) => Above::Other(protocol.clone().unbind()),
        };
        let write = transport.getattr(intern!(py, "write"))?.unbind();
        let is_closing = transport.getattr(intern!(py, "is_closing"))?.unbind();
        let mut state = self.state(py)?;
        state.open = Some(Open { records, write, is_closing, protocol });
        state.counter = RecordCounter::new();
        Ok(())
    }

    /// Let no plaintext pass any more.
    #[pyo3(name = "_shut")]
    fn shut(&self, py: Python<'_>) -> PyResult<()> {
        // What is let go of may look at this channel, so it is dropped when that can be borrowed again.
        let _held = self.state(py)?.open.take();
        Ok(())
    }

    /// Whether writes are discarded: no plaintext passes, or the transport beneath is closing.
    pub fn is_closing(&self, py: Python<'_>) -> PyResult<bool> {
        let is_closing = match &self.state(py)?.open {
            None => return Ok(true),
            Some(open) => open.is_closing.clone_ref(py),
        };
        is_closing.call0(py)?.is_truthy(py)
    }

    /// Give what is to be read into.
    fn get_buffer(&self, py: Python<'_>, sizehint: isize) -> PyResult<Py<PySequence>> {
        let _ = sizehint;
        let state = self.state(py)?;
        Ok(if state.open.is_some() { &state.buffer } else { &state.small }.clone_ref(py))
    }

    /// Take what was read, or as much of it as a turn of the loop has time for.
    fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let py = slf.py();
        let buffer = slf.get().state(py)?.buffer.bind(py).clone();
        let (taken, copy) = filled(&PyBuffer::get(&buffer)?, nbytes, |ciphertext| {
            let mut this = slf.get().state(py)?;
            let taken = match this.open {
                Some(_) => this.counter.take(ciphertext, RECORDS_PER_TURN),
                None => nbytes.min(SMALL),
            };
            Ok((taken, (taken <= COPIED).then(|| PyBytes::new(py, &ciphertext[..taken]))))
        })?;
        if taken < nbytes {
            border::channel::wait(slf, buffer.get_slice(taken, nbytes)?.as_any())?;
        }
        let chunk = match copy {
            Some(copy) => copy.into_any(),
            None => buffer.get_slice(0, taken)?.into_any(),
        };
        Self::decrypt(slf, &chunk)
    }

    /// Write plaintext. A channel that lets none pass discards it.
    fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let (records, write) = match &slf.get().state(py)?.open {
            None => return Ok(()),
            Some(open) => (open.records.clone_ref(py), open.write.clone_ref(py)),
        };
        match records.get().encrypt(data, |ciphertext| write.call1(py, (ciphertext,)).map(drop)) {
            Ok(()) => Ok(()),
            Err(Unencrypted { error, .. }) if is_ssl_error(py, &error)? => border::channel::end(slf, error.value(py)),
            Err(Unencrypted { error, whole: true }) => Err(error),
            Err(Unencrypted { error, whole: false }) => Self::cut(slf, error),
        }
    }

    // The protocol knows the transport, and that this channel.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.buffer)?;
        visit.call(&this.small)?;
        let Some(open) = &this.open else { return Ok(()) };
        visit.call(&open.records)?;
        visit.call(&open.write)?;
        visit.call(&open.is_closing)?;
        match &open.protocol {
            Above::ProtocolBase(protocol) => visit.call(protocol),
            Above::Other(protocol) => visit.call(protocol),
        }
    }

    fn __clear__(&self, py: Python<'_>) -> PyResult<()> {
        self.shut(py)
    }
}

impl TlsChannel {
    #[inline]
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Decrypts a chunk into the protocol's buffer.
    fn decrypt(slf: &Bound<'_, Self>, chunk: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let open = slf.get().state(py)?.open.as_ref().map(|open| open.clone_ref(py));
        let Some(Open { records, write, protocol, .. }) = open else {
            return border::channel::receive(slf, chunk);
        };
        let room = protocol.buffer(py, chunk.len()?)?;
        let Decrypted { len, reply, end } = match records.get().decrypt(chunk, &room) {
            Ok(decrypted) => decrypted,
            Err(error) => return Self::cut(slf, error),
        };
        if let Some(reply) = reply {
            write.call1(py, (reply,))?;
        }
        if len > 0 {
            protocol.updated(py, len)?;
        }
        match end {
            Some(end) => border::channel::end(slf, end.value(py)),
            None => Ok(()),
        }
    }

    /// Ends the transport at once, since what was interrupted cannot go on: some of it is done.
    #[cold]
    fn cut(slf: &Bound<'_, Self>, error: PyErr) -> PyResult<()> {
        border::channel::abort(slf)?;
        Err(error)
    }
}

impl Open {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            records: self.records.clone_ref(py),
            write: self.write.clone_ref(py),
            is_closing: self.is_closing.clone_ref(py),
            protocol: match &self.protocol {
                Above::ProtocolBase(protocol) => Above::ProtocolBase(protocol.clone_ref(py)),
                Above::Other(protocol) => Above::Other(protocol.clone_ref(py)),
            },
        }
    }
}

impl Above {
    /// Gives what plaintext goes into.
    fn buffer<'py>(&self, py: Python<'py>, sizehint: usize) -> PyResult<Bound<'py, PySequence>> {
        match self {
            Self::ProtocolBase(protocol) => protocol.get().buffer(py),
            Self::Other(protocol) => {
                Ok(protocol.bind(py).call_method1(intern!(py, "get_buffer"), (sizehint,))?.cast_into()?)
            }
        }
    }

    /// Hands on plaintext that is in it.
    fn updated(&self, py: Python<'_>, nbytes: usize) -> PyResult<()> {
        match self {
            Self::ProtocolBase(protocol) => ProtocolBase::buffer_updated(protocol.bind(py), nbytes),
            Self::Other(protocol) => protocol.bind(py).call_method1(intern!(py, "buffer_updated"), (nbytes,)).map(drop),
        }
    }
}
