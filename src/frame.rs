//! The header of a frame (RFC 6455 §5.2): parsed incrementally, and written.

use crate::fault::Fault;
use crate::mask::MaskingKey;
use crate::state::Role;

/// The opcode of a frame (§11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// Text, or its first fragment.
    Text,
    /// Binary data, or its first fragment.
    Binary,
    /// A Close.
    Close,
    /// A Ping.
    Ping,
    /// A Pong, usually the answer to a Ping.
    Pong,
}

impl Opcode {
    /// Reads the low four bits of a frame's first byte.
    ///
    /// # Errors
    ///
    /// [`Fault::ReservedOpcode`] for 3-7 and 11-15.
    pub const fn parse(nibble: u8) -> Result<Self, Fault> {
        Ok(match nibble {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(Fault::ReservedOpcode(nibble)),
        })
    }

    /// The four bits on the wire.
    #[must_use]
    pub const fn nibble(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Close, Ping and Pong (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// RSV1, RSV2 and RSV3 in the first byte.
pub const RSV: u8 = 0x70;
/// The bit that permessage-deflate owns on the first frame of a message (RFC 7692 §6).
pub const RSV1: u8 = 0x40;
const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
/// The most payload bytes of a control frame (§5.5).
pub const CONTROL_LIMIT: usize = 125;
/// The most bytes of a header.
pub const HEADER_LIMIT: usize = 14;

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last fragment of its message.
    pub fin: bool,
    /// RSV1-3, within [`RSV`].
    pub rsv: u8,
    /// The type of the payload.
    pub opcode: Opcode,
    /// The length of the payload after the header, in bytes.
    pub payload_len: u64,
    /// The key, if the frame is masked.
    pub masking_key: Option<MaskingKey>,
}

impl Header {
    /// Parses a header at the start of `bytes`; returns it with its length, or `None` if bytes are missing.
    ///
    /// `role` is that of the receiver. A rule is checked as soon as its bytes are there. The decoder checks RSV bits and the order
    /// of fragments.
    ///
    /// # Errors
    ///
    /// A header that §5.1, §5.2 or §5.5 forbids.
    #[inline]
    pub fn parse(bytes: &[u8], role: Role) -> Result<Option<(Self, usize)>, Fault> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let fin = first & FIN != 0;
        let opcode = Opcode::parse(first & 0x0f)?;
        if opcode.is_control() && !fin {
            return Err(Fault::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASK != 0;
        match (role, masked) {
            (Role::Server, false) => return Err(Fault::Unmasked),
            (Role::Client, true) => return Err(Fault::Masked),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && short > 125 {
            return Err(Fault::LongControl);
        }
        let (payload_len, mut size) = match short {
            126 => {
                let Some(&long) = bytes.get(2..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
                let len = u64::from(u16::from_be_bytes(long));
                if len < 126 {
                    return Err(Fault::NonMinimalLength);
                }
                (len, 4)
            }
            127 => {
                let Some(&long) = bytes.get(2..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
                let len = u64::from_be_bytes(long);
                if len >> 63 != 0 {
                    return Err(Fault::LengthOverflow);
                }
                if len < 0x1_0000 {
                    return Err(Fault::NonMinimalLength);
                }
                (len, 10)
            }
            _ => (u64::from(short), 2),
        };
        let masking_key = if masked {
            let Some(&key) = bytes.get(size..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
            size += 4;
            Some(key)
        } else {
            None
        };
        Ok(Some((Self { fin, rsv: first & RSV, opcode, payload_len, masking_key }, size)))
    }

    /// Writes the header, with the length in its shortest form.
    #[inline]
    #[must_use]
    #[allow(clippy::decimal_bitwise_operands, reason = "lengths are decimal in §5.2")]
    pub fn write(&self) -> HeaderBytes {
        let mut out = Unwritten { bytes: 0, len: 0 };
        out.push([if self.fin { FIN } else { 0 } | self.rsv | self.opcode.nibble()]);
        let mask = if self.masking_key.is_some() { MASK } else { 0 };
        match (u8::try_from(self.payload_len), u16::try_from(self.payload_len)) {
            (Ok(len @ ..=125), _) => out.push([mask | len]),
            (_, Ok(len)) => {
                out.push([mask | 126]);
                out.push(len.to_be_bytes());
            }
            _ => {
                out.push([mask | 127]);
                out.push(self.payload_len.to_be_bytes());
            }
        }
        if let Some(key) = self.masking_key {
            out.push(key);
        }
        HeaderBytes { bytes: out.bytes.to_le_bytes(), len: out.len }
    }
}

/// A header assembled in registers: the processor stalls on reading words that were written byte by byte.
struct Unwritten {
    /// The first byte is the lowest.
    bytes: u128,
    len: usize,
}

impl Unwritten {
    #[inline]
    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        let mut padded = [0; size_of::<u128>()];
        padded[..N].copy_from_slice(&bytes);
        self.bytes |= u128::from_le_bytes(padded) << (8 * self.len);
        self.len += N;
    }
}

/// A written header.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes {
    bytes: [u8; size_of::<u128>()],
    len: usize,
}

impl HeaderBytes {
    /// The bytes on the wire.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload_len: u64, masking_key: Option<MaskingKey>) -> Header {
        Header { fin: true, rsv: 0, opcode: Opcode::Binary, payload_len, masking_key }
    }

    #[test]
    fn every_length_form_is_read_back_and_is_minimal() {
        for (len, size) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), ((1 << 63) - 1, 10)] {
            for (role, key) in [(Role::Client, None), (Role::Server, Some([1, 2, 3, 4]))] {
                let written = header(len, key).write();
                let size = size + if key.is_some() { 4 } else { 0 };
                assert_eq!(written.as_slice().len(), size);
                assert_eq!(Header::parse(written.as_slice(), role), Ok(Some((header(len, key), size))));
                for cut in 0..size {
                    assert_eq!(Header::parse(&written.as_slice()[..cut], role), Ok(None));
                }
            }
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_needed_fails() {
        assert_eq!(Header::parse(&[0x82, 126, 0, 125], Role::Client), Err(Fault::NonMinimalLength));
        assert_eq!(Header::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255], Role::Client), Err(Fault::NonMinimalLength));
    }

    #[test]
    fn a_length_of_2_to_63_fails() {
        assert_eq!(Header::parse(&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Role::Client), Err(Fault::LengthOverflow));
    }

    #[test]
    fn reserved_opcodes_fail_at_their_first_byte() {
        for nibble in (3..8).chain(11..16) {
            assert_eq!(Header::parse(&[0x80 | nibble], Role::Client), Err(Fault::ReservedOpcode(nibble)));
        }
    }

    #[test]
    fn a_control_frame_without_fin_or_over_125_bytes_fails() {
        for nibble in 8..=10 {
            assert_eq!(Header::parse(&[nibble], Role::Client), Err(Fault::FragmentedControl));
            assert_eq!(Header::parse(&[0x80 | nibble, 126], Role::Client), Err(Fault::LongControl));
            assert_eq!(Header::parse(&[0x80 | nibble, 127], Role::Client), Err(Fault::LongControl));
        }
    }

    #[test]
    fn the_mask_must_go_the_right_way() {
        assert_eq!(Header::parse(&[0x82, 0x01], Role::Server), Err(Fault::Unmasked));
        assert_eq!(Header::parse(&[0x82, 0x81], Role::Client), Err(Fault::Masked));
    }
}
