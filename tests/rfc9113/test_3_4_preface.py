"""The connection preface (RFC 9113 §3.4)."""

import pytest
from wire import ACK, END_HEADERS, GOAWAY, H2_PING, HEADERS, SETTINGS, WINDOW_UPDATE, h2_frame, h2_frames

from mintws import Failed, Http2, Role

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def started(role: Role) -> Http2:
    http = Http2(role)
    http.start()
    return http


def before(role: Role) -> bytes:
    """What the peer of `role` sends before its SETTINGS."""
    return PREFACE if role is Role.SERVER else b""


def test_client_begins_with_the_preface_and_settings():
    data = Http2(Role.CLIENT).start()
    assert data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert h2_frames(data[24:])[0][:3] == (SETTINGS, 0, 0)


def test_server_begins_with_settings():
    assert h2_frames(Http2(Role.SERVER).start())[0][:3] == (SETTINGS, 0, 0)


@pytest.mark.parametrize("role", list(Role))
def test_settings_of_the_preface_are_acknowledged(role):
    events, reply = started(role).receive(before(role) + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert h2_frames(reply) == [(SETTINGS, ACK, 0, b"")]
    assert all(it is None for it, _ in events)


@pytest.mark.parametrize(
    "data",
    [
        h2_frame(H2_PING, 0, 0, bytes(8)),
        h2_frame(SETTINGS, ACK, 0),
        h2_frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
        h2_frame(GOAWAY, 0, 0, bytes(8)),
        h2_frame(HEADERS, END_HEADERS, 1, b"\x82"),
        h2_frame(0xBB, 0, 0),
    ],
    ids=["PING", "acknowledgement", "WINDOW_UPDATE", "GOAWAY", "HEADERS", "unknown"],
)
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("cut", [False, True])
def test_first_frame_that_is_not_settings_ends_the_connection(role, data, cut):
    http = started(role)
    data = before(role) + data
    chunks = [data[i : i + 1] for i in range(len(data))] if cut else [data]
    received = [http.receive(chunk) for chunk in chunks]
    assert type(received[-1][0][-1][1]) is Failed
    assert [(kind, payload[4:]) for kind, _, _, payload in h2_frames(received[-1][1])] == [(GOAWAY, b"\0\0\0\x01")]
    assert http.done


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", bytes(24)]
)
def test_wrong_preface_ends_the_connection(data):
    http = started(Role.SERVER)
    events, _ = http.receive(data)
    assert type(events[-1][1]) is Failed
    assert http.done


def test_preface_may_come_byte_by_byte():
    http = started(Role.SERVER)
    data = PREFACE + h2_frame(SETTINGS, 0, 0)
    replies = b"".join(http.receive(data[i : i + 1])[1] for i in range(len(data)))
    assert h2_frames(replies) == [(SETTINGS, ACK, 0, b"")]
