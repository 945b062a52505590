//! Bytes of the peer to its messages (RFC 6455 §5): fragments, masks, UTF-8, limits, inflation.

use std::mem::MaybeUninit;

use crate::close;
use crate::deflate::Inflater;
use crate::fault::Fault;
use crate::frame::{CONTROL_LIMIT, HEADER_LIMIT, Header, Opcode, RSV1};
use crate::mask::{self, MaskingKey};
use crate::state::Role;
use crate::traffic::Traffic;

/// What one fragment costs of the budget that a message has for them, beside its bytes.
const FRAGMENT_COST: u64 = 16;
/// The part of that budget that does not depend on the limit.
const FRAGMENT_BUDGET: u64 = 64 * 1024;
/// How many bytes more than the limit are kept of an unfinished compressed message before it is inflated.
const COMPRESSED_BUDGET: u64 = 64 * 1024;
/// How many bytes a part of a message has before it is handed on though more of the chunk is there. What the inflater holds on top
/// of that is less than as much again.
pub const PART_SIZE: usize = 64 * 1024;
/// A buffer of more bytes is given back when it is empty, so that an idle connection holds none.
const KEPT_CAPACITY: usize = 4096;

/// What the decoder is to do with what comes.
pub struct Rules {
    /// The role of the receiver.
    pub role: Role,
    /// The most bytes of a message, inflated, inclusive.
    pub limit: u64,
    /// A message may come in parts, as its bytes do: each frame, and each chunk, gives what it has, in parts of at most 128 KiB.
    pub parts: bool,
    /// Text is checked to be UTF-8; off where an extension has yet to transform it.
    pub utf8: bool,
    /// RSV bits that extensions other than permessage-deflate own on the first frame of a message.
    pub rsv: u8,
    /// permessage-deflate, if it was agreed, with the same limit.
    pub inflater: Option<Inflater>,
}

/// What the peer says after the handshake, borrowed from the chunk or from the decoder.
#[derive(Debug)]
pub enum Event<'a> {
    /// A message, or a part of one.
    Message {
        /// [`Opcode::Text`] or [`Opcode::Binary`].
        opcode: Opcode,
        /// The last part; a message that comes whole has no other.
        fin: bool,
        /// The bits of [`Rules::rsv`] that were set.
        rsv: u8,
        /// The bytes.
        payload: Payload<'a>,
    },
    /// A Ping.
    Ping(Payload<'a>),
    /// A Pong.
    Pong(Payload<'a>),
    /// A Close: its status code, if it has one, and its reason.
    Close(Option<u16>, &'a str),
}

/// Bytes that may still lie where they arrived, with the key that unmasks them.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    masking_key: Option<MaskingKey>,
    /// The bytes are text and were found to be UTF-8.
    checked: bool,
}

impl Payload<'_> {
    /// How many bytes there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes the unmasked bytes to `dst`, whose length is [`Self::len`].
    #[inline]
    pub fn write_to(&self, dst: &mut [MaybeUninit<u8>]) {
        match self.masking_key {
            Some(key) => mask::mask_into(self.bytes, key, dst),
            None => mask::copy_into(self.bytes, dst),
        }
    }

    /// Writes the unmasked bytes to `dst` and says whether all are ASCII; if not, `dst` may be unfinished.
    #[inline]
    pub fn write_ascii_to(&self, dst: &mut [MaybeUninit<u8>]) -> bool {
        mask::mask_ascii_into(self.bytes, self.masking_key.unwrap_or_default(), dst)
    }

    /// Appends the unmasked bytes to `dst`.
    fn append_to(&self, dst: &mut Vec<u8>) {
        match self.masking_key {
            Some(key) => mask::append_masked(dst, self.bytes, key),
            None => dst.extend_from_slice(self.bytes),
        }
    }

    /// Gives the unmasked bytes, in `scratch` where they have to be moved.
    #[inline]
    pub fn unmasked<'s>(&'s self, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        match self.masking_key {
            None => self.bytes,
            Some(key) => {
                scratch.clear();
                mask::append_masked(scratch, self.bytes, key);
                scratch
            }
        }
    }

    /// Says whether the bytes are UTF-8 for sure; text that came whole in one chunk is left to the receiver to check, who reads
    /// it anyway ([`Fault::InvalidUtf8`]).
    #[inline]
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checked
    }
}

#[derive(Debug)]
enum Phase {
    /// Between frames, or within a header.
    Header { bytes: [u8; HEADER_LIMIT], len: usize },
    /// Within a payload of which `taken` bytes have come.
    Payload { header: Header, taken: u64 },
    /// A Close or a fault has come; the rest is dropped.
    Ended,
}

const BETWEEN: Phase = Phase::Header { bytes: [0; HEADER_LIMIT], len: 0 };

/// The message whose fragments are coming.
#[derive(Debug)]
struct Message {
    opcode: Opcode,
    rsv: u8,
    compressed: bool,
    /// Payload bytes that its frames have announced, and those that have come.
    wire: u64,
    come: u64,
    fragments: u64,
    /// How much of the buffer is known to be UTF-8.
    valid: usize,
}

