//! One end of a WebSocket as a Python object, from bytes to events and back, by the tables of `state`.

use std::num::NonZeroU64;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::border;
use super::buffer::{frames_bytes, view_of_text, with_bytes};
use super::contexts::Pool;
use super::data_sender::{DataSender, Frames};
use super::errors::local;
use super::events::{self, Kind as EventKind};
use super::guarded::{Guarded, RefMut};
use super::queue::MessageQueue;
use super::states::{parse_kind, shown, state_name};
use crate::close;
use crate::decoder::{Decoder, PART_SIZE, Rules};
use crate::deflate::{DeflateSettings, Deflater, Inflater};
use crate::encoder::{Compression, Encoder};
use crate::frame::CONTROL_LIMIT;
use crate::keys::{self, Keys};
use crate::memory::queue_bound;
use crate::state::{Kind, Role, State, after_receiving, after_sending};

mod life;
mod receive;
mod send;

use life::Opening;
use send::Checked;
pub use send::Readiness;

/// The most bytes kept of those that a client sends before its request is answered.
const EARLY_LIMIT: usize = 64 * 1024;
/// The most bytes of a reason (RFC 6455 §5.5), and the code of a failure that is not the peer's (§7.4.1).
const REASON_LIMIT: usize = CONTROL_LIMIT - 2;
const INTERNAL_ERROR: u16 = 1011;
/// The size from which a payload that needs no change is not copied into its frame.
const VECTORED_FROM: usize = 16 * 1024;

/// The work left by an exception within `receive`.
#[derive(Default)]
struct Interruption {
    /// The exception is to be raised when the state is consistent.
    exception: Option<PyErr>,
    /// The events that it held back come first with the next ones.
    events: Option<Py<PyList>>,
}

/// The destination of received messages.
enum Delivery {
    /// `receive` returns them as events.
    Events,
    /// Bytes are kept undecoded until there is a queue.
    Later,
    /// A queue, as long as it is not full. Later messages wait as undecoded bytes.
    Queue(Py<MessageQueue>),
    /// The same, and each message is also an event, for a log.
    Traced(Py<MessageQueue>),
}

/// The end of the input.
enum End {
    /// The peer left. If that was not due, this is the message.
    Lost(Option<String>),
    /// The carrier found a fault.
    Fault(Py<PyAny>),
}

/// The destination of frames.
enum Wire {
    /// `send` returns them.
    Direct,
    /// They are passed to the carrier, whose result `send` returns.
    Carrier(Py<PyAny>),
    /// They are written as DATA of a stream. Those that have to wait are passed to the carrier.
    Stream { carrier: Py<PyAny>, sender: Py<DataSender>, number: u32 },
}

/// Base class of `Connection`: one end of a WebSocket after its opening handshake, from bytes to events and back.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct Endpoint(Guarded<Workings>);

/// The state of an endpoint.
pub struct Workings {
    role: Role,
    state: State,
    /// The parts that exist once the state is `Open`.
    opening: Option<Box<Opening>>,
    decoder: Option<Decoder>,
    encoder: Encoder,
    auto_pong: bool,
    text_as_bytes: bool,
    /// Whether the peer broke a rule or left, so that there is no closing handshake to wait for.
    failed: bool,
    wire: Wire,
    /// Extensions written in Python, which process complete messages.
    transforms: Option<Py<PyAny>>,
    delivery: Delivery,
    /// The bytes at which a queue is full.
    queued: usize,
    /// Undecoded bytes: received before the opening handshake was done, after a full queue, or for a later turn.
    early: Vec<u8>,
    /// The work, as [`crate::turns`] counts it, for waiting bytes at a time. The driver requests the rest.
    most: usize,
    /// The work of the last time.
    decoded: usize,
    /// The end of the input, after `early`.
    end: Option<End>,
    /// Automatic replies: Pongs.
    reply: Vec<u8>,
    interruption: Option<Box<Interruption>>,
    /// Frames that wait for `flush`.
    corked: Option<Vec<u8>>,
    scratch: Vec<u8>,
}

#[pymethods]
impl Endpoint {
    #[new]
    #[pyo3(signature = (role, *_args, **_options))]
    fn new(role: i32, _args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Self(Guarded::new(Workings {
            role: if role == 0 { Role::Client } else { Role::Server },
            state: State::Connecting,
            opening: None,
            decoder: None,
            encoder: Encoder::new(None, None),
            auto_pong: true,
            text_as_bytes: false,
            failed: false,
            wire: Wire::Direct,
            transforms: None,
            delivery: Delivery::Events,
            queued: usize::MAX,
            early: Vec::new(),
            most: usize::MAX,
            decoded: 0,
            end: None,
            reply: Vec::new(),
            interruption: None,
            corked: None,
            scratch: Vec::new(),
        }))
    }

