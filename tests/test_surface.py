"""Public names are what Python users expect of any: documented, with signatures and types, to be mocked, copied, pickled and matched."""

from __future__ import annotations

import asyncio
import copy
import importlib
import inspect
import pickle
import pydoc
import ssl
import typing
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import pytest
import trio

import mintws
import mintws.asyncio.testing
import mintws.events
import mintws.sync.testing
import mintws.trio.testing
from mintws import (
    Agreed,
    Binary,
    Close,
    Connection,
    Event,
    Failed,
    Http1,
    Http2,
    LocalProtocolError,
    MintWSError,
    Offer,
    PerMessageDeflate,
    Ping,
    Pong,
    PreparedMessage,
    RemoteProtocolError,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import Http2Client, Server, WebSocket, connect, serve
from mintws.events import Peer, Request, Response, Sendable

#: Special methods that are called by name, or looked at by `help`.
SPECIAL = {"__init__", "__aenter__", "__aexit__", "__await__"}
#: What a base outside of mintws has is not ours to document.
FOREIGN = (object, BaseException, int, tuple, OSError, TimeoutError, asyncio.TimeoutError)
#: Aliases of types: no classes and no functions.
ALIASES = {"mintws.Event", "mintws.events.Event", "mintws.events.Sendable", "mintws.events.Headers"}


def names() -> Iterator[tuple[str, Any]]:
    """Give each public name of the public modules, and what it is."""
    for module in (mintws, mintws.asyncio, mintws.trio, mintws.events):
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


def members() -> Iterator[tuple[str, Any]]:
    """Give each public function, method and property of the classes among them."""
    foreign = {name for base in FOREIGN for name in dir(base)} - SPECIAL
    for owner, cls in names():
        if not isinstance(cls, type):
            continue
        for name in dir(cls):
            member = inspect.getattr_static(cls, name)
            ours = name in SPECIAL or not (name.startswith("_") or name in foreign)
            if ours and (inspect.isroutine(member) or isinstance(member, property)):
                if name == "__init__" and getattr(member, "__objclass__", None) is not None:
                    continue  # of the base outside
                yield f"{owner}.{name}", member


NAMES = dict(names())
MEMBERS = dict(members())
CLASSES = {name: it for name, it in NAMES.items() if isinstance(it, type)}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ALIASES])
def test_name_is_documented_and_found_where_it_says(name):
    found = NAMES[name]
    assert inspect.getdoc(found)
    home = importlib.import_module(found.__module__)
    assert found.__module__.split(".")[0] == "mintws"
    assert "_core" not in found.__module__
    assert getattr(home, found.__qualname__) is found


@pytest.mark.parametrize("name", [*CLASSES, *MEMBERS])
def test_types_can_be_looked_up(name):
    found = CLASSES.get(name) or MEMBERS[name]
    for function in [found.fget, found.fset] if isinstance(found, property) else [found]:
        if function is not None:
            typing.get_type_hints(function)


@pytest.mark.parametrize("name", MEMBERS)
def test_member_is_documented_and_has_a_signature(name):
    found = MEMBERS[name]
    owner, _, member = name.rpartition(".")
    if member not in SPECIAL:
        assert inspect.getdoc(getattr(CLASSES[owner], member))
    if not isinstance(found, property):
        inspect.signature(found.__func__ if isinstance(found, (staticmethod, classmethod)) else found)


@pytest.mark.parametrize("name", CLASSES)
def test_help_shows_it(name):
    assert CLASSES[name].__name__ in pydoc.render_doc(CLASSES[name], renderer=pydoc.plaintext)


@pytest.mark.parametrize("name", CLASSES)
def test_it_can_be_the_specification_of_a_mock(name):
    create_autospec(CLASSES[name])
    MagicMock(spec=CLASSES[name])


AWAITED = {
    WebSocket: {"recv", "recv_event", "send", "send_many", "ping", "close", "wait_closed"},
    Http2Client: {"open", "request", "close"},
    Server: {"close", "drain", "serve_forever", "wait_closed"},
    mintws.trio.WebSocket: {"recv", "recv_event", "send", "send_many", "ping", "close", "wait_closed"},
    mintws.trio.Http2Client: {"open", "request", "close"},
    mintws.trio.Server: {"close", "drain", "serve_forever", "wait_closed"},
}


#: The public names of an open WebSocket of every driver, and those that one driver has beside them.
WEBSOCKET = {
    "app",
    "batch",
    "close",
    "close_code",
    "close_reason",
    "connection",
    "counters",
    "discard",
    "ending",
    "http_version",
    "id",
    "latency",
    "ping",
    "recv",
    "recv_event",
    "request",
    "response",
    "send",
    "send_many",
    "send_nowait",
    "state",
    "subprotocol",
    "unsent",
    "wait_closed",
}
OF_ONE_DRIVER = {"asyncio": {"transport"}, "trio": {"ssl_object", "stream"}, "sync": {"transport"}}


def websocket_of_asyncio():
    async def main():
        async with mintws.asyncio.testing.pair() as pair:
            return pair[0]

    return asyncio.run(asyncio.wait_for(main(), 20))


