//! The opening handshakes: over HTTP/1.1 (RFC 6455 §4) and over HTTP/2 (RFC 8441).
//!
//! [`Version`] has the calls of both sides. [`http1`] and [`http2`] have the differences of the versions, [`fields`] their common rules.

pub mod extension;
pub mod fields;
pub mod http1;
pub mod http2;

use self::fields::{Answered, Asked, Request, RequestLine};
use crate::fault::Fault;
use crate::grammar::{Line, Misuse, misuse};

/// The version of HTTP that carries a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A GET with Upgrade.
    Http1,
    /// An extended CONNECT.
    Http2,
}

/// The response of a server to a broken handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The headers, over HTTP/2 with `:status`.
    pub headers: Vec<(String, String)>,
    /// A body that names the rule.
    pub body: String,
}

impl Version {
    /// The status of the response that accepts.
    #[must_use]
    pub const fn accepting(self) -> u16 {
        match self {
            Self::Http1 => 101,
            Self::Http2 => 200,
        }
    }

    /// Writes the headers of a client's request: over HTTP/1.1 with its `key`, over HTTP/2 with its `scheme`.
    ///
    /// # Errors
    ///
    /// The handshake would be invalid. The message says what to do.
    pub fn write_request(self, request: &Request, key: &str, scheme: &str) -> Result<Vec<(String, String)>, Misuse> {
        match self {
            Self::Http1 => http1::write_request(request, key),
            Self::Http2 => http2::write_request(request, scheme),
        }
    }

