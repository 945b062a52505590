//! The queue of received messages between a connection and its driver. It depends on neither a loop nor a transport.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::py::events::Kind;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::incoming::Message;
use crate::queue::{Admits, Queue};

/// The queues of one transport whose state has changed: an empty one has received a message, or a queue has ended or become full.
///
/// The driver of the transport drains it after it has processed the bytes it read.
#[pyclass(frozen, module = "mintws._core")]
pub struct ReadyList(Guarded<Vec<Py<MessageQueue>>>);

/// The received messages of one WebSocket that wait for the application.
///
/// `Connection._deliver_to` makes a connection add them here. A full queue pauses: the connection stops decoding until enough messages
/// have been taken.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct MessageQueue(Guarded<State>);

struct State {
    queue: Queue<QueuedMessage>,
    ready: Py<ReadyList>,
    listed: bool,
}

/// A message that waits. An event is created only for a reader that asks for one.
struct QueuedMessage {
    kind: Kind,
    data: Py<PyAny>,
    fin: bool,
}

/// A message taken from the queue.
pub struct Popped<'py> {
    pub message: Message<'py>,
    /// Its length in bytes.
    pub len: usize,
    /// Whether the queue is now empty.
    pub last: bool,
    /// Whether the peer may be resumed.
    pub resumed: bool,
}

#[pymethods]
impl ReadyList {
    #[new]
    pub const fn new() -> Self {
        Self(Guarded::new(Vec::new()))
    }

    /// Whether it has none.
    #[getter]
    fn empty(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.0.borrow_mut(py)?.is_empty())
    }

    /// Remove and return all queues.
    pub fn drain(&self, py: Python<'_>) -> PyResult<Vec<Py<MessageQueue>>> {
        let queues = std::mem::take(&mut *self.0.borrow_mut(py)?);
        for queue in &queues {
            queue.get().state(py)?.listed = false;
        }
        Ok(queues)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(queues) = self.0.visited(&visit) else { return Ok(()) };
        queues.iter().try_for_each(|queue| visit.call(queue))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _held = std::mem::take(&mut *slf.get().0.borrow_mut(slf.py())?);
        Ok(())
    }
}

impl ReadyList {
    /// Whether one of the queues is full.
    pub fn is_crowded(&self, py: Python<'_>) -> PyResult<bool> {
        let queues = self.0.borrow_mut(py)?;
        queues.iter().try_fold(false, |crowded, queue| Ok(crowded || queue.get().paused(py)?))
    }
}

#[pymethods]
impl MessageQueue {
    #[new]
    pub const fn new(ready: Py<ReadyList>) -> Self {
        Self(Guarded::new(State { queue: Queue::new(), ready, listed: false }))
    }

    /// The number of messages that wait for the application.
    #[getter(_waiting)]
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.queue.len())
    }

    /// Whether the queue is full, so that the peer is to be paused until the application has taken messages.
    #[getter(_paused)]
    pub fn paused(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_paused())
    }

    /// The number of messages discarded.
    #[getter(_discarded)]
    fn discarded(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.queue.discarded())
    }

    /// The number of messages that the application has taken.
    #[getter(_taken)]
    fn taken(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.queue.taken())
    }

    /// Remove and return the oldest message as an event, or `None` if the queue is empty.
    ///
    /// If `_paused` was true before the call and is false after it, the peer may be resumed.
    fn _pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.pop(py)? {
            Some(popped) => popped.message.into_event().map(Some),
            None => self.ask(py).map(|_| None),
        }
    }

    /// End the queue: no message follows.
    fn _finish(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().state(slf.py())?.queue.end() {
            return Self::list(slf);
        }
        Ok(())
    }

    /// Discard all later messages, and count them; return whether the peer was paused and may be resumed.
    fn _discard(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.discard())
    }

    /// Discard messages above the limit until one is taken, and count them; return whether the peer was paused and may be resumed.
    fn _abandon(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.abandon())
    }

    /// Queue again the messages that `_abandon` discards.
    fn _keep(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.queue.keep();
        Ok(())
    }

    // The list may refer to the queue.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.ready)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Destructors may use this queue, so drop the values after the borrow has ended.
        let _held = slf.get().state(slf.py())?.queue.clear();
        Ok(())
    }
}

impl MessageQueue {
    #[inline]
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Adds a message of `len` bytes; returns what may follow at once.
    #[inline]
    pub fn push(slf: &Bound<'_, Self>, message: Message<'_>, len: usize) -> PyResult<Admits> {
        let Message { kind, data, fin } = message;
        let pushed = slf.get().state(slf.py())?.queue.push(QueuedMessage { kind, data: data.unbind(), fin }, len);
        if pushed.notable {
            Self::list(slf)?;
        }
        Ok(pushed.admits)
    }

    /// What may come now.
    #[inline]
    pub fn admits(&self, py: Python<'_>) -> PyResult<Admits> {
        Ok(self.state(py)?.queue.admits())
    }

    /// Has nothing more come, since it is not admitted, until the application takes or asks for something.
    #[cold]
    pub fn stall(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().state(slf.py())?.queue.stall() { Self::list(slf) } else { Ok(()) }
    }

    /// Notes that a reader has found nothing; says whether the peer was paused, which may go on.
    #[inline]
    pub fn ask(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.ask())
    }

    /// Has the peer be paused at `most` bytes.
    pub fn bound(&self, py: Python<'_>, most: usize) -> PyResult<()> {
        self.state(py)?.queue.bound(most);
        Ok(())
    }

    /// Has messages be inflated only for a reader that waits, or as they come; says whether the peer was paused for that, and may go on.
    pub fn restrict(&self, py: Python<'_>, restricted: bool) -> PyResult<bool> {
        Ok(self.state(py)?.queue.restrict(restricted))
    }

    /// What it takes of memory, in bytes.
    pub fn memory(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.queue.memory())
    }

    /// Removes and returns the oldest message.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call would copy the message twice more")]
    pub fn pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Popped<'py>>> {
        let Some(popped) = self.state(py)?.queue.pop() else { return Ok(None) };
        let QueuedMessage { kind, data, fin } = popped.message;
        let message = Message { kind, data: data.into_bound(py), fin };
        Ok(Some(Popped { message, len: popped.len, last: popped.last, resumed: popped.resumed }))
    }

    /// Puts the queue into the ready list.
    pub fn list(slf: &Bound<'_, Self>) -> PyResult<()> {
        let mut this = slf.get().state(slf.py())?;
        if !std::mem::replace(&mut this.listed, true) {
            this.ready.get().0.borrow_mut(slf.py())?.push(slf.clone().unbind());
        }
        Ok(())
    }

    pub fn is_discarding(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_discarding())
    }

    pub fn is_empty(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_empty())
    }

    /// Whether the queue is empty and has not ended.
    pub fn is_idle(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.state(py)?;
        Ok(this.queue.is_empty() && !this.queue.is_ended())
    }

    pub fn is_ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_ended())
    }
}
