//! The DATA frames of HTTP/2 that carry WebSockets (RFC 9113 §6.1), and the credit for them (§5.2, §6.9).
//!
//! They are the bulk of the traffic, so they go past the HTTP/2 library, which sees every other frame. What it must know of
//! them it is told by an empty DATA frame: the end of a stream, and frames that carry nothing. The window of the connection is for all DATA, so all of it is
//! counted here.

use crate::fault::Fault;

/// The length of the header of a frame (§4.1).
pub const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// What a window that is used up is multiplied by.
const FACTOR: u32 = 4;
/// How many bytes of a DATA frame count as useful against frames that do nothing (§10.5): each makes up for one of those.
pub const USEFUL_BYTES: usize = 10;
/// The client's connection preface (§3.4).
const PREFACE_LEN: usize = 24;

/// What a chunk of an HTTP/2 connection is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// DATA of a stream that carries a WebSocket.
    Data {
        /// The stream.
        stream: u32,
        /// The data without its padding.
        payload: &'a [u8],
        /// What it takes of the windows: the data with its padding.
        flow_controlled_len: u32,
        /// The peer has ended the stream.
        end_stream: bool,
    },
    /// Bytes for the HTTP/2 library: a whole frame, the preface, or what is too wrong to be cut.
    Other(&'a [u8]),
}

/// Cuts the bytes of an HTTP/2 connection into frames.
#[derive(Debug)]
pub struct Splitter {
    /// The start of a frame whose end has not come.
    held: Vec<u8>,
    /// `held` was lent whole.
    lent: bool,
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// Within a header block nothing else may come (§4.3): the library is to see it if it does.
    header_block: bool,
    max_frame_size: usize,
}

impl Splitter {
    /// Makes a splitter for the side that receives a preface (a server) or none, with its `SETTINGS_MAX_FRAME_SIZE`.
    #[must_use]
    pub const fn new(server: bool, max_frame_size: usize) -> Self {
        let preface = if server { PREFACE_LEN } else { 0 };
        Self { held: Vec::new(), lent: false, preface, header_block: false, max_frame_size }
    }

    /// Takes the next piece off the front of `chunk`; `None` when the rest is less than a frame and is held.
    ///
    /// `carried` says which streams carry WebSockets.
    pub fn next<'s, 'c: 's>(&'s mut self, chunk: &mut &'c [u8], carried: impl Fn(u32) -> bool) -> Option<Piece<'s>> {
        if std::mem::take(&mut self.lent) {
            self.held = Vec::new();
        }
        if self.held.is_empty() {
            let Some(len) = self.whole(chunk) else {
                self.held.extend_from_slice(chunk);
                *chunk = &[];
                return None;
            };
            let (frame, rest) = chunk.split_at(len);
            *chunk = rest;
            return Some(self.piece(frame, carried));
        }
        // A frame that was cut is joined: first its header, which says how much is missing.
        loop {
            let missing = match self.whole(&self.held) {
                Some(_) => break,
                None if self.preface > 0 => PREFACE_LEN - self.held.len(),
                None => match frame_len(&self.held) {
                    Some(len) => len - self.held.len(),
                    None => FRAME_HEADER - self.held.len(),
                },
            };
            if chunk.is_empty() {
                return None;
            }
            let (more, rest) = chunk.split_at(missing.min(chunk.len()));
            self.held.extend_from_slice(more);
            *chunk = rest;
        }
        self.lent = true;
        let frame = std::mem::take(&mut self.held);
        self.note(&frame);
        self.held = frame;
        Some(parse(&self.held, self.header_block, carried))
    }

    /// How many bytes at the front of `bytes` are the next piece, if all have come.
    fn whole(&self, bytes: &[u8]) -> Option<usize> {
        if self.preface > 0 {
            return (bytes.len() >= PREFACE_LEN).then_some(PREFACE_LEN);
        }
        let len = frame_len(bytes)?;
        if len - FRAME_HEADER > self.max_frame_size {
            // The library refuses it by its header; its payload is not waited for.
            return Some(bytes.len());
        }
        (bytes.len() >= len).then_some(len)
    }

    /// How many bytes are held of a DATA frame of `stream` whose end has not come.
    #[must_use]
    pub fn held(&self, stream: u32) -> usize {
        match *self.held {
            [_, _, _, DATA, _, a, b, c, d, ..]
                if !self.lent && self.preface == 0 && u32::from_be_bytes([a & 0x7f, b, c, d]) == stream =>
            {
                self.held.len()
            }
            _ => 0,
        }
    }

