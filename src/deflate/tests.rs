use std::sync::Arc;

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::deflater::{PRIMED, config};
use super::history::History;
use super::inflater::{MIN_ROOM, SLACK};
use super::pool::Kind;
use super::*;
use crate::fault::Fault;

const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn settings(window_bits: u8, level: u8, context_takeover: bool) -> DeflateSettings {
    DeflateSettings { window_bits, level, memory_level: 8, context_takeover }
}

fn compressed(deflater: &mut Deflater, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.compress(message, true, &mut out);
    out
}

/// Makes an inflater without a limit.
fn unlimited(window_bits: u8, context_takeover: bool) -> Inflater {
    Inflater::new(window_bits, context_takeover, u64::MAX)
}

fn inflated(inflater: &mut Inflater, payload: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    inflater.limit = limit as u64;
    inflater.inflate(payload, usize::MAX, &mut out)?;
    inflater.finish()?;
    Ok(out)
}

/// What a payload says, with the furthest distance in it, read as RFC 1951 has it and by no other library.
fn reference(payload: &[u8], window: &mut Vec<u8>) -> (Vec<u8>, usize) {
    let bytes = [payload, &TAIL].concat();
    let mut bits = Bits { bytes: &bytes, at: 0 };
    let (start, mut furthest) = (window.len(), 0);
    while bits.at < bytes.len() * 8 {
        let last = bits.take(1) == 1;
        match bits.take(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let (len, complement) = (bits.take(16), bits.take(16));
                assert_eq!(len ^ complement, 0xffff);
                window.extend((0..len).map(|_| u8::try_from(bits.take(8)).unwrap()));
            }
            1 => {
                let literals = [vec![8; 144], vec![9; 112], vec![7; 24], vec![8; 8]].concat();
                let (literals, distances) = (Codes::new(&literals), Codes::new(&[5; 30]));
                furthest = furthest.max(block(&mut bits, &literals, &distances, window));
            }
            2 => {
                let (literals, distances) = dynamic(&mut bits);
                furthest = furthest.max(block(&mut bits, &literals, &distances, window));
            }
            _ => panic!("a reserved block type"),
        }
        if last {
            bits.at = bits.at.next_multiple_of(8);
        }
    }
    (window[start..].to_vec(), furthest)
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, n| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << n
        })
    }

    fn symbol(&mut self, codes: &Codes) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for &count in &codes.counts[1..] {
            code |= self.take(1);
            if code < first + count {
                return codes.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }
}

