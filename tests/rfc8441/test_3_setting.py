"""SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3)."""

import h2.events
import pytest
from wire import CONNECT, GET, SETTINGS, H2Peer, Wire, fault, h2_frame, h2_frames, masked

from mintws import (
    ExtendedConnectDisabled,
    Failed,
    Http2,
    LocalProtocolError,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.events import MessageEnded, RequestStarted

ENABLE = 8


def settings_of(data: bytes) -> dict[int, int]:
    """The SETTINGS among some frames."""
    (payload,) = [payload for kind, flags, _, payload in h2_frames(data) if kind == SETTINGS and not flags]
    return {
        int.from_bytes(payload[i : i + 2], "big"): int.from_bytes(payload[i + 2 : i + 6], "big")
        for i in range(0, len(payload), 6)
    }


def setting(value: int) -> bytes:
    return h2_frame(SETTINGS, 0, 0, ENABLE.to_bytes(2, "big") + value.to_bytes(4, "big"))


def client(settings: bytes | None = None) -> Http2:
    """A client that has got these SETTINGS."""
    http = Http2(Role.CLIENT)
    http.start()
    if settings is not None:
        http.receive(settings)
    return http


def asks(data: bytes) -> bool:
    """Whether there are HEADERS among some frames."""
    return any(kind == 1 for kind, *_ in h2_frames(data))


def test_server_says_that_it_takes_websockets():
    assert settings_of(Http2(Role.SERVER).start())[ENABLE] == 1


def test_server_may_take_none_and_says_nothing():
    # Absent is 0; with 0 there would be no way to go on to 1 and back.
    assert ENABLE not in settings_of(Http2(Role.SERVER, enable_connect=False).start())


def test_client_does_not_send_the_setting():
    # Some servers reset each extended CONNECT of a client that sent 0.
    data = Http2(Role.CLIENT).start()
    assert data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert ENABLE not in settings_of(data[24:])


def test_can_open_is_unknown_then_yes():
    http = client()
    assert http.can_open is None
    http.receive(setting(1))
    assert http.can_open is True


@pytest.mark.parametrize("settings", [setting(0), h2_frame(SETTINGS, 0, 0)])
def test_can_open_is_unknown_then_no(settings):
    http = client()
    http.receive(settings)
    assert http.can_open is False
    with pytest.raises(ExtendedConnectDisabled):
        http.open()


def test_acknowledgement_is_not_the_servers_settings():
    # It may not come first (RFC 9113 §3.4).
    http = client()
    http.receive(h2_frame(SETTINGS, 1, 0))
    assert http.can_open is False
    assert http.done


def test_handshake_waits_for_the_setting():
    http = client()
    conn = http.open()
    assert not asks(conn.send(UpgradeRequest("example.com")))
    assert conn.state is State.REQUESTED
    _, reply = http.receive(setting(1))
    assert asks(reply)


def test_handshake_that_waits_fails_without_the_setting():
    http = client()
    conn = http.open()
    conn.send(UpgradeRequest("example.com"))
    events, reply = http.receive(h2_frame(SETTINGS, 0, 0))
    assert not asks(reply)
    error = fault([event for it, event in events if it is conn])
    assert (error.code, error.section) == (1006, "RFC 8441 §3")
    assert type(error.__cause__) is ExtendedConnectDisabled
    assert conn.state is State.CLOSED
    assert not http.done


def test_setting_that_comes_late_enables():
    # 0 or nothing first, 1 later, is allowed.
    for first in [h2_frame(SETTINGS, 0, 0), setting(0)]:
        http = client(first)
        assert http.can_open is False
        http.receive(setting(1))
        assert http.can_open is True
        assert asks(http.open().send(UpgradeRequest("example.com")))


def test_opened_before_the_settings_and_asked_after_is_refused_locally():
    http = client()
    conn = http.open()
    http.receive(setting(0))
    with pytest.raises(ExtendedConnectDisabled):
        conn.send(UpgradeRequest("example.com"))
    assert conn.state is State.CONNECTING


def test_setting_that_goes_back_from_1_to_0_ends_the_connection():
    # MUST NOT; treated as a connection error.
    http = client(setting(1))
    conn = http.open()
    conn.send(UpgradeRequest("example.com"))
    events, reply = http.receive(setting(0))
    assert [type(event) for it, event in events if it is conn] == [Failed]
    # It is the last that is said.
    assert [type(event) for _, event in events] == [Failed, Failed]
    assert (events[-1][0], events[-1][1].error.section) == (None, "RFC 8441 §3")
    assert any(kind == 7 and payload[4:8] == b"\x00\x00\x00\x01" for kind, _, _, payload in h2_frames(reply))
    assert http.done
    assert http.can_open is False


def test_setting_that_is_repeated_is_no_fault():
    http = client(setting(1))
    http.receive(setting(1))
    assert http.can_open is True
    assert not http.done


@pytest.mark.parametrize("value", [2, 255, 1 << 31])
def test_value_other_than_0_and_1_ends_the_connection(value):
    http = client()
    _, reply = http.receive(setting(value))
    assert any(kind == 7 and payload[4:8] == b"\x00\x00\x00\x01" for kind, _, _, payload in h2_frames(reply))
    assert http.done


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("values", [(0,), (1,), (1, 0)])
def test_setting_of_a_client_means_nothing(enabled, values):
    # Only a server's has a meaning; HAProxy sends 1, others 0.
    peer = H2Peer(Role.SERVER, enable_connect=enabled)
    for value in values:
        peer.http.receive(setting(value))
    assert peer.http.can_open is False
    if enabled:
        stream, conn = peer.open()
        assert peer.send(stream, masked(1, b"hi")) == [(conn, Text("hi"))]
    else:
        stream = peer.ask()
        assert peer.deliver() == []
        assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [1]
    assert not peer.http.done


def test_connect_before_the_servers_settings_is_answered():
    # Some clients ask right behind their preface.
    peer = H2Peer(Role.SERVER, quiet=True)
    stream = peer.ask()
    ((conn, request),) = [it for it in peer.deliver() if it[0] is not None]
    assert type(request) is UpgradeRequest
    peer.hear(conn.send(UpgradeAccept()))
    assert peer.of(h2.events.ResponseReceived, stream)


def test_server_without_the_setting_refuses_extended_connect():
    # A client must not send it, and must not have a WebSocket for it.
    peer = H2Peer(Role.SERVER, enable_connect=False)
    stream = peer.ask()
    assert peer.deliver() == []
    assert [it.error_code for it in peer.of(h2.events.StreamReset, stream)] == [1]
    assert not peer.http.done


def test_ordinary_requests_pass_whatever_the_setting():
    for options in [{}, {"enable_connect": False}]:
        peer = H2Peer(Role.SERVER, **options)
        stream = peer.ask(GET, end=True)
        events = peer.deliver()
        assert [type(event) for it, event in events] == [RequestStarted, MessageEnded]
        assert all(it is None for it, _ in events)
        assert [event.stream for _, event in events] == [stream, stream]


def test_setting_changes_nothing_for_open_websockets_of_others():
    wire = Wire(Http2)
    assert wire.client.can_open is True
    assert wire.server.can_open is False
    with pytest.raises(LocalProtocolError):
        wire.server.open()


def test_many_may_wait_for_the_setting():
    http = client()
    conns = [http.open() for _ in range(5)]
    for conn in conns:
        conn.send(UpgradeRequest("example.com"))
    _, reply = http.receive(setting(1))
    assert sum(kind == 1 for kind, *_ in h2_frames(reply)) == 5


def test_aborted_while_it_waits_is_not_sent():
    http = client()
    conn = http.open()
    conn.send(UpgradeRequest("example.com"))
    assert not asks(conn.abort())
    _, reply = http.receive(setting(1))
    assert not asks(reply)


def test_request_headers_are_those_of_the_rfc():
    peer = H2Peer(Role.CLIENT)
    conn = peer.http.open()
    peer.hear(
        conn.send(
            UpgradeRequest(
                "server.example.com", "/chat", subprotocols=["chat"], headers={"Origin": "http://www.example.com"}
            )
        )
    )
    headers = [tuple(it) for it in peer.heard[-1].headers]
    assert dict(headers[:5]) == {
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":scheme": "http",
        ":path": "/chat",
        ":authority": "server.example.com",
    }
    assert headers[5:] == [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "http://www.example.com"),
    ]
    assert CONNECT[0] == headers[0]
