//! The hot paths of the core, one after the other under names of their own, for a counter of instructions.
//!
//! `hot NAME ROUNDS` runs one path so often; `hot` lists the names.

use std::hint::black_box;

use mintws::data::{Piece, Splitter, write_data};
use mintws::decoder::{Decoder, Event, Rules};
use mintws::deflate::{DeflateSettings, Deflater, Inflater};
use mintws::encoder::{Compression, Encoder};
use mintws::frame::Opcode;
use mintws::keys::Keys;
use mintws::state::Role;

type Path = fn(u32);

const PATHS: [(&str, Path); 10] = [
    ("decode 64 x 16 B masked text", |rounds| decode(rounds, Opcode::Text, 16, 64, 1 << 20)),
    ("decode 1 KiB masked text", |rounds| decode(rounds, Opcode::Text, 1024, 1, 1 << 20)),
    ("decode 64 KiB masked binary", |rounds| decode(rounds, Opcode::Binary, 65536, 1, 1 << 20)),
    ("decode 64 KiB masked binary cut at 1460 B", |rounds| decode(rounds, Opcode::Binary, 65536, 1, 1460)),
    ("encode 64 x 16 B masked text", |rounds| encode(rounds, 16, 64)),
    ("encode 1 KiB masked text", |rounds| encode(rounds, 1024, 1)),
    ("encode 64 KiB masked text", |rounds| encode(rounds, 65536, 1)),
    ("deflate 1 KiB", deflate),
    ("inflate 1 KiB", inflate),
    ("split 64 DATA frames of 16 B", split),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        for (name, _) in PATHS {
            println!("{name}");
        }
        return;
    };
    let rounds = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let (_, path) = PATHS.iter().find(|(known, _)| *known == name).expect("a name that `hot` lists");
    path(rounds);
}

fn text(len: usize) -> Vec<u8> {
    b"{\"id\":4711,\"symbol\":\"BTC-USD\",\"price\":64000.25},".iter().copied().cycle().take(len).collect()
}

fn client(compression: Option<Compression>) -> Encoder {
    Encoder::new(Some(Keys::new([7; 32])), compression)
}

fn server(inflater: Option<Inflater>) -> Decoder {
    Decoder::new(Rules { role: Role::Server, limit: 1 << 24, parts: false, utf8: true, rsv: 0, inflater })
}

fn deflater() -> Compression {
    let settings = DeflateSettings { window_bits: 12, level: 4, memory_level: 5, context_takeover: true };
    Compression { deflater: Deflater::new(settings), threshold: 0 }
}

fn frames(encoder: &mut Encoder, opcode: Opcode, payload: &[u8], count: usize, out: &mut Vec<u8>) {
    for _ in 0..count {
        encoder.message(opcode, payload, true, 0, None).expect("whole").append_to(out);
    }
}

fn take(decoder: &mut Decoder, mut chunk: &[u8], into: &mut Vec<u8>) {
    while let Some(event) = decoder.next(&mut chunk).expect("valid") {
        if let Event::Message { payload, .. } = event {
            black_box(payload.unmasked(into));
        }
    }
    decoder.idle();
}

fn decode(rounds: u32, opcode: Opcode, len: usize, count: usize, cut: usize) {
    let mut wire = Vec::new();
    frames(&mut client(None), opcode, &text(len), count, &mut wire);
    let (mut decoder, mut into) = (server(None), Vec::with_capacity(len));
    for _ in 0..rounds {
        for chunk in black_box(&wire).chunks(cut) {
            take(&mut decoder, chunk, &mut into);
        }
    }
}

fn encode(rounds: u32, len: usize, count: usize) {
    let (mut encoder, payload, mut out) = (client(None), text(len), Vec::with_capacity(count * (len + 14)));
    for _ in 0..rounds {
        out.clear();
        frames(&mut encoder, Opcode::Text, black_box(&payload), count, &mut out);
        black_box(&out);
    }
}

fn deflate(rounds: u32) {
    let (mut encoder, payload, mut out) = (client(Some(deflater())), text(1024), Vec::with_capacity(2048));
    for _ in 0..rounds {
        out.clear();
        frames(&mut encoder, Opcode::Text, black_box(&payload), 1, &mut out);
        black_box(&out);
    }
}

fn inflate(rounds: u32) {
    let mut wire = Vec::new();
    let mut settings = deflater();
    settings.deflater =
        Deflater::new(DeflateSettings { window_bits: 12, level: 4, memory_level: 5, context_takeover: false });
    frames(&mut client(Some(settings)), Opcode::Text, &text(1024), 1, &mut wire);
    let (mut decoder, mut into) = (server(Some(Inflater::new(15, true, u64::MAX))), Vec::new());
    for _ in 0..rounds {
        take(&mut decoder, black_box(&wire), &mut into);
    }
}

fn split(rounds: u32) {
    let mut wire = Vec::new();
    for _ in 0..64 {
        write_data(&mut wire, 1, &text(16), 16_384);
    }
    let mut splitter = Splitter::new(false, 16_384);
    for _ in 0..rounds {
        let mut chunk = black_box(wire.as_slice());
        while let Some(piece) = splitter.next(&mut chunk, |_| true) {
            if let Piece::Data { payload, .. } = piece {
                black_box(payload);
            }
        }
    }
}