    fn piece<'c>(&mut self, frame: &'c [u8], carried: impl Fn(u32) -> bool) -> Piece<'c> {
        self.note(frame);
        parse(frame, self.header_block, carried)
    }

    /// Follows the preface and the header blocks.
    fn note(&mut self, frame: &[u8]) {
        if self.preface > 0 {
            self.preface = 0;
            return;
        }
        if let [_, _, _, HEADERS | PUSH_PROMISE | CONTINUATION, flags, ..] = frame {
            self.header_block = flags & END_HEADERS == 0;
        }
    }
}

/// The length of the frame at the front of `bytes`, with its header.
fn frame_len(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, ..] = *bytes.first_chunk::<FRAME_HEADER>()?;
    Some(FRAME_HEADER + usize::from(a) * 0x1_0000 + usize::from(b) * 0x100 + usize::from(c))
}

fn parse(frame: &[u8], header_block: bool, carried: impl Fn(u32) -> bool) -> Piece<'_> {
    let other = Piece::Other(frame);
    let Some((&[_, _, _, DATA, flags, a, b, c, d], body)) = frame.split_first_chunk::<FRAME_HEADER>() else {
        return other;
    };
    let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
    if header_block || frame_len(frame) != Some(frame.len()) || !carried(stream) {
        return other;
    }
    let payload = if flags & PADDED == 0 {
        Some(body)
    } else {
        body.split_first().and_then(|(&padding, data)| data.get(..data.len().checked_sub(padding.into())?))
    };
    // Padding that does not fit is the library's to refuse (§6.1).
    let (Some(payload), Ok(flow_controlled_len)) = (payload, u32::try_from(body.len())) else { return other };
    Piece::Data { stream, payload, flow_controlled_len, end_stream: flags & END_STREAM != 0 }
}

/// What `frame` takes of the windows, if it is DATA and whole: its payload with its padding (§6.9.1).
#[must_use]
pub fn flow_controlled_len(frame: &[u8]) -> Option<u32> {
    match *frame.first_chunk::<FRAME_HEADER>()? {
        [a, b, c, DATA, ..] if frame_len(frame) == Some(frame.len()) => Some(u32::from_be_bytes([0, a, b, c])),
        _ => None,
    }
}

/// The end of a header block (§4.3), with which it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBlock<'a> {
    /// A frame has all of it.
    Whole(&'a [u8]),
    /// A frame has the last part of it.
    Rest,
}

/// Gives the header block that ends with `frame`, without padding and priority (§6.2).
#[must_use]
pub fn header_block(frame: &[u8]) -> Option<HeaderBlock<'_>> {
    let (&[_, _, _, kind, flags, ..], mut block) = frame.split_first_chunk::<FRAME_HEADER>()?;
    if flags & END_HEADERS == 0 {
        return None;
    }
    match kind {
        HEADERS => {
            if flags & PADDED != 0 {
                let (&padding, padded) = block.split_first()?;
                block = padded.get(..padded.len().checked_sub(padding.into())?)?;
            }
            Some(HeaderBlock::Whole(if flags & PRIORITY == 0 { block } else { block.get(5..)? }))
        }
        PUSH_PROMISE | CONTINUATION => Some(HeaderBlock::Rest),
        _ => None,
    }
}

/// The stream of a `WINDOW_UPDATE` (§6.9); 0 of any other frame.
#[must_use]
pub const fn window_update_stream(frame: &[u8]) -> u32 {
    match *frame {
        [_, _, _, WINDOW_UPDATE, _, a, b, c, d, ..] => u32::from_be_bytes([a & 0x7f, b, c, d]),
        _ => 0,
    }
}

/// Appends `payload` as DATA frames of at most `max_frame_size` bytes each.
pub fn write_data(out: &mut Vec<u8>, stream: u32, payload: &[u8], max_frame_size: usize) {
    out.reserve(payload.len() + FRAME_HEADER * payload.len().div_ceil(max_frame_size.max(1)));
    for part in payload.chunks(max_frame_size.max(1)) {
        write_header(out, part.len(), DATA, 0, stream);
        out.extend_from_slice(part);
    }
}

/// Appends an empty DATA frame, which may end the stream.
pub fn write_empty(out: &mut Vec<u8>, stream: u32, end_stream: bool) {
    write_header(out, 0, DATA, if end_stream { END_STREAM } else { 0 }, stream);
}

/// Appends a `WINDOW_UPDATE` (§6.9); stream 0 is the connection.
pub fn write_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write_header(out, 4, WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&increment.to_be_bytes());
}

fn write_header(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, stream: u32) {
    let [_, a, b, c] = u32::try_from(len).expect("a frame is cut to at most 2^24-1 bytes").to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}

/// How far all windows of a connection's streams together may still grow, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth(u32);

impl Growth {
    /// Makes room for so many bytes.
    #[must_use]
    pub const fn new(bytes: u32) -> Self {
        Self(bytes)
    }
}

