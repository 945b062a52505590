"""Basic credentials that are given beside the URL (RFC 7617), in all drivers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

import pytest
import trio

import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws import ConnectError, LocalProtocolError, UpgradeError, UpgradeReject
from mintws.sync import basic_auth, serve

DRIVERS = {"asyncio": mintws.asyncio, "trio": mintws.trio, "sync": mintws.sync}
AUTH = ("ann", "s:3c%41ret ü")
SENT = "Basic " + base64.b64encode("ann:s:3c%41ret ü".encode()).decode()


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


@pytest.fixture(params=["1.1", "2", "pool", "many"])
def how(request):
    return request.param


def opened(driver: str, how: str, url: str, **options: Any) -> None:
    """Open a WebSocket and close it: over a version of HTTP, by a pool, or on a connection for many."""
    module: Any = DRIVERS[driver]
    headers = options.pop("headers", ())

    async def work() -> None:
        async with contextlib.AsyncExitStack() as stack:
            if how == "many":
                client = await stack.enter_async_context(module.connect_http2(url, **options))
                opening = await client.open(headers=headers)
            elif how == "pool":
                pool = await stack.enter_async_context(module.Pool())
                opening = pool.connect(url, headers=headers, **options)
            else:
                opening = module.connect(url, http=how, headers=headers, **options)
            await stack.enter_async_context(opening)

    if driver == "asyncio":
        asyncio.run(work())
    elif driver == "trio":
        trio.run(work)
    else:
        with contextlib.ExitStack() as stack:
            if how == "many":
                opening = stack.enter_context(module.connect_http2(url, **options)).open(headers=headers)
            elif how == "pool":
                opening = stack.enter_context(module.Pool()).connect(url, headers=headers, **options)
            else:
                opening = module.connect(url, http=how, headers=headers, **options)
            stack.enter_context(opening)


class Server:
    """A server that notes the credentials of each request, and redirects those for "/".

    Attributes:
        sent: the Authorization of each, or `None`.
        location: where to redirect to.
    """

    def __init__(self) -> None:
        self.sent: list[str | None] = []
        self.location: str | None = None

    def upgrade(self, connection, request):
        self.sent.append(request.headers.get("authorization"))
        if self.location is None or request.target != "/":
            return None
        return UpgradeReject(302, headers={"Location": self.location})

    def serve(self):
        return serve(lambda websocket: websocket.wait_closed(), "127.0.0.1", 0, upgrade=self.upgrade)


def test_they_are_sent(driver, how):
    noting = Server()
    with noting.serve() as server:
        opened(driver, how, f"ws://127.0.0.1:{server.port}/", auth=AUTH)
        opened(driver, how, f"ws://127.0.0.1:{server.port}/", auth=("", ""))
        opened(driver, how, f"ws://127.0.0.1:{server.port}/", auth=AUTH, headers={"authorization": "Bearer x"})
        opened(driver, how, f"ws://127.0.0.1:{server.port}/")
    assert noting.sent == [SENT, "Basic Og==", "Bearer x", None]


@pytest.mark.parametrize("how", ["1.1", "2", "pool"])
def test_another_origin_gets_none(driver, how):
    here, there = Server(), Server()
    with here.serve() as server, there.serve() as other:
        here.location = f"ws://127.0.0.1:{other.port}/there"
        opened(driver, how, f"ws://127.0.0.1:{server.port}/", auth=AUTH)
        here.location = "/here"
        opened(driver, how, f"ws://127.0.0.1:{server.port}/", auth=AUTH)
    assert (here.sent, there.sent) == ([SENT, SENT, SENT], [None])


def test_a_server_that_asks_for_them_lets_in_who_has_them(driver):
    with serve(lambda websocket: None, "127.0.0.1", 0, upgrade=basic_auth(dict([AUTH]))) as server:
        opened(driver, "1.1", f"ws://127.0.0.1:{server.port}/", auth=AUTH)
        with pytest.raises(UpgradeError, match="401") as told:
            opened(driver, "1.1", f"ws://127.0.0.1:{server.port}/", auth=("ann", "hidden"))
    assert "hidden" not in repr(told.value)


@pytest.mark.parametrize("call", ["connect", "connect_http2"])
@pytest.mark.parametrize(
    ("error", "auth", "says"),
    [
        (TypeError, "ann:hidden", "a pair of str"),
        (TypeError, b"ann:hidden", "a pair of str"),
        (TypeError, ("ann", b"hidden"), "a pair of str"),
        (TypeError, (None, "hidden"), "a pair of str"),
        (TypeError, ("ann", "hidden", "more"), "a pair of str"),
        (LocalProtocolError, ("a:b", "hidden"), r"colon.*\(RFC 7617 §2\)"),
        (LocalProtocolError, ("ann", "hidden\n"), r"control characters \(RFC 7617 §2\)"),
        (LocalProtocolError, ("ann", "hidden\ud800"), "surrogate"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_not_shown(driver, call, error, auth, says):
    with pytest.raises(error, match=says) as told:
        getattr(DRIVERS[driver], call)("ws://127.0.0.1:9/", auth=auth)
    assert "hidden" not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize("call", ["connect", "connect_http2"])
def test_a_url_that_has_some_takes_no_others(driver, call):
    with pytest.raises(LocalProtocolError, match="leave out these, or `auth`") as told:
        getattr(DRIVERS[driver], call)("ws://bob:hidden@127.0.0.1:9/", auth=("ann", "hidden"))
    assert "hidden" not in str(told.value)


def test_they_are_not_shown_where_nothing_is_opened(driver):
    opening = DRIVERS[driver].connect("ws://127.0.0.1:9/", auth=("ann", "hidden"))
    assert "hidden" not in repr(opening)
    with pytest.raises(ConnectError) as told:
        opened(driver, "1.1", "ws://127.0.0.1:9/", auth=("ann", "hidden"))
    assert "hidden" not in repr(told.value) and "hidden" not in str(told.value)
