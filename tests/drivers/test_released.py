"""What has ended goes by reference counting: the collector may come late, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from drivers.conftest import echo, listening, url
from raw import raw_client, silent_server

import mintws
from mintws import ConnectError, ConnectionClosed, State, UpgradeError, UpgradeReject
from mintws.asyncio import Server, WebSocket, connect, connect_http2
from mintws.events import Request, Response

#: What a test does; of that nothing is to be left.
Kind = Callable[[str], Awaitable[None]]

OURS = str(Path(mintws.__file__).parent)


def is_ours(it: object) -> bool:
    """Whether an object is of mintws, or a frame, a coroutine or a function of its code."""
    if isinstance(it, types.FrameType):
        code = it.f_code
    else:
        code = getattr(it, "cr_code", None) or getattr(it, "__code__", None)
    if isinstance(code, types.CodeType):
        return code.co_filename.startswith(OURS)
    return type(it).__module__.split(".")[0] == "mintws"


async def settle() -> None:
    """Let what is under way come to its end."""
    for _ in range(5):
        await asyncio.sleep(0.01)


async def left_by(kind: Kind, http: str) -> list[object]:
    """Do something without the collector, once more than before, and give what of ours is unreachable then."""
    await kind(http)
    await settle()
    gc.collect()
    gc.disable()
    try:
        await kind(http)
        await settle()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [it for it in gc.garbage if is_ours(it)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@contextlib.asynccontextmanager
async def opened(http: str, handler: Any = echo, **options: Any) -> AsyncIterator[tuple[Server, WebSocket]]:
    """Open a WebSocket and say something over it; leave the client to whoever asks."""
    async with listening(handler, **options) as server:
        websocket = await connect(url(server), http=http)
        await websocket.send("x" * 3000)
        if handler is echo:
            assert await websocket.recv() == "x" * 3000
        yield server, websocket


async def closed_by_the_client(http: str) -> None:
    async with opened(http) as (_, websocket):
        await websocket.close()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        with pytest.raises(ConnectionClosed):
            await websocket.send("late")


async def closed_by_the_server(http: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.recv()

    async with opened(http, handler) as (_, websocket):
        assert [it async for it in websocket] == []


async def closed_with_the_server(http: str) -> None:
    async with opened(http) as (server, websocket):
        await server.close()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def handler_raises(http: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        raise ValueError(await websocket.recv())

    async with opened(http, handler) as (_, websocket):
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def handler_is_cancelled(http: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.recv()
        raise asyncio.CancelledError

    async with opened(http, handler) as (_, websocket):
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def cut_by_the_client(http: str) -> None:
    async with opened(http) as (_, websocket):
        websocket.transport.abort()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def cut_by_the_server(http: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        websocket.transport.abort()
        with pytest.raises(ConnectionClosed):
            await websocket.ping()

    async with opened(http, handler) as (_, websocket):
        with pytest.raises(ConnectionClosed):
            await websocket.ping()


async def reset_by_the_client(http: str) -> None:
    async with opened(http) as (_, websocket):
        sock = websocket.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        websocket.transport.abort()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def cut_with_messages_that_wait(http: str, *, take: bool) -> None:
    async def handler(websocket: WebSocket) -> None:
        await websocket.send_many(["y" * 1000] * 1000)
        await websocket.wait_closed()

    async with opened(http, handler) as (_, websocket):
        # More messages than may wait: what is behind them waits as bytes.
        while not websocket.connection.undelivered_bytes:
            await asyncio.sleep(0.01)
        websocket.transport.abort()
        if take:
            while websocket.state is not State.CLOSED:
                await asyncio.sleep(0.01)
            for _ in range(1000):
                assert await websocket.recv() == "y" * 1000
            with pytest.raises(ConnectionClosed):
                await websocket.recv()
        else:
            await websocket.wait_closed()


async def cut_while_it_sends(http: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        await asyncio.sleep(60)

    async def fragments() -> AsyncIterator[str]:
        while True:
            await asyncio.sleep(0)
            yield "z" * 60_000

    async def send(websocket: WebSocket) -> None:
        with pytest.raises(ConnectionClosed):
            await websocket.send(fragments())

    async with opened(http, handler) as (server, websocket):
        sending = asyncio.ensure_future(send(websocket))
        await asyncio.sleep(0.05)
        websocket.transport.abort()
        await sending
        for task in server._tasks:
            task.cancel()


async def without_an_answer_to_its_close(http: str) -> None:
    async with silent_server(http) as at:
        websocket = await connect(at, http=http, close_timeout=0.05)
        await websocket.close()


async def silent_behind_a_ping(http: str) -> None:
    async with silent_server(http) as at:
        websocket = await connect(at, http=http, ping_interval=0.02, ping_timeout=0.03)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()


async def refused(http: str) -> None:
    async with listening(upgrade=lambda connection, request: UpgradeReject(403, body=b"no")) as server:
        with pytest.raises(UpgradeError):
            await connect(url(server), http=http)


async def hook_raises(http: str) -> None:
    async with listening(upgrade=lambda connection, request: 1 / 0) as server:
        with pytest.raises(UpgradeError):
            await connect(url(server), http=http)


async def without_an_answer(http: str) -> None:
    async with silent_server(http, accept=False) as at:
        with pytest.raises(asyncio.TimeoutError):
            await connect(at, http=http, open_timeout=0.05)


async def cancelled(http: str) -> None:
    async def open_in_vain(at: str) -> None:
        with pytest.raises(asyncio.CancelledError):
            await connect(at, http=http)

    async with silent_server(http, accept=False) as at:
        opening = asyncio.ensure_future(open_in_vain(at))
        await asyncio.sleep(0.05)
        opening.cancel()
        await opening


async def cancelled_while_its_hook_decides(http: str) -> None:
    async def upgrade(connection: object, request: object) -> None:
        await asyncio.sleep(60)

    async with listening(upgrade=upgrade) as server:
        with pytest.raises(asyncio.TimeoutError):
            await connect(url(server), http=http, open_timeout=0.05)
        for task in server._tasks:
            task.cancel()


async def left_before_the_answer(http: str) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        with pytest.raises((ConnectionClosed, OSError)):
            await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", http=http)


async def broken_by_the_client(http: str) -> None:
    ended = asyncio.Event()

    async def handler(websocket: WebSocket) -> None:
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        assert websocket.close_code == 1002
        ended.set()

    async with listening(handler) as server:
        # A frame without a masking-key.
        _, writer = await raw_client(server)
        writer.write(b"\x81\x01x")
        await ended.wait()
        writer.close()


async def many_on_one_connection(http: str) -> None:
    def respond(request: Request) -> Response:
        return Response(200, body=b"x" * 3000)

    async with listening(respond=respond) as server, connect_http2(url(server)) as client:
        websockets = [await client.open(f"/{i}") for i in range(5)]
        for websocket in websockets:
            await websocket.send("one")
            assert await websocket.recv() == "one"
        assert (await client.request("GET", "/")).status == 200
        await asyncio.gather(*(it.close() for it in websockets[:2]))


async def many_that_are_cut(http: str) -> None:
    async with listening() as server:
        client = await connect_http2(url(server))
        websockets = [await client.open(f"/{i}") for i in range(5)]
        websockets[0].transport.abort()
        for websocket in websockets:
            await websocket.wait_closed()
        with pytest.raises((ConnectionClosed, OSError)):
            await client.request("GET", "/")
        with pytest.raises((ConnectionClosed, OSError)):
            await client.open("/")


async def without_settings(http: str) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        with pytest.raises((ConnectionClosed, OSError)):
            await connect_http2(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")


async def nobody_listens(http: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError):
            await connect(f"ws://127.0.0.1:{bound.getsockname()[1]}", http=http)


async def no_address_answers(http: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        refused = (socket.AF_INET, socket.SOCK_STREAM, 6, "", bound.getsockname())
        asyncio.get_running_loop().getaddrinfo = lambda *_, **__: asyncio.sleep(0, [refused, refused])
        with pytest.raises(ConnectError, match="Connect call failed"):
            await connect("ws://two.example/", http=http)


async def not_http(http: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises((ConnectionClosed, OSError)):
            await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", http=http)


KINDS: dict[str, Kind] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        closed_by_the_client,
        closed_by_the_server,
        closed_with_the_server,
        handler_raises,
        handler_is_cancelled,
        cut_by_the_client,
        cut_by_the_server,
        reset_by_the_client,
        cut_while_it_sends,
        without_an_answer_to_its_close,
        silent_behind_a_ping,
        refused,
        hook_raises,
        without_an_answer,
        cancelled,
        cancelled_while_its_hook_decides,
        left_before_the_answer,
        broken_by_the_client,
        many_on_one_connection,
        many_that_are_cut,
        without_settings,
        nobody_listens,
        no_address_answers,
        not_http,
    )
}
KINDS["cut with messages that nobody takes"] = partial(cut_with_messages_that_wait, take=False)
KINDS["cut with messages that are taken late"] = partial(cut_with_messages_that_wait, take=True)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_nothing_of_a_connection_that_has_ended_waits_for_the_collector(run, http, kind):
    assert run(left_by(kind, http)) == []


def over_tls(contexts: Any, http: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give arguments of a server and of its clients."""
    theirs, ours = contexts
    return {"ssl": theirs}, {"ssl": ours, "host": "127.0.0.1", "http": http}


