//! One WebSocket's messages, in and out, as a driver sees them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::loop_state::{Deferred, Due};
use super::operation::{Operation, Reads};
use super::{Arrival, Exchange, LoopState};
use crate::frame::Opcode;
use crate::py::attached::{Attached, RefMut};
use crate::py::border;
use crate::py::endpoint::Endpoint;
use crate::py::errors::local;
use crate::py::incoming::Message;
use crate::py::queue::{MessageQueue, Popped};

/// Frames that are collected are written when they are more bytes than this.
const FLUSH_SIZE: usize = 32 * 1024;
/// A payload of more bytes is not copied to other frames, but written behind its header by a call of its own, from Python: that costs
/// more than to copy a smaller one twice.
const LARGE: usize = 64 * 1024;

/// What a driver's WebSocket is built on: messages that wait for the application, and frames that wait to be written.
#[pyclass(frozen, subclass, name = "WebSocket", extends = MessageQueue, module = "mintws._core")]
pub struct Mailbox(Attached<State>);

pub struct State {
    connection: Py<Endpoint>,
    exchange: Py<Exchange>,
    shared: Py<LoopState>,
    waiter: Option<Py<Arrival>>,
    /// How many readers, for whom a message is there, wait for a turn of the loop.
    deferred: usize,
    /// An operation that is done, for the next one to be made of.
    spare: Option<Py<Operation>>,
    last: Last,
    /// The exchange is to write what is collected here.
    scheduled: bool,
    /// How many batches are open: their end writes what is collected.
    batches: usize,
    /// The peer's flow control lets no more pass.
    held_back: bool,
}

/// What the application has done last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It has taken a message, which it may be about to answer.
    Took,
    /// It has sent something, or nothing was there to be taken.
    Sent,
}

/// What a reader finds.
pub enum Found<'py> {
    Message(Message<'py>),
    End,
    Nothing,
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Done,
    /// It is on its way, and more should wait until there is room.
    Crowded,
    /// It is written when the other tasks of the read callback have run, which the sender is to wait for.
    Together,
    /// It is on its way, and the turn of the loop is spent: the sender goes on in a later one.
    Spent,
    /// It takes more than what is done here, and nothing was done yet.
    NotYet,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new(py: Python<'_>, exchange: Py<Exchange>, connection: Py<Endpoint>) -> PyResult<PyClassInitializer<Self>> {
        let shared = exchange.get().shared(py)?;
        let queue = MessageQueue::new(exchange.get().ready(py)?);
        let this = Self(Attached::new(State {
            connection,
            exchange,
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
    #[getter]
    fn awaited(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.state(py)?;
        Ok(this.waiter.is_some() || this.deferred > 0)
    }

    /// Whether the application has taken a message and sent nothing since.
    #[getter]
    fn owes_answer(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.last == Last::Took)
    }

    /// Whether the peer's flow control lets no more pass.
    #[getter(_held_back)]
    fn held_back(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.held_back)
    }

    #[setter(_held_back)]
    fn set_held_back(&self, py: Python<'_>, held_back: bool) -> PyResult<()> {
        self.state(py)?.held_back = held_back;
        Ok(())
    }

    /// Wait for the next message and give it.
    ///
    /// A call that is cancelled loses no message.
    ///
    /// Raises:
    ///     ConnectionClosed: nothing more comes.
    fn recv(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Operation::reading(slf, Reads::Data)
    }

    /// Wait for the next message, or part of one, as an event; parts are asked for by the option `parts`.
    ///
    /// Raises:
    ///     ConnectionClosed: nothing more comes.
    fn recv_event(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Operation::reading(slf, Reads::Event)
    }

    /// Wait for the next message as an event of ASGI.
    fn _recv_asgi(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Operation::reading(slf, Reads::Asgi)
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        Operation::reading(slf, Reads::Next)
    }

    /// Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.
    ///
    /// An iterable of `str` or of bytes, asynchronous or not, is one message in as many fragments; others wait until it is whole.
    /// When the call returns, the message is with the transport, if there is room. One exception makes bursts cheap: while a task goes
    /// through messages that came together, its sends are written by the send that follows the last of these messages, or when the
    /// task waits for something else.
    /// A call that is cancelled while it waits for room has sent its message already: to call again would send it twice.
    ///
    /// Args:
    ///     message: what to send.
    ///     compress: whether to compress it, where permessage-deflate was agreed on; `None` leaves it to the extension's threshold.
    ///
    /// Raises:
    ///     ConnectionClosed: nothing more can be sent.
    ///     TypeError: the message is nothing of the kind: `ping` sends a Ping, and `close` a Close.
    #[pyo3(signature = (message, *, compress=None))]
    fn send(slf: &Bound<'_, Self>, message: Py<PyAny>, compress: Option<bool>) -> PyResult<Py<Operation>> {
        Operation::sending(slf, message, compress)
    }

    /// Have frames written that were sent on the connection: `now`, or when those of `send` are.
    fn _post(slf: &Bound<'_, Self>, now: bool) -> PyResult<()> {
        let py = slf.py();
        let due = {
            let (this, due) = Self::state_in_thread(slf)?;
            let corked = this.connection.get().workings(py)?.corked_len();
            match this.due(due, corked) {
                _ if now => Some(Due::Now),
                // Whoever calls this does not wait.
                Some(Due::Together) => Some(Due::Now),
                due => due,
            }
        };
        Self::bring(slf, due)
    }

    /// Note that the application sends something, which may answer the messages that it has taken.
    fn _has_sent(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.last = Last::Sent;
        Ok(())
    }

    /// Raise `RuntimeError` in any thread but the loop's.
    fn _check_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::check_thread(slf)
    }

    /// Hold frames back until `_end_batch`.
    fn _begin_batch(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (mut this, _) = Self::state_in_thread(slf)?;
        this.batches += 1;
        Ok(())
    }

    /// Write the frames of the batch, unless it is within another.
    fn _end_batch(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py())?.batches -= 1;
        Self::_post(slf, false)
    }

    // Its parts refer to each other, and the application to them.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.connection)?;
        visit.call(&this.exchange)?;
        visit.call(&this.shared)?;
        visit.call(&this.spare)?;
        visit.call(&this.waiter)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // What is let go of may look at this mailbox, so it is dropped when that can be borrowed again.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            (this.spare.take(), this.waiter.take())
        };
        Ok(())
    }
}

