//! One transport: what is read goes to mailboxes, and what is sent meanwhile is written behind it.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PySequence, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::loop_state::Deferred;
use super::{Arrival, LoopState, Mailbox};
use crate::py::attached::{Attached, RefMut};
use crate::py::border;
use crate::py::buffer::filled;
use crate::py::data::Inbound;
use crate::py::endpoint::Endpoint;
use crate::py::queue::ReadyList;
use crate::turns::{DECODED_PER_TURN, Share};

/// What a driver's transport is built on: it reads, wakes readers, and writes once for each chunk that is read.
///
/// The first argument is the loop that it belongs to; all others are the subclass's.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct Exchange(Attached<State>);

pub struct State {
    event_loop: Py<PyAny>,
    /// What is shared with the other transports of the loop; given by the subclass.
    shared: Option<Py<LoopState>>,
    /// The transport's `write`; none before it is there and after it is gone.
    writer: Option<Py<PyAny>>,
    /// The transport's `is_closing`.
    is_closing: Option<Py<PyAny>>,
    /// Nothing was written since the last chunk.
    fresh: bool,
    /// The connection that has the transport for itself, over HTTP/1.1 behind the opening handshake.
    only: Option<Py<Endpoint>>,
    /// What the DATA of WebSockets goes to, over HTTP/2.
    inbound: Option<Py<Inbound>>,
    rest: Rest,
    share: Share,
    /// Many WebSockets share the transport.
    multiplexed: bool,
    /// The transport has more to write than it likes.
    full: bool,
    /// The mailboxes for which something has come, or that are full.
    ready: Py<ReadyList>,
    /// Those with more messages than the application takes.
    crowded: Vec<Py<Mailbox>>,
    /// Those with frames to be written.
    posted: Vec<Py<Mailbox>>,
    /// A future that is done: what a task is told that it has waited for.
    done: Option<Py<PyAny>>,
    /// How many chunks have come.
    heard: u64,
    /// How many bytes were given to the transport.
    written: u64,
}

/// The end of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It is decoded, or waits for the application.
    Decoded,
    /// It waits for a turn of the loop.
    Deferred,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// The loop, so that no task is running: transports that are told to read go on in the loop's next turn.
    Loop,
    /// The loop or a task.
    Any,
}

/// What is to be seen to after what has come, whatever else is the case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct After {
    /// It may have left something for the subclass.
    more: bool,
    /// It has waited for a turn of the loop, and the transport with it.
    caught_up: bool,
}

/// Raises an error out of the loop, which calls this.
#[pyfunction]
fn raise(error: Bound<'_, PyAny>) -> PyResult<()> {
    Err(PyErr::from_value(error))
}

#[pymethods]
impl Exchange {
    #[new]
    #[pyo3(signature = (event_loop, *args, **_named))]
    fn new(event_loop: Py<PyAny>, args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Ok(Self(Attached::new(State {
            event_loop,
            shared: None,
            writer: None,
            is_closing: None,
            fresh: true,
            only: None,
            inbound: None,
            rest: Rest::Decoded,
            share: Share::new(),
            multiplexed: false,
            full: false,
            ready: Py::new(args.py(), ReadyList::new())?,
            crowded: Vec::new(),
            posted: Vec::new(),
            done: None,
            heard: 0,
            written: 0,
        })))
    }

    #[getter(_shared)]
    fn get_shared(&self, py: Python<'_>) -> PyResult<Option<Py<LoopState>>> {
        Ok(self.state(py)?.shared.as_ref().map(|shared| shared.clone_ref(py)))
    }

    #[setter(_shared)]
    fn set_shared(&self, py: Python<'_>, shared: Option<Py<LoopState>>) -> PyResult<()> {
        self.state(py)?.shared = shared;
        Ok(())
    }

