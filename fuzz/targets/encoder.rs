//! An encoder: messages are decoded to the same, in both roles, compressed or not, in fragments or whole, cut or not.
//!
//! Input: role and options, the settings of compression, a byte each, then fragments: a byte before each says its length, type, whether
//! it is the last and whether it is to be compressed.

#![no_main]

use std::num::NonZeroUsize;

use libfuzzer_sys::fuzz_target;
use mintws::decoder::{Decoder, Event, Rules};
use mintws::deflate::{DeflateSettings, Deflater, Inflater};
use mintws::encoder::{Compression, Encoder};
use mintws::frame::Opcode;
use mintws::keys::Keys;
use mintws::state::Role;

fuzz_target!(|input: &[u8]| {
    let [options, effort, data @ ..] = input else { return };
    let settings = DeflateSettings {
        window_bits: 8 + (options >> 5),
        level: effort % 10,
        memory_level: 1 + (effort >> 4) % 9,
        context_takeover: options & 1 == 0,
    };
    let compressed = options & 2 != 0;
    let client = options & 4 != 0;
    let mut encoder = Encoder::new(
        client.then(|| Keys::new([*effort; 32])),
        compressed.then(|| Compression { deflater: Deflater::new(settings), threshold: 16 }),
    )
    .cutting_at(NonZeroUsize::new(if options & 16 == 0 { 0 } else { usize::from(*effort) }));
    let mut decoder = Decoder::new(Rules {
        role: if client { Role::Server } else { Role::Client },
        limit: u64::MAX,
        parts: false,
        utf8: false,
        rsv: 0x10,
        inflater: compressed.then(|| Inflater::new(settings.window_bits, settings.context_takeover, u64::MAX)),
    });
    let (mut sent, mut begun, mut data) = (Vec::new(), None, data);
    while let [head, rest @ ..] = data {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(head & 0x0f)));
        let payload = payload.repeat(if options & 8 == 0 { 1 } else { 1 << (head & 0x07) });
        data = rest;
        let fin = head & 0x10 != 0;
        let opcode = *begun.get_or_insert(if head & 0x20 == 0 { Opcode::Text } else { Opcode::Binary });
        let compress = [None, Some(true), Some(false), None][usize::from(head >> 6)];
        let mut wire = Vec::new();
        encoder.append(&mut wire, opcode, &payload, fin, 0, compress).expect("no other message is begun");
        sent.extend_from_slice(&payload);
        let mut chunk = wire.as_slice();
        let event = decoder.next(&mut chunk).expect("it was encoded here");
        match (event, fin) {
            (None, false) => {}
            (Some(Event::Message { opcode: received, fin: true, rsv: 0, payload }), true) => {
                assert_eq!(received, opcode);
                assert!(payload.unmasked(&mut Vec::new()) == sent, "another message came out");
                sent.clear();
                begun = None;
            }
            (event, fin) => panic!("{event:?} after a fragment with FIN {fin}"),
        }
        assert!(chunk.is_empty());
        assert_eq!(encoder.sent.frames, decoder.received.frames);
    }
});
