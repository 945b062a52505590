//! One end of a WebSocket as a Python object: bytes to events and events to bytes, by the tables of `state`.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use super::buffer::{frame_bytes, payload_of, utf8_of, view_of_text, with_bytes};
use super::contexts::Pool;
use super::driver::Mailbox;
use super::errors::{self, local};
use super::events::{self, Kind as EventKind};
use super::incoming::{Failure, bytes_of, message, transformed};
use super::prepared::PreparedMessage;
use super::states::{parse_kind, refusal};
use crate::decoder::{Decoder, Event, Rules};
use crate::deflate::{DeflateSettings, Deflater, Inflater};
use crate::encoder::{Compression, Encoder, Unsendable};
use crate::fault::Fault;
use crate::frame::Opcode;
use crate::keys::{self, Keys};
use crate::state::{Kind, Role, State, after_receiving, after_sending};

/// The most bytes kept of what a client sends before its request is answered.
const EARLY_LIMIT: usize = 64 * 1024;
/// From this size on a payload that needs no change is not copied into its frame.
const VECTORED_FROM: usize = 16 * 1024;

/// Where frames go.
enum Wire {
    /// They are what `send` returns.
    Direct,
    /// They are handed to the carrier, whose answer `send` returns.
    Carrier { carrier: Py<PyAny>, ended: bool },
}

/// What `Connection` is built on: one end of one WebSocket behind its opening handshake, bytes to events and back.
#[pyclass(subclass, module = "mintws._core")]
pub struct Endpoint {
    role: Role,
    state: State,
    decoder: Option<Decoder>,
    encoder: Encoder,
    auto_pong: bool,
    text_as_bytes: bool,
    /// The peer broke a rule or left; there is no closing handshake to wait for.
    failed: bool,
    wire: Wire,
    /// Extensions written in Python, which see whole messages.
    transforms: Option<Py<PyAny>>,
    /// Where messages go that are received; otherwise they are events that `receive` returns.
    mailbox: Option<Py<Mailbox>>,
    /// What came before the opening handshake was done.
    early: Vec<u8>,
    /// Frames that answer by themselves: Pongs.
    reply: Vec<u8>,
    /// Frames that wait for `flush`.
    corked: Option<Vec<u8>>,
    scratch: Vec<u8>,
}

