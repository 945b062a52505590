//! One transport: received messages go to WebSockets, and the frames sent meanwhile are written after that.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PySequence, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::loop_state::Deferred;
use super::{LoopState, Waiter, WebSocketBase};
use crate::py::border;
use crate::py::buffer::filled;
use crate::py::data_receiver::DataReceiver;
use crate::py::endpoint::Endpoint;
use crate::py::guarded::{Guarded, RefMut};
use crate::py::queue::ReadyList;
use crate::turns::{DECODED_PER_TURN, Share};

/// Base class of a driver's transport: reads, wakes readers, and writes once for each chunk read.
///
/// The first argument is its event loop. All others are for the subclass.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct ProtocolBase(Guarded<State>);

pub struct State {
    event_loop: Py<PyAny>,
    /// The state shared with the other transports of the loop, set by the subclass.
    shared: Option<Py<LoopState>>,
    /// The transport's `write`; none before it is connected and after it is closed.
    writer: Option<Py<PyAny>>,
    /// The transport's `is_closing`.
    is_closing: Option<Py<PyAny>>,
    /// The transport's `get_write_buffer_size`.
    buffer_size: Option<Py<PyAny>>,
    /// The socket, if the transport begins each write with its `send` while nothing is in the write buffer.
    socket: Option<Socket>,
    /// Whether nothing has been written since the last chunk.
    fresh: bool,
    /// The connection that owns the transport, over HTTP/1.1 after the opening handshake.
    only: Option<Py<Endpoint>>,
    /// The receiver of DATA frames, over HTTP/2.
    data_receiver: Option<Py<DataReceiver>>,
    rest: Rest,
    share: Share,
    /// Whether many WebSockets share the transport.
    multiplexed: bool,
    /// Whether the transport's write buffer is above its high-water mark.
    full: bool,
    /// The WebSockets that have received something or are full.
    ready: Py<ReadyList>,
    /// The WebSockets that are full.
    crowded: Vec<Py<WebSocketBase>>,
    /// The WebSockets with frames to write.
    posted: Vec<Py<WebSocketBase>>,
    /// A completed future, which is passed to a task as the one it has waited for.
    done: Option<Py<PyAny>>,
    /// The number of chunks received.
    heard: u64,
    /// The number of bytes written to the transport.
    written: u64,
}

/// The socket of a transport.
struct Socket {
    /// Its `send`.
    send: Py<PyAny>,
    buffer: WriteBuffer,
}

/// The write buffer of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteBuffer {
    Empty,
    /// It may have bytes.
    Unknown,
}

/// The state of the bytes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// They are decoded, or wait for the application.
    Decoded,
    /// Some wait for a turn of the loop.
    Deferred,
}

/// The caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// The loop, so that no task is running. Transports that are resumed read in the loop's next turn.
    Loop,
    /// The loop or a task.
    Any,
}

/// The work after received bytes that is always needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct After {
    /// Whether they may have left work for the subclass.
    more: bool,
    /// Whether they have waited for a turn of the loop, with the transport paused.
    caught_up: bool,
}

/// Raises an error from a callback of the loop.
#[pyfunction]
fn raise(error: Bound<'_, PyAny>) -> PyResult<()> {
    Err(PyErr::from_value(error))
}

#[pymethods]
impl ProtocolBase {
    #[new]
    #[pyo3(signature = (event_loop, *args, **_named))]
    fn new(event_loop: Py<PyAny>, args: &Bound<'_, PyTuple>, _named: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Ok(Self(Guarded::new(State {
            event_loop,
            shared: None,
            writer: None,
            is_closing: None,
            buffer_size: None,
            socket: None,
            fresh: true,
            only: None,
            data_receiver: None,
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
        // The socket is that of the transport which this replaces.
        let _held = self.state(py)?.socket.take();
        self.state(py)?.writer = writer;
        Ok(())
    }

    #[setter(_is_closing)]
    fn set_is_closing(&self, py: Python<'_>, is_closing: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.is_closing = is_closing;
        Ok(())
    }

    #[setter(_buffer_size)]
    fn set_buffer_size(&self, py: Python<'_>, buffer_size: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.buffer_size = buffer_size;
        Ok(())
    }

