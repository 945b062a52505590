//! The messages of one WebSocket, in both directions, for a driver.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::awaitable::{Awaitable, RecvKind};
use super::loop_state::{Deferred, Due};
use super::{LoopState, ProtocolBase, Waiter};
use crate::data_sender::WRITE_HIGH;
use crate::frame::Opcode;
use crate::py::border;
use crate::py::endpoint::{Endpoint, Readiness};
use crate::py::errors::local;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::incoming::Message;
use crate::py::prepared::PreparedMessage;
use crate::py::queue::{MessageQueue, Popped};

/// The bytes of collected frames above which they are written.
const BURST: usize = 64 * 1024;
/// The same for a batch of the application, which may last.
const BATCH: usize = 32 * 1024;
/// A larger payload is not copied to other frames, but written after its header by a separate call from Python. For a smaller one that
/// would cost more than copying it twice.
const LARGE: usize = 64 * 1024;

/// Base class of a driver's WebSocket: received-message queue and batched sends.
#[pyclass(frozen, subclass, name = "WebSocket", extends = MessageQueue, module = "mintws._core")]
pub struct WebSocketBase(Guarded<State>);

pub struct State {
    connection: Py<Endpoint>,
    protocol: Py<ProtocolBase>,
    shared: Py<LoopState>,
    waiter: Option<Py<Waiter>>,
    /// The number of readers that wait for a turn of the loop although there is a message.
    deferred: usize,
    /// A completed awaitable, to be reused for the next one.
    spare: Option<Py<Awaitable>>,
    last: Last,
    /// Whether the protocol is going to write the collected frames.
    scheduled: bool,
    /// The number of open batches, whose end writes the collected frames.
    batches: usize,
    /// Whether the peer's flow control holds back frames.
    held_back: bool,
}

/// The last action of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It has taken a message, and may answer it.
    Took,
    /// It has sent something, or there was nothing to take.
    Sent,
}

/// The result of taking a message.
pub enum Pop<'py> {
    Message(Message<'py>),
    End,
    Nothing,
}

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is written.
    Done,
    /// It is written, and later ones should wait for room.
    Crowded,
    /// It will be written after the other tasks of the read callback have run. The sender is to wait for that.
    Together,
    /// It is written, and the turn of the loop is spent: the sender resumes in a later one.
    Spent,
    /// It needs more than is done here, and nothing was done yet.
    NotYet,
}

/// The fate of a message that is sent without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written, or will be with others.
    Sent,
    /// Nothing was sent: too much waits already.
    Crowded,
    /// Nothing was sent: a message in fragments has to be ended before.
    Within,
    /// Nothing was sent: the WebSocket has ended, or is ending.
    Gone,
}

#[pymethods]
impl WebSocketBase {
    #[new]
    fn new(py: Python<'_>, protocol: Py<ProtocolBase>, connection: Py<Endpoint>) -> PyResult<PyClassInitializer<Self>> {
        let shared = protocol.get().shared(py)?;
        let queue = MessageQueue::new(protocol.get().ready(py)?);
        let this = Self(Guarded::new(State {
            connection,
            protocol,
            shared,
            waiter: None,
            deferred: 0,
            spare: None,
            last: Last::Sent,
            scheduled: false,
            batches: 0,
            held_back: false,
        }));
        Ok(PyClassInitializer::from(queue).add_subclass(this))
    }

    /// Whether a task waits in `recv`.
    #[getter(_awaited)]
    fn awaited(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.state(py)?;
        Ok(this.waiter.is_some() || this.deferred > 0)
    }

