//! Sec-WebSocket-Extensions: its grammar (RFC 6455 §9.1) and the negotiation of permessage-deflate (RFC 7692 §5, §7, §7.1).

use std::fmt;

use crate::fault::Fault;
use crate::grammar::is_token_byte;

/// One element of Sec-WebSocket-Extensions: an offer of a client or the answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The extension-token.
    pub name: String,
    /// Names and values of the parameters, in order. A value is a token, without quotes.
    pub params: Vec<(String, Option<String>)>,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (name, value) in &self.params {
            write!(f, "; {name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// The most elements of a header, over all its lines. Browsers offer one or two.
pub const MAX_ELEMENTS: usize = 32;
/// The most parameters of an element. permessage-deflate defines four.
pub const MAX_PARAMS: usize = 16;

/// Parses `lines`, the values of all Sec-WebSocket-Extensions headers of a handshake, as one list.
///
/// Without lines there are no elements. Empty elements are skipped (RFC 9110 §5.6.1). White space is allowed wherever §9.1
/// allows it, also beside `=`: its grammar is that of RFC 2616, with implied space between words.
///
/// # Errors
///
/// [`Fault::MalformedExtensions`], for a violation of the grammar, for lines without any element, and for more than
/// [`MAX_ELEMENTS`] or [`MAX_PARAMS`].
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Element>, Fault> {
    let mut elements = Vec::new();
    let mut present = false;
    for line in lines {
        present = true;
        parse_line(line, &mut elements).ok_or(Fault::MalformedExtensions)?;
    }
    if present && elements.is_empty() { Err(Fault::MalformedExtensions) } else { Ok(elements) }
}

/// The configuration of permessage-deflate on one side: the offer of a client, or the limits of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// Whether the server is to start each message with an empty window.
    pub server_no_context_takeover: bool,
    /// Whether the client is to start each message with an empty window.
    pub client_no_context_takeover: bool,
    /// The largest window of the server, 8 to 15 bits; `None` is 15, without a parameter.
    pub server_max_window_bits: Option<u8>,
    /// On a client, `Some` allows the server to limit the client's window, which is at most the given bits, 8 to 15, in
    /// any case. On a server, `Some(Some(bits))` limits the window of clients that allow it.
    pub client_max_window_bits: Option<Option<u8>>,
}

impl PerMessageDeflate {
    /// Returns the offer of a client.
    #[must_use]
    pub fn offer(&self) -> Element {
        Params {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits,
            client_max_window_bits: self.client_max_window_bits,
        }
        .element()
    }

    /// On a server, decides on one element of a client's offer; returns the agreed parameters and the answer.
    ///
    /// `None` declines. RFC 7692 §7 requires that for a parameter that is unknown, repeated or has a wrong value. The offers of
    /// a client are alternatives in order of preference (§5). The first that is accepted counts.
    #[must_use]
    pub fn accept(&self, offer: &Element) -> Option<(Agreed, Element)> {
        let offer = Params::of(offer)?;
        let server = smaller(offer.server_max_window_bits, self.server_max_window_bits);
        // Without the parameter in the offer, the client might not support a limit (§7.1.2.2).
        let client = offer
            .client_max_window_bits
            .map_or(MAX_WINDOW_BITS, |offered| smaller(offered, self.client_max_window_bits.flatten()));
        let answer = Params {
            server_no_context_takeover: offer.server_no_context_takeover || self.server_no_context_takeover,
            client_no_context_takeover: offer.client_no_context_takeover || self.client_no_context_takeover,
            // The answer to an offer with it has it too, even if it is 15 (§7.1.2.1).
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server < MAX_WINDOW_BITS)
                .then_some(server),
            client_max_window_bits: (client < MAX_WINDOW_BITS).then_some(Some(client)),
        };
        Some((answer.agreed(), answer.element()))
    }

    /// On a client, checks that `answer` is a valid answer to `self.offer()`; returns the agreed parameters.
    ///
    /// # Errors
    ///
    /// [`Fault::UnacceptableExtension`], if it is another extension, or breaks §7, §7.1.1 or §7.1.2.
    pub fn agree(&self, answer: &Element) -> Result<Agreed, Fault> {
        let answer = Params::of(answer).ok_or(Fault::UnacceptableExtension)?;
        // Without the parameter the window is 15 bits, as in an offer of 15 (§7.1.2.1).
        let server_window =
            answer.agreed().server_max_window_bits <= self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
        let client_window = match (self.client_max_window_bits, answer.client_max_window_bits) {
            (_, None) => true,
            (Some(offered), Some(Some(bits))) => bits <= offered.unwrap_or(MAX_WINDOW_BITS),
            (None, Some(_)) | (_, Some(None)) => false,
        };
        let server_takeover = answer.server_no_context_takeover || !self.server_no_context_takeover;
        if !(server_window && client_window && server_takeover) {
            return Err(Fault::UnacceptableExtension);
        }
        // The client keeps to its own offered limits, whatever the answer (§7.1.1.2, §7.1.2.2).
        let mut agreed = answer.agreed();
        agreed.client_no_context_takeover |= self.client_no_context_takeover;
        agreed.client_max_window_bits =
            smaller(Some(agreed.client_max_window_bits), self.client_max_window_bits.flatten());
        Ok(agreed)
    }
}

