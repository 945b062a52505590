//! The loop that drives all connections of a run.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Options;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::talk::Plan;

/// What one transport speaks.
pub trait Wire {
    /// Writes what a connection begins with.
    fn start(&mut self, plan: &Plan, out: &mut Vec<u8>);
    /// Says whether all its WebSockets are open.
    fn is_open(&self) -> bool;
    /// Has each WebSocket send as many messages as may be in flight.
    fn kick(&mut self, plan: &mut Plan, out: &mut Vec<u8>);
    /// Takes bytes of the server; a message follows each echo.
    fn receive(&mut self, data: &[u8], plan: &mut Plan, out: &mut Vec<u8>) -> Result<(), String>;
}

struct Link {
    socket: TcpStream,
    wire: Box<dyn Wire>,
    out: Vec<u8>,
    written: usize,
}

struct Load {
    poll: Poll,
    events: Events,
    links: Vec<Link>,
    plan: Plan,
    chunk: Vec<u8>,
    opened: usize,
}

/// Runs the load and prints what came of it.
pub fn run(options: &Options) -> Result<(), String> {
    let mut load = Load {
        poll: Poll::new().map_err(|error| error.to_string())?,
        events: Events::with_capacity(1024),
        links: Vec::new(),
        plan: Plan::new(options),
        chunk: vec![0; 256 * 1024],
        opened: 0,
    };
    load.open(options)?;
    load.send(options.warm, None)?;
    println!("ready");
    if options.wait {
        std::io::stdin().lock().read_line(&mut String::new()).map_err(|error| error.to_string())?;
    }
    load.plan.done = 0;
    let start = Instant::now();
    match options.count {
        Some(count) => load.send(count, None)?,
        None => load.send(u64::MAX, Some(start + Duration::from_secs_f64(options.seconds)))?,
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"messages\": {}, \"seconds\": {seconds:.6}}}", load.plan.done);
    if options.hold {
        std::io::stdin().lock().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

impl Load {
    /// Opens all connections, some at a time: a server's backlog is short.
    fn open(&mut self, options: &Options) -> Result<(), String> {
        while self.links.len() < options.connections {
            for _ in 0..64.min(options.connections - self.links.len()) {
                self.connect(options).map_err(|error| error.to_string())?;
            }
            while self.opened < self.links.len() {
                self.turn(None)?;
                self.opened = self.links.iter().filter(|link| link.wire.is_open()).count();
            }
        }
        Ok(())
    }

    fn connect(&mut self, options: &Options) -> std::io::Result<()> {
        let mut socket = TcpStream::from_std({
            let socket = std::net::TcpStream::connect(options.address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket
        });
        let token = Token(self.links.len());
        self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let wire: Box<dyn Wire> = if options.http2 {
            Box::new(Http2::new(&self.plan, options.streams))
        } else {
            Box::new(Http1::new(&self.plan))
        };
        let mut link = Link { socket, wire, out: Vec::new(), written: 0 };
        link.wire.start(&self.plan, &mut link.out);
        link.flush()?;
        self.links.push(link);
        Ok(())
    }

    /// Sends `count` messages, or until the deadline, and waits for all echoes.
    fn send(&mut self, count: u64, deadline: Option<Instant>) -> Result<(), String> {
        self.plan.left = count;
        for link in &mut self.links {
            link.wire.kick(&mut self.plan, &mut link.out);
            link.flush().map_err(|error| error.to_string())?;
        }
        while self.plan.open > 0 {
            if self.plan.left > 0 && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.plan.left = 0;
            }
            self.turn(Some(Duration::from_secs(20)))?;
        }
        Ok(())
    }

    /// Waits for sockets and serves them.
    fn turn(&mut self, timeout: Option<Duration>) -> Result<(), String> {
        let timeout = timeout.or(Some(Duration::from_secs(20)));
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(|error| error.to_string())?,
        }
        if self.events.is_empty() {
            return Err(format!("nothing came for 20 s; {} echoes are missing", self.plan.open));
        }
        for event in &self.events {
            let Some(link) = self.links.get_mut(event.token().0) else { continue };
            link.serve(&mut self.plan, &mut self.chunk)?;
        }
        Ok(())
    }
}

impl Link {
    fn serve(&mut self, plan: &mut Plan, chunk: &mut [u8]) -> Result<(), String> {
        loop {
            match self.socket.read(chunk) {
                Ok(0) => return Err("the server ended the connection".into()),
                Ok(len) => {
                    self.wire.receive(&chunk[..len], plan, &mut self.out)?;
                    self.flush().map_err(|error| error.to_string())?;
                    if len < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        self.flush().map_err(|error| error.to_string())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
