//! The DATA frames of HTTP/2 as Python sees them: those of WebSockets go straight to their connections.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use pyo3::{PyTraverseError, PyVisit};

use super::buffer::with_bytes;
use super::data_sender::DataSender;
use super::endpoint::Endpoint;
use crate::data::{Growth, Piece, Splitter, Window, flow_controlled_len, write_empty, write_window_update};

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
}

/// What an HTTP/2 connection receives: DATA of WebSockets goes to their connections, all else to the HTTP/2 library.
///
/// All DATA is counted for the window of the connection, whose credit goes back at once.
#[pyclass(module = "mintws._core")]
pub struct Inbound {
    /// Writes each `WINDOW_UPDATE`.
    sender: Py<DataSender>,
    splitter: Splitter,
    streams: HashMap<u32, Carried>,
    connection: Window,
    stream_window: u32,
    growth: Growth,
    /// Streams whose connection has something to say, or that are owed credit.
    touched: Vec<u32>,
    /// How many DATA frames of WebSockets carried something, since `tally`.
    carrying: usize,
}

#[pymethods]
impl Inbound {
    #[new]
    fn new(
        sender: Py<DataSender>,
        server: bool,
        max_frame_size: usize,
        stream_window: u32,
        connection_window: u32,
    ) -> Self {
        Self {
            sender,
            splitter: Splitter::new(server, max_frame_size),
            streams: HashMap::new(),
            connection: Window::new(connection_window),
            stream_window,
            growth: Growth::new(GROWTH),
            touched: Vec::new(),
            carrying: 0,
        }
    }

    /// Have the DATA of `stream` go to `connection` from now on.
    fn carry(&mut self, stream: u32, connection: Py<Endpoint>) {
        let window = Window::new(self.stream_window);
        self.streams.insert(stream, Carried { connection, window, withheld: 0, paused: false, slow: false });
    }

    /// Leave the DATA of `stream` to the HTTP/2 library from now on.
    fn drop(&mut self, stream: u32) {
        if let Some(carried) = self.streams.remove(&stream) {
            carried.window.shrink(&mut self.growth);
        }
    }

    /// Keep credit back, or give what was kept back; the `WINDOW_UPDATE` comes with the next `settle`.
    ///
    /// That of bytes which still wait to be decoded stays.
    fn pause(&mut self, py: Python<'_>, stream: u32, paused: bool) -> PyResult<()> {
        if let Some(carried) = self.streams.get_mut(&stream) {
            carried.paused = paused;
            if !paused {
                let undecoded = carried.connection.get().workings(py)?.undecoded();
                let kept = carried.withheld.min(u32::try_from(undecoded).unwrap_or(u32::MAX));
                carried.window.consume(std::mem::replace(&mut carried.withheld, kept) - kept);
                self.touched.push(stream);
            }
        }
        Ok(())
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

    /// Take bytes from `data[offset:]` until there is something for the HTTP/2 library.
    ///
    /// Returns:
    ///     The offset behind it, and a frame for the library, or the number of a stream that was sent more than its window (0:
    ///     the connection was), or `None` at the end of `data`. Events are appended to `events`.
    pub fn receive<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        offset: usize,
        events: &Bound<'py, PyList>,
    ) -> PyResult<(usize, Bound<'py, PyAny>)> {
        let py = slf.py();
        with_bytes(data, |data| {
            let mut chunk = data.get(offset..).unwrap_or_default();
            let mut this = slf.try_borrow_mut()?;
            let this = &mut *this;
            let Self { splitter, streams, connection, touched, carrying, .. } = this;
            let found = loop {
                let Some(piece) = splitter.next(&mut chunk, |stream| streams.contains_key(&stream)) else {
                    break py.None().into_bound(py);
                };
                match piece {
                    Piece::Other(frame) => {
                        let len = flow_controlled_len(frame).unwrap_or(0);
                        if connection.receive(len).is_err() {
                            break 0_u32.into_pyobject(py)?.into_any();
                        }
                        connection.consume(len);
                        break PyBytes::new(py, frame).into_any();
                    }
                    Piece::Data { stream, payload, flow_controlled_len, end_stream } => {
                        let Some(carried) = streams.get_mut(&stream) else { continue };
                        if connection.receive(flow_controlled_len).is_err() {
                            break 0_u32.into_pyobject(py)?.into_any();
                        }
                        connection.consume(flow_controlled_len);
                        if carried.window.receive(flow_controlled_len).is_err() {
                            break stream.into_pyobject(py)?.into_any();
                        }
                        *carrying += usize::from(!payload.is_empty());
                        Endpoint::feed(carried.connection.bind(py), payload, events)?;
                        if carried.paused || carried.connection.get().workings(py)?.waits(py)? {
                            carried.withheld += flow_controlled_len;
                            carried.slow = true;
                        } else {
                            carried.window.consume(flow_controlled_len);
                        }
                        if touched.last() != Some(&stream) {
                            touched.push(stream);
                        }
                        if end_stream || payload.is_empty() {
                            let mut empty = Vec::new();
                            write_empty(&mut empty, stream, end_stream);
                            break PyBytes::new(py, &empty).into_any();
                        }
                    }
                }
            };
            Ok((data.len() - chunk.len(), found))
        })
    }

    /// Give how many DATA frames of WebSockets that carried something have come since the last call.
    fn tally(&mut self) -> usize {
        std::mem::take(&mut self.carrying)
    }

    /// Write each `WINDOW_UPDATE` that is due, and give the connections that have something to say since the last call.
    fn settle<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let unsettled = PyList::empty(py);
        for stream in &self.touched {
            let Some(carried) = self.streams.get(stream) else { continue };
            if carried.connection.get().workings(py)?.unsettled() {
                unsettled.append(&carried.connection)?;
            }
        }
        self.give_credit(py)?;
        Ok(unsettled)
    }

    // A connection's carrier knows the HTTP/2 connection that this is part of.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.streams.values().try_for_each(|carried| visit.call(&carried.connection))
    }

    fn __clear__(&mut self) {
        self.streams.clear();
    }
}

impl Inbound {
    /// Whether a connection has something to say since the last `settle`.
    pub fn is_unsettled(&self, py: Python<'_>) -> PyResult<bool> {
        for stream in &self.touched {
            if let Some(carried) = self.streams.get(stream)
                && carried.connection.get().workings(py)?.unsettled()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
    /// Writes each `WINDOW_UPDATE` that is due.
    fn give_credit(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut updates = Vec::new();
        if let Some(increment) = self.connection.update() {
            write_window_update(&mut updates, 0, increment);
        }
        for stream in self.touched.drain(..) {
            let Some(carried) = self.streams.get_mut(&stream) else { continue };
            let increment = if carried.slow {
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

    /// Gives all that is to be written where no connection has something to say.
    pub fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.give_credit(py)?;
        self.sender.get().take(py)
    }
}
