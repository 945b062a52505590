"""`mintws.sync` has the names of `mintws.asyncio`, with the same arguments and documentation; where it differs, it is listed here."""

from __future__ import annotations

import inspect
import pydoc
import typing

import pytest
from test_same_surface import differences, surface, told_otherwise

import mintws.sync
import mintws.sync.testing

MODULES = [mintws.sync, mintws.sync.testing]

#: What differs beside coroutines, and why.
MEANT = {
    "connect(transport)": "there is no transport of a loop",
    "connect_http2(transport)": "there is no transport of a loop",
    "Pool.connect(transport)": "there is no transport of a loop",
    "connect.open": "nothing is awaited: it stands for `await connect(...)`",
    "connect_http2.open": "nothing is awaited: it stands for `await connect_http2(...)`",
    "serve.listen": "nothing is awaited: it stands for `await serve(...)`",
    "Http2Client(protocol)": "connect_http2 makes it",
    "Http2Client(transport)": "connect_http2 makes it",
    "WebSocket.recv(self)": "it is a method of the core, not one that is declared in Python",
    "WebSocket.recv_event(self)": "it is a method of the core, not one that is declared in Python",
    "WebSocket.batch(self)": "it is a method of the core, not one that is declared in Python",
    "WebSocket.send(self)": "it is a method of the core, not one that is declared in Python",
    "WebSocket.connection": "it is among the attributes that are documented",
    **dict.fromkeys(
        [
            *[
                f"WebSocket.{name}(timeout)"
                for name in ("ping", "recv", "recv_event", "send", "send_many", "wait_closed")
            ],
            "WebSocketLike.recv(timeout)",
            "Http2Client.request(timeout)",
        ],
        "a loop has its own ways to limit the time",
    ),
}
#: The same for tests without a network.
MEANT_FOR_TESTING = {
    "serve_in_memory.listen": "nothing is awaited: it stands for `await serve_in_memory(...)`",
}
#: The docstrings, or their entries, with another text than asyncio's, and why.
TOLD_OTHERWISE = {
    **dict.fromkeys(
        ["Http2Client", "Pool", "WebSocket", "WebSocket.close", "broadcast", "serve"],
        "threads may share it, or it has some",
    ),
    **dict.fromkeys(
        [
            "Http2Client.close",
            "Pool.close",
            "Server.close",
            "Server.drain",
            "Server.serve_forever",
            "WebSocket.recv",
            "WebSocket.send",
        ],
        "a call is interrupted, and not cancelled, and a handler neither",
    ),
    **dict.fromkeys(["Http2Client.request", "Http2Client.request(LocalProtocolError)"], "it has a timeout"),
    **dict.fromkeys(
        ["Pool.connect(LocalProtocolError)", "broadcast(websockets)", "connect(ssl)"], "nothing belongs to a loop"
    ),
    **dict.fromkeys(
        [
            "Pool.connect",
            "WebSocketLike",
            "connect",
            "connect(LocalProtocolError)",
            "connect_http2",
            "connect_http2(LocalProtocolError)",
        ],
        "nothing is awaited",
    ),
    **dict.fromkeys(
        ["connect(url)", "connect(headers)", "connect(reconnect)", "serve(handler)"],
        "no coroutine functions are called",
    ),
    **dict.fromkeys(["connect(http)", "connect(redirects)"], "there is no transport of a loop"),
}
TOLD_OTHERWISE_FOR_TESTING = {
    **{f"MemoryServer.{name}": TOLD_OTHERWISE[f"Server.{name}"] for name in ("close", "drain", "serve_forever")},
    "serve_in_memory": "nothing is awaited",
}
#: In place of the coroutines and of `async with`.
COROUTINES = ("(awaited)", ".__aenter__", ".__aexit__", ".__aiter__", ".__anext__", ".__await__")


@pytest.mark.parametrize(("module", "meant"), [(mintws.sync, MEANT), (mintws.sync.testing, MEANT_FOR_TESTING)])
def test_it_differs_only_where_it_is_meant(module, meant):
    found = {it for it in differences(module) if not it.endswith(COROUTINES)}
    assert found == meant.keys()


@pytest.mark.parametrize(
    ("module", "meant"), [(mintws.sync, TOLD_OTHERWISE), (mintws.sync.testing, TOLD_OTHERWISE_FOR_TESTING)]
)
def test_docstrings_say_the_same_unless_otherwise_is_meant(module, meant):
    assert told_otherwise(module) == meant.keys()


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in MODULES for name in surface(module)])
def test_each_name_is_documented_and_has_types(module, name):
    found = surface(module)[name]
    if isinstance(found, property):
        typing.get_type_hints(found.fget)
    elif callable(found):
        inspect.signature(found)
        typing.get_type_hints(found)
    if not name.rpartition(".")[2].startswith("__") and (callable(found) or isinstance(found, property)):
        owner, _, member = name.partition(".")
        assert inspect.getdoc(getattr(getattr(module, owner), member) if member else found)


@pytest.mark.parametrize("name", mintws.sync.__all__)
def test_help_shows_it(name):
    assert name in pydoc.render_doc(getattr(mintws.sync, name), renderer=pydoc.plaintext)
