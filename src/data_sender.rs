//! The DATA frames of HTTP/2 that are sent, within the windows that the peer gives (RFC 9113 §5.2, §6.9), and all other output in its place.

use std::collections::HashMap;

use crate::data::{USEFUL_BYTES, write_data};

/// The windows of a connection in which it sends, and its one output buffer.
///
/// A window may be below 0 (§6.9.2).
#[derive(Debug)]
pub struct DataSender {
    output: Vec<u8>,
    window: i64,
    streams: HashMap<u32, Stream>,
    max_frame_size: usize,
    /// How many useful bytes have gone out at once, since `tally`.
    useful: usize,
    /// How many bytes wait for the windows, on all streams.
    pending: usize,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    window: i64,
    /// Something waits that is to go first.
    blocked: bool,
    /// How many bytes wait for the windows.
    pending: usize,
}

impl DataSender {
    /// Makes the sender of a connection with its first window and `SETTINGS_MAX_FRAME_SIZE` of the peer.
    #[must_use]
    pub fn new(window: i64, max_frame_size: usize) -> Self {
        Self { output: Vec::new(), window, streams: HashMap::new(), max_frame_size, useful: 0, pending: 0 }
    }

    /// Writes DATA if nothing waits on its stream and both windows let all of it pass; says whether that is so.
    pub fn send(&mut self, stream: u32, data: &[u8]) -> bool {
        let Some(it) = self.streams.get(&stream).filter(|it| !it.blocked) else { return false };
        if i64::try_from(data.len()).is_ok_and(|len| len <= it.window.min(self.window)) {
            self.write_data(stream, data);
            self.useful += data.len().min(USEFUL_BYTES);
            return true;
        }
        false
    }

    /// Writes DATA and takes it off both windows.
    pub fn write_data(&mut self, stream: u32, data: &[u8]) {
        let len = i64::try_from(data.len()).unwrap_or(i64::MAX);
        self.window = self.window.saturating_sub(len);
        if let Some(it) = self.streams.get_mut(&stream) {
            it.window = it.window.saturating_sub(len);
        }
        write_data(&mut self.output, stream, data, self.max_frame_size);
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

    /// Has what is sent on a stream wait, behind what waits there already, or no more.
    pub fn block(&mut self, stream: u32, blocked: bool) {
        if let Some(it) = self.streams.get_mut(&stream) {
            it.blocked = blocked;
        }
    }

    /// Whether DATA of a stream may be sent at once, as far as the windows go.
    #[must_use]
    pub fn is_open(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|it| !it.blocked)
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
            self.streams.entry(stream).or_insert(Stream { window, blocked: false, pending: 0 }).window = window;
        }
    }

    /// Forgets a stream that has closed.
    pub fn drop_stream(&mut self, stream: u32) {
        if let Some(it) = self.streams.remove(&stream) {
            self.pending -= it.pending;
        }
    }

    /// Notes how many bytes of a stream wait for the windows.
    pub fn set_pending(&mut self, stream: u32, pending: usize) {
        if let Some(it) = self.streams.get_mut(&stream) {
            self.pending = self.pending - it.pending + pending;
            it.pending = pending;
        }
    }

    /// How many bytes wait for the windows, of a stream or of all (0).
    #[must_use]
    pub fn pending(&self, stream: u32) -> usize {
        if stream == 0 { self.pending } else { self.streams.get(&stream).map_or(0, |it| it.pending) }
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

    /// How many useful bytes have gone out at once since the last call.
    pub const fn tally(&mut self) -> usize {
        std::mem::replace(&mut self.useful, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_HEADER: usize = 9;

    #[test]
    fn data_passes_as_far_as_both_windows_let_it() {
        let mut sender = DataSender::new(10, 16_384);
        sender.set_window(1, 8);
        sender.set_window(3, 100);
        assert!(!sender.send(1, &[0; 9]));
        assert!(sender.send(1, &[0; 8]));
        assert!(!sender.send(3, &[0; 3]));
        assert!(sender.send(3, &[0; 2]));
        assert_eq!([0, 1, 3].map(|stream| sender.window(stream)), [0, 0, 98]);
        assert_eq!(sender.output().len(), 8 + 2 + 2 * FRAME_HEADER);
        assert_eq!(sender.tally(), 10);
    }

    #[test]
    fn nothing_passes_what_waits_on_its_stream() {
        let mut sender = DataSender::new(100, 16_384);
        sender.set_window(1, 100);
        sender.block(1, true);
        assert!(!sender.send(1, b"x") && !sender.is_open(1));
        sender.block(1, false);
        assert!(sender.send(1, b"x"));
        sender.drop_stream(1);
        assert!(!sender.send(1, b"x") && !sender.is_open(1));
    }

    #[test]
    fn window_below_0_lets_nothing_pass() {
        let mut sender = DataSender::new(100, 16_384);
        sender.set_window(1, -5);
        assert!(!sender.send(1, b""));
        sender.set_window(1, 1);
        assert!(sender.send(1, b"x"));
    }

    #[test]
    fn what_waits_is_counted_until_its_stream_has_closed() {
        let mut sender = DataSender::new(100, 16_384);
        for stream in [1, 3] {
            sender.set_window(stream, 0);
            sender.set_pending(stream, 10);
        }
        sender.set_pending(1, 7);
        sender.set_pending(5, 99);
        assert_eq!([0, 1, 3, 5].map(|stream| sender.pending(stream)), [17, 7, 10, 0]);
        sender.drop_stream(1);
        assert_eq!([0, 1].map(|stream| sender.pending(stream)), [10, 0]);
    }

    #[test]
    fn output_keeps_its_order() {
        let mut sender = DataSender::new(100, 2);
        sender.set_window(1, 100);
        sender.write(b"HEADERS");
        sender.write_data(1, b"abc");
        sender.write(b"PING");
        let (first, last) = (&sender.output()[..7], &sender.output()[7 + 3 + 2 * FRAME_HEADER..]);
        assert_eq!((first, last), (&b"HEADERS"[..], &b"PING"[..]));
        sender.clear();
        assert_eq!(sender.output(), b"");
    }
}
