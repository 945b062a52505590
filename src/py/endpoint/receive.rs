//! The half of an endpoint that receives: bytes to events, and what ends them.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::{Delivery, EARLY_LIMIT, End, Endpoint, Workings};
use crate::decoder::{Decoder, Event};
use crate::fault::Fault;
use crate::frame::Opcode;
use crate::memory::Held;
use crate::py::data_sender::Frames;
use crate::py::errors;
use crate::py::events::{self, Kind as EventKind};
use crate::py::incoming::{Failure, Message, bytes_of, message, transformed};
use crate::py::queue::MessageQueue;
use crate::queue::Admits;
use crate::state::{Kind, after_receiving, after_sending};
use crate::turns::{DECODED_PER_TURN, EVENT_COST};

impl Endpoint {
    /// Decodes a chunk and appends `(self, event)` to `events` for each that it completes; what is more work than `most` waits.
    pub fn feed<'py>(slf: &Bound<'py, Self>, data: &[u8], events: &Bound<'py, PyList>, most: usize) -> PyResult<()> {
        let mut this = slf.get().workings(slf.py())?;
        let this = &mut *this;
        this.hand_on_kept(events)?;
        if this.decoder.is_none() {
            return Self::keep_early(slf, this, data, events);
        }
        let admits = this.admits(slf.py())?;
        if admits == Admits::Nothing {
            this.early.extend_from_slice(data);
            if let Delivery::Queue(queue) | Delivery::Traced(queue) = &this.delivery {
                MessageQueue::list(queue.bind(slf.py()))?;
            }
            return Ok(());
        }
        if let Some(decoder) = &mut this.decoder {
            decoder.inflates = admits == Admits::All;
        }
        if this.early.is_empty() {
            let left = Self::decode_all(slf, this, data, events, most)?;
            this.early.extend_from_slice(left);
            return Ok(());
        }
        let mut early = std::mem::take(&mut this.early);
        early.extend_from_slice(data);
        let left = Self::decode_all(slf, this, &early, events, most)?.len();
        early.drain(..early.len() - left);
        this.early = early;
        Ok(())
    }

    /// Decodes what has waited, as far as it is taken now; what is more work than `most` goes on waiting.
    pub fn catch_up<'py>(slf: &Bound<'py, Self>, events: &Bound<'py, PyList>, most: usize) -> PyResult<()> {
        Self::feed(slf, &[], events, most)?;
        let end = {
            let mut this = slf.get().workings(slf.py())?;
            // Whoever reads is told at once what follows the messages.
            let is_later = this.waits(slf.py())? || (this.is_discarding(slf.py())? && this.is_behind(slf.py())?);
            if is_later { None } else { this.end.take() }
        };
        match end {
            Some(End::Lost(message)) => Self::receive_end(slf, events, message.as_deref()),
            Some(End::Fault(error)) => Self::_fail(slf, events, error),
            None => Ok(()),
        }
    }

    /// Gives the bytes that must follow what was received.
    #[inline]
    pub(super) fn take_replies<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let reply = {
            let mut this = slf.get().workings(slf.py())?;
            if !this.unsettled() {
                return Ok(PyBytes::new(slf.py(), b""));
            }
            if let Some(exception) = this.take_raised() {
                return Err(exception);
            }
            PyBytes::new(slf.py(), &std::mem::take(&mut this.reply))
        };
        Self::deliver(slf, reply, Frames::Pongs)
    }

    /// Decodes a chunk, and gives what of it is to wait. An exception that says nothing of the peer fails the connection, and is
    /// raised when all is in order.
    #[inline]
    fn decode_all<'py, 'a>(
        slf: &Bound<'py, Self>,
        this: &mut Workings,
        mut data: &'a [u8],
        events: &Bound<'py, PyList>,
        most: usize,
    ) -> PyResult<&'a [u8]> {
        match Self::decode(slf, this, &mut data, events, most) {
            Ok(()) if !this.failed => Ok(data),
            Ok(()) => Ok(&[]),
            Err(exception) => Self::interrupt(slf, this, exception, events).map(|()| &[][..]),
        }
    }

    #[cold]
    fn interrupt<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Workings,
        exception: PyErr,
        events: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        let error = errors::interrupted(slf.py(), &exception)?;
        this.interruption.get_or_insert_default().exception = Some(exception);
        Self::fail(slf, this, error, events)
    }

    fn decode<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Workings,
        chunk: &mut &[u8],
        events: &Bound<'py, PyList>,
        most: usize,
    ) -> PyResult<()> {
        let py = slf.py();
        let Some(decoder) = &mut this.decoder else { return Ok(()) };
        // Behind a Close comes nothing more.
        let mut after = this.state;
        let mut left = most;
        while left > 0 {
            left = left.saturating_sub(EVENT_COST);
            let said = match decoder.next(chunk) {
                Ok(None) => {
                    if let (false, Delivery::Queue(queue) | Delivery::Traced(queue)) =
                        (chunk.is_empty(), &this.delivery)
                    {
                        MessageQueue::stall(queue.bind(py))?;
                    }
                    break;
                }
                Ok(Some(said)) => said,
                Err(fault) => {
                    let error = errors::remote(py, &fault)?;
                    return Self::fail(slf, this, error, events);
                }
            };
            let event = match said {
                Event::Message { opcode, fin, rsv, payload } => {
                    let len = payload.len();
                    left = left.saturating_sub(len);
                    let made = match &this.transforms {
                        None => message(py, opcode, fin, &payload, this.text_as_bytes, &mut this.scratch),
                        Some(transforms) => {
                            let data = bytes_of(py, &payload)?;
                            transformed(transforms.bind(py), opcode, rsv, data, this.text_as_bytes)?
                        }
                    };
                    match made {
                        Ok(made) => {
                            let admits = match &this.delivery {
                                Delivery::Queue(queue) => MessageQueue::push(queue.bind(py), made, len)?,
                                Delivery::Traced(queue) => Self::push_traced(slf, queue, made, len, events)?,
                                Delivery::Events | Delivery::Later => {
                                    push(events, slf, &made.into_event()?)?;
                                    continue;
                                }
                            };
                            if admits == Admits::Nothing {
                                break;
                            }
                            decoder.inflates = admits == Admits::All;
                            continue;
                        }
                        Err(failure) => {
                            decoder.received.discount(len, fin);
                            let error = match failure {
                                Failure::Fault(fault) => errors::remote(py, &fault)?,
                                Failure::Peer(error) => error,
                                Failure::Python(error) => return Err(error),
                            };
                            return Self::fail(slf, this, error, events);
                        }
                    }
                }
                Event::Ping(payload) => {
                    if this.auto_pong && after_sending(this.role, this.state, Kind::Pong).is_some() {
                        let data = payload.unmasked(&mut this.scratch);
                        if let Ok(frame) = this.encoder.control(Opcode::Pong, data) {
                            frame.append_to(&mut this.reply);
                        }
                    }
                    events::with_data(bytes_of(py, &payload)?.into_any(), EventKind::Ping, true)?
                }
                Event::Pong(payload) => events::with_data(bytes_of(py, &payload)?.into_any(), EventKind::Pong, true)?,
                Event::Close(code, reason) => {
                    after = after_receiving(this.role, this.state, Kind::Close).unwrap_or(this.state);
                    events::close(py, code, reason)?
                }
            };
            push(events, slf, &event)?;
        }
        decoder.idle();
        this.decoded = most - left;
        this.enter(after);
        Ok(())
    }

    /// Gives a message to a queue, and as an event too; says what may follow at once.
    #[cold]
    fn push_traced<'py>(
        slf: &Bound<'py, Self>,
        queue: &Py<MessageQueue>,
        made: Message<'py>,
        len: usize,
        events: &Bound<'py, PyList>,
    ) -> PyResult<Admits> {
        let event = made.clone().into_event()?;
        let admits = MessageQueue::push(queue.bind(slf.py()), made, len)?;
        push(events, slf, &event)?;
        Ok(admits)
    }

    /// Ends the input with `Failed`.
    #[cold]
    pub(super) fn fail<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Workings,
        error: Bound<'py, PyAny>,
        events: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        this.failed = true;
        this.enter(after_receiving(this.role, this.state, Kind::Failed).unwrap_or(this.state));
        push(events, slf, &errors::failed(slf.py(), error)?)
    }

    /// Keeps what comes before the handshake is done, within bounds.
    fn keep_early<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Workings,
        data: &[u8],
        events: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        if this.state.is_over() {
            return Ok(());
        }
        if this.early.len() + data.len() > EARLY_LIMIT {
            this.early = Vec::new();
            return Self::fail(slf, this, errors::remote(slf.py(), &Fault::EarlyData)?, events);
        }
        this.early.extend_from_slice(data);
        Ok(())
    }

    /// Takes the end of the transport: `Failed` with 1006, unless the end was due.
    pub(super) fn receive_end(
        slf: &Bound<'_, Self>,
        events: &Bound<'_, PyList>,
        message: Option<&str>,
    ) -> PyResult<()> {
        // What follows the rest of what came is known now.
        let most = std::mem::replace(&mut slf.get().workings(slf.py())?.most, usize::MAX);
        let received = Self::_receive_early(slf, events);
        slf.get().workings(slf.py())?.most = most;
        received?;
        let mut this = slf.get().workings(slf.py())?;
        this.hand_on_kept(events)?;
        if this.decoder.is_some() && this.waits(slf.py())? {
            this.end.get_or_insert_with(|| End::Lost(message.map(String::from)));
            return Ok(());
        }
        let Some(after) = after_receiving(this.role, this.state, Kind::Lost) else { return Ok(()) };
        this.lose(after);
        drop(this);
        let error = errors::remote(slf.py(), &Fault::LeftWithoutClose)?;
        if let Some(message) = message {
            error.setattr("args", (message,))?;
        }
        push(events, slf, &errors::failed(slf.py(), error)?)
    }
}