    #[setter(_send)]
    fn set_send(&self, py: Python<'_>, send: Option<Py<PyAny>>) -> PyResult<()> {
        self.state(py)?.socket = send.map(|send| Socket { send, buffer: WriteBuffer::Unknown });
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

    #[setter(_data_receiver)]
    fn set_data_receiver(&self, py: Python<'_>, data_receiver: Option<Py<DataReceiver>>) -> PyResult<()> {
        if let Some(data_receiver) = &data_receiver {
            data_receiver.borrow_mut(py).begin_turn(DECODED_PER_TURN);
        }
        self.state(py)?.data_receiver = data_receiver;
        Ok(())
    }

    /// Whether received bytes wait for a turn of the loop to be decoded. The transport is not to be read meanwhile.
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

    /// Whether the transport's write buffer is above its high-water mark.
    #[getter]
    fn full(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.state(py)?.full)
    }

    #[setter]
    fn set_full(&self, py: Python<'_>, full: bool) -> PyResult<()> {
        self.state(py)?.full = full;
        Ok(())
    }

    /// The number of chunks received.
    #[getter]
    fn heard(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.heard)
    }

    /// The number of bytes written to the transport.
    #[getter]
    fn written(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.state(py)?.written)
    }

    /// Return the buffer to read into.
    fn get_buffer<'py>(&self, py: Python<'py>, sizehint: isize) -> PyResult<Bound<'py, PySequence>> {
        let _ = sizehint;
        self.buffer(py)
    }

    /// Process the bytes read.
    pub fn buffer_updated(slf: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let py = slf.py();
        let (buffer, only, data_receiver, most) = {
            let mut this = slf.get().state(slf.py())?;
            this.heard += 1;
            this.fresh = true;
            let buffer = this.shared()?.get().state(py)?.buffer(py);
            let data_receiver = this.data_receiver.as_ref().map(|data_receiver| data_receiver.bind(py).clone());
            let most = this.allowance(py, nbytes)?;
            (buffer, this.only.as_ref().map(|only| only.bind(py).clone()), data_receiver, most)
        };
        let Some(connection) = only else {
            let chunk = buffer.get_slice(0, nbytes)?;
            if let Some(data_receiver) = data_receiver {
                data_receiver.borrow_mut().begin_turn(most);
                Self::receive_data(slf, &data_receiver, chunk.as_any())?;
                let done = data_receiver.borrow().done();
                return slf.get().charge(py, most, done);
            }
            return border::transport::receive(slf, (chunk,));
        };
        let events = PyList::empty(py);
        filled(&PyBuffer::get(&buffer)?, nbytes, |chunk| Endpoint::feed(&connection, chunk, &events, most))?;
        let done = connection.get().workings(py)?.decoded();
        slf.get().charge(py, most, done)?;
        let reply = Endpoint::_take_replies(&connection, Some(&events))?;
        Self::take(slf, &events, &reply, Caller::Loop, After::default())
    }

    /// Decode what a connection has left undecoded, as far as this turn of the loop has time for it.
    fn receive_early(
        slf: &Bound<'_, Self>,
        connection: &Bound<'_, Endpoint>,
        events: &Bound<'_, PyList>,
    ) -> PyResult<()> {
        let py = slf.py();
        let spent = slf.get().shared(py)?.get().state(py)?.turns().is_spent();
        let most = connection.get().workings(py)?.allowance(py, spent)?;
        Endpoint::catch_up(connection, events, most)?;
        let done = connection.get().workings(py)?.decoded();
        slf.get().charge(py, most, done)
    }

    /// Process the result of a chunk: write the reply, dispatch the events, wake readers, and write the frames that they send.
    fn _take(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, reply: &Bound<'_, PyBytes>) -> PyResult<()> {
        let multiplexed = slf.get().state(slf.py())?.multiplexed;
        Self::take(slf, events, reply, Caller::Any, After { more: multiplexed, caught_up: false })
    }

    /// Wake the readers that have received something.
    fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::within_callback(slf, Caller::Any, |caller| Self::wake_all(slf, caller))
    }

    /// Write all frames collected on the loop, and wake their senders; called by the loop.
    fn _flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::within_callback(slf, Caller::Loop, |_| Ok(()))
    }

    /// Write `bytes` or a `memoryview` of bytes.
    ///
    /// A closing transport is not written to, because it would log each further write.
    pub fn write(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let len = data.len()?;
        if len == 0 {
            return Ok(());
        }
        let py = slf.py();
        // A transport whose write has failed reports that only by `is_closing`.
        let is_closing = slf.get().state(py)?.has_written(py);
        if let Some(is_closing) = is_closing
            && is_closing.call0()?.is_truthy()?
        {
            slf.get().state(py)?.writer = None;
        }
        Self::hand_over(slf, data).map(drop)
    }

    // A transport refers to its protocol.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        visit.call(&this.event_loop)?;
        visit.call(&this.shared)?;
        visit.call(&this.writer)?;
        visit.call(&this.is_closing)?;
        visit.call(&this.buffer_size)?;
        visit.call(this.socket.as_ref().map(|socket| &socket.send))?;
        visit.call(&this.only)?;
        visit.call(&this.data_receiver)?;
        visit.call(&this.done)?;
        visit.call(&this.ready)?;
        this.posted.iter().chain(&this.crowded).try_for_each(|websocket| visit.call(websocket))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Destructors may use this protocol, so drop the values after the borrow has ended.
        let _held = {
            let this = &mut *slf.get().state(slf.py())?;
            let websockets = [&mut this.posted, &mut this.crowded].map(std::mem::take);
            (
                this.shared.take(),
                this.writer.take(),
                this.is_closing.take(),
                this.buffer_size.take(),
                this.socket.take(),
                this.only.take(),
                this.data_receiver.take(),
                this.done.take(),
                websockets,
            )
        };
        Ok(())
    }
}

