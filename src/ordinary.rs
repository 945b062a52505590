//! The headers of ordinary requests and responses in each version of HTTP.

use crate::grammar::{
    Misuse, check_body, check_field, content_length, has_length, is_host, is_made_of, is_target_char, is_token, line,
    misuse,
};

/// Writes the headers of an ordinary response, the caller's first. With `head` it answers a HEAD and has no body.
///
/// A Content-Length among `headers` is kept if it is right, or if there is no body to compare it with. Over HTTP/2
/// connection-specific headers are omitted (RFC 9113 §8.2.2), so that one response serves both versions. Where `body_len` is
/// `None`, the body follows in parts: no Content-Length is written, that of a 204 is omitted, and so is Transfer-Encoding,
/// which is for the code that frames the parts.
///
/// # Errors
///
/// The response would be invalid. The message says what to do.
pub fn write_response(
    status: u16,
    headers: &[(String, String)],
    body_len: Option<usize>,
    head: bool,
    http2: bool,
) -> Result<Vec<(String, String)>, Misuse> {
    if !matches!(status, 200..=599) {
        return misuse(format!("status {status} must be 200 to 599"));
    }
    check_body(status, body_len.unwrap_or_default())?;
    let without_body = head || status == 304;
    let is_framed = |name: &str| body_len.is_none() && name.eq_ignore_ascii_case("transfer-encoding");
    let headers: Vec<_> = headers.iter().filter(|(name, _)| !is_framed(name)).cloned().collect();
    let mut lines = write_headers(&headers, body_len.filter(|_| !without_body), http2)?;
    if http2 {
        lines.insert(0, line(":status", &status.to_string()));
    }
    let Some(body_len) = body_len else {
        lines.retain(|(name, _)| status != 204 || !name.eq_ignore_ascii_case("content-length"));
        return Ok(lines);
    };
    let is_given = lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if status == 204 && is_given {
        return misuse("a response with status 204 has no Content-Length (RFC 9110 §8.6): leave it out");
    }
    if !is_given && has_length(status) {
        lines.push(written_length(body_len, http2));
    }
    Ok(lines)
}

/// Writes the headers of an ordinary request over HTTP/2, the pseudo-headers first. `headers` must include Host.
///
/// # Errors
///
/// The request would be invalid. The message says what to do.
pub fn write_request(
    method: &str,
    target: &str,
    headers: &[(String, String)],
    body_len: usize,
    scheme: &str,
) -> Result<Vec<(String, String)>, Misuse> {
    if !is_token(method) || method == "CONNECT" {
        return misuse(format!("method {method:?} must be a token such as \"GET\", and not CONNECT"));
    }
    let is_asterisk = method == "OPTIONS" && target == "*";
    if !is_asterisk && (!target.starts_with('/') || !is_made_of(target, is_target_char)) {
        return misuse(format!("target {target:?} must be a path that starts with '/', percent-encoded"));
    }
    let (hosts, others): (Vec<_>, Vec<_>) =
        headers.iter().cloned().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    let [(_, host)] = hosts.as_slice() else { return misuse("headers must have Host, once") };
    if !is_host(host) {
        return misuse(format!("Host {host:?} must be a host, or host:port, in ASCII"));
    }
    let pseudo = [(":method", method), (":scheme", scheme), (":path", target), (":authority", host)];
    let mut lines: Vec<_> = pseudo.map(|(name, value)| line(name, value)).into();
    lines.extend(write_headers(&others, Some(body_len), true)?);
    if body_len > 0 && !lines.iter().any(|(name, _)| name == "content-length") {
        lines.push(written_length(body_len, true));
    }
    Ok(lines)
}

/// Checks the headers of an ordinary message, and writes them in the form of the HTTP version.
fn write_headers(
    headers: &[(String, String)],
    body_len: Option<usize>,
    http2: bool,
) -> Result<Vec<(String, String)>, Misuse> {
    let mut lines = Vec::with_capacity(headers.len() + 5);
    let mut lengths = 0;
    for (name, value) in headers {
        check_field(name, value)?;
        let lowered = name.to_ascii_lowercase();
        match lowered.as_str() {
            "transfer-encoding" => return misuse("the body is given whole: leave Transfer-Encoding out"),
            "content-length" => {
                lengths += 1;
                let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                let right = value.parse::<u64>().is_ok_and(|len| body_len.is_none_or(|body| body as u64 == len));
                if lengths > 1 || !is_number || !right {
                    return misuse("Content-Length must be that of the body: leave it out and it is written");
                }
            }
            "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" | "http2-settings" if http2 => continue,
            _ => {}
        }
        lines.push((if http2 { lowered } else { name.clone() }, value.clone()));
    }
    Ok(lines)
}