    #[getter(_writer)]
    fn writer(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.state(py)?.writer.as_ref().map(|writer| writer.clone_ref(py)))
    }

    #[setter(_writer)]
    fn set_writer(&self, py: Python<'_>, writer: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.writer = writer;
        Ok(())
    }

    #[setter(_is_closing)]
    fn set_is_closing(&self, py: Python<'_>, is_closing: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.is_closing = is_closing;
        Ok(())
    }

    #[getter(_only)]
    fn only(&self, py: Python<'_>) -> PyResult<Option<Py<Endpoint>>> {
        Ok(self.state(py)?.only.as_ref().map(|only| only.clone_ref(py)))
    }

    #[setter(_only)]
    fn set_only(&self, py: Python<'_>, only: Option<Py<Endpoint>>) -> PyResult<()> {
        if let Some(only) = &only {
            only.get().workings(py)?.bound_turns();
        }
        self.state(py)?.only = only;
        Ok(())
    }

    #[setter(_inbound)]
    fn set_inbound(&self, py: Python<'_>, inbound: Option<Py<Inbound>>) -> PyResult<()> {
        if let Some(inbound) = &inbound {
            inbound.borrow_mut(py).begin_turn(DECODED_PER_TURN);
        }
        self.state(py)?.inbound = inbound;
        Ok(())
    }

    /// Whether some of what was read is not decoded yet, and waits for a turn of the loop: the transport is not to be read meanwhile.
    #[getter(_behind)]
    fn behind(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.rest == Rest::Deferred)
    }

    /// Whether many WebSockets share the transport.
    #[getter]
    fn multiplexed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.multiplexed)
    }

    #[setter]
    fn set_multiplexed(&self, py: Python<'_>, multiplexed: bool) -> PyResult<()> {
        self.state(py)?.multiplexed = multiplexed;
        Ok(())
    }

    /// Whether the transport has more to write than it likes.
    #[getter]
    fn full(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.full)
    }

    #[setter]
    fn set_full(&self, py: Python<'_>, full: bool) -> PyResult<()> {
        self.state(py)?.full = full;
        Ok(())
    }

    /// How many chunks have come.
    #[getter]
    fn heard(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.heard)
    }

    /// How many bytes were given to the transport.
    #[getter]
    fn written(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.written)
    }

    /// Give what is to be read into.
    fn get_buffer<'py>(&self, py: Python<'py>, sizehint: isize) -> PyResult<Bound<'py, PySequence>> {
        let _ = sizehint;
        Ok(self.shared(py)?.get().state(py)?.buffer(py))
    }

    /// Take what was read.
    fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let py = slf.py();
        let (buffer, only, inbound, most) = {
            let mut this = slf.get().state(slf.py())?;
            this.heard += 1;
            this.fresh = true;
            let buffer = this.shared()?.get().state(py)?.buffer(py);
            let inbound = this.inbound.as_ref().map(|inbound| inbound.bind(py).clone());
            let most = this.allowance(py, nbytes)?;
            (buffer, this.only.as_ref().map(|only| only.bind(py).clone()), inbound, most)
        };
        let Some(connection) = only else {
            let chunk = buffer.get_slice(0, nbytes)?;
            if let Some(inbound) = inbound {
                inbound.borrow_mut().begin_turn(most);
                Self::receive_data(slf, &inbound, chunk.as_any())?;
                let done = inbound.borrow().done();
                return slf.get().charge(py, most, done);
            }
            return border::transport::receive(slf, (chunk,));
        };
        let events = PyList::empty(py);
        filled(&PyBuffer::get(&buffer)?, nbytes, |chunk| Endpoint::feed(&connection, chunk, &events, most))?;
        let done = connection.get().workings(py)?.decoded();
        slf.get().charge(py, most, done)?;
        let reply = Endpoint::_settle(&connection, Some(&events))?;
        Self::take(slf, &events, &reply, Caller::Loop, After::default())
    }

    /// Take what an HTTP connection made of a chunk: write the reply, hand on the events, wake readers, and write what they send.
    fn _take(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, reply: &Bound<'_, PyBytes>) -> PyResult<()> {
        let multiplexed = slf.get().state(slf.py())?.multiplexed;
        Self::take(slf, events, reply, Caller::Any, After { more: multiplexed, caught_up: false })
    }

    /// Let readers go on for whom something has come.
    fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::within_callback(slf, Caller::Any, |caller| Self::wake_all(slf, caller))
    }

    /// Write all that is collected on the loop, and let its senders go on; the loop calls this.
    fn _flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::within_callback(slf, Caller::Loop, |_| Ok(()))
    }

    /// Write what is due: `bytes`, or a `memoryview` of bytes.
    ///
    /// A transport that is closing gets no more: it would log each further write.
    pub fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let len = data.len()?;
        if len == 0 {
            return Ok(());
        }
        let py = slf.py();
        // A transport that has failed in a write says so only when it is asked.
        let is_closing = slf.get().state(py)?.has_written(py);
        if let Some(is_closing) = is_closing
            && is_closing.call0()?.is_truthy()?
        {
            slf.get().state(py)?.writer = None;
        }
        let writer = {
            let mut this = slf.get().state(slf.py())?;
            let Some(writer) = this.writer.as_ref().map(|writer| writer.bind(py).clone()) else { return Ok(()) };
            this.written += len as u64;
            writer
        };
        writer.call1((data,)).map(drop)
    }

    // A transport knows its protocol.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.event_loop)?;
        visit.call(&this.shared)?;
        visit.call(&this.writer)?;
        visit.call(&this.is_closing)?;
        visit.call(&this.only)?;
        visit.call(&this.inbound)?;
        visit.call(&this.done)?;
        visit.call(&this.ready)?;
        this.posted.iter().chain(&this.crowded).try_for_each(|mailbox| visit.call(mailbox))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // What is let go of may look at this exchange, so it is dropped when that can be borrowed again.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            let mailboxes = [&mut this.posted, &mut this.crowded].map(std::mem::take);
            (
                this.shared.take(),
                this.writer.take(),
                this.is_closing.take(),
                this.only.take(),
                this.inbound.take(),
                this.done.take(),
                mailboxes,
            )
        };
        Ok(())
    }
}

