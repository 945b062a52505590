//! The messages of one WebSocket, in both directions, for threads.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::socket::SocketBase;
use crate::data_sender::WRITE_HIGH;
use crate::frame::Opcode;
use crate::py::border;
use crate::py::endpoint::Endpoint;
use crate::py::errors::local;
use crate::py::events::Kind;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::incoming::Message;
use crate::py::queue::{MessageQueue, Popped};

/// The bytes of a batch above which they are written.
const BATCH: usize = 32 * 1024;
/// A larger payload is not copied to other frames, but written after its header by a separate call from Python.
const LARGE: usize = 64 * 1024;

/// Base class of a WebSocket for threads: received-message queue, and the calls that wait.
#[pyclass(frozen, subclass, extends = MessageQueue, module = "mintws._core")]
pub struct BlockingWebSocket(Guarded<State>);

/// The result of taking a message.
enum Pop<'py> {
    Message(Message<'py>),
    Nothing,
    /// Nothing yet: the background is to resume the peer, and to decode what has waited.
    Resumes,
}

pub struct State {
    socket: Py<SocketBase>,
    connection: Py<Endpoint>,
    /// What stands for the thread that waits for the next message.
    reader: Option<Py<PyAny>>,
    /// A message that was taken from the queue, and is to be the next that is received.
    kept: Option<Kept>,
    /// Whether the peer was paused, and is to be resumed.
    resumes: bool,
    /// Whether the application has taken a message and sent nothing since.
    owes_answer: bool,
    /// Whether a message in fragments is under way, so that no other may begin.
    fragmenting: bool,
    /// The number of open batches, whose end writes the frames held back.
    batches: usize,
}

/// Holds back the frames of a WebSocket within `with`.
#[pyclass(frozen, module = "mintws._core")]
pub struct Batch(Py<BlockingWebSocket>);

/// A message, as the queue gives it.
struct Kept {
    kind: Kind,
    data: Py<PyAny>,
    fin: bool,
}

#[pymethods]
#[allow(clippy::doc_markdown, reason = "the docstrings are Python's")]
impl BlockingWebSocket {
    #[new]
    fn new(py: Python<'_>, socket: Py<SocketBase>, connection: Py<Endpoint>) -> PyClassInitializer<Self> {
        let queue = MessageQueue::new(socket.get().ready(py));
        let state = State {
            socket,
            connection,
            reader: None,
            kept: None,
            resumes: false,
            owes_answer: false,
            fragmenting: false,
            batches: 0,
        };
        PyClassInitializer::from(queue).add_subclass(Self(Guarded::new(state)))
    }

