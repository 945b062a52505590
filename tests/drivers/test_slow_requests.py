"""Ordinary requests and responses that take their time: who makes progress is waited for, who does not is told so (RFC 9110 §15.5.9)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from drivers.conftest import listening
from drivers.raw import raw_client

from mintws.events import Response
from mintws.session import linger

CONNECT = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "x"),
    (":path", "/"),
    ("sec-websocket-version", "13"),
]


@pytest.fixture(params=[False, True], ids=["TCP", "TLS"])
def contexts(request, tls_contexts):
    """TLS contexts of a server and a client, or none."""
    return tls_contexts if request.param else (None, None)


class Uploader:
    """A client that sends a request in pieces, over HTTP/1.1 in chunks."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def begin(self):
        self.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def send(self, piece):
        self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self.writer.drain()

    async def end(self):
        self.writer.write(b"0\r\n\r\n")

    async def answer(self):
        """Give the status and the body; `None` if there is no answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        self.told_of_the_end = b"\r\nconnection: close\r\n" in head.lower()
        return int(head[9:12]), await self.reader.readexactly(size)


class Http2Uploader(Uploader):
    def __init__(self, reader, writer):
        super().__init__(reader, writer)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.flush()
        self.seen = []

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def begin(self):
        self.stream = self.h2.get_next_available_stream_id()
        head = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
        self.h2.send_headers(self.stream, head)
        self.flush()

    async def open(self):
        """Open a WebSocket; give its stream."""
        while not self.h2.remote_settings.enable_connect_protocol:
            await self.read()
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, CONNECT)
        self.flush()
        await self.until(h2.events.ResponseReceived, stream)
        return stream

    async def send(self, piece):
        self.h2.send_data(self.stream, piece)
        self.flush()

    async def end(self):
        self.h2.end_stream(self.stream)
        self.flush()

    async def answer(self):
        head = await self.until(h2.events.ResponseReceived, self.stream)
        await self.until(h2.events.StreamEnded, self.stream)
        body = [it.data for it in self.seen if isinstance(it, h2.events.DataReceived) and it.stream_id == self.stream]
        return int(dict(head.headers)[":status"]), b"".join(body)

    async def read(self):
        data = await self.reader.read(65536)
        if not data:
            raise EOFError
        self.seen += self.h2.receive_data(data)
        self.flush()

    async def until(self, kind, stream):
        while True:
            for event in self.seen:
                if isinstance(event, kind) and event.stream_id == stream:
                    return event
            await self.read()


async def uploader(server, http, context=None, **how):
    if context is not None:
        context.set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
    reader, writer = await raw_client(server, head=b"", tls=context, **how)
    return (Http2Uploader if http == "2" else Uploader)(reader, writer)


def respond(request):
    return Response(200, body=b"%d bytes" % len(request.body))


@pytest.mark.parametrize("first", [True, False])
def test_an_upload_that_makes_progress_may_take_longer_than_the_timeouts(run, http, contexts, first):
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs, respond=respond, open_timeout=0.5, idle_timeout=0.5) as server:
            client = await uploader(server, http, ours)
            if not first:
                await client.begin()
                await client.end()
                assert await client.answer() == (200, b"0 bytes")
            await client.begin()
            for _ in range(5):
                await client.send(bytes(2000))
                await asyncio.sleep(0.15)
            await client.end()
            assert await client.answer() == (200, b"10000 bytes")
            client.writer.close()

    run(work())


@pytest.mark.parametrize("drip", [b"", b"x"], ids=["silent", "slow"])
def test_an_upload_that_makes_no_progress_is_answered_with_408(run, http, contexts, drip):
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs, respond=respond, open_timeout=0.5) as server:
            client = await uploader(server, http, ours)
            await client.begin()
            await client.send(b"the beginning")

            async def send_slowly():
                with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
                    while drip:
                        await asyncio.sleep(0.02)
                        await client.send(drip)

            dripping = asyncio.ensure_future(send_slowly())
            status, body = await asyncio.wait_for(client.answer(), 8)
            assert (status, body) == (408, b"the request took too long\n")
            if http == "1.1":
                assert client.told_of_the_end
                dripping.cancel()
                assert await client.reader.read() == b""
            else:
                # RFC 9113 §8.1
                reset = await client.until(h2.events.StreamReset, client.stream)
                assert reset.error_code == 0
            dripping.cancel()
            client.writer.close()

    run(work())


def test_an_upload_that_is_refused_hurts_no_other_stream(run):
    async def echo(websocket):
        async for message in websocket:
            await websocket.send(message)

    async def work():
        async with listening(echo, respond=respond, open_timeout=0.5, idle_timeout=0.5, extensions=()) as server:
            client = await uploader(server, "2")
            websocket = await client.open()
            await client.begin()
            slow = client.stream
            await client.begin()
            for _ in range(7):
                await client.send(bytes(1000))
                await asyncio.sleep(0.1)
            await client.end()
            assert await client.answer() == (200, b"7000 bytes")
            client.stream = slow
            assert (await client.answer())[0] == 408
            # A masked text, by a key of zeros.
            client.h2.send_data(websocket, b"\x81\x82\0\0\0\0hi")
            client.flush()
            assert (await client.until(h2.events.DataReceived, websocket)).data == b"\x81\x02hi"
            client.writer.close()

    run(work())


@pytest.mark.parametrize("how", ["refused", "taken back"])
def test_after_an_upload_that_came_to_nothing_the_connection_is_idle(run, how):
    async def work():
        timeout = 0.3 if how == "refused" else 10
        async with listening(respond=respond, open_timeout=timeout, idle_timeout=0.3) as server:
            client = await uploader(server, "2")
            await client.begin()
            if how == "refused":
                assert (await client.answer())[0] == 408
            else:
                await client.send(b"some")
                await asyncio.sleep(0.1)
                client.h2.reset_stream(client.stream)
                client.flush()
            with pytest.raises(EOFError):
                await asyncio.wait_for(client.until(h2.events.PriorityUpdated, 0), 8)
            assert any(isinstance(it, h2.events.ConnectionTerminated) for it in client.seen)
            client.writer.close()

    run(work())


@pytest.mark.parametrize("behind", ["nothing", "a request"])
def test_half_a_head_is_answered_with_408(run, contexts, behind):
    theirs, ours = contexts

    async def work():
        async with listening(ssl=theirs, respond=respond, open_timeout=0.3, idle_timeout=0.3) as server:
            client = await uploader(server, "1.1", ours)
            if behind == "a request":
                await client.begin()
                await client.end()
                assert (await client.answer())[0] == 200
            client.writer.write(b"GET / HTTP/1.1\r\nHo")
            assert (await asyncio.wait_for(client.answer(), 8))[0] == 408
            assert client.told_of_the_end
            assert await client.reader.read() == b""
            client.writer.close()

    run(work())


def read_slowly(port, request, pause, context=None):
    """Send a request and read its answer slowly; give all that comes."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        plain.settimeout(10)
        plain.connect(("127.0.0.1", port))
        with plain if context is None else context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(request)
            got = bytearray()
            while data := sock.recv(1 << 18):
                got += data
                time.sleep(pause if context is None else pause / 16)
            return bytes(got)


