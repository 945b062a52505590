"""A call with an argument that it does not have says which one is meant, or which there are."""

from __future__ import annotations

import importlib
import inspect
import typing

import pytest

from mintws import Connection, Http1, Http2, PerMessageDeflate, Role
from mintws.arguments import ELSEWHERE
from mintws.asyncio import broadcast, connect, connect_http2, serve
from mintws.connection import Options


async def handler(websocket):
    raise NotImplementedError


CALLS = {
    "connect": lambda **named: connect("ws://localhost", **named),
    "connect_http2": lambda **named: connect_http2("ws://localhost", **named),
    "serve": lambda **named: serve(handler, **named),
    "Connection": lambda **named: Connection(Role.CLIENT, Http1(Role.CLIENT), **named),
    "Http1": lambda **named: Http1(Role.CLIENT, **named),
    "Http2": lambda **named: Http2(Role.SERVER, **named),
}
CLASSES = [connect, connect_http2, serve, Connection, Http1, Http2]

WITHOUT_IO = {
    "auth": "Authorization among the headers of an UpgradeRequest",
    "max_size": "use limit",
    "max_message_size": "use limit",
    "ping_interval": "needs a clock",
    "open_timeout": "needs a clock",
    "subprotocols": "UpgradeRequest and UpgradeAccept",
    "headers": "UpgradeRequest and UpgradeAccept",
    "ssl_context": "TLS is of the transport",
}

#: Arguments of other libraries and what is said of them here.
MEANT = {
    "connect": {
        # websockets
        "uri": "use url",
        "additional_headers": "use headers",
        "extra_headers": "use headers",
        "user_agent": "use user_agent_header",
        "compression": r"use extensions, \(\) for no compression",
        "max_size": "use limit",
        "max_queue": "256 messages",
        "write_limit": "256 messages",
        "process_exception": "use reconnect",
        "logger": "mintws.client",
        # aiohttp
        "protocols": "use subprotocols",
        "heartbeat": "use ping_interval",
        "autoping": "use auto_pong",
        "max_msg_size": "use limit",
        "compress": "use extensions",
        "receive_timeout": r"asyncio.timeout\(\)",
        "ssl_context": "use ssl",
        # websocket-client
        "timeout": "use open_timeout, or close_timeout",
        "header": "use headers",
        "cookie": "use cookies, a CookieJar",
        "sslopt": "use ssl",
        "http_proxy_host": "use proxy, a URL",
        "skip_utf8_validation": "use text_as_bytes",
        # picows
        "websocket_handshake_timeout": "use open_timeout",
        "enable_auto_ping": "use ping_interval",
        "auto_ping_reply_timeout": "use ping_timeout",
        "max_frame_size": "use limit, for what comes, or max_frame for what is sent",
    },
    "connect_http2": {
        "max_size": "use limit",
        "headers": r"give it to Http2Client.open\(\)",
        "additional_headers": r"give it to Http2Client.open\(\)",
        "compression": r"give it to Http2Client.open\(\)",
        "heartbeat": "use ping_interval",
        "cookies": r"a Cookie is one of the headers of Http2Client.open\(\)",
        "max_redirects": r"connect\(\) does that",
        "process_exception": r"connect\(\) does that",
    },
    "serve": {
        "auth": r"use upgrade, such as basic_auth\(\) makes",
        "cookie": "use upgrade, which may give an UpgradeAccept with Set-Cookie",
        "max_redirects": r"connect\(\) does that",
        "process_request": "use upgrade, which may give an UpgradeReject",
        "process_response": "use upgrade",
        "select_subprotocol": "use upgrade",
        "extra_headers": "use upgrade, which may give an UpgradeAccept with headers",
        "headers": "use upgrade",
        "origin": "use origins",
        "compression": "use extensions",
        "max_size": "use limit",
        "ws_ping_interval": "use ping_interval",
        "ssl_context": "use ssl",
    },
    "Connection": WITHOUT_IO,
    "Http1": WITHOUT_IO,
    "Http2": WITHOUT_IO,
}


@pytest.mark.parametrize(
    ("call", "name", "says"),
    [(call, name, says) for call, meant in MEANT.items() for name, says in meant.items()],
)
def test_argument_of_another_library_names_ours(call, name, says):
    with pytest.raises(TypeError, match=rf"^{call}\(\) has no argument {name}: .*{says}"):
        CALLS[call](**{name: object()})


