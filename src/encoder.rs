//! The encoder, from messages to frames (RFC 6455 §5): masking, compression, fragmentation.

use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use crate::close;
use crate::deflate::Deflater;
use crate::frame::{CONTROL_LIMIT, Header, HeaderBytes, Opcode, RSV1};
use crate::keys::Keys;
use crate::mask::{self, MaskingKey};
use crate::traffic::Traffic;

/// A larger buffer is freed after use, so that an idle connection does not hold it.
const KEPT_CAPACITY: usize = 4096;

/// A message that may not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// A message of another type within an unfinished one.
    Interleaved,
    /// A control frame of more than 125 bytes.
    LongControl(usize),
    /// A Close with a code that may not be sent.
    CloseCode(u16),
    /// A Close with a reason but no code.
    ReasonWithoutCode,
    /// A prepared message within an unfinished one.
    PreparedWithin,
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interleaved => f.write_str(
                "an unfinished message must be ended with fin=True, by a fragment of its own type, before another begins",
            ),
            Self::LongControl(len) => {
                write!(f, "a control frame carries at most 125 bytes (RFC 6455 §5.5); this one has {len}")
            }
            Self::CloseCode(code) => write!(
                f,
                "{code} may not be sent in a Close; use 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4), or None"
            ),
            Self::ReasonWithoutCode => f.write_str("a Close with a reason needs a code, such as 1000 (RFC 6455 §5.5.1)"),
            Self::PreparedWithin => f.write_str("a prepared message cannot stand within an unfinished one; end that first"),
        }
    }
}

/// A frame to write: its header, and its payload, which is masked while it is written.
#[derive(Debug)]
pub struct Frame<'a> {
    header: HeaderBytes,
    masking_key: Option<MaskingKey>,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Encodes a complete message, already compressed if `rsv` says so, as a server sends it.
    #[must_use]
    pub fn whole(opcode: Opcode, rsv: u8, payload: &'a [u8]) -> Self {
        let header = Header { fin: true, rsv, opcode, payload_len: payload.len() as u64, masking_key: None };
        Self { header: header.write(), masking_key: None, payload }
    }
}

impl Frame<'_> {
    /// Bytes on the wire.
    #[inline]
    #[must_use]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.header.as_slice().len() + self.payload.len()
    }

    /// The header's bytes.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.as_slice()
    }

    /// Writes the frame to `dst`, whose length is [`Self::len`].
    #[inline]
    pub fn write_to(&self, dst: &mut [MaybeUninit<u8>]) {
        let (header, payload) = dst.split_at_mut(self.header.as_slice().len());
        mask::copy_into(self.header.as_slice(), header);
        match self.masking_key {
            Some(key) => mask::mask_into(self.payload, key, payload),
            None => mask::copy_into(self.payload, payload),
        }
    }

    /// Appends the frame to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header.as_slice());
        match self.masking_key {
            Some(key) => mask::append_masked(out, self.payload, key),
            None => out.extend_from_slice(self.payload),
        }
    }
}

/// The compression of sent messages.
pub struct Compression {
    /// The compressor.
    pub deflater: Deflater,
    /// Shorter messages, in bytes, are not compressed unless requested.
    pub threshold: usize,
}

/// A message whose last fragment is still to be sent.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    opcode: Opcode,
    compressed: bool,
}

/// The encoder of one side.
pub struct Encoder {
    /// The source of masking-keys, on a client.
    keys: Option<Box<Keys>>,
    compression: Option<Box<Compression>>,
    unfinished: Option<Unfinished>,
    compressed: Vec<u8>,
    /// The most bytes of payload in a frame of a message; `usize::MAX` is no limit.
    max_frame: usize,
    /// The traffic so far.
    pub sent: Traffic,
}

impl Encoder {
    /// Creates an encoder. A client has `keys`, a server has none.
    #[must_use]
    pub fn new(keys: Option<Keys>, compression: Option<Compression>) -> Self {
        // Boxed, so that a connection without them does not need their size.
        Self {
            keys: keys.map(Box::new),
            compression: compression.map(Box::new),
            unfinished: None,
            compressed: Vec::new(),
            max_frame: usize::MAX,
            sent: Traffic::default(),
        }
    }

