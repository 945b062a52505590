"""Status codes of a Close (RFC 6455 §7.4, and the registry's 1012-1014)."""

import pytest
from wire import CLOSE, client, close_payload, frame, masked, server

from mintws import Close, LocalProtocolError, State

RIGHT = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4999]
WRONG = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535]


@pytest.mark.parametrize("code", RIGHT)
def test_code_that_may_be_sent_is_taken(code):
    assert server().receive(masked(CLOSE, close_payload(code))) == [Close(code)]
    assert client().receive(frame(CLOSE, close_payload(code, "why"))) == [Close(code, "why")]


@pytest.mark.parametrize("code", RIGHT)
def test_code_that_may_be_sent_is_sent(code):
    assert server().conn.send(Close(code)) == b"\x88\x02" + code.to_bytes(2, "big")


@pytest.mark.parametrize("code", WRONG)
def test_code_that_may_not_be_sent_fails_with_1002(code):
    assert server().fails(masked(CLOSE, close_payload(code))) == 1002
    assert client().fails(frame(CLOSE, close_payload(code, "why"))) == 1002


@pytest.mark.parametrize("code", WRONG)
def test_code_that_may_not_be_sent_is_refused_locally(code):
    conn = server().conn
    with pytest.raises(LocalProtocolError):
        conn.send(Close(code))
    assert conn.state is State.OPEN


@pytest.mark.parametrize("code", [-1, 65536, 1 << 40, -(1 << 70), 1 << 1000])
def test_code_that_is_no_16_bit_number_is_refused_locally(code):
    with pytest.raises(LocalProtocolError, match="status code"):
        Close(code)


@pytest.mark.parametrize("code", ["1000", 1000.0, b"1000", True, False])
def test_code_that_is_no_number_is_a_type_error(code):
    with pytest.raises(TypeError):
        Close(code)
