//! The opening handshake over HTTP/2: extended CONNECT (RFC 8441 §4-5) within the header rules of RFC 9113 §8.
//!
//! Sec-WebSocket-Key and -Accept are not used here (RFC 8441 §5). A client neither sends the one nor checks the other. A
//! server still answers a key: a proxy from HTTP/1.1 to HTTP/2 may forward it and leave the answer to the server, and some
//! HTTP/2 clients send it and require an answer. An invalid key is ignored.

use super::fields::{self, Asked, Fields, Request};
use super::http1::{ACCEPT, accept_key, is_key};
use crate::fault::Fault;
use crate::grammar::{self, Line, Misuse, line, misuse};

/// Writes the headers of a client's CONNECT. `scheme` is `https` for a `wss:` URL and `http` for a `ws:` URL.
///
/// # Errors
///
/// The handshake would be invalid. The message says what to do.
pub fn write_request(request: &Request, scheme: &str) -> Result<Vec<(String, String)>, Misuse> {
    if !SCHEMES.contains(&scheme) {
        return misuse(format!("scheme {scheme:?} must be \"https\" for wss: and \"http\" for ws:"));
    }
    let shared = fields::write_asked(request)?;
    let pseudo = [
        (":method", "CONNECT"),
        (":protocol", PROTOCOL),
        (":scheme", scheme),
        (":path", &request.target),
        (":authority", &request.host),
    ];
    Ok(pseudo.map(|(name, value)| line(name, value)).into_iter().chain(lowered(shared)).collect())
}

/// Parses a client's request; returns `None` for one without `:protocol`, an ordinary request or a plain CONNECT, whose
/// headers are not checked.
///
/// Sec-WebSocket-Version is required, as in RFC 6455 §4.1: RFC 8441 §5 keeps it "as defined" there, and `:protocol` does
/// not replace it.
///
/// # Errors
///
/// The first rule that the request breaks.
pub fn read_request(headers: &[Line<'_>]) -> Result<Option<Asked>, Fault> {
    if !headers.iter().any(|(name, _)| *name == b":protocol") {
        return Ok(None);
    }
    let ([method, protocol, scheme, path, authority], fields) =
        split(headers, [":method", ":protocol", ":scheme", ":path", ":authority"])?;
    if method != "CONNECT" || !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(Fault::InvalidPseudoHeader);
    }
    if protocol != PROTOCOL {
        return Err(Fault::UnsupportedProtocol);
    }
    if !grammar::is_target(path) {
        return Err(Fault::InvalidTarget);
    }
    if !grammar::is_host(authority) || !fields.host.iter().all(|host| is_same_host(host, authority, scheme)) {
        return Err(Fault::InvalidHost);
    }
    fields.check_request()?;
    let key = match fields.key.as_slice() {
        [key] if is_key(key) => key.to_string(),
        _ => String::new(),
    };
    let mut asked = fields.into_asked(authority.to_owned(), path.to_owned(), key)?;
    asked.headers = join_cookies(asked.headers);
    Ok(Some(asked))
}

/// Prepends to the headers of the 200 that accepts those specific to HTTP/2. `key` is the client's, or empty.
pub(super) fn accept(key: &str, mut shared: Vec<(String, String)>) -> Vec<(String, String)> {
    if !key.is_empty() {
        shared.insert(0, line(ACCEPT, &accept_key(key)));
    }
    with_status(200, shared)
}

/// Parses the headers of a 2xx, including `:status`. A Content-Length is ignored (RFC 9110 §9.3.6).
///
/// # Errors
///
/// The first rule that the response breaks, apart from those common to both versions of HTTP.
pub(super) fn read_accept<'a>(headers: &[Line<'a>]) -> Result<Fields<'a>, Fault> {
    let ([_status], fields) = split(headers, [":status"])?;
    Ok(fields)
}

