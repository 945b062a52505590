"""How much of small records of TLS is taken in a turn of the loop: OpenSSL takes up to 45 us for one of 27 bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tls_pair import (
    APPLICATION_DATA,
    HANDSHAKE,
    KEY_UPDATE,
    VERSIONS,
    Protection,
    client_context,
    message,
    records,
    server_context,
)

from mintws import Close, Http1, Role, Text, UpgradeRequest
from mintws.asyncio import serve
from mintws.asyncio.tls import TlsProtocol, shared_buffers
from mintws.session import TlsTimeouts
from mintws.tls import Tls, TlsState

#: The most records of a turn.
MOST = 100


class Transport(asyncio.Transport):
    """A transport that only tells what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True

    abort = close


class Plaintext(asyncio.BufferedProtocol):
    """What is above TLS."""

    def __init__(self) -> None:
        self.got = b""
        self._room = memoryview(bytearray(1 << 18))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> Any:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.got += self._room[:nbytes]


class Server(TlsProtocol):
    lingers = True

    def begin(self) -> Tls:
        context = server_context(VERSIONS[1])
        context.num_tickets = 0
        return Tls(context, Role.SERVER, buffers=self._buffers)

    def make(self) -> Plaintext:
        return Plaintext()

    def failed(self, error: Exception) -> None:
        raise error


class Line:
    """A server whose client is open, and a transport whose bytes the test brings."""

    def __init__(self, keys: Path) -> None:
        loop = asyncio.get_running_loop()
        self.server = Server(shared_buffers(loop), loop, TlsTimeouts(loop.time(), 10, 10))
        self.transport = Transport()
        context = client_context(VERSIONS[1])
        context.keylog_filename = str(keys)
        self.client = Tls(context, Role.CLIENT, server_hostname="localhost")
        self.server.connection_made(self.transport)
        ciphertext = self.client.start()
        while ciphertext:
            self.read(ciphertext)
            _, ciphertext = self.client.receive(b"".join(self.transport.written))
            self.transport.written.clear()
        assert self.client.state is TlsState.OPEN
        assert isinstance(self.server.protocol, Plaintext)
        self.protocol = self.server.protocol

    def read(self, ciphertext: bytes) -> None:
        """Have the transport read, as long as it may."""
        while ciphertext:
            assert self.transport.reading
            room = self.server.get_buffer(-1)
            size = min(len(room), len(ciphertext))
            room[:size] = ciphertext[:size]
            self.server.buffer_updated(size)
            ciphertext = ciphertext[size:]


@pytest.fixture
def line(run: Callable[..., Any], tmp_path: Path) -> Callable[[Callable[[Line], Coroutine[Any, Any, None]]], None]:
    """Run a test with a line."""

    def go(test: Callable[[Line], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            await test(Line(tmp_path / "keys.log"))

        run(main())

    return go


def small(client: Tls, count: int) -> tuple[bytes, bytes]:
    """Give plaintext, and records of one byte of it each."""
    text = bytes(i % 251 for i in range(count))
    return text, b"".join(client.send(text[i : i + 1]) for i in range(count))


async def turns(line: Line) -> int:
    """Let the loop turn until the transport reads again; give how often."""
    count = 0
    while not line.transport.reading:
        before = len(line.protocol.got)
        await asyncio.sleep(0)
        assert len(line.protocol.got) - before <= MOST
        count += 1
    return count


def test_small_records_are_taken_in_many_turns_and_in_their_order(line):
    async def test(line):
        text, ciphertext = small(line.client, 5000)
        line.read(ciphertext)
        assert 0 < len(line.protocol.got) <= MOST
        assert line.protocol.transport.is_reading()
        assert await turns(line) == len(text) // MOST - 1
        assert line.protocol.got == text

    line(test)


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_large_records_are_taken_at_once(line, cut):
    async def test(line):
        text = bytes(300_000)
        ciphertext = line.client.send(text)
        line.read(ciphertext[:cut])
        line.read(ciphertext[cut:])
        assert line.transport.reading and line.protocol.got == text
        # As many small ones as fit.
        few, ciphertext = small(line.client, 90)
        line.read(ciphertext)
        assert line.transport.reading and line.protocol.got == text + few

    line(test)


def test_a_turn_takes_as_many_records_whatever_their_size(line):
    async def test(line):
        ciphertext = b"".join(line.client.send(bytes(1000)) for _ in range(MOST + 1))
        line.read(ciphertext)
        assert len(line.protocol.got) == MOST * 1000 and not line.transport.reading
        await asyncio.sleep(0)
        assert len(line.protocol.got) == (MOST + 1) * 1000 and line.transport.reading

    line(test)


def test_a_protocol_that_fails_in_a_later_turn_ends_the_transport(line):
    async def test(line):
        caught = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context["exception"]))
        _, ciphertext = small(line.client, 2 * MOST)
        line.read(ciphertext)
        line.protocol.buffer_updated = lambda nbytes: 1 / 0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [type(it) for it in caught] == [ZeroDivisionError]
        assert line.transport.closing and not line.transport.reading

    line(test)