impl Workings {
    /// What of that which comes is decoded now; all else is to wait as bytes.
    #[inline]
    fn admits(&self, py: Python<'_>) -> PyResult<Admits> {
        match &self.delivery {
            Delivery::Events => Ok(Admits::All),
            Delivery::Later => Ok(Admits::Nothing),
            Delivery::Queue(queue) | Delivery::Traced(queue) => queue.get().admits(py),
        }
    }

    /// Whether what comes is to wait as bytes.
    #[inline]
    pub fn waits(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.admits(py)? == Admits::Nothing)
    }

    /// Has messages be inflated only for a reader that waits, or as they come; says whether what waits may now be decoded.
    pub fn restrict(&self, py: Python<'_>, restricted: bool) -> PyResult<bool> {
        match &self.delivery {
            Delivery::Queue(queue) | Delivery::Traced(queue) => queue.get().restrict(py, restricted),
            Delivery::Events | Delivery::Later => Ok(false),
        }
    }

    /// Has nothing more come while messages wait, until the application has taken some.
    pub fn stall(&self, py: Python<'_>) -> PyResult<()> {
        match &self.delivery {
            Delivery::Queue(queue) | Delivery::Traced(queue) if !queue.get().is_empty(py)? => {
                MessageQueue::stall(queue.bind(py))
            }
            _ => Ok(()),
        }
    }

    /// How many bytes are held of what came.
    pub fn memory(&self, py: Python<'_>) -> PyResult<Held> {
        let queued = match &self.delivery {
            Delivery::Queue(queue) | Delivery::Traced(queue) => queue.get().memory(py)?,
            Delivery::Events | Delivery::Later => 0,
        };
        let unfinished = self.decoder.as_ref().map_or(0, Decoder::held_len);
        Ok(Held { unfinished, waiting: self.early.len() + queued, pending: 0 })
    }

    /// Whether nobody takes the messages that come.
    fn is_discarding(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.delivery {
            Delivery::Queue(queue) | Delivery::Traced(queue) => queue.get().is_discarding(py),
            Delivery::Events | Delivery::Later => Ok(false),
        }
    }

    /// How much is decoded at a time of what has waited, in a turn that is `spent` or not: readers wait for it, unless nobody reads.
    pub fn allowance(&self, py: Python<'_>, spent: bool) -> PyResult<usize> {
        Ok(if spent && self.is_discarding(py)? { 0 } else { self.most })
    }

    /// Has the rest of what comes, after as much as a turn of a loop has time for, wait until it is asked for.
    pub fn bound_turns(&mut self) {
        self.most = DECODED_PER_TURN;
    }

    /// How much was decoded the last time.
    pub const fn decoded(&self) -> usize {
        self.decoded
    }

    /// Whether bytes wait that may be decoded.
    pub fn is_behind(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.early.is_empty() && self.decoder.is_some() && !self.waits(py)?)
    }

    /// How many bytes wait to be decoded.
    pub fn undecoded(&self) -> usize {
        self.early.len()
    }

    /// Whether frames that answer, the end of the stream or an exception wait to be taken by `_take_replies`.
    pub fn unsettled(&self) -> bool {
        !self.reply.is_empty() || self.state.is_over() || self.interruption.is_some()
    }

    /// Takes the exception that `_take_replies` would raise.
    pub fn take_raised(&mut self) -> Option<PyErr> {
        self.interruption.as_mut().and_then(|it| it.exception.take())
    }

    /// Appends the events that were kept.
    #[inline]
    pub(super) fn hand_on_kept(&mut self, events: &Bound<'_, PyList>) -> PyResult<()> {
        let Some(interruption) = &mut self.interruption else { return Ok(()) };
        let kept = interruption.events.take();
        if interruption.exception.is_none() {
            self.interruption = None;
        }
        kept.map_or(Ok(()), |kept| kept.bind(events.py()).iter().try_for_each(|event| events.append(event)))
    }
}

/// Appends `(connection, event)`.
#[inline]
fn push<'py>(
    events: &Bound<'py, PyList>,
    connection: &Bound<'py, Endpoint>,
    event: &Bound<'py, PyAny>,
) -> PyResult<()> {
    events.append(PyTuple::new(events.py(), [connection.as_any(), event])?)
}
