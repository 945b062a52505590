//! One transport: what is read goes to mailboxes, and what is sent meanwhile is written behind it.

use std::cell::RefMut;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySlice, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::{Arrival, Mailbox};
use crate::py::attached::Attached;
use crate::py::buffer::filled;
use crate::py::endpoint::Endpoint;

/// What a driver's transport is built on: it reads, wakes readers, and writes once for each chunk that is read.
///
/// The first argument is the loop that it belongs to; all others are the subclass's.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct Exchange(Attached<State>);

pub struct State {
    event_loop: Py<PyAny>,
    /// Where is read into. It is used up before the next read, so all of a loop share one.
    buffer: Option<Py<PyAny>>,
    /// The transport's `write`; none before it is there and after it is gone.
    writer: Option<Py<PyAny>>,
    /// The connection that has the transport for itself, over HTTP/1.1 behind the opening handshake.
    only: Option<Py<Endpoint>>,
    /// Many WebSockets share the transport.
    multiplexed: bool,
    /// The transport has more to write than it likes.
    full: bool,
    turn: Turn,
    /// Those whose reader waits and for whom something has come.
    arrived: Vec<Py<Mailbox>>,
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

/// When what is sent is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Behind the chunk that is being handled.
    Receiving,
    /// At once: nothing was sent since the last chunk.
    Fresh,
    /// At the end of the loop's turn, with what else is sent by then.
    Collecting,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// The loop, so that no task is running: transports that are told to read go on in the loop's next turn.
    Loop,
    /// The loop or a task.
    Any,
}

#[pymethods]
impl Exchange {
    #[new]
    #[pyo3(signature = (event_loop, *_args, **_named))]
    fn new(event_loop: Py<PyAny>, _args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> Self {
        Self(Attached::new(State {
            event_loop,
            buffer: None,
            writer: None,
            only: None,
            multiplexed: false,
            full: false,
            turn: Turn::Fresh,
            arrived: Vec::new(),
            crowded: Vec::new(),
            posted: Vec::new(),
            done: None,
            heard: 0,
            written: 0,
        }))
    }

    #[getter(_buffer)]
    fn read_into(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.state(py)?.buffer.as_ref().map(|buffer| buffer.clone_ref(py)))
    }

    #[setter(_buffer)]
    fn set_buffer(&self, py: Python<'_>, buffer: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.buffer = buffer;
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

    #[getter(_only)]
    fn only(&self, py: Python<'_>) -> PyResult<Option<Py<Endpoint>>> {
        Ok(self.state(py)?.only.as_ref().map(|only| only.clone_ref(py)))
    }

    #[setter(_only)]
    fn set_only(&self, py: Python<'_>, only: Option<Py<Endpoint>>) -> PyResult<()> {
        self.state(py)?.only = only;
        Ok(())
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
    fn get_buffer(&self, py: Python<'_>, sizehint: isize) -> PyResult<Option<Py<PyAny>>> {
        let _ = sizehint;
        self.read_into(py)
    }

    /// Take what was read.
    fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let py = slf.py();
        let (buffer, only) = {
            let mut this = slf.get().state(slf.py())?;
            this.heard += 1;
            let Some(buffer) = &this.buffer else { return Ok(()) };
            (buffer.bind(py).clone(), this.only.as_ref().map(|only| only.bind(py).clone()))
        };
        let Some(connection) = only else {
            let chunk = buffer.get_item(PySlice::new(py, 0, nbytes.cast_signed(), 1))?;
            return slf.call_method1(intern!(py, "receive"), (chunk,)).map(drop);
        };
        let events = PyList::empty(py);
        filled(&PyBuffer::get(&buffer)?, nbytes, |chunk| Endpoint::feed(&connection, chunk, &events))?;
        let reply = Endpoint::_settle(&connection, Some(&events))?;
        Self::take(slf, &events, &reply, Caller::Loop)
    }

    /// Take what an HTTP connection made of a chunk: write the reply, hand on the events, wake readers, and write what they send.
    fn _take(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, reply: &Bound<'_, PyBytes>) -> PyResult<()> {
        Self::take(slf, events, reply, Caller::Any)
    }

    /// Let readers go on for whom something has come.
    fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::wake_all(slf, Caller::Any)
    }

