//! What later messages may refer to.

use zlib_rs::Inflate;

/// The last bytes of what was inflated, at most `size`: a ring that grows to its size as bytes come.
pub(super) struct History {
    pub(super) size: usize,
    pub(super) bytes: Vec<u8>,
    /// Where the oldest byte is. 0 unless `bytes` has reached its size.
    pub(super) oldest: usize,
}

impl History {
    pub(super) const fn new(size: usize) -> Self {
        Self { size, bytes: Vec::new(), oldest: 0 }
    }

    pub(super) fn push(&mut self, produced: &[u8]) {
        if self.size == 0 {
            return;
        }
        let newest = &produced[produced.len().saturating_sub(self.size)..];
        if newest.len() == self.size {
            self.clear();
        }
        let (grown, over) = newest.split_at(newest.len().min(self.size - self.bytes.len()));
        let len = self.bytes.len() + grown.len();
        if len > self.bytes.capacity() {
            self.bytes.reserve_exact(len.next_power_of_two().min(self.size) - self.bytes.len());
        }
        self.bytes.extend_from_slice(grown);
        let (end, begin) = over.split_at(over.len().min(self.bytes.len() - self.oldest));
        self.bytes[self.oldest..][..end.len()].copy_from_slice(end);
        self.bytes[..begin.len()].copy_from_slice(begin);
        self.oldest = (self.oldest + over.len()) % self.size;
    }

    pub(super) fn load(&self, context: &mut Inflate) {
        for part in self.parts() {
            context.set_dictionary(part).expect("raw deflate takes a dictionary between blocks");
        }
    }

    /// What it holds, from the oldest byte on.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        [older, newer]
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}