/// Bytes of one peer to events.
pub struct Decoder {
    rules: Rules,
    phase: Phase,
    message: Option<Message>,
    /// The bytes of `message`, unmasked and inflated, without those that were lent.
    buffer: Vec<u8>,
    /// How many bytes at the front of `buffer` were lent by the last event.
    lent: usize,
    control: Vec<u8>,
    /// Compressed bytes of `message`, unmasked, that are not inflated yet.
    compressed: Vec<u8>,
    /// How many bytes a part has before it is handed on, if there are parts.
    most: usize,
    /// How many bytes of the last piece were left over, since the others inflated to a part.
    left: usize,
    /// Whether messages are inflated; where they are not, the chunk is left from the frame on that would have one inflated.
    pub inflates: bool,
    /// What has come so far; a frame counts when it begins.
    pub received: Traffic,
}

impl Decoder {
    /// Makes a decoder that follows `rules`.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        let most = if rules.parts { PART_SIZE } else { usize::MAX };
        Self {
            rules,
            phase: BETWEEN,
            message: None,
            buffer: Vec::new(),
            lent: 0,
            control: Vec::new(),
            compressed: Vec::new(),
            most,
            left: 0,
            inflates: true,
            received: Traffic { messages: 0, frames: 0, bytes: 0, compressed: 0, inflated: 0 },
        }
    }

    /// Takes bytes off the front of `chunk` up to and with the next event; `None` when the chunk has no more, or when what it has is to
    /// be inflated, and [`Self::inflates`] says not now.
    ///
    /// # Errors
    ///
    /// The rule that the peer broke. All that follows is dropped.
    #[inline]
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8]) -> Result<Option<Event<'s>>, Fault> {
        self.give_back();
        // The common case needs no buffer: a whole message in one frame within the chunk.
        if let (Phase::Header { len: 0, .. }, None) = (&self.phase, &self.message) {
            match self.whole_message(chunk) {
                Ok(Some((opcode, rsv, payload))) => {
                    return Ok(Some(Event::Message { opcode, fin: true, rsv, payload }));
                }
                Ok(None) => {}
                Err(fault) => return Err(self.end(fault)),
            }
        }
        match self.step_until_event(chunk) {
            Ok(found) => Ok(found.map(|found| self.lend(found))),
            Err(fault) => Err(self.end(fault)),
        }
    }

    /// Frees what an idle connection need not hold: call it when a chunk is done.
    pub fn idle(&mut self) {
        self.give_back();
        for buffer in [&mut self.buffer, &mut self.compressed] {
            if buffer.is_empty() && buffer.capacity() > KEPT_CAPACITY {
                *buffer = Vec::new();
            }
        }
    }

    /// Frees the inflater's context between messages; the next message makes it anew.
    pub fn release(&mut self) {
        if let (None, Some(inflater)) = (&self.message, &mut self.rules.inflater) {
            inflater.release();
        }
    }

    /// Drops all that comes from now on, and frees what is held: an unfinished message, and the inflater.
    pub fn stop(&mut self) {
        self.phase = Phase::Ended;
        self.message = None;
        self.lent = 0;
        for buffer in [&mut self.buffer, &mut self.control, &mut self.compressed] {
            *buffer = Vec::new();
        }
        self.rules.inflater = None;
    }

    /// How many bytes of an unfinished message, frame or header are held.
    #[must_use]
    pub fn held_len(&self) -> usize {
        let frame = match &self.phase {
            Phase::Header { len, .. } => *len,
            Phase::Payload { header, .. } if header.opcode.is_control() => self.control.len(),
            Phase::Payload { .. } | Phase::Ended => 0,
        };
        self.buffer.len() - self.lent + self.compressed.len() + frame
    }

    /// Whether a Close begins within `bytes`, which come next, as far as the headers of their frames tell.
    #[must_use]
    pub fn is_close_within(&self, mut bytes: &[u8]) -> bool {
        let mut payload_len = match &self.phase {
            Phase::Header { len: 0, .. } => 0,
            Phase::Payload { header, taken } => header.payload_len - taken,
            Phase::Header { .. } | Phase::Ended => return false,
        };
        loop {
            let Some(rest) = usize::try_from(payload_len).ok().and_then(|len| bytes.get(len..)) else { return false };
            match Header::parse(rest, self.rules.role) {
                Ok(Some((Header { opcode: Opcode::Close, .. }, _))) => return true,
                Ok(Some((header, size))) => (bytes, payload_len) = (&rest[size..], header.payload_len),
                Ok(None) | Err(_) => return false,
            }
        }
    }

    #[cold]
    fn end(&mut self, fault: Fault) -> Fault {
        self.stop();
        fault
    }

    /// Takes back what the last event lent.
    #[inline]
    fn give_back(&mut self) {
        if self.lent > 0 {
            self.buffer.drain(..self.lent);
            self.lent = 0;
        }
    }

    #[inline]
    #[allow(clippy::type_complexity)]
    fn whole_message<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Option<(Opcode, u8, Payload<'c>)>, Fault> {
        // What is wrong is said by the slow way, in one order however the bytes are cut.
        let Ok(Some((header, size))) = Header::parse(chunk, self.rules.role) else { return Ok(None) };
        if !header.fin || header.rsv & !self.rules.rsv != 0 || !matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            return Ok(None);
        }
        if header.payload_len > self.rules.limit {
            return Err(self.too_big());
        }
        let rest = &chunk[size..];
        let Ok(len) = usize::try_from(header.payload_len) else { return Ok(None) };
        let Some((bytes, rest)) = rest.split_at_checked(len) else { return Ok(None) };
        *chunk = rest;
        self.received.frames += 1;
        self.received.count(len, true);
        let payload = Payload { bytes, masking_key: header.masking_key, checked: false };
        Ok(Some((header.opcode, header.rsv, payload)))
    }

    fn step_until_event<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Option<Found<'c>>, Fault> {
        loop {
            if !self.inflates
                && let Phase::Payload { header, .. } = &self.phase
                && self.would_inflate(header, 0)
            {
                return Ok(None);
            }
            let found = match &mut self.phase {
                Phase::Ended => {
                    *chunk = &[];
                    return Ok(None);
                }
                Phase::Header { bytes, len } => {
                    let had = *len;
                    let more = chunk.len().min(HEADER_LIMIT - had);
                    bytes[had..had + more].copy_from_slice(&chunk[..more]);
                    let bytes = *bytes;
                    if let (0, Some(first)) = (had, bytes[..more].first()) {
                        self.check_first(*first)?;
                    }
                    let Some((header, size)) = Header::parse(&bytes[..had + more], self.rules.role)? else {
                        self.phase = Phase::Header { bytes, len: had + more };
                        *chunk = &[];
                        return Ok(None);
                    };
                    if !self.inflates && self.would_inflate(&header, header.payload_len) {
                        return Ok(None);
                    }
                    *chunk = &chunk[size - had..];
                    self.received.frames += 1;
                    self.begin(&header)?;
                    self.phase = Phase::Payload { header, taken: 0 };
                    continue;
                }
                Phase::Payload { header, taken } => {
                    let (header, before) = (*header, *taken);
                    let missing = usize::try_from(header.payload_len - before).unwrap_or(usize::MAX);
                    let come = *chunk;
                    let (bytes, rest) = come.split_at(missing.min(come.len()).min(self.most));
                    *chunk = rest;
                    *taken += bytes.len() as u64;
                    let whole = bytes.len() == missing;
                    if whole {
                        self.phase = BETWEEN;
                    }
                    let masking_key = header.masking_key.map(|key| mask::advance(key, before));
                    let piece = Payload { bytes, masking_key, checked: false };
                    let found = if header.opcode.is_control() {
                        self.control_piece(header.opcode, piece, before == 0, whole)?
                    } else {
                        self.data_piece(piece, header.fin && whole)?
                    };
                    if self.left > 0 {
                        // Of what inflates to more than a part the rest comes again.
                        let taken = bytes.len() - std::mem::take(&mut self.left);
                        *chunk = &come[taken..];
                        self.phase = Phase::Payload { header, taken: before + taken as u64 };
                    }
                    if found.is_none() && rest.is_empty() && !whole {
                        return Ok(None);
                    }
                    found
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Judges a header by its first byte, before the rest is looked at: what is said first then does not depend on the cut.
    fn check_first(&self, first: u8) -> Result<(), Fault> {
        self.check_order(Opcode::parse(first & 0x0f)?, first & crate::frame::RSV)
    }

    /// The rules on RSV bits (§5.2, RFC 7692 §6.1) and on the order of fragments (§5.4).
    fn check_order(&self, opcode: Opcode, rsv: u8) -> Result<(), Fault> {
        let owned = match opcode {
            Opcode::Text | Opcode::Binary if self.rules.inflater.is_some() => self.rules.rsv | RSV1,
            Opcode::Text | Opcode::Binary => self.rules.rsv,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => 0,
        };
        if rsv & !owned != 0 {
            return Err(Fault::ReservedBits);
        }
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => Err(Fault::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Fault::ExpectedContinuation),
            _ => Ok(()),
        }
    }

    /// Takes note of a new frame and refuses it as early as can be.
    fn begin(&mut self, header: &Header) -> Result<(), Fault> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let compressed = self.rules.inflater.is_some() && header.rsv & RSV1 != 0;
        let message = self.message.get_or_insert(Message {
            opcode: header.opcode,
            rsv: header.rsv & self.rules.rsv,
            compressed,
            wire: 0,
            come: 0,
            fragments: 0,
            valid: 0,
        });
        message.fragments += 1;
        if (message.fragments - 1).saturating_mul(FRAGMENT_COST) > self.rules.limit.saturating_add(FRAGMENT_BUDGET) {
            return Err(Fault::TooManyFragments);
        }
        message.wire = message.wire.saturating_add(header.payload_len);
        let allowed = if message.compressed {
            // What the inflater gives is counted exactly. This bounds input that inflates to nothing.
            self.rules.limit.saturating_mul(2).saturating_add(FRAGMENT_BUDGET)
        } else {
            self.rules.limit
        };
        if message.wire > allowed { Err(self.too_big()) } else { Ok(()) }
    }

    /// Whether a frame, of which `new` bytes are not counted yet, has its message inflated.
    #[cold]
    fn would_inflate(&self, header: &Header, new: u64) -> bool {
        let (compressed, wire) = match &self.message {
            Some(message) => (message.compressed, message.wire),
            None => (self.rules.inflater.is_some() && header.rsv & RSV1 != 0, 0),
        };
        compressed
            && !header.opcode.is_control()
            && (header.fin || wire.saturating_add(new) > most_kept(self.rules.parts, self.rules.limit))
    }

    const fn too_big(&self) -> Fault {
        Fault::MessageTooBig { limit: self.rules.limit }
    }

    /// Adds bytes of a control frame; a whole one is an event.
    fn control_piece<'c>(
        &mut self,
        opcode: Opcode,
        piece: Payload<'c>,
        first: bool,
        whole: bool,
    ) -> Result<Option<Found<'c>>, Fault> {
        if first && whole && opcode != Opcode::Close {
            return Ok(Some(Found::Control(opcode, Some(piece))));
        }
        if first {
            self.control.clear();
            self.control.reserve(CONTROL_LIMIT);
        }
        piece.append_to(&mut self.control);
        if !whole {
            return Ok(None);
        }
        if opcode == Opcode::Close {
            check_close(&self.control)?;
            self.phase = Phase::Ended;
        }
        Ok(Some(Found::Control(opcode, None)))
    }

    /// Adds bytes of the message, with which it ends if they are the `last`; a whole one, or a part that is to be handed on, is an event.
    fn data_piece<'c>(&mut self, piece: Payload<'c>, mut last: bool) -> Result<Option<Found<'c>>, Fault> {
        let Some(message) = &mut self.message else { return Ok(None) };
        match &mut self.rules.inflater {
            Some(inflater) if message.compressed => {
                message.come += piece.len() as u64;
                let due = last || message.come > most_kept(self.rules.parts, self.rules.limit);
                let input = if due && self.compressed.is_empty() {
                    piece.unmasked(&mut self.compressed)
                } else {
                    piece.append_to(&mut self.compressed);
                    &self.compressed
                };
                if !due {
                    return Ok(None);
                }
                let inflated_before = self.buffer.len();
                let mut outcome =
                    inflater.inflate(input, self.most, &mut self.buffer).map(|taken| self.left = input.len() - taken);
                self.received.count_compressed(input.len() - self.left, self.buffer.len() - inflated_before);
                last &= self.left == 0;
                if last && outcome.is_ok() {
                    outcome = inflater.finish();
                }
                self.compressed.clear();
                if let Err(fault) = outcome {
                    // What came before the fault is judged first, as if it had come in a chunk of its own.
                    if message.opcode == Opcode::Text && self.rules.utf8 {
                        valid_utf8(&self.buffer, message.valid, false)?;
                    }
                    return Err(fault);
                }
            }
            _ => piece.append_to(&mut self.buffer),
        }
        if message.opcode == Opcode::Text && self.rules.utf8 {
            message.valid = valid_utf8(&self.buffer, message.valid, last)?;
        } else {
            message.valid = self.buffer.len();
        }
        let (opcode, rsv, checked) = (message.opcode, message.rsv, self.rules.utf8);
        if last {
            self.message = None;
            return Ok(Some(Found::Message { opcode, rsv, fin: true, len: self.buffer.len(), checked }));
        }
        if self.rules.parts && message.valid > 0 {
            let len = std::mem::take(&mut message.valid);
            return Ok(Some(Found::Message { opcode, rsv, fin: false, len, checked }));
        }
        Ok(None)
    }

    /// Turns what was found into an event that borrows.
    #[allow(clippy::needless_pass_by_value, reason = "what was found is used up")]
    fn lend<'s>(&'s mut self, found: Found<'s>) -> Event<'s> {
        match found {
            Found::Message { opcode, rsv, fin, len, checked } => {
                self.lent = len;
                self.received.count(len, fin);
                let payload = Payload { bytes: &self.buffer[..len], masking_key: None, checked };
                Event::Message { opcode, fin, rsv, payload }
            }
            Found::Control(opcode, payload) => {
                let payload = payload.unwrap_or(Payload { bytes: &self.control, masking_key: None, checked: false });
                match opcode {
                    Opcode::Ping => Event::Ping(payload),
                    Opcode::Pong => Event::Pong(payload),
                    _ => match self.control.split_first_chunk() {
                        Some((code, reason)) => {
                            let reason = str::from_utf8(reason).unwrap_or_default();
                            Event::Close(Some(u16::from_be_bytes(*code)), reason)
                        }
                        None => Event::Close(None, ""),
                    },
                }
            }
        }
    }
}

