//! The DATA frames of HTTP/2 that are sent, within the windows that the peer gives (RFC 9113 §5.2, §6.9), and all other output in its place.
//!
//! What the windows do not let pass is kept, for each stream, until there is room. Streams that wait for the window of the connection take
//! turns.

use std::collections::{HashMap, VecDeque};

use crate::data::{USEFUL_BYTES, write_data};
use crate::turns::{Work, sent_cost};

/// The least that a part of what waits must have to be counted as useful: it is the credit for less that costs (§10.5).
const USEFUL_SIZE: usize = 512;
/// The most bytes of Pongs that wait on a stream.
const PONGS_LIMIT: usize = 4096;
/// What may wait on a stream before whoever sends is to wait too.
pub const WRITE_HIGH: usize = 64 * 1024;
/// How much of what was sent is kept in front of what waits.
const SENT_KEPT: usize = 64 * 1024;

/// The windows of a connection in which it sends, what waits for them, and the one output buffer.
///
/// A window may be below 0 (§6.9.2).
#[derive(Debug)]
pub struct DataSender {
    output: Vec<u8>,
    window: i64,
    streams: HashMap<u32, Stream>,
    /// Streams with more to send than the windows let pass, in the order of their turns.
    queue: VecDeque<u32>,
    /// The windows let pass more than a turn of the loop had time for.
    behind: bool,
    /// How many bytes wait, on all streams.
    pending: usize,
    max_frame_size: usize,
    /// How many useful bytes have gone out, since `tally`.
    useful: usize,
    /// How many bytes `pump` has written, since `take_pumped`.
    pumped: usize,
}

#[derive(Debug)]
struct Stream {
    window: i64,
    pending: Pending,
    /// Pongs that wait for what is pending.
    pongs: Vec<u8>,
    /// It is in the queue.
    queued: bool,
    /// How many bytes have waited for the windows and then gone out.
    pumped: u64,
    progress: Progress,
}

/// How far the sending of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More may be sent.
    Open,
    /// `END_STREAM` follows what waits.
    Ending,
    /// Nothing more is sent.
    Ended,
}

/// Bytes that wait, the oldest first.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// How many of them have gone out.
    sent: usize,
}

impl Pending {
    fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn push(&mut self, data: &[u8]) {
        self.bytes.extend_from_slice(data);
    }

    fn front(&self, len: usize) -> &[u8] {
        &self.bytes[self.sent..][..len]
    }