async def closed_over_tls(contexts: Any, http: str, *, how: str) -> None:
    async def handler(websocket: WebSocket) -> None:
        with contextlib.suppress(ConnectionClosed):
            await echo(websocket)

    serving, connecting = over_tls(contexts, http)
    async with listening(handler, **serving) as server:
        async with connect(f"wss://localhost:{server.port}", **connecting) as websocket:
            await websocket.send("one")
            assert await websocket.recv() == "one"
            [served] = server.websockets
            match how:
                case "by the client":
                    await websocket.close()
                case "by the server":
                    await served.close()
                case "with the server":
                    await server.close()
                case "by tls":
                    websocket.transport.close()
                case "cut":
                    served.transport.abort()
            with pytest.raises(ConnectionClosed):
                await websocket.recv()


async def not_trusted(contexts: Any, http: str) -> None:
    serving, connecting = over_tls(contexts, http)
    async with listening(**serving) as server:
        with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await connect(f"wss://elsewhere.example:{server.port}", **connecting)


async def not_tls(contexts: Any, http: str) -> None:
    serving, connecting = over_tls(contexts, http)
    async with listening() as plain:
        with pytest.raises(ConnectError, match="WRONG_VERSION_NUMBER"):
            await connect(f"wss://localhost:{plain.port}", **connecting)
    async with listening(**serving) as server:
        with pytest.raises(ConnectError):
            await connect(f"ws://127.0.0.1:{server.port}", http=http)


