"""What `mintws.server` and `mintws.client` log: openings, refusals, ends and frames, without a secret."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import sys

import pytest
from drivers.conftest import listening, url
from drivers.raw import blocking_server, open_by_hand, quiet_client, reset, silent_server
from wire import REQUEST, h2_frame, masked

from mintws import (
    Binary,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    Http1,
    PreparedMessage,
    Role,
    Text,
    UpgradeError,
    UpgradeReject,
)
from mintws.asyncio import connect, connect_http2
from mintws.events import Response


@pytest.fixture
def log(caplog):
    """Log all that there is, and give the lines of a logger from a level on."""
    caplog.set_level(logging.DEBUG, "mintws")

    def lines(logger="mintws", level=logging.DEBUG):
        return [it.getMessage() for it in caplog.records if it.name.startswith(logger) and it.levelno >= level]

    return lines


def only(lines, pattern):
    """Give the one line that a pattern is found in."""
    found = [line for line in lines if re.search(pattern, line)]
    assert len(found) == 1, (pattern, lines)
    return found[0]


async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)


async def until(found):
    """Wait for what the other side has yet to do."""
    while not found():
        await asyncio.sleep(0.01)


SECRETS = ("hunter2", "Bearer", "token", "sid=", "mint%40", "bWludA")


async def talk(server, http):
    """Open a WebSocket with secrets wherever they can be, say something, and close."""
    headers = {"Cookie": "sid=token", "X-Api-Key": "token"}
    address = url(server, "/chat?token=token").replace("ws://", "ws://mint:hunter2@")
    async with connect(address, http=http, headers=headers, origin=f"http://127.0.0.1:{server.port}") as websocket:
        await websocket.send("hello")
        assert await websocket.recv() == "hello"
        return websocket


def test_a_server_logs_each_opening_and_end_at_info_and_a_client_at_debug(run, http, log):
    async def work():
        async with listening(echo) as server:
            websocket = await talk(server, http)
            await until(lambda: any("ended" in line for line in log("mintws.server")))
            return server.port, websocket.id

    port, name = run(work())
    opened = only(log("mintws.server", logging.INFO), " opened: ")
    about = f"HTTP/{http}, no subprotocol, permessage-deflate; "
    peer = re.match(rf"(\d+{'' if http == '1.1' else '[.]1'}) opened: (127\.0\.0\.1:\d+) /chat \({about}", opened)
    assert peer, opened
    passed = "(received 1 messages, 5 bytes; sent 1 messages, 5 bytes)"
    ended = f"{peer[1]} ended: {peer[2]} /chat: the peer closed with 1000 {passed}"
    assert only(log("mintws.server", logging.INFO), " ended: ") == ended
    assert not log("mintws.client", logging.INFO)
    opened = only(log("mintws.client"), " opened: ")
    assert opened.startswith(f"{name} opened: 127.0.0.1:{port} /chat (HTTP/{http}, ")
    ended = f"{name} ended: 127.0.0.1:{port} /chat: we closed with 1000 {passed}"
    assert only(log("mintws.client"), " ended: ") == ended


def test_no_line_has_a_secret(run, http, log):
    async def work():
        async with listening(echo) as server:
            await talk(server, http)
        headers = {"Location": "/in?token=token", "Set-Cookie": "sid=token"}
        refusal = UpgradeReject(401, headers=headers, body=b"token")
        async with listening(echo, upgrade=lambda *_: refusal) as server:
            with pytest.raises(UpgradeError):
                await talk(server, http)

    run(work())
    assert not [line for line in log() if any(secret in line for secret in SECRETS)]
    assert only(log("mintws.client"), "not opened: .* /chat: the server answered 401$")


def test_a_refusal_says_whose_it_is(run, http, log):
    def upgrade(connection, request):
        if request.target == "/broken":
            raise RuntimeError("a bug of the hook")
        return UpgradeReject(401) if request.target == "/no?why" else None

    async def work():
        async with listening(upgrade=upgrade, origins=[None, "https://here.example"]) as server:
            for target, options in (("/no?why", {}), ("/broken", {}), ("/", {"origin": "https://evil.example"})):
                with pytest.raises(UpgradeError):
                    await connect(url(server, target), http=http, **options)

    run(work())
    lines = log("mintws.server", logging.INFO)
    assert only(lines, r" refused: 127\.0\.0\.1:\d+ /no: 401, by the upgrade hook$")
    assert only(lines, r" refused: 127\.0\.0\.1:\d+ /broken: 500, the upgrade hook failed$")
    assert only(lines, r" refused: 127\.0\.0\.1:\d+ /: 403, not for a page of https://evil\.example$")


def test_a_handshake_that_breaks_a_rule_is_logged_with_its_section(run, log):
    async def work():
        async with listening() as server:
            head = REQUEST.replace(b"Version: 13", b"Version: 12") + b"\r\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head)
            await reader.read()
            writer.close()

    run(work())
    assert only(log("mintws.server", logging.INFO), r" refused: .*Version must be 13 \(RFC 6455 §4\.1\)$")


@pytest.mark.parametrize("what", ["a rule", "our limit", "silence", "a reset", "a reset behind messages"])
def test_the_end_says_why(run, log, what):
    sent = {"a rule": masked(3), "our limit": masked(2, b"x" * 101), "silence": b"", "a reset": b""}
    data = sent.get(what, masked(2, b"x") * 400)

    async def handler(websocket):
        if what == "a reset behind messages":
            await websocket.recv()
        await websocket.wait_closed()

    def peer(port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            open_by_hand(sock, Http1(Role.CLIENT))
            sock.sendall(data)
            if "reset" in what:
                reset(sock)
            else:
                while sock.recv(65536):
                    pass

    async def work():
        async with listening(handler, limit=100, ping_interval=0.1, ping_timeout=0.2, close_timeout=0.5) as server:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().run_in_executor(None, peer, server.port)
            if what != "a reset behind messages":
                await until(lambda: any(" ended: " in line for line in log()))

    run(work())
    says = {
        "a rule": r"we closed with 1002: opcode 0x3 is reserved \(RFC 6455 §5\.2\)",
        "our limit": r"we closed with 1009: a message has more than 100 bytes \(raise `limit`; RFC 6455 §10\.4\)",
        "silence": r"we ended the connection with 1006: keepalive: no Pong came within 0\.2 s",
        "a reset": r"the connection ended with 1006: .*Connection reset by peer",
        "a reset behind messages": r"\w+",
    }[what]
    assert only(log("mintws.server", logging.INFO), rf" ended: 127\.0\.0\.1:\d+ /: {says}")


def test_a_fault_of_the_whole_http2_connection_is_logged(run, log):
    async def work():
        async with listening() as server:
            async with connect_http2(url(server)) as client:
                await client.open("/chat")
                client._protocol.write(h2_frame(0, 0, 0, b"DATA on no stream"))
                await until(lambda: client._protocol.lost)

    run(work())
    assert only(log("mintws.server", logging.INFO), r"^\d+ failed: 127\.0\.0\.1:\d+: .*\(RFC 9113 §5\.4\.1\)$")


@pytest.mark.parametrize("what", ["handler", "upgrade", "answer", "respond"])
def test_what_the_application_raises_is_an_error_with_peer_and_path(run, http, caplog, log, what):
    def fail(*_):
        raise RuntimeError("a bug of the application")

    async def handler(websocket):
        fail()

    hooks = {
        "upgrade": {"upgrade": fail},
        "answer": {"upgrade": lambda *_: UpgradeReject(99)},
        "respond": {"respond": fail},
    }.get(what, {})

    async def work():
        async with listening(handler, **hooks) as server:
            if what == "respond":
                async with connect_http2(url(server)) as client:
                    assert (await client.request("GET", "/chat?token=1")).status == 500
                return
            with pytest.raises((UpgradeError, ConnectionClosed)):
                await (await connect(url(server, "/chat?token=1"), http=http)).recv()

    run(work())
    (record,) = [it for it in caplog.records if it.levelno == logging.ERROR]
    says = {
        "handler": "the handler of a WebSocket failed",
        "upgrade": "the upgrade hook failed",
        "answer": "the answer to the handshake is not allowed",
        "respond": "the response hook failed",
    }[what]
    assert re.fullmatch(rf"[\d.]+: 127\.0\.0\.1:\d+ /chat: {says}", record.getMessage())
    assert record.exc_info
    assert record.name == "mintws.server"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has no TaskGroup")
def test_the_end_of_its_websocket_in_a_task_group_is_no_failure_of_a_handler(run, http, caplog):
    ended = asyncio.Event()

    async def handler(websocket):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(websocket.recv())
        finally:
            ended.set()

    async def work():
        async with listening(handler) as server:
            async with connect(url(server), http=http):
                pass
            await ended.wait()

    run(work())
    assert [it for it in caplog.records if it.levelno == logging.ERROR] == []


def test_a_client_logs_what_did_not_open(run, log):
    async def work():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectError):
                await connect(f"ws://127.0.0.1:{unused.getsockname()[1]}/?token=1")
        async with silent_server(accept=False) as address:
            with pytest.raises(ConnectTimeout):
                await connect(f"{address}/late", http="1.1", open_timeout=0.2)

    run(work())
    assert only(log("mintws.client"), r"^- not opened: 127\.0\.0\.1:\d+ /: cannot connect to .*\d: .+")
    assert only(log("mintws.client"), r"^\d+ not opened: [^ ]+ /late: .*the server's answer did not come")


def test_a_client_logs_that_it_asks_again_over_http_1_1(run, log, tls_contexts):
    server_tls, client_tls = tls_contexts

    def upgrade(connection, request):
        return UpgradeReject(501) if connection.carrier.http_version == "2" else None

    async def work():
        async with listening(ssl=server_tls, upgrade=upgrade) as server:
            async with connect(f"wss://localhost:{server.port}/", ssl=client_tls):
                pass

    run(work())
    assert only(log("mintws.client"), "not opened: .*: the server answered 501; HTTP/1.1 is tried$")
    assert only(log("mintws.client"), r"^\d+ opened: ")
    assert only(log("mintws.client"), r"^\d+ ended: 127\.0\.0\.1:\d+ /: we closed with 1000")


# Frames.


@pytest.mark.parametrize("compress", [False, True])
def test_each_frame_is_logged_with_kind_size_and_beginning(run, http, log, compress):
    long = "lorem ipsum " * 1000

    async def handler(websocket):
        async for message in websocket:
            if message == b"\0\n":
                await websocket.send(PreparedMessage(Binary(b"prepared")))
                await websocket.send(part for part in ("in ", "fragments"))
            else:
                await websocket.send(message)

    async def work():
        async with listening(handler) as server:
            options = {} if compress else {"extensions": ()}
            async with connect(url(server), http=http, **options) as websocket:
                await websocket.send("hé\n")
                await websocket.send(long)
                assert [await websocket.recv(), await websocket.recv()] == ["hé\n", long]
                await websocket.send(b"\0\n")
                assert [await websocket.recv(), await websocket.recv()] == [b"prepared", "in fragments"]
                await websocket.ping(b"there?")
                await websocket.close(1000, "bye")
            await until(lambda: any(" ended: " in line for line in log("mintws.server")))
            return websocket.id

    name = run(work())
    beginning = repr(long[:100])
    exchange = [
        ("sent", "received", "text, 4 bytes: 'hé\\n'"),
        ("sent", "received", f"text, 12000 bytes: {beginning}…"),
        ("received", "sent", "text, 4 bytes: 'hé\\n'"),
        ("received", "sent", f"text, 12000 bytes: {beginning}…"),
        ("sent", "received", "binary, 2 bytes: b'\\x00\\n'"),
        ("received", "sent", "binary, 8 bytes: b'prepared'"),
        ("sent", "received", "ping, 6 bytes: b'there?'"),
        ("received", "sent", "pong, 6 bytes: b'there?'"),
        ("sent", "received", "close 1000, 5 bytes: 'bye'"),
        ("received", "sent", "close 1000, 5 bytes: 'bye'"),
    ]
    client, server = log("mintws.client"), log("mintws.server")
    for ours, theirs, what in exchange:
        assert client.count(f"{name} {ours} {what}") == 1, what
        assert sum(line.endswith(f" {theirs} {what}") for line in server) == 1, what
    assert f"{name} received text, 12 bytes: 'in fragments'" in client
    fragments = ["text, to be continued, 3 bytes: 'in '", "text, to be continued, 9 bytes: 'fragments'"]
    for fragment in [*fragments, "text, 0 bytes: b''"]:
        assert sum(line.endswith(f" sent {fragment}") for line in server) == 1, fragment
    assert all("\n" not in line for line in log())


def test_a_reason_that_a_peer_chose_stands_on_one_line(run, log):
    async def handler(websocket):
        await websocket.close(4000, "a\nINFO mintws.server: b\x1b[31m")

    async def work():
        async with listening(handler) as server, connect(url(server)) as websocket:
            with pytest.raises(ConnectionClosed):
                await websocket.recv()

    run(work())
    assert only(log("mintws.client"), r" ended: .* with 4000: a\\nINFO mintws\.server: b\\x1b\[31m \(")
    assert all(line.isprintable() for line in log())


def test_frames_are_not_logged_unless_they_were_to_be_when_the_connection_opened(run, http, log, caplog):
    caplog.set_level(logging.INFO, "mintws")

    async def work():
        async with listening(echo) as server, connect(url(server), http=http) as websocket:
            caplog.set_level(logging.DEBUG, "mintws")
            await websocket.send("hello")
            assert await websocket.recv() == "hello"
            await websocket.ping()

    run(work())
    assert not [line for line in log() if " sent " in line.partition("(")[0] or " received " in line.partition("(")[0]]


def test_a_peer_is_paused_all_the_same_while_frames_are_logged(run, http, log):
    async def handler(websocket):
        for i in range(2000):
            await websocket.send(f"{i} " + "x" * 1000)

    async def work():
        async with listening(handler) as server, connect(url(server), http=http) as websocket:
            await until(lambda: websocket._paused)
            await asyncio.sleep(0.1)
            assert websocket._waiting < 600
            for i in range(2000):
                assert (await websocket.recv()).startswith(f"{i} ")

    run(work())
    assert sum(" received text, " in line for line in log("mintws.client")) == 2000


# Names.


def test_each_connection_has_a_name_of_its_own(run):
    async def work():
        async with listening(echo) as server:
            one, two = await connect(url(server), http="1.1"), await connect(url(server), http="1.1")
            async with connect_http2(url(server)) as client:
                streams = [await client.open("/") for _ in range(3)]
                assert [it.id for it in streams] == [f"{client.id}.{number}" for number in (1, 3, 5)]
                names = {one.id, two.id, client.id, *(it.id for it in streams), *(it.id for it in server.websockets)}
                assert len(names) == 3 + 3 + 5
            await one.close()
            await two.close()

    run(work())


def test_the_upgrade_hook_can_ask_who_asks(run, http):
    asked = []

    async def upgrade(connection, request):
        await asyncio.sleep(0)
        asked.append((connection.owner.transport.get_extra_info("peername"), connection))
        return UpgradeReject(403) if request.target == "/no" else None

    async def work():
        async with listening(echo, upgrade=upgrade) as server:
            async with connect(url(server), http=http) as websocket:
                assert asked[0][0] == websocket.transport.get_extra_info("sockname")
                assert asked[0][1].owner() in server.websockets
            with pytest.raises(UpgradeError):
                await connect(url(server, "/no"), http=http)
            assert asked[1][1].owner is None

    run(work())


def test_nothing_is_logged_of_what_is_no_websocket(run, log):
    async def work():
        async with listening(respond=lambda request: Response(200)) as server:
            async with connect_http2(url(server)) as client:
                await client.request("GET", "/")
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()

    run(work())
    assert not log()


def test_text_as_bytes_and_parts_are_logged_too(run, log):
    def peer(sock):
        open_by_hand(sock, Http1(Role.SERVER))
        sock.sendall(b"\x01\x02ab")
        sock.recv(65536)
        sock.sendall(b"\x80\x01c")
        with contextlib.suppress(OSError):
            sock.recv(65536)

    async def work(port):
        websocket = await connect(f"ws://127.0.0.1:{port}", http="1.1", parts=True, text_as_bytes=True)
        assert await websocket.recv_event() == Text(b"ab", fin=False)
        await websocket.send("go")
        assert await websocket.recv_event() == Text(b"c")
        websocket.transport.abort()

    with blocking_server(peer) as port:
        run(work(port))
    assert only(log("mintws.client"), r" received text, to be continued, 2 bytes: b'ab'$")
    assert only(log("mintws.client"), r" received text, 1 bytes: b'c'$")


# What keeps a WebSocket from sending.


async def stalls(websocket, log, *messages):
    """Send until the peer takes no more; give what waits."""
    sending = asyncio.create_task(websocket.send_many(messages))
    stalled = websocket.id + " cannot send"
    await until(lambda: any(line.startswith(stalled) for line in log()))
    assert not sending.done()
    unsent = websocket.unsent
    sending.cancel()
    return unsent


def test_a_send_that_waits_long_says_what_for(run, http, log, monkeypatch):
    monkeypatch.setattr("mintws.session.websocket.STALL", 0.05)
    unsent = []

    async def handler(websocket):
        unsent.append(await stalls(websocket, log, b"x" * 20_000_000))

    async def work():
        async with listening(handler, extensions=(), close_timeout=0.1) as server, quiet_client(server, http):
            await until(lambda: unsent)

    run(work())
    line = only(log("mintws.server"), "cannot send")
    awaited = {"1.1": "the peer to read", "2": "the peer's flow-control window of the stream"}[http]
    assert re.fullmatch(rf"[\d.]+ cannot send: 127\.0\.0\.1:\d+ /: {unsent[0]} bytes wait for {awaited}", line)
    assert unsent[0] > 1_000_000


def test_both_sides_that_send_first_are_told_what_they_wait_for(run, log, monkeypatch):
    """Neither receives, so the windows of both directions stay shut."""
    monkeypatch.setattr("mintws.session.websocket.STALL", 0.05)

    def stalled():
        return [line for line in log() if "cannot send" in line]

    async def send(websocket):
        sending = asyncio.create_task(websocket.send_many([b"x" * 1000] * 10_000))
        # A side that is busy may make the other wait for a while before the windows are shut for good.
        await until(lambda: len({line.split()[0] for line in stalled()}) == 2)
        sending.cancel()

    async def work():
        async with listening(send, extensions=(), close_timeout=0.1) as server:
            async with connect(url(server), http="2", extensions=(), close_timeout=0.1) as websocket:
                await send(websocket)

    run(work())
    for line in stalled():
        waits = re.search(r": (\d+) bytes wait for the peer's flow-control window of the stream$", line)
        assert waits is not None and int(waits[1]) > 32_000
