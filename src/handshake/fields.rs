//! The header rules shared by both opening handshakes: over HTTP/1.1 ([`super::http1`]) and HTTP/2 ([`super::http2`]).

use std::borrow::Cow;
use std::collections::HashSet;

use super::extension::{self, Element};
use crate::fault::Fault;
use crate::grammar::{
    Line, Misuse, check_body, check_field, content_length, decode_value, has_length, is_host, is_made_of,
    is_target_char, is_token, line, misuse, trim,
};

/// A client's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Host, and `:port` unless it is the default of the scheme: the value of Host or `:authority`.
    pub host: String,
    /// Path and query, such as `/chat?room=1` (RFC 6455 §3).
    pub target: String,
    /// Headers other than those of the handshake: Origin, Cookie, Authorization and the like.
    pub headers: Vec<(String, String)>,
    /// Subprotocols in order of preference; may be empty.
    pub subprotocols: Vec<String>,
    /// Offers of extensions in order of preference; may be empty.
    pub extensions: Vec<Element>,
}

/// The request line of HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method, which must be `GET`.
    pub method: &'a [u8],
    /// The target. It may be an absolute URI (RFC 6455 §4.2.1), whose host then takes precedence (RFC 9112 §3.2.2).
    pub target: &'a [u8],
    /// The version, such as `1.1`.
    pub version: &'a [u8],
}

/// A request as read by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Host and optionally `:port`; never empty.
    pub host: String,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// All headers except those of the handshake, in order, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// Different subprotocols, in the client's order of preference.
    pub subprotocols: Vec<String>,
    /// Offers of extensions, in the client's order of preference.
    pub extensions: Vec<Element>,
    /// Sec-WebSocket-Key; over HTTP/2 empty, unless there is a valid one.
    pub key: String,
}

/// A server's acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// One of the requested subprotocols, or `None`.
    pub subprotocol: Option<String>,
    /// The answers to extensions. On a client they are still to be compared with the offers.
    pub extensions: Vec<Element>,
    /// All headers except those of the handshake, in order. Received, their names are in lower case.
    pub headers: Vec<(String, String)>,
}

/// The headers of a handshake after one pass: the trimmed values that it reads, and those that it passes on.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    pub host: Vec<Cow<'a, str>>,
    pub upgrade: Vec<Cow<'a, str>>,
    pub connection: Vec<Cow<'a, str>>,
    pub key: Vec<Cow<'a, str>>,
    pub accept: Vec<Cow<'a, str>>,
    version: Vec<Cow<'a, str>>,
    subprotocols: Vec<Cow<'a, str>>,
    extensions: Vec<Cow<'a, str>>,
    announces_body: bool,
    others: Vec<(String, String)>,
}

