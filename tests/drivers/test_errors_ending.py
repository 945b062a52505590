"""Why a WebSocket ended, and who ended it: in the exception, its causes, and `ending`, for both ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest
from drivers.conftest import listening
from drivers.raw import blocking_server, open_by_hand, reset
from wire import PING, h2_frame, masked

from mintws import Close, ConnectionClosed, Http1, Http2, RemoteProtocolError, Role, UpgradeAccept, UpgradeRequest
from mintws.asyncio import connect, serve


def address(server, *, secure=False):
    return f"{'wss' if secure else 'ws'}://localhost:{server.port}/"


def carrier_of(http, role):
    return Http1(role) if http == "1.1" else Http2(role)


async def receive_all(websocket):
    while True:
        await websocket.recv()


async def end_of(websocket):
    """Receive until the end."""
    with pytest.raises(ConnectionClosed) as closed:
        await receive_all(websocket)
    assert websocket.close_reason == closed.value.reason == websocket.ending.reason
    assert closed.value.__cause__ is websocket.ending.error
    return closed.value


def raw_send(sock, data):
    """Write beneath TLS."""
    socket.socket.send(sock, data)


#: An application record of TLS that nobody has encrypted.
CORRUPT = b"\x17\x03\x03\x00\x40" + bytes(64)

#: How a peer can end a transport: what it does, whether that takes TLS, what it says, and the error beneath.
ENDS = {
    "reset": (reset, False, "Connection reset by peer", ConnectionResetError),
    "a corrupt record": (lambda sock: raw_send(sock, CORRUPT), True, "SSLError", ssl.SSLError),
    "an end": (lambda sock: sock.close(), False, "", type(None)),
}


@pytest.fixture(params=ENDS)
def way(request):
    return ENDS[request.param]


def check_lost(closed, says, kind):
    assert (closed.code, closed.clean, closed.ended_by) == (1006, False, None)
    assert "without a Close" in str(closed)
    assert says in str(closed)
    assert type(closed.__cause__) is RemoteProtocolError
    assert isinstance(closed.__cause__.__cause__, kind)


def test_a_client_is_told_how_the_transport_ended(run, http, way, tls_contexts):
    do, takes_tls, says, kind = way
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["http/1.1" if http == "1.1" else "h2"])

    def talk(sock):
        open_by_hand(sock, carrier_of(http, Role.SERVER))
        sock.recv(65536)
        do(sock)
        with contextlib.suppress(OSError):
            sock.recv(65536)

    async def work(port):
        options = {"ssl": client_tls} if takes_tls else {}
        scheme = "wss" if takes_tls else "ws"
        websocket = await connect(f"{scheme}://localhost:{port}", host="127.0.0.1", http=http, **options)
        await websocket.send("go")
        check_lost(await end_of(websocket), says, kind)

    with blocking_server(talk, server_tls if takes_tls else None) as port:
        run(work(port))


def test_a_server_is_told_how_the_transport_ended(run, http, way, tls_contexts):
    do, takes_tls, says, kind = way
    server_tls, client_tls = tls_contexts
    client_tls.set_alpn_protocols(["http/1.1" if http == "1.1" else "h2"])

    def talk(port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            with client_tls.wrap_socket(plain, server_hostname="localhost") if takes_tls else plain as sock:
                open_by_hand(sock, carrier_of(http, Role.CLIENT))
                do(sock)
                with contextlib.suppress(OSError):
                    sock.recv(65536)

    async def work():
        ends = asyncio.get_running_loop().create_future()

        async def handler(websocket):
            ends.set_result(await end_of(websocket))

        async with serve(handler, "127.0.0.1", 0, ssl=server_tls if takes_tls else None) as server:
            await asyncio.get_running_loop().run_in_executor(None, talk, server.port)
            check_lost(await ends, says, kind)

    run(work())


def test_a_reset_behind_messages_that_wait_is_told_too(run):
    # The peer is paused, so that its last messages wait as bytes and the end behind them.
    def talk(sock):
        open_by_hand(sock, Http1(Role.SERVER))
        sock.sendall(b"\x82\x01x" * 1000)
        sock.recv(1)
        reset(sock)

    async def work(port):
        websocket = await connect(f"ws://127.0.0.1:{port}", http="1.1")
        while not websocket._paused:
            await asyncio.sleep(0.01)
        await websocket.send("go")
        for _ in range(1000):
            assert await websocket.recv() == b"x"
        check_lost(await end_of(websocket), "Connection reset by peer", ConnectionResetError)

    with blocking_server(talk) as port:
        run(work(port))


# Who ended it.


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("how", ["one frame", "fragments"])
def test_a_message_over_our_limit_names_the_argument_to_this_side_alone(run, http, role, how):
    message = b"x" * 2000 if how == "one frame" else [b"x" * 1000, b"x" * 1000]

    async def work():
        ends = asyncio.get_running_loop().create_future()

        async def handler(websocket):
            if role == "client":
                with contextlib.suppress(ConnectionClosed):
                    await websocket.send(message)
            ends.set_result((await end_of(websocket), websocket.ending))

        limits = ({"limit": 1000}, {}) if role == "server" else ({}, {"limit": 1000})
        async with listening(handler, **limits[0]) as server:
            websocket = await connect(address(server), http=http, extensions=(), **limits[1])
            if role == "server":
                with contextlib.suppress(ConnectionClosed):
                    await websocket.send(message)
            here, there = (await end_of(websocket), websocket.ending), await ends
            failing, failed = (here, there) if role == "client" else (there, here)

        why = "a message has more than 1000 bytes"
        closed, ending = failing
        assert str(closed) == f"we closed with 1009: {why} (raise `limit`; RFC 6455 §10.4)"
        assert (closed.code, closed.ended_by, closed.clean) == (1009, "us", False)
        assert ending.sent == Close(1009, why)
        closed, ending = failed
        assert str(closed) == f"the peer closed with 1009: {why}"
        assert (closed.code, closed.ended_by, ending.received) == (1009, "peer", Close(1009, why))

    run(work())


@pytest.mark.parametrize("fault", ["too big", "a rule", "text"])
def test_the_close_that_answers_a_fault_is_what_was_sent(run, fault):
    data = {"too big": masked(2, b"x" * 101), "a rule": masked(3, b""), "text": masked(1, b"\xff")}[fault]

    async def work():
        ends = asyncio.get_running_loop().create_future()

        async def handler(websocket):
            await end_of(websocket)
            ends.set_result(websocket.ending)

        def talk(port):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
                carrier = Http1(Role.CLIENT)
                open_by_hand(sock, carrier)
                sock.sendall(data)
                [(_, close)], _ = carrier.receive(sock.recv(65536))
                return close

        async with listening(handler, limit=100) as server:
            went_out = await asyncio.get_running_loop().run_in_executor(None, talk, server.port)
            assert (await ends).sent == went_out
            assert went_out.code == {"too big": 1009, "a rule": 1002, "text": 1007}[fault]

    run(work())


def test_a_fault_for_which_a_stream_is_reset_is_answered_by_no_close(run):
    def talk(port):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            carrier = Http2(Role.CLIENT)
            open_by_hand(sock, carrier)
            # Trailers, on the stream of a WebSocket (RFC 9113 §8.5), that say `x: y`.
            sock.sendall(h2_frame(1, 5, 1, b"\x00\x01x\x01y"))
            while not any(type(event).__name__ == "Failed" for _, event in carrier.receive(sock.recv(65536))[0]):
                pass

    async def work():
        ends = asyncio.get_running_loop().create_future()

        async def handler(websocket):
            closed = await end_of(websocket)
            ends.set_result((closed, websocket.ending))

        async with listening(handler) as server:
            await asyncio.get_running_loop().run_in_executor(None, talk, server.port)
            closed, ending = await ends
            assert ending.sent is None
            assert (closed.code, closed.ended_by) == (1002, "us")

    run(work())


def test_each_side_says_who_closed_first(run, http):
    async def work():
        ends = asyncio.get_running_loop().create_future()

        async def handler(websocket):
            ends.set_result(await end_of(websocket))

        async with listening(handler) as server:
            websocket = await connect(address(server), http=http)
            await websocket.close(1000, "bye")
            assert str(await end_of(websocket)) == "we closed with 1000: bye"
            assert str(await ends) == "the peer closed with 1000: bye"

    run(work())


def test_a_peer_that_answers_our_close_with_another_code_closed_with_it(run):
    def talk(sock):
        open_by_hand(sock, Http1(Role.SERVER))
        sock.recv(65536)
        sock.sendall(b"\x88\x02" + (4000).to_bytes(2, "big"))

    async def work(port):
        websocket = await connect(f"ws://127.0.0.1:{port}", http="1.1")
        await websocket.close(1000)
        assert str(await end_of(websocket)) == "the peer closed with 4000"

    with blocking_server(talk) as port:
        run(work(port))


@pytest.mark.parametrize("why", ["keepalive: no Pong came within", "the peer did not close in time"])
def test_an_end_of_ours_without_the_peer_says_so_and_keeps_its_reason(run, http, why):
    def talk(sock):
        open_by_hand(sock, carrier_of(http, Role.SERVER))
        with contextlib.suppress(OSError):
            while sock.recv(65536):
                pass

    async def work(port):
        silent = "keepalive" in why
        options = {"ping_interval": 0.1, "ping_timeout": 0.2} if silent else {"close_timeout": 0.2}
        websocket = await connect(f"ws://127.0.0.1:{port}", http=http, **options)
        if not silent:
            await websocket.close()
        closed = await end_of(websocket)
        assert str(closed).startswith(f"we ended the connection with 1006: {why}")
        assert closed.ended_by == "us"

    with blocking_server(talk) as port:
        run(work(port))


@pytest.mark.parametrize("what", ["size", "fragments"])
def test_each_limit_that_the_argument_raises_says_so(what):
    server = Http1(Role.SERVER, limit=10)
    client = Http1(Role.CLIENT)
    [(theirs, _)], _ = server.receive(client.open().send(UpgradeRequest("localhost")))
    theirs.send(UpgradeAccept())
    many = masked(2, b"", fin=False) + masked(0, b"", fin=False) * 5000
    events, _ = server.receive(masked(2, b"x" * 11) if what == "size" else many + masked(PING))
    assert events[-1][1].error.hint == "raise `limit`"
    assert "raise" not in theirs.send(events[-1][1]).decode("latin-1")