/// How many bytes of an unfinished compressed message are kept as they came.
///
/// Few bytes of it may inflate to the whole limit, and its context takes more than most messages.
const fn most_kept(parts: bool, limit: u64) -> u64 {
    if parts { 0 } else { limit.saturating_add(COMPRESSED_BUDGET) }
}

/// An event before it borrows from the decoder.
enum Found<'c> {
    /// The first `len` bytes of the buffer.
    Message { opcode: Opcode, rsv: u8, fin: bool, len: usize, checked: bool },
    /// A control frame, in the chunk or else in `control`.
    Control(Opcode, Option<Payload<'c>>),
}

/// What a Close may hold (§5.5.1): nothing, or a code that may be sent and a reason in UTF-8.
fn check_close(payload: &[u8]) -> Result<(), Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(()) } else { Err(Fault::ShortClose) };
    };
    let code = u16::from_be_bytes(*code);
    if !close::may_be_sent(code) {
        return Err(Fault::InvalidCloseCode(code));
    }
    str::from_utf8(reason).map(drop).map_err(|_| Fault::InvalidReason)
}

/// Says up to where `bytes` is UTF-8, knowing it of the first `valid`; less than a character may be left over unless it is `last`.
fn valid_utf8(bytes: &[u8], valid: usize, last: bool) -> Result<usize, Fault> {
    match simdutf8::compat::from_utf8(&bytes[valid..]) {
        Ok(_) => Ok(bytes.len()),
        Err(error) if error.error_len().is_none() && !last => Ok(valid + error.valid_up_to()),
        Err(_) => Err(Fault::InvalidUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event that owns what it says.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Said {
        Message(Opcode, bool, Vec<u8>),
        Control(Opcode, Vec<u8>),
        Close(Option<u16>, String),
        Fault(Fault),
    }

    fn rules(role: Role) -> Rules {
        Rules { role, limit: 1 << 20, parts: false, utf8: true, rsv: 0, inflater: None }
    }

    #[test]
    fn a_close_is_found_among_bytes_that_wait() {
        let decoder = Decoder::new(rules(Role::Client));
        let text = b"\x81\x05hello".as_slice();
        let close = b"\x88\x02\x03\xe8".as_slice();
        assert!(!decoder.is_close_within(b""));
        assert!(!decoder.is_close_within(text));
        assert!(decoder.is_close_within(&[text, text, close].concat()));
        // The payload of a message is none of its business.
        assert!(!decoder.is_close_within(b"\x82\x04\x88\x02\x03\xe8"));
        // A message that is not all here, and what is no frame.
        assert!(!decoder.is_close_within(&[b"\x82\x7e\xff\xff".as_slice(), close].concat()));
        assert!(!decoder.is_close_within(&[b"\x83\x00".as_slice(), close].concat()));
    }

    #[test]
    fn a_close_is_found_behind_the_rest_of_a_frame() {
        let mut decoder = Decoder::new(Rules { parts: true, ..rules(Role::Client) });
        let mut begun = b"\x82\x04ab".as_slice();
        assert!(decoder.next(&mut begun).is_ok());
        assert!(decoder.is_close_within(b"cd\x88\x02\x03\xe8"));
        assert!(!decoder.is_close_within(b"c"));
        let mut header = b"\x82".as_slice();
        let mut decoder = Decoder::new(rules(Role::Client));
        assert!(matches!(decoder.next(&mut header), Ok(None)));
        assert!(!decoder.is_close_within(b"\x00\x88\x00"));
    }

    fn owned(event: &Event<'_>, scratch: &mut Vec<u8>) -> Said {
        match event {
            Event::Message { opcode, fin, payload, .. } => {
                let bytes = payload.unmasked(scratch);
                if *opcode == Opcode::Text && !payload.is_checked() && str::from_utf8(bytes).is_err() {
                    Said::Fault(Fault::InvalidUtf8)
                } else {
                    Said::Message(*opcode, *fin, bytes.to_vec())
                }
            }
            Event::Ping(payload) => Said::Control(Opcode::Ping, payload.unmasked(scratch).to_vec()),
            Event::Pong(payload) => Said::Control(Opcode::Pong, payload.unmasked(scratch).to_vec()),
            Event::Close(code, reason) => Said::Close(*code, (*reason).to_owned()),
        }
    }

    /// Takes off the front of `chunk` what it says.
    fn said_of(decoder: &mut Decoder, chunk: &mut &[u8]) -> Vec<Said> {
        let mut all = Vec::new();
        let mut scratch = Vec::new();
        loop {
            match decoder.next(chunk) {
                Ok(Some(event)) => all.push(owned(&event, &mut scratch)),
                Ok(None) => break,
                Err(fault) => all.push(Said::Fault(fault)),
            }
        }
        decoder.idle();
        all
    }

    fn said(decoder: &mut Decoder, mut chunk: &[u8]) -> Vec<Said> {
        let all = said_of(decoder, &mut chunk);
        assert!(chunk.is_empty());
        all
    }

    fn client(chunk: &[u8]) -> Vec<Said> {
        said(&mut Decoder::new(rules(Role::Client)), chunk)
    }

    fn text(data: &str) -> Said {
        Said::Message(Opcode::Text, true, data.into())
    }

    #[test]
    fn the_examples_of_section_5_7() {
        assert_eq!(client(b"\x81\x05Hello"), [text("Hello")]);
        let mut server = Decoder::new(rules(Role::Server));
        assert_eq!(said(&mut server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), [text("Hello")]);
        assert_eq!(client(b"\x01\x03Hel\x80\x02lo"), [text("Hello")]);
        assert_eq!(client(b"\x89\x05Hello"), [Said::Control(Opcode::Ping, b"Hello".to_vec())]);
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_events() {
        let mut bytes = b"\x01\x05Hell\xc3\x89\x02pi\x80\x02\xb6!\x82\x7e\x00\x80".to_vec();
        bytes.extend([7; 128]);
        bytes.extend(b"\x8a\x00\x88\x05\x03\xe8bye\x81\x01x");
        let whole = client(&bytes);
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[4], Said::Close(Some(1000), "bye".into()));
        for cut in 0..=bytes.len() {
            let mut decoder = Decoder::new(rules(Role::Client));
            let mut events = said(&mut decoder, &bytes[..cut]);
            events.extend(said(&mut decoder, &bytes[cut..]));
            assert_eq!(events, whole, "cut at {cut}");
        }
        let mut decoder = Decoder::new(rules(Role::Client));
        let single: Vec<Said> = bytes.iter().flat_map(|byte| said(&mut decoder, &[*byte])).collect();
        assert_eq!(single, whole);
        assert_eq!(decoder.held_len(), 0);
    }

    #[test]
    fn reserved_bits_fail_on_every_frame_that_no_extension_owns_them_on() {
        for bits in [0x40, 0x20, 0x10] {
            for opcode in [1, 2, 8, 9, 10] {
                assert_eq!(client(&[0x80 | bits | opcode, 0]), [Said::Fault(Fault::ReservedBits)]);
                assert_eq!(client(&[0x80 | bits | opcode]), [Said::Fault(Fault::ReservedBits)]);
            }
        }
        let inflater = || Some(Inflater::new(15, true, 1 << 20));
        let mut decoder = Decoder::new(Rules { inflater: inflater(), ..rules(Role::Client) });
        assert_eq!(said(&mut decoder, b"\xc9\x00"), [Said::Fault(Fault::ReservedBits)]);
        let mut decoder = Decoder::new(Rules { inflater: inflater(), ..rules(Role::Client) });
        assert_eq!(said(&mut decoder, b"\x01\x01a\xc0\x01b"), [Said::Fault(Fault::ReservedBits)]);
        let mut decoder = Decoder::new(Rules { rsv: 0x20, ..rules(Role::Client) });
        assert_eq!(said(&mut decoder, b"\xa1\x01a\x91\x01a"), [text("a"), Said::Fault(Fault::ReservedBits)]);
    }

    #[test]
    fn fragments_come_in_order() {
        assert_eq!(client(b"\x80\x00"), [Said::Fault(Fault::UnexpectedContinuation)]);
        assert_eq!(client(b"\x00"), [Said::Fault(Fault::UnexpectedContinuation)]);
        assert_eq!(client(b"\x01\x01a\x81\x01b"), [Said::Fault(Fault::ExpectedContinuation)]);
        assert_eq!(client(b"\x02\x01a\x82"), [Said::Fault(Fault::ExpectedContinuation)]);
    }

    #[test]
    fn text_fails_at_its_first_impossible_byte_within_an_unfinished_frame() {
        let mut decoder = Decoder::new(rules(Role::Client));
        assert_eq!(said(&mut decoder, b"\x81\x0aab\xf4"), []);
        assert_eq!(said(&mut decoder, b"\x90"), [Said::Fault(Fault::InvalidUtf8)]);
        assert_eq!(client(b"\x01\x01\xc3\x80\x00"), [Said::Fault(Fault::InvalidUtf8)]);
    }

    #[test]
    fn the_limit_is_exact_for_whole_and_fragmented_messages() {
        let limited = |bytes: &[u8]| said(&mut Decoder::new(Rules { limit: 4, ..rules(Role::Client) }), bytes);
        let big = [Said::Fault(Fault::MessageTooBig { limit: 4 })];
        assert_eq!(limited(b"\x81\x04abcd"), [text("abcd")]);
        assert_eq!(limited(b"\x81\x05"), big);
        assert_eq!(limited(b"\x01\x02ab\x80\x02cd"), [text("abcd")]);
        assert_eq!(limited(b"\x01\x02ab\x80\x03"), big);
        assert_eq!(limited(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), big);
    }

    #[test]
    fn empty_fragments_without_end_fail() {
        let mut decoder = Decoder::new(Rules { limit: 1 << 16, ..rules(Role::Client) });
        assert_eq!(said(&mut decoder, b"\x02\x00"), []);
        let fragments = usize::try_from((1 << 16) + FRAGMENT_BUDGET).expect("small") / 16;
        assert_eq!(said(&mut decoder, &b"\x00\x00".repeat(fragments)), []);
        assert_eq!(said(&mut decoder, b"\x00\x00"), [Said::Fault(Fault::TooManyFragments)]);
    }

    #[test]
    fn a_length_that_is_only_announced_reserves_nothing() {
        let mut decoder = Decoder::new(Rules { limit: u64::MAX, ..rules(Role::Client) });
        assert_eq!(said(&mut decoder, b"\x82\x7f\x40\x00\x00\x00\x00\x00\x00\x00abc"), []);
        assert_eq!(decoder.held_len(), 3);
        assert!(decoder.buffer.capacity() < 100);
    }

    #[test]
    fn a_close_is_checked_and_ends_the_input() {
        assert_eq!(client(b"\x88\x00\x81\x01a"), [Said::Close(None, String::new())]);
        assert_eq!(client(b"\x88\x01a"), [Said::Fault(Fault::ShortClose)]);
        assert_eq!(client(b"\x88\x02\x03\xed"), [Said::Fault(Fault::InvalidCloseCode(1005))]);
        assert_eq!(client(b"\x88\x03\x03\xe8\xff"), [Said::Fault(Fault::InvalidReason)]);
    }

    #[test]
    fn parts_come_with_the_chunks_and_never_cut_a_character() {
        let mut decoder = Decoder::new(Rules { parts: true, ..rules(Role::Client) });
        let part = |data: &str| Said::Message(Opcode::Text, false, data.into());
        assert_eq!(said(&mut decoder, b"\x01\x04abc\xc3"), [part("abc")]);
        assert_eq!(said(&mut decoder, b"\x80\x03\xb6"), [part("\u{f6}")]);
        assert_eq!(said(&mut decoder, b"de"), [text("de")]);
        assert_eq!(said(&mut decoder, b"\x81\x01x"), [text("x")]);
    }

    #[test]
    fn a_part_comes_before_the_frame_that_follows_it() {
        let mut decoder = Decoder::new(Rules { parts: true, ..rules(Role::Client) });
        let part = |data: &str| Said::Message(Opcode::Text, false, data.into());
        let ping = || Said::Control(Opcode::Ping, vec![]);
        assert_eq!(said(&mut decoder, b"\x01\x03abc\x89\x00"), [part("abc"), ping()]);
        assert_eq!(said(&mut decoder, b"\x00\x01d\x00\x00\x00\x02e\xc3\x80"), [part("d"), part("e")]);
        assert_eq!(decoder.held_len(), 2);
        assert_eq!(said(&mut decoder, b"\x01\xb6"), [text("\u{f6}")]);
        let close = Said::Close(None, String::new());
        assert_eq!(said(&mut decoder, b"\x01\x01f\x88\x00"), [part("f"), close]);
    }

    #[test]
    fn a_part_has_an_end_however_much_is_inflated() {
        let mut deflater = crate::deflate::Deflater::new(crate::deflate::DeflateSettings {
            window_bits: 15,
            level: 6,
            memory_level: 8,
            context_takeover: true,
        });
        let mut payload = Vec::new();
        deflater.compress(&vec![7; 10 << 20], true, &mut payload);
        let mut bytes = vec![0xc2, 126];
        bytes.extend(u16::try_from(payload.len()).expect("small").to_be_bytes());
        bytes.extend(&payload);
        for cut in [bytes.len(), 1, 100, 5000] {
            let inflater = Some(Inflater::new(15, true, u64::MAX));
            let mut decoder = Decoder::new(Rules { parts: true, limit: u64::MAX, inflater, ..rules(Role::Client) });
            let parts: Vec<Said> = bytes.chunks(cut).flat_map(|chunk| said(&mut decoder, chunk)).collect();
            let (last, others) = parts.split_last().expect("it has an end");
            assert!(matches!(last, Said::Message(_, true, _)));
            assert!(others.iter().all(|part| matches!(part, Said::Message(_, false, bytes) if !bytes.is_empty())));
            let lens = parts.iter().map(|part| if let Said::Message(.., bytes) = part { bytes.len() } else { 0 });
            assert!(lens.clone().max() <= Some(2 * PART_SIZE) && lens.sum::<usize>() == 10 << 20);
        }
    }

    fn deflated(data: &[u8], last: bool) -> Vec<u8> {
        let mut deflater = crate::deflate::Deflater::new(crate::deflate::DeflateSettings {
            window_bits: 15,
            level: 6,
            memory_level: 8,
            context_takeover: true,
        });
        let mut out = Vec::new();
        deflater.compress(data, last, &mut out);
        out
    }

    fn inflating(limit: u64) -> Decoder {
        let inflater = Some(Inflater::new(15, true, limit));
        Decoder::new(Rules { limit, inflater, ..rules(Role::Client) })
    }

    /// A frame from a server.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let len = match (u8::try_from(len), u16::try_from(len)) {
            (Ok(len @ 0..126), _) => vec![len],
            (_, Ok(len)) => [&[126][..], &len.to_be_bytes()].concat(),
            _ => [&[127][..], &(len as u64).to_be_bytes()].concat(),
        };
        [&[first][..], &len, payload].concat()
    }

    #[test]
    fn nothing_is_held_of_an_unfinished_message_once_it_is_stopped() {
        for first in [0x42, 0x02] {
            let out = deflated(&vec![0; 50_000], false);
            let mut decoder = inflating(1 << 20);
            let bytes = [&[first, u8::try_from(out.len()).expect("small")][..], &out, b"\x89\x05ab"].concat();
            assert_eq!(said(&mut decoder, &bytes), []);
            assert_eq!(decoder.held_len(), out.len() + 2);
            decoder.stop();
            let capacities = [&decoder.buffer, &decoder.control, &decoder.compressed].map(Vec::capacity);
            assert_eq!((decoder.held_len(), capacities, decoder.rules.inflater.is_none()), (0, [0; 3], true));
            assert_eq!(said(&mut decoder, b"cde\x81\x01a"), []);
        }
    }

    #[test]
    fn an_unfinished_compressed_message_is_kept_as_it_came() {
        let data = vec![7; 1 << 20];
        let out = deflated(&data, true);
        let (first, rest) = out.split_at(out.len() / 2);
        let bytes = [frame(0x42, first), frame(0x80, rest)].concat();
        let mut decoder = inflating(1 << 20);
        for (at, byte) in bytes[..bytes.len() - 1].iter().enumerate() {
            assert_eq!(said(&mut decoder, &[*byte]), []);
            assert!(decoder.held_len() <= at + 1 && decoder.buffer.is_empty());
        }
        assert_eq!(said(&mut decoder, &bytes[bytes.len() - 1..]), [Said::Message(Opcode::Binary, true, data)]);
        assert_eq!(decoder.held_len(), 0);
    }

    #[test]
    fn a_compressed_message_that_passes_the_limit_or_is_corrupt_fails_with_its_last_fragment() {
        let bomb = deflated(&[7; 1001], true);
        for (payload, fault) in
            [(&bomb[..], Fault::MessageTooBig { limit: 1000 }), (&[0xff; 20][..], Fault::CorruptDeflate)]
        {
            let bytes = [frame(0x42, payload), b"\x89\x01p".to_vec(), b"\x80\x00".to_vec()].concat();
            for cut in 0..bytes.len() {
                let mut decoder = inflating(1000);
                let mut all = said(&mut decoder, &bytes[..cut]);
                all.extend(said(&mut decoder, &bytes[cut..]));
                assert_eq!(all, [Said::Control(Opcode::Ping, b"p".to_vec()), Said::Fault(fault.clone())]);
            }
        }
    }

    #[test]
    fn of_a_compressed_message_no_more_than_the_limit_and_64_kib_are_kept() {
        // Empty stored blocks, and then what is no block.
        let blocks = b"\x00\x00\x00\xff\xff".repeat(14_000);
        let (limit, budget) = (30_000, usize::try_from(COMPRESSED_BUDGET).expect("small"));
        let mut decoder = inflating(limit);
        assert_eq!(said(&mut decoder, &frame(0x42, &blocks)), []);
        assert_eq!(decoder.held_len(), blocks.len());
        let most = 30_000 + budget - blocks.len();
        assert_eq!(said(&mut decoder, &frame(0x00, &vec![0xff; most])), []);
        assert_eq!(decoder.held_len(), 30_000 + budget);
        assert_eq!(said(&mut decoder, &frame(0x00, &[0xff])), [Said::Fault(Fault::CorruptDeflate)]);
        // What is right goes on, inflated from then on.
        let mut decoder = inflating(limit);
        let text = deflated(&[7; 500], true);
        let more = [&blocks[..], &blocks[..50_000]].concat();
        assert_eq!(said(&mut decoder, &frame(0x42, &more)), []);
        assert_eq!(decoder.held_len(), 0);
        assert_eq!(said(&mut decoder, &frame(0x80, &text)), [Said::Message(Opcode::Binary, true, vec![7; 500])]);
    }

    #[test]
    fn what_is_to_be_inflated_is_left_until_it_may_be() {
        let whole = deflated(b"Hello, Hello, Hello", true);
        let (first, rest) = whole.split_at(whole.len() / 2);
        let bytes = [
            &b"\x89\x01p\x81\x02hi"[..],
            &frame(0x41, first),
            b"\x89\x01q",
            &frame(0x80, rest),
            b"\x81\x02ho",
            &frame(0xc1, &whole),
        ]
        .concat();
        let ping = |data: &[u8]| Said::Control(Opcode::Ping, data.to_vec());
        let hello = || text("Hello, Hello, Hello");
        // Up to the last fragment, and then to the message that comes whole.
        let steps = [vec![ping(b"p"), text("hi"), ping(b"q")], vec![hello(), text("ho")], vec![hello()]];
        for cut in 0..bytes.len() {
            let mut decoder = inflating(1000);
            let mut waiting = Vec::new();
            let mut all = Vec::new();
            decoder.inflates = false;
            for chunk in [&bytes[..cut], &bytes[cut..]] {
                waiting.extend_from_slice(chunk);
                let mut left = waiting.as_slice();
                all.extend(said_of(&mut decoder, &mut left));
                waiting.drain(..waiting.len() - left.len());
            }
            assert_eq!(all, steps[0], "cut at {cut}");
            for step in &steps[1..] {
                let mut left = waiting.as_slice();
                decoder.inflates = true;
                let mut scratch = Vec::new();
                let said = decoder.next(&mut left).expect("it is right").map(|event| owned(&event, &mut scratch));
                decoder.inflates = false;
                let mut all = Vec::from_iter(said);
                all.extend(said_of(&mut decoder, &mut left));
                assert_eq!(&all, step, "cut at {cut}");
                waiting.drain(..waiting.len() - left.len());
            }
            assert!(waiting.is_empty());
        }
    }

    #[test]
    fn a_frame_that_has_begun_is_left_too() {
        let bytes = frame(0xc2, &deflated(&[7; 500], true));
        for cut in 1..bytes.len() {
            let mut decoder = inflating(1000);
            assert_eq!(said(&mut decoder, &bytes[..cut]), []);
            decoder.inflates = false;
            let mut left = &bytes[cut..];
            assert_eq!(said_of(&mut decoder, &mut left), []);
            assert_eq!(left, &bytes[cut..]);
            decoder.inflates = true;
            assert_eq!(said_of(&mut decoder, &mut left), [Said::Message(Opcode::Binary, true, vec![7; 500])]);
        }
    }

    #[test]
    fn parts_and_what_is_longer_than_is_kept_are_left() {
        let inflater = Some(Inflater::new(15, true, 1000));
        let mut decoder = Decoder::new(Rules { parts: true, limit: 1000, inflater, ..rules(Role::Client) });
        decoder.inflates = false;
        let part = frame(0x42, &deflated(&[7; 500], false));
        let mut left = part.as_slice();
        assert_eq!((said_of(&mut decoder, &mut left), left), (vec![], &part[..]));
        let blocks = b"\x00\x00\x00\xff\xff".repeat(14_000);
        let mut decoder = inflating(1000);
        decoder.inflates = false;
        let long = [frame(0x42, &blocks[..60_000]), frame(0x00, &blocks[60_000..])].concat();
        let mut left = long.as_slice();
        assert_eq!(said_of(&mut decoder, &mut left), []);
        assert_eq!((left.len(), decoder.held_len()), (10_004, 60_000));
    }

    #[test]
    fn control_frames_stand_between_compressed_fragments() {
        let mut out = Vec::new();
        let mut deflater = crate::deflate::Deflater::new(crate::deflate::DeflateSettings {
            window_bits: 15,
            level: 6,
            memory_level: 8,
            context_takeover: true,
        });
        deflater.compress(b"Hello, Hello, Hello", true, &mut out);
        for cut in 0..=out.len() {
            let mut bytes = vec![0x41, u8::try_from(cut).expect("short")];
            bytes.extend(&out[..cut]);
            bytes.extend(b"\x89\x01p\x80");
            bytes.push(u8::try_from(out.len() - cut).expect("short"));
            bytes.extend(&out[cut..]);
            let mut decoder =
                Decoder::new(Rules { inflater: Some(Inflater::new(15, true, 1 << 20)), ..rules(Role::Client) });
            assert_eq!(
                said(&mut decoder, &bytes),
                [Said::Control(Opcode::Ping, b"p".to_vec()), text("Hello, Hello, Hello")]
            );
        }
    }
}
