"""Tunnels through proxies, without a network: CONNECT (RFC 9110 §9.3.6) and SOCKS (RFC 1928, RFC 1929)."""

from __future__ import annotations

import gc
import sys

import pytest

from mintws import LocalProtocolError, ProxyError, RemoteProtocolError
from mintws.http1.tunnel import BODY_KEPT
from mintws.session import parse_proxy, tunnel_to

HTTP = "http://ann:secret@proxy.example"
OPENED = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n"
REFUSED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 10\r\n\r\nwho goes?\n"
)
SOCKS5_OPENED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"


def started(url=HTTP, host="example.com", port=443):
    tunnel = tunnel_to(parse_proxy(url), host, port)
    return tunnel, tunnel.start()


def fed(data, *, size=None, url=HTTP, **server):
    """Feed a tunnel with bytes, so many at a time; return it with what it sent after its start."""
    tunnel, _ = started(url, **server)
    size = size or len(data)
    return tunnel, b"".join(tunnel.receive(data[at : at + size]) for at in range(0, len(data), size))


def test_connect_names_the_server_and_carries_credentials():
    _, head = started()
    assert head == (
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
    )
    assert started("http://proxy.example")[1] == b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"


@pytest.mark.parametrize("host", ["2001:db8::1", "2001:db8::1%eth0"])
def test_an_ipv6_address_is_in_brackets_and_has_no_zone(host):
    assert b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n" in started(host=host)[1]


@pytest.mark.parametrize("size", [1, 7, None])
def test_an_answer_may_come_in_pieces_and_what_follows_is_kept(size):
    tunnel, sent = fed(OPENED + b"\x00 first bytes of the server", size=size)
    assert (tunnel.done, tunnel.failure, tunnel.rest, sent) == (True, None, b"\x00 first bytes of the server", b"")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 201 Created\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_2xx_opens_the_tunnel_whatever_its_headers_say(head):
    tunnel, _ = fed(head + b"rest")
    assert (tunnel.done, tunnel.failure, tunnel.rest) == (True, None, b"rest")


@pytest.mark.parametrize("size", [1, 7, None])
def test_a_refusal_is_an_error_with_status_headers_and_body(size):
    tunnel, _ = fed(REFUSED, size=size)
    assert tunnel.done
    error = tunnel.failure
    assert isinstance(error, ProxyError)
    assert (error.status, error.body) == (407, b"who goes?\n")
    assert ("proxy-authenticate", "Basic") in error.headers
    assert "407 Proxy Authentication Required" in str(error) and "who goes?" in str(error)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", b"no"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login.example\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)
def test_a_refusal_may_have_any_body(data, body):
    tunnel, _ = fed(data)
    assert tunnel.done
    assert tunnel.failure.body == body


def test_a_refusal_is_known_before_its_body_is_whole():
    tunnel, _ = fed(b"HTTP/1.1 407 No\r\nContent-Length: 100\r\n\r\nsome of")
    assert not tunnel.done
    assert tunnel.failure.body == b"some of"
    tunnel.receive(b"")
    assert tunnel.done
    assert tunnel.failure.body == b"some of"


def test_a_body_that_ends_with_the_transport_is_whole_then():
    tunnel, _ = fed(b"HTTP/1.0 503 No\r\n\r\nbusy")
    assert not tunnel.done
    tunnel.receive(b"")
    assert tunnel.done
    assert (tunnel.failure.status, tunnel.failure.body) == (503, b"busy")


def test_of_a_long_body_the_beginning_is_kept():
    tunnel, _ = fed(b"HTTP/1.1 403 No\r\n\r\n" + bytes(BODY_KEPT + 10))
    assert tunnel.done
    assert len(tunnel.failure.body) == BODY_KEPT


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n", b"x" * 100_000])
def test_what_is_no_http_is_the_proxys_fault(data):
    tunnel, _ = fed(data)
    assert tunnel.done
    assert isinstance(tunnel.failure, RemoteProtocolError)
    assert tunnel.failure.code == 1002


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("url", [HTTP, "socks5h://proxy.example", "socks4a://proxy.example"])
def test_a_proxy_that_leaves_without_an_answer_is_told(url, data):
    if url != HTTP:
        data = data[:1] and {"5": b"\x05", "4": b"\x00"}[url[5]]
    tunnel, _ = started(url)
    if data:
        tunnel.receive(data)
    tunnel.receive(b"")
    assert tunnel.done
    assert isinstance(tunnel.failure, RemoteProtocolError)
    assert tunnel.failure.code == 1006