/// A message or control frame whose sending was found to be right.
enum Checked<'a> {
    Message { opcode: Opcode, payload: &'a [u8], fin: bool },
    Prepared { message: &'a Bound<'a, PreparedMessage> },
    Control { opcode: Opcode, payload: &'a [u8] },
    Close(Vec<u8>),
}

/// What checking an event moves: later events are checked against it before any is encoded.
#[derive(Clone, Copy)]
struct Progress {
    state: State,
    unfinished: Option<Opcode>,
}

#[pymethods]
impl Endpoint {
    #[new]
    #[pyo3(signature = (role, *_args, **_options))]
    fn new(role: i32, _args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            role: if role == 0 { Role::Client } else { Role::Server },
            state: State::Connecting,
            decoder: None,
            encoder: Encoder::new(None, None),
            auto_pong: true,
            text_as_bytes: false,
            failed: false,
            wire: Wire::Direct,
            transforms: None,
            mailbox: None,
            early: Vec::new(),
            reply: Vec::new(),
            corked: None,
            scratch: Vec::new(),
        }
    }

    /// Where the WebSocket is. It moves in `receive` and in `send`, nowhere else.
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static STATES: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
        let states = STATES.get_or_try_init(py, || {
            let class = py.import("mintws.events")?.getattr("State")?;
            Ok::<_, PyErr>(PyTuple::new(py, class.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.unbind())
        })?;
        states.bind(py).get_item(self.state as usize)
    }

    /// Whether the peer broke a rule or left without a Close: there is no closing handshake to wait for.
    #[getter]
    fn failed(&self) -> bool {
        self.failed
    }

    /// How many bytes `cork` holds back.
    #[getter]
    fn corked(&self) -> usize {
        self.corked.as_ref().map_or(0, Vec::len)
    }

    /// Set up what follows the opening handshake.
    #[pyo3(signature = (*, carrier, limit, parts, auto_pong, text_as_bytes, seed, rsv, transforms, inflate, deflate, pool))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)]
    fn _open(
        &mut self,
        carrier: Option<Py<PyAny>>,
        limit: Option<u64>,
        parts: bool,
        auto_pong: bool,
        text_as_bytes: bool,
        seed: Option<[u8; 32]>,
        rsv: u8,
        transforms: Option<Py<PyAny>>,
        inflate: Option<(u8, bool)>,
        deflate: Option<(u8, bool, u8, u8, usize)>,
        pool: Option<&Bound<'_, Pool>>,
    ) {
        self.auto_pong = auto_pong;
        self.text_as_bytes = text_as_bytes;
        self.wire = carrier.map_or(Wire::Direct, |carrier| Wire::Carrier { carrier, ended: false });
        let compression = deflate.map(|(window_bits, context_takeover, level, memory_level, threshold)| Compression {
            deflater: Deflater::new(DeflateSettings { window_bits, level, memory_level, context_takeover })
                .sharing(Pool::of(pool)),
            threshold,
        });
        self.encoder = Encoder::new(seed.map(Keys::new), compression);
        self.decoder = Some(Decoder::new(Rules {
            role: self.role,
            limit: limit.unwrap_or(u64::MAX),
            parts: parts && transforms.is_none(),
            utf8: transforms.is_none(),
            rsv,
            inflater: inflate
                .map(|(window_bits, takeover)| Inflater::new(window_bits, takeover).sharing(Pool::of(pool))),
        }));
        self.transforms = transforms;
    }

    /// Have messages go to a mailbox from now on, instead of being returned by `receive`.
    fn _deliver_to(&mut self, mailbox: Py<Mailbox>) {
        self.mailbox = Some(mailbox);
    }

    /// Move the state by an event that was sent; `LocalProtocolError` if it may not be sent.
    fn _sent(&mut self, kind: &str) -> PyResult<()> {
        self.state = self.may_send(self.state, parse_kind(kind)?)?;
        Ok(())
    }

    /// Raise `LocalProtocolError` if an event may not be sent.
    fn _check(&self, kind: &str) -> PyResult<()> {
        self.may_send(self.state, parse_kind(kind)?).map(drop)
    }

    /// Move the state by an event that was received; say whether it may come at all.
    fn _received(&mut self, kind: &str) -> PyResult<bool> {
        let kind = parse_kind(kind)?;
        let after = after_receiving(self.role, self.state, kind);
        self.state = after.unwrap_or(self.state);
        self.failed |= after.is_some() && matches!(kind, Kind::Failed | Kind::Lost);
        if matches!(self.state, State::RemoteClosing | State::Closed)
            && let Some(decoder) = &mut self.decoder
        {
            decoder.stop();
        }
        Ok(after.is_some())
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
    fn receive<'py>(
        slf: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyBytes>)> {
        let events = PyList::empty(slf.py());
        with_bytes(data, |data| {
            if data.is_empty() { Self::lose(slf, &events, None) } else { Self::feed(slf, data, &events) }
        })?;
        Ok((events, Self::_settle(slf)?))
    }

    /// Decode what came before the handshake was done.
    fn _receive_early(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>) -> PyResult<()> {
        let early = {
            let mut this = slf.try_borrow_mut()?;
            if this.decoder.is_none() {
                return Ok(());
            }
            std::mem::take(&mut this.early)
        };
        if early.is_empty() { Ok(()) } else { Self::feed(slf, &early, events) }
    }

    /// Take the end of the transport: `Failed` with 1006, unless the end was due.
    #[pyo3(signature = (events, message=None))]
    fn _lose(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, message: Option<&str>) -> PyResult<()> {
        Self::lose(slf, events, message)
    }

    /// Give the bytes that must follow what was received: Pongs, and the end of a stream whose closing handshake is done.
    pub fn _settle<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let reply = {
            let mut this = slf.try_borrow_mut()?;
            if this.reply.is_empty() && this.state != State::Closed {
                return Ok(PyBytes::new(slf.py(), b""));
            }
            PyBytes::new(slf.py(), &std::mem::take(&mut this.reply))
        };
        Self::deliver(slf, reply)
    }

    /// Say something to the peer.
    ///
    /// Args:
    ///     event: what to say, or a `PreparedMessage`. A `Close` that was received may be sent back as it is (RFC 6455 §5.5.1); a
    ///         `Failed` is written as the Close that says so, or as nothing if none is to be sent (§7.1.7).
    ///     compress: whether the message is compressed; `None` leaves that to the threshold. It means nothing where
    ///         permessage-deflate was not agreed on, or behind the first fragment of a message (RFC 7692 §6).
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
        let out = {
            let mut this = slf.try_borrow_mut()?;
            let mut progress = this.progress();
            match this.check(event, &mut progress)? {
                Some(checked) => {
                    let out = this.encode(py, checked, compress)?;
                    this.state = progress.state;
                    Some(out)
                }
                None => None,
            }
        };
        match out {
            Some(Some(out)) => Self::deliver(slf, out),
            Some(None) => Ok(PyBytes::new(py, b"")),
            // No frame: the opening handshake, or the answer to a fault.
            None => Ok(slf.call_method1(intern!(py, "_send_other"), (event,))?.cast_into::<PyBytes>()?),
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
            let mut this = slf.try_borrow_mut()?;
            let this = &mut *this;
            let mut progress = this.progress();
            let mut checked = Vec::with_capacity(events.len());
            for event in &events {
                let event = this.check(event, &mut progress)?;
                checked.push(event.ok_or_else(|| PyTypeError::new_err("send_many takes messages and control frames"))?);
            }
            let mut out = Vec::new();
            for event in checked {
                if let Err(error) = this.append(slf.py(), event, compress, &mut out) {
                    // An extension of the caller's own raised: what was made so far is not sent.
                    this.encoder.forget();
                    if let Some(transforms) = &this.transforms {
                        transforms.bind(slf.py()).call_method0(intern!(slf.py(), "forget"))?;
                    }
                    return Err(error);
                }
            }
            this.state = progress.state;
            match &mut this.corked {
                Some(corked) => {
                    corked.extend_from_slice(&out);
                    return Ok(PyBytes::new(slf.py(), b""));
                }
                None => PyBytes::new(slf.py(), &out),
            }
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
    ///     itself. That is the case for 16 KiB and more from a server over HTTP/1.1, if they are neither compressed nor corked
    ///     (RFC 6455 §5.3 has a client change each byte).
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
            let mut this = slf.try_borrow_mut()?;
            let this = &mut *this;
            let mut progress = this.progress();
            if let Some(Checked::Message { opcode, payload, fin }) = this.check(event, &mut progress)?
                && payload.len() >= VECTORED_FROM
                && this.sends_as_is(payload.len(), fin, compress)
            {
                let header = {
                    let frame = this.encoder.message(opcode, payload, fin, 0, compress).map_err(local)?;
                    PyBytes::new(py, frame.header())
                };
                this.state = progress.state;
                let payload = match data.cast::<PyString>() {
                    Ok(text) if kind == EventKind::Text => view_of_text(text)?,
                    _ => data.clone(),
                };
                return PyList::new(py, [header.into_any(), payload]);
            }
        }
        let bytes = Self::send(slf, event, compress)?;
        if bytes.as_bytes().is_empty() { Ok(PyList::empty(py)) } else { PyList::new(py, [bytes]) }
    }

    /// Answer a fault: the Close that says `code`, if a Close may say it.
    fn _send_failed<'py>(slf: &Bound<'py, Self>, code: u16, message: &str) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let out = {
            let mut this = slf.try_borrow_mut()?;
            let this = &mut *this;
            let owed = this.state == State::RemoteClosing;
            this.state = this.may_send(this.state, Kind::Failed)?;
            // The reason is what fits of the message, cut between characters.
            let end = message.floor_char_boundary(123);
            match Encoder::close_payload(Some(code), &message[..end]) {
                Ok(payload) if owed => this.encode(py, Checked::Close(payload), None)?,
                _ => Some(PyBytes::new(py, b"")),
            }
        };
        match out {
            Some(out) => Self::deliver(slf, out),
            None => Ok(PyBytes::new(py, b"")),
        }
    }

    /// Hold frames back until `flush` or `uncork`, so that many go out with one write.
    ///
    /// The state moves as each event is sent, not as it is written. Pongs that `receive` returns are not held back.
    fn cork(&mut self) {
        self.corked.get_or_insert_default();
    }

    /// Give the frames that `cork` has held back so far, and go on holding back what comes.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    pub fn flush<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let out = match &mut slf.try_borrow_mut()?.corked {
            Some(corked) => {
                let out = PyBytes::new(slf.py(), corked);
                if corked.capacity() > VECTORED_FROM {
                    *corked = Vec::new();
                } else {
                    corked.clear();
                }
                out
            }
            None => PyBytes::new(slf.py(), b""),
        };
        Self::deliver(slf, out)
    }

    /// Give the frames that `cork` has held back, and hold back no more.
    ///
    /// Returns:
    ///     Bytes to write, as from `send`.
    fn uncork<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBytes>> {
        let out = Self::flush(slf)?;
        slf.try_borrow_mut()?.corked = None;
        Ok(out)
    }

    /// Free what an idle connection can do without: buffers, and the contexts of permessage-deflate.
    ///
    /// Nothing is lost: what the next messages of both sides may refer to is kept (RFC 7692 §7.2.2), up to 2 KiB of what was
    /// sent and the window of what came. Within a message the context is kept.
    fn release(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.idle();
            decoder.release();
        }
        self.encoder.release();
        self.scratch = Vec::new();
        self.reply.shrink_to_fit();
    }

    /// How many bytes came that no event has told of yet: of an unfinished message, or ahead of the opening handshake.
    #[getter]
    fn held(&self) -> usize {
        self.early.len() + self.decoder.as_ref().map_or(0, Decoder::held)
    }

    // A carrier knows its connection, so that the two keep each other alive unless the collector sees both ways.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Wire::Carrier { carrier, .. } = &self.wire {
            visit.call(carrier)?;
        }
        visit.call(&self.transforms)?;
        visit.call(&self.mailbox)
    }

    fn __clear__(&mut self) {
        self.wire = Wire::Direct;
        self.transforms = None;
        self.mailbox = None;
    }
}

