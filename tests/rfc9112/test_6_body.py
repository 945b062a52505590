"""Where the body of a message ends (RFC 9112 §6)."""

import pytest
from wire import fault, said

from mintws import Http1, Role


@pytest.mark.parametrize("value", [b"+4", b"-4", b"4a", b"", b"4, 5", b"4\r\nContent-Length: 5", b"9" * 40])
def test_length_that_is_none_is_refused(value):
    http = Http1(Role.SERVER)
    events, reply = http.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + value + b"\r\n\r\nabcd")
    assert fault(said((events, reply))).status == 400
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert http.done