    /// The state of the WebSocket. Only `receive` and `send` change it.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static STATES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
        let states = STATES.get_or_try_init(py, || {
            let class = py.import("mintws.events")?.getattr("State")?;
            let all = State::ALL.map(|state| class.getattr(state_name(shown(state))));
            Ok::<_, PyErr>(PyTuple::new(py, all.into_iter().collect::<PyResult<Vec<_>>>()?)?.unbind())
        })?;
        states.bind(py).get_item(self.workings(py)?.state as usize)
    }

    /// Whether the peer broke a rule or left without a Close, so that there is no closing handshake to wait for.
    #[getter]
    fn failed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.workings(py)?.failed)
    }

    /// The number of bytes that `cork` holds back.
    #[getter]
    fn corked_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.workings(py)?.corked_len())
    }

    /// The number of messages, frames and payload bytes received, and of those sent.
    #[getter(_traffic)]
    fn traffic(&self, py: Python<'_>) -> PyResult<[u64; 6]> {
        let this = self.workings(py)?;
        let received = this.decoder.as_ref().map(|decoder| decoder.received).unwrap_or_default();
        let sent = this.encoder.sent;
        Ok([received.messages, received.frames, received.bytes, sent.messages, sent.frames, sent.bytes])
    }

    /// The number of payload bytes of compressed messages, as they are on the wire, and without compression: received, and sent.
    #[getter(_compressed_traffic)]
    fn compressed_traffic(&self, py: Python<'_>) -> PyResult<[u64; 4]> {
        let this = self.workings(py)?;
        let received = this.decoder.as_ref().map(|decoder| decoder.received).unwrap_or_default();
        let sent = this.encoder.sent;
        Ok([received.compressed, received.inflated, sent.compressed, sent.inflated])
    }

    /// Prepare the state after the opening handshake, which takes effect when that is done.
    #[pyo3(signature = (
        *, carrier, limit, memory_limit, max_frame, parts, auto_pong, text_as_bytes, seed, rsv, transforms, inflate, deflate, pool
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn _open(
        &self,
        py: Python<'_>,
        carrier: Option<Py<PyAny>>,
        limit: Option<u64>,
        memory_limit: Option<u64>,
        max_frame: Option<NonZeroU64>,
        parts: bool,
        auto_pong: bool,
        text_as_bytes: bool,
        seed: Option<[u8; 32]>,
        rsv: u8,
        transforms: Option<Py<PyAny>>,
        inflate: Option<(u8, bool)>,
        deflate: Option<(u8, bool, u8, u8, usize)>,
        pool: Option<&Bound<'_, Pool>>,
    ) -> PyResult<()> {
        let mut this = self.workings(py)?;
        let compression = deflate.map(|(window_bits, context_takeover, level, memory_level, threshold)| Compression {
            deflater: Deflater::new(DeflateSettings { window_bits, level, memory_level, context_takeover })
                .sharing(Pool::of(pool)),
            threshold,
        });
        let limit = limit.unwrap_or(u64::MAX);
        let largest = if parts { limit.min(2 * PART_SIZE as u64) } else { limit };
        this.queued = memory_limit.map_or(usize::MAX, |memory| queue_bound(memory, largest));
        let decoder = Decoder::new(Rules {
            role: this.role,
            limit,
            parts: parts && transforms.is_none(),
            utf8: transforms.is_none(),
            rsv,
            inflater: inflate
                .map(|(window_bits, takeover)| Inflater::new(window_bits, takeover, limit).sharing(Pool::of(pool))),
        });
        this.opening = Some(Box::new(Opening {
            wire: carrier.map_or(Wire::Direct, Wire::Carrier),
            decoder,
            // A limit beyond the address space is no limit.
            encoder: Encoder::new(seed.map(Keys::new), compression)
                .cutting_at(max_frame.and_then(|max_frame| max_frame.try_into().ok())),
            transforms,
            auto_pong,
            text_as_bytes,
        }));
        Ok(())
    }

    /// Deliver messages to a queue, instead of returning them from `receive`: from now on, or, if it is `None`, once there is one.
    ///
    /// If the queue is full, later messages wait as bytes until `_receive_early` is called. After the end of the input this has no effect.
    /// With `traced`, messages are also returned as events, for a log, and sent messages are not encoded by the driver's half of the core.
    #[pyo3(signature = (queue, *, traced=false))]
    fn _deliver_to(&self, py: Python<'_>, queue: Option<Py<MessageQueue>>, traced: bool) -> PyResult<()> {
        let deliver = if traced { Delivery::Traced } else { Delivery::Queue };
        let mut this = self.workings(py)?;
        if let Some(queue) = &queue {
            queue.get().bound(py, this.queued)?;
        }
        if !this.state.is_over() {
            this.delivery = queue.map_or(Delivery::Later, deliver);
        }
        Ok(())
    }

    /// Write frames as DATA of a stream, from now on or once the connection is open. Those that have to wait go to the carrier.
    fn _send_by(&self, py: Python<'_>, sender: Py<DataSender>, number: u32) -> PyResult<()> {
        let this = &mut *self.workings(py)?;
        let wire = this.opening.as_mut().map_or(&mut this.wire, |opening| &mut opening.wire);
        if let Wire::Carrier(carrier) = std::mem::replace(wire, Wire::Direct) {
            *wire = Wire::Stream { carrier, sender, number };
        }
        Ok(())
    }

    /// Whether Pings are answered automatically.
    #[getter(_auto_pong)]
    fn auto_pong(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.workings(py)?.auto_pong)
    }

    /// Change the state for a sent event; raise `LocalProtocolError` if it may not be sent.
    fn _sent(&self, py: Python<'_>, kind: &str) -> PyResult<()> {
        let mut this = self.workings(py)?;
        let after = this.may_send(this.state, parse_kind(kind)?)?;
        this.enter(after);
        Ok(())
    }

    /// End at once: nothing more is sent or received.
    fn _abandon(&self, py: Python<'_>) -> PyResult<()> {
        let this = &mut *self.workings(py)?;
        if let Some(after) = after_receiving(this.role, this.state, Kind::Lost) {
            this.lose(after);
        }
        this.drop_corked();
        // The caller knows of the end.
        this.enter(after_sending(this.role, this.state, Kind::Failed).unwrap_or(this.state));
        Ok(())
    }

    /// Raise `LocalProtocolError` if an event may not be sent; return whether the peer is still there.
    fn _check(&self, py: Python<'_>, kind: &str) -> PyResult<bool> {
        let this = self.workings(py)?;
        this.may_send(this.state, parse_kind(kind)?)?;
        Ok(!this.state.is_over())
    }

    /// Change the state for a received event; return whether it is allowed.
    fn _received(&self, py: Python<'_>, kind: &str) -> PyResult<bool> {
        let kind = parse_kind(kind)?;
        let this = &mut *self.workings(py)?;
        let Some(after) = after_receiving(this.role, this.state, kind) else { return Ok(false) };
        this.failed |= matches!(kind, Kind::Failed | Kind::Lost);
        this.enter(after);
        Ok(true)
    }

    /// Take bytes from the peer and return their events.
    ///
    /// Args:
    ///     data: the next bytes of the stream, cut anywhere: `bytes`, or a contiguous `bytearray` or `memoryview`. Empty means that
    ///         the peer ended the stream.
    ///
    /// Returns:
    ///     events: the events completed by `data`, oldest first, as pairs of this connection and its event. A message is complete,
    ///         unless the option `parts` is set; its size is at most `limit` bytes after decompression.
    ///     reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2). Often empty.
    ///
    /// A peer that breaks a rule raises no exception: the last event is `Failed` (§7.1.7). Answer that, and a `Close` (§5.5.1), by
    /// passing it to `send` after the answers to earlier messages.
    ///
    /// Raises:
    ///     TypeError: `data` is not bytes.
    ///
    /// Exceptions of a carrier propagate, and those of an extension that are not an `Exception`, such as `KeyboardInterrupt`. Then the
    /// next call returns the events, and the connection of that extension has failed with 1011.
    fn receive<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyBytes>)> {
        let events = PyList::empty(slf.py());
        with_bytes(data, |data| {
            if data.is_empty() {
                Self::receive_end(slf, &events, None)
            } else {
                Self::feed(slf, data, &events, usize::MAX)
            }
        })?;
        let reply = Self::_take_replies(slf, Some(&events))?;
        Ok((events, reply))
    }

    /// Decode waiting bytes, as far as their messages can be delivered.
    pub fn _receive_early(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>) -> PyResult<()> {
        if slf.get().workings(slf.py())?.decoder.is_none() {
            return Ok(());
        }
        let most = slf.get().workings(slf.py())?.most;
        Self::catch_up(slf, events, most)
    }

    /// Fail the connection for a fault found by the carrier: `Failed` follows the waiting bytes, unless it is too late.
    fn _fail(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, error: Py<PyAny>) -> PyResult<()> {
        let mut this = slf.get().workings(slf.py())?;
        if this.decoder.is_some() && this.waits(slf.py())? {
            this.end = Some(End::Fault(error));
        } else if after_receiving(this.role, this.state, Kind::Failed).is_some() {
            Self::fail(slf, &mut this, error.into_bound(slf.py()), events)?;
        }
        Ok(())
    }

    /// Handle the end of the transport: `Failed` with 1006, unless the end was due.
    #[pyo3(signature = (events, message=None))]
    fn _lose(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, message: Option<&str>) -> PyResult<()> {
        Self::receive_end(slf, events, message)
    }

    /// Return the automatic replies: Pongs, and the end of a stream whose closing handshake is done.
    ///
    /// If an exception is raised, the next call returns `events` too.
    #[pyo3(signature = (events=None))]
    pub fn _take_replies<'py>(
        slf: &Bound<'py, Self>,
        events: Option<&Bound<'py, PyList>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        Self::take_replies(slf).or_else(|error| {
            if let Some(events) = events {
                Self::_keep(slf, events)?;
            }
            Err(error)
        })
    }

    /// Encode a whole message, which `cork` holds back. A prepared message passes extensions of your own as its event does.
    ///
    /// Raises:
    ///     LocalProtocolError, TypeError: as from `send`.
    #[pyo3(signature = (message, *, compress=None))]
    fn _cork_message(&self, message: &Bound<'_, PyAny>, compress: Option<bool>) -> PyResult<()> {
        self.workings(message.py())?.cork_message(message, compress).map(|_| ())
    }

    /// Keep events that an exception holds back. They come first with the next ones.
    fn _keep<'py>(slf: &Bound<'py, Self>, events: &Bound<'py, PyList>) -> PyResult<()> {
        let kept = events.get_slice(0, events.len());
        let mut this = slf.get().workings(slf.py())?;
        this.hand_on_kept(&kept)?;
        this.interruption.get_or_insert_default().events = Some(kept.unbind());
        Ok(())
    }

    /// Send an event to the peer.
    ///
    /// Args:
    ///     event: the event, or a `PreparedMessage`. A received `Close` may be sent back unchanged (RFC 6455 §5.5.1). A `Failed` is
    ///         written as the Close that reports it, or as nothing if none is to be sent (§7.1.7). If the peer is gone, answers to
    ///         earlier events are discarded.
    ///     compress: whether to compress the message; `None` leaves that to the threshold. It is ignored if permessage-deflate was
    ///         not agreed on, and after the first fragment of a message (RFC 7692 §6.1).
    ///
    /// Returns:
    ///     Bytes to write after all earlier ones. Empty while `cork` or the peer's flow control holds them back, and if the
    ///     carrier writes by itself.
    ///
    /// Raises:
    ///     LocalProtocolError: the event may not be sent now, or its content breaks a rule. Nothing was sent, and the state is
    ///         unchanged.
    ///     TypeError: `event` is not an event.
    #[pyo3(signature = (event, *, compress=None))]
    fn send<'py>(
        slf: &Bound<'py, Self>,
        event: &Bound<'py, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let mut this = slf.get().workings(slf.py())?;
        let mut progress = this.progress();
        let Some(checked) = this.check(event, &mut progress)? else {
            drop(this);
            // Not a frame: the opening handshake, or the answer to a fault.
            return border::endpoint::send_other(slf, event);
        };
        let out = if this.state.is_over() { None } else { this.encode(py, checked, compress)? };
        this.enter(progress.state);
        match (out, &this.wire) {
            (None, _) => Ok(PyBytes::new(py, b"")),
            (Some(out), Wire::Direct) => Ok(out),
            (Some(out), Wire::Carrier(_) | Wire::Stream { .. }) => {
                drop(this);
                Self::deliver(slf, out, Frames::Any)
            }
        }
    }

    /// Send several events at once: all of them, or none.
    ///
    /// Args:
    ///     events: messages and control frames, in their order.
    ///     compress: as in `send`, for each of them.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    ///
    /// Raises:
    ///     LocalProtocolError: one of them may not be sent after those before it. Nothing was sent, and the state is unchanged.
    ///     TypeError: one of them belongs to the opening handshake, or is not an event.
    #[pyo3(signature = (events, *, compress=None))]
    fn send_many<'py>(
        slf: &Bound<'py, Self>,
        events: &Bound<'py, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let events = events.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        let out = {
            let mut this = slf.get().workings(slf.py())?;
            let this = &mut *this;
            let mut progress = this.progress();
            let mut checked = Vec::with_capacity(events.len());
            for event in &events {
                let event = this.check(event, &mut progress)?;
                checked.push(event.ok_or_else(|| PyTypeError::new_err("send_many takes messages and control frames"))?);
            }
            if this.state.is_over() {
                return Ok(PyBytes::new(slf.py(), b""));
            }
            let made = match this.direct(&checked) {
                Some(frames) => Some(frames_bytes(slf.py(), &frames)?),
                None => this.append_all(slf.py(), checked, compress)?,
            };
            this.enter(progress.state);
            let Some(made) = made else { return Ok(PyBytes::new(slf.py(), b"")) };
            made
        };
        Self::deliver(slf, out, Frames::Any)
    }

    /// Send an event without copying a large payload.
    ///
    /// Args:
    ///     event: as in `send`.
    ///     compress: as in `send`.
    ///
    /// Returns:
    ///     Buffers to write in this order, with `writelines` or `sendmsg`: none, one, or a header and the uncopied payload. The
    ///     payload is not copied from 16 KiB on a server over HTTP/1.1, if it is neither compressed nor cut by `max_frame` (a client
    ///     changes each byte, RFC 6455 §5.3). Then it is not corked either: bytes that `cork` has held back so far are returned
    ///     before it.
    ///
    /// Raises:
    ///     LocalProtocolError: as from `send`.
    ///     TypeError: as from `send`.
    #[pyo3(signature = (event, *, compress=None))]
    pub fn send_vectored<'py>(
        slf: &Bound<'py, Self>,
        event: &Bound<'py, PyAny>,
        compress: Option<bool>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        if let Some((kind @ (EventKind::Text | EventKind::Binary), data, _)) = events::fields(event) {
            let mut this = slf.get().workings(slf.py())?;
            let this = &mut *this;
            let mut progress = this.progress();
            if let Some(Checked::Message { opcode, payload, fin }) = this.check(event, &mut progress)?
                && payload.len() >= VECTORED_FROM
                && this.sends_as_is(payload.len(), fin, compress)
            {
                let itself = match data.cast::<PyString>() {
                    Ok(text) if kind == EventKind::Text => view_of_text(text)?,
                    _ => data.clone(),
                };
                let header = {
                    let frame = this.encoder.message(opcode, payload, fin, 0, compress).map_err(local)?;
                    PyBytes::new(py, frame.header()).into_any()
                };
                let corked = this.take_corked(py).map(Bound::into_any);
                return PyList::new(py, corked.into_iter().chain([header, itself]).collect::<Vec<_>>());
            }
        }
        let bytes = Self::send(slf, event, compress)?;
        if bytes.as_bytes().is_empty() { Ok(PyList::empty(py)) } else { PyList::new(py, [bytes]) }
    }

    /// Answer a fault with `close`, if a Close is to be sent.
    fn _send_failed<'py>(slf: &Bound<'py, Self>, close: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let out = {
            let mut this = slf.get().workings(slf.py())?;
            let this = &mut *this;
            let after = this.may_send(this.state, Kind::Failed)?;
            let owed = if this.state == State::RemoteClosing {
                let mut progress = this.progress();
                this.check(close, &mut progress)?
            } else {
                None
            };
            let out = match owed {
                Some(owed) => this.encode(py, owed, None)?,
                None => Some(PyBytes::new(py, b"")),
            };
            this.enter(after);
            out
        };
        match out {
            Some(out) => Self::deliver(slf, out, Frames::Any),
            None => Ok(PyBytes::new(py, b"")),
        }
    }

    /// Hold back frames until `flush` or `uncork`, so that many are written at once.
    ///
    /// The state changes as each event is sent, not as it is written. The end of a stream waits for the frames before it. Pongs
    /// returned by `receive` are not held back. If the peer is lost, frames that are held back are discarded.
    fn cork(&self, py: Python<'_>) -> PyResult<()> {
        self.workings(py)?.corked.get_or_insert_default();
        Ok(())
    }

    /// Return the frames that `cork` has held back so far, and continue to hold back later ones.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    pub fn flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let corked = slf.get().workings(slf.py())?.take_corked(slf.py());
        Self::deliver(slf, corked.unwrap_or_else(|| PyBytes::new(slf.py(), b"")), Frames::Any)
    }

    /// Return the frames that `cork` has held back, and stop holding back.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    fn uncork<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let out = Self::flush(slf)?;
        slf.get().workings(slf.py())?.corked = None;
        Ok(out)
    }

    /// Free memory that an idle connection does not need: buffers, and the contexts of permessage-deflate.
    ///
    /// No state is lost: the data that the next messages may refer to is kept (RFC 7692 §7.2.2), up to 2 KiB of sent data and the
    /// window of received data. Within a message the context is kept.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let this = &mut *self.workings(py)?;
        if let Some(decoder) = &mut this.decoder {
            decoder.idle();
            decoder.release();
        }
        this.encoder.release();
        this.scratch = Vec::new();
        this.reply.shrink_to_fit();
        Ok(())
    }

    /// The number of received bytes that no event has delivered yet: of an unfinished message, or undecoded.
    #[getter]
    fn undelivered_bytes(&self, py: Python<'_>) -> PyResult<usize> {
        let this = self.workings(py)?;
        Ok(this.early.len() + this.decoder.as_ref().map_or(0, Decoder::held_len))
    }

    /// Whether the peer's Close is among the undecoded bytes.
    fn _is_close_waiting(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.workings(py)?;
        Ok(this.decoder.as_ref().is_some_and(|decoder| decoder.is_close_within(&this.early)))
    }

    // A carrier refers to its connection, so the collector must see both references.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(this) = self.0.visited(&visit) else { return Ok(()) };
        let opening = this.opening.as_deref();
        for wire in opening.map(|opening| &opening.wire).into_iter().chain([&this.wire]) {
            if let Wire::Carrier(carrier) | Wire::Stream { carrier, .. } = wire {
                visit.call(carrier)?;
            }
        }
        if let Delivery::Queue(queue) | Delivery::Traced(queue) = &this.delivery {
            visit.call(queue)?;
        }
        if let Some(End::Fault(error)) = &this.end {
            visit.call(error)?;
        }
        if let Some(kept) = this.interruption.as_ref().and_then(|it| it.events.as_ref()) {
            visit.call(kept)?;
        }
        let mut transforms =
            opening.and_then(|opening| opening.transforms.as_ref()).into_iter().chain(&this.transforms);
        transforms.try_for_each(|transforms| visit.call(transforms))
    }

    fn __clear__(slf: &Bound<'_, Self>) -> PyResult<()> {
        // Destructors may use this endpoint, so drop the values after the borrow has ended.
        let _held = {
            let this = &mut *slf.get().workings(slf.py())?;
            let (wire, delivery) = (&mut this.wire, &mut this.delivery);
            let wire = std::mem::replace(wire, Wire::Direct);
            let delivery = std::mem::replace(delivery, Delivery::Events);
            (this.opening.take(), this.transforms.take(), this.interruption.take(), wire, delivery)
        };
        Ok(())
    }
}

impl Endpoint {
    #[inline]
    pub fn workings<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, Workings>> {
        self.0.borrow_mut(py)
    }
}

/// Raise `LocalProtocolError` for a code or reason that may not be sent in a Close.
#[pyfunction]
pub fn check_close(code: Option<u16>, reason: &str) -> PyResult<()> {
    Encoder::close_payload(code, reason).map(drop).map_err(local)
}

/// Return the Close that answers a fault, with its `code` and as much of its `message` as fits.
///
/// Both may come from an extension: a code that may not be sent becomes 1011, and a message that is not text is omitted.
#[pyfunction]
pub fn closing<'py>(code: &Bound<'py, PyAny>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = code.py();
    let code = code.extract().ok().filter(|code| close::may_be_sent(*code)).unwrap_or(INTERNAL_ERROR);
    let message = message.cast::<PyString>().map(|message| message.to_string_lossy()).unwrap_or_default();
    let end = (0..=message.len().min(REASON_LIMIT)).rev().find(|end| message.is_char_boundary(*end));
    events::close(py, Some(code), &message[..end.unwrap_or_default()])
}

/// Report to the sources of masking-keys that this process is a new fork.
#[pyfunction]
pub fn forked() {
    keys::forked();
}