impl ProtocolBase {
    /// Passes bytes to the transport; returns whether it takes them.
    ///
    /// What asyncio's transport does first, and most often alone, is done without it: if nothing is in its write buffer, the bytes are sent
    /// by the socket.
    #[inline]
    pub fn hand_over(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = slf.py();
        let len = data.len()?;
        let (writer, send) = {
            let mut this = slf.get().state(py)?;
            let Some(writer) = this.writer.as_ref().map(|writer| writer.bind(py).clone()) else { return Ok(false) };
            this.written += len as u64;
            (writer, this.socket.as_ref().map(|socket| socket.send.bind(py).clone()))
        };
        let Some(send) = send else { return writer.call1((data,)).map(|_| true) };
        let done = match Self::buffered(slf)? {
            0 => match send.call1((data,)) {
                Ok(done) => done.extract()?,
                // The transport learns of an error, or waits for room, when it sends itself.
                Err(error) if error.is_instance_of::<PyOSError>(py) => 0,
                Err(error) => return Err(error),
            },
            _ => 0,
        };
        if done == len {
            return Ok(true);
        }
        if let Some(socket) = &mut slf.get().state(py)?.socket {
            socket.buffer = WriteBuffer::Unknown;
        }
        let rest = PyMemoryView::from(data)?.cast_into::<PySequence>()?.get_slice(done, len)?;
        writer.call1((rest,))?;
        Self::is_writable(slf)
    }

    /// Whether the transport is neither closing nor gone, as far as is known.
    pub fn is_writable(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let py = slf.py();
        let is_closing = match &*slf.get().state(py)? {
            // If it is, `send` of the socket fails, or sends what is not read.
            State { writer: Some(_), socket: Some(Socket { buffer: WriteBuffer::Empty, .. }), .. } => return Ok(true),
            State { writer: Some(_), is_closing: Some(is_closing), .. } => is_closing.bind(py).clone(),
            State { writer, .. } => return Ok(writer.is_some()),
        };
        let closing = is_closing.call0()?.is_truthy()?;
        if closing {
            slf.get().state(py)?.writer = None;
        }
        Ok(!closing)
    }

    /// The number of bytes in the write buffer of the transport.
    pub fn buffered(slf: &Bound<'_, Self>) -> PyResult<usize> {
        let py = slf.py();
        let buffer_size = match &*slf.get().state(py)? {
            State { socket: Some(Socket { buffer: WriteBuffer::Empty, .. }), .. } => return Ok(0),
            State { buffer_size: Some(buffer_size), .. } => buffer_size.bind(py).clone(),
            State { .. } => return Ok(0),
        };
        let len = buffer_size.call0()?.extract()?;
        if let (0, Some(socket)) = (len, &mut slf.get().state(py)?.socket) {
            socket.buffer = WriteBuffer::Empty;
        }
        Ok(len)
    }

    /// Gives what is to be read into.
    pub fn buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySequence>> {
        Ok(self.shared(py)?.get().state(py)?.buffer(py))
    }

    #[inline]
    pub fn state<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, State>> {
        self.0.borrow_mut(py)
    }