    /// Limits the payload of each frame of a message: [`Self::append`] cuts messages into frames of at most so many bytes.
    #[must_use]
    pub fn cutting_at(self, max_frame: Option<NonZeroUsize>) -> Self {
        Self { max_frame: max_frame.map_or(usize::MAX, NonZeroUsize::get), ..self }
    }

    /// Whether messages are cut into several frames, which takes [`Self::append`].
    #[inline]
    #[must_use]
    pub const fn cuts(&self) -> bool {
        self.max_frame != usize::MAX
    }

    /// Whether a payload of `len` bytes fits into one frame.
    #[inline]
    #[must_use]
    pub const fn fits(&self, len: usize) -> bool {
        len <= self.max_frame
    }

    /// Appends the frames of a message or fragment: one, unless it is cut. The arguments are those of [`Self::message`].
    ///
    /// # Errors
    ///
    /// [`Unsendable::Interleaved`], and then nothing has changed.
    #[inline]
    pub fn append(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        fin: bool,
        rsv: u8,
        compress: Option<bool>,
    ) -> Result<(), Unsendable> {
        if self.cuts() {
            let (header, compressed) = self.next(opcode, payload, fin, rsv, compress)?;
            let deflated = std::mem::take(&mut self.compressed);
            self.cut(out, header, if compressed { &deflated } else { payload });
            self.compressed = deflated;
        } else {
            self.message(opcode, payload, fin, rsv, compress)?.append_to(out);
        }
        Ok(())
    }

