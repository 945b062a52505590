//! The state shared by the transports of one event loop: the read buffer, frames sent while a reader runs, and the work of a turn.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PySequence;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::{ProtocolBase, Waiter, WebSocketBase};
use crate::py::guarded::{Guarded, RefMut};
use crate::turns::Turns;

thread_local! {
    /// Its address tells threads apart.
    static THREAD: u8 = const { 0 };
}

/// The state shared by all transports of one event loop.
///
/// Within a read callback, frames are collected while the WebSocket whose reader runs has unread messages. They are written by the send
/// after its last message, or at the end of the callback.
#[pyclass(frozen, module = "mintws._core")]
pub struct LoopState(Guarded<State>);

pub struct State {
    /// The read buffer of all transports. Its content is consumed before the next read.
    buffer: Py<PySequence>,
    /// The thread in which the loop was last seen running.
    thread: usize,
    /// The task that runs within a read callback; `None` outside of one.
    running: Option<Running>,
    /// Transports with collected frames.
    collected: Vec<Py<ProtocolBase>>,
    /// Senders that wait for their frames to be written.
    senders: Vec<Py<Waiter>>,
    turns: Turns<Deferred>,
}

/// Work for a later turn of the loop.
pub enum Deferred {
    /// A task that receives or sends without needing to wait.
    Task(Py<WebSocketBase>, Py<Waiter>),
    /// A transport with undecoded bytes.
    Transport(Py<ProtocolBase>),
}

/// The task that runs within a read callback.
#[derive(Clone, Copy)]
pub struct Running {
    /// The address of the WebSocket whose reader it is.
    websocket: usize,
    /// Whether that WebSocket has unread messages.
    unread: bool,
    /// Whether other tasks run after this one in the same callback.
    followed: bool,
}

/// The time at which frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Before the send returns.
    Now,
    /// After the other tasks of the read callback have run. The send returns after that.
    Together,
    /// By a later send, or at the end of the read callback.
    Later,
}

#[pymethods]
impl LoopState {
    /// Create the state of a loop that runs in this thread.
    #[new]
    fn new(buffer: Py<PySequence>) -> Self {
        Self(Guarded::new(State {
            buffer,
            thread: this_thread(),
            running: None,
            collected: Vec::new(),
            senders: Vec::new(),
            turns: Turns::new(),
        }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.buffer)?;
        this.collected.iter().try_for_each(|protocol| visit.call(protocol))?;
        this.turns.waiting().iter().try_for_each(|deferred| match deferred {
            Deferred::Task(websocket, waiter) => visit.call(websocket).and_then(|()| visit.call(waiter)),
            Deferred::Transport(protocol) => visit.call(protocol),
        })?;
        this.senders.iter().try_for_each(|sender| visit.call(sender))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            (std::mem::take(&mut this.collected), std::mem::take(&mut this.senders), this.turns.clear())
        };
        Ok(())
    }

    /// Begin a turn, and resume deferred work; called by the loop.
    fn _begin_turn(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.get().state(py)?.turns.begin();
        let mut ended = Ok(());
        loop {
            let Some(deferred) = slf.get().state(py)?.turns.take() else { break };
            // A failure must not affect the others.
            ended = ended.and(ProtocolBase::go_on(py, deferred));
        }
        ended.and(Self::ask_for_turn(slf, event_loop))
    }
}

impl LoopState {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Raises `RuntimeError` unless `event_loop`, to which this belongs, runs in this thread.
    #[cold]
    pub fn check_thread(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = event_loop.py();
        if self.state(py)?.thread == this_thread() {
            return Ok(());
        }
        let running = RUNNING_LOOP.import(py, "asyncio", "_get_running_loop")?.call0()?;
        if !running.is(event_loop) {
            return Err(PyRuntimeError::new_err(
                "the WebSocket belongs to an event loop of another thread: call it by asyncio.run_coroutine_threadsafe()",
            ));
        }
        self.state(py)?.thread = this_thread();
        Ok(())
    }