impl Exchange {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Takes a chunk of HTTP/2: if it is DATA of WebSockets and no more, Python code has no part in it.
    fn receive_data(slf: &Bound<'_, Self>, inbound: &Bound<'_, Inbound>, chunk: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let events = PyList::empty(py);
        let (offset, frame) = Inbound::receive(inbound, chunk, 0, &events)?;
        if !frame.is_none() || inbound.borrow().is_unsettled(py)? {
            return border::transport::receive(slf, (chunk, (offset, frame, events)));
        }
        let reply = inbound.borrow_mut().take(py)?;
        Self::take(slf, &events, &reply, Caller::Loop, After::default())
    }

    /// Brings on what has come.
    fn take(
        slf: &Bound<'_, Self>,
        events: &Bound<'_, PyList>,
        reply: &Bound<'_, PyBytes>,
        caller: Caller,
        After { more, caught_up }: After,
    ) -> PyResult<()> {
        Self::write(slf, reply)?;
        Self::within_callback(slf, caller, |caller| {
            if !events.is_empty() {
                border::transport::handle(slf, events)?;
            }
            Self::wake_all(slf, caller)
        })?;
        let py = slf.py();
        let (crowded, unsettled) = {
            let mut this = slf.get().state(slf.py())?;
            (std::mem::take(&mut this.crowded), more || this.full)
        };
        let look = if slf.get().state(py)?.is_to_defer(py)? { Self::defer(slf)? } else { caught_up };
        if look || unsettled || !crowded.is_empty() || !events.is_empty() {
            border::transport::end_chunk(slf, PyTuple::new(py, crowded)?, reply.as_bytes().len(), look)?;
        }
        Ok(())
    }

    /// Has the rest of what was read wait for a later turn of the loop, and the transport with it; says whether it does.
    #[cold]
    fn defer(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let event_loop = slf.get().state(py)?.event_loop(py);
        if event_loop.call_method0(py, intern!(py, "is_closed"))?.is_truthy(py)? {
            return Ok(false);
        }
        let shared = {
            let mut this = slf.get().state(py)?;
            this.rest = Rest::Deferred;
            this.shared()?.clone_ref(py)
        };
        shared.get().state(py)?.turns().spend();
        LoopState::defer(shared.bind(py), event_loop.bind(py), Deferred::Transport(slf.clone().unbind()))?;
        Ok(true)
    }

    /// Lets go on what has waited for a turn of the loop.
    pub fn go_on(py: Python<'_>, deferred: Deferred) -> PyResult<()> {
        match deferred {
            Deferred::Task(mailbox, waiter) => {
                let slf = mailbox.get().state(py)?.exchange().bind(py).clone();
                let reader = (waiter.into_bound(py), Some(&mailbox));
                Self::within_callback(&slf, Caller::Loop, |_| Self::wake_each(&slf, std::iter::once(reader)))
            }
            Deferred::Transport(slf) => {
                let slf = slf.bind(py);
                Self::catch_up(slf).or_else(|error| {
                    // As asyncio ends a transport whose protocol fails.
                    border::transport::cut(slf)?;
                    Err(error)
                })
            }
        }
    }

