//! The opening handshakes: over HTTP/1.1 (RFC 6455 §4) and over HTTP/2 (RFC 8441).

pub mod extension;
pub mod fields;
pub mod http1;
pub mod http2;