/// How many codes there are of each length, and their symbols in the order of the codes.
struct Codes {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Codes {
    fn new(lens: &[usize]) -> Self {
        let mut counts = [0; 16];
        for &len in lens {
            counts[len] += 1;
        }
        let mut symbols: Vec<usize> = (0..lens.len()).filter(|&symbol| lens[symbol] != 0).collect();
        symbols.sort_by_key(|&symbol| lens[symbol]);
        Self { counts, symbols }
    }
}

fn dynamic(bits: &mut Bits) -> (Codes, Codes) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lens = [0; 19];
    for &index in &ORDER[..count] {
        lens[index] = bits.take(3);
    }
    let codes = Codes::new(&lens);
    let mut lens = Vec::new();
    while lens.len() < literals + distances {
        let (len, count) = match bits.symbol(&codes) {
            16 => (*lens.last().unwrap(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            len => (len, 1),
        };
        lens.extend(std::iter::repeat_n(len, count));
    }
    (Codes::new(&lens[..literals]), Codes::new(&lens[literals..]))
}

fn block(bits: &mut Bits, literals: &Codes, distances: &Codes, window: &mut Vec<u8>) -> usize {
    let mut furthest = 0;
    loop {
        match bits.symbol(literals) {
            256 => return furthest,
            literal @ 0..256 => window.push(u8::try_from(literal).unwrap()),
            symbol => {
                let index = symbol - 257;
                let len = match index {
                    28 => 258,
                    0..8 => index + 3,
                    _ => ((4 + index % 4) << (index / 4 - 1)) + 3 + bits.take(index / 4 - 1),
                };
                let index = bits.symbol(distances);
                let distance = match index {
                    0..4 => index + 1,
                    _ => ((2 + index % 2) << (index / 2 - 1)) + 1 + bits.take(index / 2 - 1),
                };
                furthest = furthest.max(distance);
                for _ in 0..len {
                    window.push(window[window.len() - distance]);
                }
            }
        }
    }
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    /// Bytes that do not compress.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    /// Bytes with repetitions at all distances, and some that do not compress.
    fn message(&mut self, len: usize) -> Vec<u8> {
        let mut message: Vec<u8> = Vec::new();
        while message.len() < len {
            let count = 1 + self.below(80);
            match self.below(3) {
                0 => message.extend((0..count).map(|_| u8::try_from(self.below(256)).unwrap())),
                1 => message.extend(std::iter::repeat_n(b'a', count)),
                _ => {
                    let from = self.below(message.len().max(1));
                    let to = message.len().min(from + count);
                    message.extend_from_within(from..to);
                }
            }
        }
        message.truncate(len);
        message
    }
}

#[test]
fn hello_of_section_7_2_3_1_is_one_block_of_fixed_codes() {
    let mut deflater = Deflater::new(settings(15, 6, true));
    assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
    let mut inflater = unlimited(15, true);
    let mut out = Vec::new();
    inflater.inflate(&HELLO[..3], usize::MAX, &mut out).unwrap();
    inflater.inflate(&HELLO[3..], usize::MAX, &mut out).unwrap();
    assert_eq!((inflater.finish(), out.as_slice()), (Ok(()), &b"Hello"[..]));
}

#[test]
fn hello_again_of_section_7_2_3_2_refers_to_the_first_if_the_context_is_taken_over() {
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    for takeover in [true, false] {
        let mut deflater = Deflater::new(settings(15, 6, takeover));
        let mut inflater = unlimited(15, takeover);
        assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
        let second = if takeover { &again[..] } else { &HELLO };
        assert_eq!(compressed(&mut deflater, b"Hello"), second);
        for payload in [&HELLO, second, second] {
            assert_eq!(inflated(&mut inflater, payload, 5).unwrap(), b"Hello");
        }
    }
    let mut inflater = unlimited(15, false);
    assert_eq!(inflated(&mut inflater, &HELLO, 5).unwrap(), b"Hello");
    assert_eq!(inflated(&mut inflater, &again, 5), Err(Fault::CorruptDeflate));
}

#[test]
fn a_stored_block_of_section_7_2_3_3_inflates() {
    let payload = b"\x00\x05\x00\xfa\xffHello\x00";
    assert_eq!(inflated(&mut unlimited(15, true), payload, 5).unwrap(), b"Hello");
    assert_eq!(compressed(&mut Deflater::new(settings(15, 0, true)), b"Hello"), payload);
}

#[test]
fn a_final_block_of_section_7_2_3_4_ends_neither_message_nor_window() {
    let payload = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let again_final = [0xf3, 0x00, 0x11, 0x00, 0x00];
    for (first, limit) in [(&payload[..], 5), (&payload[..7], 5), (&payload[..7], 6)] {
        let mut inflater = unlimited(15, true);
        assert_eq!(inflated(&mut inflater, first, limit).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &again, limit).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &again_final, limit).unwrap(), b"Hello");
        assert_eq!(inflated(&mut inflater, &again, limit).unwrap(), b"Hello");
    }
    let several = [&payload[..7], &again_final[..4], &again_final[..4], &HELLO].concat();
    for cut in 0..several.len() {
        let (mut inflater, mut out) = (unlimited(8, false), Vec::new());
        inflater.inflate(&several[..cut], usize::MAX, &mut out).unwrap();
        inflater.inflate(&several[cut..], usize::MAX, &mut out).unwrap();
        assert_eq!((inflater.finish(), out), (Ok(()), b"HelloHelloHelloHello".to_vec()));
        assert_eq!(inflated(&mut inflater, &again, 5), Err(Fault::CorruptDeflate));
    }
    let mut inflater = unlimited(15, true);
    assert_eq!(inflated(&mut inflater, b"\x00\x05\x00\xfa\xffHello\x01", 5).unwrap(), b"Hello");
    assert_eq!(inflated(&mut inflater, &again, 5).unwrap(), b"Hello");
}