impl Mailbox {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Gives the next message to `operation`, which is done by that.
    pub fn take<'py>(slf: &Bound<'py, Self>, operation: &Bound<'py, Operation>) -> PyResult<Found<'py>> {
        let py = slf.py();
        let queue = slf.as_super().get();
        let Some(Popped { message, len, last, resumed }) = queue.pop(py)? else {
            return Ok(if queue.is_ended(py)? { Found::End } else { Found::Nothing });
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
            this.keep_spare(operation);
        }
        if resumed {
            Self::resume(slf)?;
        }
        Ok(Found::Message(message))
    }

    /// Lets the peer send again.
    #[cold]
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        border::websocket::resume(slf)
    }

    /// Makes what the next message is waited for by.
    pub fn wait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Arrival>> {
        let (mut this, _) = Self::state_in_thread(slf)?;
        if this.waiter.is_some() {
            return Err(local("another task is receiving already: messages go to one reader"));
        }
        let event_loop = this.exchange.get().state(slf.py())?.event_loop(slf.py());
        let arrival = Arrival::awaited(slf.py(), event_loop)?;
        this.waiter = Some(arrival.clone().unbind());
        Ok(arrival)
    }

    /// Whether a reader is to go on in a later turn of the loop, though a message is there.
    #[inline]
    pub fn is_to_defer(&self, py: Python<'_>, queue: &MessageQueue) -> PyResult<bool> {
        let spent = self.state(py)?.shared.get().state(py)?.turns().is_spent();
        Ok(spent && !queue.is_empty(py)?)
    }

    /// Counts what was sent, of `len` bytes; says whether the turn of the loop is spent.
    #[inline]
    pub fn charge(&self, py: Python<'_>, len: usize) -> PyResult<bool> {
        Ok(self.state(py)?.shared.get().state(py)?.turns().charge(len))
    }

    /// Makes what a task waits for until a later turn of the loop.
    #[cold]
    pub fn wait_for_turn<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Arrival>> {
        let py = slf.py();
        let (event_loop, shared) = {
            let (this, _) = Self::state_in_thread(slf)?;
            (this.exchange.get().state(py)?.event_loop(py), this.shared.clone_ref(py))
        };
        let waiter = Arrival::awaited(py, event_loop.clone_ref(py))?;
        let deferred = Deferred::Task(slf.clone().unbind(), waiter.clone().unbind());
        LoopState::defer(shared.bind(py), event_loop.bind(py), deferred)?;
        Ok(waiter)
    }

    /// Encodes a message of the application's and has it written, if that is all there is to do.
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
            if this.held_back || payload.len() > LARGE || !this.exchange.get().state(py)?.has_room() {
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

    fn bring(slf: &Bound<'_, Self>, due: Option<Due>) -> PyResult<()> {
        let py = slf.py();
        let (exchange, shared) = {
            let mut this = slf.get().state(py)?;
            let collected = this.shared.get().state(py)?.has_collected();
            match due {
                None => return Ok(()),
                Some(Due::Now) if !collected => {}
                Some(_) if std::mem::replace(&mut this.scheduled, true) => {}
                Some(_) => Exchange::collect(this.exchange.bind(py), slf)?,
            }
            (this.exchange.bind(py).clone(), collected.then(|| this.shared.clone_ref(py)))
        };
        match (due, shared) {
            (Some(Due::Now), Some(shared)) => shared.get().flush(py),
            (Some(Due::Now), None) => Exchange::write(&exchange, Self::flush(slf)?.as_any()),
            _ => Ok(()),
        }
    }

    fn check_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().state(slf.py())?.exchange.get().check_thread(slf.py())
    }

    /// Lends the state, and says when the loop has frames written now; `RuntimeError` in any thread but the loop's.
    #[inline]
    fn state_in_thread<'a>(slf: &'a Bound<'_, Self>) -> PyResult<(RefMut<'a, State>, Due)> {
        let this = slf.get().state(slf.py())?;
        let due = this.shared.get().state(slf.py())?.due();
        if let Some(due) = due {
            return Ok((this, due));
        }
        drop(this);
        Self::check_thread(slf)?;
        Self::state_in_thread(slf)
    }

    /// Makes what the sender waits for until what is collected in this read callback is written.
    pub fn wait_for_flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Arrival>> {
        let this = slf.get().state(slf.py())?;
        let event_loop = this.exchange.get().state(slf.py())?.event_loop(slf.py());
        let sender = Arrival::awaited(slf.py(), event_loop)?;
        this.shared.get().state(slf.py())?.wait_for_flush(&sender);
        Ok(sender)
    }

    /// Gives the frames that are collected.
    pub fn flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let (connection, multiplexed) = {
            let mut this = slf.get().state(slf.py())?;
            this.scheduled = false;
            (this.connection.clone_ref(py), this.exchange.get().state(py)?.is_multiplexed())
        };
        let out = Endpoint::flush(connection.bind(py))?;
        if multiplexed {
            let passing = connection.get().workings(py)?.is_passing(py)?;
            let held_back = !passing && border::websocket::is_held_back(slf)?;
            slf.get().state(py)?.held_back = held_back;
        }
        Ok(out)
    }
}

