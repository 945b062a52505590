//! Where the records of TLS end, by their headers, which are not encrypted (RFC 8446 §5.1).

/// The type of a record, a version, and its length in two bytes.
const HEADER: u8 = 5;

/// Counts the records of a stream of ciphertext that comes in pieces.
#[derive(Debug)]
pub struct RecordCounter {
    /// How many bytes of a header have come: all of them within a record.
    header: u8,
    /// How many bytes of the record are still to come, once its header has.
    left: usize,
}

impl RecordCounter {
    /// Begins between two records.
    #[must_use]
    pub const fn new() -> Self {
        Self { header: 0, left: 0 }
    }

    /// Gives how many records end in a piece.
    pub fn count(&mut self, mut piece: &[u8]) -> usize {
        let mut ended = 0;
        while let Some((&byte, after)) = piece.split_first() {
            if self.header < HEADER {
                self.header += 1;
                match self.header {
                    4 => self.left = usize::from(byte) << 8,
                    5 => self.left |= usize::from(byte),
                    _ => {}
                }
                piece = after;
            } else {
                let taken = self.left.min(piece.len());
                self.left -= taken;
                piece = &piece[taken..];
            }
            if self.header == HEADER && self.left == 0 {
                self.header = 0;
                ended += 1;
            }
        }
        ended
    }
}

impl Default for RecordCounter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of these sizes, one after the other.
    fn records(sizes: &[u16]) -> Vec<u8> {
        let mut all = Vec::new();
        for size in sizes {
            all.extend([23, 3, 3]);
            all.extend(size.to_be_bytes());
            all.extend(std::iter::repeat_n(0xff, usize::from(*size)));
        }
        all
    }

    #[test]
    fn records_are_counted_where_they_end() {
        let all = records(&[0, 1, 300, 0, 16_640]);
        assert_eq!(RecordCounter::new().count(&all), 5);
        assert_eq!(RecordCounter::new().count(&all[..all.len() - 1]), 4);
        assert_eq!(RecordCounter::new().count(b""), 0);
    }

    #[test]
    fn any_cut_gives_the_same_count() {
        let all = records(&[0, 1, 30, 0, 0, 257, 2]);
        for first in 0..all.len() {
            for second in first..=all.len() {
                let mut counter = RecordCounter::new();
                let counts = [&all[..first], &all[first..second], &all[second..]].map(|piece| counter.count(piece));
                assert_eq!(counts.iter().sum::<usize>(), 7);
            }
        }
    }
}