    /// Processes a chunk of HTTP/2, without Python code if it contains only DATA of WebSockets.
    fn receive_data(
        slf: &Bound<'_, Self>,
        data_receiver: &Bound<'_, DataReceiver>,
        chunk: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let events = PyList::empty(py);
        let (offset, frame) = DataReceiver::receive(data_receiver, chunk, 0, &events)?;
        if !frame.is_none() || data_receiver.borrow().is_unsettled(py)? {
            return border::transport::receive(slf, (chunk, (offset, frame, events)));
        }
        let reply = data_receiver.borrow_mut().take(py)?;
        Self::take(slf, &events, &reply, Caller::Loop, After::default())
    }

    /// Processes received events.
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
        let (crowded, unsettled, replied) = {
            let mut this = slf.get().state(slf.py())?;
            // What has waited for windows is no reply: who has sent it waits.
            let pumped = match &this.data_receiver {
                Some(it) => it.borrow(py).take_pumped(py)?,
                None => 0,
            };
            let replied = reply.as_bytes().len().saturating_sub(pumped);
            (std::mem::take(&mut this.crowded), more || this.full, replied)
        };
        let look = if slf.get().state(py)?.is_to_defer(py)? { Self::defer(slf)? } else { caught_up };
        if look || unsettled || !crowded.is_empty() || !events.is_empty() {
            border::transport::end_chunk(slf, PyTuple::new(py, crowded)?, replied, look)?;
        }
        Ok(())
    }

    /// Defers the undecoded bytes to a later turn of the loop and pauses the transport; returns whether it did.
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

    /// Resumes deferred work.
    pub fn go_on(py: Python<'_>, deferred: Deferred) -> PyResult<()> {
        match deferred {
            Deferred::Task(websocket, waiter) => {
                let slf = websocket.get().state(py)?.protocol().bind(py).clone();
                let reader = (waiter.into_bound(py), Some(&websocket));
                Self::within_callback(&slf, Caller::Loop, |_| Self::wake_each(&slf, std::iter::once(reader)))
            }
            Deferred::Transport(slf) => {
                let slf = slf.bind(py);
                Self::catch_up(slf).or_else(|error| {
                    // asyncio ends a transport whose protocol fails too.
                    border::transport::cut(slf)?;
                    Err(error)
                })
            }
        }
    }

    /// Decodes deferred bytes.
    fn catch_up(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let (only, data_receiver) = {
            let mut this = slf.get().state(py)?;
            this.rest = Rest::Decoded;
            (
                this.only.as_ref().map(|only| only.bind(py).clone()),
                this.data_receiver.as_ref().map(|data_receiver| data_receiver.bind(py).clone()),
            )
        };
        if let Some(data_receiver) = data_receiver {
            data_receiver.borrow_mut().begin_turn(DECODED_PER_TURN);
            border::transport::catch_up(slf)?;
            let done = data_receiver.borrow().done();
            return slf.get().charge(py, DECODED_PER_TURN, done);
        }
        let Some(connection) = only else { return Ok(()) };
        let events = PyList::empty(py);
        Endpoint::_receive_early(&connection, &events)?;
        let done = connection.get().workings(py)?.decoded();
        slf.get().charge(py, DECODED_PER_TURN, done)?;
        let reply = Endpoint::_take_replies(&connection, Some(&events))?;
        Self::take(slf, &events, &reply, Caller::Loop, After { more: false, caught_up: true })
    }

    /// Runs tasks as in a read callback, if `caller` is the loop, and then writes the frames that they have sent.
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

    /// Drains the ready list. Full WebSockets are to be paused.
    fn drain(slf: &Bound<'_, Self>) -> PyResult<Vec<Py<WebSocketBase>>> {
        let py = slf.py();
        let ready = slf.get().ready(py)?.get().drain(py)?;
        let mut websockets = Vec::with_capacity(ready.len());
        for queue in ready {
            let websocket = queue.into_bound(py).cast_into::<WebSocketBase>()?.unbind();
            if websocket.bind(py).as_super().get().paused(py)? {
                slf.get().state(py)?.crowded.push(websocket.clone_ref(py));
            }
            websockets.push(websocket);
        }
        Ok(websockets)
    }

    fn wake_all(slf: &Bound<'_, Self>, caller: Caller) -> PyResult<()> {
        let py = slf.py();
        let ready = Self::drain(slf)?;
        let mut readers = Vec::with_capacity(ready.len());
        for websocket in &ready {
            if let (Some(waiter), false) =
                (websocket.get().state(py)?.waiter(py), websocket.bind(py).as_super().get().is_idle(py)?)
            {
                readers.push((waiter, Some(websocket)));
            }
        }
        if readers.is_empty() {
            return Ok(());
        }
        match caller {
            Caller::Loop => Self::wake_each(slf, readers.into_iter()),
            Caller::Any => {
                let done = Self::done(slf)?;
                readers.iter().try_for_each(|(waiter, _)| Waiter::wake_soon(waiter, &done))
            }
        }
    }

    /// Resumes tasks in turn, each with the WebSocket that it reads.
    fn wake_each<'py, 'a>(
        slf: &Bound<'py, Self>,
        waiters: impl ExactSizeIterator<Item = (Bound<'py, Waiter>, Option<&'a Py<WebSocketBase>>)>,
    ) -> PyResult<()> {
        let py = slf.py();
        let shared = slf.get().shared(py)?;
        let done = Self::done(slf)?;
        let mut left = waiters.len();
        for (waiter, websocket) in waiters {
            left -= 1;
            let woken = shared.get().run(py, websocket, left > 0, || Waiter::wake(&waiter, &done));
            if let Err(error) = woken {
                // Only exceptions that end the loop, such as SystemExit, get here. They do not concern the transport.
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

    /// Collects the frames of a WebSocket, to be written by a later send or at the end of the read callback.
    ///
    /// If a task runs a nested event loop within the callback, the next turn of that loop writes them.
    pub fn collect(slf: &Bound<'_, Self>, websocket: &Bound<'_, WebSocketBase>) -> PyResult<()> {
        let py = slf.py();
        if !Self::gather(slf, websocket)? {
            return Ok(());
        }
        let event_loop = slf.get().state(py)?.event_loop(py);
        event_loop.call_method1(py, "call_soon", (slf.getattr("_flush")?,)).map(drop)
    }

    /// Collects the frames of a WebSocket, to be written by the caller; returns whether nothing else was collected.
    pub fn gather(slf: &Bound<'_, Self>, websocket: &Bound<'_, WebSocketBase>) -> PyResult<bool> {
        let py = slf.py();
        let mut this = slf.get().state(py)?;
        let first = this.posted.is_empty() && this.shared()?.get().state(py)?.collect(slf);
        this.posted.push(websocket.clone().unbind());
        Ok(first)
    }

    /// Writes all frames collected for this transport.
    pub fn flush(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let posted = std::mem::take(&mut slf.get().state(slf.py())?.posted);
        match posted.as_slice() {
            [] => Ok(()),
            [websocket] => Self::write(slf, WebSocketBase::flush(websocket.bind(py))?.as_any()),
            many => {
                let mut all = Vec::new();
                let mut flushed = Ok(());
                for websocket in many {
                    // A failure must not affect the others.
                    flushed = flushed.and(
                        WebSocketBase::flush(websocket.bind(py)).map(|frames| all.extend_from_slice(frames.as_bytes())),
                    );
                }
                flushed.and(Self::write(slf, &PyBytes::new(py, &all)))
            }
        }
    }

    /// Counts the work done, of at most `most`. Nothing is counted for a transport that had to wait.
    #[inline]
    fn charge(&self, py: Python<'_>, most: usize, done: usize) -> PyResult<()> {
        if most == 0 {
            return Ok(());
        }
        let mut this = self.state(py)?;
        // Work that led to few messages is counted when they are taken. The work of h2 would never be.
        if this.share.charge(done) || this.data_receiver.is_some() {
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

    /// Whether a send need not wait.
    pub fn has_room(&self) -> bool {
        self.writer.is_some() && !self.full
    }

    /// Whether undecoded bytes are to be deferred to a turn of the loop, and are not yet.
    #[inline]
    fn is_to_defer(&self, py: Python<'_>) -> PyResult<bool> {
        match (&self.only, &self.data_receiver) {
            _ if self.rest == Rest::Deferred => Ok(false),
            (Some(only), _) => only.get().workings(py)?.is_behind(py),
            (None, Some(data_receiver)) => data_receiver.borrow(py).is_behind(py),
            (None, None) => Ok(false),
        }
    }

    /// The work allowed for decoding a chunk of `len` bytes.
    #[inline]
    fn allowance(&self, py: Python<'_>, len: usize) -> PyResult<usize> {
        if self.rest == Rest::Deferred {
            return Ok(0);
        }
        let spent = self.shared()?.get().state(py)?.turns().is_spent();
        Ok(self.share.allowance(spent, len))
    }

    /// Notes a write; returns the transport's `is_closing` unless it is the first write since the last chunk.
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
