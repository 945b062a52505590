//! The messages of one WebSocket for a driver whose tasks wait in coroutines of its own, whatever runs them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::awaitable::{Awaitable, RecvKind};
use super::websocket::Last;
use crate::frame::Opcode;
use crate::py::border;
use crate::py::endpoint::Endpoint;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::incoming::Message;
use crate::py::queue::{MessageQueue, Popped, ReadyList};
use crate::turns::Turns;

/// The bytes of collected frames above which they are written.
const COLLECTED: usize = 32 * 1024;
/// A larger payload is left to the subclass, which need not copy it to other frames.
const LARGE: usize = 64 * 1024;

/// Base class of a WebSocket that takes and answers messages which arrived together without waiting in between.
///
/// `recv` and `send` return an `Awaitable`. All else is left to coroutines of the subclass, `_receive`, `_send` and `_sent`: to wait, to
/// let other tasks run, and to write.
#[pyclass(frozen, subclass, extends = MessageQueue, module = "mintws._core")]
pub struct BurstWebSocket(Guarded<State>);

struct State {
    connection: Py<Endpoint>,
    /// The work since other tasks could last run.
    turns: Turns<()>,
    reader: Reader,
    last: Last,
    /// Whether sends have to wait, or to fail.
    blocked: bool,
    /// Whether the collected frames are going to be written.
    posted: bool,
    /// The number of open batches, whose end writes the collected frames.
    batches: usize,
    /// A completed awaitable, to be reused for the next one.
    spare: Option<Py<Awaitable>>,
}

/// What the reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// It does something else.
    Away,
    /// It waits in `recv`.
    Waits,
    /// It has let other tasks run since the queue was last empty, and goes through what is there.
    Takes,
}

/// The result of sending a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is written, or will be with others.
    Done,
    /// All that was collected is to be written, and other tasks are to run.
    Due,
    /// It needs more than is done here, and nothing was done yet.
    NotYet,
}

#[pymethods]
impl BurstWebSocket {
    #[new]
    fn new(ready: Py<ReadyList>, connection: Py<Endpoint>) -> PyClassInitializer<Self> {
        let this = Self(Guarded::new(State {
            connection,
            turns: Turns::new(),
            reader: Reader::Away,
            last: Last::Sent,
            blocked: false,
            posted: false,
            batches: 0,
            spare: None,
        }));
        PyClassInitializer::from(MessageQueue::new(ready)).add_subclass(this)
    }

    /// Whether a task waits in `recv`.
    #[getter(_awaited)]
    fn awaited(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.reader == Reader::Waits)
    }

    #[setter(_awaited)]
    fn set_awaited(slf: &Bound<'_, Self>, awaited: bool) -> PyResult<()> {
        let unread = !slf.as_super().get().is_empty(slf.py())?;
        slf.get().state(slf.py())?.reader = match (awaited, unread) {
            (true, _) => Reader::Waits,
            (false, true) => Reader::Takes,
            (false, false) => Reader::Away,
        };
        Ok(())
    }

    /// Whether the application has taken a message and sent nothing since.
    #[getter(_owes_answer)]
    fn owes_answer(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.last == Last::Took)
    }

    /// Whether sends have to wait, for room or for the end of a message in fragments, or to fail.
    #[getter(_blocked)]
    fn blocked(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.blocked)
    }

    #[setter(_blocked)]
    fn set_blocked(&self, py: Python<'_>, blocked: bool) -> PyResult<()> {
        self.state(py)?.blocked = blocked;
        Ok(())
    }

    /// Whether a batch is open.
    #[getter(_batching)]
    fn batching(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.batches > 0)
    }

    /// Wait for the next message and return it.
    ///
    /// A cancelled call loses no message.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    fn recv(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::receiving(slf, RecvKind::Data)
    }

    /// Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.
    ///
    /// Raises:
    ///     ConnectionClosed: the WebSocket has ended.
    fn recv_event(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::receiving(slf, RecvKind::Event)
    }

    fn __aiter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<Awaitable>> {
        Awaitable::receiving(slf, RecvKind::Next)
    }

    /// Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.
    ///
    /// A synchronous or asynchronous iterable of `str` or of bytes is one message, with each element a fragment. Other messages wait
    /// until it is complete. When the call returns, the message has been passed to the transport, if that has room. There is one
    /// exception, which makes bursts cheap: while a task handles messages that arrived together, its sends are written by the send
    /// after the last of these messages, or when the task waits for something else.
    /// A call that is cancelled has already sent its message: a second call would send it twice.
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
        Awaitable::answering(slf, message, compress)
    }

    /// Take the next message in a tuple, as an event or as its data, or return `None` if there is none. A paused peer is resumed.
    fn _take<'py>(slf: &Bound<'py, Self>, event: bool) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = slf.py();
        let queue = slf.as_super().get();
        let mut popped = queue.pop(py)?;
        if popped.is_none() && queue.ask(py)? {
            // What waits is decoded for those who ask.
            border::burst::resume(slf)?;
            popped = queue.pop(py)?;
        }
        let Some(popped) = popped else { return Ok(None) };
        let kind = if event { RecvKind::Event } else { RecvKind::Data };
        PyTuple::new(py, [kind.of(Self::taken(slf, popped)?)?]).map(Some)
    }

    /// Record that other tasks could run.
    fn _begin_turn(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.turns.begin();
        Ok(())
    }

    /// Record that the application sends something, which may answer the messages that it has taken.
    fn _has_sent(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.last = Last::Sent;
        Ok(())
    }

    /// Return the frames to be written: all that were collected.
    fn _take_frames<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let connection = {
            let mut this = self.state(py)?;
            this.posted = false;
            this.connection.bind(py).clone()
        };
        Endpoint::flush(&connection)
    }

    /// Collect frames until `_end_batch`.
    fn _begin_batch(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.batches += 1;
        Ok(())
    }

    /// End a batch.
    fn _end_batch(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.batches -= 1;
        Ok(())
    }

    // Its parts refer to each other, and the application refers to them.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.connection)?;
        visit.call(&this.spare)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _held = slf.get().state(slf.py())?.spare.take();
        Ok(())
    }
}

