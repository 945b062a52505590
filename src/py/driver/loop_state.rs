//! What the transports of one event loop share: the buffer that they read into, what is sent while a reader runs, and the work of a turn.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PySequence;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::{Arrival, Exchange, Mailbox};
use crate::py::attached::{Attached, RefMut};
use crate::turns::Turns;

thread_local! {
    /// Its address tells threads apart.
    static THREAD: u8 = const { 0 };
}

/// The state that all transports of one event loop share.
///
/// Within a read callback, frames are collected as long as the WebSocket whose reader runs has unread messages. They are written by the
/// send that follows its last message, or else at the end of the callback.
#[pyclass(frozen, module = "mintws._core")]
pub struct LoopState(Attached<State>);

pub struct State {
    /// Where all transports read into. It is used up before the next read.
    buffer: Py<PySequence>,
    /// The thread in which the loop was seen to run.
    thread: usize,
    /// What runs within a read callback; `None` outside of one.
    running: Option<Running>,
    /// Transports with collected frames.
    collected: Vec<Py<Exchange>>,
    /// Senders that wait until their frames are written.
    senders: Vec<Py<Arrival>>,
    turns: Turns<Deferred>,
}

/// What goes on in a later turn of the loop.
pub enum Deferred {
    /// A task that receives or sends without having to wait.
    Task(Py<Mailbox>, Py<Arrival>),
    /// A transport of whose bytes some are not decoded yet.
    Transport(Py<Exchange>),
}

/// The task that runs within a read callback.
#[derive(Clone, Copy)]
pub struct Running {
    /// The address of the WebSocket whose reader it is.
    mailbox: usize,
    /// That WebSocket has messages that the reader has not taken.
    unread: bool,
    /// Other tasks run in the same callback after this one.
    followed: bool,
}

/// When frames are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Before the send returns.
    Now,
    /// When the other tasks of the read callback have run; the send returns after that.
    Together,
    /// By a later send, or at the end of the read callback.
    Later,
}

#[pymethods]
impl LoopState {
    /// Make the state of a loop that runs in this thread.
    #[new]
    fn new(buffer: Py<PySequence>) -> Self {
        Self(Attached::new(State {
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
        this.collected.iter().try_for_each(|exchange| visit.call(exchange))?;
        this.turns.waiting().iter().try_for_each(|deferred| match deferred {
            Deferred::Task(mailbox, waiter) => visit.call(mailbox).and_then(|()| visit.call(waiter)),
            Deferred::Transport(exchange) => visit.call(exchange),
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

    /// Begin a turn, and let what has waited for it go on; the loop calls this.
    fn _begin_turn(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        slf.get().state(py)?.turns.begin();
        let mut ended = Ok(());
        loop {
            let Some(deferred) = slf.get().state(py)?.turns.take() else { break };
            // One that fails keeps nothing from another.
            ended = ended.and(Exchange::go_on(py, deferred));
        }
        ended.and(Self::ask_for_turn(slf, event_loop))
    }
}

impl LoopState {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Raises `RuntimeError` unless `event_loop`, whose state this is, runs in this thread.
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

    /// Has work wait for a later turn of `event_loop`, whose state this is.
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

    /// Runs a task within a read callback: `wake` lets it go on, `followed` says whether others go on after it.
    pub fn run<T>(
        &self,
        py: Python<'_>,
        mailbox: Option<&Py<Mailbox>>,
        followed: bool,
        wake: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<T> {
        let unread = match mailbox {
            Some(mailbox) => !mailbox.bind(py).as_super().get().is_empty(py)?,
            None => false,
        };
        let running = Running { mailbox: mailbox.map_or(0, |it| it.as_ptr().addr()), unread, followed };
        self.state(py)?.running = Some(running);
        let woken = wake();
        self.state(py)?.running = None;
        woken
    }

    /// Writes all frames that were collected.
    pub fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let collected = std::mem::take(&mut self.state(py)?.collected);
        let mut flushed = Ok(());
        for exchange in &collected {
            // One transport that fails keeps nothing from another.
            flushed = flushed.and(Exchange::flush(exchange.bind(py)));
        }
        flushed
    }
}

impl State {
    pub fn buffer<'py>(&self, py: Python<'py>) -> Bound<'py, PySequence> {
        self.buffer.bind(py).clone()
    }

    /// Says when frames are written that are sent now; `None` in a thread in which the loop was not seen to run.
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

    /// Notes that the reader of `mailbox` has taken its last message.
    #[inline]
    pub fn has_taken_all(&mut self, mailbox: &Bound<'_, Mailbox>) {
        if let Some(running) = &mut self.running
            && running.mailbox == mailbox.as_ptr().addr()
        {
            running.unread = false;
        }
    }

    /// Begins a read callback; gives what ran, which is something where an event loop is run within another.
    pub fn begin(&mut self) -> Option<Running> {
        self.running.take()
    }

    /// Ends a read callback: what ran before it goes on.
    pub fn end(&mut self, outer: Option<Running>) {
        self.running = outer;
    }

    pub fn has_collected(&self) -> bool {
        !self.collected.is_empty()
    }

    /// Notes that a transport has collected frames; says whether it is the first.
    pub fn collect(&mut self, exchange: &Bound<'_, Exchange>) -> bool {
        self.collected.push(exchange.clone().unbind());
        self.collected.len() == 1
    }

    pub fn wait_for_flush(&mut self, sender: &Bound<'_, Arrival>) {
        self.senders.push(sender.clone().unbind());
    }

    pub fn take_senders(&mut self) -> Vec<Py<Arrival>> {
        std::mem::take(&mut self.senders)
    }
}

#[inline]
fn this_thread() -> usize {
    THREAD.with(|it| std::ptr::from_ref(it).addr())
}