/// The agreed parameters of permessage-deflate. They are equal on both sides, or stricter on the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Whether the server starts each message with an empty window.
    pub server_no_context_takeover: bool,
    /// Whether the client starts each message with an empty window.
    pub client_no_context_takeover: bool,
    /// The server's window in bits, 8 to 15.
    pub server_max_window_bits: u8,
    /// The client's window in bits, 8 to 15.
    pub client_max_window_bits: u8,
}

/// The parameters of permessage-deflate in an element.
#[expect(clippy::option_option, reason = "absent, without a value, or with one (§7.1.2.2)")]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Params {
    /// Parses an element; `None` if it is not permessage-deflate, or invalid (§7).
    fn of(element: &Element) -> Option<Self> {
        if element.name != PERMESSAGE_DEFLATE {
            return None;
        }
        let (mut server_takeover, mut client_takeover, mut server_bits, mut client_bits) = (None, None, None, None);
        for (name, value) in &element.params {
            let value = value.as_deref();
            let repeated = match name.as_str() {
                SERVER_NO_CONTEXT_TAKEOVER => server_takeover.replace(absent(value)?).is_some(),
                CLIENT_NO_CONTEXT_TAKEOVER => client_takeover.replace(absent(value)?).is_some(),
                SERVER_MAX_WINDOW_BITS => server_bits.replace(window_bits(value?)?).is_some(),
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = match value {
                        Some(value) => Some(window_bits(value)?),
                        None => None,
                    };
                    client_bits.replace(bits).is_some()
                }
                _ => return None,
            };
            if repeated {
                return None;
            }
        }
        Some(Self {
            server_no_context_takeover: server_takeover.is_some(),
            client_no_context_takeover: client_takeover.is_some(),
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        })
    }

    fn element(&self) -> Element {
        let mut params = Vec::new();
        let mut add = |name: &str, value: Option<u8>| params.push((name.into(), value.map(|bits| bits.to_string())));
        if self.server_no_context_takeover {
            add(SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if self.client_no_context_takeover {
            add(CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if let Some(bits) = self.server_max_window_bits {
            add(SERVER_MAX_WINDOW_BITS, Some(bits));
        }
        if let Some(bits) = self.client_max_window_bits {
            add(CLIENT_MAX_WINDOW_BITS, bits);
        }
        Element { name: PERMESSAGE_DEFLATE.into(), params }
    }

    /// The agreed parameters that these mean in an answer.
    fn agreed(&self) -> Agreed {
        Agreed {
            server_no_context_takeover: self.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: self.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS),
            client_max_window_bits: self.client_max_window_bits.flatten().unwrap_or(MAX_WINDOW_BITS),
        }
    }
}

fn absent(value: Option<&str>) -> Option<()> {
    if value.is_some() { None } else { Some(()) }
}

fn window_bits(value: &str) -> Option<u8> {
    // `u8::from_str` would take "+9" and "09".
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

fn smaller(one: Option<u8>, other: Option<u8>) -> u8 {
    one.unwrap_or(MAX_WINDOW_BITS).min(other.unwrap_or(MAX_WINDOW_BITS))
}

fn parse_line(line: &[u8], elements: &mut Vec<Element>) -> Option<()> {
    let mut rest = Scanner { bytes: line };
    loop {
        rest.skip_space();
        if !rest.is_empty() && rest.bytes.first() != Some(&b',') {
            let element = parse_element(&mut rest)?;
            if elements.len() == MAX_ELEMENTS {
                return None;
            }
            elements.push(element);
        }
        if rest.is_empty() {
            return Some(());
        }
        if !rest.take(b',') {
            return None;
        }
    }
}

fn parse_element(rest: &mut Scanner<'_>) -> Option<Element> {
    let name = rest.token()?;
    let mut params = Vec::new();
    while rest.take(b';') {
        if params.len() == MAX_PARAMS {
            return None;
        }
        let name = rest.token()?;
        let value = if rest.take(b'=') { Some(rest.value()?) } else { None };
        params.push((name, value));
    }
    Some(Element { name, params })
}

/// The rest of a line. All methods but `skip_space` also skip the white space after what they parse.
struct Scanner<'a> {
    bytes: &'a [u8],
}

impl Scanner<'_> {
    const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.bytes {
            self.bytes = rest;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.bytes {
            [first, rest @ ..] if *first == byte => {
                self.bytes = rest;
                self.skip_space();
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Option<String> {
        let len = self.bytes.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.bytes.len());
        let (token, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        self.skip_space();
        (!token.is_empty()).then(|| token.iter().copied().map(char::from).collect())
    }

    fn value(&mut self) -> Option<String> {
        let [b'"', rest @ ..] = self.bytes else { return self.token() };
        let mut rest = rest.iter();
        let mut token = String::new();
        loop {
            let byte = match *rest.next()? {
                b'"' => break,
                b'\\' => *rest.next()?,
                byte => byte,
            };
            // Quoted or not, a value must be a token (§9.1).
            if !is_token_byte(byte) {
                return None;
            }
            token.push(char::from(byte));
        }
        self.bytes = rest.as_slice();
        self.skip_space();
        (!token.is_empty()).then_some(token)
    }
}

/// The extension-token of permessage-deflate (RFC 7692 §5).
pub const PERMESSAGE_DEFLATE: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const MAX_WINDOW_BITS: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lines: &[&str]) -> Result<Vec<String>, Fault> {
        let elements = parse(lines.iter().map(|line| line.as_bytes()))?;
        Ok(elements.iter().map(ToString::to_string).collect())
    }

    /// permessage-deflate with the parameters of `params`, written `; a; b=1`.
    fn pmd(params: &str) -> Element {
        parse([format!("permessage-deflate{params}").as_bytes()]).unwrap().remove(0)
    }

    const NOTHING: PerMessageDeflate = PerMessageDeflate {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: None,
        client_max_window_bits: None,
    };

    fn accepted(server: &PerMessageDeflate, offer: &str) -> Option<String> {
        server.accept(&pmd(offer)).map(|(_, answer)| {
            answer.to_string().strip_prefix("permessage-deflate").expect("the name is the same").to_owned()
        })
    }

    #[test]
    fn lines_are_one_list_with_its_order() {
        assert_eq!(written(&[]).unwrap(), [""; 0]);
        assert_eq!(written(&["foo"]).unwrap(), ["foo"]);
        assert_eq!(written(&["foo", "bar; baz=2"]).unwrap(), ["foo", "bar; baz=2"]);
        assert_eq!(written(&["foo, bar; baz=2"]).unwrap(), ["foo", "bar; baz=2"]);
        assert_eq!(written(&["a;b;c=1,d;e=\"2\";f", "a"]).unwrap(), ["a; b; c=1", "d; e=2; f", "a"]);
        assert_eq!(written(&["!#$%&'*+-.^_`|~09azAZ"]).unwrap(), ["!#$%&'*+-.^_`|~09azAZ"]);
        let params = vec![("b".into(), None), ("c".into(), Some("1".into()))];
        assert_eq!(parse([&b"a;b;c=1"[..]]).unwrap(), [Element { name: "a".into(), params }]);
    }

    #[test]
    fn space_may_stand_around_separators_and_empty_elements_between() {
        assert_eq!(written(&[" \ta\t ; b \t= 1\t,  c ; d = \"2\" "]).unwrap(), ["a; b=1", "c; d=2"]);
        assert_eq!(written(&[",", " , ,a,, \t,b , ", ""]).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_quoted_value_is_the_token_within() {
        assert_eq!(written(&["a; b=\"\\1\\5\"; c=\"x\"\t; d"]).unwrap(), ["a; b=15; c=x; d"]);
    }

    #[test]
    fn all_else_is_malformed() {
        for line in [
            "",
            " ",
            ",",
            " , ,",
            ";",
            "a;",
            "a;,b",
            "a;;b",
            "=",
            "a=1",
            "a; =1",
            "a; b=",
            "a; b=,c",
            "a; b==1",
            "a b",
            "a; b c",
            "a; b=1 2",
            "a; b=\"\"",
            "a; b=\"1",
            "a; b=\"1\\",
            "a; b=\"1\\\"",
            "a; b=\"1 2\"",
            "a; b=\"1,2\"",
            "a; b=\"1\"2",
            "a; b=\"1\"\"2\"",
            "a; b=\"\\\"\"",
            "\"a\"",
            "a; \"b\"",
            "a/b",
            "a@",
            "a; b=(1)",
            "é",
            "a\0",
            "a\r\nb",
            "a; b=\"\x7f\"",
            "a, b=1",
            "a; b='1 '2",
        ] {
            assert_eq!(written(&[line]), Err(Fault::MalformedExtensions), "{line:?}");
            assert_eq!(written(&["a", &format!("{line};")]), Err(Fault::MalformedExtensions), "{line:?}");
        }
        assert_eq!(written(&["", ","]), Err(Fault::MalformedExtensions));
        assert_eq!(written(&["a; b=\"1", "2\""]), Err(Fault::MalformedExtensions));
        assert_eq!(parse([&b"a\xff"[..]]), Err(Fault::MalformedExtensions));
    }

    #[test]
    fn elements_and_parameters_have_a_bound() {
        let elements = |count| written(&[&vec!["a"; count].join(",")]).map(|list| list.len());
        assert_eq!(elements(MAX_ELEMENTS), Ok(MAX_ELEMENTS));
        assert_eq!(elements(MAX_ELEMENTS + 1), Err(Fault::MalformedExtensions));
        assert_eq!(written(&vec!["a"; MAX_ELEMENTS + 1]), Err(Fault::MalformedExtensions));
        let params = |count| written(&[&format!("a{}", "; b".repeat(count))]).map(|list| list.len());
        assert_eq!(params(MAX_PARAMS), Ok(1));
        assert_eq!(params(MAX_PARAMS + 1), Err(Fault::MalformedExtensions));
        assert_eq!(written(&[&",".repeat(1 << 20), "a"]).unwrap(), ["a"]);
    }

    #[test]
    fn any_bytes_parse_to_what_parses_to_itself_or_fail() {
        let alphabet = b"ab1=;,\"\\ \t\xe9(";
        let mut state = 1_u64;
        for _ in 0..50_000 {
            let line: Vec<u8> = (0..state >> 33 & 15)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
                })
                .collect();
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if let Ok(elements) = parse([line.as_slice()]) {
                let again = elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                assert_eq!(parse([again.as_bytes()]).unwrap(), elements, "{line:?}");
            }
        }
    }

    #[test]
    fn an_offer_names_what_is_wanted() {
        assert_eq!(NOTHING.offer().to_string(), "permessage-deflate");
        let browser = PerMessageDeflate { client_max_window_bits: Some(None), ..NOTHING };
        assert_eq!(browser.offer().to_string(), "permessage-deflate; client_max_window_bits");
        let all = PerMessageDeflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: Some(10),
            client_max_window_bits: Some(Some(9)),
        };
        assert_eq!(
            all.offer(),
            pmd("; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; \
                 client_max_window_bits=9")
        );
    }

    #[test]
    fn an_unknown_repeated_or_wrong_parameter_is_declined_and_fails_an_answer() {
        let able = PerMessageDeflate { client_max_window_bits: Some(None), ..NOTHING };
        for params in [
            "; x",
            "; Server_no_context_takeover",
            "; server_no_context_takeover=1",
            "; client_no_context_takeover=true",
            "; server_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits",
            "; server_max_window_bits=10; server_max_window_bits=10",
            "; client_max_window_bits=10; client_max_window_bits=10",
        ] {
            assert_eq!(able.accept(&pmd(params)), None, "{params}");
            assert_eq!(able.agree(&pmd(params)), Err(Fault::UnacceptableExtension), "{params}");
        }
        for value in ["7", "16", "0", "08", "09", "015", "+9", "-9", "9.0", "abc", "1", "80", "8 ", "256", "265"] {
            for name in ["server_max_window_bits", "client_max_window_bits"] {
                let element =
                    Element { name: PERMESSAGE_DEFLATE.into(), params: vec![(name.into(), Some(value.into()))] };
                assert_eq!(able.accept(&element), None, "{element}");
                assert_eq!(able.agree(&element), Err(Fault::UnacceptableExtension), "{element}");
            }
        }
        assert_eq!(able.accept(&pmd("; client_max_window_bits; client_max_window_bits")), None);
        let other = Element { name: "permessage-bzip2".into(), params: vec![] };
        assert_eq!(able.accept(&other), None);
        assert_eq!(able.agree(&other), Err(Fault::UnacceptableExtension));
    }

    #[test]
    fn a_server_with_no_wish_answers_what_is_asked() {
        for (offer, answer) in [
            ("", ""),
            ("; client_max_window_bits", ""),
            ("; client_max_window_bits=15", ""),
            ("; client_max_window_bits=9", "; client_max_window_bits=9"),
            ("; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("; server_max_window_bits=8", "; server_max_window_bits=8"),
            ("; server_max_window_bits=\"1\\0\"", "; server_max_window_bits=10"),
            ("; server_no_context_takeover", "; server_no_context_takeover"),
            ("; client_no_context_takeover", "; client_no_context_takeover"),
        ] {
            assert_eq!(accepted(&NOTHING, offer).as_deref(), Some(answer), "{offer}");
        }
    }

    #[test]
    fn a_server_limits_the_client_only_where_the_client_lets_it() {
        let server = PerMessageDeflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: Some(11),
            client_max_window_bits: Some(Some(12)),
        };
        let always = "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=";
        for (offer, bits, client) in [
            ("", "11", ""),
            ("; client_max_window_bits", "11", "; client_max_window_bits=12"),
            ("; client_max_window_bits=15", "11", "; client_max_window_bits=12"),
            ("; client_max_window_bits=8", "11", "; client_max_window_bits=8"),
            ("; server_max_window_bits=15", "11", ""),
            ("; server_max_window_bits=9", "9", ""),
        ] {
            assert_eq!(accepted(&server, offer).unwrap(), format!("{always}{bits}{client}"), "{offer}");
        }
        let (agreed, _) = server.accept(&pmd("; server_max_window_bits=9")).unwrap();
        assert_eq!((agreed.server_max_window_bits, agreed.client_max_window_bits), (9, 15));
    }

    #[test]
    fn a_client_fails_an_answer_that_its_offer_does_not_allow() {
        let takeover = PerMessageDeflate { server_no_context_takeover: true, ..NOTHING };
        let server_bits = PerMessageDeflate { server_max_window_bits: Some(10), ..NOTHING };
        let client_bits = PerMessageDeflate { client_max_window_bits: Some(Some(10)), ..NOTHING };
        let any_bits = PerMessageDeflate { client_max_window_bits: Some(None), ..NOTHING };
        for (client, answer) in [
            (&takeover, ""),
            (&takeover, "; client_no_context_takeover"),
            (&server_bits, ""),
            (&server_bits, "; server_max_window_bits=11"),
            (&NOTHING, "; client_max_window_bits=15"),
            (&NOTHING, "; client_max_window_bits"),
            (&client_bits, "; client_max_window_bits=11"),
            (&client_bits, "; client_max_window_bits"),
            (&any_bits, "; client_max_window_bits"),
        ] {
            assert_eq!(client.agree(&pmd(answer)), Err(Fault::UnacceptableExtension), "{client:?} {answer}");
        }
    }

    #[test]
    fn a_client_takes_what_a_server_may_add_and_keeps_to_its_own_offer() {
        let agreed = |client: &PerMessageDeflate, answer| {
            let agreed = client.agree(&pmd(answer)).unwrap();
            (
                agreed.server_no_context_takeover,
                agreed.client_no_context_takeover,
                agreed.server_max_window_bits,
                agreed.client_max_window_bits,
            )
        };
        assert_eq!(agreed(&NOTHING, ""), (false, false, 15, 15));
        assert_eq!(agreed(&NOTHING, "; server_max_window_bits=8"), (false, false, 8, 15));
        let full = PerMessageDeflate { server_max_window_bits: Some(15), ..NOTHING };
        assert_eq!(agreed(&full, ""), (false, false, 15, 15));
        let both = "; client_no_context_takeover; server_no_context_takeover";
        assert_eq!(agreed(&NOTHING, both), (true, true, 15, 15));
        let any_bits = PerMessageDeflate { client_max_window_bits: Some(None), ..NOTHING };
        assert_eq!(agreed(&any_bits, ""), (false, false, 15, 15));
        assert_eq!(agreed(&any_bits, "; client_max_window_bits=8"), (false, false, 15, 8));
        let own = PerMessageDeflate {
            client_no_context_takeover: true,
            server_max_window_bits: Some(10),
            client_max_window_bits: Some(Some(11)),
            ..NOTHING
        };
        assert_eq!(agreed(&own, "; server_max_window_bits=10"), (false, true, 10, 11));
        assert_eq!(agreed(&own, "; client_max_window_bits=9; server_max_window_bits=9"), (false, true, 9, 9));
    }

    #[test]
    fn every_client_takes_what_every_server_answers_and_both_mean_the_same() {
        let bits = [None, Some(8), Some(12), Some(15)];
        let mut all = Vec::new();
        for takeover in 0..4 {
            for server in bits {
                for client in [None, Some(None), Some(Some(8)), Some(Some(12)), Some(Some(15))] {
                    all.push(PerMessageDeflate {
                        server_no_context_takeover: takeover & 1 != 0,
                        client_no_context_takeover: takeover & 2 != 0,
                        server_max_window_bits: server,
                        client_max_window_bits: client,
                    });
                }
            }
        }
        for client in &all {
            for server in &all {
                let (at_server, answer) = server.accept(&client.offer()).unwrap();
                assert_eq!(client.agree(&answer), Ok(at_server), "{client:?} {server:?}");
            }
        }
    }
}
