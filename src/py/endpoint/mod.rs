//! One end of a WebSocket as a Python object: bytes to events and events to bytes, by the tables of `state`.

use std::num::NonZeroU64;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::attached::{Attached, RefMut};
use super::border;
use super::buffer::{frames_bytes, view_of_text, with_bytes};
use super::contexts::Pool;
use super::data_sender::DataSender;
use super::errors::local;
use super::events::{self, Kind as EventKind};
use super::queue::MessageQueue;
use super::states::{parse_kind, shown, state_name};
use crate::close;
use crate::decoder::{Decoder, Rules};
use crate::deflate::{DeflateSettings, Deflater, Inflater};
use crate::encoder::{Compression, Encoder};
use crate::frame::CONTROL_LIMIT;
use crate::keys::{self, Keys};
use crate::state::{Kind, Role, State, after_receiving, after_sending};

mod life;
mod receive;
mod send;

use life::Opening;
use send::Checked;

/// The most bytes kept of what a client sends before its request is answered.
const EARLY_LIMIT: usize = 64 * 1024;
/// The most bytes of a reason (RFC 6455 §5.5), and the code of a failure that is not the peer's (§7.4.1).
const REASON_LIMIT: usize = CONTROL_LIMIT - 2;
const INTERNAL_ERROR: u16 = 1011;
/// From this size on a payload that needs no change is not copied into its frame.
const VECTORED_FROM: usize = 16 * 1024;

/// What an exception within `receive` leaves to be done.
#[derive(Default)]
struct Interruption {
    /// It is to be raised once all is in order.
    exception: Option<PyErr>,
    /// What it kept from being handed on comes first with the next events.
    events: Option<Py<PyList>>,
}

/// Where messages go that are received.
enum Delivery {
    /// They are events that `receive` returns.
    Events,
    /// Bytes are kept until there is a queue for what they say.
    Later,
    /// As many as it takes; what is behind them waits as bytes, however much they would become when inflated.
    Queue(Py<MessageQueue>),
    /// The same, and each is an event too, for a log.
    Traced(Py<MessageQueue>),
}

/// How what came has ended.
enum End {
    /// The peer left; if that was not due, this is what to say of it.
    Lost(Option<String>),
    /// The carrier found a fault.
    Fault(Py<PyAny>),
}

/// Where frames go.
enum Wire {
    /// They are what `send` returns.
    Direct,
    /// They are handed to the carrier, whose answer `send` returns.
    Carrier(Py<PyAny>),
    /// They are the DATA of a stream; the carrier is handed what has to wait.
    Stream { carrier: Py<PyAny>, sender: Py<DataSender>, number: u32 },
}

/// What `Connection` is built on: one end of one WebSocket behind its opening handshake, bytes to events and back.
#[pyclass(frozen, subclass, module = "mintws._core")]
pub struct Endpoint(Attached<Workings>);