#[test]
fn a_context_is_told_of_the_window_once_something_is_given() {
    let mut inflater = unlimited(15, true);
    let mut out = Vec::new();
    inflated(&mut inflater, &HELLO, 5).unwrap();
    for piece in [&[0x03, 0x00][..], b"\x03\x00\x01\x00\x00\xff\xff\x03\x00", b"\x03"] {
        inflater.inflate(piece, usize::MAX, &mut out).unwrap();
        assert!(out.is_empty() && inflater.primed == (piece == b"\x03"));
    }
    // What "Hello" again is, after a final block whose last byte is still to come.
    inflater.inflate(&[0x00, 0xf2, 0x00, 0x11, 0x00, 0x00], usize::MAX, &mut out).unwrap();
    assert_eq!((inflater.finish(), out.as_slice(), inflater.primed), (Ok(()), &b"Hello"[..], true));
}

#[test]
fn final_blocks_are_as_many_as_the_limit_pays_for() {
    for (limit, allowed) in [(0, 256), (1 << 20, 4352)] {
        // One that says nothing, and one that says "a".
        let pieces = [&[0x03, 0x00][..], b"\x4b\x04\x00"];
        for piece in &pieces[..if limit == 0 { 1 } else { 2 }] {
            let (mut inflater, mut out) = (Inflater::new(15, true, limit), Vec::new());
            for _ in 0..2 {
                inflater.inflate(&piece.repeat(allowed), usize::MAX, &mut out).unwrap();
                inflater.finish().unwrap();
            }
            inflater.inflate(&piece.repeat(allowed), usize::MAX, &mut out).unwrap();
            assert_eq!(inflater.inflate(piece, usize::MAX, &mut out), Err(Fault::TooManyBlocks));
        }
    }
}

#[test]
fn two_blocks_of_section_7_2_3_5_are_one_message() {
    let payload = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflated(&mut unlimited(15, true), &payload, 5).unwrap(), b"Hello");
    let (mut deflater, mut out) = (Deflater::new(settings(15, 6, true)), Vec::new());
    deflater.compress(b"He", false, &mut out);
    deflater.compress(b"llo", true, &mut out);
    assert_eq!(out, payload);
}

#[test]
fn an_empty_message_of_section_7_2_3_6_is_a_zero() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(settings(15, 6, takeover));
        let mut inflater = unlimited(15, takeover);
        for message in [&b""[..], b"Hello", b"", b"", b"Hello"] {
            let payload = compressed(&mut deflater, message);
            assert_eq!(payload == [0], message.is_empty());
            assert_eq!(inflated(&mut inflater, &payload, 5).unwrap(), message);
            assert_eq!(inflated(&mut inflater, b"", 5).unwrap(), b"");
        }
        let mut out = Vec::new();
        deflater.compress(b"", false, &mut out);
        assert_eq!(out, b"");
        deflater.compress(b"a", false, &mut out);
        deflater.compress(b"", true, &mut out);
        assert_eq!(inflated(&mut inflater, &out, 1).unwrap(), b"a");
    }
}