def websocket_of_trio():
    async def main():
        with trio.fail_after(20):
            async with mintws.trio.testing.pair() as pair:
                return pair[0]

    return trio.run(main)


def websocket_of_threads():
    with mintws.sync.testing.pair() as pair:
        return pair[0]


@pytest.mark.parametrize(
    ("driver", "make"),
    [("asyncio", websocket_of_asyncio), ("trio", websocket_of_trio), ("sync", websocket_of_threads)],
    ids=OF_ONE_DRIVER,
)
def test_a_websocket_shows_what_is_for_users_and_nothing_of_its_driver(driver, make):
    assert {name for name in dir(make()) if not name.startswith("_")} == WEBSOCKET | OF_ONE_DRIVER[driver]


SERVER = {
    "close",
    "drain",
    "leaving",
    "port",
    "serve_forever",
    "sockets",
    "statistics",
    "wait_closed",
    "websockets",
}


def server_of_asyncio(testing):
    async def main():
        async with testing.serve_in_memory(no_handler) if testing else serve(no_handler, "127.0.0.1", 0) as server:
            return server

    return asyncio.run(asyncio.wait_for(main(), 20))


def server_of_trio(testing):
    async def main():
        serving = testing.serve_in_memory if testing else partial(mintws.trio.serve, host="127.0.0.1", port=0)
        with trio.fail_after(20):
            async with serving(no_handler) as server:
                return server

    return trio.run(main)


def server_of_threads(testing):
    serving = testing.serve_in_memory if testing else partial(mintws.sync.serve, host="127.0.0.1", port=0)
    with serving(lambda websocket: None) as server:
        return server


async def no_handler(websocket):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("make", "testing"),
    [
        (server_of_asyncio, mintws.asyncio.testing),
        (server_of_trio, mintws.trio.testing),
        (server_of_threads, mintws.sync.testing),
    ],
    ids=["asyncio", "trio", "sync"],
)
def test_a_server_shows_what_is_for_users_and_nothing_of_its_driver(make, testing):
    shown = SERVER | ({"serve_stream"} if make is server_of_trio else set())
    assert {name for name in dir(make(None)) if not name.startswith("_")} == shown
    assert {name for name in dir(make(testing)) if not name.startswith("_")} == shown | {"connect", "connect_http2"}


@pytest.mark.parametrize("cls", AWAITED)
def test_what_is_awaited_is_a_coroutine_function(cls):
    assert {name for name in AWAITED[cls] if not inspect.iscoroutinefunction(getattr(cls, name))} == set()


def test_methods_of_an_open_websocket_are_coroutine_functions():
    async def handler(websocket):
        await websocket.wait_closed()

    async def main():
        async with serve(handler, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}") as websocket:
            assert inspect.iscoroutinefunction(websocket.send)
            assert list(inspect.signature(websocket.send).parameters) == ["message", "compress"]
            assert repr(websocket.send).startswith("<bound method WebSocket.send of <WebSocket ")
            with pytest.raises(TypeError, match="message"):
                websocket.send()

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("name", ["recv", "recv_event", "send"])
def test_help_shows_methods_of_the_core_as_coroutine_functions(name):
    shown = pydoc.render_doc(WebSocket, renderer=pydoc.plaintext)
    assert f" |  async {name}(self" in shown
    assert inspect.iscoroutinefunction(getattr(WebSocket, name))


def test_wrong_call_of_a_method_of_the_core_names_what_was_called():
    async def handler(websocket):
        await websocket.wait_closed()

    async def main():
        async with serve(handler, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}") as websocket:
            with pytest.raises(TypeError, match=r"WebSocket\.recv\(\) "):
                websocket.recv(timeout=1)
            with pytest.raises(TypeError, match=r"WebSocket\.send\(\) "):
                websocket.send("a", "b")

    asyncio.run(asyncio.wait_for(main(), 20))


def test_methods_of_the_core_show_their_types():
    hints = typing.get_type_hints(WebSocket.send)
    assert (hints["compress"], hints["return"]) == (bool | None, type(None))
    assert {str, Text, Binary, PreparedMessage} <= set(typing.get_args(hints["message"]))
    assert typing.get_type_hints(WebSocket.recv) == {"return": str | bytes}
    assert str(inspect.signature(WebSocket.send)).startswith("(self, message: ")
    assert WebSocket.send.__qualname__ == "WebSocket.send"
    assert "ConnectionClosed" in (WebSocket.send.__doc__ or "")


MOCKS = {
    "AsyncMock": lambda: AsyncMock(spec=WebSocket),
    "autospec": lambda: create_autospec(WebSocket).return_value,
    "autospec of an instance": lambda: create_autospec(WebSocket, instance=True),
}


@pytest.mark.parametrize("make", MOCKS.values(), ids=MOCKS)
def test_a_mock_of_a_websocket_is_awaited(make):
    mock = make()
    mock.recv.return_value = "hello"
    mock.__aiter__.return_value = ["a", "b"]

    async def work():
        first = await mock.recv()
        await mock.send(first)
        heard = [message async for message in mock]
        await mock.close(1000)
        return first, heard

    assert asyncio.run(work()) == ("hello", ["a", "b"])
    mock.send.assert_awaited_once_with("hello")
    with pytest.raises(AttributeError):
        mock.sned  # noqa: B018


