"""Basic credentials that a server asks for (RFC 7617)."""

from __future__ import annotations

import base64
import hmac

import pytest

from mintws import LocalProtocolError, UpgradeReject, UpgradeRequest
from mintws.session import basic_auth

USERS = {"ann": "secret", "caf\u00e9": "m\u00efnt: tea", "empty": ""}


def basic(name, password, scheme="Basic"):
    return f"{scheme} {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def asked(*authorization, users=USERS):
    connection = type("Connection", (), {"app": None})()
    request = UpgradeRequest("example.com", headers=[("authorization", it) for it in authorization])
    return basic_auth(users)(connection, request), connection.app


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_who_sends_the_password_is_let_in(name, scheme):
    assert asked(basic(name, USERS[name], scheme)) == (None, name)


@pytest.mark.parametrize(
    "authorization",
    [
        (),
        ("",),
        ("Basic",),
        ("Basic !!!",),
        ("Basic YW5u",),
        ("Basic /////w==",),
        ("Bearer YW5uOnNlY3JldA==",),
        (basic("ann", "wrong"),),
        (basic("ann", ""),),
        (basic("bob", "secret"),),
        (basic("", ""),),
        (basic("bob", ""),),
        (basic("ann", "secret"), basic("ann", "secret")),
    ],
)
def test_who_does_not_is_asked_for_it(authorization):
    reject, app = asked(*authorization)
    assert isinstance(reject, UpgradeReject)
    assert (reject.status, reject.headers["www-authenticate"]) == (401, 'Basic realm="WebSocket", charset="UTF-8"')
    assert app is None


def test_users_may_change_while_the_server_runs():
    users = {"ann": "secret"}
    assert asked(basic("ann", "secret"), users=users)[0] is None
    users["ann"] = "other"
    assert asked(basic("ann", "secret"), users=users)[0] is not None


def test_passwords_are_compared_in_constant_time_whether_the_name_is_known_or_not(monkeypatch):
    compared = []

    def compare(a, b):
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for name, password in (("ann", "secret"), ("ann", "a" * 100), ("bob", "x")):
        asked(basic(name, password))
    assert compared == [(32, 32)] * 3


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\nb", "caf\u00e9"])
def test_a_realm_that_no_header_can_have_is_refused(realm):
    with pytest.raises(LocalProtocolError, match="realm"):
        basic_auth({}, realm=realm)


@pytest.mark.parametrize("users", [["ann"], "ann:m1nt", None, {"ann": b"m1nt"}, {b"ann": "m1nt"}], ids=str)
def test_users_are_passwords_by_name(users):
    with pytest.raises(TypeError, match=r"^users is a mapping|^the name and the password of user") as raised:
        basic_auth(users)
    assert "m1nt" not in str(raised.value)


def test_a_name_that_no_credentials_can_have_is_refused():
    with pytest.raises(LocalProtocolError, match=r"^the name of user 'a:b' has a colon"):
        basic_auth({"a:b": "secret"})