    /// Parses a client's request. Over HTTP/2, which has no `line`, `None` means that it does not ask for a WebSocket.
    ///
    /// # Errors
    ///
    /// The first rule that the request breaks. Answer with [`Version::refuse`].
    pub fn read_request(self, line: &RequestLine<'_>, headers: &[Line<'_>]) -> Result<Option<Asked>, Fault> {
        match self {
            Self::Http1 => http1::read_request(line, headers).map(Some),
            Self::Http2 => http2::read_request(headers),
        }
    }

    /// Writes the headers of the response that accepts the request from [`Version::read_request`].
    ///
    /// The subprotocol of `answered` is one of `asked_subprotocols` or `None`, its extensions are the answers to the offers. `key` is
    /// the client's, which over HTTP/2 may be empty.
    ///
    /// # Errors
    ///
    /// The handshake would be invalid. The message says what to do.
    pub fn write_response(
        self,
        asked_subprotocols: &[String],
        answered: &Answered,
        key: &str,
    ) -> Result<Vec<(String, String)>, Misuse> {
        let shared = fields::write_answered(asked_subprotocols, answered)?;
        Ok(match self {
            Self::Http1 => http1::accept(key, shared),
            Self::Http2 => http2::accept(key, shared),
        })
    }

    /// Parses the headers of the response that accepts, for a client that offered `offered_subprotocols` and, over HTTP/1.1, sent `key`.
    ///
    /// # Errors
    ///
    /// The first rule that the response breaks. Its extensions are not compared with the offers.
    pub fn read_response(
        self,
        headers: &[Line<'_>],
        key: &str,
        offered_subprotocols: &[String],
    ) -> Result<Answered, Fault> {
        match self {
            Self::Http1 => http1::read_accept(headers, key),
            Self::Http2 => http2::read_accept(headers),
        }?
        .into_answered(offered_subprotocols)
    }

    /// Writes the headers of a response that rejects the WebSocket: with a status of 200 to 599 over HTTP/1.1, where a 2xx is an
    /// ordinary answer to the GET; of 300 to 599 over HTTP/2.
    ///
    /// # Errors
    ///
    /// The response would be invalid. The message says what to do.
    pub fn write_rejection(
        self,
        status: u16,
        headers: &[(String, String)],
        body_len: usize,
    ) -> Result<Vec<(String, String)>, Misuse> {
        let (least, why) = match self {
            Self::Http1 => (200, "; to accept the WebSocket is another call"),
            Self::Http2 => (300, ": over HTTP/2 any 2xx accepts the WebSocket"),
        };
        if !(least..=599).contains(&status) {
            return misuse(format!("status {status} must be {least} to 599{why}"));
        }
        Ok(self.reject(status, fields::write_refused(status, headers, body_len)?))
    }

    /// Returns a server's response to a broken handshake.
    ///
    /// A wrong version is 400 over HTTP/2, not 426: that requires Upgrade (RFC 9110 §15.5.22), which HTTP/2 does not have, and RFC 6455
    /// §4.2.2 leaves the status open as long as the response names the version.
    #[must_use]
    pub fn refuse(self, fault: &Fault) -> Refusal {
        let status = fault.http_status().filter(|&status| self == Self::Http1 || status != 426).unwrap_or(400);
        let (headers, body) = fields::explain(fault);
        Refusal { status, headers: self.reject(status, headers), body }
    }

    /// Completes the headers of a response that does not accept.
    fn reject(self, status: u16, lines: Vec<(String, String)>) -> Vec<(String, String)> {
        match self {
            Self::Http1 => http1::close(status, lines),
            Self::Http2 => http2::with_status(status, lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fields::testing::pairs;
    use super::*;

    #[test]
    fn a_rejection_has_a_final_status_that_does_not_accept() {
        for status in [0, 100, 101, 103, 199, 600, 999] {
            for version in [Version::Http1, Version::Http2] {
                assert!(version.write_rejection(status, &[], 0).is_err(), "{status}");
            }
        }
        for status in [302, 401, 503, 599] {
            for version in [Version::Http1, Version::Http2] {
                assert!(version.write_rejection(status, &[], 0).is_ok(), "{status}");
            }
        }
        for status in [200, 204, 299] {
            assert!(Version::Http1.write_rejection(status, &[], 0).is_ok(), "{status}");
            assert!(Version::Http2.write_rejection(status, &[], 0).is_err(), "{status}");
        }
    }

    #[test]
    fn a_rejection_closes_the_connection_of_http1_and_has_the_status_of_http2() {
        let given = pairs(&[("Content-Type", "text/html")]);
        let http1 = [("Content-Type", "text/html"), ("Content-Length", "7"), ("Connection", "close")];
        assert_eq!(Version::Http1.write_rejection(403, &given, 7), Ok(pairs(&http1)));
        let http2 = [(":status", "403"), ("content-type", "text/html"), ("content-length", "7")];
        assert_eq!(Version::Http2.write_rejection(403, &given, 7), Ok(pairs(&http2)));
    }

    #[test]
    fn the_refusal_of_a_version_says_which_would_do_and_owes_an_upgrade_over_http1() {
        let Refusal { status, headers, body } = Version::Http1.refuse(&Fault::UnsupportedVersion);
        let length = body.len().to_string();
        let shared = [("Sec-WebSocket-Version", "13"), ("Content-Length", &length)];
        let own = [("Upgrade", "websocket"), ("Connection", "close, Upgrade")];
        let text = [("Content-Type", "text/plain; charset=utf-8")];
        assert_eq!((status, headers), (426, pairs(&[&text[..], &shared, &own].concat())));
        let Refusal { status, headers, .. } = Version::Http2.refuse(&Fault::UnsupportedVersion);
        let lowered = [
            (":status", "400"),
            ("content-type", "text/plain; charset=utf-8"),
            ("sec-websocket-version", "13"),
            ("content-length", &length),
        ];
        assert_eq!((status, headers), (400, pairs(&lowered)));
    }

    #[test]
    fn a_refusal_names_the_rule_and_its_section() {
        let refusal = Version::Http1.refuse(&Fault::InvalidKey);
        assert_eq!(
            (refusal.status, refusal.body.as_str()),
            (400, "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455 §4.1)\n")
        );
        assert!(refusal.headers.contains(&pairs(&[("Connection", "close")])[0]));
        assert_eq!(Version::Http1.refuse(&Fault::InvalidAccept).status, 400);
        let refusal = Version::Http2.refuse(&Fault::UnsupportedProtocol);
        assert_eq!(
            (refusal.status, refusal.body.as_str()),
            (501, "the only :protocol here is websocket (RFC 8441 §4)\n")
        );
    }
}
