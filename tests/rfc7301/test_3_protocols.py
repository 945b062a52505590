"""Application-Layer Protocol Negotiation (RFC 7301 §3)."""

from __future__ import annotations

import ssl

import pytest
from tls_pair import (
    ALERT,
    FATAL,
    NO_APPLICATION_PROTOCOL,
    VERSIONS,
    client_context,
    connected,
    feed,
    record,
    server_context,
    shake_hands,
    sides,
)

from mintws.tls import TlsState, offer, offered


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        (["h2", "http/1.1"], ["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], ["h2", "http/1.1"], "h2"),
        (["h2", "http/1.1"], ["http/1.1", "h2"], "http/1.1"),
        (["h2", "http/1.1"], ["http/1.1"], "http/1.1"),
        (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
        (["h2"], [], None),
        ([], ["h2"], None),
        (["x" * 255], ["x" * 255], "x" * 255),
    ],
)
def test_the_server_chooses_one_of_what_is_offered(
    version: ssl.TLSVersion, client: list[str], server: list[str], chosen: str | None
) -> None:
    # By its own order, as a server should (§3.2).
    chooses = server_context(version)
    if server:
        chooses.set_alpn_protocols(server)
    them = sides(client_context(version), chooses, alpn=client)
    shake_hands(them, piece=7)
    assert [tls.ssl_object.selected_alpn_protocol() for tls in them] == [chosen, chosen]


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_chosen_where_nothing_is_in_common(version: ssl.TLSVersion) -> None:
    # Python's `ssl` goes on without a protocol, where §3.2 has a no_application_protocol.
    server = server_context(version)
    server.set_alpn_protocols(["http/1.1"])
    them = connected(client_context(version), server, alpn=["h2"])
    assert [tls.ssl_object.selected_alpn_protocol() for tls in them] == [None, None]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_application_protocol_is_told_to_the_client(version: ssl.TLSVersion) -> None:
    client = sides(version=version, alpn=["h2"]).client
    client.start()
    feed(client, record(ALERT, bytes([FATAL, NO_APPLICATION_PROTOCOL])))
    assert type(client.end) is ssl.SSLError
    assert "no application protocol" in str(client.end)
    assert client.state is TlsState.CLOSED


@pytest.mark.parametrize("before", [[], ["h2"], ["http/1.1", "h2", "acme-tls/1"]])
def test_a_list_of_its_own_leaves_that_of_the_context(before: list[str]) -> None:
    context = client_context()
    offer(context, before)
    first = sides(context, alpn=["h2"]).client
    assert offered(context) == before
    # Each connection keeps what it was made with.
    offer(context, ["other"])
    server = server_context()
    server.set_alpn_protocols(["other", "h2"])
    them = sides(context, server)
    assert offered(context) == ["other"]
    shake_hands(them)
    assert them.client.ssl_object.selected_alpn_protocol() == "other"
    late = them._replace(client=first, server=sides(context, server).server)
    shake_hands(late)
    assert first.ssl_object.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("names", [[""], ["x" * 256], ["h2", ""]])
def test_a_name_is_not_empty_and_not_cut(names: list[str]) -> None:
    context = client_context()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError):
        sides(context, alpn=names)
    assert offered(context) == ["h2"]


def test_what_is_chosen_holds_for_the_connection() -> None:
    server = server_context()
    server.set_alpn_protocols(["h2", "http/1.1"])
    them = connected(client_context(), server, alpn=["http/1.1"])
    server.set_alpn_protocols(["h2"])
    assert [tls.ssl_object.selected_alpn_protocol() for tls in them] == ["http/1.1"] * 2
