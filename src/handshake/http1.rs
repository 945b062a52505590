//! The opening handshake over HTTP/1.1 (RFC 6455 §4): the header rules of both sides, on parsed heads.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::fields::{self, Asked, Fields, Request, RequestLine};
use crate::fault::Fault;
use crate::grammar::{self, Line, Misuse, line, misuse};

/// Returns whether a request asks for a WebSocket, validly or not. Any other is ordinary.
///
/// A key alone is enough, so that the sender learns of a proxy that dropped Upgrade. Over HTTP/1.0 an Upgrade is ignored (RFC
/// 9110 §7.8), so a server may treat such a request as ordinary; [`read_request`] refuses it.
#[must_use]
pub fn is_upgrade(headers: &[Line<'_>]) -> bool {
    headers.iter().any(|(name, value)| {
        let mut elements = value.split(|&byte| byte == b',');
        name.eq_ignore_ascii_case(b"sec-websocket-key")
            || (name.eq_ignore_ascii_case(b"upgrade")
                && elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(b"websocket")))
    })
}

/// Encodes 16 random bytes, new for each handshake, as a Sec-WebSocket-Key (§4.1).
#[must_use]
pub fn new_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Computes the Sec-WebSocket-Accept for `key` (§4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Writes the headers of a client's GET. `key` is from [`new_key`]; the target of `request` belongs in the request line.
///
/// # Errors
///
/// The handshake would be invalid. The message says what to do.
pub fn write_request(request: &Request, key: &str) -> Result<Vec<(String, String)>, Misuse> {
    let shared = fields::write_asked(request)?;
    if !is_key(key) {
        return misuse("the key must be one of new_key");
    }
    let own = [("Host", request.host.as_str()), UPGRADE, ("Connection", "Upgrade"), ("Sec-WebSocket-Key", key)];
    Ok(own.map(|(name, value)| line(name, value)).into_iter().chain(shared).collect())
}

/// Parses a client's request.
///
/// # Errors
///
/// The first rule of §4.2.1 that the request breaks. The version is checked before the key, which may have another form in
/// another version.
pub fn read_request(line: &RequestLine<'_>, headers: &[Line<'_>]) -> Result<Asked, Fault> {
    if line.method != b"GET" {
        return Err(Fault::InvalidMethod);
    }
    // "or higher" in §4.2.1 can only be a later HTTP/1: HTTP/2 has no Upgrade (RFC 9113 §8.6).
    if !matches!(line.version, [b'1', b'.', b'1'..=b'9']) {
        return Err(Fault::InvalidHttpVersion);
    }
    let fields = Fields::read(headers.iter().copied())?;
    let [host] = fields.host.as_slice() else { return Err(Fault::InvalidHost) };
    let (host, target) = read_target(line.target, host)?;
    check_upgrade(&fields)?;
    fields.check_request()?;
    let key = fields::once(&fields.key, "Sec-WebSocket-Key")?.filter(|key| is_key(key)).ok_or(Fault::InvalidKey)?;
    let key = key.to_owned();
    fields.into_asked(host, target, key)
}

/// Prepends to the headers of the 101 that accepts a request with `key` those specific to HTTP/1.1.
pub(super) fn accept(key: &str, shared: Vec<(String, String)>) -> Vec<(String, String)> {
    let accept = accept_key(key);
    let own = [UPGRADE, ("Connection", "Upgrade"), (ACCEPT, accept.as_str())];
    own.map(|(name, value)| line(name, value)).into_iter().chain(shared).collect()
}

/// Parses the headers of a 101 to a client that sent `key`.
///
/// # Errors
///
/// The first rule of §4.1 that the response breaks, apart from those common to both versions of HTTP.
pub(super) fn read_accept<'a>(headers: &[Line<'a>], key: &str) -> Result<Fields<'a>, Fault> {
    let fields = Fields::read(headers.iter().copied())?;
    // A server names the one protocol that it switches to. A request may list several.
    if !matches!(fields.upgrade.as_slice(), [value] if value.eq_ignore_ascii_case(UPGRADE.1)) {
        return Err(Fault::InvalidUpgrade);
    }
    check_upgrade(&fields)?;
    match fields::once(&fields.accept, ACCEPT)? {
        Some(accept) if accept == accept_key(key) => Ok(fields),
        Some(_) => Err(Fault::InvalidAccept),
        None => Err(Fault::MissingAccept),
    }
}