#[test]
fn every_window_level_and_memory_inflates_to_the_same_and_reaches_no_further_than_agreed() {
    let mut random = Random(1);
    for window_bits in 8..=15 {
        for level in 0..=9 {
            for takeover in [true, false] {
                let memory_level = 1 + u8::try_from(random.below(9)).unwrap();
                let settings = DeflateSettings { window_bits, level, memory_level, context_takeover: takeover };
                let (mut deflater, mut inflater) = (Deflater::new(settings), unlimited(window_bits, takeover));
                let mut window = Vec::new();
                for len in [1, 2, 300, 0, (1 << window_bits) + 900, 700] {
                    let message = random.message(len);
                    let mut payload = Vec::new();
                    let cut = random.below(len + 1);
                    deflater.compress(&message[..cut], false, &mut payload);
                    deflater.compress(&message[cut..], true, &mut payload);
                    if !takeover {
                        window.clear();
                    }
                    let (read, furthest) = reference(&payload, &mut window);
                    assert!(read == message && furthest <= 1 << window_bits, "{settings:?} {len} {furthest}");
                    assert!(window_bits > 8 || furthest == 0);
                    assert!(inflated(&mut inflater, &payload, len).unwrap() == message, "{settings:?} {len}");
                    assert!(payload.len() <= len + len / 8 + 64, "{settings:?} {len} {}", payload.len());
                }
            }
        }
    }
}

#[test]
fn cuts_final_blocks_and_releases_change_nothing() {
    let mut random = Random(2);
    for round in 0..300 {
        let window_bits = 9 + u8::try_from(random.below(7)).unwrap();
        let mut deflater = Deflater::new(settings(window_bits, 1 + u8::try_from(random.below(9)).unwrap(), true));
        let mut inflater = unlimited(window_bits, true);
        for _ in 0..6 {
            let bits = random.below(17);
            let len = random.below(1 << bits);
            let message = random.message(len);
            let mut payload = compressed(&mut deflater, &message);
            if random.below(2) == 0 {
                // A final block that says nothing, at the byte border that an empty stored block leaves.
                payload.extend_from_slice(b"\0\0\xff\xff\x03\0\0");
            }
            let (mut rest, mut out, mut taken) = (payload.as_slice(), Vec::new(), Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + random.below(rest.len()));
                inflater.inflate(piece, usize::MAX, &mut out).unwrap();
                inflater.release();
                if random.below(2) == 0 {
                    taken.append(&mut out);
                }
                rest = after;
            }
            inflater.finish().unwrap();
            taken.append(&mut out);
            assert!(taken == message, "round {round}");
            if random.below(2) == 0 {
                inflater.release();
                assert!(inflater.context.is_none());
                assert!(inflater.history.bytes.capacity() <= 1 << window_bits);
            }
            if random.below(4) == 0 {
                deflater.release();
            }
        }
    }
}

#[test]
fn a_message_of_final_blocks_refers_to_all_before_and_is_referred_to() {
    let mut random = Random(6);
    for window_bits in 9..=15 {
        let mut inflater = unlimited(window_bits, true);
        let mut all = Vec::new();
        for len in [100, 3000, 1, 50_000, 200, 700, 40_000, 90] {
            let (mut payload, mut message) = (Vec::new(), Vec::new());
            for _ in 0..=random.below(2) {
                let mut stream = Deflate::new_with_config(config(settings(window_bits, 6, true)));
                stream.set_dictionary(&all[all.len().saturating_sub(1 << window_bits)..]).unwrap();
                // Half of it is from the window, so that there are distances to reach.
                let from = all.len().saturating_sub(random.below(1 << window_bits));
                let part = [&all[from..all.len().min(from + len / 2)], &random.message(len)].concat();
                let mut out = vec![0; 2 * part.len() + 64];
                assert_eq!(stream.compress(&part, &mut out, DeflateFlush::Finish), Ok(Status::StreamEnd));
                payload.extend_from_slice(&out[..difference(stream.total_out(), 0)]);
                message.extend_from_slice(&part);
                all.extend_from_slice(&part);
            }
            if random.below(2) == 0 {
                payload.push(0);
            }
            let cut = random.below(payload.len());
            let mut out = Vec::new();
            inflater.inflate(&payload[..cut], usize::MAX, &mut out).unwrap();
            inflater.inflate(&payload[cut..], usize::MAX, &mut out).unwrap();
            inflater.finish().unwrap();
            assert!(out == message, "{window_bits} {len}");
            if random.below(3) == 0 {
                inflater.release();
            }
        }
    }
}

