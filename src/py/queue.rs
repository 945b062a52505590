//! Received messages as Python objects, between a connection and whatever drives it: neither loop nor transport is known here.

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::py::attached::{Attached, RefMut};
use crate::py::events::Kind;
use crate::py::incoming::Message;
use crate::queue::Queue;

/// The queues of one transport that have become worth a look: each was empty and has a message, or has ended, or is full.
///
/// Whoever drives the transport drains it when it has handed on what was read.
#[pyclass(frozen, module = "mintws._core")]
pub struct ReadyList(Attached<Vec<Py<MessageQueue>>>);

/// The messages of one WebSocket that wait for the application.
///
/// `Connection._deliver_to` has a connection put them here. A queue that is full pauses: the connection decodes no more until enough
/// messages were taken.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct MessageQueue(Attached<State>);

struct State {
    queue: Queue<QueuedMessage>,
    ready: Py<ReadyList>,
    listed: bool,
}

/// A message that waits: an event is made of it only for a reader who asks for one.
struct QueuedMessage {
    kind: Kind,
    data: Py<PyAny>,
    fin: bool,
}

/// A message that was taken.
pub struct Popped<'py> {
    pub message: Message<'py>,
    /// How many bytes it has.
    pub len: usize,
    /// No other waits.
    pub last: bool,
    /// The peer may go on.
    pub resumed: bool,
}

#[pymethods]
impl ReadyList {
    #[new]
    pub const fn new() -> Self {
        Self(Attached::new(Vec::new()))
    }

    /// Take the queues off the list.
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

#[pymethods]
impl MessageQueue {
    #[new]
    pub const fn new(ready: Py<ReadyList>) -> Self {
        Self(Attached::new(State { queue: Queue::new(), ready, listed: false }))
    }

    /// How many messages wait for the application.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.queue.len())
    }

    /// Whether the peer is to send no more until the application has taken some.
    #[getter]
    pub fn paused(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_paused())
    }

    /// How many messages came that nobody took.
    #[getter]
    fn discarded(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.state(py)?.queue.discarded())
    }

    /// How many messages the application has taken.
    #[getter]
    fn taken(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.queue.taken())
    }

    /// Take the oldest message, as an event; `None` if none waits.
    fn _pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.pop(py)?.map(|popped| popped.message.into_event()).transpose()
    }

    /// Say that nothing follows the messages.
    fn _finish(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().state(slf.py())?.queue.end() {
            return Self::list(slf);
        }
        Ok(())
    }

    /// Take no more messages than those that wait already, and count later ones; say whether the peer was paused, which may go on.
    fn _discard(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.discard())
    }

    /// Count and drop messages beyond those that may wait, until one is taken; say whether the peer was paused, which may go on.
    fn _abandon(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.abandon())
    }

    /// Have messages wait again that `_abandon` drops.
    fn _keep(&self, py: Python<'_>) -> PyResult<()> {
        self.state(py)?.queue.keep();
        Ok(())
    }

    // The list may hold the queue.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.ready)
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // What is let go of may look at this queue, so it is dropped when that can be borrowed again.
        let _held = slf.get().state(slf.py())?.queue.clear();
        Ok(())
    }
}

impl MessageQueue {
    #[inline]
    fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Adds a message of `len` bytes, and says whether another may follow at once.
    #[inline]
    pub fn push(slf: &Bound<'_, Self>, message: Message<'_>, len: usize) -> PyResult<bool> {
        let Message { kind, data, fin } = message;
        let pushed = slf.get().state(slf.py())?.queue.push(QueuedMessage { kind, data: data.unbind(), fin }, len);
        if pushed.notable {
            Self::list(slf)?;
        }
        Ok(pushed.more)
    }

    /// Takes the oldest message.
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

    pub fn is_empty(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_empty())
    }

    /// Whether nothing waits, and something may still come.
    pub fn is_idle(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.state(py)?;
        Ok(this.queue.is_empty() && !this.queue.is_ended())
    }

    pub fn is_ended(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.queue.is_ended())
    }
}