    /// Write all that is collected.
    pub fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let posted = std::mem::take(&mut slf.get().state(slf.py())?.posted);
        match posted.as_slice() {
            [] => Ok(()),
            [mailbox] => Self::write(slf, Mailbox::flush(mailbox.bind(py))?.as_any()),
            many => {
                let mut all = Vec::new();
                for mailbox in many {
                    all.extend_from_slice(Mailbox::flush(mailbox.bind(py))?.as_bytes());
                }
                Self::write(slf, &PyBytes::new(py, &all))
            }
        }
    }

    /// Write what is due: `bytes`, or a `memoryview` of bytes.
    pub fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let len = data.len()?;
        if len == 0 {
            return Ok(());
        }
        let py = slf.py();
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
        visit.call(&this.buffer)?;
        visit.call(&this.writer)?;
        visit.call(&this.only)?;
        visit.call(&this.done)?;
        this.arrived.iter().chain(&this.posted).chain(&this.crowded).try_for_each(|mailbox| visit.call(mailbox))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // What is let go of may look at this exchange, so it is dropped when that can be borrowed again.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            let mailboxes = [&mut this.arrived, &mut this.posted, &mut this.crowded].map(std::mem::take);
            (this.buffer.take(), this.writer.take(), this.only.take(), this.done.take(), mailboxes)
        };
        Ok(())
    }
}

impl Exchange {
    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    fn take(
        slf: &Bound<'_, Self>,
        events: &Bound<'_, PyList>,
        reply: &Bound<'_, PyBytes>,
        caller: Caller,
    ) -> PyResult<()> {
        Self::write(slf, reply)?;
        // A reader that goes on may make room for what has waited.
        let within;
        {
            let mut this = slf.get().state(slf.py())?;
            within = std::mem::replace(&mut this.turn, Turn::Receiving) == Turn::Receiving;
        }
        let handled = Self::hand_on(slf, events, caller);
        let (crowded, unsettled) = {
            let mut this = slf.get().state(slf.py())?;
            if !within {
                this.turn = Turn::Fresh;
            }
            (std::mem::take(&mut this.crowded), this.multiplexed || this.full)
        };
        if !within {
            Self::flush(slf)?;
        }
        handled?;
        let py = slf.py();
        for mailbox in &crowded {
            // What has come since may have ended it.
            if mailbox.get().state(py)?.is_paused() {
                mailbox.call_method0(py, intern!(py, "_pause"))?;
            }
        }
        if unsettled || !crowded.is_empty() || !events.is_empty() {
            slf.call_method1(intern!(py, "_settle"), (!crowded.is_empty(), reply.as_bytes().len()))?;
        }
        Ok(())
    }

    fn hand_on(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, caller: Caller) -> PyResult<()> {
        if !events.is_empty() {
            slf.call_method1(intern!(slf.py(), "handle"), (events,))?;
        }
        Self::wake_all(slf, caller)
    }

    fn wake_all(slf: &Bound<'_, Self>, caller: Caller) -> PyResult<()> {
        let py = slf.py();
        let arrived = std::mem::take(&mut slf.get().state(slf.py())?.arrived);
        if arrived.is_empty() {
            return Ok(());
        }
        let done = Self::done(slf)?;
        for mailbox in arrived {
            let waiter = mailbox.get().state(py)?.waiter(py);
            let Some(waiter) = waiter else { continue };
            let woken = match caller {
                Caller::Loop => Arrival::wake(&waiter, &done),
                Caller::Any => Arrival::wake_soon(&waiter, &done),
            };
            if let Err(error) = woken {
                // Of what a task raises, this is what ends the loop, such as SystemExit: the transport has no part in it.
                slf.call_method1(intern!(py, "_interrupt"), (error,))?;
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

    /// Has a mailbox written behind the chunk that is being handled, or at the end of the loop's turn.
    pub fn schedule(slf: &Bound<'_, Self>, mailbox: &Bound<'_, Mailbox>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = {
            let mut this = slf.get().state(slf.py())?;
            this.posted.push(mailbox.clone().unbind());
            if this.turn == Turn::Receiving || this.posted.len() > 1 {
                return Ok(());
            }
            this.event_loop.clone_ref(py)
        };
        event_loop.call_method1(py, intern!(py, "call_soon"), (slf.getattr(intern!(py, "flush"))?,)).map(drop)
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

    pub fn is_multiplexed(&self) -> bool {
        self.multiplexed
    }

    /// Whether what is sent now is to be written now: the first since something came, if nothing is being handled.
    pub fn writes_at_once(&mut self) -> bool {
        let fresh = self.turn == Turn::Fresh;
        if fresh {
            self.turn = Turn::Collecting;
        }
        fresh
    }

    /// Takes note that something has come for a reader who waits.
    pub fn has_arrived(&mut self, mailbox: &Bound<'_, Mailbox>) {
        self.arrived.push(mailbox.clone().unbind());
    }

    /// Takes note that the application takes less than comes.
    pub fn is_crowded(&mut self, mailbox: &Bound<'_, Mailbox>) {
        self.crowded.push(mailbox.clone().unbind());
    }
}
