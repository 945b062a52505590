//! One connected socket that threads share: what is read from it is decoded, and what it does not take waits to be written.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySequence, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::lock::Lock;
use super::system::{self, CAN_LEAD, Descriptor, Ready, Waker};
use crate::py::border;
use crate::py::buffer::{filled, with_bytes};
use crate::py::data_receiver::DataReceiver;
use crate::py::endpoint::Endpoint;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::queue::ReadyList;
use crate::py::tls::TlsRecords;

/// The most bytes that are read at a time.
const READ_SIZE: usize = 128 * 1024;
/// The most ciphertext that is read at a time: a `MemoryBIO` keeps the size of the largest piece that it has held.
const CIPHERTEXT_SIZE: usize = 64 * 1024;
/// The capacity above which a buffer for output is freed when it is empty.
const KEPT_OUTPUT: usize = 256 * 1024;
/// The most bytes of what waits that are written at a time.
const WRITE_SIZE: usize = 1024 * 1024;

/// Base class of a transport for threads. All of its methods are called under its lock, except `_follow` and `_is_attended`.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct SocketBase {
    lock: Py<Lock>,
    ready: Py<ReadyList>,
    state: Guarded<State>,
}

#[allow(clippy::struct_excessive_bools, reason = "they change apart from each other")]
pub struct State {
    descriptor: Descriptor,
    /// Bytes that the system has not taken yet.
    output: Output,
    /// Bytes that wait to be encrypted by the background.
    plaintext: Vec<u8>,
    /// Encrypts and decrypts, once the handshake of TLS is done.
    records: Option<Py<TlsRecords>>,
    /// The room for plaintext.
    room: Option<Py<PySequence>>,
    carried: Carried,
    reading: bool,
    leads: Leads,
    /// Whether a thread of the application has begun to read since the background last asked.
    visited: bool,
    /// Whether the background is to read when the leader has.
    wanted: bool,
    /// Whether the background is told when a thread of the application has read: it does not ask by itself.
    unobserved: bool,
    /// What each thread shares that waits for what another thread reads.
    parked: Arc<()>,
    closing: bool,
    unwritable: bool,
    /// What was read and is still to be handled: events, a chunk of HTTP/2 with more than messages, and what ended the input.
    events: Option<Py<PyList>>,
    begun: Option<Begun>,
    end: Option<Py<PyAny>>,
    /// The bytes of replies among what a leader has written.
    replied: usize,
    /// Whether a WebSocket is to be resumed.
    resumes: bool,
    /// A buffer to read into, and one to exchange for frames.
    chunk: Vec<u8>,
    frames: Vec<u8>,
    heard: u64,
    written: u64,
}

/// Announces a thread that waits for what another thread reads, while it lives: no signal can interrupt its end.
#[pyclass(frozen, module = "mintws._core")]
pub struct Parked(#[allow(dead_code, reason = "it is counted")] Arc<()>);

/// A chunk, and what `DataReceiver::receive` has given for it, with the events.
type Begun = (Py<PyBytes>, (usize, Py<PyAny>, Py<PyList>));
/// Events, what ended the input, the bytes written in reply, whether a WebSocket is to be resumed, and what was begun.
type LeftToBackground = (Option<Py<PyList>>, Option<Py<PyAny>>, usize, bool, Option<Begun>);

/// What the socket carries, if threads of the application may read it.
enum Carried {
    Nothing,
    /// The only connection, which is decoded here.
    One(Py<Endpoint>),
    /// The streams of HTTP/2, of which messages are decoded here. Who waits for those of one may have to be woken for another reason.
    Streams(Py<DataReceiver>, Option<Arc<Waker>>),
}

impl Carried {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::One(connection) => Self::One(connection.clone_ref(py)),
            Self::Streams(streams, waker) => Self::Streams(streams.clone_ref(py), waker.clone()),
        }
    }
}

/// Who reads the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    /// The background.
    Background,
    /// A thread of the application was the last to read it, and may do so again.
    Left,
    /// A thread of the application does.
    Now,
}

/// Bytes that wait to be written.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    start: usize,
}

