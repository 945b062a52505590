"""What is written last reaches a peer that is still sending: what it sends is read, and discarded, for a while (RFC 9112 §9.6)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from base64 import b64encode

import pytest
from drivers.conftest import listening
from wire import (
    BINARY,
    CLOSE,
    GOAWAY,
    REQUEST,
    close_payload,
    frame,
    frames_of,
    h2_frame,
    h2_frames,
    masked,
)

from mintws import ConnectError, ConnectionClosed, UpgradeReject
from mintws.asyncio import connect, connect_http2
from mintws.session import linger

#: More than the system's buffers take, so that whoever sends it waits for the peer to read.
MUCH = bytes(10 << 20)
#: A client's frame that is masked by zeros.
LARGE_FRAME = b"\x82\xff" + len(MUCH).to_bytes(8, "big") + bytes(4) + MUCH
BOUND = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0, b"")
BROKEN = h2_frame(6, 0, 0, b"x")  # a PING of a wrong size


@pytest.fixture(params=["TCP", "TLS"])
def contexts(request, tls_contexts):
    """TLS contexts of a server and a client, or none."""
    return tls_contexts if request.param == "TLS" else (None, None)


def wrap(sock, context, alpn, **how):
    sock.settimeout(BOUND)
    if context is None:
        return sock
    context.set_alpn_protocols([alpn])
    return context.wrap_socket(sock, **how)


def read_head(sock):
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    return head


def read_all(sock):
    """Read to the end of the transport, however it ends."""
    got = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            got += data
    return got


def blocking_client(port, context, sent, *, alpn="http/1.1"):
    """Send several pieces, the first a request that is answered if there is more than one, and only then read."""
    with socket.create_connection(("127.0.0.1", port), BOUND) as plain:
        with wrap(plain, context, alpn, server_hostname="localhost") as sock:
            first, *more = sent
            sock.sendall(first)
            if more:
                read_head(sock)
            for piece in more:
                sock.sendall(piece)
            return read_all(sock)


async def talk(server, context, *sent, **how):
    return await asyncio.to_thread(blocking_client, server.port, context, sent, **how)


@contextlib.asynccontextmanager
async def blocking_server(context, alpn, serve_one):
    """Serve one connection in a thread; give the URL and what `serve_one` returns."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work():
            listener.settimeout(BOUND)
            plain, _ = listener.accept()
            with plain, wrap(plain, context, alpn, server_side=True) as sock:
                return serve_one(sock)

        scheme = "wss" if context else "ws"
        serving = asyncio.ensure_future(asyncio.to_thread(work))
        yield f"{scheme}://localhost:{listener.getsockname()[1]}", serving
        await serving


def codes(data):
    return [payload[:2] for _, _, opcode, payload in frames_of(data) if opcode == CLOSE]


def test_a_client_that_sends_too_large_a_message_is_told_so(run, contexts):
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs) as server:
            for _ in range(4):
                got = await talk(server, ours, REQUEST + b"\r\n", LARGE_FRAME)
                assert codes(got) == [close_payload(1009)]

    run(work())


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n", REQUEST], ids=["no handshake", "refused"]
)
def test_a_client_that_goes_on_sending_is_told_that_it_is_refused(run, contexts, head):
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs, upgrade=lambda *_: UpgradeReject(400)) as server:
            for _ in range(4):
                got = await talk(server, ours, head + b"\r\n" + MUCH)
                assert got.startswith(b"HTTP/1.1 400 ")

    run(work())


def test_a_client_that_breaks_http2_gets_the_goaway(run, contexts):
    # RFC 9113 §5.4.1
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs) as server:
            for _ in range(4):
                got = await talk(server, ours, PREFACE + BROKEN + MUCH, alpn="h2")
                assert [payload[4:8] for kind, *_, payload in h2_frames(got) if kind == GOAWAY] == [b"\0\0\0\x06"]

    run(work())


def test_a_server_that_sends_too_large_a_message_is_told_so(run, contexts):
    theirs, ours = contexts

    def serve_one(sock):
        (key,) = (line[19:] for line in read_head(sock).split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        sock.sendall(frame(BINARY, MUCH))
        return read_all(sock)

    async def work():
        for _ in range(4):
            async with blocking_server(theirs, "http/1.1", serve_one) as (url, serving):
                websocket = await connect(url, ssl=ours, http="1.1", extensions=())
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
                await websocket.close()
                assert codes(await serving) == [close_payload(1009)]

    run(work())


def test_a_server_that_breaks_http2_gets_the_goaway(run, contexts):
    # RFC 9113 §5.4.1
    theirs, ours = contexts

    def serve_one(sock):
        sock.sendall(h2_frame(4, 0, 0, b"") + BROKEN + MUCH)
        return read_all(sock)

    async def work():
        for _ in range(4):
            async with blocking_server(theirs, "h2", serve_one) as (url, serving):
                with contextlib.suppress(ConnectError):
                    await connect_http2(url, ssl=ours)
                got = (await serving)[24:]
                assert [payload[4:8] for kind, *_, payload in h2_frames(got) if kind == GOAWAY] == [b"\0\0\0\x06"]

    run(work())


@pytest.mark.parametrize("how", ["closing handshake", "response"])
def test_the_transport_is_closed_at_once_where_nothing_more_is_expected(run, contexts, monkeypatch, how):
    # RFC 6455 §7.1.1, RFC 9112 §9.6
    monkeypatch.setattr(linger, "QUIET", 5.0)
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs, close_timeout=10) as server:
            begun = asyncio.get_running_loop().time()
            if how == "response":
                head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                assert (await talk(server, ours, head)).startswith(b"HTTP/1.1 426 ")
            else:
                got = await talk(server, ours, REQUEST + b"\r\n", masked(CLOSE, close_payload(1000)))
                assert codes(got) == [close_payload(1000)]
            assert asyncio.get_running_loop().time() - begun < 3

    run(work())


def test_over_tls_a_client_that_has_fallen_silent_is_not_waited_for(run, tls_contexts, monkeypatch):
    monkeypatch.setattr(linger, "LINGER", 15.0)
    theirs, ours = tls_contexts

    async def work():
        async with listening(ssl=theirs, close_timeout=15) as server:
            got = await talk(server, ours, REQUEST + b"\r\n", b"\x81\x02no")
            assert codes(got) == [close_payload(1002)]

    run(asyncio.wait_for(work(), 8))


def test_a_client_that_never_stops_sending_is_cut_off(run, contexts, monkeypatch):
    monkeypatch.setattr(linger, "LINGER", 0.5)
    theirs, ours = contexts

    def send_for_ever(port):
        with socket.create_connection(("127.0.0.1", port), BOUND) as plain:
            with wrap(plain, ours, "http/1.1", server_hostname="localhost") as sock:
                sock.sendall(REQUEST + b"\r\n")
                read_head(sock)
                with contextlib.suppress(ssl.SSLError, OSError):
                    while True:
                        sock.sendall(masked(BINARY, bytes(1 << 16)))

    async def work():
        async with listening(ssl=theirs, limit=1000, close_timeout=0.5) as server:
            await asyncio.wait_for(asyncio.to_thread(send_for_ever, server.port), 8)
            assert not server.websockets

    run(work())
