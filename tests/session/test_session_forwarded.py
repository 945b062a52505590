"""Forwarded and X-Forwarded-*: who the client is, walking from the proxy that has connected; what others write is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintws import LocalProtocolError, UpgradeRequest
from mintws.events import Peer
from mintws.session import ForwardedHeader, TrustedProxies, check_origin

PROXY = Peer(("10.0.0.1", 40000))
X: ForwardedHeader = "X-Forwarded-For"


def client(*headers: tuple[str, str], header: ForwardedHeader = X, peer: Peer = PROXY) -> Peer | None:
    return TrustedProxies(["10.0.0.0/8", "unix"], header).client(peer, headers)


def address(*headers: tuple[str, str], header: ForwardedHeader = X) -> object:
    found = client(*headers, header=header)
    assert found is not None
    return found.address


def forwarded(value: str) -> Peer | None:
    return client(("forwarded", value), header="Forwarded")


def test_what_others_write_is_not_read() -> None:
    outside = Peer(("192.0.2.66", 5))
    for header in (X, "Forwarded"):
        for name, value in (("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4"), ("x-forwarded-for", "!")):
            assert client((name, value), header=header, peer=outside) == outside  # type: ignore[arg-type]
    assert client(("x-forwarded-for", "1.2.3.4"), peer=Peer(None)) == Peer(None)


def test_only_the_named_header_is_read() -> None:
    assert client(("forwarded", "for=1.2.3.4;proto=https")) == PROXY
    assert client(("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), header="Forwarded") == PROXY


def test_without_headers_the_proxy_is_the_client() -> None:
    assert client() == client(("x-forwarded-proto", "https")) == PROXY


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:5000", ("192.0.2.1", 5000)),
        ("2001:db8::1", ("2001:db8::1", 0, 0, 0)),
        ("[2001:DB8::1]", ("2001:db8::1", 0, 0, 0)),
        ("[2001:db8::1]:5000", ("2001:db8::1", 5000, 0, 0)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
        ("unknown", None),
        ("198.51.100.9, 192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1, 10.0.0.2", ("192.0.2.1", 0)),
        ("192.0.2.1 ,10.0.0.3,  10.0.0.2", ("192.0.2.1", 0)),
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", 0)),
        ("made up, 192.0.2.1, 10.0.0.2", ("192.0.2.1", 0)),
        ("10.0.0.9, 192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1, unknown, 10.0.0.2", None),
    ],
)
def test_the_client_is_who_has_connected_to_the_first_trusted_proxy_from_the_right(value: str, found: object) -> None:
    assert address(("x-forwarded-for", value)) == found
    # However the list is cut into lines.
    assert address(*[("x-forwarded-for", part) for part in value.split(",")]) == found


def test_the_address_of_the_proxy_stays_known() -> None:
    found = client(("x-forwarded-for", "192.0.2.1"))
    assert found is not None and found.proxy == ("10.0.0.1", 40000)
    found = client(("x-forwarded-for", "192.0.2.1"), peer=Peer(""))
    assert found is not None and found.address == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("fors", "protos", "hosts", "scheme", "host"),
    [
        ("192.0.2.1", [], [], None, None),
        ("192.0.2.1", ["https"], ["example.com"], "https", "example.com"),
        ("192.0.2.1", ["WSS"], ["example.com:8443"], "https", "example.com:8443"),
        ("192.0.2.1", ["ws"], [], "http", None),
        ("192.0.2.1, 10.0.0.2", ["https"], ["a.example"], "https", "a.example"),
        ("192.0.2.1, 10.0.0.2", ["https, http"], ["a.example, b.example"], "https", "a.example"),
        ("198.51.100.1, 192.0.2.1", ["https", "http"], ["evil.example", "a.example"], "http", "a.example"),
    ],
)
def test_scheme_and_host_are_those_that_the_same_proxy_tells(
    fors: str, protos: list[str], hosts: list[str], scheme: str | None, host: str | None
) -> None:
    headers = [("X-Forwarded-For", fors)]
    headers += [("X-Forwarded-Proto", it) for it in protos] + [("x-forwarded-host", it) for it in hosts]
    found = client(*headers)
    assert found is not None
    assert (found.scheme, found.host) == (scheme, host)


@pytest.mark.parametrize(
    "headers",
    [
        [("x-forwarded-for", "")],
        [("x-forwarded-for", "localhost")],
        [("x-forwarded-for", "192.0.2.1:99999")],
        [("x-forwarded-for", "192.0.2.1, ")],
        [("x-forwarded-for", "192.0.2.999")],
        [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "gopher")],
        [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https, https")],
        [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "a b")],
        [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "")],
    ],
)
def test_what_a_trusted_proxy_writes_and_cannot_be_understood_refuses_the_request(
    headers: list[tuple[str, str]],
) -> None:
    assert client(*headers) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("for=192.0.2.1", ("192.0.2.1", 0)),
        ('FOR="192.0.2.1:5000"', ("192.0.2.1", 5000)),
        ("for=192.0.2.1:5000", ("192.0.2.1", 5000)),
        ('for="[2001:db8::1]:5000"', ("2001:db8::1", 5000, 0, 0)),
        ('for="[2001:db8::1]"; proto=https', ("2001:db8::1", 0, 0, 0)),
        ("for=unknown", None),
        ("for=_hidden", None),
        ('for="_hidden:_port"', None),
        ('for="192.0.2.1:_port"', ("192.0.2.1", 0)),
        ("proto=https", None),
        ("for=192.0.2.9, for=192.0.2.1", ("192.0.2.1", 0)),
        ("for=192.0.2.1;by=10.0.0.2, for=10.0.0.2", ("192.0.2.1", 0)),
        (", for=192.0.2.1 ,", ("192.0.2.1", 0)),
        ('for="192.0.2\\.1"', ("192.0.2.1", 0)),
        ('secret="a, for=1.2.3.4";for=192.0.2.1', ("192.0.2.1", 0)),
    ],
)
def test_forwarded_is_read(value: str, found: object) -> None:
    assert address(("forwarded", value), header="Forwarded") == found


def test_forwarded_tells_scheme_and_host() -> None:
    found = forwarded('for=192.0.2.1;proto=https;host="example.com:8443", for=10.0.0.2;proto=http;host=inner')
    assert found is not None
    assert (found.address, found.scheme, found.host) == (("192.0.2.1", 0), "https", "example.com:8443")


@pytest.mark.parametrize(
    "value",
    [
        "for",
        "for=",
        "for=192.0.2.1;for=192.0.2.2",
        'for="192.0.2.1',
        'for=192.0.2.1"x"',
        "for=192.0.2.1 proto=https",
        "for=2001:db8::1",
        'for="[192.0.2.1"',
        "for=example.com",
        "for=192.0.2.1;proto=gopher",
        "for=192.0.2.1;host=a/b",
        "for=192.0.2.1:99999",
        'for="1.2.3.4, for=192.0.2.1',
    ],
)
def test_forwarded_that_cannot_be_understood_refuses_the_request(value: str) -> None:
    assert forwarded(value) is None


def test_a_line_before_that_of_the_proxy_is_not_even_read() -> None:
    lines = [("forwarded", 'for="1.2.3.4'), ("forwarded", "for=192.0.2.1")]
    assert address(*lines, header="Forwarded") == ("192.0.2.1", 0)


@given(st.text(max_size=60), st.sampled_from(["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]))
def test_whatever_comes_is_no_exception(value: str, name: str) -> None:
    for header in (X, "Forwarded"):
        client(("x-forwarded-for", "192.0.2.1"), (name, value), header=header)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("origin", "peer", "allowed"),
    [
        ("https://example.com", Peer(None), False),
        ("https://example.com", Peer(None, host="example.com"), True),
        ("https://example.com", Peer(None, host="example.com", scheme="https"), True),
        ("http://example.com", Peer(None, host="example.com", scheme="https"), False),
        ("https://example.com:8443", Peer(None, host="example.com:8443", scheme="https"), True),
        ("https://evil.example", Peer(None, host="example.com", scheme="https"), False),
        ("https://inner", Peer(None, scheme="https"), True),
        ("https://inner", Peer(None, host="example.com"), False),
        ("http://inner", Peer(None, scheme="https"), False),
    ],
)
def test_the_own_origin_is_what_the_client_has_asked_the_proxy_for(origin: str, peer: Peer, allowed: bool) -> None:
    headers = {"Origin": origin, "Cookie": "session=1"}
    request = UpgradeRequest("inner", headers=headers, peer=peer)
    assert (check_origin(request, None) is None) is allowed


@pytest.mark.parametrize(
    ("header", "error"), [("X-Real-IP", LocalProtocolError), ("", LocalProtocolError), (None, TypeError)]
)
def test_what_is_no_such_header_is_refused_where_it_is_given(header: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="forwarded_header"):
        TrustedProxies([], header)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "value", "host"),
    [
        ("X-Forwarded-For", "fe80::1%eth0", "fe80::1"),
        ("X-Forwarded-For", "[fe80::1%eth0]:80", "fe80::1"),
        ("Forwarded", 'for="[fe80::1%eth0]:80"', "fe80::1"),
        ("X-Forwarded-For", "fe80::1%no zone", None),
        ("X-Forwarded-For", "fe80::1%", None),
    ],
)
def test_a_zone_of_the_proxy_is_no_part_of_the_address(header, value, host):
    client = TrustedProxies(["10.0.0.1"], header).client(Peer(("10.0.0.1", 1)), [(header, value)])
    assert (client and client.address[0]) == host