/// Returns whether Host equals `:authority`, as required if both are present (RFC 9113 §8.3.1), ignoring case and the
/// default port of the scheme (RFC 3986 §6.2.3).
#[must_use]
pub fn is_same_host(host: &str, authority: &str, scheme: &str) -> bool {
    let own = grammar::DEFAULT_PORTS.iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known));
    let port = own.map_or_else(|| String::from(":"), |(_, port)| format!(":{port}"));
    bare(host, &port).eq_ignore_ascii_case(bare(authority, &port))
}

/// Separates the pseudo-headers, exactly those of `names`, from the other headers, and checks both by RFC 9113 §8.2-8.3.
fn split<'a, const N: usize>(headers: &[Line<'a>], names: [&str; N]) -> Result<([&'a str; N], Fields<'a>), Fault> {
    let is_pseudo = |(name, _): &&Line<'_>| name.starts_with(b":");
    let mut values = [None; N];
    for (name, value) in headers.iter().take_while(is_pseudo) {
        let place = names.iter().zip(&mut values).find(|(known, _)| known.as_bytes() == *name);
        let place = place.map(|(_, place)| place).filter(|place| place.is_none());
        // A value that is empty, not ASCII, or surrounded by space is not valid for any of them.
        let is_text =
            |text: &&str| !text.is_empty() && text.is_ascii() && grammar::decode_value(value).as_deref() == Some(*text);
        let text = str::from_utf8(value).ok().filter(is_text);
        *place.ok_or(Fault::InvalidPseudoHeader)? = Some(text.ok_or(Fault::InvalidPseudoHeader)?);
    }
    let lines = headers.iter().skip_while(is_pseudo);
    if lines.clone().any(|line| is_pseudo(&line)) {
        return Err(Fault::InvalidPseudoHeader);
    }
    lines.clone().try_for_each(|line| check_line(*line))?;
    let mut found = [""; N];
    for (place, value) in found.iter_mut().zip(values) {
        *place = value.ok_or(Fault::InvalidPseudoHeader)?;
    }
    Ok((found, Fields::read(lines.copied())?))
}

/// Checks a header for forms that only HTTP/1.1 allows: upper case, space around the value, connection-specific headers.
fn check_line((name, value): Line<'_>) -> Result<(), Fault> {
    let forbidden = match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => true,
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => name.iter().any(u8::is_ascii_uppercase),
    };
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if forbidden || is_space(value.first()) || is_space(value.last()) { Err(Fault::ForbiddenHeader) } else { Ok(()) }
}

fn bare<'a>(host: &'a str, port: &str) -> &'a str {
    host.strip_suffix(port).or(host.strip_suffix(':')).unwrap_or(host)
}

/// Joins several Cookie headers, which HTTP/2 may split for compression (RFC 9113 §8.2.3).
fn join_cookies(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut joined: Vec<(String, String)> = Vec::with_capacity(headers.len());
    let mut first = None;
    for (name, value) in headers {
        let is_cookie = name == "cookie";
        if let Some((_, cookie)) = first.filter(|_| is_cookie).and_then(|index: usize| joined.get_mut(index)) {
            cookie.push_str("; ");
            cookie.push_str(&value);
        } else {
            first = first.or(is_cookie.then_some(joined.len()));
            joined.push((name, value));
        }
    }
    joined
}

/// Returns the HTTP/2 headers of a response: its status and its headers.
pub(super) fn with_status(status: u16, lines: Vec<(String, String)>) -> Vec<(String, String)> {
    std::iter::once((String::from(":status"), status.to_string())).chain(lowered(lines)).collect()
}

fn lowered(lines: Vec<(String, String)>) -> impl Iterator<Item = (String, String)> {
    lines.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value))
}

/// The `:protocol` of a WebSocket, which is case-sensitive (RFC 8441 §5).
const PROTOCOL: &str = "websocket";

/// The schemes for `ws:` and `wss:` (RFC 8441 §5). Because of proxies, either may be received with or without TLS.
const SCHEMES: [&str; 2] = ["http", "https"];