    /// Whether the application has taken a message and sent nothing since.
    #[getter(_owes_answer)]
    fn owes_answer(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.last == Last::Took)
    }

    /// Whether the peer's flow control holds back frames.
    #[getter(_held_back)]
    fn held_back(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.held_back)
    }

    #[setter(_held_back)]
    fn set_held_back(&self, py: Python<'_>, held_back: bool) -> PyResult<()> {
        self.state(py)?.held_back = held_back;
        Ok(())
    }

    /// Wait for the next message and return it.
    ///
    /// A cancelled call loses no message.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    fn recv(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::reading(slf, RecvKind::Data)
    }

    /// Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    fn recv_event(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::reading(slf, RecvKind::Event)
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::reading(slf, RecvKind::Next)
    }

    /// Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.
    ///
    /// A synchronous or asynchronous iterable of `str` or of bytes is one message, with each element a fragment. Other messages wait
    /// until it is complete. When the call returns, the message has been passed to the transport, if that has room. There is one
    /// exception, which makes bursts cheap: while a task handles messages that arrived together, its sends are written by the send
    /// after the last of these messages, or when the task waits for something else.
    /// A call that is cancelled while it waits for room has already sent its message: a second call would send it twice.
    ///
    /// Args:
    ///     message: the message.
    ///     compress: whether to compress it, if permessage-deflate was agreed on; `None` leaves it to the extension's threshold.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    ///     TypeError: `message` has another type: `ping` sends a Ping, and `close` a Close.
    #[pyo3(signature = (message, *, compress=None))]
    fn send(slf: &Bound<'_, Self>, message: Py<PyAny>, compress: Option<bool>) -> PyResult<Py<Awaitable>> {
        Awaitable::sending(slf, message, compress)
    }

    /// Write the pending frames of the connection: `now`, or together with those of `send`.
    fn _post(slf: &Bound<'_, Self>, now: bool) -> PyResult<()> {
        let py = slf.py();
        let due = {
            let (this, due) = Self::state_in_thread(slf)?;
            let corked = this.connection.get().workings(py)?.corked_len();
            match this.due(due, corked) {
                _ if now => Some(Due::Now),
                // The caller does not wait.
                Some(Due::Together) => Some(Due::Now),
                due => due,
            }
        };
        Self::bring(slf, due)
    }

    /// Record that the application sends something, which may answer the messages that it has taken.
    fn _has_sent(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.last = Last::Sent;
        Ok(())
    }

    /// Raise `RuntimeError` in a thread other than the loop's.
    fn _check_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::check_thread(slf)
    }

    /// Hold back frames until `_end_batch`.
    fn _begin_batch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (mut this, _) = Self::state_in_thread(slf)?;
        this.batches += 1;
        Ok(())
    }

    /// Write the frames of the batch, unless it is nested.
    fn _end_batch(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py())?.batches -= 1;
        Self::_post(slf, false)
    }

    // Its parts refer to each other, and the application refers to them.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.connection)?;
        visit.call(&this.protocol)?;
        visit.call(&this.shared)?;
        visit.call(&this.spare)?;
        visit.call(&this.waiter)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Destructors may use this WebSocket, so drop the values after the borrow has ended.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            (this.spare.take(), this.waiter.take())
        };
        Ok(())
    }
}

impl WebSocketBase {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Takes the next message for `awaitable`, which completes with it.
    pub fn take<'py>(slf: &Bound<'py, Self>, awaitable: &Bound<'py, Awaitable>) -> PyResult<Pop<'py>> {
        let py = slf.py();
        let queue = slf.as_super().get();
        let mut popped = queue.pop(py)?;
        if popped.is_none() && queue.ask(py)? {
            // What waits is decoded for those who ask.
            Self::resume(slf)?;
            popped = queue.pop(py)?;
        }
        let Some(Popped { message, len, last, resumed }) = popped else {
            return Ok(if queue.is_ended(py)? { Pop::End } else { Pop::Nothing });
        };
        {
            let mut this = slf.get().state(py)?;
            this.last = Last::Took;
            {
                let mut shared = this.shared.get().state(py)?;
                shared.turns().charge(len);
                if last {
                    shared.has_taken_all(slf);
                }
            }
            this.keep_spare(awaitable);
        }
        if resumed {
            Self::resume(slf)?;
        }
        Ok(Pop::Message(message))
    }

