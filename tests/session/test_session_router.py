"""Which handler a request gets by its path, and what that is told (RFC 3986)."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from mintws import LocalProtocolError, UpgradeReject, UpgradeRequest
from mintws.session import Router


def called(name):
    return lambda websocket, **arguments: (name, arguments)


ROUTER = Router(
    {
        "/": called("root"),
        "/chat": called("chats"),
        "/chat/news": called("news"),
        "/chat/{room}": called("chat"),
        "/chat/{room}/users/{user}": called("user"),
        "/caf\u00e9/100%": called("caf\u00e9"),
        "/{any}/": called("slash"),
    }
)


def routed(target, router=ROUTER):
    """Give what the handler of a target gives; 404 where there is none."""
    request = UpgradeRequest("example.com", target)
    refused = router.upgrade(None, request)
    if refused is not None:
        assert isinstance(refused, UpgradeReject)
        with pytest.raises(LookupError, match=r"upgrade=router\.upgrade"):
            router(SimpleNamespace(request=request))
        return refused.status
    return router(SimpleNamespace(request=request))


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/", ("root", {})),
        ("/?room=1", ("root", {})),
        ("/chat", ("chats", {})),
        ("/chat?x=/chat/1", ("chats", {})),
        ("/chat/news", ("news", {})),
        ("/chat/new", ("chat", {"room": "new"})),
        ("/chat/1/users/ann?since=5", ("user", {"room": "1", "user": "ann"})),
        ("/lobby/", ("slash", {"any": "lobby"})),
        ("/chat/", ("slash", {"any": "chat"})),
    ],
)
def test_the_first_route_that_fits_is_taken(target, found):
    assert routed(target) == found


@pytest.mark.parametrize(
    "target", ["/other", "/Chat", "/chat/1/users", "/chat/1/users/ann/", "/chat/1/users/", "//", "/chat//users/ann"]
)
def test_a_path_that_fits_none_is_answered_with_404(target):
    assert routed(target) == 404


@pytest.mark.parametrize(
    ("sent", "room"),
    [
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%2Fb", "a/b"),
        ("a%2fb%3Fc%23", "a/b?c#"),
        ("caf%C3%A9", "caf\u00e9"),
        ("%25", "%"),
        ("%2525", "%25"),
        ("..", ".."),
        ("a;b=c", "a;b=c"),
        ("%00", "\0"),
        ("{room}", "{room}"),
    ],
)
def test_a_segment_is_decoded_once_and_after_the_path_is_split(sent, room):
    assert routed(f"/chat/{sent}") == ("chat", {"room": room})


@pytest.mark.parametrize("sent", ["/%63hat/n%65ws", "/chat/%6E%65%77%73"])
def test_what_is_encoded_without_need_is_the_same_path(sent):
    assert routed(sent) == ("news", {})


def test_texts_of_routes_stand_as_they_are_decoded():
    assert routed("/caf%C3%A9/100%25") == ("caf\u00e9", {})


@pytest.mark.parametrize("sent", ["%", "%2", "%zz", "a%", "%C3", "%FF", "%ED%A0%80", "%u0041"])
def test_what_is_no_percent_encoded_utf_8_fits_no_route(sent):
    assert routed(f"/chat/{sent}") == 404


def test_an_argument_of_the_handler_is_named_by_its_route():
    router = Router({"/{websocket_id}": lambda websocket, websocket_id: websocket_id})
    assert routed("/5", router) == "5"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "chat",
        "{room}",
        "/{}",
        "/{a b}",
        "/{1}",
        "/v{n}",
        "/{n}.json",
        "/{a}{b}",
        "/{a",
        "/a}",
        "/{x}/{x}",
        "/a?b",
        "/a#b",
    ],
)
def test_a_route_that_could_fit_nothing_is_refused(path):
    with pytest.raises(LocalProtocolError, match="route"):
        Router({path: called("x")})


@pytest.mark.parametrize("path", ["/a?b", "/a#b"])
def test_a_query_is_no_part_of_a_route(path):
    with pytest.raises(LocalProtocolError, match="without a query"):
        Router({path: called("x")})


def test_routes_are_a_mapping():
    with pytest.raises(TypeError, match=r'^routes is a mapping of handlers by path, such as \{"/chat": chat\}, not \['):
        Router([("/chat", called("x"))])


def test_a_handler_is_called_and_a_path_is_text():
    with pytest.raises(TypeError, match="'/chat'"):
        Router({"/chat": None})
    with pytest.raises(TypeError, match="path of a route"):
        Router({b"/chat": called("x")})


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("/", lambda: None),
        ("/chat/{room}", lambda websocket: None),
        ("/chat/{room}", lambda websocket, rom: None),
        ("/chat/{room}", lambda websocket, room, topic: None),
        ("/chat", lambda websocket, room: None),
        ("/{websocket}", lambda websocket: None),
        ("/{room}", lambda websocket, room, /: None),
    ],
)
def test_a_handler_takes_the_arguments_of_its_route(path, handler):
    with pytest.raises(TypeError, match=rf"the handler of '{re.escape(path)}' is called with \(websocket"):
        Router({path: handler})


def test_a_handler_may_take_more_than_the_arguments_of_its_route():
    for handler in (lambda websocket, **names: names, lambda websocket, room, topic=None: {"room": room}):
        assert routed("/mint", Router({"/{room}": handler})) == {"room": "mint"}
    Router({"/": dict})  # has no signature


def test_hooks_follow_each_other():
    def authenticate(connection, request):
        return None if request.headers.get("Authorization") else UpgradeReject(401)

    def upgrade(connection, request):
        return ROUTER.upgrade(connection, request) or authenticate(connection, request)

    for target, headers, status in (("/x", {}, 404), ("/chat", {}, 401)):
        assert upgrade(None, UpgradeRequest("example.com", target, headers=headers)).status == status
    assert upgrade(None, UpgradeRequest("example.com", "/chat", headers={"Authorization": "Bearer mint"})) is None