impl<'a> Fields<'a> {
    /// Sorts `lines`, whose names may be in any case.
    pub fn read(lines: impl IntoIterator<Item = Line<'a>>) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for (name, value) in lines {
            let name = str::from_utf8(name).ok().filter(|name| is_token(name)).ok_or(Fault::MalformedHeader)?;
            let name = name.to_ascii_lowercase();
            let value = decode_value(value).ok_or(Fault::MalformedHeader)?;
            match name.as_str() {
                "host" => fields.host.push(value),
                "upgrade" => fields.upgrade.push(value),
                "connection" => fields.connection.push(value),
                "sec-websocket-key" => fields.key.push(value),
                "sec-websocket-accept" => fields.accept.push(value),
                "sec-websocket-version" => fields.version.push(value),
                "sec-websocket-protocol" => fields.subprotocols.push(value),
                "sec-websocket-extensions" => fields.extensions.push(value),
                _ => {
                    let zero = name == "content-length" && !value.is_empty() && value.bytes().all(|byte| byte == b'0');
                    fields.announces_body |= (name == "content-length" && !zero) || name == "transfer-encoding";
                    fields.others.push((name, value.into_owned()));
                }
            }
        }
        Ok(fields)
    }

    /// Checks the rules that come first in a request of either HTTP version: no body, which could be mistaken for frames
    /// or for the next request, and version 13, once.
    pub fn check_request(&self) -> Result<(), Fault> {
        if self.announces_body {
            return Err(Fault::UnexpectedBody);
        }
        match once(&self.version, "Sec-WebSocket-Version")? {
            Some(VERSION) => Ok(()),
            _ => Err(Fault::UnsupportedVersion),
        }
    }

    /// Completes the parsing of a request.
    pub fn into_asked(self, host: String, target: String, key: String) -> Result<Asked, Fault> {
        let subprotocols: Vec<String> = elements(&self.subprotocols).map(str::to_owned).collect();
        // The grammar is 1#token, so a list must not be empty (§4.3).
        let missing = subprotocols.is_empty() && !self.subprotocols.is_empty();
        if missing || !subprotocols.iter().all(|name| is_token(name)) || !are_unique(&subprotocols) {
            return Err(Fault::InvalidSubprotocol);
        }
        let extensions = extension::parse(self.extensions.iter().map(|value| value.as_bytes()))?;
        Ok(Asked { host, target, headers: self.others, subprotocols, extensions, key })
    }

    /// Completes the parsing of an answer to a client that offered `subprotocols`.
    pub fn into_answered(self, offered_subprotocols: &[String]) -> Result<Answered, Fault> {
        let subprotocol = once(&self.subprotocols, "Sec-WebSocket-Protocol")?.map(str::to_owned);
        if subprotocol.as_ref().is_some_and(|name| !offered_subprotocols.contains(name)) {
            return Err(Fault::UnofferedSubprotocol);
        }
        let extensions = extension::parse(self.extensions.iter().map(|value| value.as_bytes()))?;
        Ok(Answered { subprotocol, extensions, headers: self.others })
    }
}

/// Writes the headers of a request common to both HTTP versions, the caller's last.
pub(crate) fn write_asked(request: &Request) -> Result<Vec<(String, String)>, Misuse> {
    let Request { host, target, headers, subprotocols, extensions } = request;
    if !is_host(host) {
        return misuse(format!(
            "host {host:?} must be a host, or host:port, in ASCII: an international name in its xn-- form, an IPv6 \
             address in brackets, credentials in an Authorization header"
        ));
    }
    if !target.starts_with('/') || !is_made_of(target, is_target_char) {
        return misuse(format!(
            "target {target:?} must be a path that starts with '/', perhaps with a query, without a fragment, and \
             percent-encoded"
        ));
    }
    if !subprotocols.iter().all(|name| is_token(name)) || !are_unique(subprotocols) {
        return misuse(format!("subprotocols {subprotocols:?} must be tokens (RFC 9110 §5.6.2), no two the same"));
    }
    let mut lines = vec![line("Sec-WebSocket-Version", VERSION)];
    write_negotiated(&mut lines, &subprotocols.join(", "), extensions)?;
    write_extra(&mut lines, headers)?;
    Ok(lines)
}

/// Writes the headers of an acceptance common to both HTTP versions, the caller's last.
pub(crate) fn write_answered(
    asked_subprotocols: &[String],
    answered: &Answered,
) -> Result<Vec<(String, String)>, Misuse> {
    let Answered { subprotocol, extensions, headers } = answered;
    if let Some(name) = subprotocol.as_ref().filter(|name| !asked_subprotocols.contains(name)) {
        return misuse(format!("subprotocol {name:?} must be one of those that the client asked for, or None"));
    }
    let mut lines = Vec::new();
    write_negotiated(&mut lines, subprotocol.as_deref().unwrap_or_default(), extensions)?;
    write_extra(&mut lines, headers)?;
    Ok(lines)
}