    /// Whether a thread waits for the next message.
    #[getter(_awaited)]
    fn awaited(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.reader.is_some())
    }

    /// Whether the application has taken a message and sent nothing since.
    #[getter(_owes_answer)]
    fn owes_answer(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.owes_answer)
    }

    /// Whether a message in fragments is under way, so that no other may begin.
    #[getter(_is_fragmenting)]
    fn is_fragmenting(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.fragmenting)
    }

    #[setter(_is_fragmenting)]
    fn set_fragmenting(&self, py: Python<'_>, fragmenting: bool) -> PyResult<()> {
        self.state(py)?.fragmenting = fragmenting;
        Ok(())
    }

    /// Announce a reader that waits, for which an object stands.
    ///
    /// Raises:
    ///     LocalProtocolError: there is one.
    fn _begin_wait(&self, py: Python<'_>, reader: Py<PyAny>) -> PyResult<()> {
        let mut this = self.state(py)?;
        if this.reader.is_some() {
            return Err(local("another thread is receiving already: messages go to one reader"));
        }
        this.reader = Some(reader);
        Ok(())
    }

    /// Announce that this reader waits no more, if it did.
    fn _end_wait(&self, py: Python<'_>, reader: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut this = self.state(py)?;
        if this.reader.as_ref().is_some_and(|waiting| waiting.is(reader)) {
            this.reader = None;
        }
        Ok(())
    }

    /// Have the thread that reads the socket to wait for the next message look again whether there is one.
    fn _interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let socket = {
            let this = self.state(py)?;
            let leads = this.reader.as_ref().is_some_and(|reader| reader.is_none(py));
            if !leads {
                return Ok(());
            }
            this.socket.clone_ref(py)
        };
        socket.get().interrupt(py)
    }

    /// Keep a message that has come, to be the next that is received; return whether there is one. Call this under the lock.
    fn _keep_message(slf: &Bound<'_, Self>) -> PyResult<bool> {
        match Self::pop(slf)? {
            Pop::Message(message) => slf.get().keep(slf.py(), message).map(|()| true),
            Pop::Nothing | Pop::Resumes => Ok(false),
        }
    }

    /// Return whether the peer was paused, and is to be resumed now.
    fn _take_resume(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(std::mem::take(&mut self.state(py)?.resumes))
    }

    /// Record that the application sends something, which may answer the messages that it has taken.
    fn _has_sent(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.owes_answer = false;
        Ok(())
    }

    /// Wait for the next message and return it.
    ///
    /// A call that times out, or is interrupted while it waits, loses no message. A signal that comes as the call returns may raise before
    /// the caller has the message, which is lost then; in `for message in websocket:` it cannot.
    ///
    /// Args:
    ///     timeout: seconds to wait; 0 returns a message that has come.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    ///     TimeoutError: no message came in time.
    ///     LocalProtocolError: another thread is receiving.
    #[pyo3(signature = (timeout=None))]
    fn recv<'py>(slf: &Bound<'py, Self>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match Self::take(slf, timeout.is_none())? {
            Some(message) => Ok(message.data),
            None => Ok(Self::wait(slf, timeout)?.data),
        }
    }

    /// Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.
    ///
    /// Args:
    ///     timeout: as in `recv`.
    ///
    /// Raises:
    ///     ConnectionClosed, TimeoutError, LocalProtocolError: as from `recv`.
    #[pyo3(signature = (timeout=None))]
    fn recv_event<'py>(slf: &Bound<'py, Self>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match Self::take(slf, timeout.is_none())? {
            Some(message) => message.into_event(),
            None => Self::wait(slf, timeout)?.into_event(),
        }
    }

    const fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(message) = Self::take(slf, true)? {
            return Ok(Some(message.data));
        }
        while border::blocking::next(slf)? {
            if let Some(message) = Self::take_now(slf)? {
                return Ok(Some(message.data));
            }
        }
        Ok(None)
    }

    /// Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.
    ///
    /// An iterable of `str` or of bytes is one message, with each element a fragment. Messages of other threads wait until it is complete.
    /// When the call returns, the system has taken the message, except in a batch, or the connection has ended.
    ///
    /// Args:
    ///     message: the message.
    ///     compress: whether to compress it, if permessage-deflate was agreed on; `None` leaves it to the extension's threshold.
    ///     timeout: seconds to wait until the system has taken it.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    ///     TimeoutError: the peer takes too little. If the call waited for another thread's message in fragments, nothing was sent.
    ///         Otherwise the message was, and goes out when there is room: a second call would send it twice. A message in fragments
    ///         that is not complete by then ends the connection with 1011. So it is with a call that is interrupted.
    ///     LocalProtocolError: the message may not be sent.
    ///     TypeError: `message` has another type: `ping` sends a Ping, and `close` a Close.
    #[pyo3(signature = (message, *, compress=None, timeout=None))]
    fn send(
        slf: &Bound<'_, Self>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        if timeout.is_none() && Self::send_now(slf, message, compress)? {
            return Ok(());
        }
        border::blocking::send(slf, message, compress, timeout)
    }

    /// Wait for a message by reading the socket, for at most so many seconds, without the lock; return whether something came.
    ///
    /// Returns:
    ///     `None` if the background is to read the socket.
    fn _wait_leading(slf: &Bound<'_, Self>, seconds: Option<f64>) -> PyResult<Option<bool>> {
        let py = slf.py();
        let seconds = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
        let deadline = seconds.and_then(|seconds| Instant::now().checked_add(seconds));
        let socket = slf.get().state(py)?.socket.bind(py).clone();
        {
            let _held = socket.get().lock().hold(py)?;
            let queue = slf.as_super().get();
            if slf.get().state(py)?.kept.is_some() || !queue.is_empty(py)? {
                // The background has read the socket since the caller looked.
                return Ok(Some(true));
            }
            if queue.is_ended(py)? || !Self::begin_leading(slf, &socket)? {
                return Ok(None);
            }
        }
        Self::lead(slf, &socket, deadline).map(Some)
    }

    /// Send a message, without copying a large payload where that can be.
    ///
    /// Raises:
    ///     LocalProtocolError: it may not be sent.
    #[pyo3(signature = (event, *, compress=None))]
    fn _send_large(slf: &Bound<'_, Self>, event: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<()> {
        let py = slf.py();
        let (socket, connection) = {
            let this = slf.get().state(py)?;
            (this.socket.bind(py).clone(), this.connection.bind(py).clone())
        };
        let parts = Endpoint::send_vectored(&connection, event, compress)?;
        if parts.is_empty() {
            return SocketBase::write_frames(&socket, &connection);
        }
        parts.iter().try_for_each(|part| SocketBase::write(&socket, &part))
    }

    /// Write the frames held back: `now`, or unless a batch does it.
    fn _post(slf: &Bound<'_, Self>, now: bool) -> PyResult<()> {
        let py = slf.py();
        let (socket, connection) = {
            let this = slf.get().state(py)?;
            if !now && this.collects(py)? {
                return Ok(());
            }
            (this.socket.bind(py).clone(), this.connection.bind(py).clone())
        };
        SocketBase::write_frames(&socket, &connection)
    }

    /// Write the frames held back of this WebSocket and of others on the same socket, together, unless batches do it.
    #[allow(clippy::needless_pass_by_value, reason = "that is how arguments come from Python")]
    fn _post_with(slf: &Bound<'_, Self>, others: Vec<Bound<'_, Self>>) -> PyResult<()> {
        if others.is_empty() {
            return Self::_post(slf, false);
        }
        let py = slf.py();
        let socket = slf.get().state(py)?.socket.bind(py).clone();
        let mut frames = Vec::new();
        let mut flushed = Ok(());
        for websocket in std::iter::once(slf).chain(&others) {
            let connection = {
                let this = websocket.get().state(py)?;
                if this.collects(py)? {
                    continue;
                }
                this.connection.bind(py).clone()
            };
            match Endpoint::flush(&connection) {
                Ok(due) => frames.extend_from_slice(due.as_bytes()),
                // A failure must not affect the others.
                Err(error) => flushed = flushed.and(Err(error)),
            }
        }
        SocketBase::write(&socket, PyBytes::new(py, &frames).as_any()).and(flushed)
    }

    /// Write messages together that are sent within `with websocket.batch():`, instead of each by itself.
    ///
    /// They are written when the block ends, and earlier whenever there are 32 KiB of them, or `recv` waits. Messages that other threads
    /// send meanwhile are written with them.
    const fn batch(slf: Py<Self>) -> Batch {
        Batch(slf)
    }

    // Its parts refer to each other, and the application refers to them.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.socket)?;
        visit.call(&this.reader)?;
        visit.call(&this.connection)
    }
}