impl Output {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    fn waiting(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn drop_first(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear();
        } else if self.start > WRITE_SIZE && self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    fn clear(&mut self) {
        self.start = 0;
        if self.bytes.capacity() > KEPT_OUTPUT {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

#[pymethods]
impl SocketBase {
    #[new]
    #[pyo3(signature = (*_args, **_named))]
    fn new(py: Python<'_>, _args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Ok(Self {
            lock: Py::new(py, Lock::new())?,
            ready: Py::new(py, ReadyList::new())?,
            state: Guarded::new(State {
                descriptor: -1,
                output: Output::default(),
                plaintext: Vec::new(),
                records: None,
                room: None,
                carried: Carried::Nothing,
                reading: true,
                leads: Leads::Background,
                visited: false,
                wanted: false,
                unobserved: false,
                parked: Arc::new(()),
                closing: false,
                unwritable: false,
                events: None,
                begun: None,
                end: None,
                replied: 0,
                resumes: false,
                chunk: Vec::new(),
                frames: Vec::new(),
                heard: 0,
                written: 0,
            }),
        })
    }

    /// The lock that guards the transport and its WebSockets.
    #[getter]
    fn get_lock(&self, py: Python<'_>) -> Py<Lock> {
        self.lock.clone_ref(py)
    }

    /// The WebSockets that have received something, or are full.
    #[getter]
    fn ready_list(&self, py: Python<'_>) -> Py<ReadyList> {
        self.ready.clone_ref(py)
    }

    /// Set the descriptor of the socket; or, after the handshake of TLS, what decrypts and encrypts, and the room for plaintext.
    #[pyo3(signature = (*, descriptor=None, records=None, plaintext=None))]
    fn _attach(
        &self,
        py: Python<'_>,
        descriptor: Option<Descriptor>,
        records: Option<Py<TlsRecords>>,
        plaintext: Option<Py<PySequence>>,
    ) -> PyResult<()> {
        let mut this = self.state(py)?;
        if let Some(descriptor) = descriptor {
            this.descriptor = descriptor;
        }
        (this.records, this.room) = (records, plaintext);
        Ok(())
    }

    /// Set what decodes what threads of the application read: the connection that the socket carries alone, or streams of HTTP/2.
    ///
    /// `None` leaves the reading to the background.
    fn _decode_by(&self, py: Python<'_>, decoder: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let carried = match decoder {
            None => Carried::Nothing,
            Some(decoder) => match decoder.cast::<DataReceiver>() {
                Ok(streams) => Carried::Streams(streams.clone().unbind(), None),
                Err(_) => Carried::One(decoder.cast::<Endpoint>()?.clone().unbind()),
            },
        };
        let _before = {
            let this = &mut *self.state(py)?;
            if let (Leads::Now, Carried::Streams(_, Some(waker))) = (this.leads, &this.carried) {
                waker.wake();
            }
            std::mem::replace(&mut this.carried, carried)
        };
        Ok(())
    }

    /// Return what announces, while it lives, that the calling thread waits for what another thread reads.
    fn _park(&self, py: Python<'_>) -> PyResult<Parked> {
        Ok(Parked(self.state(py)?.parked.clone()))
    }

    /// Whether the session wants the socket to be read.
    #[getter(_reading)]
    fn reading(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.reading)
    }

    #[setter(_reading)]
    fn set_reading(&self, py: Python<'_>, reading: bool) -> PyResult<()> {
        self.state(py)?.reading = reading;
        Ok(())
    }