    /// Resumes the peer.
    #[cold]
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        border::websocket::resume(slf)
    }

    /// Creates the waiter for the next message. What a batch holds back is written: the peer may answer that.
    pub fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Waiter>> {
        let batched = {
            let (this, _) = Self::state_in_thread(slf)?;
            if this.waiter.is_some() {
                return Err(local("another task is receiving already: messages go to one reader"));
            }
            this.batches > 0
        };
        if batched {
            Self::_post(slf, true)?;
        }
        let mut this = slf.get().state(slf.py())?;
        let event_loop = this.protocol.get().state(slf.py())?.event_loop(slf.py());
        let waiter = Waiter::awaited(slf.py(), event_loop)?;
        this.waiter = Some(waiter.clone().unbind());
        Ok(waiter)
    }

    /// Whether a reader is to resume in a later turn of the loop although there is a message.
    #[inline]
    pub fn is_to_defer(&self, py: Python<'_>, queue: &MessageQueue) -> PyResult<bool> {
        let spent = self.state(py)?.shared.get().state(py)?.turns().is_spent();
        Ok(spent && !queue.is_empty(py)?)
    }

    /// Counts a sent message of `len` bytes; returns whether the turn of the loop is spent.
    #[inline]
    pub fn charge(&self, py: Python<'_>, len: usize) -> PyResult<bool> {
        Ok(self.state(py)?.shared.get().state(py)?.turns().charge(len))
    }

    /// Creates the waiter for a later turn of the loop.
    #[cold]
    pub fn wait_for_turn<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Waiter>> {
        let py = slf.py();
        let (event_loop, shared) = {
            let (this, _) = Self::state_in_thread(slf)?;
            (this.protocol.get().state(py)?.event_loop(py), this.shared.clone_ref(py))
        };
        let waiter = Waiter::awaited(py, event_loop.clone_ref(py))?;
        let deferred = Deferred::Task(slf.clone().unbind(), waiter.clone().unbind());
        LoopState::defer(shared.bind(py), event_loop.bind(py), deferred)?;
        Ok(waiter)
    }

    /// Encodes and writes a message of the application, if nothing else needs to be done.
    pub fn send_now(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<Sent> {
        let py = slf.py();
        let (opcode, payload) = if let Ok(text) = message.cast_exact::<PyString>() {
            let Ok(text) = text.to_str() else { return Ok(Sent::NotYet) };
            (Opcode::Text, text.as_bytes())
        } else if let Ok(data) = message.cast_exact::<PyBytes>() {
            (Opcode::Binary, data.as_bytes())
        } else {
            return Ok(Sent::NotYet);
        };
        let due = {
            let (mut this, due) = Self::state_in_thread(slf)?;
            if this.held_back || payload.len() > LARGE || !this.protocol.get().state(py)?.has_room() {
                return Ok(Sent::NotYet);
            }
            let collected = this.connection.get().workings(py)?.collect(opcode, payload, compress);
            let Some(collected) = collected else { return Ok(Sent::NotYet) };
            this.last = Last::Sent;
            match this.due(due, collected) {
                Some(Due::Later) if this.scheduled => None,
                due => due,
            }
        };
        if due.is_some() {
            Self::bring(slf, due)?;
        }
        let spent = slf.get().charge(py, payload.len())?;
        Ok(match due {
            Some(Due::Together) => Sent::Together,
            Some(_) if !slf.get().state(py)?.has_room(py)? => Sent::Crowded,
            _ if spent => Sent::Spent,
            _ => Sent::Done,
        })
    }

    /// Encodes a whole message and writes it, or leaves it to a flush of the loop's collected frames; never waits.
    ///
    /// Nothing is sent if more than `bound` bytes wait.
    pub fn offer(
        slf: &Bound<'_, Self>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
        bound: usize,
    ) -> PyResult<Fate> {
        let py = slf.py();
        let (protocol, connection, loop_due, batched) = {
            let (this, due) = Self::state_in_thread(slf)?;
            (this.protocol.bind(py).clone(), this.connection.bind(py).clone(), due, this.batches > 0)
        };
        let mut unsent = {
            let workings = connection.get().workings(py)?;
            match workings.readiness() {
                Readiness::Ready => {}
                Readiness::Within => return Ok(Fate::Within),
                Readiness::Over => return Ok(Fate::Gone),
            }
            workings.corked_len() + workings.pending(py)?.unwrap_or(0)
        };
        if !ProtocolBase::is_writable(&protocol)? {
            return Ok(Fate::Gone);
        }
        unsent += ProtocolBase::buffered(&protocol)?;
        if unsent > bound {
            return Ok(Fate::Crowded);
        }
        let (len, frame, corked, traced) = {
            let mut workings = connection.get().workings(py)?;
            let before = workings.sent_bytes();
            let frame = match message.cast::<PreparedMessage>() {
                Ok(prepared) if loop_due != Due::Later && !batched => workings.direct_prepared(prepared, compress)?,
                _ => None,
            };
            let corked = if frame.is_some() { 0 } else { workings.cork_message(message, compress)? };
            (workings.sent_bytes() - before, frame, corked, workings.is_traced())
        };
        if traced {
            border::websocket::trace(slf, "sent", message)?;
        }
        let is_due = {
            let mut this = slf.get().state(py)?;
            this.last = Last::Sent;
            frame.is_none() && this.due(loop_due, corked).is_some() && !std::mem::replace(&mut this.scheduled, true)
        };
        if let Some(frame) = frame {
            if !ProtocolBase::hand_over(&protocol, &frame)? {
                return Ok(Fate::Gone);
            }
        } else if is_due && loop_due == Due::Later {
            ProtocolBase::collect(&protocol, slf)?;
        } else if is_due {
            ProtocolBase::gather(&protocol, slf)?;
        }
        slf.get().charge(py, usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Fate::Sent)
    }

    fn bring(slf: &Bound<'_, Self>, due: Option<Due>) -> PyResult<()> {
        let py = slf.py();
        let (protocol, shared) = {
            let mut this = slf.get().state(py)?;
            let collected = this.shared.get().state(py)?.has_collected();
            match due {
                None => return Ok(()),
                Some(Due::Now) if !collected => {}
                Some(_) if std::mem::replace(&mut this.scheduled, true) => {}
                Some(_) => ProtocolBase::collect(this.protocol.bind(py), slf)?,
            }
            (this.protocol.bind(py).clone(), collected.then(|| this.shared.clone_ref(py)))
        };
        match (due, shared) {
            (Some(Due::Now), Some(shared)) => shared.get().flush(py),
            (Some(Due::Now), None) => ProtocolBase::write(&protocol, Self::flush(slf)?.as_any()),
            _ => Ok(()),
        }
    }

    fn check_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py())?.protocol.get().check_thread(slf.py())
    }

    /// Borrows the state and returns when frames are to be written; `RuntimeError` in a thread other than the loop's.
    #[inline]
    pub fn state_in_thread<'a>(slf: &'a Bound<'_, Self>) -> PyResult<(RefMut<'a, State>, Due)> {
        let this = slf.get().state(slf.py())?;
        let due = this.shared.get().state(slf.py())?.due();
        if let Some(due) = due {
            return Ok((this, due));
        }
        drop(this);
        Self::check_thread(slf)?;
        Self::state_in_thread(slf)
    }

    /// Creates the waiter for the write of the frames collected in this read callback.
    pub fn wait_for_flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Waiter>> {
        let this = slf.get().state(slf.py())?;
        let event_loop = this.protocol.get().state(slf.py())?.event_loop(slf.py());
        let sender = Waiter::awaited(slf.py(), event_loop)?;
        this.shared.get().state(slf.py())?.wait_for_flush(&sender);
        Ok(sender)
    }

    /// Returns the collected frames.
    pub fn flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let (connection, multiplexed) = {
            let mut this = slf.get().state(slf.py())?;
            this.scheduled = false;
            (this.connection.clone_ref(py), this.protocol.get().state(py)?.is_multiplexed())
        };
        let out = Endpoint::flush(connection.bind(py))?;
        if multiplexed {
            let pending = connection.get().workings(py)?.pending(py)?;
            let held_back = pending.map_or_else(|| border::websocket::is_held_back(slf), |it| Ok(it > WRITE_HIGH))?;
            slf.get().state(py)?.held_back = held_back;
        }
        Ok(out)
    }
}