VALUES = [
    Text("caf\u00e9"),
    Text(b"bytes", fin=False),
    Binary(b"\x00"),
    Ping(b"1"),
    Pong(),
    Close(1000, "bye"),
    Close(None),
    UpgradeRequest("example.com", "/chat", headers={"Cookie": "a"}, subprotocols=["a"], extensions=[Offer("x")]),
    UpgradeAccept(subprotocol="a", headers={"x": "y"}, extensions=[PerMessageDeflate(level=3)]),
    UpgradeReject(403, headers={"x": "y"}, body=b"no"),
    Request("GET", "/", {"host": "a"}, b"body"),
    Response(200, {"x": "y"}, None),
    Offer("x", (("a", "1"), ("b", None))),
    PerMessageDeflate(client_max_window_bits=10, threshold=5),
    *Role,
    *State,
]
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda it, n=n: pickle.loads(pickle.dumps(it, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_that_is_copied_or_pickled_is_equal(value, again):
    other = again(value)
    assert type(other) is type(value)
    assert other == value
    assert hash(other) == hash(value)
    assert repr(other) == repr(value)


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("request_", [UpgradeRequest("example.com"), Request("GET", "/")], ids=["upgrade", "ordinary"])
def test_request_over_tls_is_copied_and_pickled_too(request_, again):
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="example.com")
    asked = replace(request_, peer=Peer(("127.0.0.1", 5), tls))
    other = again(asked)
    assert other == asked
    assert other.peer.address == ("127.0.0.1", 5)
    assert again(asked.peer) == Peer(("127.0.0.1", 5))


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
def test_what_holds_others_is_copied_with_them(again):
    failed = again(Failed(RemoteProtocolError("broken", code=1007, section="RFC 6455 §8.1")))
    assert (failed.error.code, failed.error.section, str(failed.error)) == (
        1007,
        "RFC 6455 §8.1",
        "broken (RFC 6455 §8.1)",
    )
    agreed = PerMessageDeflate().accept(())
    assert isinstance(agreed, Agreed)
    assert (again(agreed).answer, again(agreed).rsv) == (agreed.answer, 0x40)


@pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "event", [Text("caf\u00e9 " * 50), Text(b"bytes"), Binary(b"\x00\xff" * 99)], ids=["a", "b", "c"]
)
def test_prepared_message_is_copied_with_its_level(event, again):
    prepared = PreparedMessage(event, level=9)
    other = again(prepared)
    assert other._content == prepared._content
    assert other.__getnewargs_ex__()[1] == {"level": 9}
    kind = "text" if isinstance(event, Text) else "binary"
    assert repr(other) == f"<PreparedMessage of {kind}, {len(prepared._content[1])} bytes>"


@pytest.mark.parametrize(
    "make", [lambda: Http1(Role.CLIENT), lambda: Http2(Role.CLIENT).open(), lambda: Http2(Role.CLIENT)]
)
def test_connection_is_no_value(make):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(make())


def test_every_error_is_tried():
    from test_errors import ERRORS

    classes = {it for it in NAMES.values() if isinstance(it, type) and issubclass(it, MintWSError)}
    assert classes - {MintWSError} <= {type(error) for error in ERRORS}


def matched(event: Event | Sendable) -> object:
    """What a match statement takes out of an event."""
    match event:
        case Text(data, fin) | Binary(data, fin):
            return data, fin
        case Ping(data) | Pong(data):
            return data
        case Close(1000 | 1001, reason):
            return reason
        case Close(code=code):
            return code
        case UpgradeRequest(host, target):
            return host, target
        case UpgradeAccept(subprotocol=subprotocol):
            return subprotocol
        case UpgradeReject(status):
            return status
        case Failed(RemoteProtocolError(code=code)):
            return code
    return None


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (Text("a"), ("a", True)),
        (Binary(b"a", fin=False), (b"a", False)),
        (Ping(b"a"), b"a"),
        (Pong(b"b"), b"b"),
        (Close(1001, "bye"), "bye"),
        (Close(None), None),
        (UpgradeRequest("a", "/b"), ("a", "/b")),
        (UpgradeAccept(subprotocol="x"), "x"),
        (UpgradeReject(404), 404),
        (Failed(RemoteProtocolError("x", code=1009)), 1009),
    ],
    ids=lambda it: type(it).__name__,
)
def test_event_is_matched(event, found):
    assert matched(event) == found


@pytest.mark.parametrize("event", VALUES[:7], ids=repr)
def test_representation_of_a_frame_event_makes_it_again(event):
    assert eval(repr(event)) == event


def test_connection_says_what_it_is():
    assert repr(Http1(Role.CLIENT).open()) == "<Connection CLIENT CONNECTING over HTTP/1.1>"
    assert issubclass(LocalProtocolError, MintWSError)
    assert {"send", "receive", "state", "counters"} <= set(dir(Connection))
