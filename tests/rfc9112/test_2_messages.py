"""How a message begins (RFC 9112 §2)."""

import h11
import pytest
from wire import REQUEST, fault, header_of, said

from mintws import Http1, Role, UpgradeRequest
from mintws.events import BodyData, MessageEnded, RequestStarted

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 100_000])
@pytest.mark.parametrize("cut", [False, True])
def test_empty_lines_ahead_of_a_request_are_passed_over(lines, cut):
    # §2.2: some clients end a body with one that they do not count.
    http = Http1(Role.SERVER)
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    events = []
    for data in [lines, post, lines[:10], REQUEST, b"\r\n"]:
        for chunk in [data[i : i + 1] for i in range(len(data))] if cut and len(data) < 1000 else [data]:
            events += said(http.receive(chunk))
        if data == post:
            http.h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            http.h11.send(h11.EndOfMessage())
            events += said(http.proceed())
    kinds = [type(it) for it in events if not isinstance(it, BodyData)]
    assert kinds == [RequestStarted, MessageEnded, UpgradeRequest]


def test_a_cr_alone_is_no_line():
    _, reply = Http1(Role.SERVER).receive(b"\r" + GET)
    assert reply.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("tail", [b"", b"x" * 100_000])
def test_connect_is_refused_with_501_and_the_connection_closed(tail):
    # RFC 9110 §9.3.6: what is behind it may be meant for the other end of a tunnel.
    http = Http1(Role.SERVER)
    events, reply = http.receive(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + tail)
    assert fault(said((events, reply))).status == 501
    assert reply.startswith(b"HTTP/1.1 501 ")
    assert header_of(reply, "Connection") == "close"
    assert http.done
    assert http.receive(tail or b"x") == ([], b"")


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"9.9"])
def test_message_of_another_major_version_is_refused(version):
    _, reply = Http1(Role.SERVER).receive(GET.replace(b"1.1", version))
    assert reply.startswith(b"HTTP/1.1 505 ")
    client = Http1(Role.CLIENT)
    conn = client.open()
    conn.send(UpgradeRequest("example.com"))
    assert fault(said(client.receive(b"HTTP/" + version + b" 403 Forbidden\r\n\r\n"))).section == "RFC 9112 §2.3"


def test_message_of_a_later_minor_version_is_read_as_1_1():
    assert [type(it) for it in said(Http1(Role.SERVER).receive(GET.replace(b"1.1", b"1.7")))] == [
        RequestStarted,
        MessageEnded,
    ]


def test_empty_lines_are_not_held():
    http = Http1(Role.SERVER)
    for _ in range(10):
        assert http.receive(b"\r\n" * 50_000) == ([], b"")
        assert http.reading
