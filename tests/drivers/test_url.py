"""`ws:` and `wss:` URLs (RFC 6455 §3)."""

from __future__ import annotations

import pytest

from mintws import LocalProtocolError
from mintws.url import parse


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "authority", "target"),
    [
        ("ws://example.com", False, "example.com", 80, "example.com", "/"),
        ("wss://example.com:443/chat?a=b", True, "example.com", 443, "example.com", "/chat?a=b"),
        ("WS://EXAMPLE.com:8080/Chat", False, "example.com", 8080, "example.com:8080", "/Chat"),
        ("ws://example.com?a", False, "example.com", 80, "example.com", "/?a"),
        ("ws://[::1]:8080/", False, "::1", 8080, "[::1]:8080", "/"),
        ("ws://[fe80::1%eth0]/", False, "fe80::1%eth0", 80, "[fe80::1]", "/"),
        ("ws://bücher.example/ü?ü", False, "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/%C3%BC?%C3%BC"),
        ("ws://example.com:0/", False, "example.com", 0, "example.com:0", "/"),
    ],
)
def test_a_url_says_where_to_connect_to_and_what_to_ask_for(url, secure, host, port, authority, target):
    assert parse(url) == (secure, host, port, authority, target, None)


@pytest.mark.parametrize(
    "url",
    [
        "example.com",
        "ftp://example.com",
        "ws://",
        "ws:///chat",
        "ws://example.com/#here",
        "ws://example.com/#",
        "ws://example.com:x/",
        "ws://example.com:65536/",
        "ws://[::1/",
        "ws://a..b/",
        f"ws://{'a' * 64}.example/",
        "ws://example.com/\ud800",
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
        "wss://mint:secret\u2100@example.com/",
        "wss://mint:secret\ud800@example.com/",
        "wss://mi%3Ant:secret@example.com/",
    ],
)
def test_an_error_shows_no_password(url):
    with pytest.raises(LocalProtocolError) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
