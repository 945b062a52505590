//! Traffic counters of one direction.

/// The counters of one direction of a connection, since its opening handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Complete messages.
    pub messages: u64,
    /// Frames, including control frames.
    pub frames: u64,
    /// Uncompressed payload bytes of messages.
    pub bytes: u64,
    /// Payload bytes of compressed messages, as they are on the wire.
    pub compressed: u64,
    /// The bytes of these without compression.
    pub inflated: u64,
}

impl Traffic {
    /// Counts the payload of a message, or of a part that is not the last.
    #[inline]
    pub const fn count(&mut self, len: usize, fin: bool) {
        self.messages += fin as u64;
        self.bytes += len as u64;
    }

    /// Counts the payload of a compressed message, or of a part of it, besides [`Self::count`].
    pub const fn count_compressed(&mut self, compressed: usize, inflated: usize) {
        self.compressed += compressed as u64;
        self.inflated += inflated as u64;
    }

    /// Undoes the last count.
    pub const fn discount(&mut self, len: usize, fin: bool) {
        self.messages -= fin as u64;
        self.bytes -= len as u64;
    }
}