/// Writes the headers of a refusal common to both HTTP versions, the caller's first.
///
/// A Content-Length among `headers` is kept if it is right, because web frameworks add one to all responses.
pub(crate) fn write_refused(
    status: u16,
    headers: &[(String, String)],
    body_len: usize,
) -> Result<Vec<(String, String)>, Misuse> {
    check_body(status, body_len)?;
    let (lengths, extra): (Vec<_>, Vec<_>) =
        headers.iter().cloned().partition(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if lengths.iter().any(|(_, value)| value.parse() != Ok(body_len)) {
        return misuse(format!("Content-Length must be that of the body, {body_len}: leave it out and it is written"));
    }
    let mut lines = Vec::new();
    write_extra(&mut lines, &extra)?;
    if status == 426 {
        lines.push(line("Sec-WebSocket-Version", VERSION));
    }
    if has_length(status) {
        lines.push(content_length(body_len));
    }
    Ok(lines)
}

/// Checks a header given by the caller. With `of_handshake` it must not be one that the handshake itself writes.
///
/// # Errors
///
/// The header is not allowed. The message says what to do.
pub fn check_header(name: &str, value: &str, of_handshake: bool) -> Result<(), Misuse> {
    if let Some(advice) = written_by_handshake(&name.to_ascii_lowercase()).filter(|_| of_handshake) {
        return forbidden(name, advice);
    }
    check_field(name, value)
}

/// Writes the headers common to both HTTP versions of the refusal of a broken handshake, and a body that names the rule.
pub(crate) fn explain(fault: &Fault) -> (Vec<(String, String)>, String) {
    let body = format!("{fault} ({})\n", fault.section());
    let mut lines = vec![line("Content-Type", "text/plain; charset=utf-8")];
    if *fault == Fault::UnsupportedVersion {
        lines.push(line("Sec-WebSocket-Version", VERSION));
    }
    lines.push(content_length(body.len()));
    (lines, body)
}

/// The only value among `lines`, or `None` if there is none.
pub(crate) fn once<'a>(lines: &'a [Cow<'_, str>], name: &'static str) -> Result<Option<&'a str>, Fault> {
    match lines {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => Err(Fault::RepeatedHeader(name)),
    }
}

/// The elements of a list over several lines. Empty ones are ignored (RFC 9110 §5.6.1.2).
pub(crate) fn elements<'a>(lines: &'a [Cow<'_, str>]) -> impl Iterator<Item = &'a str> {
    lines.iter().flat_map(|value| value.split(',')).map(trim).filter(|element| !element.is_empty())
}

fn write_negotiated(
    lines: &mut Vec<(String, String)>,
    subprotocols: &str,
    extensions: &[Element],
) -> Result<(), Misuse> {
    let written = extensions.iter().map(Element::to_string).collect::<Vec<_>>().join(", ");
    // Guard against injection: a name must not add a parameter or another extension.
    if !extensions.is_empty() && extension::parse([written.as_bytes()]).as_deref() != Ok(extensions) {
        return misuse(format!(
            "extensions {written:?} must be names and parameters that are tokens (RFC 6455 §9.1), values too"
        ));
    }
    for (name, value) in [("Sec-WebSocket-Protocol", subprotocols), ("Sec-WebSocket-Extensions", &written)] {
        if !value.is_empty() {
            lines.push(line(name, value));
        }
    }
    Ok(())
}

fn write_extra(lines: &mut Vec<(String, String)>, headers: &[(String, String)]) -> Result<(), Misuse> {
    for (name, value) in headers {
        if let Some(advice) = instead_of(&name.to_ascii_lowercase()) {
            return forbidden(name, advice);
        }
        check_field(name, value)?;
        lines.push((name.clone(), value.clone()));
    }
    Ok(())
}

fn forbidden<T>(name: &str, advice: &str) -> Result<T, Misuse> {
    misuse(format!("header {name:?} may not be given: {advice}"))
}

/// The alternative to giving the header `name` with a handshake, or `None` if the header is allowed.
fn instead_of(name: &str) -> Option<&'static str> {
    written_by_handshake(name).or(match name {
        "content-length" => Some(WRITTEN),
        "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "http2-settings" => {
            Some("it speaks of the HTTP connection, which is not the caller's; leave it out")
        }
        _ if name.starts_with("sec-websocket-") => Some(OWN),
        _ => None,
    })
}