/// Appends to the headers of a response that rejects the WebSocket those specific to HTTP/1.1.
///
/// The connection closes after it, so that frames of the client are not parsed as its next request. A 426 names the
/// protocol to upgrade to (RFC 9110 §15.5.22) and its version (§4.4).
pub(super) fn close(status: u16, mut lines: Vec<(String, String)>) -> Vec<(String, String)> {
    if status == 426 {
        lines.extend([line(UPGRADE.0, UPGRADE.1), line("Connection", "close, Upgrade")]);
    } else {
        lines.push(line("Connection", "close"));
    }
    lines
}

/// Checks Upgrade and Connection, which are case-insensitive lists and may have further elements.
fn check_upgrade(fields: &Fields<'_>) -> Result<(), Fault> {
    if !has(&fields.upgrade, UPGRADE.1, |element| element.splitn(2, '/').all(grammar::is_token)) {
        return Err(Fault::InvalidUpgrade);
    }
    if !has(&fields.connection, "upgrade", grammar::is_token) {
        return Err(Fault::InvalidConnection);
    }
    Ok(())
}

/// Returns whether a list has `wanted`, ignoring case, and only elements that are `valid`.
fn has(lines: &[Cow<'_, str>], wanted: &str, valid: impl Fn(&str) -> bool) -> bool {
    let mut found = false;
    fields::elements(lines).all(|element| {
        found |= element.eq_ignore_ascii_case(wanted);
        valid(element)
    }) && found
}

/// Extracts host and path from a request target and the value of Host. Both must be valid even if only one takes
/// precedence.
fn read_target(target: &[u8], host: &str) -> Result<(String, String), Fault> {
    let (authority, path) = match read_absolute(target)? {
        Some((authority, path)) => (Some(authority), path),
        None => (None, str::from_utf8(target).map_err(|_| Fault::InvalidTarget)?.to_owned()),
    };
    if authority.is_none() && !grammar::is_target(&path) {
        return Err(Fault::InvalidTarget);
    }
    if !grammar::is_host(host) {
        return Err(Fault::InvalidHost);
    }
    Ok((authority.unwrap_or_else(|| host.to_owned()), path))
}

/// Extracts host, and path with query, from a request target in absolute form (RFC 9112 §3.2.2), an URI of http or https.
/// Returns `None` for a target of any other form.
///
/// # Errors
///
/// [`Fault::InvalidTarget`].
pub fn read_absolute(target: &[u8]) -> Result<Option<(String, String)>, Fault> {
    let Some(at) = target.windows(3).position(|part| part == b"://") else { return Ok(None) };
    if !["http", "https"].iter().any(|scheme| target[..at].eq_ignore_ascii_case(scheme.as_bytes())) {
        return Ok(None);
    }
    let rest = str::from_utf8(&target[at + 3..]).map_err(|_| Fault::InvalidTarget)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !grammar::is_host(authority) || !grammar::is_target(&path) {
        return Err(Fault::InvalidTarget);
    }
    Ok(Some((authority.to_owned(), path)))
}

/// Returns whether `key` decodes to 16 bytes: 22 digits of base64, the last with four spare bits, and padding. Those bits
/// need not be zero (RFC 4648 §3.5), because nobody decodes the key.
pub(crate) fn is_key(key: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.strip_suffix("==").is_some_and(|digits| digits.len() == 22 && digits.bytes().all(digit))
}

const UPGRADE: (&str, &str) = ("Upgrade", "websocket");

/// The header that answers a key.
pub(crate) const ACCEPT: &str = "Sec-WebSocket-Accept";

/// The GUID that a server appends to a key (§1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::super::Version::Http1;
    use super::super::extension::Element;
    use super::super::fields::Answered;
    use super::super::fields::testing::{borrowed, bytes, pairs, request};
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    const REQUEST: [(&str, &str); 5] = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    const RESPONSE: [(&str, &str); 3] =
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", ACCEPT)];

    /// `lines` without those of `name`, and with one of it for each of `values`.
    fn with<'a>(lines: &[(&'a str, &'a str)], name: &'a str, values: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let kept = lines.iter().copied().filter(|(other, _)| *other != name);
        kept.chain(values.iter().map(|&value| (name, value))).collect()
    }

    fn get(target: &[u8], headers: &[Line<'_>]) -> Result<Asked, Fault> {
        read_request(&RequestLine { method: b"GET", target, version: b"1.1" }, headers)
    }

    fn asked(name: &str, values: &[&str]) -> Result<Asked, Fault> {
        get(b"/chat", &bytes(&with(&REQUEST, name, values)))
    }

    fn asked_at(target: &[u8]) -> Result<Asked, Fault> {
        get(target, &bytes(&REQUEST))
    }

    fn answered(name: &str, values: &[&str]) -> Result<Answered, Fault> {
        Http1.read_response(&bytes(&with(&RESPONSE, name, values)), KEY, &[String::from("chat")])
    }

    #[test]
    fn the_key_of_the_rfc_has_the_accept_of_the_rfc() {
        assert_eq!(new_key(*b"the sample nonce"), KEY);
        assert_eq!(accept_key(KEY), ACCEPT);
    }

    #[test]
    fn the_request_of_the_rfc_is_read() {
        let mut lines = REQUEST.to_vec();
        lines.extend([("Origin", "http://example.com"), ("Sec-WebSocket-Protocol", "chat, superchat")]);
        let asked = get(b"/chat", &bytes(&lines)).unwrap();
        assert_eq!((asked.host.as_str(), asked.target.as_str()), ("server.example.com", "/chat"));
        assert_eq!(asked.headers, pairs(&[("origin", "http://example.com")]));
        assert_eq!(asked.subprotocols, ["chat", "superchat"]);
        assert_eq!((asked.extensions.len(), asked.key.as_str()), (0, KEY));
    }

    #[test]
    fn a_request_is_written_in_title_case_with_the_callers_headers_last_and_as_given() {
        let request = Request {
            headers: pairs(&[("x-A", "1"), ("cookie", "b")]),
            subprotocols: vec![String::from("chat"), String::from("superchat")],
            extensions: vec![Element { name: String::from("permessage-deflate"), params: vec![] }],
            ..request()
        };
        let lines = [
            ("Sec-WebSocket-Protocol", "chat, superchat"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
            ("x-A", "1"),
            ("cookie", "b"),
        ];
        assert_eq!(write_request(&request, KEY), Ok(pairs(&[&REQUEST[..], &lines[..]].concat())));
    }

    #[test]
    fn a_request_without_subprotocols_and_extensions_does_not_name_them() {
        assert_eq!(write_request(&request(), KEY), Ok(pairs(&REQUEST)));
    }

    #[test]
    fn a_request_with_a_key_of_ones_own_is_misuse() {
        assert!(write_request(&request(), "a\r\nb").is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let request = Request { subprotocols: vec![String::from("chat")], ..request() };
        let lines = write_request(&request, KEY).unwrap();
        let asked = get(request.target.as_bytes(), &borrowed(&lines)).unwrap();
        let headers = pairs(&[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]);
        let answer = Answered { subprotocol: Some(String::from("chat")), extensions: vec![], headers };
        let lines = Http1.write_response(&asked.subprotocols, &answer, &asked.key).unwrap();
        let answered = Http1.read_response(&borrowed(&lines), KEY, &request.subprotocols).unwrap();
        assert_eq!(answered.subprotocol.as_deref(), Some("chat"));
        assert_eq!(answered.headers, pairs(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]));
    }

    #[test]
    fn a_request_is_for_a_websocket_if_it_says_upgrade_or_has_a_key() {
        assert!(is_upgrade(&bytes(&[("upgrade", "h2c,\tWebSocket")])));
        assert!(is_upgrade(&bytes(&[("UPGRADE", "h2c"), ("Upgrade", "websocket")])));
        assert!(is_upgrade(&bytes(&[("sec-websocket-KEY", "")])));
        assert!(!is_upgrade(&bytes(&[("Upgrade", "h2c"), ("Connection", "Upgrade"), ("X", "websocket")])));
        assert!(!is_upgrade(&[(b"Upgrade", b"\xff\xfewebsocket")]));
    }

    #[test]
    fn the_method_is_get() {
        for method in [&b"POST"[..], b"get", b"CONNECT", b""] {
            let fault = read_request(&RequestLine { method, target: b"/", version: b"1.1" }, &bytes(&REQUEST));
            assert_eq!(fault, Err(Fault::InvalidMethod));
        }
    }

    #[test]
    fn the_http_version_is_1_1_or_higher() {
        let read = |version| read_request(&RequestLine { method: b"GET", target: b"/", version }, &bytes(&REQUEST));
        assert!(read(b"1.2").is_ok());
        for version in [&b"1.0"[..], b"0.9", b"2.0", b"2", b"1.", b"1.x", b""] {
            assert_eq!(read(version), Err(Fault::InvalidHttpVersion));
        }
    }

    #[test]
    fn the_host_is_there_once_and_is_one() {
        for values in [&[][..], &[""], &["a", "a"], &["a b"], &["u@a"], &["a, b"]] {
            assert_eq!(asked("Host", values), Err(Fault::InvalidHost), "{values:?}");
        }
        assert_eq!(asked("Host", &[" [::1]:80 "]).unwrap().host, "[::1]:80");
    }

    #[test]
    fn a_host_that_is_not_ascii_is_a_fault() {
        let mut lines = bytes(&with(&REQUEST, "Host", &[]));
        lines.push((b"Host", b"\x80\xff"));
        assert_eq!(get(b"/", &lines), Err(Fault::InvalidHost));
    }

    #[test]
    fn the_target_is_a_path_without_a_fragment() {
        for target in [&b""[..], b"*", b"chat", b"/a b", b"/#a", b"/a\r\n", b"/\0", b"/\xc3\xbc", b"/\xff", b"a:443"] {
            assert_eq!(asked_at(target), Err(Fault::InvalidTarget), "{target:?}");
        }
        assert_eq!(asked_at(b"/a?b://c").unwrap().target, "/a?b://c");
    }

    #[test]
    fn an_absolute_target_gives_host_and_path() {
        for (target, host, path) in [
            ("http://a.example/chat?x", "a.example", "/chat?x"),
            ("HTTPS://a.example:8443", "a.example:8443", "/"),
            ("http://[::1]?q=/", "[::1]", "/?q=/"),
        ] {
            let asked = asked_at(target.as_bytes()).unwrap();
            assert_eq!((asked.host.as_str(), asked.target.as_str()), (host, path));
        }
        for target in ["http:///a", "http://u@a/", "ftp://a/", "http://a#b", "http://a b/"] {
            assert_eq!(asked_at(target.as_bytes()), Err(Fault::InvalidTarget), "{target}");
        }
        let fault = get(b"http://a/", &bytes(&with(&REQUEST, "Host", &["x y"])));
        assert_eq!(fault, Err(Fault::InvalidHost));
    }

    #[test]
    fn a_target_of_another_form_has_no_host() {
        for target in [&b"/"[..], b"*", b"a:443", b"/a?b=http://c", b"ftp://a/", b"", b"\xff://a"] {
            assert_eq!(read_absolute(target), Ok(None), "{target:?}");
        }
        assert_eq!(read_absolute(b"http://a\xff/"), Err(Fault::InvalidTarget));
    }

    #[test]
    fn upgrade_lists_websocket_in_any_case_on_any_line() {
        for values in [&["WebSocket"][..], &["h2c", "foo/1, websocket"], &[",websocket ,"]] {
            assert!(asked("Upgrade", values).is_ok(), "{values:?}");
        }
        for values in [&[][..], &[""], &["websocket/13"], &["websockets"], &["web socket"], &["websocket, a b"]] {
            assert_eq!(asked("Upgrade", values), Err(Fault::InvalidUpgrade), "{values:?}");
        }
    }

    #[test]
    fn connection_lists_upgrade_in_any_case_on_any_line() {
        for values in [&["keep-alive, upgrade"][..], &["keep-alive", "UPGRADE"], &["Upgrade,"]] {
            assert!(asked("Connection", values).is_ok(), "{values:?}");
            assert!(answered("Connection", values).is_ok(), "{values:?}");
        }
        for values in [&[][..], &[""], &["close"], &["keep-alive upgrade"], &["upgrade, \"x\""]] {
            assert_eq!(asked("Connection", values), Err(Fault::InvalidConnection), "{values:?}");
            assert_eq!(answered("Connection", values), Err(Fault::InvalidConnection), "{values:?}");
        }
    }

    #[test]
    fn the_key_is_16_bytes_in_base64() {
        assert_eq!(
            asked("Sec-WebSocket-Key", &["  AQIDBAUGBwgJCgsMDQ4PEA== "]).unwrap().key,
            "AQIDBAUGBwgJCgsMDQ4PEA=="
        );
        assert!(asked("Sec-WebSocket-Key", &["AQIDBAUGBwgJCgsMDQ4PEC=="]).is_ok());
        for values in [
            &[][..],
            &[""],
            &["AQIDBAUGBwgJCgsMDQ4P"],
            &["AQIDBAUGBwgJCgsMDQ4PEA"],
            &["AQIDBAUGBwgJCgsMDQ4PEBE="],
            &["AQIDBAUGBwgJCgsMDQ4P E=="],
            &["AQIDBAUGBwgJCgsMDQ4-EA=="],
            &["========================"],
        ] {
            assert_eq!(asked("Sec-WebSocket-Key", values), Err(Fault::InvalidKey), "{values:?}");
        }
    }

    #[test]
    fn two_keys_are_a_fault_even_if_the_same() {
        assert_eq!(asked("Sec-WebSocket-Key", &[KEY, KEY]), Err(Fault::RepeatedHeader("Sec-WebSocket-Key")));
    }

    #[test]
    fn another_version_is_426_even_if_the_key_is_wrong_too() {
        let lines = with(&with(&REQUEST, "Sec-WebSocket-Version", &["8"]), "Sec-WebSocket-Key", &[]);
        let fault = get(b"/", &bytes(&lines)).unwrap_err();
        assert_eq!((&fault, fault.http_status()), (&Fault::UnsupportedVersion, Some(426)));
    }

    #[test]
    fn a_body_on_an_upgrade_is_a_fault() {
        assert_eq!(asked("Content-Length", &["5"]), Err(Fault::UnexpectedBody));
        assert_eq!(asked("Transfer-Encoding", &["chunked"]), Err(Fault::UnexpectedBody));
        assert!(asked("Content-Length", &["0"]).is_ok());
    }

    #[test]
    fn a_response_has_upgrade_websocket_and_no_other() {
        assert!(answered("Upgrade", &["WEBSOCKET"]).is_ok());
        for values in [&[][..], &["h2c"], &["websocket, h2c"], &["websocket", "websocket"], &[""]] {
            assert_eq!(answered("Upgrade", values), Err(Fault::InvalidUpgrade), "{values:?}");
        }
    }

    #[test]
    fn a_response_answers_the_key() {
        assert!(answered("Sec-WebSocket-Accept", &["\t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= "]).is_ok());
        for value in ["", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", KEY] {
            assert_eq!(answered("Sec-WebSocket-Accept", &[value]), Err(Fault::InvalidAccept), "{value:?}");
        }
        assert_eq!(answered("Sec-WebSocket-Accept", &[]), Err(Fault::MissingAccept));
    }

    #[test]
    fn two_accepts_are_a_fault_even_if_the_same() {
        let fault = answered("Sec-WebSocket-Accept", &[ACCEPT, ACCEPT]);
        assert_eq!(fault, Err(Fault::RepeatedHeader("Sec-WebSocket-Accept")));
    }

    #[test]
    fn a_response_may_say_only_what_was_offered() {
        assert_eq!(answered("Sec-WebSocket-Protocol", &["chat"]).unwrap().subprotocol.as_deref(), Some("chat"));
        assert_eq!(answered("Sec-WebSocket-Protocol", &["x"]), Err(Fault::UnofferedSubprotocol));
    }
}