#[test]
fn a_message_of_another_deflater_may_come_between_if_this_one_forgets() {
    let (mut deflater, mut prepared) = (Deflater::new(settings(9, 6, true)), Deflater::new(settings(9, 6, false)));
    let mut inflater = unlimited(9, true);
    for _ in 0..3 {
        for len in [40, 500] {
            let other = vec![b'x'; len];
            let payload = compressed(&mut prepared, &other);
            assert_eq!(inflated(&mut inflater, &payload, len).unwrap(), other);
            deflater.forget();
            let payload = compressed(&mut deflater, b"Hello");
            assert_eq!(payload, HELLO);
            assert_eq!(inflated(&mut inflater, &payload, 5).unwrap(), b"Hello");
        }
    }
}

#[test]
fn a_limit_is_exact_and_bounds_memory() {
    for len in [1, 1023, 1024, 1025, 70_000, 1 << 20] {
        let payload = compressed(&mut Deflater::new(settings(15, 6, true)), &vec![0; len]);
        for cut in [0, 1, payload.len() / 2, payload.len() - 1] {
            for limit in [0, len / 2, len - 1, len, len + 1, usize::MAX] {
                let (mut inflater, mut out) = (Inflater::new(15, true, limit as u64), Vec::new());
                let result = inflater
                    .inflate(&payload[..cut], usize::MAX, &mut out)
                    .and_then(|_| inflater.inflate(&payload[cut..], usize::MAX, &mut out))
                    .and_then(|_| inflater.finish());
                if limit < len {
                    assert_eq!(result, Err(Fault::MessageTooBig { limit: limit as u64 }));
                } else {
                    assert_eq!((result, out.len()), (Ok(()), len));
                }
                assert!(out.capacity() <= limit.saturating_add(SLACK) && out.capacity() <= 2 * len + MAX_ROOM);
            }
        }
    }
}

#[test]
fn a_message_is_inflated_as_far_as_is_wanted() {
    let mut random = Random(10);
    for round in 0..40 {
        // A final block, which says "a", in front of every second message.
        let (block, said) = [(&b"\x4b\x04\x00"[..], &b"a"[..]), (b"", b"")][round % 2];
        let len = 1 << random.below(20);
        let message = if round % 3 == 0 { vec![0; len] } else { random.message(len) };
        let payload = [block, &compressed(&mut Deflater::new(settings(15, 6, true)), &message)].concat();
        for most in [1, 1000, MAX_ROOM] {
            let (mut inflater, mut rest, mut all) = (unlimited(15, true), payload.as_slice(), Vec::new());
            while !rest.is_empty() {
                let mut out = Vec::new();
                let taken = inflater.inflate(rest, most, &mut out).unwrap();
                assert!(taken == rest.len() || out.len() >= most);
                assert!(out.len() <= most + MIN_ROOM + 9 * 1024, "{} {most}", out.len());
                rest = &rest[taken..];
                all.extend_from_slice(&out);
            }
            inflater.finish().unwrap();
            assert!(all == [said, &message].concat());
        }
    }
}

#[test]
fn a_message_that_stops_within_a_block_is_corrupt() {
    let message = Random(3).message(3000);
    for level in [1, 6] {
        let payload = compressed(&mut Deflater::new(settings(15, level, true)), &message);
        for cut in 1..payload.len() - 1 {
            let result = inflated(&mut unlimited(15, true), &payload[..cut], 3000);
            assert!(result == Err(Fault::CorruptDeflate), "level {level} cut {cut}");
        }
    }
    for payload in [&b"\x00\x0a\x00\xf5\xffHello"[..], b"\xf2\x48\xcd", b"\x07", b"\xff", b"\x05\xc0"] {
        assert_eq!(inflated(&mut unlimited(15, true), payload, 99), Err(Fault::CorruptDeflate));
    }
}