/// The alternative to giving the header `name`, if it is one that [`Fields`] does not pass on.
fn written_by_handshake(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("use the argument `host`"),
        "sec-websocket-protocol" => Some("use `subprotocols` in a request, `subprotocol` in an answer"),
        "sec-websocket-extensions" => Some("use the argument `extensions`"),
        "upgrade" | "connection" => Some(WRITTEN),
        "sec-websocket-key" | "sec-websocket-accept" | "sec-websocket-version" => Some(OWN),
        _ if name.starts_with(':') => Some("pseudo-headers are written from `host` and `target`; leave it out"),
        _ => None,
    }
}

fn are_unique(names: &[String]) -> bool {
    let mut seen = HashSet::with_capacity(names.len());
    names.iter().all(|name| seen.insert(name))
}

const WRITTEN: &str = "it is written where it is needed";

const OWN: &str = "the handshake writes it; leave it out";

/// The version of the protocol (RFC 6455 §4.1).
const VERSION: &str = "13";

/// Helpers for the tests of both handshakes.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub fn bytes<'a>(lines: &[(&'a str, &'a str)]) -> Vec<Line<'a>> {
        lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    pub fn pairs(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| line(name, value)).collect()
    }

    pub fn borrowed(headers: &[(String, String)]) -> Vec<Line<'_>> {
        headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    pub fn request() -> Request {
        Request { host: String::from("server.example.com"), target: String::from("/chat"), ..Request::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{pairs, request};
    use super::*;

    fn read<'a>(lines: &[(&'a str, &'a str)]) -> Result<Fields<'a>, Fault> {
        Fields::read(lines.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn asked(lines: &[(&str, &str)]) -> Result<Asked, Fault> {
        read(lines)?.into_asked(String::from("h"), String::from("/"), String::new())
    }

    fn answer(asked: &[String], subprotocol: Option<&str>) -> Result<Vec<(String, String)>, Misuse> {
        write_answered(asked, &Answered { subprotocol: subprotocol.map(str::to_owned), ..Answered::default() })
    }

    fn advice(name: &str, value: &str) -> String {
        write_asked(&Request { headers: pairs(&[(name, value)]), ..request() }).unwrap_err().0
    }

    #[test]
    fn what_is_received_may_be_given() {
        for (name, value) in [("te", "trailers"), ("content-length", "0"), ("sec-websocket-other", "\u{80}\u{ff}")] {
            assert_eq!(check_header(name, value, true), Ok(()), "{name}");
        }
        for name in ["Host", "upgrade", "Connection", "sec-websocket-KEY", "sec-websocket-extensions", ":path"] {
            assert!(check_header(name, "1", true).is_err(), "{name}");
            assert_eq!(check_header(name, "1", false).is_ok(), !name.starts_with(':'), "{name}");
        }
    }

    #[test]
    fn a_header_name_is_a_token_either_way() {
        for name in ["", " ", "a ", " a", "a b", "a:", "a\r\nb", "a\0", "a(b", "ä", "\t"] {
            assert_eq!(read(&[(name, "1")]).err(), Some(Fault::MalformedHeader), "{name:?}");
            assert!(advice(name, "1").contains("must be a token"), "{name:?}");
        }
        assert!(read(&[("!#$%&'*+-.^_`|~09azAZ", "1")]).is_ok());
    }

    #[test]
    fn a_header_value_has_no_control_character_either_way() {
        for value in ["a\rb", "a\nb", "a\r\n b: c", "\0", "a\x0bb", "\x1b", "\x7f"] {
            assert_eq!(read(&[("x", value)]).err(), Some(Fault::MalformedHeader), "{value:?}");
            assert!(advice("X", value).contains("no control character"), "{value:?}");
        }
        assert_eq!(asked(&[("x", "a\tb c")]).unwrap().headers, pairs(&[("x", "a\tb c")]));
    }

    #[test]
    fn bytes_above_7f_of_a_value_are_characters_either_way() {
        let bytes: Vec<u8> = (0x80..=0xFF).collect();
        let value: String = ('\u{80}'..='\u{ff}').collect();
        let fields = Fields::read([(&b"x"[..], &bytes[..]), (b"y", "\u{fc}".as_bytes())]).unwrap();
        let expected = pairs(&[("x", &value), ("y", "\u{c3}\u{bc}")]);
        assert_eq!(fields.others, expected);
        let lines = write_asked(&Request { headers: expected.clone(), ..request() }).unwrap();
        assert_eq!(lines[1..], expected);
        assert!(advice("X", "\u{100}").contains("latin-1"));
    }

    #[test]
    fn space_around_an_incoming_value_is_trimmed() {
        assert_eq!(asked(&[("X", " \t a b\t ")]).unwrap().headers, pairs(&[("x", "a b")]));
    }

    #[test]
    fn space_around_a_value_to_send_is_misuse() {
        assert!(advice("x", " a").contains("ends"));
        assert!(advice("x", "a\t").contains("ends"));
    }

    #[test]
    fn the_message_of_misuse_does_not_show_the_value() {
        assert!(!advice("authorization", "secret\n").contains("secret"));
    }

    #[test]
    fn headers_are_handed_on_in_order_with_names_in_lower_case() {
        let headers = asked(&[("Origin", "null"), ("X", "1"), ("Sec-WebSocket-Version", "13"), ("x", "2")]);
        assert_eq!(headers.unwrap().headers, pairs(&[("origin", "null"), ("x", "1"), ("x", "2")]));
    }

    #[test]
    fn headers_of_the_handshake_are_not_handed_on() {
        let lines = [
            ("host", "a"),
            ("upgrade", "a"),
            ("connection", "a"),
            ("sec-websocket-key", "a"),
            ("sec-websocket-accept", "a"),
            ("sec-websocket-version", "a"),
            ("sec-websocket-protocol", "a"),
            ("sec-websocket-extensions", "a"),
        ];
        assert_eq!(asked(&lines).unwrap().headers, []);
    }

    #[test]
    fn a_body_other_than_none_is_a_fault() {
        for (name, value) in [
            ("content-length", "1"),
            ("content-length", ""),
            ("content-length", "0, 1"),
            ("transfer-encoding", "chunked"),
        ] {
            let fields = read(&[("sec-websocket-version", "13"), (name, value)]).unwrap();
            assert_eq!(fields.check_request(), Err(Fault::UnexpectedBody), "{name}: {value}");
        }
        assert_eq!(read(&[("sec-websocket-version", "13"), ("content-length", "0")]).unwrap().check_request(), Ok(()));
    }

    #[test]
    fn the_version_is_13_and_nothing_else() {
        for value in ["", "8", "013", "13, 8", "14", "x"] {
            let fields = read(&[("sec-websocket-version", value)]).unwrap();
            assert_eq!(fields.check_request(), Err(Fault::UnsupportedVersion), "{value}");
        }
        assert_eq!(read(&[]).unwrap().check_request(), Err(Fault::UnsupportedVersion));
    }

    #[test]
    fn two_versions_are_a_fault_even_if_the_same() {
        let fields = read(&[("sec-websocket-version", "13"), ("sec-websocket-version", "13")]).unwrap();
        assert_eq!(fields.check_request(), Err(Fault::RepeatedHeader("Sec-WebSocket-Version")));
    }

    #[test]
    fn subprotocols_are_a_list_over_several_lines() {
        let lines = [("Sec-WebSocket-Protocol", "a,\tb ,, c"), ("sec-websocket-protocol", ",A")];
        assert_eq!(asked(&lines).unwrap().subprotocols, ["a", "b", "c", "A"]);
    }

    #[test]
    fn a_subprotocol_asked_for_twice_is_a_fault() {
        let lines = [("sec-websocket-protocol", "a, b"), ("sec-websocket-protocol", "a")];
        assert_eq!(asked(&lines), Err(Fault::InvalidSubprotocol));
    }

    #[test]
    fn a_subprotocol_that_is_no_token_is_a_fault() {
        for value in ["a b", "a/b", "\"a\"", "a;b", "(a)"] {
            assert_eq!(asked(&[("sec-websocket-protocol", value)]), Err(Fault::InvalidSubprotocol), "{value}");
        }
    }

    #[test]
    fn a_list_of_no_subprotocols_is_a_fault() {
        for value in ["", " , ,"] {
            assert_eq!(asked(&[("sec-websocket-protocol", value)]), Err(Fault::InvalidSubprotocol), "{value:?}");
        }
    }

    #[test]
    fn the_answered_subprotocol_is_one_that_was_offered() {
        let offered = [String::from("chat"), String::from("soap")];
        let answered = |lines: &[(&str, &str)]| read(lines).unwrap().into_answered(&offered);
        assert_eq!(answered(&[]).unwrap().subprotocol, None);
        assert_eq!(answered(&[("sec-websocket-protocol", " soap ")]).unwrap().subprotocol.as_deref(), Some("soap"));
        for value in ["Soap", "chat, soap", "x", ""] {
            assert_eq!(answered(&[("sec-websocket-protocol", value)]), Err(Fault::UnofferedSubprotocol), "{value}");
        }
    }

    #[test]
    fn two_answered_subprotocols_are_a_fault_even_if_the_same() {
        let fields = read(&[("sec-websocket-protocol", "a"), ("sec-websocket-protocol", "a")]).unwrap();
        let fault = fields.into_answered(&[String::from("a")]);
        assert_eq!(fault, Err(Fault::RepeatedHeader("Sec-WebSocket-Protocol")));
    }

    #[test]
    fn subprotocols_to_ask_for_are_tokens_and_unique() {
        for names in [vec![""], vec!["a b"], vec!["a,b"], vec!["a", "b", "a"], vec!["ü"]] {
            let subprotocols = names.iter().map(|&name| name.to_owned()).collect();
            assert!(write_asked(&Request { subprotocols, ..request() }).is_err(), "{names:?}");
        }
    }

    #[test]
    fn a_server_chooses_a_subprotocol_that_was_asked_for() {
        let asked = [String::from("chat")];
        assert!(answer(&asked, Some("Chat")).is_err());
        assert!(answer(&[], Some("chat")).is_err());
        let lines = answer(&asked, Some("chat"));
        assert_eq!(lines, Ok(pairs(&[("Sec-WebSocket-Protocol", "chat")])));
        assert_eq!(answer(&asked, None), Ok(vec![]));
    }

    #[test]
    fn extensions_to_send_are_read_as_they_were_meant() {
        let element = |name: &str, params: &[(&str, Option<&str>)]| {
            let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            Element { name: name.to_owned(), params }
        };
        let several = [element("a", &[("b", None), ("c", Some("d"))]), element("e", &[])];
        let answer = |extensions: &[Element]| {
            write_answered(&[], &Answered { extensions: extensions.to_vec(), ..Answered::default() })
        };
        let lines = answer(&several);
        assert_eq!(lines, Ok(pairs(&[("Sec-WebSocket-Extensions", "a; b; c=d, e")])));
        let wrong = ["", " ", "a\r\nb: c", " a", "ü", "a, b", "a; b", "a b", "\"a\"", "a=b"];
        let names = wrong.iter().map(|it| element(it, &[]));
        let params = wrong.iter().map(|it| element("a", &[(it, None)]));
        let values = wrong.iter().map(|it| element("a", &[("b", Some(it))]));
        for extension in names.chain(params).chain(values) {
            let extensions = vec![element("x", &[]), extension];
            assert!(answer(&extensions).is_err(), "{extensions:?}");
            assert!(write_asked(&Request { extensions, ..request() }).is_err());
        }
    }

    #[test]
    fn headers_of_the_handshake_are_misuse_with_an_advice() {
        for (name, word) in [
            ("Host", "`host`"),
            ("sec-websocket-protocol", "`subprotocols`"),
            ("Sec-WebSocket-Extensions", "`extensions`"),
            ("Sec-WebSocket-Key", "leave it out"),
            ("sec-websocket-version", "leave it out"),
            ("Sec-WebSocket-Accept", "leave it out"),
            ("sec-websocket-other", "leave it out"),
            ("UPGRADE", "written"),
            ("connection", "written"),
            ("Content-Length", "written"),
            ("Transfer-Encoding", "leave it out"),
            ("te", "leave it out"),
            ("Keep-Alive", "leave it out"),
            ("Proxy-Connection", "leave it out"),
            (":path", "`target`"),
        ] {
            assert!(advice(name, "1").contains(word), "{name}: {}", advice(name, "1"));
            assert!(
                write_answered(&[], &Answered { headers: pairs(&[(name, "1")]), ..Answered::default() }).is_err(),
                "{name}"
            );
            assert!(write_refused(403, &pairs(&[(name, "1")]), 0).is_err(), "{name}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "example.com",
            "example.com:80",
            "example.com:",
            "a_b",
            "xn--bcher-kva.example",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:db8::1]:443",
            "[v1.a:b]",
            "%41",
            "localhost",
        ] {
            assert!(is_host(host), "{host}");
            assert!(write_asked(&Request { host: host.to_owned(), ..request() }).is_ok(), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "user@example.com",
            "user:pw@example.com",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]a",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "a,b c",
            "a%4",
            "a%zz",
            "ü",
            "a\r\nb",
            "<a>",
            "[a]",
        ] {
            assert!(!is_host(host), "{host}");
            assert!(write_asked(&Request { host: host.to_owned(), ..request() }).is_err(), "{host}");
        }
    }

    #[test]
    fn a_target_to_send_is_a_path_and_query_of_rfc_3986() {
        for target in ["/", "/chat?a=b&c=/?", "//a", "/%20", "/:@!$&'()*+,;=-._~"] {
            assert!(write_asked(&Request { target: target.to_owned(), ..request() }).is_ok(), "{target}");
        }
        for target in ["", "chat", "*", "http://a/", "/a b", "/#a", "/a\r\nb", "/ü", "/%", "/%2", "/%gg", "/|", "/\""]
        {
            assert!(write_asked(&Request { target: target.to_owned(), ..request() }).is_err(), "{target}");
        }
    }

    #[test]
    fn a_refusal_keeps_a_content_length_only_if_it_is_right() {
        let lines = write_refused(403, &pairs(&[("content-length", "2"), ("x", "1")]), 2);
        assert_eq!(lines, Ok(pairs(&[("x", "1"), ("Content-Length", "2")])));
        assert!(write_refused(403, &pairs(&[("Content-Length", "3")]), 2).is_err());
        assert!(write_refused(403, &pairs(&[("Content-Length", "2, 2")]), 2).is_err());
    }

    #[test]
    fn a_status_without_a_body_has_none() {
        for status in [204, 205, 304] {
            assert!(write_refused(status, &[], 1).is_err(), "{status}");
        }
        assert_eq!(write_refused(204, &[], 0), Ok(vec![]));
        assert_eq!(write_refused(304, &[], 0), Ok(vec![]));
        assert_eq!(write_refused(205, &[], 0), Ok(pairs(&[("Content-Length", "0")])));
    }

    #[test]
    fn ten_thousand_headers_take_a_moment() {
        let names: Vec<String> = (0..10_000).map(|index| format!("p{index}")).collect();
        let lines: Vec<(&str, &str)> = names.iter().map(|name| ("sec-websocket-protocol", name.as_str())).collect();
        let before = std::time::Instant::now();
        assert_eq!(asked(&lines).unwrap().subprotocols.len(), 10_000);
        assert!(before.elapsed().as_secs() < 2);
    }
}