impl Endpoint {
    /// Decodes a chunk and appends `(self, event)` to `events` for each that it completes.
    pub fn feed<'py>(slf: &Bound<'py, Self>, data: &[u8], events: &Bound<'py, PyList>) -> PyResult<()> {
        let mut this = slf.try_borrow_mut()?;
        let this = &mut *this;
        if this.decoder.is_none() {
            return Self::keep_early(slf, this, data, events);
        }
        if !this.early.is_empty() {
            let early = std::mem::take(&mut this.early);
            Self::decode(slf, this, &early, events)?;
        }
        Self::decode(slf, this, data, events)
    }

    /// Appends a whole message to what is corked and says how many bytes that is now; `None`: it takes more than that.
    pub fn collect(&mut self, opcode: Opcode, payload: &[u8], compress: Option<bool>) -> Option<usize> {
        let allowed = after_sending(self.role, self.state, Kind::Message) == Some(self.state);
        if !allowed || self.transforms.is_some() || self.encoder.unfinished().is_some() {
            return None;
        }
        let corked = self.corked.as_mut()?;
        self.encoder.message(opcode, payload, true, 0, compress).ok()?.append_to(corked);
        self.encoder.idle();
        Some(corked.len())
    }

    /// Whether frames that answer, or the end of the stream, wait to be taken by `_settle`.
    pub fn unsettled(&self) -> bool {
        !self.reply.is_empty() || self.state == State::Closed
    }

    fn decode<'py>(slf: &Bound<'py, Self>, this: &mut Self, data: &[u8], events: &Bound<'py, PyList>) -> PyResult<()> {
        let py = slf.py();
        let Some(decoder) = &mut this.decoder else { return Ok(()) };
        let mut chunk = data;
        loop {
            let said = match decoder.next(&mut chunk) {
                Ok(None) => break,
                Ok(Some(said)) => said,
                Err(fault) => {
                    let error = errors::remote(py, &fault)?;
                    return Self::fail(slf, this, error, events);
                }
            };
            let event = match said {
                Event::Message { opcode, fin, rsv, payload } => {
                    let len = payload.len();
                    let made = match &this.transforms {
                        None => message(py, opcode, fin, &payload, this.text_as_bytes, &mut this.scratch),
                        Some(transforms) => {
                            let data = bytes_of(py, &payload)?;
                            transformed(transforms.bind(py), opcode, rsv, data, this.text_as_bytes)?
                        }
                    };
                    match made {
                        Ok(event) => {
                            if let Some(mailbox) = &this.mailbox {
                                Mailbox::put(mailbox.bind(py), event, len)?;
                                continue;
                            }
                            event
                        }
                        Err(Failure::Fault(fault)) => {
                            let error = errors::remote(py, &fault)?;
                            return Self::fail(slf, this, error, events);
                        }
                        Err(Failure::Peer(error)) => return Self::fail(slf, this, error, events),
                        Err(Failure::Python(error)) => return Err(error),
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
                    let event = events::close(py, code, reason)?;
                    this.state = after_receiving(this.role, this.state, Kind::Close).unwrap_or(this.state);
                    event
                }
            };
            push(events, slf, &event)?;
        }
        decoder.idle();
        Ok(())
    }

    /// Ends the input with `Failed`.
    fn fail<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Self,
        error: Bound<'py, PyAny>,
        events: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        this.state = after_receiving(this.role, this.state, Kind::Failed).unwrap_or(this.state);
        this.failed = true;
        if let Some(decoder) = &mut this.decoder {
            decoder.stop();
        }
        push(events, slf, &errors::failed(slf.py(), error)?)
    }

    /// Keeps what comes before the handshake is done, within bounds.
    fn keep_early<'py>(
        slf: &Bound<'py, Self>,
        this: &mut Self,
        data: &[u8],
        events: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        if this.state == State::Closed {
            return Ok(());
        }
        if this.early.len() + data.len() > EARLY_LIMIT {
            this.early = Vec::new();
            return Self::fail(slf, this, errors::remote(slf.py(), &Fault::EarlyData)?, events);
        }
        this.early.extend_from_slice(data);
        Ok(())
    }

    fn lose(slf: &Bound<'_, Self>, events: &Bound<'_, PyList>, message: Option<&str>) -> PyResult<()> {
        Self::_receive_early(slf, events)?;
        let mut this = slf.try_borrow_mut()?;
        let Some(after) = after_receiving(this.role, this.state, Kind::Lost) else { return Ok(()) };
        this.state = after;
        this.failed = true;
        if let Some(decoder) = &mut this.decoder {
            decoder.stop();
        }
        drop(this);
        let error = errors::remote(slf.py(), &Fault::LeftWithoutClose)?;
        if let Some(message) = message {
            error.setattr("args", (message,))?;
        }
        push(events, slf, &errors::failed(slf.py(), error)?)
    }

    fn progress(&self) -> Progress {
        Progress { state: self.state, unfinished: self.encoder.unfinished() }
    }

    fn may_send(&self, state: State, kind: Kind) -> PyResult<State> {
        after_sending(self.role, state, kind).ok_or_else(|| refusal(self.role, state, kind))
    }

    /// Says whether `event` may be sent now and what of it goes on the wire; `None` if it is no frame.
    #[inline]
    fn check<'a>(&self, event: &'a Bound<'_, PyAny>, progress: &mut Progress) -> PyResult<Option<Checked<'a>>> {
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
                let fin = second.is_none_or(|fin| fin.is_truthy().unwrap_or(true));
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

    /// Makes the bytes of what was checked; `None` when they wait for `flush`.
    #[inline]
    fn encode<'py>(
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
            Checked::Message { opcode, payload, fin } if self.transforms.is_none() => {
                let frame = self.encoder.message(opcode, payload, fin, 0, compress).map_err(local)?;
                let made = frame_bytes(py, &frame).map(Some);
                self.encoder.idle();
                made
            }
            Checked::Prepared { message } => {
                let would = self.encoder.would_compress(message.get().len(py), compress);
                if let (false, false) = (self.encoder.masks(), would) {
                    return Ok(Some(message.get().frame(py)));
                }
                let mut out = Vec::new();
                self.append(py, Checked::Prepared { message }, compress, &mut out)?;
                Ok(Some(PyBytes::new(py, &out)))
            }
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

    /// Appends the bytes of what was checked.
    fn append(
        &mut self,
        py: Python<'_>,
        checked: Checked<'_>,
        compress: Option<bool>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        match checked {
            Checked::Message { opcode, payload, fin } => match &self.transforms {
                None => self.encoder.message(opcode, payload, fin, 0, compress).map_err(local)?.append_to(out),
                Some(transforms) => {
                    let text = opcode == Opcode::Text;
                    let made =
                        transforms.bind(py).call_method1(intern!(py, "send"), (text, PyBytes::new(py, payload)))?;
                    let (payload, rsv): (Bound<'_, PyBytes>, u8) = made.extract()?;
                    self.encoder.message(opcode, payload.as_bytes(), fin, rsv, compress).map_err(local)?.append_to(out);
                }
            },
            Checked::Prepared { message } => {
                let message = message.get();
                let compressed = self.encoder.compressed_window(message.len(py), compress);
                let payload = message.payload(py, compressed);
                let frame = self.encoder.prepared(message.opcode(), payload.as_bytes(), compressed.is_some());
                frame.map_err(local)?.append_to(out);
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

    /// Whether a payload goes on the wire as it is, behind its header.
    fn sends_as_is(&self, len: usize, fin: bool, compress: Option<bool>) -> bool {
        matches!(self.wire, Wire::Direct)
            && self.corked.is_none()
            && self.transforms.is_none()
            && !self.encoder.masks()
            && fin
            && self.encoder.unfinished().is_none()
            && !self.encoder.would_compress(len, compress)
    }

    /// Brings frames on their way and, behind the last, the end of the stream.
    #[inline]
    fn deliver<'py>(slf: &Bound<'py, Self>, frames: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyBytes>> {
        let py = slf.py();
        let (carrier, end) = {
            let mut this = slf.try_borrow_mut()?;
            let closed = this.state == State::Closed;
            let Wire::Carrier { carrier, ended } = &mut this.wire else { return Ok(frames) };
            let end = closed && !std::mem::replace(ended, *ended || closed);
            if frames.as_bytes().is_empty() && !end {
                return Ok(frames);
            }
            (carrier.clone_ref(py), end)
        };
        let carrier = carrier.bind(py);
        let mut out = PyBytes::new(py, b"");
        if !frames.as_bytes().is_empty() {
            out = carrier.call_method1(intern!(py, "send_data"), (frames,))?.cast_into()?;
        }
        if end {
            let last = carrier.call_method0(intern!(py, "send_end"))?.cast_into::<PyBytes>()?;
            out = PyBytes::new(py, &[out.as_bytes(), last.as_bytes()].concat());
        }
        Ok(out)
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

/// Raise `LocalProtocolError` for what no Close may say.
#[pyfunction]
pub fn check_close(code: Option<u16>, reason: &str) -> PyResult<()> {
    Encoder::close_payload(code, reason).map(drop).map_err(local)
}

/// Tell the sources of masking-keys that this process is a new fork.
#[pyfunction]
pub fn forked() {
    keys::forked();
}
