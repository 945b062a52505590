"""What TLS 1.3 says after the handshake: session tickets and KeyUpdates (RFC 8446 §4.6)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tls_pair import (
    ALERT,
    APPLICATION_DATA,
    CERTIFICATE_REQUEST,
    CLIENT_HELLO,
    CLOSE_NOTIFY,
    FATAL,
    HANDSHAKE,
    ILLEGAL_PARAMETER,
    KEY_UPDATE,
    UNEXPECTED_MESSAGE,
    VERSIONS,
    WARNING,
    Forged,
    client_context,
    feed,
    forged,
    message,
    records,
    server_context,
    sides,
)

from mintws import Role
from mintws.tls import TlsState

NOT_REQUESTED, REQUESTED = b"\0", b"\1"


@pytest.fixture(params=list(Role), ids=lambda role: role.name)
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Forged:
    return forged(request.param, tmp_path / "keys.log")


def key_update(side: Forged, answer: bytes) -> bytes:
    update = side.peer.protect(HANDSHAKE, message(KEY_UPDATE, answer))
    side.peer.update()
    return update


@pytest.mark.parametrize("tickets", [0, 2, 10])
@pytest.mark.parametrize("piece", [1, None])
def test_session_tickets_are_no_plaintext(tickets: int, piece: int | None) -> None:
    server = server_context(VERSIONS[1])
    server.num_tickets = tickets
    them = sides(client_context(VERSIONS[1]), server)
    _, downwards = feed(them.server, them.client.start())
    _, upwards = feed(them.client, downwards)
    assert them.client.ssl_object.session is None or not them.client.ssl_object.session.has_ticket
    _, sent = feed(them.server, upwards)
    assert len(records(sent)) == tickets
    assert feed(them.client, sent + them.server.send(b"behind them"), piece) == (b"behind them", b"")
    assert them.client.end is None
    session = them.client.ssl_object.session
    assert bool(session and session.has_ticket) is (tickets > 0)


def test_session_tickets_that_come_between_plaintext_are_no_plaintext(tmp_path: Path) -> None:
    side = forged(Role.CLIENT, tmp_path / "keys.log")
    # How long it holds, what it is made with, its nonce, itself, and no extensions (§4.6.1).
    ticket = message(4, (3600).to_bytes(4, "big") + bytes(4) + b"\1n" + b"\0\4name" + b"\0\0")
    data = [side.peer.protect(APPLICATION_DATA, b"a"), side.peer.protect(HANDSHAKE, ticket * 3)]
    data.append(side.peer.protect(APPLICATION_DATA, b"b"))
    assert feed(side.tls, b"".join(data)) == (b"ab", b"")
    assert side.tls.ssl_object.session.has_ticket


@pytest.mark.parametrize("piece", [1, None])
def test_a_key_update_changes_the_keys_that_the_peer_writes_with(side: Forged, piece: int | None) -> None:
    data = side.peer.protect(APPLICATION_DATA, b"before, ")
    for _ in range(3):
        data += key_update(side, NOT_REQUESTED) + side.peer.protect(APPLICATION_DATA, b"after, ")
    assert feed(side.tls, data, piece) == (b"before, after, after, after, ", b"")
    assert side.tls.end is None
    # Its own keys are as they were.
    assert side.own.unprotect(side.tls.send(b"mine")) == (APPLICATION_DATA, b"mine")


@pytest.mark.parametrize("piece", [1, None])
def test_a_key_update_that_asks_for_one_is_answered_before_anything_else(side: Forged, piece: int | None) -> None:
    assert side.own.unprotect(side.tls.send(b"old keys")) == (APPLICATION_DATA, b"old keys")
    asked = key_update(side, REQUESTED) + side.peer.protect(APPLICATION_DATA, b"after")
    plaintext, reply = feed(side.tls, asked, piece)
    assert plaintext == b"after"
    written = records(reply + side.tls.send(b"new keys") + side.tls.send(b"and on"))
    assert side.own.unprotect(written[0]) == (HANDSHAKE, message(KEY_UPDATE, NOT_REQUESTED))
    side.own.update()
    assert [side.own.unprotect(it) for it in written[1:]] == [
        (APPLICATION_DATA, b"new keys"),
        (APPLICATION_DATA, b"and on"),
    ]


def test_key_updates_that_come_together_are_answered(side: Forged) -> None:
    # One answer may do for all of them (§4.6.3).
    asked = b"".join(key_update(side, REQUESTED) for _ in range(5)) + side.peer.protect(APPLICATION_DATA, b"x")
    plaintext, reply = feed(side.tls, asked)
    assert plaintext == b"x"
    answers = records(reply + side.tls.send(b"y"))
    for it in answers[:-1]:
        assert side.own.unprotect(it) == (HANDSHAKE, message(KEY_UPDATE, NOT_REQUESTED))
        side.own.update()
    assert 1 <= len(answers) - 1 <= 5
    assert side.own.unprotect(answers[-1]) == (APPLICATION_DATA, b"y")


def test_a_key_update_after_our_close_changes_no_more_than_the_keys(side: Forged) -> None:
    assert side.own.unprotect(side.tls.close()) == (ALERT, bytes([WARNING, CLOSE_NOTIFY]))
    data = key_update(side, REQUESTED) + side.peer.protect(APPLICATION_DATA, b"late")
    plaintext, reply = feed(side.tls, data)
    assert (plaintext, reply) == (b"late", b"")
    assert side.tls.end is None
    feed(side.tls, side.peer.protect(ALERT, bytes([WARNING, CLOSE_NOTIFY])))
    assert isinstance(side.tls.end, ssl.SSLZeroReturnError)


def test_a_key_update_with_an_unknown_wish_is_a_fault(side: Forged) -> None:
    plaintext, reply = feed(side.tls, side.peer.protect(HANDSHAKE, message(KEY_UPDATE, b"\2")))
    assert plaintext == b"" and type(side.tls.end) is ssl.SSLError
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, ILLEGAL_PARAMETER]))
    assert side.tls.state is TlsState.CLOSED


@pytest.mark.parametrize("kind", [CLIENT_HELLO, CERTIFICATE_REQUEST, 2, 8, 11, 20, 99])
def test_other_messages_of_a_handshake_are_a_fault_when_it_is_done(side: Forged, kind: int) -> None:
    # A client that has not offered to give a certificate afterwards is asked for none (§4.6.2); there is no renegotiation (§4.1.2).
    data = side.peer.protect(APPLICATION_DATA, b"first") + side.peer.protect(HANDSHAKE, message(kind, bytes(40)))
    plaintext, reply = feed(side.tls, data + side.peer.protect(APPLICATION_DATA, b"not this"))
    assert plaintext == b"first"
    assert type(side.tls.end) is ssl.SSLError
    kind, alert = side.own.unprotect(reply)
    assert kind == ALERT and alert[0] == FATAL
    assert alert[1] == UNEXPECTED_MESSAGE
    assert side.tls.state is TlsState.CLOSED


def test_a_message_of_a_handshake_may_be_cut_into_records(side: Forged) -> None:
    update = message(KEY_UPDATE, NOT_REQUESTED)
    data = b"".join(side.peer.protect(HANDSHAKE, update[at : at + 1]) for at in range(len(update)))
    side.peer.update()
    assert feed(side.tls, data + side.peer.protect(APPLICATION_DATA, b"after")) == (b"after", b"")


def test_a_message_of_a_handshake_that_is_cut_by_plaintext_is_a_fault(side: Forged) -> None:
    data = side.peer.protect(HANDSHAKE, message(KEY_UPDATE, NOT_REQUESTED)[:2])
    plaintext, reply = feed(side.tls, data + side.peer.protect(APPLICATION_DATA, b"too early"))
    assert plaintext == b"" and type(side.tls.end) is ssl.SSLError
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, UNEXPECTED_MESSAGE]))


def test_a_session_ticket_to_a_server_is_a_fault(tmp_path: Path) -> None:
    side = forged(Role.SERVER, tmp_path / "keys.log")
    _, reply = feed(side.tls, side.peer.protect(HANDSHAKE, message(4, bytes(20))))
    assert type(side.tls.end) is ssl.SSLError
    assert side.own.unprotect(reply) == (ALERT, bytes([FATAL, UNEXPECTED_MESSAGE]))