    fn advance(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.bytes.len() {
            *self = Self::default();
        } else if self.sent > SENT_KEPT.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

impl Stream {
    const fn new(window: i64) -> Self {
        let pending = Pending { bytes: Vec::new(), sent: 0 };
        Self { window, pending, pongs: Vec::new(), queued: false, pumped: 0, progress: Progress::Open }
    }

    fn waiting(&self) -> usize {
        self.pending.len() + self.pongs.len()
    }
}

impl DataSender {
    /// Makes the sender of a connection with its first window and `SETTINGS_MAX_FRAME_SIZE` of the peer.
    #[must_use]
    pub fn new(window: i64, max_frame_size: usize) -> Self {
        Self {
            output: Vec::new(),
            window,
            streams: HashMap::new(),
            queue: VecDeque::new(),
            behind: false,
            pending: 0,
            max_frame_size,
            useful: 0,
            pumped: 0,
        }
    }

    /// Writes DATA, or keeps it until the windows let it pass; nothing is sent on a stream that has ended.
    pub fn send(&mut self, stream: u32, data: &[u8]) {
        if self.passes(stream, data) {
            return;
        }
        let Some(it) = self.open(stream) else { return };
        it.pending.push(&std::mem::take(&mut it.pongs));
        it.pending.push(data);
        self.pending += data.len();
        self.wait(stream);
    }

    /// Does the same with Pongs, of which only the newest is kept when many wait: it answers for all (RFC 6455 §5.5.3).
    pub fn answer(&mut self, stream: u32, pongs: &[u8]) {
        if self.passes(stream, pongs) {
            return;
        }
        let Some(it) = self.open(stream) else { return };
        let before = it.pongs.len();
        it.pongs.extend_from_slice(pongs);
        if it.pongs.len() > PONGS_LIMIT {
            it.pongs.drain(..last_frame(&it.pongs));
        }
        let after = it.pongs.len();
        self.pending = self.pending + after - before;
        self.wait(stream);
    }

    /// Sends no more on a stream than waits there; says whether its end is to be written now, and not once that has gone out.
    pub fn finish(&mut self, stream: u32) -> bool {
        let Some(it) = self.open(stream) else { return false };
        let ends = it.waiting() == 0;
        it.progress = if ends { Progress::Ended } else { Progress::Ending };
        ends
    }

    /// Sends nothing more on a stream, and drops what waits there.
    pub fn close(&mut self, stream: u32) {
        if let Some(it) = self.streams.get_mut(&stream) {
            self.pending -= it.waiting();
            *it = Stream { queued: it.queued, progress: Progress::Ended, ..Stream::new(it.window) };
        }
    }

    /// Writes what the windows now let pass, as far as there is time: a frame of each stream, beginning where the last turn ended.
    ///
    /// Returns the streams whose end is to be written now.
    pub fn pump(&mut self, work: &mut Work) -> Vec<u32> {
        let before = self.output.len();
        let mut ended = Vec::new();
        let mut shut = 0;
        self.behind = false;
        while shut < self.queue.len() && self.window > 0 {
            if work.is_spent() {
                self.behind = true;
                break;
            }
            let Some(stream) = self.queue.pop_front() else { break };
            let sent = self.write_pending(stream, self.max_frame_size);
            if sent > 0 {
                work.charge(sent_cost(sent));
            }
            let Some(it) = self.streams.get_mut(&stream) else { continue };
            it.pumped += sent as u64;
            if it.waiting() > 0 {
                self.queue.push_back(stream);
                shut = if sent == 0 { shut + 1 } else { 0 };
                continue;
            }
            shut = 0;
            it.queued = false;
            if it.progress == Progress::Ending {
                it.progress = Progress::Ended;
                ended.push(stream);
            }
        }
        self.pumped += self.output.len() - before;
        ended
    }

    /// Whether the windows let pass more than the last `pump` had time for.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind && self.pending > 0
    }

    /// How many bytes wait for the windows, of a stream or of all (0).
    #[must_use]
    pub fn pending(&self, stream: u32) -> usize {
        if stream == 0 { self.pending } else { self.streams.get(&stream).map_or(0, Stream::waiting) }
    }

    /// How many bytes have waited on a stream for the windows, and then gone out: the peer has made room for them.
    #[must_use]
    pub fn pumped(&self, stream: u32) -> u64 {
        self.streams.get(&stream).map_or(0, |it| it.pumped)
    }

    fn open(&mut self, stream: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&stream).filter(|it| it.progress == Progress::Open)
    }

    /// Writes DATA if nothing waits on its stream and both windows let all of it pass; says whether that is so.
    #[inline]
    fn passes(&mut self, stream: u32, data: &[u8]) -> bool {
        let window = self.window;
        let Some(it) = self.open(stream).filter(|it| it.waiting() == 0) else { return false };
        let Some(len) = i64::try_from(data.len()).ok().filter(|len| *len <= it.window.min(window)) else {
            return false;
        };
        it.window -= len;
        self.window -= len;
        self.useful += data.len().min(USEFUL_BYTES);
        write_data(&mut self.output, stream, data, self.max_frame_size);
        true
    }

    /// Has what is new on a stream wait for its turn, unless the windows let it pass now.
    fn wait(&mut self, stream: u32) {
        if self.streams.get(&stream).is_some_and(|it| it.queued) {
            return;
        }
        self.write_pending(stream, usize::MAX);
        if let Some(it) = self.streams.get_mut(&stream)
            && it.waiting() > 0
        {
            it.queued = true;
            self.queue.push_back(stream);
        }
    }

