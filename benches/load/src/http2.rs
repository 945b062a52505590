//! WebSockets on the streams of one HTTP/2 connection (RFC 8441), as much of RFC 9113 as a client of echo servers needs.
//!
//! One DATA frame for each message, as a client has that sends message by message.

use crate::load::Wire;
use crate::talk::{Plan, Talk};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// Credit goes back in pieces of this size.
const CREDIT: u64 = 1 << 28;
/// ":status: 200" in the static table of HPACK (RFC 7541 appendix A).
const STATUS_200: u8 = 0x88;

struct Stream {
    talk: Talk,
    window: i64,
    /// What the windows have not let pass.
    pending: Vec<u8>,
    consumed: u64,
    open: bool,
}

pub struct Http2 {
    streams: Vec<Stream>,
    input: Vec<u8>,
    window: i64,
    initial_window: i64,
    max_frame_size: usize,
    consumed: u64,
    asked: bool,
}

impl Http2 {
    pub fn new(plan: &Plan, streams: usize) -> Self {
        let stream = || Stream { talk: Talk::new(plan), window: 0, pending: Vec::new(), consumed: 0, open: false };
        Self {
            streams: std::iter::repeat_with(stream).take(streams).collect(),
            input: Vec::new(),
            window: 65_535,
            initial_window: 65_535,
            max_frame_size: 16_384,
            consumed: 0,
            asked: false,
        }
    }

    /// Asks for all WebSockets, once the server's SETTINGS have come.
    fn ask(&mut self, plan: &Plan, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        let mut fields = vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "localhost"),
            ("sec-websocket-version", "13"),
        ];
        if plan.deflate {
            fields.push(("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"));
        }
        for (name, value) in fields {
            // A literal that is not indexed, with a literal name (RFC 7541 §6.2.2); all lengths are below 127.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("short"));
                block.extend_from_slice(text.as_bytes());
            }
        }
        for (index, stream) in self.streams.iter_mut().enumerate() {
            stream.window = self.initial_window;
            write_header(out, block.len(), HEADERS, END_HEADERS, number(index));
            out.extend_from_slice(&block);
        }
        self.asked = true;
    }

    fn receive_frame(
        &mut self,
        kind: u8,
        flags: u8,
        id: u32,
        body: &[u8],
        plan: &mut Plan,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match kind {
            DATA => {
                let body = if flags & PADDED == 0 { body } else { return Err("DATA was padded".into()) };
                self.receive_data(id, body, plan, out)?;
            }
            HEADERS => {
                // A size update of HPACK's table may stand ahead.
                let start = body.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or_default();
                if body.get(start) != Some(&STATUS_200) {
                    return Err(format!("the server did not accept stream {id}: {body:02x?}"));
                }
                self.stream(id)?.open = true;
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in body.chunks_exact(6) {
                    let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    match u16::from_be_bytes([setting[0], setting[1]]) {
                        4 => self.initial_window = i64::from(value),
                        5 => self.max_frame_size = (value as usize).min(1 << 20),
                        _ => {}
                    }
                }
                write_header(out, 0, SETTINGS, ACK, 0);
                if !self.asked {
                    self.ask(plan, out);
                }
            }
            WINDOW_UPDATE => {
                let increment = i64::from(u32::from_be_bytes(body.try_into().map_err(|_| "a short WINDOW_UPDATE")?));
                if id == 0 {
                    self.window += increment;
                    for index in 0..self.streams.len() {
                        self.pump(index, plan.frame.len(), out);
                    }
                } else {
                    self.stream(id)?.window += increment;
                    self.pump(index(id), plan.frame.len(), out);
                }
            }
            PING if flags & ACK == 0 => {
                write_header(out, body.len(), PING, ACK, 0);
                out.extend_from_slice(body);
            }
            RST_STREAM => return Err(format!("the server reset stream {id}: {body:02x?}")),
            GOAWAY => return Err(format!("the server went away: {}", String::from_utf8_lossy(body))),
            _ => {}
        }
        Ok(())
    }

    fn receive_data(&mut self, id: u32, body: &[u8], plan: &mut Plan, out: &mut Vec<u8>) -> Result<(), String> {
        let mut pongs = Vec::new();
        let stream = self.stream(id)?;
        let echoes = stream.talk.receive(body, plan, &mut pongs)?;
        stream.consumed += body.len() as u64;
        if stream.consumed > CREDIT {
            write_window_update(out, id, stream.consumed);
            stream.consumed = 0;
        }
        stream.pending.extend_from_slice(&pongs);
        for _ in 0..plan.take(echoes) {
            stream.pending.extend_from_slice(&plan.frame);
        }
        self.consumed += body.len() as u64;
        if self.consumed > CREDIT {
            write_window_update(out, 0, self.consumed);
            self.consumed = 0;
        }
        self.pump(index(id), plan.frame.len(), out);
        Ok(())
    }

    /// Writes what is pending on a stream, as far as the windows let it.
    fn pump(&mut self, index: usize, frame_len: usize, out: &mut Vec<u8>) {
        let stream = &mut self.streams[index];
        let mut sent = 0;
        while sent < stream.pending.len() {
            let room = usize::try_from(self.window.min(stream.window)).unwrap_or_default();
            let size = (stream.pending.len() - sent).min(room).min(self.max_frame_size).min(frame_len);
            if size == 0 {
                break;
            }
            write_header(out, size, DATA, 0, number(index));
            out.extend_from_slice(&stream.pending[sent..sent + size]);
            sent += size;
            self.window -= i64::try_from(size).expect("at most a frame");
            stream.window -= i64::try_from(size).expect("at most a frame");
        }
        stream.pending.drain(..sent);
    }

    fn stream(&mut self, id: u32) -> Result<&mut Stream, String> {
        self.streams.get_mut(index(id)).ok_or_else(|| format!("the server spoke of stream {id}"))
    }
}

