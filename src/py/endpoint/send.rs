//! The sending half of an endpoint: events are checked, encoded and delivered.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::{Delivery, Endpoint, Wire, Workings};
use crate::encoder::{Encoder, Frame, Unsendable};
use crate::frame::Opcode;
use crate::py::border;
use crate::py::buffer::{frame_bytes, payload_of, utf8_of};
use crate::py::data_sender::Frames;
use crate::py::errors::local;
use crate::py::events::{self, Kind as EventKind};
use crate::py::prepared::PreparedMessage;
use crate::py::states::refusal;
use crate::state::{Kind, State, after_sending};

/// A message or control frame that has been checked.
pub(super) enum Checked<'a> {
    Message { opcode: Opcode, payload: &'a [u8], fin: bool },
    Prepared { message: &'a Bound<'a, PreparedMessage> },
    Control { opcode: Opcode, payload: &'a [u8] },
    Close(Vec<u8>),
}

/// Whether an endpoint can send a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// A message in fragments has to be ended before.
    Within,
    /// Nothing more is sent.
    Over,
}

/// The state that checking changes: later events are checked against it before any is encoded.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub(super) state: State,
    unfinished: Option<Opcode>,
}

impl Workings {
    pub(super) fn progress(&self) -> Progress {
        Progress { state: self.state, unfinished: self.encoder.unfinished() }
    }

    pub(super) fn may_send(&self, state: State, kind: Kind) -> PyResult<State> {
        after_sending(self.role, state, kind).ok_or_else(|| refusal(self.role, state, kind))
    }