#[cfg(test)]
mod tests {
    use super::super::Version::Http2;
    use super::super::extension::Element;
    use super::super::fields::Answered;
    use super::super::fields::testing::{borrowed, bytes, pairs, request};
    use super::*;

    const REQUEST: [(&str, &str); 6] = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "server.example.com"),
        ("sec-websocket-version", "13"),
    ];

    /// The request with another value of `name`, or without it.
    fn asked_with(name: &str, value: Option<&str>) -> Result<Option<Asked>, Fault> {
        let lines = REQUEST.iter().filter_map(|&(other, old)| match value {
            Some(new) if other == name => Some((other, new)),
            None if other == name => None,
            _ => Some((other, old)),
        });
        read_request(&bytes(&lines.collect::<Vec<_>>()))
    }

    fn asked_and(lines: &[(&str, &str)]) -> Result<Asked, Fault> {
        Ok(read_request(&bytes(&[&REQUEST[..], lines].concat()))?.unwrap())
    }

    fn answered(lines: &[(&str, &str)]) -> Result<Answered, Fault> {
        Http2.read_response(&bytes(&[&[(":status", "200")][..], lines].concat()), "", &[String::from("chat")])
    }

    #[test]
    fn the_request_of_the_rfc_is_read() {
        let asked =
            asked_and(&[("sec-websocket-protocol", "chat, superchat"), ("origin", "http://www.example.com")]).unwrap();
        assert_eq!((asked.host.as_str(), asked.target.as_str()), ("server.example.com", "/chat"));
        assert_eq!(asked.headers, pairs(&[("origin", "http://www.example.com")]));
        assert_eq!(asked.subprotocols, ["chat", "superchat"]);
        assert_eq!((asked.extensions.len(), asked.key.as_str()), (0, ""));
    }

    #[test]
    fn a_request_is_written_in_lower_case_and_has_no_key() {
        let request = Request {
            headers: pairs(&[("Origin", "null")]),
            subprotocols: vec![String::from("chat")],
            extensions: vec![Element { name: String::from("permessage-deflate"), params: vec![] }],
            ..request()
        };
        let lines = [
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-extensions", "permessage-deflate"),
            ("origin", "null"),
        ];
        assert_eq!(write_request(&request, "https"), Ok(pairs(&[&REQUEST[..], &lines[..]].concat())));
    }

    #[test]
    fn the_scheme_to_send_is_http_or_https() {
        assert!(write_request(&request(), "http").is_ok());
        for scheme in ["ws", "wss", "HTTPS", ""] {
            assert!(write_request(&request(), scheme).is_err(), "{scheme}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let lines = write_request(&request(), "http").unwrap();
        assert_eq!(read_request(&borrowed(&lines)).unwrap().unwrap().target, "/chat");
        let asked = [String::from("chat")];
        let answer =
            Answered { subprotocol: Some(String::from("chat")), extensions: vec![], headers: pairs(&[("X-A", "1")]) };
        let lines = Http2.write_response(&asked, &answer, "").unwrap();
        assert_eq!(lines, pairs(&[(":status", "200"), ("sec-websocket-protocol", "chat"), ("x-a", "1")]));
        let answered = Http2.read_response(&borrowed(&lines), "", &asked).unwrap();
        assert_eq!((answered.subprotocol.as_deref(), answered.headers), (Some("chat"), pairs(&[("x-a", "1")])));
    }

    #[test]
    fn a_request_without_protocol_is_not_ours() {
        assert_eq!(asked_with(":protocol", None), Ok(None));
        assert_eq!(read_request(&bytes(&[(":method", "CONNECT"), (":authority", "a:1"), ("Bad", "\0")])), Ok(None));
        assert_eq!(read_request(&[]), Ok(None));
    }

    #[test]
    fn another_protocol_is_501() {
        for protocol in ["WebSocket", "connect-udp", "websocket2"] {
            let fault = asked_with(":protocol", Some(protocol)).unwrap_err();
            assert_eq!((&fault, fault.http_status()), (&Fault::UnsupportedProtocol, Some(501)), "{protocol}");
        }
    }

    #[test]
    fn the_method_is_connect() {
        for method in ["GET", "connect", ""] {
            assert_eq!(asked_with(":method", Some(method)), Err(Fault::InvalidPseudoHeader), "{method}");
        }
    }

    #[test]
    fn the_scheme_is_http_or_https() {
        assert!(asked_with(":scheme", Some("http")).is_ok());
        for scheme in ["wss", "ws", "ftp", ""] {
            assert_eq!(asked_with(":scheme", Some(scheme)), Err(Fault::InvalidPseudoHeader), "{scheme}");
        }
    }

    #[test]
    fn no_pseudo_header_is_missing() {
        for name in [":method", ":scheme", ":path", ":authority"] {
            assert_eq!(asked_with(name, None), Err(Fault::InvalidPseudoHeader), "{name}");
        }
    }

    #[test]
    fn no_pseudo_header_is_repeated_unknown_misplaced_or_malformed() {
        for line in [(":path", "/chat"), (":status", "200"), (":Path", "/"), (":", "x")] {
            let mut lines = REQUEST.to_vec();
            lines.insert(5, line);
            assert_eq!(read_request(&bytes(&lines)), Err(Fault::InvalidPseudoHeader), "{line:?}");
        }
        let mut lines = REQUEST.to_vec();
        lines.swap(4, 5);
        assert_eq!(read_request(&bytes(&lines)), Err(Fault::InvalidPseudoHeader));
        for path in ["", " /", "/ ", "/\r\n", "/ü"] {
            assert_eq!(asked_with(":path", Some(path)), Err(Fault::InvalidPseudoHeader), "{path:?}");
        }
    }

    #[test]
    fn pseudo_headers_come_in_any_order() {
        let mut lines = REQUEST.to_vec();
        lines.swap(0, 4);
        lines.swap(1, 3);
        assert!(read_request(&bytes(&lines)).unwrap().is_some());
    }

    #[test]
    fn the_path_starts_with_a_slash() {
        for path in ["*", "chat", "https://a/", "/a#b", "/a b"] {
            assert_eq!(asked_with(":path", Some(path)), Err(Fault::InvalidTarget), "{path}");
        }
    }

    #[test]
    fn the_authority_is_a_host_without_credentials() {
        for authority in ["u@a", "a b", ":443", "a/b"] {
            assert_eq!(asked_with(":authority", Some(authority)), Err(Fault::InvalidHost), "{authority}");
        }
    }

    #[test]
    fn a_host_is_the_authority_or_a_fault() {
        for host in ["server.example.com", "SERVER.example.com:443", "server.example.com:"] {
            assert_eq!(asked_and(&[("host", host)]).unwrap().headers, [], "{host}");
        }
        for host in ["other.example.com", "server.example.com:80", "", "server.example.com:4443"] {
            assert_eq!(asked_and(&[("host", host)]), Err(Fault::InvalidHost), "{host}");
        }
    }

    #[test]
    fn a_port_is_the_schemes_own_or_tells_hosts_apart() {
        for (scheme, port) in [("http", "80"), ("HTTPS", "443"), ("ws", "80"), ("wss", "443")] {
            assert!(is_same_host("A", &format!("a:{port}"), scheme), "{scheme}");
            assert!(!is_same_host("a", "a:81", scheme), "{scheme}");
        }
        assert!(is_same_host("a:", "a", "ftp"));
        assert!(!is_same_host("a:80", "a", "ftp"));
    }

    #[test]
    fn the_version_is_13_and_there() {
        for value in [None, Some("8")] {
            assert_eq!(asked_with("sec-websocket-version", value), Err(Fault::UnsupportedVersion), "{value:?}");
        }
    }

    #[test]
    fn key_and_accept_are_no_fault_and_not_handed_on() {
        let lines = [("sec-websocket-key", "nonsense"), ("sec-websocket-accept", "a"), ("sec-websocket-accept", "b")];
        let asked = asked_and(&lines).unwrap();
        assert_eq!((asked.headers, asked.key.as_str()), (vec![], ""));
        assert_eq!(answered(&lines).unwrap().headers, []);
    }

    #[test]
    fn one_key_that_is_well_formed_is_answered() {
        let key = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(asked_and(&[key]).unwrap().key, key.1);
        assert_eq!(asked_and(&[key, key]).unwrap().key, "");
        let lines = Http2.write_response(&[], &Answered::default(), key.1);
        assert_eq!(lines, Ok(pairs(&[(":status", "200"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")])));
    }

    #[test]
    fn headers_of_the_connection_are_a_fault() {
        for line in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
        ] {
            assert_eq!(asked_and(&[line]), Err(Fault::ForbiddenHeader), "{line:?}");
            assert_eq!(answered(&[line]), Err(Fault::ForbiddenHeader), "{line:?}");
        }
        assert!(asked_and(&[("te", "trailers")]).is_ok());
    }

    #[test]
    fn upper_case_and_space_around_a_value_are_a_fault() {
        for line in [("Origin", "null"), ("CONNECTION", "a"), ("x", " a"), ("x", "a\t"), ("x", " ")] {
            assert_eq!(asked_and(&[line]), Err(Fault::ForbiddenHeader), "{line:?}");
            assert_eq!(answered(&[line]), Err(Fault::ForbiddenHeader), "{line:?}");
        }
    }

    #[test]
    fn control_characters_are_a_fault() {
        for line in [("x", "a\r\nb"), ("x", "\0"), ("x\n", "a"), ("x y", "a"), ("", "a")] {
            assert_eq!(asked_and(&[line]), Err(Fault::MalformedHeader), "{line:?}");
        }
    }

    #[test]
    fn a_body_is_a_fault() {
        assert_eq!(asked_and(&[("content-length", "5")]), Err(Fault::UnexpectedBody));
        assert!(asked_and(&[("content-length", "0")]).is_ok());
    }

    #[test]
    fn cookies_that_were_cut_are_joined() {
        let asked = asked_and(&[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", "c=3")]).unwrap();
        assert_eq!(asked.headers, pairs(&[("cookie", "a=1; b=2; c=3"), ("x", "1")]));
    }

    #[test]
    fn a_response_may_have_a_content_length_and_the_headers_of_proxies() {
        let lines = [("content-length", "10"), ("via", "2 a"), ("server", "b"), ("date", "c")];
        assert_eq!(answered(&lines).unwrap().headers, pairs(&lines));
    }

    #[test]
    fn a_response_has_status_and_no_other_pseudo_header() {
        assert_eq!(Http2.read_response(&bytes(&[("x", "1")]), "", &[]), Err(Fault::InvalidPseudoHeader));
        assert_eq!(answered(&[(":path", "/")]), Err(Fault::InvalidPseudoHeader));
        assert_eq!(answered(&[("x", "1"), (":status", "200")]), Err(Fault::InvalidPseudoHeader));
    }

    #[test]
    fn a_response_may_say_only_what_was_offered() {
        assert_eq!(answered(&[("sec-websocket-protocol", "chat")]).unwrap().subprotocol.as_deref(), Some("chat"));
        assert_eq!(answered(&[("sec-websocket-protocol", "Chat")]), Err(Fault::UnofferedSubprotocol));
    }

    #[test]
    fn ten_thousand_headers_take_a_moment() {
        let names: Vec<String> = (0..10_000).map(|index| format!("x{index}")).collect();
        let mut lines = REQUEST.to_vec();
        lines.extend(names.iter().map(|name| (name.as_str(), "1")));
        lines.extend(std::iter::repeat_n(("cookie", "a=1"), 10_000));
        let before = std::time::Instant::now();
        assert_eq!(read_request(&bytes(&lines)).unwrap().unwrap().headers.len(), 10_001);
        assert!(before.elapsed().as_secs() < 2);
    }
}
