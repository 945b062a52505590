//! The core of mintws: what RFC 6455, RFC 7692 and RFC 8441 say, on bytes, with no I/O.
//!
//! ```text
//! decoder: bytes to messages ── frame, mask, deflate      state: who may say what when
//! encoder: messages to bytes ── frame, mask, keys, deflate close, fault: codes and reasons
//! handshake: fields, extensions, HTTP/1.1 and HTTP/2      ordinary: headers of other messages ── both on grammar
//! data, data_sender: the DATA frames of HTTP/2            traffic: how much has passed
//! queue: messages that wait for the application            turns: how much work a turn of a loop has
//! records: where records of TLS end
//! field_block: the fields of a header block, counted
//! memory: how much a connection holds for its peer
//! py: the only part that names Python
//! ```

pub mod close;
pub mod data;
pub mod data_sender;
pub mod decoder;
pub mod deflate;
pub mod encoder;
pub mod fault;
pub mod field_block;
pub mod frame;
pub mod grammar;
pub mod handshake;
pub mod keys;
pub mod mask;
pub mod memory;
pub mod ordinary;
pub mod queue;
pub mod records;
pub mod state;
pub mod traffic;
pub mod turns;

#[cfg(feature = "python")]
mod py;