    /// Defers work to a later turn of `event_loop`, to which this belongs.
    pub fn defer(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>, deferred: Deferred) -> PyResult<()> {
        slf.get().state(slf.py())?.turns.wait(deferred);
        Self::ask_for_turn(slf, event_loop)
    }

    fn ask_for_turn(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        if !slf.get().state(slf.py())?.turns.asks() {
            return Ok(());
        }
        let begin = slf.getattr(intern!(slf.py(), "_begin_turn"))?;
        event_loop.call_method1(intern!(slf.py(), "call_soon"), (begin, event_loop)).map(drop)
    }

    /// Runs a task within a read callback: `wake` resumes it, and `followed` is whether others run after it.
    pub fn run<T>(
        &self,
        py: Python<'_>,
        websocket: Option<&Py<WebSocketBase>>,
        followed: bool,
        wake: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<T> {
        let unread = match websocket {
            Some(websocket) => !websocket.bind(py).as_super().get().is_empty(py)?,
            None => false,
        };
        let running = Running { websocket: websocket.map_or(0, |it| it.as_ptr().addr()), unread, followed };
        self.state(py)?.running = Some(running);
        let woken = wake();
        self.state(py)?.running = None;
        woken
    }

    /// Writes all frames that were collected.
    pub fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let collected = std::mem::take(&mut self.state(py)?.collected);
        let mut flushed = Ok(());
        for protocol in &collected {
            // A failure must not affect the other transports.
            flushed = flushed.and(ProtocolBase::flush(protocol.bind(py)));
        }
        flushed
    }
}

impl State {
    pub fn buffer<'py>(&self, py: Python<'py>) -> Bound<'py, PySequence> {
        self.buffer.bind(py).clone()
    }

    /// Returns when frames sent now are written; `None` in a thread in which the loop was not seen running.
    #[inline]
    pub fn due(&self) -> Option<Due> {
        (self.thread == this_thread()).then_some(match self.running {
            Some(Running { unread: true, .. }) => Due::Later,
            Some(Running { followed: true, .. }) => Due::Together,
            _ => Due::Now,
        })
    }

    /// The work of the loop's turns.
    #[inline]
    pub const fn turns(&mut self) -> &mut Turns<Deferred> {
        &mut self.turns
    }

    /// Notes that the reader of `websocket` has taken its last message.
    #[inline]
    pub fn has_taken_all(&mut self, websocket: &Bound<'_, WebSocketBase>) {
        if let Some(running) = &mut self.running
            && running.websocket == websocket.as_ptr().addr()
        {
            running.unread = false;
        }
    }

    /// Begins a read callback; returns the task that was running, if event loops are nested.
    pub fn begin(&mut self) -> Option<Running> {
        self.running.take()
    }

    /// Ends a read callback, and restores the task that was running.
    pub fn end(&mut self, outer: Option<Running>) {
        self.running = outer;
    }

    /// Whether collected frames are to be written now, because no reader in this thread has unread messages.
    pub fn writes_now(&self) -> bool {
        self.has_collected() && !matches!(self.due(), Some(Due::Later))
    }

    pub fn has_collected(&self) -> bool {
        !self.collected.is_empty()
    }

    /// Adds a transport with collected frames; returns whether it is the first.
    pub fn collect(&mut self, protocol: &Bound<'_, ProtocolBase>) -> bool {
        self.collected.push(protocol.clone().unbind());
        self.collected.len() == 1
    }

    pub fn wait_for_flush(&mut self, sender: &Bound<'_, Waiter>) {
        self.senders.push(sender.clone().unbind());
    }

    pub fn take_senders(&mut self) -> Vec<Py<Waiter>> {
        std::mem::take(&mut self.senders)
    }
}

#[inline]
fn this_thread() -> usize {
    THREAD.with(|it| std::ptr::from_ref(it).addr())
}
