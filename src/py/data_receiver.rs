//! The DATA frames of HTTP/2 as Python sees them: those of WebSockets go straight to their connections.

use std::collections::{HashMap, VecDeque};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use pyo3::{PyTraverseError, PyVisit};

use super::buffer::with_bytes;
use super::data_sender::DataSender;
use super::endpoint::Endpoint;
use crate::data::{
    FRAME_HEADER, Growth, Piece, Splitter, USEFUL_BYTES, Window, flow_controlled_len, window_update_stream,
    write_empty, write_window_update,
};
use crate::memory::{Budget, Held, Weighed};
use crate::turns::{DATA_COST, WEIGHING_COST, Work, frame_cost};

/// The most that the peer may send ahead on a stream whose window has grown, and by how much all of a connection may grow together.
const WINDOW_MAX: u32 = 4 * 1024 * 1024;
const GROWTH: u32 = 8 * 1024 * 1024;

/// A stream that carries a WebSocket.
struct Carried {
    connection: Py<Endpoint>,
    window: Window,
    /// Credit that is kept while the stream is paused.
    withheld: u32,
    paused: bool,
    /// Credit was kept back since some was last given: it is not the window that holds the peer up.
    slow: bool,
    /// What the budget has counted for it.
    held: usize,
    /// How many bytes its DATA and `WINDOW_UPDATE` frames have had.
    received: u64,
}

impl Carried {
    /// Gives back the credit that was kept, but for that of bytes which wait to be decoded; `keep` keeps all of it.
    fn release(&mut self, py: Python<'_>, keep: bool) -> PyResult<()> {
        if self.withheld > 0 && !keep && !self.paused {
            let undecoded = self.connection.get().workings(py)?.undecoded();
            let kept = self.withheld.min(u32::try_from(undecoded).unwrap_or(u32::MAX));
            self.window.consume(std::mem::replace(&mut self.withheld, kept) - kept);
        }
        Ok(())
    }
}

/// A connection of whose bytes some wait for a later turn.
struct Behind {
    stream: u32,
    connection: Py<Endpoint>,
    /// The empty DATA frame that follows them.
    empty: Option<Vec<u8>>,
}

/// The receiving half of an HTTP/2 connection: DATA of WebSockets goes to their connections, all else to the HTTP/2 library.
///
/// All DATA is counted for the window of the connection, whose credit goes back at once.
#[pyclass(module = "mintws._core")]
pub struct DataReceiver {
    /// Writes each `WINDOW_UPDATE`.
    sender: Py<DataSender>,
    splitter: Splitter,
    streams: HashMap<u32, Carried>,
    connection: Window,
    stream_window: u32,
    growth: Growth,
    budget: Budget,
    /// Streams whose connection has something to say, or that are owed credit.
    touched: Vec<u32>,
    /// How many useful bytes the DATA of WebSockets carried, since `tally`.
    useful: usize,
    /// What may still be done in this turn.
    work: Work,
    /// The bytes that wait for a later one, and how many of them have been taken.
    rest: (Vec<u8>, usize),
    /// Connections that wait with bytes for it.
    behind: VecDeque<Behind>,
    /// Connections of streams that have ended, which have caught up since the last `update_windows`.
    ended: Vec<Py<Endpoint>>,
}