@pytest.mark.parametrize("call", CALLS)
def test_unknown_argument_names_all_that_there_are_and_the_nearest(call):
    with pytest.raises(TypeError, match=rf"^{call}\(\) has no argument limt; did you mean limit\?; it has ") as caught:
        CALLS[call](limt=5)
    known = set(str(caught.value).partition("it has ")[2].split(", "))
    assert known >= Options.__annotations__.keys()
    with pytest.raises(TypeError, match=rf"^{call}\(\) has no argument zzzzz; it has "):
        CALLS[call](zzzzz=5)


@pytest.mark.parametrize("driver", ["asyncio", "trio", "sync"])
def test_unknown_argument_of_a_pool_names_the_nearest(driver):
    pool = importlib.import_module(f"mintws.{driver}").Pool
    with pytest.raises(
        TypeError, match=r"^Pool\(\) has no argument max_connections; did you mean max_connections_per_origin\?"
    ):
        pool(max_connections=5)


@pytest.mark.parametrize("call", CALLS)
def test_value_of_a_wrong_argument_is_not_shown(call):
    for name in ("cookie", "limt", "zzzzz"):
        with pytest.raises(TypeError) as caught:
            CALLS[call](**{name: "a secret"})
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "wrong", "says"),
    [
        (
            "connect",
            {"cookies": {"a": "1"}},
            r'^cookies is an http\.cookiejar\.CookieJar, not dict: headers={"Cookie": "a=1"}',
        ),
        (
            "connect",
            {"extensions": "permessage-deflate"},
            r"^extensions is a sequence, such as \[PerMessageDeflate\(\)\], not '",
        ),
        ("serve", {"extensions": True}, r"^extensions is a sequence, such as \[PerMessageDeflate\(\)\], not True"),
        ("connect", {"extensions": PerMessageDeflate()}, r"^extensions is a sequence: write \[PerMessageDeflate\("),
        ("serve", {"extensions": PerMessageDeflate()}, r"^extensions is a sequence: write \[PerMessageDeflate\("),
        ("connect", {"auth": "ann:secret"}, r"^auth is a user and a password, a pair of str, which this is not$"),
        ("connect_http2", {"auth": ("ann", b"secret")}, r"^auth is a user and a password, a pair of str"),
        ("connect", {"headers": None}, r"^headers are a mapping, or pairs of str: name and value, not NoneType$"),
        ("connect", {"proxy": False}, r"^a proxy is a URL, a str, or None for no proxy, not bool$"),
    ],
)
def test_value_of_a_wrong_type_is_told_with_what_is_taken(call, wrong, says):
    with pytest.raises(TypeError, match=says):
        CALLS[call](**{"port": 0, **wrong} if call == "serve" else wrong)


def test_what_is_no_iterable_of_websockets_is_told_with_what_is_taken():
    with pytest.raises(
        TypeError, match=r"^websockets is an iterable, such as \[websocket\] or server\.websockets, not 5$"
    ):
        broadcast(5, "news")


def test_what_is_named_instead_is_an_argument_of_some_call():
    known = {name for it in CLASSES for name in inspect.signature(it).parameters}
    assert {name for meant in ELSEWHERE.values() for name, _ in meant if name} <= known


@pytest.mark.parametrize("cls", CLASSES)
def test_signature_has_all_arguments_with_their_types(cls):
    parameters = inspect.signature(cls).parameters
    assert not any(it.kind in (it.VAR_KEYWORD, it.VAR_POSITIONAL) for it in parameters.values())
    hints = typing.get_type_hints(cls.__init__)
    assert hints.keys() - {"return"} == parameters.keys()
    assert {name: hints[name] for name in Options.__annotations__} == typing.get_type_hints(Options)
    shared = inspect.signature(Connection).parameters
    for name in Options.__annotations__:
        assert parameters[name].default == shared[name].default


def test_missing_and_surplus_arguments_are_told_of_as_python_does():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'url'"):
        connect()
    with pytest.raises(TypeError, match="positional argument"):
        connect("ws://localhost", 5)