def test_key_updates_are_taken_in_many_turns(line, tmp_path):
    async def test(line):
        secrets = dict(it.split()[::2] for it in (tmp_path / "keys.log").read_text().splitlines() if it[0] != "#")
        cipher = line.client.ssl_object.cipher()
        keys = Protection(bytes.fromhex(secrets["CLIENT_TRAFFIC_SECRET_0"]), cipher[0])
        ciphertext = b""
        for _ in range(2000):
            ciphertext += keys.protect(HANDSHAKE, message(KEY_UPDATE, b"\1"))
            keys.update()
        line.read(ciphertext + keys.protect(APPLICATION_DATA, b"at last"))
        answers = [len(records(b"".join(line.transport.written)))]
        while not line.transport.reading:
            line.transport.written.clear()
            await asyncio.sleep(0)
            answers.append(len(records(b"".join(line.transport.written))))
        assert max(answers) <= MOST and len(answers) > 10
        assert line.protocol.got == b"at last"

    line(test)


def test_a_protocol_that_pauses_meanwhile_keeps_the_transport_paused(line):
    async def test(line):
        text, ciphertext = small(line.client, 2000)
        line.read(ciphertext)
        line.protocol.transport.pause_reading()
        assert not line.protocol.transport.is_reading()
        while len(line.protocol.got) < len(text):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not line.transport.reading
        line.protocol.transport.resume_reading()
        assert line.transport.reading and line.protocol.got == text

    line(test)


def test_a_protocol_that_resumes_meanwhile_does_not_have_the_transport_read(line):
    async def test(line):
        text, ciphertext = small(line.client, 2000)
        line.read(ciphertext)
        line.protocol.transport.pause_reading()
        line.protocol.transport.resume_reading()
        assert not line.transport.reading
        await turns(line)
        assert line.protocol.got == text

    line(test)


def test_what_waits_when_the_connection_closes_is_taken_until_the_peers_close_notify(line):
    async def test(line):
        _, ciphertext = small(line.client, 2000)
        line.read(ciphertext + line.client.close())
        got = line.protocol.got
        line.protocol.transport.close()
        assert not line.transport.reading
        while not line.transport.closing:
            await asyncio.sleep(0)
        assert line.protocol.got == got

    line(test)


def test_what_waits_when_the_connection_is_aborted_is_discarded(line):
    async def test(line):
        _, ciphertext = small(line.client, 2000)
        line.read(ciphertext)
        got = line.protocol.got
        line.protocol.transport.abort()
        for _ in range(100):
            await asyncio.sleep(0)
        assert line.protocol.got == got and line.server._waiting == b""

    line(test)


def test_little_is_read_while_no_plaintext_passes(line):
    async def test(line):
        assert len(line.server.get_buffer(-1)) > 1 << 15
        line.protocol.transport.close()
        assert len(line.server.get_buffer(-1)) < 1 << 12

    line(test)


@pytest.mark.parametrize("count", [50, 5000])
def test_messages_in_records_of_their_own_all_arrive(run, count):
    got = []

    async def handler(websocket):
        async for text in websocket:
            got.append(text)

    async def main():
        async with serve(handler, "127.0.0.1", 0, ssl=server_context()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with closing(writer):
                tls = Tls(client_context(), Role.CLIENT, server_hostname="localhost")
                http = Http1(Role.CLIENT)
                connection = http.open()
                writer.write(tls.start())
                plaintext = b""
                while not plaintext:
                    shaken = tls.state is TlsState.OPEN
                    plaintext, reply = tls.receive(await reader.read(65536))
                    writer.write(reply)
                    if not shaken and tls.state is TlsState.OPEN:
                        writer.write(tls.send(connection.send(UpgradeRequest("localhost"))))
                http.receive(plaintext)
                sent = [*(str(number) for number in range(count))]
                frames = [connection.send(Text(text)) for text in sent] + [connection.send(Close(1000))]
                writer.write(b"".join(map(tls.send, frames)))
                closed = []
                while not closed:
                    plaintext, _ = tls.receive(await reader.read(65536))
                    closed = [event for _, event in http.receive(plaintext)[0] if isinstance(event, Close)]
                assert got == sent and closed[0].code == 1000

    run(main())