@pytest.mark.parametrize("size", [1, 3, None])
@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("example.com", b"\x03\x0bexample.com"),
        ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("fe80::1%eth0", b"\x04\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
@pytest.mark.parametrize("bound", [b"\x01\x7f\x00\x00\x01", b"\x04" + bytes(16), b"\x03\x04here"])
def test_socks5_asks_for_names_and_addresses(server, address, bound, size):
    answer = b"\x05\x00" + b"\x05\x00\x00" + bound + b"\x00\x50" + b"first bytes"
    assert started("socks5h://proxy.example", server)[1] == b"\x05\x01\x00"
    tunnel, sent = fed(answer, size=size, url="socks5h://proxy.example", host=server)
    assert sent == b"\x05\x01\x00" + address + b"\x01\xbb"
    assert (tunnel.done, tunnel.failure, tunnel.rest) == (True, None, b"first bytes")


@pytest.mark.parametrize("size", [1, None])
def test_socks5_sends_a_user_and_a_password_where_they_are_asked_for(size):
    url = "socks5h://ann:secret@proxy.example"
    assert started(url)[1] == b"\x05\x02\x00\x02"
    tunnel, sent = fed(b"\x05\x02" + b"\x01\x00" + SOCKS5_OPENED, size=size, url=url)
    assert sent == b"\x01\x03ann\x06secret" + b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
    assert (tunnel.done, tunnel.failure) == (True, None)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"\x05\xff", None),
        (b"\x05\x02\x01\x01", None),
        (b"\x05\x00\x05\x05\x00\x01" + bytes(6), 5),
        (b"\x05\x00\x05\x01\x00\x01" + bytes(6), 1),
        (b"\x05\x00\x05\x63\x00\x01" + bytes(6), None),
        (b"\x04\x00", None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", None),
        (b"\x05\x00\x05\x00\x01\x01" + bytes(6), None),
        (b"\x05\x00\x05\x00\x00\x09" + bytes(6), None),
    ],
)
@pytest.mark.parametrize("size", [1, None])
def test_a_refusal_of_socks5_is_an_error(answer, status, size):
    tunnel, _ = fed(answer, size=size, url="socks5h://ann:secret@proxy.example")
    assert tunnel.done
    assert isinstance(tunnel.failure, ProxyError)
    assert tunnel.failure.status == status


@pytest.mark.parametrize("answer", [b"\x05\x00\x05\x00\x00\x03\x02\xff\xfe\x00\x50"])
def test_a_broken_address_of_socks5_is_the_proxys_fault(answer):
    tunnel, _ = fed(answer, url="socks5h://proxy.example")
    assert tunnel.done
    assert isinstance(tunnel.failure, RemoteProtocolError)


@pytest.mark.parametrize("size", [1, None])
@pytest.mark.parametrize(
    ("scheme", "server", "asked"),
    [
        ("socks4a", "example.com", b"\x04\x01\x01\xbb\x00\x00\x00\x01ann\x00example.com\x00"),
        ("socks4", "192.0.2.1", b"\x04\x01\x01\xbb\xc0\x00\x02\x01ann\x00"),
    ],
)
def test_socks4_asks_once(scheme, server, asked, size):
    url = f"{scheme}://ann@proxy.example"
    assert started(url, server)[1] == asked
    tunnel, _ = fed(b"\x00\x5a" + bytes(6) + b"first bytes", size=size, url=url, host=server)
    assert (tunnel.done, tunnel.failure, tunnel.rest) == (True, None, b"first bytes")


def test_a_refusal_of_socks4_is_an_error():
    tunnel, _ = fed(b"\x00\x5b" + bytes(6), url="socks4a://proxy.example")
    assert tunnel.done
    assert tunnel.failure.status == 0x5B


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(LocalProtocolError, match=r"install mintws\[socks\]"):
        tunnel_to(parse_proxy("socks5h://proxy.example"), "example.com", 443)


def test_a_tunnel_that_is_never_started_is_not_warned_of():
    tunnel_to(parse_proxy("socks5h://proxy.example"), "example.com", 443)
    gc.collect()
