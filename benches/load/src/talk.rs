//! One WebSocket under load: what it sends and what must come back.

use mintws::decoder::{Decoder, Event, Rules};
use mintws::deflate::{DeflateSettings, Deflater, Inflater};
use mintws::encoder::{Compression, Encoder};
use mintws::frame::Opcode;
use mintws::keys::Keys;
use mintws::state::Role;

use crate::Options;

/// What all WebSockets of a run send.
pub struct Plan {
    pub payload: Vec<u8>,
    /// The frame of one message, made once: its masking-key is always the same.
    pub frame: Vec<u8>,
    pub in_flight: u64,
    pub deflate: bool,
    /// Messages that may still be sent.
    pub left: u64,
    /// Messages whose echo has come.
    pub done: u64,
    /// Messages whose echo has not come.
    pub open: u64,
}

impl Plan {
    pub fn new(options: &Options) -> Self {
        let payload = payload(options.size, options.deflate);
        let opcode = if options.binary { Opcode::Binary } else { Opcode::Text };
        let keys = (!options.raw).then(|| Keys::new([7; 32]));
        let compression = options.deflate.then(|| Compression {
            // No context from other messages, so that one frame does for all; a window that every answer allows.
            deflater: Deflater::new(DeflateSettings {
                window_bits: 12,
                level: 6,
                memory_level: 8,
                context_takeover: false,
            }),
            threshold: 0,
        });
        let mut frame = Vec::new();
        Encoder::new(keys, compression)
            .message(opcode, &payload, true, 0, None)
            .expect("a whole message may always be sent")
            .append_to(&mut frame);
        Self { payload, frame, in_flight: options.in_flight, deflate: options.deflate, left: 0, done: 0, open: 0 }
    }

    /// Takes what may be sent of `wanted` messages.
    pub fn take(&mut self, wanted: u64) -> u64 {
        let taken = wanted.min(self.left);
        self.left -= taken;
        self.open += taken;
        taken
    }
}

/// Text that deflate finds as repetitive as JSON of a feed, or else as plain ASCII.
fn payload(size: usize, deflate: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 128);
    let mut state = 1_u32;
    while text.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if deflate {
            let (id, price) = (state >> 16, state >> 8 & 0xffff);
            text.extend_from_slice(
                format!("{{\"id\":{id},\"symbol\":\"BTC-USD\",\"side\":\"buy\",\"price\":{price}.25,\"size\":0.5}},")
                    .as_bytes(),
            );
        } else {
            text.push(b' ' + u8::try_from((state >> 16) % 95).expect("below 95"));
        }
    }
    text.truncate(size);
    text
}

/// The receiving half of one WebSocket.
pub struct Talk {
    decoder: Decoder,
    scratch: Vec<u8>,
}

impl Talk {
    pub fn new(plan: &Plan) -> Self {
        let rules = Rules {
            role: Role::Client,
            limit: u64::MAX,
            parts: false,
            utf8: true,
            rsv: 0,
            inflater: plan.deflate.then(|| Inflater::new(15, true, u64::MAX)),
        };
        Self { decoder: Decoder::new(rules), scratch: Vec::new() }
    }

    /// Takes bytes of the server, checks the echoes in them and says how many there were; `pongs` are frames to send.
    pub fn receive(&mut self, mut data: &[u8], plan: &mut Plan, pongs: &mut Vec<u8>) -> Result<u64, String> {
        let mut echoes = 0;
        while let Some(event) = self.decoder.next(&mut data).map_err(|fault| fault.to_string())? {
            match event {
                Event::Message { payload, .. } => {
                    if payload.unmasked(&mut self.scratch) != plan.payload {
                        return Err(format!("an echo differs from what was sent: {} bytes came", payload.len()));
                    }
                    echoes += 1;
                }
                Event::Ping(payload) => {
                    let data = payload.unmasked(&mut self.scratch);
                    let mut encoder = Encoder::new(Some(Keys::new([8; 32])), None);
                    encoder.control(Opcode::Pong, data).map_err(|error| error.to_string())?.append_to(pongs);
                }
                Event::Pong(_) => {}
                Event::Close(code, reason) => return Err(format!("the server closed: {code:?} {reason}")),
            }
        }
        self.decoder.idle();
        plan.done += echoes;
        plan.open = plan.open.checked_sub(echoes).ok_or("more echoes came than messages were sent")?;
        Ok(echoes)
    }
}
