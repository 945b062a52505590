"""Headers as values that are found by name, and what a request's target and cookies mean (RFC 9110 §5, RFC 6265 §4.2)."""

from __future__ import annotations

import copy
import pickle

import pytest

from mintws import ProxyError, UpgradeAccept, UpgradeError, UpgradeReject, UpgradeRequest
from mintws.events import HeaderFields, Request, Response

PAIRS = (("Set-Cookie", "a=1"), ("X-Own", "b"), ("set-cookie", "c=2"))
FIELDS = HeaderFields(PAIRS)
HOLDERS = {
    "UpgradeRequest": UpgradeRequest("example.com", headers=PAIRS),
    "UpgradeAccept": UpgradeAccept(headers=PAIRS),
    "UpgradeReject": UpgradeReject(403, headers=PAIRS),
    "UpgradeError": UpgradeError(403, PAIRS),
    "ProxyError": ProxyError("no", headers=PAIRS),
    "Request": Request("GET", "/", PAIRS),
    "Response": Response(200, PAIRS),
}


@pytest.mark.parametrize("name", ["x-own", "X-Own", "X-OWN"])
def test_names_are_compared_without_case(name):
    assert FIELDS[name] == FIELDS.get(name) == "b"
    assert FIELDS.all(name) == ["b"]
    assert name in FIELDS


def test_lines_of_a_name_are_one_value():
    assert FIELDS["set-cookie"] == FIELDS.get("Set-Cookie") == "a=1, c=2"
    assert FIELDS.all("Set-Cookie") == ["a=1", "c=2"]


def test_a_name_that_is_not_there_is_a_key_error_or_the_default():
    with pytest.raises(KeyError, match="x-none"):
        FIELDS["x-none"]
    assert FIELDS.get("x-none") is None
    assert FIELDS.get("x-none", "d") == "d"
    assert FIELDS.all("x-none") == []
    assert "x-none" not in FIELDS


def test_they_are_a_tuple_of_pairs():
    assert FIELDS == PAIRS and hash(FIELDS) == hash(PAIRS) and repr(FIELDS) == repr(PAIRS)
    assert FIELDS[1] == ("X-Own", "b")
    assert FIELDS[1:] == PAIRS[1:]
    assert ("X-Own", "b") in FIELDS and ("x-own", "b") not in FIELDS
    assert dict(FIELDS)["X-Own"] == "b"
    assert [name for name, _ in FIELDS] == [name for name, _ in PAIRS]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_they_are_copied_and_pickled_as_such(again):
    other = again(FIELDS)
    assert type(other) is HeaderFields
    assert other == FIELDS


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_each_message_has_such_headers(holder):
    assert holder.headers == PAIRS
    assert holder.headers["SET-COOKIE"] == "a=1, c=2"
    assert type(pickle.loads(pickle.dumps(holder)).headers) is HeaderFields


def request(kind, target="/", cookies=()):
    headers = [("cookie", it) for it in cookies]
    if kind is Request:
        return Request("GET", target, headers)
    return UpgradeRequest("example.com", target, headers=headers)


@pytest.mark.parametrize("kind", [UpgradeRequest, Request])
@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/chat?", "/chat", {}),
        ("/chat%2Froom?a=1&b=x%20y&a=2&c=&d", "/chat%2Froom", {"a": ["1", "2"], "b": ["x y"], "c": [""], "d": [""]}),
        ("/a?b?c=d", "/a", {"b?c": ["d"]}),
        ("/a?caf%C3%A9=1+1", "/a", {"caf\u00e9": ["1 1"]}),
    ],
)
def test_a_target_has_a_path_and_a_query(kind, target, path, query):
    found = request(kind, target)
    assert (found.path, found.query) == (path, query)


@pytest.mark.parametrize("kind", [UpgradeRequest, Request])
@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([], {}),
        (["a=1; b=2"], {"a": "1", "b": "2"}),
        (["a=1;b=2;"], {"a": "1", "b": "2"}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (['a="1 2"; b="'], {"a": "1 2", "b": '"'}),
        (["a=1; a=2"], {"a": "1"}),
        (["a=b=c; =d; lone; e="], {"a": "b=c", "": "d", "e": ""}),
    ],
)
def test_cookies_are_found_by_name(kind, lines, cookies):
    assert request(kind, cookies=lines).cookies == cookies