/// How much the peer may send, on one stream or on the connection.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    size: u32,
    /// What of `size` was taken of a [`Growth`].
    grown: u32,
    /// What the peer may still send.
    left: u32,
    /// What was used up here and is to be given back.
    credit: u32,
}

impl Window {
    /// Makes a window that is open `size` bytes wide.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self { size, grown: 0, left: size, credit: 0 }
    }

    /// Takes `len` bytes that have come off the window.
    ///
    /// # Errors
    ///
    /// [`Fault::WindowOverrun`] when the peer had no credit for them.
    pub fn receive(&mut self, len: u32) -> Result<(), Fault> {
        self.left = self.left.checked_sub(len).ok_or(Fault::WindowOverrun)?;
        Ok(())
    }

    /// Notes that `len` bytes are used up here and may come again.
    pub fn consume(&mut self, len: u32) {
        self.credit += len;
    }

    /// The increment to send now: nothing until half of the window is used up, so that updates go in bulk.
    pub fn update(&mut self) -> Option<u32> {
        self.is_due().then(|| self.give(0))
    }

    /// The same, of a window that becomes [`FACTOR`] times as wide each time, up to `max` bytes, as far as there is room in `growth`.
    ///
    /// A peer sends at most a window in a round trip, so a window that is used up as fast as it is given back may be what holds it up.
    pub fn update_wider(&mut self, max: u32, growth: &mut Growth) -> Option<u32> {
        self.is_due().then(|| {
            let wider = self.size.saturating_mul(FACTOR).min(max);
            let more = wider.saturating_sub(self.size).min(growth.0);
            growth.0 -= more;
            self.size += more;
            self.grown += more;
            self.give(more)
        })
    }

    /// Gives back what the window took of `growth`: its stream has closed.
    pub const fn shrink(&self, growth: &mut Growth) {
        growth.0 += self.grown;
    }

    const fn is_due(&self) -> bool {
        self.credit > self.size / 2
    }

    fn give(&mut self, more: u32) -> u32 {
        let increment = std::mem::take(&mut self.credit) + more;
        self.left += increment;
        increment
    }

    /// What the peer may still send, and what it will be given back.
    #[must_use]
    pub const fn left_and_credit(&self) -> (u32, u32) {
        (self.left, self.credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, payload.len(), kind, flags, stream);
        out.extend_from_slice(payload);
        out
    }

    fn pieces(splitter: &mut Splitter, mut chunk: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(piece) = splitter.next(&mut chunk, |stream| stream == 1) {
            all.push(format!("{piece:?}"));
        }
        assert!(chunk.is_empty());
        all
    }

    #[test]
    fn any_cut_gives_the_same_frames() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, 0, b""));
        bytes.extend(frame(DATA, 0, 1, b"hello"));
        bytes.extend(frame(DATA, 0, 3, b"other"));
        bytes.extend(frame(DATA, END_STREAM | PADDED, 1, b"\x02hi\0\0"));
        let whole = pieces(&mut Splitter::new(true, 16_384), &bytes);
        assert_eq!(whole.len(), 5);
        assert!(whole[4].contains("flow_controlled_len: 5, end_stream: true"), "{}", whole[4]);
        for cut in 0..=bytes.len() {
            let mut splitter = Splitter::new(true, 16_384);
            let mut all = pieces(&mut splitter, &bytes[..cut]);
            all.extend(pieces(&mut splitter, &bytes[cut..]));
            assert_eq!(all, whole, "cut at {cut}");
        }
        let mut splitter = Splitter::new(true, 16_384);
        let single: Vec<_> = bytes.iter().flat_map(|byte| pieces(&mut splitter, &[*byte])).collect();
        assert_eq!(single, whole);
    }

    #[test]
    fn a_frame_is_held_of_its_stream_until_it_is_whole() {
        let mut splitter = Splitter::new(true, 16_384);
        pieces(&mut splitter, b"PRI * HTTP/2.0\r\n");
        assert_eq!(splitter.held(0x2f32_2e30), 0);
        pieces(&mut splitter, b"\r\nSM\r\n\r\n");
        let data = frame(DATA, 0, 1, b"hello");
        for (at, held) in (1..=data.len()).zip([0; 8].into_iter().chain(9..14).chain([0])) {
            pieces(&mut splitter, &data[at - 1..at]);
            assert_eq!([splitter.held(1), splitter.held(3)], [held, 0], "{at} bytes");
        }
        pieces(&mut splitter, &frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01")[..12]);
        assert_eq!(splitter.held(1), 0);
    }

    #[test]
    fn a_header_block_has_no_padding_and_no_priority() {
        let block = |kind, flags, payload| match header_block(&frame(kind, flags, 1, payload))? {
            HeaderBlock::Whole(block) => Some(String::from_utf8_lossy(block).into_owned()),
            HeaderBlock::Rest => Some("rest".to_owned()),
        };
        assert_eq!(block(HEADERS, END_HEADERS, b"block").as_deref(), Some("block"));
        assert_eq!(block(HEADERS, END_HEADERS | PRIORITY, b"12345block").as_deref(), Some("block"));
        let both = END_HEADERS | PRIORITY | PADDED;
        assert_eq!(block(HEADERS, both, b"\x0212345block..").as_deref(), Some("block"));
        assert_eq!([b"\x7f12345", &b""[..], b"\x011234."].map(|it| block(HEADERS, both, it)), [None, None, None]);
        assert_eq!(block(HEADERS, 0, b"block"), None);
        assert_eq!(block(DATA, END_HEADERS, b"block"), None);
        assert_eq!(block(CONTINUATION, END_HEADERS, b"block").as_deref(), Some("rest"));
    }

    #[test]
    fn a_window_update_has_the_stream_of_its_header() {
        assert_eq!(window_update_stream(&frame(WINDOW_UPDATE, 0, 5, b"\0\0\0\x01")), 5);
        assert_eq!([&frame(DATA, 0, 5, b"")[..], &[0; 3]].map(window_update_stream), [0; 2]);
    }

    #[test]
    fn what_is_wrong_goes_to_the_library() {
        let mut splitter = Splitter::new(false, 16_384);
        let padding = frame(DATA, PADDED, 1, b"\x09hi");
        assert_eq!(splitter.next(&mut &padding[..], |_| true), Some(Piece::Other(&padding)));
        let headers = frame(HEADERS, 0, 5, b"");
        assert_eq!(splitter.next(&mut &headers[..], |_| true), Some(Piece::Other(&headers)));
        let within = frame(DATA, 0, 1, b"x");
        assert_eq!(splitter.next(&mut &within[..], |_| true), Some(Piece::Other(&within)));
        let long = [0, 0x40, 1, DATA, 0, 0, 0, 0, 1];
        assert_eq!(Splitter::new(false, 16_384).next(&mut &long[..], |_| true), Some(Piece::Other(&long)));
    }

    #[test]
    fn data_takes_its_payload_and_padding_of_the_windows_and_nothing_else_does() {
        assert_eq!(flow_controlled_len(&frame(DATA, PADDED, 3, b"\x02hi\0\0")), Some(5));
        assert_eq!(flow_controlled_len(&frame(DATA, END_STREAM, 3, b"")), Some(0));
        assert_eq!(flow_controlled_len(&frame(HEADERS, END_HEADERS, 3, b"\x82")), None);
        assert_eq!(flow_controlled_len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), None);
        assert_eq!(flow_controlled_len(b"\0\0\x01\0"), None);
        assert_eq!(flow_controlled_len(&[0, 0x40, 1, DATA, 0, 0, 0, 0, 1]), None);
    }

    #[test]
    fn credit_goes_back_in_bulk_and_none_is_lost() {
        let mut window = Window::new(100);
        let mut given = 0;
        for _ in 0..10_000 {
            window.receive(7).expect("there is credit");
            window.consume(7);
            given += window.update().unwrap_or(0);
        }
        let (left, credit) = window.left_and_credit();
        assert_eq!(left + credit, 100);
        assert_eq!(given + credit, 70_000);
        assert_eq!(window.receive(101), Err(Fault::WindowOverrun));
    }

    #[test]
    fn window_that_is_used_up_becomes_wider_as_far_as_there_is_room_for_all() {
        let mut growth = Growth::new(900);
        let (mut one, mut other) = (Window::new(100), Window::new(100));
        let mut increments = Vec::new();
        for _ in 0..20 {
            one.receive(60).expect("there is credit");
            one.consume(60);
            increments.extend(one.update_wider(800, &mut growth));
        }
        // Behind 60 bytes of 100, 240 of 400, and 420 of 800, which are the most.
        assert_eq!(increments, [60 + 300, 240 + 400, 420, 420]);
        assert_eq!(growth, Growth::new(200));
        for _ in 0..20 {
            other.receive(60).expect("there is credit");
            other.consume(60);
            other.update_wider(800, &mut growth);
        }
        assert_eq!(growth, Growth::new(0));
        let (left, credit) = other.left_and_credit();
        assert_eq!(left + credit, 300);
        one.shrink(&mut growth);
        other.shrink(&mut growth);
        assert_eq!(growth, Growth::new(900));
    }

    #[test]
    fn data_is_cut_to_the_frame_size() {
        let mut out = Vec::new();
        write_data(&mut out, 3, b"abcde", 2);
        assert_eq!(out.len(), 5 + 3 * FRAME_HEADER);
        assert_eq!(out[..11], *b"\0\0\x02\0\0\0\0\0\x03ab");
    }
}
