//! How much has passed in one direction.

/// Counts of one direction of a connection, from its opening handshake on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Whole messages.
    pub messages: u64,
    /// Frames, control frames among them.
    pub frames: u64,
    /// Payload bytes of messages, uncompressed.
    pub bytes: u64,
}

impl Traffic {
    /// Counts the payload of a message, or of a part of one that is not the last.
    #[inline]
    pub const fn count(&mut self, len: usize, fin: bool) {
        self.messages += fin as u64;
        self.bytes += len as u64;
    }

    /// Takes back what was counted last.
    pub const fn discount(&mut self, len: usize, fin: bool) {
        self.messages -= fin as u64;
        self.bytes -= len as u64;
    }
}
