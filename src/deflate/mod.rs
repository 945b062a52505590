//! permessage-deflate of one direction (RFC 7692 §7.2): a [`Deflater`] or an [`Inflater`], each with its window.

mod deflater;
mod history;
mod inflater;
mod pool;
#[cfg(test)]
mod tests;

pub use deflater::Deflater;
pub use inflater::Inflater;
pub use pool::Pool;

/// How to compress. What is not negotiated (level and memory) is the sender's own affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateSettings {
    /// The window is `1 << window_bits` bytes: 8 to 15. With 8 nothing is matched, only Huffman codes save bytes.
    pub window_bits: u8,
    /// From 0, which stores, over 1, the fastest, to 9, the smallest.
    pub level: u8,
    /// From 1 to 9: a context takes `1 << (memory_level + 9)` bytes for it, beside 128 KiB and 4 windows.
    pub memory_level: u8,
    /// Whether a message may refer to the messages before it.
    pub context_takeover: bool,
}

fn difference(after: u64, before: u64) -> usize {
    usize::try_from(after - before).expect("no call takes or gives more than its slices have")
}

/// The largest window of DEFLATE, in bits.
const MAX_WINDOW_BITS: u8 = 15;
/// What a sync flush ends with and a message leaves out (§7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The most by which an output grows at a time: zeroed first, which costs little as long as it fits a cache.
const MAX_ROOM: usize = 1 << 16;