/// What an endpoint is made of.
pub struct Workings {
    role: Role,
    state: State,
    /// What is in place once the state is `Open`.
    opening: Option<Box<Opening>>,
    decoder: Option<Decoder>,
    encoder: Encoder,
    auto_pong: bool,
    text_as_bytes: bool,
    /// The peer broke a rule or left; there is no closing handshake to wait for.
    failed: bool,
    wire: Wire,
    /// Extensions written in Python, which see whole messages.
    transforms: Option<Py<PyAny>>,
    delivery: Delivery,
    /// What came and is not decoded yet: before the opening handshake was done, behind more messages than are taken, or for a later turn.
    early: Vec<u8>,
    /// How much is decoded at a time of what has waited, as [`crate::turns`] counts it; the driver asks for the rest.
    most: usize,
    /// How much was decoded the last time.
    decoded: usize,
    /// The end of what came, which is behind `early`.
    end: Option<End>,
    /// Frames that answer by themselves: Pongs.
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
        Self(Attached::new(Workings {
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

    /// Where the WebSocket is. It moves in `receive` and in `send`, nowhere else.
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

    /// Whether the peer broke a rule or left without a Close: there is no closing handshake to wait for.
    #[getter]
    fn failed(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.workings(py)?.failed)
    }

    /// How many bytes `cork` holds back.
    #[getter]
    fn corked(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.workings(py)?.corked_len())
    }

    /// How many messages, frames and payload bytes have come and were sent: three and three.
    #[getter(_traffic)]
    fn traffic(&self, py: Python<'_>) -> PyResult<[u64; 6]> {
        let this = self.workings(py)?;
        let received = this.decoder.as_ref().map(|decoder| decoder.received).unwrap_or_default();
        let sent = this.encoder.sent;
        Ok([received.messages, received.frames, received.bytes, sent.messages, sent.frames, sent.bytes])
    }

    /// Make what follows the opening handshake; it is in place when that is done.
    #[pyo3(signature = (
        *, carrier, limit, max_frame, parts, auto_pong, text_as_bytes, seed, rsv, transforms, inflate, deflate, pool
    ))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn _open(
        &self,
        py: Python<'_>,
        carrier: Option<Py<PyAny>>,
        limit: Option<u64>,
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
            // What no memory holds is no limit.
            encoder: Encoder::new(seed.map(Keys::new), compression)
                .cutting_at(max_frame.and_then(|max_frame| max_frame.try_into().ok())),
            transforms,
            auto_pong,
            text_as_bytes,
        }));
        Ok(())
    }

    /// Have messages go to a queue, instead of being returned by `receive`: from now on, or, if it is `None`, once there is one.
    ///
    /// What a queue does not take waits as bytes; they go on with `_receive_early`. When nothing more comes, it means nothing.
    /// `traced` messages are events all the same, for a log, and of those that are sent none is encoded by the driver's half of the core.
    #[pyo3(signature = (queue, *, traced=false))]
    fn _deliver_to(&self, py: Python<'_>, queue: Option<Py<MessageQueue>>, traced: bool) -> PyResult<()> {
        let deliver = if traced { Delivery::Traced } else { Delivery::Queue };
        let mut this = self.workings(py)?;
        if !this.state.is_over() {
            this.delivery = queue.map_or(Delivery::Later, deliver);
        }
        Ok(())
    }

    /// Have frames go out as DATA of a stream from now on, or once the connection is open; the carrier is handed what has to wait.
    fn _send_by(&self, py: Python<'_>, sender: Py<DataSender>, number: u32) -> PyResult<()> {
        let this = &mut *self.workings(py)?;
        let wire = this.opening.as_mut().map_or(&mut this.wire, |opening| &mut opening.wire);
        if let Wire::Carrier(carrier) = std::mem::replace(wire, Wire::Direct) {
            *wire = Wire::Stream { carrier, sender, number };
        }
        Ok(())
    }

    /// Whether Pings are answered by themselves.
    #[getter(_auto_pong)]
    fn auto_pong(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.workings(py)?.auto_pong)
    }

    /// Move the state by an event that was sent; `LocalProtocolError` if it may not be sent.
    fn _sent(&self, py: Python<'_>, kind: &str) -> PyResult<()> {
        let mut this = self.workings(py)?;
        let after = this.may_send(this.state, parse_kind(kind)?)?;
        this.enter(after);
        Ok(())
    }

    /// End at once: nothing more is said or heard.
    fn _abandon(&self, py: Python<'_>) -> PyResult<()> {
        let this = &mut *self.workings(py)?;
        if let Some(after) = after_receiving(this.role, this.state, Kind::Lost) {
            this.lose(after);
        }
        this.drop_corked();
        // Whoever ends it need not be told.
        this.enter(after_sending(this.role, this.state, Kind::Failed).unwrap_or(this.state));
        Ok(())
    }

    /// Raise `LocalProtocolError` if an event may not be sent; say whether there is anyone to send it to.
    fn _check(&self, py: Python<'_>, kind: &str) -> PyResult<bool> {
        let this = self.workings(py)?;
        this.may_send(this.state, parse_kind(kind)?)?;
        Ok(!this.state.is_over())
    }

    /// Move the state by an event that was received; say whether it may come at all.
    fn _received(&self, py: Python<'_>, kind: &str) -> PyResult<bool> {
        let kind = parse_kind(kind)?;
        let this = &mut *self.workings(py)?;
        let Some(after) = after_receiving(this.role, this.state, kind) else { return Ok(false) };
        this.failed |= matches!(kind, Kind::Failed | Kind::Lost);
        this.enter(after);
        Ok(true)
    }

    /// Take bytes from the peer and say what they mean.
    ///
    /// Args:
    ///     data: the next bytes of the stream, however cut: `bytes`, or a `bytearray` or `memoryview` in one piece. Empty says
    ///         that the peer ended the stream.
    ///
    /// Returns:
    ///     events: what `data` completes, oldest first, as pairs of this connection and its event. A message comes whole, unless
    ///         the connection was asked for parts; its size is at most `limit` bytes, inflated.
    ///     reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2). Often empty.
    ///
    /// A peer that breaks a rule is no exception: the last event is `Failed` (§7.1.7). That, and a `Close` (§5.5.1), is answered
    /// by handing it to `send` when its turn comes, behind the answers to earlier messages.
    ///
    /// Raises:
    ///     TypeError: `data` is not bytes.
    ///
    /// What a carrier raises is raised too, and what an extension raises that is no `Exception`, such as `KeyboardInterrupt`. Then the
    /// events come with the next call, and the connection of that extension has failed with 1011.
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
        let reply = Self::_settle(slf, Some(&events))?;
        Ok((events, reply))
    }

    /// Decode what has waited, as far as it is taken now.
    pub fn _receive_early(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>) -> PyResult<()> {
        if slf.get().workings(slf.py())?.decoder.is_none() {
            return Ok(());
        }
        let most = slf.get().workings(slf.py())?.most;
        Self::catch_up(slf, events, most)
    }

    /// Take note of a fault that the carrier found: `Failed`, behind what waits, unless it is too late for that.
    fn _fail(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, error: Py<PyAny>) -> PyResult<()> {
        let mut this = slf.get().workings(slf.py())?;
        if this.decoder.is_some() && this.waits(slf.py())? {
            this.end = Some(End::Fault(error));
        } else if after_receiving(this.role, this.state, Kind::Failed).is_some() {
            Self::fail(slf, &mut this, error.into_bound(slf.py()), events)?;
        }
        Ok(())
    }

    /// Take the end of the transport: `Failed` with 1006, unless the end was due.
    #[pyo3(signature = (events, message=None))]
    fn _lose(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, message: Option<&str>) -> PyResult<()> {
        Self::receive_end(slf, events, message)
    }

    /// Give the bytes that must follow what was received: Pongs, and the end of a stream whose closing handshake is done.
    ///
    /// If anything raises, `events` come with those of the next call.
    #[pyo3(signature = (events=None))]
    pub fn _settle<'py>(slf: &Bound<'py, Self>, events: Option<&Bound<'py, PyList>>) -> PyResult<Bound<'py, PyBytes>> {
        Self::settle(slf).or_else(|error| {
            if let Some(events) = events {
                Self::_keep(slf, events)?;
            }
            Err(error)
        })
    }

    /// Keep events that an exception keeps from being handed on: they come first with the next ones.
    fn _keep<'py>(slf: &Bound<'py, Self>, events: &Bound<'py, PyList>) -> PyResult<()> {
        let kept = events.get_slice(0, events.len());
        let mut this = slf.get().workings(slf.py())?;
        this.hand_on_kept(&kept)?;
        this.interruption.get_or_insert_default().events = Some(kept.unbind());
        Ok(())
    }

    /// Say something to the peer.
    ///
    /// Args:
    ///     event: what to say, or a `PreparedMessage`. A `Close` that was received may be sent back as it is (RFC 6455 §5.5.1); a
    ///         `Failed` is written as the Close that says so, or as nothing if none is to be sent (§7.1.7). When the peer is gone,
    ///         what answers the events before that goes nowhere.
    ///     compress: whether the message is compressed; `None` leaves that to the threshold. It means nothing where
    ///         permessage-deflate was not agreed on, or behind the first fragment of a message (RFC 7692 §6.1).
    ///
    /// Returns:
    ///     Bytes to write, behind all that was returned before. Empty while `cork` holds them back, while the peer's flow control
    ///     does, and when the carrier writes by itself.
    ///
    /// Raises:
    ///     LocalProtocolError: the event may not be sent now, or what it holds is against a rule. Nothing was sent, the state is
    ///         as before.
    ///     TypeError: `event` is none.
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
            // No frame: the opening handshake, or the answer to a fault.
            return border::endpoint::send_other(slf, event);
        };
        let out = if this.state.is_over() { None } else { this.encode(py, checked, compress)? };
        this.enter(progress.state);
        match (out, &this.wire) {
            (None, _) => Ok(PyBytes::new(py, b"")),
            (Some(out), Wire::Direct) => Ok(out),
            (Some(out), Wire::Carrier(_) | Wire::Stream { .. }) => {
                drop(this);
                Self::deliver(slf, out)
            }
        }
    }

    /// Say several things at once: all of them, or none.
    ///
    /// Args:
    ///     events: messages and control frames, in their order.
    ///     compress: as in `send`, for each of them.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    ///
    /// Raises:
    ///     LocalProtocolError: one of them may not be sent behind those before it; none was, the state is as before.
    ///     TypeError: one of them is of the opening handshake, or no event.
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
        Self::deliver(slf, out)
    }

    /// Say something to the peer without a copy of a large payload.
    ///
    /// Args:
    ///     event: as in `send`.
    ///     compress: as in `send`.
    ///
    /// Returns:
    ///     Buffers to write in this order, with `writelines` or `sendmsg`: none, one, or a header and the payload of the event
    ///     itself. That is the case for 16 KiB and more from a server over HTTP/1.1, if they are neither compressed nor cut by
    ///     `max_frame` (RFC 6455 §5.3 has a client change each byte). They are not corked then: what `cork` has held back so far goes
    ///     in front of them.
    ///
    /// Raises:
    ///     LocalProtocolError: as from `send`.
    ///     TypeError: as from `send`.
    #[pyo3(signature = (event, *, compress=None))]
    fn send_vectored<'py>(
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

    /// Answer a fault with `close`, if a Close is owed.
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
            Some(out) => Self::deliver(slf, out),
            None => Ok(PyBytes::new(py, b"")),
        }
    }

    /// Hold frames back until `flush` or `uncork`, so that many go out with one write.
    ///
    /// The state moves as each event is sent, not as it is written; the end of a stream waits for the frames before it. Pongs that
    /// `receive` returns are not held back. Frames that are held back when the peer is lost go nowhere.
    fn cork(&self, py: Python<'_>) -> PyResult<()> {
        self.workings(py)?.corked.get_or_insert_default();
        Ok(())
    }

    /// Give the frames that `cork` has held back so far, and go on holding back what comes.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    pub fn flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let corked = slf.get().workings(slf.py())?.take_corked(slf.py());
        Self::deliver(slf, corked.unwrap_or_else(|| PyBytes::new(slf.py(), b"")))
    }

    /// Give the frames that `cork` has held back, and hold back no more.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    fn uncork<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let out = Self::flush(slf)?;
        slf.get().workings(slf.py())?.corked = None;
        Ok(out)
    }

    /// Free what an idle connection can do without: buffers, and the contexts of permessage-deflate.
    ///
    /// Nothing is lost: what the next messages of both sides may refer to is kept (RFC 7692 §7.2.2), up to 2 KiB of what was
    /// sent and the window of what came. Within a message the context is kept.
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

    /// How many bytes came that no event has told of yet: of an unfinished message, or what waits to be decoded.
    #[getter]
    fn held(&self, py: Python<'_>) -> PyResult<usize> {
        let this = self.workings(py)?;
        Ok(this.early.len() + this.decoder.as_ref().map_or(0, Decoder::held))
    }

    /// Whether the peer's Close is among the bytes that wait to be decoded.
    fn _is_close_waiting(&self, py: Python<'_>) -> PyResult<bool> {
        let this = self.workings(py)?;
        Ok(this.decoder.as_ref().is_some_and(|decoder| decoder.is_close_within(&this.early)))
    }

    // A carrier knows its connection, so that the two keep each other alive unless the collector sees both ways.
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
        // What is let go of may look at this endpoint, so it is dropped when that can be borrowed again.
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

/// Raise `LocalProtocolError` for what no Close may say.
#[pyfunction]
pub fn check_close(code: Option<u16>, reason: &str) -> PyResult<()> {
    Encoder::close_payload(code, reason).map(drop).map_err(local)
}

/// Make the Close that answers a fault, of its `code` and as much of its `message` as fits.
///
/// An extension may have made them: a code that may not be sent is 1011, and a message that is no text is none.
#[pyfunction]
pub fn closing<'py>(code: &Bound<'py, PyAny>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = code.py();
    let code = code.extract().ok().filter(|code| close::may_be_sent(*code)).unwrap_or(INTERNAL_ERROR);
    let message = message.cast::<PyString>().map(|message| message.to_string_lossy()).unwrap_or_default();
    let end = (0..=message.len().min(REASON_LIMIT)).rev().find(|end| message.is_char_boundary(*end));
    events::close(py, Some(code), &message[..end.unwrap_or_default()])
}

/// Tell the sources of masking-keys that this process is a new fork.
#[pyfunction]
pub fn forked() {
    keys::forked();
}
