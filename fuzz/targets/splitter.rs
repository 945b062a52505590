//! HTTP/2 is cut into the same frames however it comes, none is lost, and DATA is what its header says.
//!
//! Input: options and the sizes of the pieces, a byte each, then what the peer sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::data::{Piece, Splitter, Window, flow_controlled_len};

const MAX_FRAME_SIZE: usize = 16_384;
const WINDOW: u32 = 65_535;

#[derive(Debug, PartialEq)]
enum Cut {
    Data { stream: u32, payload: Vec<u8>, flow_controlled_len: u32, end_stream: bool },
    Other(Vec<u8>),
}

fn cut<'a>(server: bool, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Cut> {
    let mut splitter = Splitter::new(server, MAX_FRAME_SIZE);
    let mut window = Window::new(WINDOW);
    let mut all: Vec<Cut> = Vec::new();
    for mut chunk in pieces {
        while let Some(piece) = splitter.next(&mut chunk, |stream| stream % 2 == 1) {
            match piece {
                Piece::Data { stream, payload, flow_controlled_len, end_stream } => {
                    assert!(stream % 2 == 1 && payload.len() <= MAX_FRAME_SIZE);
                    assert!(payload.len() <= flow_controlled_len as usize);
                    let (left, credit) = window.left_and_credit();
                    assert!(left + credit <= WINDOW);
                    match window.receive(flow_controlled_len) {
                        Ok(()) => window.consume(flow_controlled_len),
                        Err(_) => assert!(flow_controlled_len > left),
                    }
                    if let Some(increment) = window.update() {
                        assert_eq!(increment, credit + flow_controlled_len);
                    }
                    all.push(Cut::Data { stream, payload: payload.to_vec(), flow_controlled_len, end_stream });
                }
                Piece::Other(bytes) => {
                    assert!(!bytes.is_empty());
                    assert!(flow_controlled_len(bytes).is_none_or(|len| len as usize + 9 == bytes.len()));
                    all.push(Cut::Other(bytes.to_vec()));
                }
            }
        }
        assert!(chunk.is_empty(), "bytes are left that no frame has");
        // A frame that is too long is refused by its header: what follows is handed on as it comes. The preface is no frame.
        let preface = usize::from(server);
        if let Some(at) = all.iter().skip(preface).position(|it| matches!(it, Cut::Other(bytes) if is_too_long(bytes)))
        {
            all.truncate(preface + at);
            return all;
        }
    }
    all
}

fn is_too_long(frame: &[u8]) -> bool {
    let Some(&[a, b, c, ..]) = frame.first_chunk::<9>() else { return false };
    u32::from_be_bytes([0, a, b, c]) as usize > MAX_FRAME_SIZE
}

fuzz_target!(|input: &[u8]| {
    let [options, size, data @ ..] = input else { return };
    let server = options & 1 == 1;
    let whole = cut(server, std::iter::once(data));
    assert_eq!(whole, cut(server, data.chunks(usize::from(*size) + 1)));
    assert_eq!(whole, cut(server, data.chunks(1)));
});