// A signal raises neither between an entry and the block, nor before an exit, because both are the core's.
#[pymethods]
impl Batch {
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        let websocket = self.0.bind(py);
        let socket = websocket.get().state(py)?.socket.bind(py).clone();
        let _held = socket.get().lock().hold(py);
        websocket.get().state(py)?.batches += 1;
        Ok(())
    }

    /// Write the frames of the batch, unless it is nested.
    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        let websocket = self.0.bind(py);
        let socket = websocket.get().state(py)?.socket.bind(py).clone();
        let _held = socket.get().lock().hold(py);
        {
            let mut this = websocket.get().state(py)?;
            this.batches = this.batches.checked_sub(1).ok_or_else(|| PyRuntimeError::new_err("no batch is open"))?;
        }
        BlockingWebSocket::_post(websocket, false)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

impl State {
    /// Whether a batch holds back the frames.
    fn collects(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.batches > 0 && self.connection.get().workings(py)?.corked_len() <= BATCH)
    }
}

impl BlockingWebSocket {
    #[inline]
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Takes the next message, after waiting for it if `waits` says so; `None` leaves that to Python.
    fn take<'py>(slf: &Bound<'py, Self>, waits: bool) -> PyResult<Option<Message<'py>>> {
        let py = slf.py();
        let queue = slf.as_super().get();
        let socket = slf.get().state(py)?.socket.bind(py).clone();
        loop {
            {
                let Some(_held) = socket.get().lock().try_hold() else { return Ok(None) };
                match Self::pop(slf)? {
                    Pop::Message(message) => return Ok(Some(message)),
                    Pop::Nothing if waits && !queue.is_ended(py)? && Self::begin_leading(slf, &socket)? => {}
                    Pop::Nothing | Pop::Resumes => return Ok(None),
                }
            }
            Self::lead(slf, &socket, None)?;
            // A handler of a signal may raise now, before a message has left the queue.
            py.check_signals()?;
        }
    }

    /// Takes the next message after waiting for it in Python, which takes none itself: a signal may raise there.
    fn wait<'py>(slf: &Bound<'py, Self>, timeout: Option<&Bound<'py, PyAny>>) -> PyResult<Message<'py>> {
        loop {
            border::blocking::receive(slf, timeout)?;
            if let Some(message) = Self::take_now(slf)? {
                return Ok(message);
            }
        }
    }

    /// Takes the next message, if there is one.
    fn take_now<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Message<'py>>> {
        let py = slf.py();
        let socket = slf.get().state(py)?.socket.bind(py).clone();
        let _held = socket.get().lock().hold(py);
        // As in `take`.
        py.check_signals()?;
        match Self::pop(slf)? {
            Pop::Message(message) => Ok(Some(message)),
            Pop::Nothing | Pop::Resumes => Ok(None),
        }
    }

    /// Keeps a message, to be the next.
    fn keep(&self, py: Python<'_>, message: Message<'_>) -> PyResult<()> {
        let Message { kind, data, fin } = message;
        self.state(py)?.kept = Some(Kept { kind, data: data.unbind(), fin });
        Ok(())
    }

    /// Takes a message that waits. The peer is resumed by the background, if that is due.
    fn pop<'py>(slf: &Bound<'py, Self>) -> PyResult<Pop<'py>> {
        let py = slf.py();
        let queue = slf.as_super().get();
        if let Some(Kept { kind, data, fin }) = slf.get().state(py)?.kept.take() {
            return Ok(Pop::Message(Message { kind, data: data.into_bound(py), fin }));
        }
        let Some(Popped { message, resumed, .. }) = queue.pop(py)? else {
            if !queue.ask(py)? {
                return Ok(Pop::Nothing);
            }
            Self::resume(slf)?;
            return Ok(Pop::Resumes);
        };
        slf.get().state(py)?.owes_answer = true;
        if resumed {
            Self::resume(slf).inspect_err(|_| {
                let _kept = slf.get().keep(py, message.clone());
            })?;
        }
        Ok(Pop::Message(message))
    }

    #[cold]
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let socket = {
            let mut this = slf.get().state(py)?;
            this.resumes = true;
            this.socket.bind(py).clone()
        };
        SocketBase::leave_resume(&socket)
    }

    /// Begins to wait as the leader of the socket, under its lock; says whether that may be. What a batch holds back is written even if
    /// not, because the thread waits then in another way: the peer may answer that.
    fn begin_leading(slf: &Bound<'_, Self>, socket: &Bound<'_, SocketBase>) -> PyResult<bool> {
        let py = slf.py();
        let batched = slf.get().state(py)?.batches > 0;
        if batched {
            Self::_post(slf, true)?;
        }
        if slf.get().state(py)?.reader.is_some() || !socket.get().begin_lead(py)? {
            return Ok(false);
        }
        slf.get().state(py)?.reader = Some(py.None());
        Ok(true)
    }

    fn lead(slf: &Bound<'_, Self>, socket: &Bound<'_, SocketBase>, deadline: Option<Instant>) -> PyResult<bool> {
        let read = SocketBase::lead(socket, deadline);
        slf.get().state(slf.py())?.reader = None;
        read
    }

    /// Encodes and writes a message of the application, if nothing else needs to be done; says whether it was.
    fn send_now(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<bool> {
        let py = slf.py();
        let (opcode, payload) = if let Ok(text) = message.cast_exact::<PyString>() {
            let Ok(text) = text.to_str() else { return Ok(false) };
            (Opcode::Text, text.as_bytes())
        } else if let Ok(data) = message.cast_exact::<PyBytes>() {
            (Opcode::Binary, data.as_bytes())
        } else {
            return Ok(false);
        };
        let (socket, connection, batched) = {
            let this = slf.get().state(py)?;
            if this.fragmenting || payload.len() > LARGE || !this.socket.get().is_clear(py)? {
                return Ok(false);
            }
            (this.socket.bind(py).clone(), this.connection.bind(py).clone(), this.batches > 0)
        };
        {
            let Some(_held) = socket.get().lock().try_hold() else { return Ok(false) };
            let Some(collected) = connection.get().workings(py)?.collect(opcode, payload, compress) else {
                return Ok(false);
            };
            slf.get().state(py)?.owes_answer = false;
            if batched && collected <= BATCH {
                return Ok(true);
            }
            SocketBase::write_frames(&socket, &connection)?;
        }
        let pending = connection.get().workings(py)?.pending(py)?;
        if pending.is_some_and(|it| it > WRITE_HIGH) || !socket.get().is_clear(py)? {
            border::blocking::drain(slf)?;
        }
        Ok(true)
    }
}