impl Wire for Http2 {
    fn start(&mut self, _plan: &Plan, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        let mut settings = Vec::new();
        for (key, value) in [(2_u16, 0), (4, LARGEST_WINDOW)] {
            settings.extend_from_slice(&key.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        write_header(out, settings.len(), SETTINGS, 0, 0);
        out.extend_from_slice(&settings);
        write_window_update(out, 0, u64::from(LARGEST_WINDOW - 65_535));
    }

    fn is_open(&self) -> bool {
        self.streams.iter().all(|stream| stream.open)
    }

    fn kick(&mut self, plan: &mut Plan, out: &mut Vec<u8>) {
        for index in 0..self.streams.len() {
            for _ in 0..plan.take(plan.in_flight) {
                self.streams[index].pending.extend_from_slice(&plan.frame);
            }
            self.pump(index, plan.frame.len(), out);
        }
    }

    fn receive(&mut self, data: &[u8], plan: &mut Plan, out: &mut Vec<u8>) -> Result<(), String> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(data);
        let mut rest = input.as_slice();
        while let Some((head, behind)) = rest.split_first_chunk::<9>() {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some((body, next)) = behind.split_at_checked(len) else { break };
            let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & LARGEST_WINDOW;
            self.receive_frame(head[3], head[4], id, body, plan, out)?;
            rest = next;
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
        self.input = input;
        Ok(())
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(2 * index + 1).expect("few streams")
}

fn index(id: u32) -> usize {
    (id as usize).wrapping_sub(1) / 2
}

fn write_header(out: &mut Vec<u8>, len: usize, kind: u8, flags: u8, id: u32) {
    let len = u32::try_from(len).expect("at most a frame").to_be_bytes();
    out.extend_from_slice(&[len[1], len[2], len[3], kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
}

fn write_window_update(out: &mut Vec<u8>, id: u32, increment: u64) {
    write_header(out, 4, WINDOW_UPDATE, 0, id);
    out.extend_from_slice(&u32::try_from(increment).expect("credit is given often").to_be_bytes());
}
