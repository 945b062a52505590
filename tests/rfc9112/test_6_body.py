"""Where the body of a message ends (RFC 9112 §6)."""

import pytest
from wire import REQUEST, fault, header_of, said

from mintws import Http1, Role


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        REQUEST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_body_with_two_lengths_is_refused_and_the_connection_closed(head):
    # §6.1: whatever is behind it may be one more request to the next hop, and the body to this one.
    http = Http1(Role.SERVER)
    events, reply = http.receive(head + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert fault(said((events, reply))).status == 400
    assert len(events) == 1
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert header_of(reply, "Connection") == "close"
    assert http.done


def test_refusal_of_a_head_request_with_two_lengths_has_no_body():
    head = b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    _, reply = Http1(Role.SERVER).receive(head)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert reply.endswith(b"\r\n\r\n")


def test_coding_that_is_not_known_is_refused_with_501():
    _, reply = Http1(Role.SERVER).receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize("value", [b"+4", b"-4", b"4a", b"", b"4, 5", b"4\r\nContent-Length: 5", b"9" * 40])
def test_length_that_is_none_is_refused(value):
    http = Http1(Role.SERVER)
    events, reply = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nabcd")
    assert fault(said((events, reply))).status == 400
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert http.done
