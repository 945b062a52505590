//! Whatever is inflated stays within its limit, and gives the same however it is cut.
//!
//! Input: window and context takeover, the limit, the sizes of the pieces, a byte each, then messages: their lengths in two bytes before them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::deflate::Inflater;
use mintws::fault::Fault;

/// Bytes that may be given beyond the limit before that is known.
const BEYOND: usize = 1024;

fn inflate(options: u8, limit: usize, piece: usize, most: usize, mut data: &[u8]) -> (Vec<Vec<u8>>, Option<Fault>) {
    let mut inflater = Inflater::new(8 + options % 8, options & 8 == 0, limit as u64);
    let mut messages = Vec::new();
    while let Some((&[high, low], rest)) = data.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (message, rest) = rest.split_at(len);
        data = rest;
        let mut out = Vec::new();
        for mut input in message.chunks(piece) {
            while !input.is_empty() {
                match inflater.inflate(input, most, &mut out) {
                    Ok(taken) => input = &input[taken..],
                    Err(fault) => return (messages, Some(fault)),
                }
                assert!(out.len() <= limit + BEYOND);
            }
        }
        if let Err(fault) = inflater.finish() {
            return (messages, Some(fault));
        }
        messages.push(out);
        if options & 16 != 0 {
            inflater.release();
        }
    }
    (messages, None)
}

fuzz_target!(|input: &[u8]| {
    let [options, limit, size, data @ ..] = input else { return };
    let limit = 1_usize << (limit % 20);
    let whole = inflate(*options, limit, usize::MAX, usize::MAX, data);
    assert_eq!(whole, inflate(*options, limit, usize::from(*size) + 1, usize::MAX, data));
    assert_eq!(whole, inflate(*options, limit, usize::MAX, 1 + usize::from(*size), data));
});
