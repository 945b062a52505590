//! A WebSocket over HTTP/1.1.

use mintws::handshake::http1::accept_key;

use crate::load::Wire;
use crate::talk::{Plan, Talk};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub struct Http1 {
    talk: Talk,
    head: Vec<u8>,
    open: bool,
}

impl Http1 {
    pub fn new(plan: &Plan) -> Self {
        Self { talk: Talk::new(plan), head: Vec::new(), open: false }
    }

    /// Takes the answer to the handshake and gives what stands behind it.
    fn receive_head(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.head.extend_from_slice(data);
        let Some(end) = self.head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
        let rest = self.head.split_off(end + 4);
        let head = String::from_utf8_lossy(&self.head).into_owned();
        if !head.starts_with("HTTP/1.1 101") || !head.contains(&accept_key(KEY)) {
            return Err(format!("the server did not accept: {head}"));
        }
        self.open = true;
        Ok(Some(rest))
    }
}

impl Wire for Http1 {
    fn start(&mut self, plan: &Plan, out: &mut Vec<u8>) {
        let extension =
            if plan.deflate { "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" } else { "" };
        out.extend_from_slice(
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
                 Sec-WebSocket-Version: 13\r\n{extension}\r\n"
            )
            .as_bytes(),
        );
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn kick(&mut self, plan: &mut Plan, out: &mut Vec<u8>) {
        for _ in 0..plan.take(plan.in_flight) {
            out.extend_from_slice(&plan.frame);
        }
    }

    fn receive(&mut self, data: &[u8], plan: &mut Plan, out: &mut Vec<u8>) -> Result<(), String> {
        let behind;
        let data = if self.open {
            data
        } else {
            let Some(rest) = self.receive_head(data)? else { return Ok(()) };
            behind = rest;
            &behind
        };
        let echoes = self.talk.receive(data, plan, out)?;
        for _ in 0..plan.take(echoes) {
            out.extend_from_slice(&plan.frame);
        }
        Ok(())
    }
}