    /// Writes what waits on a stream, as far as the windows and `most` let it; says how many bytes those are.
    fn write_pending(&mut self, stream: u32, most: usize) -> usize {
        let Some(it) = self.streams.get_mut(&stream) else { return 0 };
        if it.pending.len() == 0 {
            it.pending.push(&std::mem::take(&mut it.pongs));
        }
        let window = usize::try_from(it.window.min(self.window)).unwrap_or(0);
        let size = it.pending.len().min(window).min(most);
        if size == 0 {
            return 0;
        }
        if size >= USEFUL_SIZE || size == it.pending.len() {
            self.useful += size.min(USEFUL_BYTES);
        }
        write_data(&mut self.output, stream, it.pending.front(size), self.max_frame_size);
        it.pending.advance(size);
        let len = i64::try_from(size).unwrap_or(i64::MAX);
        it.window -= len;
        self.window -= len;
        self.pending -= size;
        size
    }

    /// Writes frames of any other type.
    pub fn write(&mut self, frames: &[u8]) {
        self.output.extend_from_slice(frames);
    }

    /// What is to be written to the transport.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Empties the output buffer; a large one is not kept.
    pub fn clear(&mut self) {
        self.output.clear();
        self.output.shrink_to(4096);
    }

    /// The window of a stream, or of the connection (0).
    #[must_use]
    pub fn window(&self, stream: u32) -> i64 {
        if stream == 0 { self.window } else { self.streams.get(&stream).map_or(0, |it| it.window) }
    }

    /// Sets the window of a stream, which may be new, or of the connection (0).
    pub fn set_window(&mut self, stream: u32, window: i64) {
        if stream == 0 {
            self.window = window;
        } else {
            self.streams.entry(stream).or_insert(Stream::new(window)).window = window;
        }
    }

    /// Forgets a stream that has closed, and what waits there.
    pub fn drop_stream(&mut self, stream: u32) {
        if let Some(it) = self.streams.remove(&stream) {
            self.pending -= it.waiting();
        }
    }

    /// The largest frame that the peer takes.
    #[must_use]
    pub const fn max_frame_size(&self) -> usize {
        self.max_frame_size
    }

    /// Sets it.
    pub const fn set_max_frame_size(&mut self, size: usize) {
        self.max_frame_size = size;
    }

    /// How many bytes `pump` has written since the last call: its senders wait, so they are no replies to what came.
    pub const fn take_pumped(&mut self) -> usize {
        std::mem::replace(&mut self.pumped, 0)
    }

    /// How many useful bytes have gone out since the last call.
    pub const fn tally(&mut self) -> usize {
        std::mem::replace(&mut self.useful, 0)
    }
}