    /// Checks whether `event` may be sent now; returns its content for the wire, or `None` if it is not a frame.
    #[inline]
    pub(super) fn check<'a>(
        &self,
        event: &'a Bound<'_, PyAny>,
        progress: &mut Progress,
    ) -> PyResult<Option<Checked<'a>>> {
        let Some((kind, first, second)) = events::fields(event) else {
            let Ok(message) = event.cast::<PreparedMessage>() else { return Ok(None) };
            progress.state = self.may_send(progress.state, Kind::Message)?;
            if progress.unfinished.is_some() {
                return Err(local(Unsendable::PreparedWithin));
            }
            if self.transforms.is_some() {
                return Err(local("a prepared message passes no extensions of your own: send its event instead"));
            }
            return Ok(Some(Checked::Prepared { message }));
        };
        Ok(Some(match kind {
            EventKind::Text | EventKind::Binary => {
                progress.state = self.may_send(progress.state, Kind::Message)?;
                let opcode = if kind == EventKind::Text { Opcode::Text } else { Opcode::Binary };
                let fin = second.is_none_or(events::is_final);
                if progress.unfinished.is_some_and(|unfinished| unfinished != opcode) {
                    return Err(local(Unsendable::Interleaved));
                }
                if self.transforms.is_some() && !fin {
                    return Err(local("extensions of your own see whole messages: send this one with fin=True"));
                }
                progress.unfinished = (!fin).then_some(opcode);
                Checked::Message { opcode, payload: payload_of(kind, first)?, fin }
            }
            EventKind::Ping | EventKind::Pong => {
                let (opcode, kind) = match kind {
                    EventKind::Ping => (Opcode::Ping, Kind::Ping),
                    _ => (Opcode::Pong, Kind::Pong),
                };
                progress.state = self.may_send(progress.state, kind)?;
                let payload = first.cast::<PyBytes>()?.as_bytes();
                if payload.len() > crate::frame::CONTROL_LIMIT {
                    return Err(local(Unsendable::LongControl(payload.len())));
                }
                Checked::Control { opcode, payload }
            }
            EventKind::Close => {
                progress.state = self.may_send(progress.state, Kind::Close)?;
                let reason = match second {
                    Some(reason) => utf8_of(reason.cast::<PyString>()?)?,
                    None => "",
                };
                Checked::Close(Encoder::close_payload(first.extract()?, reason).map_err(local)?)
            }
        }))
    }

    /// Encodes a checked event; `None` if its bytes wait for `flush`.
    #[inline]
    pub(super) fn encode<'py>(
        &mut self,
        py: Python<'py>,
        checked: Checked<'_>,
        compress: Option<bool>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if let Some(mut corked) = self.corked.take() {
            let appended = self.append(py, checked, compress, &mut corked);
            self.corked = Some(corked);
            return appended.map(|()| None);
        }
        match checked {
            Checked::Message { opcode, payload, fin } if self.transforms.is_none() && !self.encoder.cuts() => {
                let frame = self.encoder.message(opcode, payload, fin, 0, compress).map_err(local)?;
                let made = frame_bytes(py, &frame).map(Some);
                self.encoder.idle();
                made
            }
            Checked::Prepared { message } => self.prepared(py, message.get(), compress).map(Some),
            Checked::Control { opcode, payload } => {
                let frame = self.encoder.control(opcode, payload).map_err(local)?;
                frame_bytes(py, &frame).map(Some)
            }
            other => {
                let mut out = Vec::new();
                self.append(py, other, compress, &mut out)?;
                Ok(Some(PyBytes::new(py, &out)))
            }
        }
    }

    /// Appends the bytes of a checked event.
    pub(super) fn append(
        &mut self,
        py: Python<'_>,
        checked: Checked<'_>,
        compress: Option<bool>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        match checked {
            Checked::Message { opcode, payload, fin } => match &self.transforms {
                None => self.encoder.append(out, opcode, payload, fin, 0, compress).map_err(local)?,
                Some(transforms) => {
                    let text = opcode == Opcode::Text;
                    let data = PyBytes::new(py, payload);
                    let (payload, rsv) = border::transforms::send(transforms.bind(py), text, data, compress)?;
                    self.encoder.append(out, opcode, payload.as_bytes(), fin, rsv, compress).map_err(local)?;
                }
            },
            Checked::Prepared { message } => {
                out.extend_from_slice(self.prepared(py, message.get(), compress)?.as_bytes());
            }
            Checked::Control { opcode, payload } => {
                self.encoder.control(opcode, payload).map_err(local)?.append_to(out);
            }
            Checked::Close(payload) => {
                self.encoder.control(Opcode::Close, &payload).map_err(local)?.append_to(out);
            }
        }
        self.encoder.idle();
        Ok(())
    }

    /// Returns the frames of a prepared message: bytes that connections share, if its one frame is the same for all.
    fn prepared<'py>(
        &mut self,
        py: Python<'py>,
        message: &PreparedMessage,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let len = message.len(py);
        let window_bits = self.encoder.compressed_window(len, compress);
        let frame = message.frame(py, window_bits)?;
        let payload = frame.payload(py);
        if self.encoder.shares(payload.len()) {
            self.encoder.share(payload.len(), len, window_bits.is_some());
            return Ok(frame.bytes(py));
        }
        let mut out = Vec::new();
        self.encoder.append_prepared(&mut out, message.opcode(), payload, len, window_bits.is_some()).map_err(local)?;
        Ok(PyBytes::new(py, &out))
    }

    /// Whether a whole message may be sent, and if not, why.
    pub fn readiness(&self) -> Readiness {
        match self.state {
            State::Open | State::RemoteClosing if self.encoder.unfinished().is_none() => Readiness::Ready,
            State::Open | State::RemoteClosing => Readiness::Within,
            _ => Readiness::Over,
        }
    }

    /// The number of payload bytes of messages sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.encoder.sent.bytes
    }

    /// Whether frames are logged.
    pub fn is_traced(&self) -> bool {
        matches!(self.delivery, Delivery::Traced(_))
    }

    /// Encodes a prepared message, if its frames are written as they are and nothing waits before them.
    pub fn direct_prepared<'py>(
        &mut self,
        message: &Bound<'py, PreparedMessage>,
        compress: Option<bool>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if !matches!(self.wire, Wire::Direct) || self.transforms.is_some() || self.corked_len() > 0 {
            return Ok(None);
        }
        self.prepared(message.py(), message.get(), compress).map(Some)
    }

    /// Appends a whole message, for which the endpoint is ready, to the corked bytes; returns their number.
    pub fn cork_message(&mut self, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<usize> {
        let py = message.py();
        let checked = match message.cast::<PreparedMessage>() {
            Ok(prepared) if self.transforms.is_some() => {
                let prepared = prepared.get();
                Checked::Message { opcode: prepared.opcode(), payload: prepared.payload(py), fin: true }
            }
            _ => {
                let checked = self.check(message, &mut self.progress())?;
                checked.ok_or_else(|| PyTypeError::new_err("only messages are sent to many at once"))?
            }
        };
        let mut corked = self.corked.take().unwrap_or_default();
        let appended = self.append(py, checked, compress, &mut corked);
        let len = corked.len();
        self.corked = Some(corked);
        appended.map(|()| len)
    }

    /// Encodes checked events, if all are written without compression or extensions.
    pub(super) fn direct<'a>(&mut self, checked: &'a [Checked<'a>]) -> Option<Vec<Frame<'a>>> {
        // Checked before a key is drawn for the first of them.
        let takes_more = |event| matches!(event, &Checked::Message { fin: false, .. } | &Checked::Prepared { .. });
        if self.transforms.is_some()
            || self.corked.is_some()
            || !self.encoder.is_plain()
            || checked.iter().any(takes_more)
        {
            return None;
        }
        let frame = |event: &'a Checked<'a>| match event {
            Checked::Message { opcode, payload, .. } => self.encoder.plain(*opcode, payload, 0),
            Checked::Control { opcode, payload } => self.encoder.control(*opcode, payload).ok(),
            Checked::Close(payload) => self.encoder.control(Opcode::Close, payload).ok(),
            Checked::Prepared { .. } => None,
        };
        checked.iter().map(frame).collect()
    }

    /// Encodes all checked events, or none; `None` if the bytes wait for `flush`.
    pub(super) fn append_all<'py>(
        &mut self,
        py: Python<'py>,
        all: Vec<Checked<'_>>,
        compress: Option<bool>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut out = Vec::new();
        let mut messages = 0;
        let sent = self.encoder.sent;
        for checked in all {
            let is_message = matches!(checked, Checked::Message { .. });
            if let Err(error) = self.append(py, checked, compress, &mut out) {
                // An extension raised: the frames so far are not sent.
                self.encoder.forget();
                self.encoder.sent = sent;
                if let Some(transforms) = &self.transforms {
                    border::transforms::forget(transforms.bind(py), messages)?;
                }
                return Err(error);
            }
            messages += usize::from(is_message);
        }
        match &mut self.corked {
            Some(corked) => {
                corked.extend_from_slice(&out);
                Ok(None)
            }
            None => Ok(Some(PyBytes::new(py, &out))),
        }
    }

    /// Appends a complete message to the corked bytes and returns their number; `None` if it needs more than that.
    pub fn collect(&mut self, opcode: Opcode, payload: &[u8], compress: Option<bool>) -> Option<usize> {
        let open = matches!(self.state, State::Open | State::RemoteClosing);
        if !open || self.is_traced() || self.transforms.is_some() || self.encoder.unfinished().is_some() {
            return None;
        }
        let corked = self.corked.as_mut()?;
        self.encoder.append(corked, opcode, payload, true, 0, compress).ok()?;
        self.encoder.idle();
        Some(corked.len())
    }

    /// How many sent bytes wait for the peer's flow control, if that is known here.
    pub fn pending(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        match &self.wire {
            Wire::Stream { sender, number, .. } => sender.get().pending(py, *number).map(Some),
            Wire::Direct | Wire::Carrier(_) => Ok(None),
        }
    }

    /// Exchanges the frames that `cork` has held back for an empty buffer, if they are written as they are; says whether they are.
    pub fn swap_corked(&mut self, buffer: &mut Vec<u8>) -> bool {
        let (Wire::Direct, Some(corked)) = (&self.wire, &mut self.corked) else { return false };
        std::mem::swap(corked, buffer);
        true
    }

    /// The number of bytes that wait for `flush`.
    pub fn corked_len(&self) -> usize {
        self.corked.as_ref().map_or(0, Vec::len)
    }

    /// Whether a payload is written unchanged after its header.
    pub(super) fn sends_as_is(&self, len: usize, fin: bool, compress: Option<bool>) -> bool {
        matches!(self.wire, Wire::Direct)
            && !self.state.is_over()
            && self.transforms.is_none()
            && !self.encoder.masks()
            && fin
            && self.encoder.unfinished().is_none()
            && !self.encoder.would_compress(len, compress)
            && self.encoder.fits(len)
    }
}