async def no_handshake(contexts: Any, http: str) -> None:
    _, connecting = over_tls(contexts, http)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(asyncio.TimeoutError):
            await connect(f"wss://localhost:{silent.getsockname()[1]}", open_timeout=0.05, **connecting)
    serving, _ = over_tls(contexts, http)
    async with listening(open_timeout=0.05, **serving) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()


TLS_KINDS: dict[str, Callable[[Any, str], Awaitable[None]]] = {
    f"closed {how}": partial(closed_over_tls, how=how)
    for how in ("by the client", "by the server", "with the server", "by tls", "cut")
}
TLS_KINDS |= {"not trusted": not_trusted, "not TLS": not_tls, "no handshake": no_handshake}


@pytest.mark.parametrize("kind", TLS_KINDS.values(), ids=TLS_KINDS)
def test_nothing_of_a_connection_over_tls_waits_for_the_collector(run, http, tls_contexts, kind):
    assert run(left_by(partial(kind, tls_contexts), http)) == []


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_websocket_that_has_ended_tells_all_that_it_did(run, http, side):
    async def main() -> WebSocket:
        served: list[WebSocket] = []

        async def handler(websocket: WebSocket) -> None:
            served.append(websocket)
            await echo(websocket)

        async with listening(handler, subprotocols=["chat"]) as server:
            async with connect(url(server, "/room"), http=http, subprotocols=["chat"]) as websocket:
                await websocket.ping()
            await served[0].wait_closed()
            await settle()
        return websocket if side == "client" else served[0]

    websocket = run(main())
    gc.collect()
    assert websocket.request is not None and websocket.request.target == "/room"
    assert (websocket.subprotocol, websocket.http_version, websocket.state) == ("chat", http, State.CLOSED)
    assert (websocket.close_code, websocket.close_reason, websocket.ending.clean) == (1000, "", True)
    assert [it.answer.name for it in websocket.connection.extensions] == ["permessage-deflate"]
    assert (websocket.latency is not None) is (side == "client")
    assert (websocket._waiting, websocket._session.pings.under_way) == (0, False)
    assert websocket.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert f"{side.upper()} CLOSED over HTTP/{http}" in repr(websocket)
    assert websocket.connection.buffered == 0


def test_clients_of_one_loop_that_say_nothing_of_extensions_share_one_pool(run):
    async def main() -> list[Any]:
        async with listening() as server, connect_http2(url(server)) as client:
            async with connect(url(server)) as one, connect(url(server)) as other, await client.open() as third:
                return [it.connection.request.extensions[0].pool for it in (one, other, third)]

    one, other, third = run(main())
    assert one is other is third
    assert run(main())[0] is not one