    /// Decodes more of what was read.
    fn catch_up(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (only, inbound) = {
            let mut this = slf.get().state(py)?;
            this.rest = Rest::Decoded;
            (
                this.only.as_ref().map(|only| only.bind(py).clone()),
                this.inbound.as_ref().map(|inbound| inbound.bind(py).clone()),
            )
        };
        if let Some(inbound) = inbound {
            inbound.borrow_mut().begin_turn(DECODED_PER_TURN);
            border::transport::catch_up(slf)?;
            let done = inbound.borrow().done();
            return slf.get().charge(py, DECODED_PER_TURN, done);
        }
        let Some(connection) = only else { return Ok(()) };
        let events = PyList::empty(py);
        Endpoint::_receive_early(&connection, &events)?;
        let done = connection.get().workings(py)?.decoded();
        slf.get().charge(py, DECODED_PER_TURN, done)?;
        let reply = Endpoint::_settle(&connection, Some(&events))?;
        Self::take(slf, &events, &reply, Caller::Loop, After { more: false, caught_up: true })
    }

    /// Lets tasks go on as a read callback does, if `caller` is the loop, and then writes what they have sent.
    fn within_callback(
        slf: &Bound<'_, Self>,
        caller: Caller,
        go_on: impl FnOnce(Caller) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = slf.py();
        let shared = slf.get().shared(py)?;
        let shared = shared.get();
        if caller == Caller::Any && Self::is_in_task(slf)? {
            return go_on(Caller::Any);
        }
        let outer = shared.state(py)?.begin();
        let mut ended = go_on(Caller::Loop);
        loop {
            ended = ended.and(shared.flush(py));
            let senders = shared.state(py)?.take_senders();
            if senders.is_empty() {
                break;
            }
            let woken = Self::wake_each(slf, senders.iter().map(|it| (it.bind(py).clone(), None)));
            ended = ended.and(woken);
        }
        shared.state(py)?.end(outer);
        ended
    }

    /// Whether a task runs.
    fn is_in_task(slf: &Bound<'_, Self>) -> PyResult<bool> {
        static CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let event_loop = slf.get().state(slf.py())?.event_loop(slf.py());
        Ok(!CURRENT_TASK.import(slf.py(), "asyncio", "current_task")?.call1((event_loop,))?.is_none())
    }