/// Gives where the last of some control frames begins, whose payloads have at most 125 bytes (RFC 6455 §5.5).
fn last_frame(frames: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&second) = frames.get(at + 1) {
        let masking_key = if second & 0x80 == 0 { 0 } else { 4 };
        let next = at + 2 + masking_key + usize::from(second & 0x7f);
        if next >= frames.len() {
            break;
        }
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FRAME_HEADER, Piece, Splitter};

    /// A sender with windows of the connection and of streams 1, 3, ..., that has 10 bytes to a frame.
    fn sender(connection: i64, streams: &[i64]) -> DataSender {
        let mut sender = DataSender::new(connection, 10);
        for (number, window) in (1..).step_by(2).zip(streams) {
            sender.set_window(number, *window);
        }
        sender
    }

    /// The frames that are written, and no longer to be written: their streams and how many bytes they have.
    fn frames(sender: &mut DataSender) -> Vec<(u32, usize)> {
        let output = sender.output().to_vec();
        sender.clear();
        let (mut splitter, mut chunk, mut frames) = (Splitter::new(false, 16_384), &output[..], Vec::new());
        while let Some(Piece::Data { stream, payload, .. }) = splitter.next(&mut chunk, |_| true) {
            frames.push((stream, payload.len()));
        }
        frames
    }

    fn pump(sender: &mut DataSender) -> Vec<u32> {
        sender.pump(&mut Work::unbounded())
    }

    #[test]
    fn data_passes_as_far_as_both_windows_let_it() {
        let mut sender = sender(10, &[8, 100]);
        sender.send(1, &[0; 9]);
        assert_eq!((frames(&mut sender), sender.pending(1)), (vec![(1, 8)], 1));
        sender.send(3, &[0; 3]);
        assert_eq!((frames(&mut sender), sender.pending(3)), (vec![(3, 2)], 1));
        assert_eq!([0, 1, 3].map(|stream| sender.window(stream)), [0, 0, 98]);
        assert_eq!((sender.pending(0), sender.tally()), (2, 0));
        sender.set_window(0, 10);
        assert!(pump(&mut sender).is_empty());
        assert_eq!((frames(&mut sender), sender.pending(0)), (vec![(3, 1)], 1));
    }

    #[test]
    fn nothing_passes_what_waits_on_its_stream() {
        let mut sender = sender(100, &[0]);
        sender.send(1, b"ab");
        sender.set_window(1, 100);
        sender.send(1, b"c");
        assert_eq!((frames(&mut sender), sender.pending(1)), (vec![], 3));
        pump(&mut sender);
        assert_eq!(&sender.output()[FRAME_HEADER..], b"abc");
    }

    #[test]
    fn nothing_is_sent_on_a_stream_that_has_ended() {
        let mut sender = sender(100, &[100, 0, 0]);
        assert!(sender.finish(1) && !sender.finish(1));
        sender.send(3, b"ab");
        assert!(!sender.finish(3));
        sender.send(5, b"abc");
        sender.close(5);
        for stream in [1, 3, 5, 7] {
            sender.set_window(stream, 100);
            sender.send(stream, b"more");
            sender.answer(stream, b"more");
        }
        assert_eq!(sender.pending(0), 2);
        assert_eq!(pump(&mut sender), [3]);
        assert_eq!(frames(&mut sender), [(7, 4), (7, 4), (3, 2)]);
        sender.drop_stream(7);
        sender.send(7, b"x");
        assert_eq!(sender.output(), b"");
    }

    #[test]
    fn streams_take_turns_where_the_last_ended() {
        let mut sender = sender(0, &[100, 15, 100]);
        for stream in [1, 3, 5] {
            sender.send(stream, &[0; 30]);
        }
        sender.set_window(0, 25);
        pump(&mut sender);
        assert_eq!(frames(&mut sender), [(1, 10), (3, 10), (5, 5)]);
        sender.set_window(0, 100);
        pump(&mut sender);
        assert_eq!(frames(&mut sender), [(1, 10), (3, 5), (5, 10), (1, 10), (5, 10), (5, 5)]);
        assert_eq!([0, 1, 3, 5].map(|stream| sender.pending(stream)), [15, 0, 15, 0]);
        // A stream that has closed has no turn.
        sender.drop_stream(3);
        sender.set_window(0, 100);
        assert_eq!((pump(&mut sender), sender.pending(0)), (vec![], 0));
    }

    #[test]
    fn what_a_turn_has_no_time_for_goes_on_in_the_next() {
        let mut sender = sender(0, &[100, 100]);
        for stream in [1, 3] {
            sender.send(stream, &[0; 20]);
            sender.finish(stream);
        }
        sender.set_window(0, 100);
        let mut work = Work::unbounded();
        work.begin(2 * sent_cost(10) - 1);
        assert_eq!((sender.pump(&mut work), sender.is_behind()), (vec![], true));
        assert_eq!(frames(&mut sender), [(1, 10), (3, 10)]);
        work.begin(2 * sent_cost(10));
        assert_eq!((sender.pump(&mut work), sender.is_behind()), (vec![1, 3], false));
        assert_eq!(frames(&mut sender), [(1, 10), (3, 10)]);
        // Where nothing waits there is nothing to go on with.
        sender.send(3, b"");
        assert_eq!((sender.pump(&mut work), sender.is_behind()), (vec![], false));
    }

    #[test]
    fn pongs_that_wait_are_few_and_go_before_what_is_sent_later() {
        let mut sender = sender(1 << 20, &[0]);
        let pong = |payload: u8| [vec![0x8a, 125], vec![payload; 125]].concat();
        sender.send(1, b"first");
        (0..100).for_each(|payload| sender.answer(1, &pong(payload)));
        assert!(sender.pending(1) <= 5 + PONGS_LIMIT);
        sender.send(1, b"last");
        sender.answer(1, &pong(200));
        sender.max_frame_size = 16_384;
        sender.set_window(1, 1 << 20);
        pump(&mut sender);
        let output = sender.output();
        assert!(output[FRAME_HEADER..].starts_with(b"first"));
        let last = output.windows(4).position(|it| it == b"last").unwrap();
        assert_eq!(output[last - 127..last], pong(99));
        assert!(output.ends_with(&pong(200)) && sender.pending(0) == 0);
    }

    #[test]
    fn the_last_of_many_pongs_is_kept_masked_or_not() {
        let masked = [&[0x8a, 0x82, 1, 2, 3, 4, b'x', b'y'][..], &[0x8a, 0x80, 1, 2, 3, 4]].concat();
        assert_eq!(last_frame(&masked), 8);
        assert_eq!(last_frame(&[0x8a, 1, b'x', 0x8a, 0, 0x8a, 2, b'y', b'z']), 5);
        assert_eq!(last_frame(&[0x8a, 0]), 0);
    }

    #[test]
    fn what_has_waited_for_windows_is_counted_when_it_goes_out() {
        let mut sender = sender(1 << 20, &[0]);
        sender.max_frame_size = 16_384;
        sender.send(1, &[0; 2000]);
        assert_eq!(sender.take_pumped(), 0);
        sender.set_window(1, 2000);
        pump(&mut sender);
        assert_eq!([sender.take_pumped(), sender.take_pumped()], [9 + 2000, 0]);
        sender.send(1, b"x");
        sender.set_window(1, 100);
        pump(&mut sender);
        sender.send(1, b"passes");
        assert_eq!([1, 3].map(|stream| sender.pumped(stream)), [2001, 0]);
    }

    #[test]
    fn useful_is_what_little_credit_has_not_cut_short() {
        let mut sender = sender(1 << 20, &[5]);
        sender.send(1, &[0; 2000]);
        assert_eq!(sender.tally(), 0);
        sender.max_frame_size = 16_384;
        sender.set_window(1, 600);
        pump(&mut sender);
        assert_eq!(sender.tally(), USEFUL_BYTES);
        sender.set_window(1, 5000);
        pump(&mut sender);
        assert_eq!(sender.tally(), USEFUL_BYTES);
    }

    #[test]
    fn window_below_0_lets_nothing_pass() {
        let mut sender = sender(100, &[-5]);
        sender.send(1, b"");
        assert_eq!(sender.output(), b"");
        sender.send(1, b"x");
        pump(&mut sender);
        assert_eq!(frames(&mut sender), []);
        sender.set_window(1, 1);
        pump(&mut sender);
        assert_eq!(frames(&mut sender), [(1, 1)]);
    }

    #[test]
    fn much_that_waits_goes_out_in_order_and_is_freed() {
        let mut sender = DataSender::new(0, 16_384);
        sender.set_window(1, 1 << 30);
        let data: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
        data.chunks(10_000).for_each(|part| sender.send(1, part));
        let mut sent = Vec::new();
        while sender.pending(0) > 0 {
            sender.set_window(0, 50_000);
            pump(&mut sender);
            let output = std::mem::take(&mut sender.output);
            let (mut splitter, mut chunk) = (Splitter::new(false, 16_384), &output[..]);
            while let Some(Piece::Data { payload, .. }) = splitter.next(&mut chunk, |_| true) {
                sent.extend_from_slice(payload);
            }
        }
        assert!(sent == data);
        assert_eq!(sender.streams[&1].pending.bytes.capacity(), 0);
    }

    #[test]
    fn output_keeps_its_order() {
        let mut sender = DataSender::new(100, 2);
        sender.set_window(1, 100);
        sender.write(b"HEADERS");
        sender.send(1, b"abc");
        sender.write(b"PING");
        let (first, last) = (&sender.output()[..7], &sender.output()[7 + 3 + 2 * FRAME_HEADER..]);
        assert_eq!((first, last), (&b"HEADERS"[..], &b"PING"[..]));
        sender.clear();
        assert_eq!(sender.output(), b"");
    }
}