impl Endpoint {
    /// Delivers frames and, after the last, the end of the stream.
    #[inline]
    pub(super) fn deliver<'py>(
        slf: &Bound<'py, Self>,
        data: Bound<'py, PyBytes>,
        frames: Frames,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let (carrier, end, out) = {
            let mut this = slf.get().workings(py)?;
            let (carrier, stream) = match &this.wire {
                Wire::Direct => return Ok(data),
                Wire::Carrier(carrier) => (carrier, None),
                Wire::Stream { carrier, sender, number } => (carrier, Some((sender, *number))),
            };
            // Corked frames precede the end.
            let end = this.state.is_over() && this.corked.as_ref().is_none_or(Vec::is_empty);
            if data.as_bytes().is_empty() && !end {
                return Ok(data);
            }
            let out = match stream {
                Some((sender, number)) => Some(sender.get().deliver(py, number, data.as_bytes(), frames)?),
                None => None,
            };
            if let (Some(out), false) = (&out, end) {
                return Ok(out.clone());
            }
            let carrier = carrier.clone_ref(py);
            if end {
                this.wire = Wire::Direct;
            }
            (carrier, end, out)
        };
        let carrier = carrier.bind(py);
        let mut out = match out {
            Some(out) => out,
            None if data.as_bytes().is_empty() => data,
            None => border::carrier::send_data(carrier, data)?,
        };
        if end {
            let last = border::carrier::send_end(carrier)?;
            out = PyBytes::new(py, &[out.as_bytes(), last.as_bytes()].concat());
        }
        Ok(out)
    }
}
