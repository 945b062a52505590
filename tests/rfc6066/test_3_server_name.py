"""Server Name Indication (RFC 6066 §3)."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from tls_pair import (
    ALERT,
    FATAL,
    UNRECOGNIZED_NAME,
    VERSIONS,
    authority,
    client_context,
    feed,
    record,
    server_context,
    shake_hands,
    sides,
)

from mintws.tls import TlsState


def asking(version: ssl.TLSVersion, answer: Any = None) -> tuple[ssl.SSLContext, list[Any]]:
    """A server's context that is told names, and answers with an alert."""
    context, names = server_context(version), []

    def callback(ssl_object: ssl.SSLObject, name: str | None, given: ssl.SSLContext) -> Any:
        assert given is context
        names.append(name)
        return answer

    context.sni_callback = callback
    return context, names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "told"), [("localhost", "localhost"), ("127.0.0.1", None), ("::1", None)])
def test_the_server_is_told_the_name_and_no_address(version: ssl.TLSVersion, name: str, told: str | None) -> None:
    server, names = asking(version)
    client = client_context(version)
    client.check_hostname = False
    them = sides(client, server, name=name)
    shake_hands(them, piece=3)
    assert them.server.state is TlsState.OPEN
    assert names == [told]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_that_is_not_ascii_goes_as_a_labels(version: ssl.TLSVersion) -> None:
    server, names = asking(version)
    client = client_context(version)
    client.check_hostname = False
    shake_hands(sides(client, server, name="münze.example"))
    assert names == ["xn--mnze-0ra.example"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_callback_chooses_the_certificate_by_the_name(version: ssl.TLSVersion) -> None:
    hosts = {name: server_context(version, cert=authority().issue_cert(name)) for name in ("a.test", "b.test")}
    server = server_context(version)

    def choose(ssl_object: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
        ssl_object.context = hosts[name]

    server.sni_callback = choose  # type: ignore[assignment]
    for name, context in hosts.items():
        them = sides(client_context(version), server, name=name)
        shake_hands(them)
        assert them.client.state is them.server.state is TlsState.OPEN
        told = them.client.ssl_object.getpeercert()
        assert told is not None and told["subjectAltName"] == (("DNS", name),)
        assert them.server.ssl_object.context is context


@pytest.mark.parametrize("version", VERSIONS)
def test_a_callback_refuses_a_name(version: ssl.TLSVersion) -> None:
    server, _ = asking(version, ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
    them = sides(client_context(version), server)
    assert shake_hands(them) == (b"", b"")
    assert them.client.end is not None and them.client.end.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert type(them.server.end) is ssl.SSLError
    assert them.client.state is them.server.state is TlsState.CLOSED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_callback_that_fails_ends_the_handshake(version: ssl.TLSVersion) -> None:
    server = server_context(version)

    def fail(*_: Any) -> None:
        raise KeyError("localhost")

    server.sni_callback = fail
    them = sides(client_context(version), server)
    assert shake_hands(them) == (b"", b"")
    assert them.client.end is not None and them.client.end.reason.endswith("HANDSHAKE_FAILURE")
    assert type(them.server.end) is ssl.SSLError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("wrong", [b"l\xffcalhost", b"loca\0host", b"127.0.0.1", b"localhos."])
def test_a_name_that_is_none_raises_nothing(version: ssl.TLSVersion, wrong: bytes) -> None:
    server, names = asking(version)
    them = sides(version=version, server=server)
    feed(them.server, them.client.start().replace(b"localhost", wrong))
    them.server.receive(b"")
    assert isinstance(them.server.end, ssl.SSLError)
    assert names in ([], [wrong.decode("latin-1")])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_name_that_the_server_does_not_know_is_told_to_the_client(version: ssl.TLSVersion) -> None:
    client = sides(version=version).client
    client.start()
    feed(client, record(ALERT, bytes([FATAL, UNRECOGNIZED_NAME])))
    assert type(client.end) is ssl.SSLError
    assert "unrecognized name" in str(client.end)


@pytest.mark.parametrize("name", ["", ".localhost", "x" * 300, "\udcff"])
def test_a_name_that_cannot_be_sent_is_refused_locally(name: str) -> None:
    with pytest.raises(ValueError):
        sides(name=name)
