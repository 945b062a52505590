//! Load for echo servers over HTTP/1.1 and HTTP/2, and an echo server for clients: one thread, no allocation for a message.
//!
//! ```text
//! mintws-load echo --address 127.0.0.1:9001 [--http 2] [--connections 1] [--streams 1] [--in-flight 1] [--size 32]
//!                  [--count N | --seconds S] [--warm N] [--binary] [--deflate] [--raw] [--wait] [--hold]
//! mintws-load serve --address 127.0.0.1:9002
//! ```
//!
//! `echo` opens its connections, sends `--warm` messages, prints `ready` and, with `--wait`, goes on at the next line of standard
//! input. Each echo is compared with what was sent. It ends by printing one line of JSON; with `--hold` the connections stay open
//! until standard input ends.

mod http1;
mod http2;
mod load;
mod serve;
mod talk;

use std::net::SocketAddr;
use std::process::ExitCode;

/// What the command line says.
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Options {
    address: SocketAddr,
    http2: bool,
    connections: usize,
    streams: usize,
    in_flight: u64,
    size: usize,
    /// Messages in all; `None` goes by time.
    count: Option<u64>,
    seconds: f64,
    warm: u64,
    binary: bool,
    deflate: bool,
    /// Frames are not masked, so that a server that sends back bytes as they come passes for an echo.
    raw: bool,
    wait: bool,
    hold: bool,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let done = parse(args).and_then(|options| match command.as_str() {
        "echo" => load::run(&options),
        "serve" => serve::run(options.address).map_err(|error| error.to_string()),
        other => Err(format!("no such command: {other:?}; there are echo and serve")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mintws-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        http2: false,
        connections: 1,
        streams: 1,
        in_flight: 1,
        size: 32,
        count: None,
        seconds: 1.0,
        warm: 100,
        binary: false,
        deflate: false,
        raw: false,
        wait: false,
        hold: false,
    };
    while let Some(name) = args.next() {
        match name.as_str() {
            "--binary" => options.binary = true,
            "--deflate" => options.deflate = true,
            "--raw" => options.raw = true,
            "--wait" => options.wait = true,
            "--hold" => options.hold = true,
            _ => {
                let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
                match name.as_str() {
                    "--address" => options.address = number(&name, &value)?,
                    "--http" => options.http2 = value == "2",
                    "--connections" => options.connections = number(&name, &value)?,
                    "--streams" => options.streams = number(&name, &value)?,
                    "--in-flight" => options.in_flight = number(&name, &value)?,
                    "--size" => options.size = number(&name, &value)?,
                    "--count" => options.count = Some(number(&name, &value)?),
                    "--seconds" => options.seconds = number(&name, &value)?,
                    "--warm" => options.warm = number(&name, &value)?,
                    _ => return Err(format!("no such option: {name}")),
                }
            }
        }
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} cannot be {value}"))
}