impl State {
    pub fn exchange(&self) -> &Py<Exchange> {
        &self.exchange
    }

    pub fn take_spare(&mut self) -> Option<Py<Operation>> {
        self.spare.take()
    }

    /// Takes an operation that is done.
    pub fn keep_spare(&mut self, operation: &Bound<'_, Operation>) {
        self.spare = Some(operation.clone().unbind());
    }

    /// Takes note that nobody waits any more.
    pub fn wait_no_more(&mut self) {
        self.waiter = None;
    }

    /// One more reader waits for a turn of the loop.
    pub fn defer_reader(&mut self) {
        self.deferred += 1;
    }

    /// A reader waits for a turn no more.
    pub fn end_deferral(&mut self) {
        self.deferred -= 1;
    }

    /// Whether a reader waits that has not been woken.
    pub fn waits(&self, py: Python<'_>) -> PyResult<bool> {
        self.waiter.as_ref().map_or(Ok(false), |waiter| Ok(!waiter.get().is_done(py)?))
    }

    pub fn waiter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Arrival>> {
        self.waiter.as_ref().map(|waiter| waiter.bind(py).clone())
    }

    /// Whether more may be sent without waiting.
    pub fn has_room(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.held_back && self.exchange.get().state(py)?.has_room())
    }

    /// Says when frames are written of which `collected` bytes wait, where it is `due` that the loop has frames written. `None` leaves it
    /// to the end of a batch.
    #[inline]
    fn due(&self, due: Due, collected: usize) -> Option<Due> {
        if collected > FLUSH_SIZE {
            return Some(Due::Now);
        }
        (self.batches == 0).then_some(due)
    }
}
