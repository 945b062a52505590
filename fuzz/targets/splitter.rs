//! HTTP/2 is cut into the same frames however it comes, none is lost, and DATA is what its header says; windows hold both ways.
//!
//! Input: options and the sizes of the pieces, a byte each, then what the peer sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mintws::data::{Growth, Piece, Splitter, Window, flow_controlled_len};
use mintws::data_sender::DataSender;
use mintws::turns::Work;

const MAX_FRAME_SIZE: usize = 16_384;
const WINDOW: u32 = 65_535;
const WINDOW_MAX: u32 = 1 << 20;
const GROWTH: u32 = 3 << 20;

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

/// Windows that grow give no credit that was not used up or taken of what all may grow, and none beyond their bounds.
fn grow(steps: &[u8]) {
    let mut growth = Growth::new(GROWTH);
    let mut windows = [Window::new(WINDOW); 4];
    for step in steps.chunks_exact(2) {
        let window = &mut windows[usize::from(step[0] % 4)];
        let (left, credit) = window.left_and_credit();
        let len = u32::from(step[1]) * 512;
        if window.receive(len).is_err() {
            assert!(len > left);
            continue;
        }
        window.consume(len);
        if let Some(increment) = window.update_wider(WINDOW_MAX, &mut growth) {
            assert!(increment >= credit + len);
        }
        let (left, credit) = window.left_and_credit();
        assert!((WINDOW..=WINDOW_MAX).contains(&(left + credit)));
        let all: u32 = windows.iter().map(Window::left_and_credit).map(|(left, credit)| left + credit).sum();
        assert!(all <= 4 * WINDOW + GROWTH);
    }
    windows.iter().for_each(|window| window.shrink(&mut growth));
    assert_eq!(growth, Growth::new(GROWTH));
}

/// DATA that is sent takes as much off both windows, passes them never, and goes out whole and in order, whatever waits.
fn send(steps: &[u8]) {
    const STREAMS: [u32; 3] = [1, 3, 5];
    let mut sender = DataSender::new(WINDOW.into(), 1000);
    let mut given = [0, 0, 0].map(|_: u8| Vec::new());
    let mut sent = given.clone();
    let mut output = Vec::new();
    for stream in STREAMS {
        sender.set_window(stream, 1000);
    }
    for (number, step) in steps.chunks_exact(2).enumerate() {
        let at = usize::from(step[0] / 8 % 3);
        let (stream, len) = (STREAMS[at], usize::from(step[1]) * 32);
        let before = [0, stream].map(|it| sender.window(it));
        match step[0] % 8 {
            0 => sender.set_window(stream, before[1] + i64::from(step[1]) * 100),
            1 => sender.set_window(stream, before[1] - i64::from(step[1]) * 100),
            2 => sender.set_window(0, before[0] + i64::from(step[1]) * 100),
            3 => {
                let mut work = Work::unbounded();
                work.begin(len);
                assert!(sender.pump(&mut work).is_empty());
            }
            4 => {
                output.extend_from_slice(sender.output());
                sender.clear();
            }
            _ => {
                let data = vec![u8::try_from(number % 256).unwrap_or_default(); len];
                given[at].extend_from_slice(&data);
                sender.send(stream, &data);
                let gone = [0, stream].map(|it| sender.window(it));
                assert_eq!(before[0] - gone[0], before[1] - gone[1]);
                assert!(gone[0] >= before[0].min(0) && gone[1] >= before[1].min(0));
            }
        }
        assert_eq!(sender.pending(0), STREAMS.iter().map(|it| sender.pending(*it)).sum::<usize>());
    }
    output.extend_from_slice(sender.output());
    let mut chunk = &output[..];
    let mut splitter = Splitter::new(false, MAX_FRAME_SIZE);
    while let Some(Piece::Data { stream, payload, .. }) = splitter.next(&mut chunk, |_| true) {
        sent[(stream / 2) as usize].extend_from_slice(payload);
    }
    for (at, stream) in STREAMS.into_iter().enumerate() {
        assert_eq!(sent[at].len() + sender.pending(stream), given[at].len());
        assert!(given[at].starts_with(&sent[at]));
    }
}

fn is_too_long(frame: &[u8]) -> bool {
    let Some(&[a, b, c, ..]) = frame.first_chunk::<9>() else { return false };
    u32::from_be_bytes([0, a, b, c]) as usize > MAX_FRAME_SIZE
}

fuzz_target!(|input: &[u8]| {
    let [options, size, data @ ..] = input else { return };
    let server = options & 1 == 1;
    grow(data);
    send(data);
    let whole = cut(server, std::iter::once(data));
    assert_eq!(whole, cut(server, data.chunks(usize::from(*size) + 1)));
    assert_eq!(whole, cut(server, data.chunks(1)));
});
