//! An echo server over HTTP/1.1, for clients under test: it must cost less than any of them.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mintws::decoder::{Decoder, Event, Rules};
use mintws::encoder::Encoder;
use mintws::frame::Opcode;
use mintws::handshake::http1::accept_key;
use mintws::state::Role;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

struct Peer {
    socket: TcpStream,
    head: Vec<u8>,
    /// `None` before the handshake.
    decoder: Option<Decoder>,
    encoder: Encoder,
    scratch: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

/// Serves until the process is ended; prints the address first.
pub fn run(address: SocketAddr) -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?.port());
    let mut events = Events::with_capacity(1024);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut chunk = vec![0; 256 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut socket, Token(peers.len()), interest)?;
                    peers.push(Some(Peer::new(socket)));
                }
                continue;
            }
            let Some(place) = peers.get_mut(event.token().0) else { continue };
            if place.as_mut().is_some_and(|peer| peer.serve(&mut chunk).is_none()) {
                *place = None;
            }
        }
    }
}

impl Peer {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            head: Vec::new(),
            decoder: None,
            encoder: Encoder::new(None, None),
            scratch: Vec::new(),
            out: Vec::new(),
            written: 0,
        }
    }

    /// Reads, echoes and writes; `None` when the connection is over.
    fn serve(&mut self, chunk: &mut [u8]) -> Option<()> {
        loop {
            match self.socket.read(chunk) {
                Ok(0) => return None,
                Ok(len) => {
                    self.receive(&chunk[..len])?;
                    self.flush()?;
                    if len < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        self.flush()
    }

    fn receive(&mut self, mut data: &[u8]) -> Option<()> {
        let Self { decoder, encoder, scratch, out, .. } = self;
        let Some(decoder) = decoder else {
            self.head.extend_from_slice(data);
            let end = self.head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            return if end.is_some() { self.accept() } else { Some(()) };
        };
        while let Some(event) = decoder.next(&mut data).ok()? {
            match event {
                Event::Message { opcode, payload, .. } => {
                    encoder.message(opcode, payload.unmasked(scratch), true, 0, None).ok()?.append_to(out);
                }
                Event::Ping(payload) => encoder.control(Opcode::Pong, payload.unmasked(scratch)).ok()?.append_to(out),
                Event::Pong(_) => {}
                Event::Close(..) => {
                    encoder.control(Opcode::Close, &[]).ok()?.append_to(out);
                    self.flush();
                    return None;
                }
            }
        }
        decoder.idle();
        Some(())
    }

    fn accept(&mut self) -> Option<()> {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        })?;
        self.out.extend_from_slice(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                accept_key(&key)
            )
            .as_bytes(),
        );
        self.decoder = Some(Decoder::new(Rules {
            role: Role::Server,
            limit: u64::MAX,
            parts: false,
            utf8: true,
            rsv: 0,
            inflater: None,
        }));
        Some(())
    }

    fn flush(&mut self) -> Option<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            }
        }
        self.out.clear();
        self.written = 0;
        Some(())
    }
}