@pytest.mark.parametrize("end", ["idle", "close", "drain"])
def test_a_response_is_not_cut_while_the_client_takes_it(run, monkeypatch, contexts, end):
    monkeypatch.setattr(linger, "LINGER", 0.2)
    size = 10 << 20
    theirs, ours = contexts

    async def work():
        timeouts = {"idle_timeout": 0.2, "close_timeout": 0.2}
        async with listening(respond=lambda _: Response(200, body=bytes(size)), ssl=theirs, **timeouts) as server:
            close = b"Connection: close\r\n" if end == "close" else b""
            request = b"GET / HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n"
            reading = asyncio.ensure_future(asyncio.to_thread(read_slowly, server.port, request, 0.02, ours))
            if end == "drain":
                while not any(protocol.full for protocol in server._protocols):
                    await asyncio.sleep(0.01)
                await server.drain(None)
            got = await reading
            assert len(got.partition(b"\r\n\r\n")[2]) == size

    run(work())


def test_a_response_over_http2_is_not_cut_while_the_client_takes_it(run):
    size = 1 << 20

    async def work():
        async with listening(respond=lambda _: Response(200, body=bytes(size)), idle_timeout=0.2) as server:
            client = await uploader(server, "2")
            await client.begin()
            await client.end()
            taken = 0
            while taken < size:
                client.seen.clear()
                await client.read()
                for event in client.seen:
                    if isinstance(event, h2.events.DataReceived):
                        taken += len(event.data)
                        await asyncio.sleep(0.02)
                        client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        client.flush()
            client.writer.close()

    run(work())


@pytest.mark.parametrize("full", [True, False], ids=["TCP", "window"])
def test_a_client_that_takes_nothing_is_cut_off(run, http, full):
    async def work():
        async with listening(respond=lambda _: Response(200, body=bytes(16 << 20)), idle_timeout=0.3) as server:
            client = await uploader(server, http, read_buffer=4096)
            if http == "2" and full:
                client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
                client.h2.increment_flow_control_window(1 << 30)
            client.writer.transport.pause_reading()
            await client.begin()
            await client.end()
            while not server._protocols:
                await asyncio.sleep(0.01)
            while server._protocols:
                await asyncio.sleep(0.05)
            client.writer.transport.abort()

    run(work())