    /// Encodes a message or fragment that is not cut as one frame.
    ///
    /// `opcode` is Text or Binary, also for later fragments. `rsv` has the bits of extensions other than permessage-deflate.
    /// `compress` applies at a message's first fragment; `None` leaves it to the threshold.
    ///
    /// # Errors
    ///
    /// [`Unsendable::Interleaved`], and then nothing has changed.
    #[inline]
    pub fn message<'s>(
        &'s mut self,
        opcode: Opcode,
        payload: &'s [u8],
        fin: bool,
        rsv: u8,
        compress: Option<bool>,
    ) -> Result<Frame<'s>, Unsendable> {
        if fin && let Some(frame) = self.plain(opcode, payload, rsv) {
            return Ok(frame);
        }
        self.fragment(opcode, payload, fin, rsv, compress)
    }

    /// Whether the next message involves no compression, fragmentation or cuts.
    #[inline]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.compression.is_none() && self.unfinished.is_none() && !self.cuts()
    }

    /// Encodes a complete message, if it involves no compression, fragmentation or cuts.
    #[inline]
    pub fn plain<'p>(&mut self, opcode: Opcode, payload: &'p [u8], rsv: u8) -> Option<Frame<'p>> {
        if !self.is_plain() {
            return None;
        }
        self.sent.count(payload.len(), true);
        Some(self.frame(Header { fin: true, rsv, opcode, payload_len: 0, masking_key: None }, payload))
    }

    /// Appends the frames of a message of `len` bytes that was compressed elsewhere with an empty window, or not at all.
    ///
    /// # Errors
    ///
    /// [`Unsendable::PreparedWithin`]
    pub fn append_prepared(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        len: usize,
        compressed: bool,
    ) -> Result<(), Unsendable> {
        if self.unfinished.is_some() {
            return Err(Unsendable::PreparedWithin);
        }
        if let (true, Some(compression)) = (compressed, &mut self.compression) {
            compression.deflater.forget();
        }
        self.sent.count(len, true);
        if compressed {
            self.sent.count_compressed(payload.len(), len);
        }
        let rsv = if compressed { RSV1 } else { 0 };
        self.cut(out, Header { fin: true, rsv, opcode, payload_len: 0, masking_key: None }, payload);
        Ok(())
    }

    /// Whether the frame that other servers send for a message, with a payload of `payload_len` bytes, can be sent as it is.
    #[must_use]
    pub const fn shares(&self, payload_len: usize) -> bool {
        !self.masks() && self.fits(payload_len) && self.unfinished.is_none()
    }

    /// Counts such a frame, with a payload of `payload_len` bytes, for a message of `len` bytes, which may be `compressed` with an empty
    /// window.
    pub fn share(&mut self, payload_len: usize, len: usize, compressed: bool) {
        if compressed {
            self.forget();
            self.sent.count_compressed(payload_len, len);
        }
        self.sent.count(len, true);
        self.sent.frames += 1;
    }

    /// Encodes a Ping or a Pong.
    ///
    /// # Errors
    ///
    /// [`Unsendable::LongControl`]
    pub fn control<'s>(&mut self, opcode: Opcode, payload: &'s [u8]) -> Result<Frame<'s>, Unsendable> {
        if payload.len() > CONTROL_LIMIT {
            return Err(Unsendable::LongControl(payload.len()));
        }
        Ok(self.frame(Header { fin: true, rsv: 0, opcode, payload_len: 0, masking_key: None }, payload))
    }

    /// Encodes the payload of a Close.
    ///
    /// # Errors
    ///
    /// [`Unsendable::CloseCode`], [`Unsendable::ReasonWithoutCode`], [`Unsendable::LongControl`]
    pub fn close_payload(code: Option<u16>, reason: &str) -> Result<Vec<u8>, Unsendable> {
        let Some(code) = code else {
            return if reason.is_empty() { Ok(Vec::new()) } else { Err(Unsendable::ReasonWithoutCode) };
        };
        if !close::may_be_sent(code) {
            return Err(Unsendable::CloseCode(code));
        }
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        if payload.len() > CONTROL_LIMIT { Err(Unsendable::LongControl(payload.len())) } else { Ok(payload) }
    }

    /// Whether a message of `len` bytes would be compressed.
    #[must_use]
    pub fn would_compress(&self, len: usize, compress: Option<bool>) -> bool {
        self.compression.as_ref().is_some_and(|it| compress.unwrap_or(len >= it.threshold))
    }

    /// The window, in bits, for which a prepared message of `len` bytes would be compressed.
    #[must_use]
    pub fn compressed_window(&self, len: usize, compress: Option<bool>) -> Option<u8> {
        let compression = self.compression.as_ref()?;
        self.would_compress(len, compress).then(|| compression.deflater.window_bits())
    }

    /// The type of the unfinished message.
    #[must_use]
    pub fn unfinished(&self) -> Option<Opcode> {
        self.unfinished.map(|unfinished| unfinished.opcode)
    }

    /// Whether frames are masked.
    #[must_use]
    pub const fn masks(&self) -> bool {
        self.keys.is_some()
    }

    /// Frees memory that an idle connection does not need. Call it after a frame is written.
    #[inline]
    pub fn idle(&mut self) {
        if self.compressed.capacity() > KEPT_CAPACITY {
            self.compressed = Vec::new();
        }
    }

    /// Frees the deflater's context, unless it is within a message.
    pub fn release(&mut self) {
        if let (None, Some(compression)) = (self.unfinished, &mut self.compression) {
            compression.deflater.release();
            self.compressed = Vec::new();
        }
    }

    /// Handles that encoded messages are not sent after all, so that later ones do not refer to them.
    pub fn forget(&mut self) {
        if let Some(compression) = &mut self.compression {
            compression.deflater.forget();
        }
    }

    fn fragment<'s>(
        &'s mut self,
        opcode: Opcode,
        payload: &'s [u8],
        fin: bool,
        rsv: u8,
        compress: Option<bool>,
    ) -> Result<Frame<'s>, Unsendable> {
        let (header, compressed) = self.next(opcode, payload, fin, rsv, compress)?;
        if compressed {
            let masking_key = self.keys.as_mut().map(|keys| keys.draw());
            let header = Header { payload_len: self.compressed.len() as u64, masking_key, ..header };
            self.sent.frames += 1;
            return Ok(Frame { header: header.write(), masking_key, payload: &self.compressed });
        }
        Ok(self.frame(header, payload))
    }

    /// Begins the next fragment; returns its header, and whether its payload is in `compressed`.
    fn next(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        fin: bool,
        rsv: u8,
        compress: Option<bool>,
    ) -> Result<(Header, bool), Unsendable> {
        let first = self.unfinished.is_none();
        if self.unfinished.is_some_and(|unfinished| unfinished.opcode != opcode) {
            return Err(Unsendable::Interleaved);
        }
        // The size of a fragmented message is unknown when it begins.
        let compressed = match self.unfinished {
            Some(unfinished) => unfinished.compressed,
            None => self.would_compress(if fin { payload.len() } else { usize::MAX }, compress),
        };
        self.unfinished = (!fin).then_some(Unfinished { opcode, compressed });
        self.sent.count(payload.len(), fin);
        let header = Header {
            fin,
            rsv: if first { rsv | if compressed { RSV1 } else { 0 } } else { 0 },
            opcode: if first { opcode } else { Opcode::Continuation },
            payload_len: 0,
            masking_key: None,
        };
        if let (true, Some(compression)) = (compressed, &mut self.compression) {
            self.compressed.clear();
            compression.deflater.compress(payload, fin, &mut self.compressed);
            self.sent.count_compressed(self.compressed.len(), payload.len());
        }
        Ok((header, compressed))
    }

    /// Appends the frames of a payload. Only the first has RSV bits and the opcode, only the last has FIN (§5.4, RFC 7692 §6.1).
    fn cut(&mut self, out: &mut Vec<u8>, mut header: Header, mut payload: &[u8]) {
        while payload.len() > self.max_frame {
            let (piece, rest) = payload.split_at(self.max_frame);
            self.frame(Header { fin: false, ..header }, piece).append_to(out);
            header = Header { rsv: 0, opcode: Opcode::Continuation, ..header };
            payload = rest;
        }
        self.frame(header, payload).append_to(out);
    }

    /// Completes `header`, with a new key if one is needed.
    #[inline]
    fn frame<'p>(&mut self, header: Header, payload: &'p [u8]) -> Frame<'p> {
        let masking_key = self.keys.as_mut().map(|keys| keys.draw());
        let header = Header { payload_len: payload.len() as u64, masking_key, ..header };
        self.sent.frames += 1;
        Frame { header: header.write(), masking_key, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::DeflateSettings;

    fn wire(frame: &Frame<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        frame.append_to(&mut out);
        let mut written = vec![MaybeUninit::uninit(); frame.len()];
        frame.write_to(&mut written);
        assert_eq!(frame.len(), out.len());
        out
    }

    fn compressing() -> Encoder {
        let settings = DeflateSettings { window_bits: 15, level: 6, memory_level: 8, context_takeover: true };
        Encoder::new(None, Some(Compression { deflater: Deflater::new(settings), threshold: 5 }))
    }

    #[test]
    fn a_message_in_fragments_has_one_opcode_and_ends_with_fin() {
        let mut server = Encoder::new(None, None);
        assert_eq!(wire(&server.message(Opcode::Text, b"Hel", false, 0, None).unwrap()), b"\x01\x03Hel");
        assert_eq!(wire(&server.control(Opcode::Ping, b"").unwrap()), b"\x89\x00");
        assert_eq!(server.message(Opcode::Binary, b"lo", true, 0, None).unwrap_err(), Unsendable::Interleaved);
        let prepared = server.append_prepared(&mut Vec::new(), Opcode::Text, b"lo", 2, false);
        assert_eq!(prepared.unwrap_err(), Unsendable::PreparedWithin);
        assert_eq!(wire(&server.message(Opcode::Text, b"lo", true, 0, None).unwrap()), b"\x80\x02lo");
        assert_eq!(wire(&server.message(Opcode::Binary, b"", true, 0, None).unwrap()), b"\x82\x00");
    }

    #[test]
    fn a_client_masks_each_frame_with_a_new_key() {
        let mut client = Encoder::new(Some(Keys::new([7; 32])), None);
        let frames: Vec<_> =
            (0..2).map(|_| wire(&client.message(Opcode::Text, b"Hello", true, 0, None).unwrap())).collect();
        assert_ne!(frames[0][2..6], frames[1][2..6]);
        for frame in frames {
            assert_eq!(frame[..2], [0x81, 0x85]);
            let mut plain = Vec::new();
            mask::append_masked(&mut plain, &frame[6..], frame[2..6].try_into().unwrap());
            assert_eq!(plain, b"Hello");
        }
    }

    #[test]
    fn rsv1_stands_on_the_first_frame_of_a_compressed_message_alone() {
        let mut server = compressing();
        assert_eq!(wire(&server.message(Opcode::Text, b"Hello", true, 0, None).unwrap())[0], 0xc1);
        assert_eq!(wire(&server.message(Opcode::Text, b"Hell", true, 0, None).unwrap()), b"\x81\x04Hell");
        assert_eq!(wire(&server.message(Opcode::Text, b"Hello", true, 0, Some(false)).unwrap())[0], 0x81);
        assert_eq!(wire(&server.message(Opcode::Text, b"H", true, 0, Some(true)).unwrap())[0], 0xc1);
        assert_eq!(wire(&server.message(Opcode::Text, b"H", false, 0, None).unwrap())[0], 0x41);
        assert_eq!(wire(&server.message(Opcode::Text, b"i", true, 0, None).unwrap())[0], 0x80);
    }

    #[test]
    fn a_message_is_cut_at_so_many_bytes() {
        let mut server = Encoder::new(None, None).cutting_at(NonZeroUsize::new(2));
        let mut out = Vec::new();
        server.append(&mut out, Opcode::Text, b"Hello", true, 0x20, None).unwrap();
        assert_eq!(out, b"\x21\x02He\x00\x02ll\x80\x01o");
        out.clear();
        server.append(&mut out, Opcode::Binary, b"lo", true, 0, None).unwrap();
        server.append(&mut out, Opcode::Binary, b"", true, 0, None).unwrap();
        assert_eq!(out, b"\x82\x02lo\x82\x00");
        out.clear();
        server.append(&mut out, Opcode::Text, b"Hel", false, 0, None).unwrap();
        assert_eq!(wire(&server.control(Opcode::Ping, b"whole").unwrap()), b"\x89\x05whole");
        server.append(&mut out, Opcode::Text, b"lo!", true, 0, None).unwrap();
        assert_eq!(out, b"\x01\x02He\x00\x01l\x00\x02lo\x80\x01!");
        out.clear();
        server.append_prepared(&mut out, Opcode::Text, b"abc", 3, true).unwrap();
        assert_eq!(out, b"\x41\x02ab\x80\x01c");
        assert_eq!((server.sent.messages, server.sent.frames, server.sent.bytes), (5, 12, 16));
    }

    #[test]
    fn a_compressed_message_is_cut_after_compression() {
        let mut whole = compressing();
        let mut cut = compressing().cutting_at(NonZeroUsize::new(3));
        let (mut one, mut many) = (Vec::new(), Vec::new());
        whole.append(&mut one, Opcode::Text, b"Hello", true, 0, None).unwrap();
        cut.append(&mut many, Opcode::Text, b"Hello", true, 0, None).unwrap();
        assert_eq!(one, [b"\xc1\x07", &one[2..]].concat());
        assert_eq!(many, [b"\x41\x03", &one[2..5], b"\x00\x03", &one[5..8], b"\x80\x01", &one[8..]].concat());
    }

    #[test]
    fn a_close_has_a_code_that_may_be_sent() {
        assert_eq!(Encoder::close_payload(None, ""), Ok(vec![]));
        assert_eq!(Encoder::close_payload(Some(1000), "bye"), Ok(b"\x03\xe8bye".to_vec()));
        assert_eq!(Encoder::close_payload(Some(1005), ""), Err(Unsendable::CloseCode(1005)));
        assert_eq!(Encoder::close_payload(None, "bye"), Err(Unsendable::ReasonWithoutCode));
        assert_eq!(Encoder::close_payload(Some(1000), &"a".repeat(124)), Err(Unsendable::LongControl(126)));
    }
}