fn written_length(body_len: usize, http2: bool) -> (String, String) {
    let (name, value) = content_length(body_len);
    (if http2 { name.to_ascii_lowercase() } else { name }, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| line(name, value)).collect()
    }

    #[test]
    fn a_response_in_parts_has_the_length_that_is_given() {
        let write = |headers: &[(&str, &str)], status| write_response(status, &pairs(headers), None, false, true);
        let plain = Ok(pairs(&[(":status", "200"), ("x", "1")]));
        assert_eq!(write(&[("X", "1"), ("Transfer-Encoding", "chunked")], 200), plain);
        let length = pairs(&[(":status", "200"), ("content-length", "7")]);
        assert_eq!(write(&[("Content-Length", "7")], 200), Ok(length));
        assert_eq!(write(&[("Content-Length", "0")], 204), Ok(pairs(&[(":status", "204")])));
        assert!(write(&[("Content-Length", "7"), ("Content-Length", "7")], 200).is_err());
        assert!(write(&[("Content-Length", "x")], 200).is_err());
        assert!(write(&[("X", "a\r\nb: c")], 200).is_err());
    }

    #[test]
    fn an_ordinary_response_has_right_headers_and_one_length() {
        let write = |headers: &[(&str, &str)], status, len, head, http2| {
            write_response(status, &pairs(headers), Some(len), head, http2)
        };
        assert_eq!(write(&[("X", "1")], 200, 5, false, false), Ok(pairs(&[("X", "1"), ("Content-Length", "5")])));
        let http2 = pairs(&[(":status", "200"), ("x", "1"), ("content-length", "5")]);
        assert_eq!(write(&[("X", "1"), ("Connection", "close")], 200, 5, false, true), Ok(http2));
        assert_eq!(write(&[("Content-Length", "7")], 200, 0, true, false), Ok(pairs(&[("Content-Length", "7")])));
        assert!(write(&[("Content-Length", "+7")], 200, 0, true, false).is_err());
        for status in [204, 304] {
            assert_eq!(write(&[], status, 0, false, false), Ok(Vec::new()), "{status}");
        }
        for (headers, status, len) in [
            (&[("X", "a\r\nset-cookie: b")][..], 200, 0),
            (&[("X", "\u{100}")], 200, 0),
            (&[("X Y", "1")], 200, 0),
            (&[("", "1")], 200, 0),
            (&[(":path", "/")], 200, 0),
            (&[("Transfer-Encoding", "chunked")], 200, 0),
            (&[("Content-Length", "4")], 200, 5),
            (&[("Content-Length", "+5")], 200, 5),
            (&[("Content-Length", "5"), ("Content-Length", "5")], 200, 5),
            (&[("Content-Length", "0")], 204, 0),
            (&[], 204, 1),
            (&[], 101, 0),
            (&[], 99, 0),
            (&[], 600, 0),
        ] {
            for http2 in [false, true] {
                assert!(write(headers, status, len, false, http2).is_err(), "{headers:?} {status} {len}");
            }
        }
    }

    #[test]
    fn an_ordinary_request_over_http2_names_its_host_and_nothing_that_is_not_there() {
        let write = |method, target, headers: &[(&str, &str)], len| {
            write_request(method, target, &pairs(headers), len, "https")
        };
        let host = ("Host", "example.com");
        let pseudo = [(":method", "POST"), (":scheme", "https"), (":path", "/a?b=%20"), (":authority", "example.com")];
        let all = [&pseudo[..], &[("x", "1"), ("content-length", "3")]].concat();
        assert_eq!(write("POST", "/a?b=%20", &[host, ("X", "1"), ("TE", "gzip")], 3), Ok(pairs(&all)));
        assert!(write("OPTIONS", "*", &[host], 0).is_ok());
        for (method, target, headers) in [
            ("GET", "/\r\nX: y", &[host][..]),
            ("GET", "a", &[host]),
            ("GET", "*", &[host]),
            ("GET", "/#x", &[host]),
            ("G T", "/", &[host]),
            ("", "/", &[host]),
            ("CONNECT", "/", &[host]),
            ("GET", "/", &[]),
            ("GET", "/", &[host, host]),
            ("GET", "/", &[("Host", "a\r\nb")]),
            ("GET", "/", &[host, ("x", "a\nb")]),
        ] {
            assert!(write(method, target, headers, 0).is_err(), "{method:?} {target:?} {headers:?}");
        }
    }
}