impl State {
    pub fn shared(&self) -> &Py<LoopState> {
        &self.shared
    }

    pub fn protocol(&self) -> &Py<ProtocolBase> {
        &self.protocol
    }

    pub fn take_spare(&mut self) -> Option<Py<Awaitable>> {
        self.spare.take()
    }

    /// Keeps a completed awaitable.
    pub fn keep_spare(&mut self, awaitable: &Bound<'_, Awaitable>) {
        self.spare = Some(awaitable.clone().unbind());
    }

    /// Records that no reader waits.
    pub fn wait_no_more(&mut self) {
        self.waiter = None;
    }

    /// Counts one more reader that waits for a turn of the loop.
    pub fn defer_reader(&mut self) {
        self.deferred += 1;
    }

    /// Counts one reader less that waits for a turn of the loop.
    pub fn end_deferral(&mut self) {
        self.deferred -= 1;
    }

    /// Whether a reader waits and has not been woken.
    pub fn waits(&self, py: Python<'_>) -> PyResult<bool> {
        self.waiter.as_ref().map_or(Ok(false), |waiter| Ok(!waiter.get().is_done(py)?))
    }

    pub fn waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Waiter>> {
        self.waiter.as_ref().map(|waiter| waiter.bind(py).clone())
    }

    /// Whether a send need not wait.
    pub fn has_room(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.held_back && self.protocol.get().state(py)?.has_room())
    }

    /// Returns when to write frames of which `collected` bytes wait, given when the loop is `due` to write. `None` leaves it to the end
    /// of a batch.
    #[inline]
    fn due(&self, due: Due, collected: usize) -> Option<Due> {
        match self.batches {
            0 if collected > BURST => Some(Due::Now),
            0 => Some(due),
            _ => (collected > BATCH).then_some(Due::Now),
        }
    }
}