    /// Whether nothing more is written.
    #[getter]
    fn closing(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.closing)
    }

    #[setter]
    fn set_closing(&self, py: Python<'_>, closing: bool) -> PyResult<()> {
        self.state(py)?.closing = closing;
        Ok(())
    }

    /// Whether writing has failed.
    #[getter(_unwritable)]
    fn unwritable(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.unwritable)
    }

    /// The number of chunks received.
    #[getter]
    fn heard(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.heard)
    }

    /// The number of bytes written, before encryption.
    #[getter]
    fn written(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.written)
    }

    /// The number of bytes that the system has not taken yet.
    #[getter]
    fn buffered(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.waiting())
    }

    /// Whether a thread of the application reads the socket now.
    #[getter(_is_led)]
    fn is_led(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.leads == Leads::Now)
    }

    /// Whether a thread of the application reads the socket, or did last.
    #[getter(_was_led)]
    fn was_led(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.leads != Leads::Background)
    }

    /// Have the background read the socket, once a thread of the application that reads it has; return whether that is a change now.
    fn _follow(&self, py: Python<'_>) -> PyResult<bool> {
        let mut this = self.state(py)?;
        this.wanted = this.leads == Leads::Now;
        let left = this.leads == Leads::Left;
        if left {
            this.leads = Leads::Background;
        }
        Ok(left)
    }

    /// Return whether a thread of the application has begun to read the socket since the last call.
    ///
    /// If not, the background is to read it, unless a thread has read it ever since. It is told when a thread has read.
    fn _is_attended(&self, py: Python<'_>) -> PyResult<bool> {
        let this = &mut *self.state(py)?;
        let visited = std::mem::take(&mut this.visited);
        // A thread may begin to read before the background does.
        this.unobserved = !visited;
        if !visited && this.leads != Leads::Now {
            this.leads = Leads::Background;
        }
        Ok(visited)
    }

    /// Read the socket once without waiting; return the bytes, `b""` at their end, an `OSError`, or `None` if there is nothing.
    fn _read<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (descriptor, mut chunk, size) = self.begin_read(py)?;
        let read = py.detach(|| system::recv(descriptor, &mut chunk[..size], false));
        let read = match read {
            Ok(count) => Some(PyBytes::new(py, &chunk[..count]).into_any()),
            Err(error) if is_blocked(&error) => None,
            Err(error) => Some(os_error(py, &error)?),
        };
        let mut this = self.state(py)?;
        this.chunk = chunk;
        this.heard += u64::from(read.is_some());
        Ok(read)
    }

    /// Remove and return what threads of the application have left to be handled.
    ///
    /// These are events, what ended the input, as from `_read`, the bytes written in reply, whether a WebSocket is to be resumed, and a
    /// chunk of HTTP/2 with what a `DataReceiver` has returned for it, and its events.
    fn _take_left(&self, py: Python<'_>) -> PyResult<LeftToBackground> {
        let this = &mut *self.state(py)?;
        let (replied, resumes) = (std::mem::take(&mut this.replied), std::mem::take(&mut this.resumes));
        Ok((this.events.take(), this.end.take(), replied, resumes, this.begun.take()))
    }

    /// Write bytes, encrypted over TLS, unless nothing more is written; what the system does not take waits.
    pub fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let len = data.len()?;
        let records = {
            let mut this = slf.get().state(py)?;
            if len == 0 || this.closing {
                return Ok(());
            }
            this.written += len as u64;
            this.records.as_ref().map(|records| records.clone_ref(py))
        };
        let Some(records) = records else { return Self::put(slf, data) };
        let follows = !slf.get().state(py)?.plaintext.is_empty();
        if follows || is_main_thread(py)? {
            // `ssl` lets a signal raise when a record is made, and what follows it would make no sense to the peer.
            with_bytes(data, |data| {
                slf.get().state(py)?.plaintext.extend_from_slice(data);
                Ok(())
            })?;
            return Self::tell(slf);
        }
        Self::encrypt(slf, records.get(), data)
    }

    /// Encrypt and write what threads have left to the background.
    fn _encrypt_left(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (plaintext, records) = {
            let mut this = slf.get().state(py)?;
            (std::mem::take(&mut this.plaintext), this.records.as_ref().map(|records| records.clone_ref(py)))
        };
        match records {
            Some(records) if !plaintext.is_empty() => {
                Self::encrypt(slf, records.get(), PyBytes::new(py, &plaintext).as_any())
            }
            _ => Ok(()),
        }
    }

    /// Write bytes as they are.
    #[pyo3(name = "_put")]
    fn put(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        with_bytes(data, |data| Self::put_bytes(slf, data))
    }

    /// Write what has waited; return whether the system has taken some of it.
    fn _push(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let (descriptor, mut output) = {
            let mut this = slf.get().state(py)?;
            (this.descriptor, std::mem::take(&mut this.output))
        };
        let sent = py.detach(|| {
            let waiting = output.waiting();
            system::send(descriptor, &waiting[..waiting.len().min(WRITE_SIZE)])
        });
        if let Ok(count) = sent {
            output.drop_first(count);
        }
        slf.get().state(py)?.output = output;
        match sent {
            Ok(_) => Ok(true),
            Err(error) if is_blocked(&error) => Ok(false),
            Err(error) => Self::stop_writing(slf, &error).map(|()| false),
        }
    }

    /// Discard what waits to be written.
    fn _drop_output(&self, py: Python<'_>) -> PyResult<()> {
        let mut this = self.state(py)?;
        this.output.clear();
        this.plaintext = Vec::new();
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.ready)?;
        let Some(this) = self.state.visited(&visit) else { return Ok(()) };
        visit.call(&this.records)?;
        visit.call(&this.room)?;
        match &this.carried {
            Carried::Nothing => {}
            Carried::One(connection) => visit.call(connection)?,
            Carried::Streams(streams, _) => visit.call(streams)?,
        }
        if let Some((_, (_, frame, events))) = &this.begun {
            visit.call(frame)?;
            visit.call(events)?;
        }
        visit.call(&this.events)?;
        visit.call(&this.end)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Destructors may use this socket, so drop the values after the borrow has ended.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            let carried = std::mem::replace(&mut this.carried, Carried::Nothing);
            (this.records.take(), this.room.take(), carried, this.events.take(), this.begun.take(), this.end.take())
        };
        Ok(())
    }
}