#[test]
fn any_bytes_inflate_or_fail_and_never_give_more_than_the_limit() {
    let mut random = Random(4);
    let good = compressed(&mut Deflater::new(settings(15, 6, true)), &random.message(2000));
    for round in 0..4000 {
        let mut bytes: Vec<u8> = (0..random.below(60)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        if round % 2 == 0 {
            bytes.clone_from(&good);
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        let (mut inflater, mut out) = (Inflater::new(15, round % 3 == 0, 3000), Vec::new());
        for _ in 0..2 {
            let cut = random.below(bytes.len() + 1);
            let result = inflater
                .inflate(&bytes[..cut], usize::MAX, &mut out)
                .and_then(|_| inflater.inflate(&bytes[cut..], usize::MAX, &mut out))
                .and_then(|_| inflater.finish());
            assert!(out.len() <= 3000 + SLACK);
            if result.is_err() {
                break;
            }
            out.clear();
            inflater.release();
        }
    }
}

/// A connection whose contexts are shared, and its peer, who shares none.
struct Sharing {
    deflater: Deflater,
    inflater: Inflater,
    prepared: Deflater,
    peer: Inflater,
    window: Vec<u8>,
    /// The message that is under way: what it says, its payload, and what was inflated of it by both.
    message: Vec<u8>,
    payload: Vec<u8>,
    out: Vec<u8>,
    peers: Vec<u8>,
}

impl Sharing {
    fn new(settings: DeflateSettings, pool: &Arc<Pool>) -> Self {
        let (bits, takeover) = (settings.window_bits, settings.context_takeover);
        Self {
            deflater: Deflater::new(settings).sharing(Some(Arc::clone(pool))),
            inflater: unlimited(bits, takeover).sharing(Some(Arc::clone(pool))),
            prepared: Deflater::new(DeflateSettings { context_takeover: false, ..settings }),
            peer: unlimited(bits, takeover),
            window: Vec::new(),
            message: Vec::new(),
            payload: Vec::new(),
            out: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Goes on with the message, which ends with `fin`.
    fn send(&mut self, fragment: &[u8], fin: bool, random: &mut Random) {
        let mut payload = Vec::new();
        self.deflater.compress(fragment, fin, &mut payload);
        self.message.extend_from_slice(fragment);
        self.take(&payload, fin, random);
    }

    /// Sends a message that another deflater compressed, as a prepared one.
    fn send_prepared(&mut self, message: &[u8], random: &mut Random) {
        let payload = compressed(&mut self.prepared, message);
        self.deflater.forget();
        self.message.extend_from_slice(message);
        self.take(&payload, true, random);
    }

    fn take(&mut self, payload: &[u8], fin: bool, random: &mut Random) {
        let cut = random.below(payload.len() + 1);
        for piece in [&payload[..cut], &payload[cut..]] {
            self.inflater.inflate(piece, usize::MAX, &mut self.out).unwrap();
            self.peer.inflate(piece, usize::MAX, &mut self.peers).unwrap();
        }
        self.payload.extend_from_slice(payload);
        if !fin {
            return;
        }
        self.inflater.finish().unwrap();
        self.peer.finish().unwrap();
        assert!(self.out == self.message && self.peers == self.message);
        let settings = self.deflater.settings;
        if !settings.context_takeover {
            self.window.clear();
        }
        let (read, furthest) = reference(&self.payload, &mut self.window);
        assert!(read == self.message && furthest <= 1 << settings.window_bits, "{settings:?} {furthest}");
        self.window.drain(..self.window.len().saturating_sub(1 << 15));
        for buffer in [&mut self.message, &mut self.payload, &mut self.out, &mut self.peers] {
            buffer.clear();
        }
        assert!(self.deflater.context.is_none() && self.inflater.context.is_none());
        assert!(self.deflater.history.bytes.capacity() <= PRIMED);
    }
}

#[test]
fn connections_that_share_few_contexts_stay_apart() {
    let mut random = Random(7);
    // All say similar things, so that what a context still has of another connection would be found by it.
    let all = random.message(40_000);
    for round in 0..60 {
        let pool = Arc::new(Pool::new(round % 3));
        let kinds: Vec<DeflateSettings> = (0..=random.below(3))
            .map(|_| DeflateSettings {
                window_bits: 8 + u8::try_from(random.below(8)).unwrap(),
                level: u8::try_from(random.below(10)).unwrap(),
                memory_level: 1 + u8::try_from(random.below(9)).unwrap(),
                context_takeover: true,
            })
            .collect();
        let mut connections: Vec<Sharing> = (0..6)
            .map(|n| {
                let context_takeover = random.below(5) > 0;
                Sharing::new(DeflateSettings { context_takeover, ..kinds[n % kinds.len()] }, &pool)
            })
            .collect();
        for _ in 0..150 {
            let which = random.below(connections.len());
            let connection = &mut connections[which];
            let (bits, from) = (random.below(12), random.below(all.len()));
            let fragment = &all[from..all.len().min(from + random.below(1 << bits))];
            match random.below(20) {
                0 if connection.message.is_empty() && connection.payload.is_empty() => {
                    connection.send_prepared(fragment, &mut random);
                }
                1 => connection.deflater.release(),
                2 => connection.inflater.release(),
                // It goes, perhaps within a message, and another comes.
                3 => *connection = Sharing::new(connection.deflater.settings, &pool),
                _ => connection.send(fragment, random.below(3) > 0, &mut random),
            }
            assert!(pool.deflaters.len() <= round % 3 && pool.inflaters.len() <= round % 3);
        }
    }
}

#[test]
fn connections_that_are_as_few_as_contexts_send_the_same_as_alone() {
    let mut random = Random(8);
    let pool = Arc::new(Pool::new(2));
    let settings = settings(12, 4, true);
    let mut sharing = [0; 2].map(|_| Deflater::new(settings).sharing(Some(Arc::clone(&pool))));
    let mut alone = [0; 2].map(|_| Deflater::new(settings));
    for _ in 0..50 {
        let (which, message) = (random.below(2), random.message(900));
        assert_eq!(compressed(&mut sharing[which], &message), compressed(&mut alone[which], &message));
    }
}

#[test]
fn connections_without_takeover_share_one_context_and_take_none_of_others() {
    let pool = Arc::new(Pool::new(2));
    let sharing = |takeover| Deflater::new(settings(12, 4, takeover)).sharing(Some(Arc::clone(&pool)));
    let mut keeping = sharing(true);
    compressed(&mut keeping, b"Hello");
    for _ in 0..20 {
        assert_eq!(compressed(&mut sharing(false), b"Hello"), HELLO);
    }
    assert_eq!(pool.deflaters.len(), 2);
    let taken = pool.deflaters.take(&Kind::of(keeping.settings), keeping.ticket.take());
    assert!(taken.is_some_and(|(_, own)| own));
}

#[test]
fn a_peer_cannot_reach_what_another_has_sent() {
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    for takeover in [true, false] {
        let pool = Arc::new(Pool::new(1));
        let inflater = || unlimited(15, takeover).sharing(Some(Arc::clone(&pool)));
        let (mut one, mut other) = (inflater(), inflater());
        assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
        assert_eq!(inflated(&mut other, &again, 5), Err(Fault::CorruptDeflate));
        let mut other = inflater();
        // It has a history of its own, but a shorter one.
        assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
        assert_eq!(inflated(&mut other, b"\x4a\x04\x00", 5).unwrap(), b"a");
        assert_eq!(inflated(&mut other, &again, 5), Err(Fault::CorruptDeflate));
        let expected = if takeover { Ok(b"Hello".to_vec()) } else { Err(Fault::CorruptDeflate) };
        assert_eq!(inflated(&mut one, &again, 5), expected);
        let mut one = inflater();
        assert_eq!(inflated(&mut one, &HELLO, 5).unwrap(), b"Hello");
        assert_eq!(inflated(&mut one, &again, 5), expected);
    }
}

#[test]
fn what_a_window_has_lost_is_lost_whichever_context_is_taken() {
    let mut random = Random(9);
    let (first, filler) = (random.bytes(300), random.bytes(2000));
    for window_bits in 9..15 {
        for pool in [None, Some(Arc::new(Pool::new(2)))] {
            let mut inflater = unlimited(window_bits, true).sharing(pool);
            // The peer uses 32 KiB, against what was agreed on.
            let mut peer = Deflater::new(settings(15, 6, true));
            let message = [&first[..], &filler].concat();
            assert_eq!(inflated(&mut inflater, &compressed(&mut peer, &message), 9999).unwrap(), message);
            let again = inflated(&mut inflater, &compressed(&mut peer, &first), 9999);
            let expected = if window_bits < 12 { Err(Fault::CorruptDeflate) } else { Ok(first.clone()) };
            assert!(again == expected, "{window_bits} bits");
        }
    }
}

#[test]
fn a_context_that_met_a_fault_is_used_by_nobody_else() {
    let pool = Arc::new(Pool::new(2));
    let inflater = || unlimited(15, true).sharing(Some(Arc::clone(&pool)));
    let mut good = inflater();
    assert_eq!(inflated(&mut good, &HELLO, 5).unwrap(), b"Hello");
    for (payload, limit) in [(&b"\x07"[..], 9), (b"\xf2\x48\xcd", 9), (&HELLO, 4)] {
        inflated(&mut inflater(), payload, limit).unwrap_err();
        assert_eq!(pool.inflaters.len(), 1);
    }
    assert_eq!(inflated(&mut good, &[0xf2, 0x00, 0x11, 0x00, 0x00], 5).unwrap(), b"Hello");
}

#[test]
fn a_connection_that_ends_leaves_its_contexts_to_the_others() {
    let pool = Arc::new(Pool::new(2));
    let ends = || {
        let deflater = Deflater::new(settings(15, 6, true)).sharing(Some(Arc::clone(&pool)));
        (deflater, unlimited(15, true).sharing(Some(Arc::clone(&pool))))
    };
    for within in [true, false, true] {
        let (mut deflater, mut inflater) = ends();
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        deflater.compress(b"secret", !within, &mut payload);
        inflater.inflate(&payload, usize::MAX, &mut out).unwrap();
        if !within {
            inflater.finish().unwrap();
        }
        drop((deflater, inflater));
        assert_eq!((pool.deflaters.len(), pool.inflaters.len()), (1, 1));
        // They know nothing of it.
        let (mut deflater, mut inflater) = ends();
        assert_eq!(compressed(&mut deflater, b"Hello"), HELLO);
        assert_eq!(inflated(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00], 99), Err(Fault::CorruptDeflate));
        assert_eq!(pool.inflaters.len(), 0);
        inflated(&mut ends().1, &HELLO, 5).unwrap();
    }
}

#[test]
fn release_frees_the_context_that_waits_in_the_pool() {
    let pool = Arc::new(Pool::new(2));
    let mut deflater = Deflater::new(settings(15, 6, true)).sharing(Some(Arc::clone(&pool)));
    let mut inflater = unlimited(15, true).sharing(Some(Arc::clone(&pool)));
    assert_eq!(inflated(&mut inflater, &compressed(&mut deflater, b"Hello"), 5).unwrap(), b"Hello");
    deflater.release();
    inflater.release();
    assert_eq!((pool.deflaters.len(), pool.inflaters.len()), (0, 0));
    // The history is kept.
    let again = compressed(&mut deflater, b"Hello");
    assert_eq!(again, [0xf2, 0x00, 0x11, 0x00, 0x00]);
    assert_eq!(inflated(&mut inflater, &again, 5).unwrap(), b"Hello");
}

#[test]
fn a_history_is_the_last_bytes_of_all_pushes() {
    let mut random = Random(5);
    for size in [1, 2, 256, 512] {
        let (mut history, mut all) = (History::new(size), Vec::new());
        for _ in 0..200 {
            let len = random.below(size + size / 2);
            let piece = random.message(len);
            history.push(&piece);
            all.extend_from_slice(&piece);
            let (newer, older) = history.bytes.split_at(history.oldest);
            assert_eq!([older, newer].concat(), all[all.len().saturating_sub(size)..]);
            assert!(history.bytes.capacity() <= size);
        }
    }
}