impl BurstWebSocket {
    #[inline]
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    pub fn take_spare(&self, py: Python<'_>) -> PyResult<Option<Py<Awaitable>>> {
        Ok(self.state(py)?.spare.take())
    }

    /// Takes a message of a burst for `awaitable`, which completes with it; `None` if the reader has to wait, or to let others run.
    pub fn take_now<'py>(slf: &Bound<'py, Self>, awaitable: &Bound<'py, Awaitable>) -> PyResult<Option<Message<'py>>> {
        let py = slf.py();
        {
            let this = slf.get().state(py)?;
            if this.reader != Reader::Takes || this.turns.is_spent() {
                return Ok(None);
            }
        }
        let Some(popped) = slf.as_super().get().pop(py)? else { return Ok(None) };
        slf.get().state(py)?.spare = Some(awaitable.clone().unbind());
        Self::taken(slf, popped).map(Some)
    }

    fn taken<'py>(slf: &Bound<'py, Self>, popped: Popped<'py>) -> PyResult<Message<'py>> {
        let Popped { message, len, last, resumed } = popped;
        {
            let mut this = slf.get().state(slf.py())?;
            this.last = Last::Took;
            if last && this.reader == Reader::Takes {
                this.reader = Reader::Away;
            }
            this.turns.charge(len);
        }
        if resumed {
            border::burst::resume(slf)?;
        }
        Ok(message)
    }

    /// Encodes a message, if nothing else needs to be done for it.
    pub fn send_now(
        slf: &Bound<'_, Self>,
        awaitable: &Bound<'_, Awaitable>,
        message: &Bound<'_, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Sent> {
        let py = slf.py();
        let (opcode, payload) = if let Ok(text) = message.cast_exact::<PyString>() {
            let Ok(text) = text.to_str() else { return Ok(Sent::NotYet) };
            (Opcode::Text, text.as_bytes())
        } else if let Ok(data) = message.cast_exact::<PyBytes>() {
            (Opcode::Binary, data.as_bytes())
        } else {
            return Ok(Sent::NotYet);
        };
        let unread = !slf.as_super().get().is_empty(py)?;
        let posts = {
            let mut this = slf.get().state(py)?;
            if this.blocked || payload.len() > LARGE {
                return Ok(Sent::NotYet);
            }
            let collected = this.connection.get().workings(py)?.collect(opcode, payload, compress);
            let Some(collected) = collected else { return Ok(Sent::NotYet) };
            // Whoever answers has let other tasks run to receive.
            let answers = std::mem::replace(&mut this.last, Last::Sent) == Last::Took;
            let batching = this.batches > 0;
            let more = batching || (unread && this.reader == Reader::Takes);
            if this.turns.charge(payload.len()) || collected > COLLECTED || !(more || answers) {
                return Ok(Sent::Due);
            }
            this.spare = Some(awaitable.clone().unbind());
            if more { Some(!batching && !std::mem::replace(&mut this.posted, true)) } else { None }
        };
        match posts {
            Some(true) => border::burst::post_later(slf)?,
            Some(false) => {}
            None if border::burst::write(slf)? => {}
            None => return Ok(Sent::Due),
        }
        Ok(Sent::Done)
    }
}
