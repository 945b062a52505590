//! The header blocks of HTTP/2, whose fields are counted without decoding them: hpack takes 10 µs for each, however short.

/// Why an integer cannot be read.
enum Unread {
    /// The block ends within it.
    CutOff,
    /// It is longer than any that is needed.
    TooLong,
}

/// Counts the fields of a header block, up to `most`, by their lengths alone (RFC 7541 §6).
///
/// Where the block ends too early, those before are counted: the decoder finds the fault. Gives `None` where an integer is longer than any that
/// is needed (§5.1).
#[must_use]
pub fn count_fields(block: &[u8], most: usize) -> Option<usize> {
    let mut rest = block;
    let mut count = 0;
    while count < most {
        let Some(&first) = rest.first() else { break };
        let read = match first {
            0x80.. => integer(&mut rest, 7).map(|_| 1),
            // An update of the table's size is no field.
            0x20..0x40 => integer(&mut rest, 5).map(|_| 0),
            _ => literal(&mut rest, if first & 0x40 == 0 { 4 } else { 6 }).map(|()| 1),
        };
        match read {
            Ok(fields) => count += fields,
            Err(Unread::CutOff) => break,
            Err(Unread::TooLong) => return None,
        }
    }
    Some(count)
}

/// Takes a literal field (§6.2) off the front of `rest`, with its name unless the index of that has `bits` that are not 0.
fn literal(rest: &mut &[u8], bits: u32) -> Result<(), Unread> {
    let strings = if integer(rest, bits)? == 0 { 2 } else { 1 };
    for _ in 0..strings {
        let len = usize::try_from(integer(rest, 7)?).unwrap_or(usize::MAX);
        *rest = rest.get(len..).unwrap_or_default();
    }
    Ok(())
}

/// Takes an integer with a prefix of so many bits (§5.1) off the front of `rest`.
fn integer(rest: &mut &[u8], bits: u32) -> Result<u64, Unread> {
    let mut next = || {
        let (&byte, behind) = rest.split_first().ok_or(Unread::CutOff)?;
        *rest = behind;
        Ok(byte)
    };
    let full = (1 << bits) - 1;
    let mut value = u64::from(next()?) & full;
    if value < full {
        return Ok(value);
    }
    for shift in (0..).step_by(7).take(5) {
        let byte = next()?;
        value += u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Unread::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_by_their_lengths() {
        let field = [&[0x40, 1, b'x', 127, 0x49][..], &[b'y'; 200]].concat();
        let block = [&[0x82, 0x3f, 0xe1, 0x1f][..], &field, &[0x04, 1, b'/', 0xff, 0], &field].concat();
        assert_eq!([0, 1, 3, 10].map(|most| count_fields(&block, most)), [Some(0), Some(1), Some(3), Some(5)]);
        let cut = [0, 1, 4, 5, 8, 9, 50].map(|len| count_fields(&block[..len], 10));
        assert_eq!(cut, [0, 1, 1, 1, 1, 2, 2].map(Some));
    }

    #[test]
    fn an_integer_of_many_bytes_is_none() {
        assert_eq!([&[0xff; 100][..], &[0xff; 6], &[0xff; 5]].map(|it| count_fields(it, 9)), [None, None, Some(0)]);
        assert_eq!(count_fields(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 9), Some(1));
    }
}