#[pymethods]
impl DataReceiver {
    #[new]
    fn new(
        sender: Py<DataSender>,
        server: bool,
        max_frame_size: usize,
        stream_window: u32,
        connection_window: u32,
        memory_limit: Option<u64>,
    ) -> Self {
        Self {
            sender,
            splitter: Splitter::new(server, max_frame_size),
            streams: HashMap::new(),
            connection: Window::new(connection_window),
            stream_window,
            growth: Growth::new(GROWTH),
            budget: Budget::new(memory_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)),
            touched: Vec::new(),
            useful: 0,
            work: Work::unbounded(),
            rest: (Vec::new(), 0),
            behind: VecDeque::new(),
            ended: Vec::new(),
        }
    }

    /// Have the DATA of `stream` go to `connection` from now on.
    fn carry(&mut self, py: Python<'_>, stream: u32, connection: Py<Endpoint>) -> PyResult<()> {
        if self.work != Work::unbounded() {
            connection.get().workings(py)?.bound_turns();
        }
        let window = Window::new(self.stream_window);
        self.streams.insert(
            stream,
            Carried { connection, window, withheld: 0, paused: false, slow: false, held: 0, received: 0 },
        );
        Ok(())
    }

    /// Leave the DATA of `stream` to the HTTP/2 library from now on.
    fn drop(&mut self, stream: u32) {
        if let Some(mut carried) = self.streams.remove(&stream) {
            carried.window.shrink(&mut self.growth);
            self.budget.count(&mut carried.held, 0);
        }
    }

    /// Keep credit back, or give what was kept back; the `WINDOW_UPDATE` comes with the next `update_windows`.
    ///
    /// That of bytes which still wait to be decoded stays.
    fn pause(&mut self, py: Python<'_>, stream: u32, paused: bool) -> PyResult<()> {
        if let Some(carried) = self.streams.get_mut(&stream) {
            carried.paused = paused;
            if !paused {
                carried.release(py, self.budget.withholds(stream, carried.held))?;
                self.touched.push(stream);
            }
        }
        Ok(())
    }

    /// Have bytes go on in a later turn that the `connection` of `stream` has left undecoded, be the stream open or not.
    fn look(&mut self, py: Python<'_>, stream: u32, connection: Py<Endpoint>) -> PyResult<()> {
        if connection.get().workings(py)?.is_behind(py)? && self.behind.iter().all(|it| it.stream != stream) {
            self.behind.push_back(Behind { stream, connection, empty: None });
        }
        Ok(())
    }

    /// Begin a turn, in which no more than `most` is done: the rest of what comes waits, and goes on with the next `receive`.
    pub fn begin_turn(&mut self, most: usize) {
        self.work.begin(most);
    }

    /// Bound nothing any more.
    fn end_turns(&mut self) {
        self.work = Work::unbounded();
    }

    /// Whether some of what came, or is to be sent, waits for a later turn.
    #[getter(behind)]
    pub fn is_behind(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.rest.0.is_empty() || !self.behind.is_empty() || self.sender.get().is_behind(py)?)
    }

    /// Drop what waits for a later turn: the connection has ended.
    fn stop(&mut self) {
        self.rest = (Vec::new(), 0);
        self.behind.clear();
    }

    /// How many bytes are held for the peer, as far as was counted: what the application has taken of late may be among them.
    #[getter]
    fn held_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.budget.held() + self.sender.get().pending(py, 0)?)
    }

    /// Whether that is more than the connection may hold.
    #[getter]
    fn over(&self) -> bool {
        self.budget.is_over()
    }

    /// Give `(left, credit)` of a stream, or of the connection (0): what the peer may send, and what it will be given back.
    fn window(&self, stream: u32) -> Option<(u32, u32)> {
        if stream == 0 {
            return Some(self.connection.left_and_credit());
        }
        self.streams.get(&stream).map(|carried| {
            let (left, credit) = carried.window.left_and_credit();
            (left, credit + carried.withheld)
        })
    }

    /// Give a count that grows with each sign of life of the peer on a stream.
    ///
    /// It is the bytes of its DATA, be a frame whole or not, and of its `WINDOW_UPDATE`s, and those that its windows let pass after a wait.
    fn life_signs(&self, py: Python<'_>, stream: u32) -> PyResult<u64> {
        let received = self.streams.get(&stream).map_or(0, |it| it.received) + self.splitter.held(stream) as u64;
        Ok(received + self.sender.get().pumped(py, stream)?)
    }

    /// Take bytes that have waited, and those from `data[offset:]`, until there is something for the HTTP/2 library.
    ///
    /// Returns:
    ///     The offset after it, and a frame for the library, or the number of a stream that was sent more than its window (0:
    ///     the connection was), or `None` at the end of `data`, or where the turn has no time for more. Events are appended to `events`.
    pub fn receive<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        offset: usize,
        events: &Bound<'py, PyList>,
    ) -> PyResult<(usize, Bound<'py, PyAny>)> {
        with_bytes(data, |data| Self::receive_from(slf, data, offset, events))
    }

    /// Give how many useful bytes the DATA of WebSockets has carried since the last call.
    fn tally(&mut self) -> usize {
        std::mem::take(&mut self.useful)
    }

    /// Write each `WINDOW_UPDATE` that is due, and give the connections that have something to say since the last call.
    fn update_windows<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let unsettled = PyList::new(py, self.ended.drain(..))?;
        for stream in &self.touched {
            let Some(carried) = self.streams.get(stream) else { continue };
            if carried.connection.get().workings(py)?.unsettled() {
                unsettled.append(&carried.connection)?;
            }
        }
        self.give_credit(py)?;
        Ok(unsettled)
    }

    /// Write what the windows now let pass, as far as the turn has time, and give the streams whose end is to be written.
    fn pump(&mut self, py: Python<'_>) -> PyResult<Vec<u32>> {
        let before = self.sender.get().pending(py, 0)?;
        let ended = self.sender.get().pump(py, &mut self.work)?;
        if self.sender.get().pending(py, 0)? < before {
            // What is pending no more may have made room.
            self.give_credit(py)?;
        }
        Ok(ended)
    }

    // A connection's carrier knows the HTTP/2 connection that this is part of.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.behind.iter().map(|it| &it.connection).chain(&self.ended).try_for_each(|it| visit.call(it))?;
        self.streams.values().try_for_each(|carried| visit.call(&carried.connection))
    }

    fn __clear__(&mut self) {
        self.streams.clear();
        self.behind.clear();
        self.ended.clear();
    }
}

