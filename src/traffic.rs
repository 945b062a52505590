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
}

impl Traffic {
    /// Counts the payload of a message, or of a part that is not the last.
    #[inline]
    pub const fn count(&mut self, len: usize, fin: bool) {
        self.messages += fin as u64;
        self.bytes += len as u64;
    }

    /// Undoes the last count.
    pub const fn discount(&mut self, len: usize, fin: bool) {
        self.messages -= fin as u64;
        self.bytes -= len as u64;
    }
}