    /// Takes the mailboxes off the ready list; those that are full are to be paused.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<Vec<Py<Mailbox>>> {
        let py = slf.py();
        let ready = slf.get().ready(py)?.get().drain(py)?;
        let mut mailboxes = Vec::with_capacity(ready.len());
        for queue in ready {
            let mailbox = queue.into_bound(py).cast_into::<Mailbox>()?.unbind();
            if mailbox.bind(py).as_super().get().paused(py)? {
                slf.get().state(py)?.crowded.push(mailbox.clone_ref(py));
            }
            mailboxes.push(mailbox);
        }
        Ok(mailboxes)
    }

    fn wake_all(slf: &Bound<'_, Self>, caller: Caller) -> PyResult<()> {
        let py = slf.py();
        let ready = Self::drain(slf)?;
        let mut readers = Vec::with_capacity(ready.len());
        for mailbox in &ready {
            if let (Some(waiter), false) =
                (mailbox.get().state(py)?.waiter(py), mailbox.bind(py).as_super().get().is_idle(py)?)
            {
                readers.push((waiter, Some(mailbox)));
            }
        }
        if readers.is_empty() {
            return Ok(());
        }
        match caller {
            Caller::Loop => Self::wake_each(slf, readers.into_iter()),
            Caller::Any => {
                let done = Self::done(slf)?;
                readers.iter().try_for_each(|(waiter, _)| Arrival::wake_soon(waiter, &done))
            }
        }
    }

    /// Lets tasks go on one after the other, each with the mailbox whose reader it is.
    fn wake_each<'py, 'a>(
        slf: &Bound<'py, Self>,
        waiters: impl ExactSizeIterator<Item = (Bound<'py, Arrival>, Option<&'a Py<Mailbox>>)>,
    ) -> PyResult<()> {
        let py = slf.py();
        let shared = slf.get().shared(py)?;
        let done = Self::done(slf)?;
        let mut left = waiters.len();
        for (waiter, mailbox) in waiters {
            left -= 1;
            let woken = shared.get().run(py, mailbox, left > 0, || Arrival::wake(&waiter, &done));
            if let Err(error) = woken {
                // Of what a task raises, this is what ends the loop, such as SystemExit: the transport has no part in it.
                let event_loop = slf.get().state(py)?.event_loop(py);
                event_loop.call_method1(py, intern!(py, "call_soon"), (wrap_pyfunction!(raise, py)?, error))?;
            }
        }
        Ok(())
    }

    fn done<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut this = slf.get().state(slf.py())?;
        if let Some(done) = &this.done {
            return Ok(done.bind(py).clone());
        }
        let done = this.event_loop.bind(py).call_method0(intern!(py, "create_future"))?;
        done.call_method1(intern!(py, "set_result"), (py.None(),))?;
        this.done = Some(done.clone().unbind());
        Ok(done)
    }

    /// Collects the frames of a mailbox, to be written by a later send or at the end of the read callback.
    ///
    /// A task that runs an event loop within the callback has them written by the next turn of that.
    pub fn collect(slf: &Bound<'_, Self>, mailbox: &Bound<'_, Mailbox>) -> PyResult<()> {
        let py = slf.py();
        let first = {
            let mut this = slf.get().state(py)?;
            let mut first = false;
            if this.posted.is_empty() {
                first = this.shared()?.get().state(py)?.collect(slf);
            }
            this.posted.push(mailbox.clone().unbind());
            first.then(|| this.event_loop(py))
        };
        match first {
            Some(event_loop) => event_loop.call_method1(py, "call_soon", (slf.getattr("_flush")?,)).map(drop),
            None => Ok(()),
        }
    }

    /// Writes all that is collected for this transport.
    pub fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let posted = std::mem::take(&mut slf.get().state(slf.py())?.posted);
        match posted.as_slice() {
            [] => Ok(()),
            [mailbox] => Self::write(slf, Mailbox::flush(mailbox.bind(py))?.as_any()),
            many => {
                let mut all = Vec::new();
                let mut flushed = Ok(());
                for mailbox in many {
                    // One that fails keeps nothing from another.
                    flushed = flushed
                        .and(Mailbox::flush(mailbox.bind(py)).map(|frames| all.extend_from_slice(frames.as_bytes())));
                }
                flushed.and(Self::write(slf, &PyBytes::new(py, &all)))
            }
        }
    }

    /// Counts what was done of the `most` that might be: a transport that had to wait has made up for nothing.
    #[inline]
    fn charge(&self, py: Python<'_>, most: usize, done: usize) -> PyResult<()> {
        if most == 0 {
            return Ok(());
        }
        let mut this = self.state(py)?;
        // What has led to few messages is counted as these are taken; what h2 was handed never is.
        if this.share.charge(done) || this.inbound.is_some() {
            this.shared()?.get().state(py)?.turns().charge_work(done);
        }
        Ok(())
    }

    pub fn ready(&self, py: Python<'_>) -> PyResult<Py<ReadyList>> {
        Ok(self.state(py)?.ready.clone_ref(py))
    }

    pub fn shared(&self, py: Python<'_>) -> PyResult<Py<LoopState>> {
        Ok(self.state(py)?.shared()?.clone_ref(py))
    }

    /// Raises `RuntimeError` in any thread but the loop's.
    pub fn check_thread(&self, py: Python<'_>) -> PyResult<()> {
        let this = self.state(py)?;
        this.shared()?.get().check_thread(this.event_loop.bind(py))
    }
}

impl State {
    pub fn event_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Whether more may be sent without waiting.
    pub fn has_room(&self) -> bool {
        self.writer.is_some() && !self.full
    }

    /// Whether the rest of what was read is to wait for a turn of the loop, and does not yet.
    #[inline]
    fn is_to_defer(&self, py: Python<'_>) -> PyResult<bool> {
        match (&self.only, &self.inbound) {
            _ if self.rest == Rest::Deferred => Ok(false),
            (Some(only), _) => only.get().workings(py)?.is_behind(py),
            (None, Some(inbound)) => Ok(inbound.borrow(py).is_behind()),
            (None, None) => Ok(false),
        }
    }

    /// How much may be decoded of a chunk of `len` bytes that has come.
    #[inline]
    fn allowance(&self, py: Python<'_>, len: usize) -> PyResult<usize> {
        if self.rest == Rest::Deferred {
            return Ok(0);
        }
        let spent = self.shared()?.get().state(py)?.turns().is_spent();
        Ok(self.share.allowance(spent, len))
    }

    /// Notes that something is written; gives the transport's `is_closing` if that is not the first since the last chunk.
    fn has_written<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let first = std::mem::replace(&mut self.fresh, false);
        self.is_closing.as_ref().filter(|_| !first).map(|it| it.bind(py).clone())
    }

    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    #[inline]
    pub fn shared(&self) -> PyResult<&Py<LoopState>> {
        self.shared.as_ref().ok_or_else(|| PyRuntimeError::new_err("the transport has no state of its loop"))
    }
}