impl DataReceiver {
    /// Takes bytes as `receive` does.
    pub fn receive_from<'py>(
        slf: &Bound<'py, Self>,
        data: &[u8],
        offset: usize,
        events: &Bound<'py, PyList>,
    ) -> PyResult<(usize, Bound<'py, PyAny>)> {
        let py = slf.py();
        let mut this = slf.try_borrow_mut()?;
        let mut chunk = data.get(offset..).unwrap_or_default();
        if !this.is_behind(py)? {
            let found = this.take_front(py, &mut chunk, events)?;
            if found.is_some() || chunk.is_empty() {
                return Ok((data.len() - chunk.len(), found.into_pyobject(py)?));
            }
        }
        this.rest.0.extend_from_slice(chunk);
        let found = this.catch_up(py, events)?;
        Ok((data.len(), found.into_pyobject(py)?))
    }

    /// Takes from the front of `chunk` until there is something for the HTTP/2 library, or the turn is spent.
    fn take_front<'py>(
        &mut self,
        py: Python<'py>,
        chunk: &mut &[u8],
        events: &Bound<'py, PyList>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        while !self.work.is_spent() {
            if self.budget.is_to_weigh(0) {
                self.weigh(py)?;
            }
            let Self { splitter, streams, connection, touched, useful, work, behind, budget, .. } = self;
            let Some(piece) = splitter.next(chunk, |stream| streams.contains_key(&stream)) else { break };
            match piece {
                Piece::Other(frame) => {
                    work.charge(frame_cost(frame));
                    if let Some(carried) = streams.get_mut(&window_update_stream(frame)) {
                        carried.received += frame.len() as u64;
                    }
                    let len = flow_controlled_len(frame).unwrap_or(0);
                    if connection.receive(len).is_err() {
                        return number(py, 0);
                    }
                    connection.consume(len);
                    return Ok(Some(PyBytes::new(py, frame).into_any()));
                }
                Piece::Data { stream, payload, flow_controlled_len, end_stream } => {
                    let Some(carried) = streams.get_mut(&stream) else { continue };
                    if connection.receive(flow_controlled_len).is_err() {
                        return number(py, 0);
                    }
                    connection.consume(flow_controlled_len);
                    carried.received += FRAME_HEADER as u64 + u64::from(flow_controlled_len);
                    if carried.window.receive(flow_controlled_len).is_err() {
                        return number(py, stream);
                    }
                    *useful += payload.len().min(USEFUL_BYTES);
                    if budget.is_over() {
                        carried.connection.get().workings(py)?.restrict(py, true)?;
                    }
                    Endpoint::feed(carried.connection.bind(py), payload, events, work.left())?;
                    let (waits, is_behind) = {
                        let workings = carried.connection.get().workings(py)?;
                        work.charge(DATA_COST + workings.decoded());
                        budget.count(&mut carried.held, workings.memory(py)?.received());
                        (workings.waits(py)?, work.is_spent() && workings.is_behind(py)?)
                    };
                    if carried.paused || waits || budget.withholds(stream, carried.held) {
                        carried.withheld += flow_controlled_len;
                        carried.slow = true;
                    } else {
                        carried.window.consume(flow_controlled_len);
                    }
                    if touched.last() != Some(&stream) {
                        touched.push(stream);
                    }
                    let empty = (end_stream || payload.is_empty()).then(|| {
                        let mut empty = Vec::new();
                        write_empty(&mut empty, stream, end_stream);
                        empty
                    });
                    if is_behind {
                        behind.push_back(Behind { stream, connection: carried.connection.clone_ref(py), empty });
                    } else if let Some(empty) = empty {
                        return Ok(Some(PyBytes::new(py, &empty).into_any()));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes what has waited, as `take_front` does.
    fn catch_up<'py>(&mut self, py: Python<'py>, events: &Bound<'py, PyList>) -> PyResult<Option<Bound<'py, PyAny>>> {
        while !self.behind.is_empty() && !self.work.is_spent() {
            if self.budget.is_to_weigh(0) {
                self.weigh(py)?;
            }
            let Some(Behind { stream, connection, .. }) = self.behind.front() else { break };
            Endpoint::catch_up(connection.bind(py), events, self.work.left())?;
            let (held, waits, is_behind) = {
                let workings = connection.get().workings(py)?;
                self.work.charge(DATA_COST + workings.decoded());
                (workings.memory(py)?.received(), workings.waits(py)?, workings.is_behind(py)?)
            };
            if let Some(carried) = self.streams.get_mut(stream) {
                self.touched.push(*stream);
                self.budget.count(&mut carried.held, held);
                carried.release(py, waits || self.budget.withholds(*stream, held))?;
            } else {
                self.ended.push(connection.clone_ref(py));
            }
            if is_behind {
                return Ok(None);
            }
            if let Some(Behind { empty: Some(empty), .. }) = self.behind.pop_front() {
                return Ok(Some(PyBytes::new(py, &empty).into_any()));
            }
        }
        if !self.behind.is_empty() {
            return Ok(None);
        }
        let (bytes, taken) = std::mem::take(&mut self.rest);
        let mut chunk = &bytes[taken..];
        let found = self.take_front(py, &mut chunk, events)?;
        if !chunk.is_empty() {
            let taken = bytes.len() - chunk.len();
            self.rest = (bytes, taken);
        }
        Ok(found)
    }

    /// How much was done since the turn began.
    pub fn done(&self) -> usize {
        self.work.done()
    }

    /// Whether a connection has something to say since the last `update_windows`.
    pub fn is_unsettled(&self, py: Python<'_>) -> PyResult<bool> {
        if !self.ended.is_empty() {
            return Ok(true);
        }
        for stream in &self.touched {
            if let Some(carried) = self.streams.get(stream)
                && carried.connection.get().workings(py)?.unsettled()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes what decoding has raised, and says nothing of the peer, since the last `update_windows`; the first, if there are several.
    pub fn take_raised(&self, py: Python<'_>) -> PyResult<Option<PyErr>> {
        let touched = self.touched.iter().filter_map(|stream| self.streams.get(stream));
        let mut first = None;
        for connection in touched.map(|carried| &carried.connection).chain(&self.ended) {
            let raised = connection.get().workings(py)?.take_raised();
            first = first.or(raised);
        }
        Ok(first)
    }

    /// Weighs what all streams hold against the budget, and lets those go on for which it has room again.
    #[cold]
    fn weigh(&mut self, py: Python<'_>) -> PyResult<()> {
        let was_over = self.budget.is_over();
        let mut weighed = Vec::with_capacity(self.streams.len());
        for (&stream, carried) in &mut self.streams {
            let workings = carried.connection.get().workings(py)?;
            let pending = self.sender.get().pending(py, stream)?;
            let held = Held { pending, ..workings.memory(py)? };
            carried.held = held.received();
            weighed.push(Weighed { stream, held, waits: workings.waits(py)? });
        }
        self.work.charge(weighed.len() * WEIGHING_COST);
        self.budget.weigh(weighed.iter().copied());
        let is_over = self.budget.is_over();
        if !was_over && !is_over {
            return Ok(());
        }
        for Weighed { stream, .. } in weighed {
            let Some(carried) = self.streams.get_mut(&stream) else { continue };
            let goes_on = carried.connection.get().workings(py)?.restrict(py, is_over)?;
            if goes_on {
                carried.paused = false;
            }
            if carried.withheld > 0 {
                let withholds = self.budget.withholds(stream, carried.held);
                if withholds {
                    // So that its streams are weighed again when the application takes messages.
                    carried.connection.get().workings(py)?.stall(py)?;
                }
                carried.release(py, withholds)?;
                self.touched.push(stream);
            }
            if goes_on {
                let connection = carried.connection.clone_ref(py);
                self.look(py, stream, connection)?;
            }
        }
        Ok(())
    }

    /// Writes each `WINDOW_UPDATE` that is due.
    fn give_credit(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.budget.is_over() || self.budget.is_to_weigh(self.sender.get().pending(py, 0)?) {
            self.weigh(py)?;
        }
        let mut updates = Vec::new();
        if let Some(increment) = self.connection.update() {
            write_window_update(&mut updates, 0, increment);
        }
        for stream in self.touched.drain(..) {
            let Some(carried) = self.streams.get_mut(&stream) else { continue };
            let increment = if carried.slow || self.budget.is_over() {
                carried.window.update()
            } else {
                carried.window.update_wider(WINDOW_MAX, &mut self.growth)
            };
            if let Some(increment) = increment {
                carried.slow = false;
                write_window_update(&mut updates, stream, increment);
            }
        }
        if updates.is_empty() { Ok(()) } else { self.sender.get().write(py, &updates) }
    }

    /// Gives how many bytes have gone out that had waited for the peer's windows, since the last call.
    pub fn take_pumped(&self, py: Python<'_>) -> PyResult<usize> {
        self.sender.get().take_pumped(py)
    }

    /// Gives all that is to be written where no connection has something to say.
    pub fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.give_credit(py)?;
        self.sender.get().take(py)
    }
}

/// Gives the number of a stream that was sent more than its window.
fn number(py: Python<'_>, stream: u32) -> PyResult<Option<Bound<'_, PyAny>>> {
    Ok(Some(stream.into_pyobject(py)?.into_any()))
}
