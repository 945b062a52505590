//! The grammar of header fields, hosts and targets, for sending and receiving.
//!
//! Names are tokens. Values have no control characters except tab (RFC 9110 §5). Bytes above 0x7F are opaque (§5.5): each is
//! decoded as ISO-8859-1, so that received values can be sent.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use crate::fault::Fault;

/// A wrong call, with a message that says what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// The port of each scheme where none is written (RFC 9110 §4.2, RFC 6455 §3).
pub const DEFAULT_PORTS: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

/// Name and value of one header, as received.
pub type Line<'a> = (&'a [u8], &'a [u8]);

/// Returns the well-formed headers of a response, with names in lower case. The response is valid without the others.
#[must_use]
pub fn well_formed(headers: &[(String, String)]) -> Vec<(String, String)> {
    let readable = headers.iter().map(|(name, value)| (name, trim(value)));
    let readable = readable.filter(|(name, value)| is_token(name) && is_value(value));
    readable.map(|(name, value)| line(&name.to_ascii_lowercase(), value)).collect()
}

/// Checks the fields of a request: the names are tokens (RFC 9110 §5.1) or those of pseudo-headers, the values have no
/// control character (§5.5).
///
/// # Errors
///
/// [`Fault::MalformedHeader`].
pub fn check_fields(lines: &[Line<'_>]) -> Result<(), Fault> {
    let is_field = |(name, value): &Line<'_>| {
        let name = name.strip_prefix(b":").unwrap_or(name);
        str::from_utf8(name).is_ok_and(is_token) && decode_value(value).is_some()
    };
    if lines.iter().all(is_field) { Ok(()) } else { Err(Fault::MalformedHeader) }
}

pub(crate) fn line(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

pub(crate) fn misuse<T>(message: impl Into<String>) -> Result<T, Misuse> {
    Err(Misuse(message.into()))
}

/// The characters of a value without surrounding space, if all are allowed.
pub(crate) fn decode_value(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let decoded = match str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(trim(text)),
        _ => Cow::Owned(trim(&bytes.iter().copied().map(char::from).collect::<String>()).to_owned()),
    };
    is_value(&decoded).then_some(decoded)
}

/// Returns whether `text` is a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Returns whether `text` is a host with or without a port (RFC 3986 §3.2.2-3.2.3). It must not be empty in HTTP
/// (RFC 9110 §4.2.1), nor have credentials (§4.2.4).
pub(crate) fn is_host(text: &str) -> bool {
    let (is_named, port) = if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        (address.parse::<Ipv6Addr>().is_ok() || is_ip_future(address), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (!name.is_empty() && is_made_of(name, is_name_char), port)
    };
    is_named && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Returns whether `text` is a path and query that a peer may send. Browsers do not encode `|`, `[` and others, so
/// this is wider than RFC 3986 §3.3, which applies to what we send.
pub(crate) fn is_target(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

pub(crate) fn check_field(name: &str, value: &str) -> Result<(), Misuse> {
    if !is_token(name) {
        return misuse(format!("header name {name:?} must be a token: ASCII letters, digits and -"));
    }
    // The value may be a credential, so the message does not show it.
    if !is_value(value) || trim(value) != value {
        return misuse(format!(
            "the value of header {name:?} must have no control character but tab, no space at its ends, and no character \
             above U+00FF, each of which is a byte: to send others in UTF-8, give value.encode().decode(\"latin-1\")"
        ));
    }
    Ok(())
}

/// Checks that a response with `status` may have a body of `len` bytes.
pub(crate) fn check_body(status: u16, len: usize) -> Result<(), Misuse> {
    if len > 0 && matches!(status, 204 | 205 | 304) {
        return misuse(format!("a response with status {status} has no body (RFC 9110 §6.4.1): leave it empty"));
    }
    Ok(())
}

/// Returns whether a response with `status` has a Content-Length: a 204 must not, and in a 304 it would be that of another
/// response (RFC 9110 §8.6).
pub(crate) const fn has_length(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

pub(crate) fn content_length(body_len: usize) -> (String, String) {
    (String::from("Content-Length"), body_len.to_string())
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Returns whether all characters of `text` are allowed in a value: each is a byte (RFC 9110 §5.5).
fn is_value(text: &str) -> bool {
    text.chars().all(|character| matches!(character, '\t' | ' '..='~' | '\u{80}'..='\u{ff}'))
}

fn is_ip_future(address: &str) -> bool {
    let parts = address.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(version, rest)| {
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_version && !rest.is_empty() && rest.bytes().all(|byte| byte == b':' || is_name_char(byte))
    })
}

fn is_port(port: &str) -> bool {
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// Returns whether `text` has only characters that are `allowed` and percent-encoded octets (RFC 3986 §2.1).
pub(crate) fn is_made_of(text: &str, allowed: fn(u8) -> bool) -> bool {
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            [byte, tail @ ..] if allowed(*byte) => tail,
            _ => return false,
        }
    }
}

pub(crate) fn is_target_char(byte: u8) -> bool {
    is_name_char(byte) || b":@/?".contains(&byte)
}

fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| line(name, value)).collect()
    }

    #[test]
    fn of_a_response_the_well_formed_headers_are_kept() {
        let came =
            [("X-Why", " because\t"), ("a b", "1"), ("x", "\x1b[31m"), ("y", "caf\u{e9}"), ("z", "a\tb"), ("", "")];
        assert_eq!(well_formed(&pairs(&came)), pairs(&[("x-why", "because"), ("y", "caf\u{e9}"), ("z", "a\tb")]));
    }

    #[test]
    fn fields_are_names_that_are_tokens_and_values_without_control_characters() {
        assert_eq!(check_fields(&[(b":path", b"/"), (b"X", b" caf\xe9\t"), (b"y", b"")]), Ok(()));
        for line in [
            (&b"a b"[..], &b"1"[..]),
            (b"", b"1"),
            (b":path", b"\x01"),
            (b"\xe9", b"1"),
            (b"x", b"\x1b"),
            (b"x", b"\x7f"),
            (b"x", b"\n"),
        ] {
            assert_eq!(check_fields(&[(b"x", b"1"), line]), Err(Fault::MalformedHeader), "{line:?}");
        }
    }

    #[test]
    fn a_target_may_come_as_browsers_write_it() {
        assert!(is_target("/a|b[c]%?{d}^`"));
        for target in ["", "a", "*", "/#", "/a b", "/\t", "/ü", "/\x7f"] {
            assert!(!is_target(target), "{target}");
        }
    }
}