impl SocketBase {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.state.borrow_mut(py)
    }

    pub fn lock(&self) -> &Lock {
        self.lock.get()
    }

    pub fn ready(&self, py: Python<'_>) -> Py<ReadyList> {
        self.ready.clone_ref(py)
    }

    /// Whether a small frame can be written at once.
    #[inline]
    pub fn is_clear(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.state(py)?;
        Ok(!matches!(this.carried, Carried::Nothing)
            && this.records.is_none()
            && !this.closing
            && this.output.len() == 0)
    }

    /// Writes the frames that a connection has held back.
    pub fn write_frames(slf: &Bound<'_, Self>, connection: &Bound<'_, Endpoint>) -> PyResult<()> {
        let py = slf.py();
        let (mut frames, direct) = {
            let mut this = slf.get().state(py)?;
            let direct = this.records.is_none() && !this.closing;
            (std::mem::take(&mut this.frames), direct)
        };
        if !direct || !connection.get().workings(py)?.swap_corked(&mut frames) {
            slf.get().state(py)?.frames = frames;
            return Self::write(slf, Endpoint::flush(connection)?.as_any());
        }
        slf.get().state(py)?.written += frames.len() as u64;
        let done = Self::put_bytes(slf, &frames);
        frames.clear();
        if frames.capacity() <= KEPT_OUTPUT {
            slf.get().state(py)?.frames = frames;
        }
        done
    }

    /// Begins to read the socket as its leader, under the lock; says whether that may be: the socket carries one WebSocket, or no other
    /// thread waits, and what was read before is handled. Call `lead` then.
    pub fn begin_lead(&self, py: Python<'_>) -> PyResult<bool> {
        let secure = self.state(py)?.records.is_some();
        // `ssl` lets a signal raise when a record has been decrypted, which would be lost.
        if secure && is_main_thread(py)? {
            return Ok(false);
        }
        let this = &mut *self.state(py)?;
        if !(CAN_LEAD && this.reading) || this.leads == Leads::Now || this.has_left() || this.resumes {
            return Ok(false);
        }
        let lent = match &mut this.carried {
            Carried::Nothing => false,
            Carried::One(_) => true,
            Carried::Streams(_, waker) => {
                if waker.is_none() {
                    // The background goes on reading where there are no more descriptors to be had.
                    *waker = Waker::new().ok().map(Arc::new);
                }
                waker.is_some() && this.parked() == 0
            }
        };
        if lent {
            (this.leads, this.visited) = (Leads::Now, true);
        }
        Ok(lent)
    }

    /// Reads the socket once, without the lock, and decodes what comes; says whether something came, or the thread was woken, before the
    /// deadline.
    ///
    /// Messages go to their queue. What else there is, events and the end of the input, waits for `_take_left`.
    pub fn lead(slf: &Bound<'_, Self>, deadline: Option<Instant>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let (descriptor, mut chunk, size) = this.begin_read(py)?;
        let waker = match &this.state(py)?.carried {
            Carried::Streams(_, waker) => waker.clone(),
            Carried::Nothing | Carried::One(_) => None,
        };
        let read = wait_and_read(py, descriptor, waker.as_deref(), &mut chunk[..size], deadline);
        let heard = matches!(read, Ok(Came::Read(_)));
        let (taken, look, observe) = {
            let _held = this.lock().hold(py)?;
            this.state(py)?.leads = Leads::Left;
            let taken = match read {
                Err(interruption) => Err(interruption),
                Ok(Came::Nothing) => Ok(false),
                Ok(Came::Woken) => Ok(true),
                Ok(Came::Read(read)) => Self::take(slf, read.as_ref().map(|count| &chunk[..*count])).map(|()| true),
            };
            let state = &mut *this.state(py)?;
            state.chunk = chunk;
            state.heard += u64::from(heard && taken.is_ok());
            let full = match &state.carried {
                Carried::Nothing => false,
                Carried::One(only) => only.get().workings(py)?.waits(py)?,
                Carried::Streams(..) => this.ready.get().is_crowded(py)?,
            };
            let look = std::mem::take(&mut state.wanted) || full || state.has_left();
            let observe = std::mem::take(&mut state.unobserved);
            state.visited |= observe;
            (taken, look, observe)
        };
        if look {
            Self::tell(slf)?;
        } else if observe {
            Self::watch(slf)?;
        }
        taken
    }

    /// Has the thread that reads the socket look again at what it waits for.
    pub fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let this = self.state(py)?;
        if let (Leads::Now, Carried::Streams(_, Some(waker))) = (this.leads, &this.carried) {
            waker.wake();
        }
        Ok(())
    }

    /// Leaves it to the background to resume a WebSocket, which a signal in this thread might interrupt.
    #[cold]
    pub fn leave_resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py())?.resumes = true;
        Self::tell(slf)
    }

    /// Tells the background that there is something to be handled, even if a signal raises meanwhile.
    fn tell(slf: &Bound<'_, Self>) -> PyResult<()> {
        border::socket::led(slf).or_else(|error| border::socket::led(slf).and(Err(error)))
    }

    /// Has the background look again, even if a signal raises meanwhile.
    fn watch(slf: &Bound<'_, Self>) -> PyResult<()> {
        border::socket::watch(slf).or_else(|error| border::socket::watch(slf).and(Err(error)))
    }

    fn encrypt(slf: &Bound<'_, Self>, records: &TlsRecords, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        records.encrypt(data, |piece| Self::put(slf, &piece)).or_else(|unencrypted| {
            let error = unencrypted.error.into_value(py);
            border::socket::fail(slf, error.bind(py).as_any())
        })
    }

    fn begin_read(&self, py: Python<'_>) -> PyResult<(Descriptor, Vec<u8>, usize)> {
        let mut this = self.state(py)?;
        let size = if this.records.is_some() { CIPHERTEXT_SIZE } else { READ_SIZE };
        let mut chunk = std::mem::take(&mut this.chunk);
        if chunk.len() < size {
            // Pages that nothing is read into take no memory.
            chunk = vec![0; size];
        }
        Ok((this.descriptor, chunk, size))
    }

    /// Decodes what was read. Messages go to their queues, and the reply is written; the rest is left to be handled.
    fn take(slf: &Bound<'_, Self>, read: Result<&[u8], &io::Error>) -> PyResult<()> {
        let py = slf.py();
        let (carried, records, room) = {
            let this = slf.get().state(py)?;
            (
                this.carried.clone_ref(py),
                this.records.as_ref().map(|records| records.bind(py).clone()),
                this.room.as_ref().map(|room| room.bind(py).clone()),
            )
        };
        let (Ok(chunk @ [_, ..]), Carried::One(_) | Carried::Streams(..)) = (read, &carried) else {
            let read = match read {
                Ok(chunk) => PyBytes::new(py, chunk).into_any(),
                Err(error) => os_error(py, error)?,
            };
            slf.get().state(py)?.end = Some(read.unbind());
            return Ok(());
        };
        let (Some(records), Some(room)) = (records, room) else { return Self::decode(slf, &carried, chunk) };
        let decrypted = records.get().decrypt(PyBytes::new(py, chunk).as_any(), &room)?;
        if let Some(reply) = decrypted.reply {
            Self::put(slf, &reply)?;
        }
        if let Some(end) = decrypted.end {
            slf.get().state(py)?.end = Some(end.into_value(py).into_any());
        }
        filled(&PyBuffer::get(&room)?, decrypted.len, |plaintext| Self::decode(slf, &carried, plaintext))
    }

    fn decode(slf: &Bound<'_, Self>, carried: &Carried, plaintext: &[u8]) -> PyResult<()> {
        let py = slf.py();
        let events = PyList::empty(py);
        let reply = match carried {
            Carried::One(connection) => {
                let connection = connection.bind(py);
                let fed = Endpoint::feed(connection, plaintext, &events, usize::MAX);
                fed.and_then(|()| Endpoint::_take_replies(connection, Some(&events)))
            }
            Carried::Streams(streams, _) => {
                let streams = streams.bind(py);
                let (offset, frame) = DataReceiver::receive_from(streams, plaintext, 0, &events)?;
                if !frame.is_none() || streams.borrow().is_unsettled(py)? {
                    let begun = (offset, frame.unbind(), events.unbind());
                    slf.get().state(py)?.begun = Some((PyBytes::new(py, plaintext).unbind(), begun));
                    // A signal in this thread may have raised it, and is to raise nothing in the background.
                    return streams.borrow().take_raised(py)?.map_or(Ok(()), Err);
                }
                streams.borrow_mut().take(py)
            }
            Carried::Nothing => return Ok(()),
        };
        if !events.is_empty() {
            slf.get().state(py)?.events = Some(events.unbind());
        }
        let reply = reply?;
        slf.get().state(py)?.replied += reply.as_bytes().len();
        Self::write(slf, reply.as_any())
    }

    fn put_bytes(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        let py = slf.py();
        let descriptor = {
            let mut this = slf.get().state(py)?;
            if data.is_empty() || this.unwritable {
                return Ok(());
            }
            if this.output.len() > 0 {
                this.output.push(data);
                return Ok(());
            }
            this.descriptor
        };
        let sent = match py.detach(|| system::send(descriptor, data)) {
            Ok(count) => count,
            Err(error) if is_blocked(&error) => 0,
            Err(error) => return Self::stop_writing(slf, &error),
        };
        if sent < data.len() {
            slf.get().state(py)?.output.push(&data[sent..]);
            Self::watch(slf)?;
        }
        Ok(())
    }

    #[cold]
    fn stop_writing(slf: &Bound<'_, Self>, error: &io::Error) -> PyResult<()> {
        let py = slf.py();
        {
            let mut this = slf.get().state(py)?;
            this.unwritable = true;
            this.closing = true;
            this.output.clear();
        }
        border::socket::stop_writing(slf, &os_error(py, error)?)
    }
}

