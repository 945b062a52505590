//! A decoder: messages are the same however the input is cut, and any input is survived.
//!
//! Input: role and options, the limit, the sizes of the pieces, a byte each, then what the peer sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::decoder::{Decoder, Event, Rules};
use mintws::deflate::Inflater;
use mintws::fault::Fault;
use mintws::frame::Opcode;
use mintws::state::Role;

/// Of a compressed message, so that no few bytes of input take seconds.
const LARGEST: u64 = 1 << 20;
const LIMITS: [u64; 8] = [0, 1, 125, 1000, 65_535, 65_536, LARGEST, u64::MAX];
#[derive(Debug, PartialEq)]
enum Said {
    Message(Opcode, u8, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(Fault),
}

fn rules(options: u8, limit: u64) -> Rules {
    let compressed = options & 2 != 0;
    let limit = if compressed { limit.min(LARGEST) } else { limit };
    Rules {
        role: if options & 1 == 0 { Role::Server } else { Role::Client },
        limit,
        parts: options & 4 != 0,
        utf8: options & 8 == 0,
        rsv: if options & 16 == 0 { 0 } else { 0x20 },
        inflater: compressed.then(|| Inflater::new(8 + (options >> 5), options & 16 == 0, limit)),
    }
}

fn decode<'a>(rules: Rules, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Said> {
    let (limit, utf8) = (rules.limit, rules.utf8);
    let (mut decoder, mut all, mut message) = (Decoder::new(rules), Vec::new(), Vec::new());
    let mut come = 0;
    for mut piece in pieces {
        come += piece.len() as u64;
        loop {
            let said = match decoder.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(Event::Ping(payload))) => Said::Ping(payload.unmasked(&mut Vec::new()).to_vec()),
                Ok(Some(Event::Pong(payload))) => Said::Pong(payload.unmasked(&mut Vec::new()).to_vec()),
                Ok(Some(Event::Close(code, reason))) => Said::Close(code, reason.to_owned()),
                Ok(Some(Event::Message { opcode, fin, rsv, payload })) => {
                    let mut scratch = Vec::new();
                    let part = payload.unmasked(&mut scratch);
                    let text = utf8 && opcode == Opcode::Text;
                    let valid = !text || str::from_utf8(part).is_ok();
                    assert!(valid || !payload.is_checked(), "text is said to be UTF-8, and is not");
                    message.extend_from_slice(part);
                    assert!(message.len() as u64 <= limit, "a message is longer than its limit");
                    match (fin, valid) {
                        (_, false) => Said::Failed(Fault::InvalidUtf8),
                        (true, true) => Said::Message(opcode, rsv, std::mem::take(&mut message)),
                        (false, true) => continue,
                    }
                }
                Err(fault) => Said::Failed(fault),
            };
            let ended = matches!(said, Said::Failed(_) | Said::Close(..));
            all.push(said);
            if ended {
                return all;
            }
        }
        assert!(piece.is_empty(), "bytes are left that no event has");
        decoder.idle();
        assert!(decoder.held_len() as u64 <= come, "more is held than has come");
    }
    all
}

fuzz_target!(|input: &[u8]| {
    let [options, limit, size, data @ ..] = input else { return };
    let rules = || rules(*options, LIMITS[usize::from(limit % 8)]);
    let whole = decode(rules(), std::iter::once(data));
    let cut = decode(rules(), data.chunks(usize::from(*size) + 1));
    assert_eq!(whole, cut);
    assert_eq!(whole, decode(rules(), data.chunks(1)));
});
