"""Which redirects a client follows, and what the next server gets (RFC 9110 §10.2.2, §15.4)."""

from __future__ import annotations

import pytest

from mintws import ConnectError, UpgradeError
from mintws.session import REDIRECTS, Redirects
from mintws.url import parse

START = "wss://ann:secret@example.com/a/b?c=1"
SECRETS = (("Authorization", "Bearer x"), ("cookie", "a=1"), ("Proxy-Authorization", "Basic y"), ("X-Other", "z"))


def moved(location, status=302):
    return UpgradeError(status, (("location", location),))


def followed(location, start=START, **options):
    redirects = Redirects(parse(start), **options)
    assert redirects.follow(moved(location))
    return redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_kind_of_redirect_is_followed(status):
    redirects = Redirects(parse(START))
    assert redirects.follow(moved("/new", status))
    assert redirects.url.target == "/new"


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 401, 404, 503])
def test_no_other_answer_is_a_redirect(status):
    assert not Redirects(parse(START)).follow(moved("/new", status))


def test_a_redirect_without_a_location_is_a_refusal():
    assert not Redirects(parse(START)).follow(UpgradeError(302))


def test_redirects_can_be_turned_off():
    assert not Redirects(parse(START), 0).follow(moved("/new"))


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/new", "/new"),
        ("new", "/a/new"),
        ("../new", "/new"),
        ("../../new", "/new"),
        ("?d=2", "/a/b?d=2"),
        ("", "/a/b?c=1"),
        ("#part", "/a/b?c=1"),
        ("/new#part", "/new"),
        (" /new ", "/new"),
        ("/a b", "/a%20b"),
        ("/caf\u00c3\u00a9", "/caf%C3%A9"),
        ("/caf\u00e9", "/caf%C3%A9"),
        ("//example.com/new", "/new"),
        ("https://example.com/new", "/new"),
        ("wss://EXAMPLE.com:443/new", "/new"),
    ],
)
def test_a_location_is_resolved_against_the_url_and_its_fragment_left_out(location, target):
    redirects = followed(location)
    assert redirects.url == parse(START)._replace(target=target)
    assert not redirects.left


@pytest.mark.parametrize(
    ("location", "authority", "secure"),
    [
        ("https://other.example/", "other.example", True),
        ("wss://other.example/", "other.example", True),
        ("//other.example:8443/", "other.example:8443", True),
        ("https://example.com:444/", "example.com:444", True),
        ("https://[2001:db8::1]/", "[2001:db8::1]", True),
    ],
)
def test_http_schemes_mean_those_of_websockets(location, authority, secure):
    redirects = followed(location)
    assert (redirects.url.authority, redirects.url.secure) == (authority, secure)
    assert redirects.left


def test_without_tls_a_redirect_may_lead_to_either():
    assert not followed("http://example.com/new", "ws://example.com/").left
    there = followed("https://example.com/new", "ws://example.com/")
    assert (there.url.secure, there.url.port, there.left) == (True, 443, True)


def test_another_origin_gets_no_credentials():
    redirects = followed("https://other.example/new")
    assert redirects.url.authorization is None
    assert redirects.permitted(SECRETS) == (("X-Other", "z"),)


def test_the_same_origin_gets_them():
    redirects = followed("/new")
    assert redirects.url.authorization == parse(START).authorization
    assert redirects.permitted(SECRETS) == SECRETS


def test_credentials_do_not_come_back_with_the_first_origin():
    redirects = followed("https://other.example/new")
    assert redirects.follow(moved("https://example.com/back"))
    assert redirects.url == parse("wss://example.com/back")
    assert redirects.permitted(SECRETS) == (("X-Other", "z"),)


@pytest.mark.parametrize("location", ["https://eve:known@example.com/new", "https://eve:known@other.example/new"])
def test_a_server_does_not_choose_credentials(location):
    authorization = followed(location).url.authorization
    assert authorization in (None, parse(START).authorization)


def test_the_zone_of_an_address_stays_with_it():
    assert followed("/new", "ws://[fe80::1%25lo]/").url.host == "fe80::1%lo"


@pytest.mark.parametrize(
    "location",
    [
        "ws://example.com/",
        "http://other.example/",
        "ftp://example.com/",
        "mailto:ann@example.com",
        "javascript:alert(1)",
        "https://",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://[::1/",
        "/%zz",
        "/new\ttab",
        "https://127.1/",
    ],
)
def test_what_is_not_followed_is_an_error_with_the_refusal_as_its_cause(location):
    redirects, refusal = Redirects(parse(START)), moved(location)
    with pytest.raises(ConnectError, match="redirected") as told:
        redirects.follow(refusal)
    assert told.value.__cause__ is refusal
    assert redirects.url == parse(START)
    assert "secret" not in str(told.value)


def test_loops_end():
    redirects = Redirects(parse(START))
    for _ in range(REDIRECTS):
        assert redirects.follow(moved("/again"))
    with pytest.raises(ConnectError, match="more than 10 times"):
        redirects.follow(moved("/again"))


def test_a_client_that_reaches_one_origin_alone_stays_there():
    redirects = Redirects(parse(START), elsewhere=False)
    assert redirects.follow(moved("/new"))
    with pytest.raises(ConnectError, match=r"other\.example"):
        redirects.follow(moved("https://other.example/"))
