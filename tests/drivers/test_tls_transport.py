"""The transport of a WebSocket over TLS is an `asyncio.Transport`: what it tells, back-pressure by ciphertext, and its ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading

import pytest
import trustme
from drivers.conftest import echo, listening, until
from drivers.raw import blocking_server, open_by_hand, reset
from wire import CLOSE, REQUEST, TEXT, masked

from mintws import Close, ConnectionClosed, Http1, Http2, Role, State, Text
from mintws.asyncio import connect, serve

BOUND = 10.0
MUCH = 8 << 20


def secure(server):
    return f"wss://localhost:{server.port}/"


@contextlib.asynccontextmanager
async def both(tls_contexts, http="1.1", handler=None, **options):
    """Open a WebSocket over TLS; give the client's and the server's."""
    theirs, ours = tls_contexts
    served = asyncio.get_running_loop().create_future()

    async def handle(websocket):
        served.set_result(websocket)
        await (handler or echo)(websocket)

    async with listening(handle, ssl=theirs, **options) as server:
        async with connect(secure(server), http=http, host="127.0.0.1", ssl=ours, **options) as websocket:
            yield websocket, await served


def secure_socket(server, context, **how):
    """Open a WebSocket by hand, on a blocking socket."""
    sock = socket.create_connection(("127.0.0.1", server.port), BOUND)
    for name, value in how.items():
        sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    return context.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)


def open_websocket(sock):
    sock.sendall(REQUEST + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")


def read_all(sock):
    """Read to the end; an `ssl.SSLEOFError` is raised where no close_notify comes before it."""
    got = bytearray()
    while data := sock.recv(1 << 16):
        got += data
    return bytes(got)


async def receive_all(websocket):
    while True:
        await websocket.recv()


# What it tells.


@pytest.mark.parametrize("side", ["client", "server"])
def test_it_tells_what_was_agreed_on_until_after_the_end(run, http, tls_contexts, side):
    def check(transport):
        info = transport.get_extra_info
        assert info("ssl_object").version() == "TLSv1.3"
        assert info("ssl_object").selected_alpn_protocol() == ("h2" if http == "2" else "http/1.1")
        assert info("sslcontext") is tls_contexts[1 if side == "client" else 0]
        assert info("cipher") == info("ssl_object").cipher()
        assert info("compression") is None
        subject = info("peercert")
        assert (subject["subject"][0][0][0] == "commonName") if side == "client" else subject is None
        assert info("nothing of the kind") is None
        assert info("nothing of the kind", 5) == 5

    async def work():
        async with both(tls_contexts, http) as pair:
            websocket = pair[0 if side == "client" else 1]
            transport = websocket.transport
            assert isinstance(transport, asyncio.Transport)
            check(transport)
            assert transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
            assert transport.get_extra_info("socket").family == socket.AF_INET
            assert not transport.is_closing()
            assert not transport.can_write_eof()
            assert transport.is_reading()
            assert transport.get_write_buffer_size() == 0
            assert transport.get_protocol() is not None
        await websocket.wait_closed()
        await until(transport.is_closing)
        check(transport)

    run(work())


def test_a_server_sees_the_certificate_of_a_client(run, http, tls_contexts):
    server_tls, client_tls = tls_contexts
    authority = trustme.CA()
    authority.issue_cert("client.example").configure_cert(client_tls)
    authority.configure_trust(server_tls)
    server_tls.verify_mode = ssl.CERT_REQUIRED

    async def work():
        async with both(tls_contexts, http) as (_, served):
            certificate = served.transport.get_extra_info("peercert")
            assert certificate["subjectAltName"] == (("DNS", "client.example"),)
            assert served.request.peer.certificate == certificate

    run(work())


# What waits.


@pytest.mark.parametrize("size", [100, 50_000, 3_000_000])
def test_a_sender_waits_for_a_peer_that_does_not_read_and_nothing_is_lost(run, http, tls_contexts, size):
    count = MUCH // size
    sent = []

    async def flood(websocket):
        for number in range(count):
            await websocket.send(number.to_bytes(4, "big") * (size // 4))
            sent.append(number)
            if size == 100 and number % 1000 == 0:
                await asyncio.sleep(0)

    async def work():
        async with both(tls_contexts, http, flood, extensions=(), limit=None) as (websocket, served):
            websocket.transport.pause_reading()
            assert not websocket.transport.is_reading()
            before = -1
            while before != len(sent) or not served.unsent:
                before = len(sent)
                await asyncio.sleep(0.3)
            assert before < count
            _, high = served.transport.get_write_buffer_limits()
            # A message more than the transport likes, and what TLS adds to it.
            assert served.transport.get_write_buffer_size() <= high + 2 * size + (1 << 16)
            websocket.transport.resume_reading()
            got = [message async for message in websocket]
            assert [int.from_bytes(it[:4], "big") for it in got] == list(range(count))
            assert all(it == it[:4] * (size // 4) for it in got)

    run(work())


def test_limits_of_what_waits_are_those_that_are_set(run, tls_contexts):
    async def handler(websocket):
        websocket.transport.set_write_buffer_limits(high=1 << 20, low=1 << 10)
        assert websocket.transport.get_write_buffer_limits() == (1 << 10, 1 << 20)
        await websocket.wait_closed()

    async def work():
        async with both(tls_contexts, "1.1", handler):
            pass

    run(work())


def test_a_large_message_takes_few_writes(run, tls_contexts):
    size = 1 << 20
    writes = []

    async def handler(websocket):
        beneath = websocket.transport._transport
        channel = websocket._protocol.transport._channel
        write = beneath.write
        channel._open(
            channel._tls.records,
            Counting(beneath, lambda data: (writes.append(len(data)), write(data))),
            websocket._protocol,
        )
        await websocket.send(bytes(size))

    class Counting:
        def __init__(self, transport, write):
            self.write, self.is_closing = write, transport.is_closing

    async def work():
        async with both(tls_contexts, "1.1", handler, extensions=()) as (websocket, _):
            assert len(await websocket.recv()) == size

    run(work())
    assert size < sum(writes) < size * 1.01
    assert len(writes) <= size // (1 << 17) + 3


# How it ends.


@pytest.mark.parametrize("who", ["client", "server"])
def test_its_close_is_a_close_notify(run, http, tls_contexts, who):
    # A socket of OpenSSL raises for an end without one.
    theirs, ours = tls_contexts

    def client(server):
        ours.set_alpn_protocols(["http/1.1"])
        with secure_socket(server, ours) as sock:
            open_websocket(sock)
            sock.sendall(masked(TEXT, b"go"))
            return read_all(sock)

    def accept(sock):
        theirs.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        with theirs.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as secured:
            open_by_hand(secured, Http1(Role.SERVER) if http == "1.1" else Http2(Role.SERVER))
            secured.recv(65536)
            ends.append(read_all(secured))

    ends = []

    async def serve_one():
        async def handler(websocket):
            await websocket.recv()
            websocket.transport.close()
            assert websocket.transport.is_closing()
            with pytest.raises(ConnectionClosed):
                await websocket.send("more")

        async with listening(handler, ssl=theirs) as server:
            assert await asyncio.to_thread(client, server) == b""

    async def connect_to(port):
        websocket = await connect(f"wss://localhost:{port}", http=http, host="127.0.0.1", ssl=ours)
        await websocket.send("go")
        websocket.transport.close()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()

    if who == "server":
        run(serve_one())
    else:
        with blocking_server(accept) as port:
            run(connect_to(port))
        assert len(ends) == 1


def test_what_was_written_comes_before_the_close_notify(run, tls_contexts):
    # To a client that reads slowly, by the Close of a WebSocket and then the end of the transport.
    message = bytes(range(256)) * (MUCH // 256)

    async def handler(websocket):
        await websocket.send(message)

    def client(server):
        tls_contexts[1].set_alpn_protocols(["http/1.1"])
        with secure_socket(server, tls_contexts[1], SO_RCVBUF=1 << 16) as sock:
            open_websocket(sock)
            got = bytearray()
            while len(got) < 10 + MUCH + 4:
                got += sock.recv(1 << 16)
            sock.sendall(masked(CLOSE, b"\x03\xe8"))
            return bytes(got + read_all(sock))

    async def work():
        async with listening(handler, ssl=tls_contexts[0], extensions=()) as server:
            return await asyncio.to_thread(client, server)

    got = run(work())
    assert got == b"\x82\x7f" + MUCH.to_bytes(8, "big") + message + b"\x88\x02\x03\xe8"


@pytest.mark.parametrize("end", ["close_notify", "eof", "reset"])
def test_an_end_within_a_message_is_no_end_of_it(run, http, tls_contexts, end):
    # Half a message, and then the end of TLS, or of TCP alone.
    theirs, ours = tls_contexts
    theirs.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])

    def talk(sock):
        connection = open_by_hand(sock, Http1(Role.SERVER) if http == "1.1" else Http2(Role.SERVER))
        sock.recv(65536)
        sock.sendall(connection.send(Text("whole")) + connection.send(Text("half", fin=False)))
        if end == "close_notify":
            with contextlib.suppress(OSError):
                sock.unwrap()
        elif end == "eof":
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                socket.socket.recv(sock, 65536)
        else:
            reset(sock)

    async def work(port):
        websocket = await connect(f"wss://localhost:{port}", http=http, host="127.0.0.1", ssl=ours, extensions=())
        await websocket.send("go")
        if end != "reset":
            assert await websocket.recv() == "whole"
        with pytest.raises(ConnectionClosed) as closed:
            await receive_all(websocket)
        assert (closed.value.code, closed.value.clean) == (1006, False)
        cause = closed.value.__cause__.__cause__
        assert type(cause) is {"close_notify": type(None), "eof": ssl.SSLEOFError, "reset": ConnectionResetError}[end]

    with blocking_server(talk, theirs) as port:
        run(work(port))


def test_a_missing_close_notify_does_not_matter_after_the_close_of_the_websocket(run, http, tls_contexts):
    theirs, ours = tls_contexts
    theirs.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])

    def talk(sock):
        connection = open_by_hand(sock, Http1(Role.SERVER) if http == "1.1" else Http2(Role.SERVER))
        sock.sendall(connection.send(Close(1000, "done")))
        with contextlib.suppress(OSError):
            sock.recv(65536)
            sock.shutdown(socket.SHUT_WR)
            socket.socket.recv(sock, 65536)

    async def work(port):
        async with connect(f"wss://localhost:{port}", http=http, host="127.0.0.1", ssl=ours) as websocket:
            assert [it async for it in websocket] == []
        assert websocket.state is State.CLOSED
        assert (websocket.close_code, websocket.close_reason, websocket.ending.clean) == (1000, "done", True)

    with blocking_server(talk, theirs) as port:
        run(work(port))


def test_a_peer_that_does_not_end_the_transport_is_waited_for_no_longer_than_the_close_timeout(run, tls_contexts):
    ended = threading.Event()

    def client(server):
        tls_contexts[1].set_alpn_protocols(["http/1.1"])
        with secure_socket(server, tls_contexts[1]) as sock:
            open_websocket(sock)
            sock.sendall(masked(TEXT, b"go"))
            assert sock.recv(1) == b""
            # OpenSSL says no more than it is asked to.
            assert ended.wait(BOUND)

    async def handler(websocket):
        await websocket.recv()
        websocket.transport.close()

    async def work():
        async with serve(handler, "127.0.0.1", 0, ssl=tls_contexts[0], close_timeout=0.3) as server:
            talking = asyncio.ensure_future(asyncio.to_thread(client, server))
            await until(lambda: server._channels)
            await until(lambda: not server._channels)
            ended.set()
            await talking

    run(work())
