"""`ws:` and `wss:` URLs (RFC 6455 §3, RFC 3986, RFC 6874, RFC 6066 §3, UTS 46)."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest

from mintws import Http1, Http2, LocalProtocolError, Role, UpgradeRequest
from mintws.url import parse

#: What stands between "//" and the path, where that leads to, and what Host and `:authority` are.
AUTHORITIES = {
    # Case and ports (RFC 3986 §3.2.2, §3.2.3).
    "example.com": ("example.com", 443, "example.com"),
    "EXAMPLE.com:8443": ("example.com", 8443, "example.com:8443"),
    "example.com:443": ("example.com", 443, "example.com"),
    "example.com:": ("example.com", 443, "example.com"),
    "example.com:0": ("example.com", 0, "example.com:0"),
    "example.com:000080": ("example.com", 80, "example.com:80"),
    # User and password are of no authority that is sent (RFC 9113 §8.3.1).
    "mint:tea@example.com:8443": ("example.com", 8443, "example.com:8443"),
    "mint@other.example@example.com": ("example.com", 443, "example.com"),
    "@example.com": ("example.com", 443, "example.com"),
    # A last dot is part of the name.
    "example.com.": ("example.com.", 443, "example.com."),
    "example.com.:8443": ("example.com.", 8443, "example.com.:8443"),
    # Names that DNS has or a file of hosts may have.
    "my_service-1": ("my_service-1", 443, "my_service-1"),
    "xn--bcher-kva.example": ("xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
    "a.0xg": ("a.0xg", 443, "a.0xg"),
    "1.example": ("1.example", 443, "1.example"),
    "a" * 63 + ".example": ("a" * 63 + ".example", 443, "a" * 63 + ".example"),
    # Percent-encoded UTF-8 (RFC 3986 §3.2.2).
    "ex%61mple%2Ecom": ("example.com", 443, "example.com"),
    "stra%C3%9Fe.de": ("xn--strae-oqa.de", 443, "xn--strae-oqa.de"),
    # IDNA 2008, mapped by UTS 46, not transitional.
    "bücher.example": ("xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
    "BÜCHER.Example:8443": ("xn--bcher-kva.example", 8443, "xn--bcher-kva.example:8443"),
    "straße.de": ("xn--strae-oqa.de", 443, "xn--strae-oqa.de"),
    "βόλος.com": ("xn--nxasmm1c.com", 443, "xn--nxasmm1c.com"),
    "日本語。jp": ("xn--wgv71a119e.jp", 443, "xn--wgv71a119e.jp"),
    "ｅｘａｍｐｌｅ.com": ("example.com", 443, "example.com"),
    "a\u00adb.example": ("ab.example", 443, "ab.example"),
    "_x.müller.de": ("_x.xn--mller-kva.de", 443, "_x.xn--mller-kva.de"),
    # IPv4, in the one form that all read in the same way.
    "127.0.0.1:8443": ("127.0.0.1", 8443, "127.0.0.1:8443"),
    "１２７.0.0.1": ("127.0.0.1", 443, "127.0.0.1"),
    # IPv6 and its zones (RFC 6874).
    "[::1]:8443": ("::1", 8443, "[::1]:8443"),
    "[2001:DB8::A]": ("2001:db8::a", 443, "[2001:db8::a]"),
    "[::ffff:192.0.2.1]:": ("::ffff:192.0.2.1", 443, "[::ffff:192.0.2.1]"),
    "[fe80::1%25eth0]:8443": ("fe80::1%eth0", 8443, "[fe80::1]:8443"),
    "[fe80::1%25eth%2d0]": ("fe80::1%eth-0", 443, "[fe80::1]"),
    "[fe80::1%eth0]": ("fe80::1%eth0", 443, "[fe80::1]"),
    "[fe80::1%251]": ("fe80::1%1", 443, "[fe80::1]"),
}


@pytest.mark.parametrize("written", AUTHORITIES)
def test_a_url_says_where_to_connect_to_and_what_host_and_authority_are(written):
    url = parse(f"wss://{written}/")
    assert (url.host, url.port, url.authority) == AUTHORITIES[written]


@pytest.mark.parametrize("written", AUTHORITIES)
def test_host_and_authority_of_a_url_are_those_that_are_sent(written):
    # What no host may be is refused when the request is written.
    url = parse(f"wss://{written}/")
    request = UpgradeRequest(url.authority, url.target)
    assert f"Host: {url.authority}\r\n".encode() in Http1(Role.CLIENT).open().send(request)
    client, server = Http2(Role.CLIENT, scheme="https"), Http2(Role.SERVER)
    hello = client.start()
    client.receive(server.start())
    events, _ = server.receive(hello + client.open().send(request))
    assert [event.host for _, event in events if isinstance(event, UpgradeRequest)] == [url.authority]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("example.com", "example.com"),
        ("example.com.:8443", "example.com"),
        ("straße.de", "xn--strae-oqa.de"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
    ],
)
def test_the_name_for_tls_has_no_last_dot_and_no_zone(written, name):
    # RFC 6066 §3.
    assert parse(f"wss://{written}/").server_name == name


@pytest.mark.parametrize(
    ("url", "secure", "port", "target"),
    [
        ("ws://example.com", False, 80, "/"),
        ("WSS://example.com/Chat", True, 443, "/Chat"),
        ("http://example.com", False, 80, "/"),
        ("https://example.com", True, 443, "/"),
        ("ws://example.com?a", False, 80, "/?a"),
        ("ws://example.com/?", False, 80, "/"),
        ("ws://example.com/a?b?c/d", False, 80, "/a?b?c/d"),
        ("ws://example.com/ü?ü", False, 80, "/%C3%BC?%C3%BC"),
        ("ws://example.com/%c3%BC%20?%23", False, 80, "/%c3%BC%20?%23"),
        ("ws://example.com/a b\\c?d e", False, 80, "/a%20b%5Cc?d%20e"),
        ("ws://example.com/[a]|{b}?<c>", False, 80, "/%5Ba%5D%7C%7Bb%7D?%3Cc%3E"),
        # RFC 6455 §3 has the path as it is: dots are for who resolves a reference (RFC 3986 §5.2.4).
        ("ws://example.com/a/../b/./c//d", False, 80, "/a/../b/./c//d"),
        ("ws://example.com//other.example/", False, 80, "//other.example/"),
    ],
)
def test_a_url_says_whether_tls_is_spoken_and_what_to_ask_for(url, secure, port, target):
    got = parse(url)
    assert (got.secure, got.host, got.port, got.target) == (secure, "example.com", port, target)


@pytest.mark.parametrize(
    "written",
    [
        # No host.
        "",
        ":443",
        "mint@",
        # Characters that no host has, encoded or not.
        "exa mple.com",
        " example.com",
        "example.com\u00a0",
        "exa%20mple.com",
        "example.com\\",
        "example.com\\@other.example",
        "exa%5Cmple.com",
        "a%2Fb.example",
        "a%3A80",
        "a%40b",
        "a%00b",
        "a|b",
        "a^b",
        'a"b',
        "<a>",
        "a`b",
        "{a}",
        "\u2100.example",  # "a/c", by UTS 46
        # What no percent-encoding and no UTF-8 is.
        "a%b.example",
        "a%zz.example",
        "%ff.example",
        # Labels and lengths.
        "a..b",
        ".a",
        ".",
        "a..",
        "\u00ad.example",
        "a" * 64 + ".example",
        ".".join(["a" * 49] * 6),
        "ü" * 64 + ".example",
        "ü" * 20_000,
        # What IDNA 2008 has not.
        "☃.example",
        "a\u200db.example",
        "\u202ea.example",
        "\u05d0a.example",
        # What some read as an IPv4 address, and others as a name.
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "1.2.3.256",
        "1.2.3.4.5",
        "a.0x",
        "１２７.１",
        # IPv6 and what is like it.
        "::1",
        "[::1",
        "::1]",
        "[::1]a",
        "[::1]]",
        "[]",
        "[1.2.3.4]",
        "[::12345]",
        "[example.com]",
        "[v1.fe80::a]",
        "[fe80::1%]",
        "[fe80::1%25]",
        "[fe80::1%25a%2Fb]",
        "[fe80::1%25a b]",
        "[fe80::1%25ü]",
        "[%66e80::1]",
        # Ports.
        "example.com:x",
        "example.com:-1",
        "example.com:+80",
        "example.com:8 0",
        "example.com:８０",
        "example.com:65536",
        "example.com:" + "9" * 5000,
        "example.com:80:80",
    ],
)
def test_what_is_no_host_and_port_is_refused(written):
    with pytest.raises(LocalProtocolError):
        parse(f"wss://{written}/")


def test_a_name_in_ascii_loads_no_tables_of_others():
    code = "import sys; from mintws.url import parse; parse('wss://example.com/'); sys.exit('idna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ws:/example.com/",
        "ftp://example.com",
        " ws://example.com/",
        "ws://example.com/ ",
        "ws://",
        "ws:///chat",
        "ws://example.com/#here",
        "ws://example.com/#",
        "ws://example.com#here",
        "ws://example.com/\ud800",
        "ws://example.com/100%",
        "ws://example.com/?a=%zz",
        "ws://us%3Aer:secret@example.com/",
        "ws://us%0Aer:secret@example.com/",
        "ws://user:sec%00ret@example.com/",
        "ws://example.com/a\nb",
        "ws://exam\tple.com/",
        "ws://example.com/\x7f",
    ],
)
def test_what_is_no_url_of_a_websocket_is_refused(url):
    with pytest.raises(LocalProtocolError):
        parse(url)


def test_a_user_and_a_password_are_basic_credentials():
    assert parse("ws://mint:t%40a@example.com/").authorization == "Basic bWludDp0QGE="


@pytest.mark.parametrize(
    ("userinfo", "said"),
    [
        ("mint", b"mint:"),
        (":tea", b":tea"),
        ("mint:", b"mint:"),
        ("mint:a:b", b"mint:a:b"),
        ("mint:ü", "mint:ü".encode()),
        ("mint:%FF", b"mint:\xff"),
        ("mint:100%", b"mint:100%"),
        ("a@b:c@d", b"a@b:c@d"),
        ("", None),
        (":", None),
    ],
)
def test_credentials_are_the_octets_that_the_url_has(userinfo, said):
    authorization = parse(f"ws://{userinfo}@example.com/").authorization
    assert authorization == (None if said is None else "Basic " + base64.b64encode(said).decode())


@pytest.mark.parametrize("url", [b"ws://example.com", None, 5, ["ws://example.com"]])
def test_a_url_that_is_no_str_is_a_type_error(url):
    with pytest.raises(TypeError):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "wss://mint:secret@example.com/#x",
        "wss://mint:secret@example.com:99999/",
        "wss://mint:secret/@example.com/",
        "wsx://mint:secret@example.com/",
        "wss://mint:secret@/",
        "wss://mint:secret@[::1/",
        "wss://mint:secret@a..b/",
        "wss://mint:secret@exa mple.com/",
        "wss://mint:secret@\u2603.example/",
        "wss://mint:secret\\@example.com/",
        "wss://mint:secret@127.1/",
        "wss://mint:secret@[::g]/",
        "wss://mint:secret@example.com/%",
        "wss://mint:secret\ud800@example.com/",
        "wss://mi%3Ant:secret@example.com/",
    ],
)
def test_an_error_shows_no_password(url):
    with pytest.raises(LocalProtocolError) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
