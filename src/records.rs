//! Where the records of TLS end, by their headers, which are not encrypted (RFC 8446 §5.1).

/// The type of a record, a version, and its length in two bytes.
const HEADER: u8 = 5;

/// Counts the records of ciphertext that comes in pieces.
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

    /// Takes as much of a piece as ends `most` records, or all of it; gives how many bytes that is.
    pub fn take(&mut self, piece: &[u8], most: usize) -> usize {
        let mut rest = piece;
        let mut ended = 0;
        while ended < most
            && let Some((&byte, after)) = rest.split_first()
        {
            if self.header < HEADER {
                self.header += 1;
                match self.header {
                    4 => self.left = usize::from(byte) << 8,
                    5 => self.left |= usize::from(byte),
                    _ => {}
                }
                rest = after;
            } else {
                let taken = self.left.min(rest.len());
                self.left -= taken;
                rest = &rest[taken..];
            }
            if self.header == HEADER && self.left == 0 {
                self.header = 0;
                ended += 1;
            }
        }
        piece.len() - rest.len()
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
    fn so_many_records_are_taken_and_no_more() {
        let all = records(&[0, 1, 300, 0, 16_640]);
        let ends = [0, 5, 11, 316, 321, all.len(), all.len()];
        for (most, end) in ends.into_iter().enumerate() {
            assert_eq!(RecordCounter::new().take(&all, most), end);
        }
        assert_eq!(RecordCounter::new().take(&all[..all.len() - 1], 5), all.len() - 1);
        assert_eq!(RecordCounter::new().take(b"", 1), 0);
    }

    #[test]
    fn any_cut_takes_the_same() {
        let all = records(&[0, 1, 30, 0, 0, 257, 2]);
        for first in 0..all.len() {
            let mut counter = RecordCounter::new();
            assert_eq!(counter.take(&all[..first], 7), first);
            // What is not taken comes again.
            let mut at = first;
            while at < all.len() {
                at += counter.take(&all[at..], 1);
                assert!([5, 11, 46, 51, 56, 318, 325].contains(&at), "{first}: {at}");
            }
        }
    }
}