impl State {
    /// Whether something that was read is still to be handled.
    const fn has_left(&self) -> bool {
        self.events.is_some() || self.begun.is_some() || self.end.is_some()
    }

    /// The number of threads that wait for what another thread reads.
    fn parked(&self) -> usize {
        Arc::strong_count(&self.parked) - 1
    }

    /// The number of bytes that the system has not taken yet.
    fn waiting(&self) -> usize {
        self.output.len() + self.plaintext.len()
    }
}

/// Whether the calling thread is the one in which signals raise.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0(intern!(py, "main_thread"))?;
    Ok(main.is(&threading.call_method0(intern!(py, "current_thread"))?))
}

/// What a leader has waited for.
enum Came {
    /// Nothing, before the deadline.
    Nothing,
    Woken,
    Read(io::Result<usize>),
}

/// Reads once, after waiting for something to read. The outer error is what a handler of a signal has raised; then nothing was read.
fn wait_and_read(
    py: Python<'_>,
    descriptor: Descriptor,
    waker: Option<&Waker>,
    room: &mut [u8],
    deadline: Option<Instant>,
) -> PyResult<Came> {
    loop {
        let came = py.detach(|| {
            if deadline.is_none() && waker.is_none() {
                return system::recv(descriptor, room, true).map(|count| Came::Read(Ok(count)));
            }
            match system::recv(descriptor, room, false) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Ok(Came::Read(read)),
            }
            let milliseconds = deadline.map_or(-1, |deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                left.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX)
            });
            Ok(match system::wait_readable(descriptor, waker, milliseconds)? {
                Ready::Socket => Came::Read(system::recv(descriptor, room, false)),
                Ready::Woken => Came::Woken,
                Ready::Nothing => Came::Nothing,
            })
        });
        match came {
            Err(error) | Ok(Came::Read(Err(error))) if error.kind() == io::ErrorKind::Interrupted => {
                py.check_signals()?;
            }
            // What there was to be read is gone.
            Err(error) | Ok(Came::Read(Err(error))) if is_blocked(&error) => {}
            Err(error) => return Ok(Came::Read(Err(error))),
            Ok(came) => return Ok(came),
        }
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Makes the `OSError` of an error of the system, of the class for its number.
#[cold]
fn os_error<'py>(py: Python<'py>, error: &io::Error) -> PyResult<Bound<'py, PyAny>> {
    let number = error.raw_os_error();
    let text = match number {
        Some(number) => py.import("os")?.call_method1("strerror", (number,))?.extract()?,
        None => error.to_string(),
    };
    py.get_type::<PyOSError>().call1((number, text))
}
