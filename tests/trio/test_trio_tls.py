"""TLS on trio: both versions, errors, ends, and other streams beneath."""

from __future__ import annotations

import errno
import logging
import re
import ssl
from pathlib import Path

import anyio
import pytest
import trio
import trio.testing
from on_trio import listening

from mintws import ConnectError, Http2, Role, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.tls import Tls
from mintws.trio import connect, connect_http2
from mintws.trio.tls import TlsStream


def wss(server, target: str = "/") -> str:
    return f"wss://localhost:{server.port}{target}"


@pytest.mark.parametrize("asked", ["auto", "1.1", "2"])
def test_the_version_is_chosen_by_alpn(run, tls_contexts, asked):
    async def main():
        async with listening(ssl=tls_contexts[0]) as server:
            async with connect(wss(server), http=asked, ssl=tls_contexts[1], host="127.0.0.1") as websocket:
                assert websocket.http_version == ("1.1" if asked == "1.1" else "2")
                assert websocket.ssl_object is not None
                for message in ("hello", b"x" * 1_000_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message
            assert (websocket.close_code, websocket.ending.clean) == (1000, True)

    run(main)


@pytest.mark.parametrize("asked", ["1.1", "2"])
def test_tls_runs_on_the_stream_of_anyio_that_the_docs_adapt(run, tls_contexts, asked):
    text = (Path(__file__).parents[2] / "docs" / "trio.md").read_text(encoding="utf-8")
    adapter = re.search(r"^class AnyioStream:\n(?:    .*\n|\n)+", text, re.MULTILINE)
    names = {"anyio": anyio}
    exec(adapter[0], names)

    async def main():
        async with listening(ssl=tls_contexts[0]) as server:
            stream = names["AnyioStream"](await anyio.connect_tcp("127.0.0.1", server.port))
            async with connect("wss://localhost/", stream=stream, ssl=tls_contexts[1], http=asked) as websocket:
                assert websocket.http_version == asked
                assert websocket.ssl_object is not None
                for message in ("hello", b"x" * 1_000_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message
            assert (websocket.close_code, websocket.ending.clean) == (1000, True)

    run(main)


def test_http2_that_takes_no_websockets_is_followed_by_http1(run, tls_contexts):
    def upgrade(connection, request):
        asked.append(connection.carrier.http_version)
        return UpgradeReject(400) if asked[-1] == "2" else UpgradeAccept()

    async def main():
        async with listening(ssl=tls_contexts[0], upgrade=upgrade) as server:
            for _ in range(2):
                async with connect(wss(server), ssl=tls_contexts[1], host="127.0.0.1") as websocket:
                    assert websocket.http_version == "1.1"

    asked: list[str] = []
    run(main)
    assert asked == ["2", "1.1", "1.1"]


def test_a_server_without_http2_refuses_it(run, tls_contexts):
    async def main():
        async with listening(ssl=tls_contexts[0], http2=False) as server:
            with pytest.raises(ConnectError, match="ALPN"):
                async with connect_http2(wss(server), ssl=tls_contexts[1], host="127.0.0.1"):
                    pass

    run(main)


def test_a_certificate_that_is_not_trusted_is_a_connect_error_and_logged_by_the_server(run, tls_contexts, caplog):
    async def main():
        async with listening(ssl=tls_contexts[0]) as server:
            with pytest.raises(ConnectError) as refused:
                async with connect(wss(server), host="127.0.0.1"):
                    pass
            assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
            with trio.fail_after(5):
                while not caplog.records:
                    await trio.sleep(0.01)

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(main)
    assert "- TLS handshake failed: 127.0.0.1:" in caplog.records[0].getMessage()


def test_a_client_that_does_no_handshake_is_closed(run, tls_contexts, caplog):
    async def main():
        async with listening(ssl=tls_contexts[0], open_timeout=0.1) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                assert await stream.receive_some() == b""
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                while await stream.receive_some():
                    pass

    with caplog.at_level(logging.INFO, "mintws.server"):
        run(main)
    said = [record.getMessage() for record in caplog.records]
    assert "the TLS handshake did not end within 0.1 s" in said[0]
    assert "HTTP_REQUEST" in said[1]


def test_a_server_that_closes_ends_handshakes_under_way(run, tls_contexts):
    async def main():
        async with listening(ssl=tls_contexts[0]) as server:
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                await trio.sleep(0.05)
                with trio.fail_after(5):
                    await server.close()
                    assert await stream.receive_some() == b""

    run(main)


def test_a_peer_that_ends_without_close_notify_is_named_as_the_cause(run, http, tls_contexts):
    async def handler(websocket):
        await websocket.wait_closed()
        ended.append(websocket.ending.exception())

    async def main():
        async with listening(handler, ssl=tls_contexts[0]) as server:
            async with connect(wss(server), http=http, ssl=tls_contexts[1], host="127.0.0.1") as websocket:
                await websocket.ping()
                websocket._protocol.stream.sock.shutdown(2)
                await websocket.wait_closed()
            while not ended:
                await trio.sleep(0.01)

    ended: list[BaseException] = []
    run(main)
    assert isinstance(ended[0].__cause__.__cause__, ssl.SSLEOFError)


def test_tls_is_spoken_on_any_stream(run, http, tls_contexts):
    """A server of the core alone, on trio's own TLS over a pair of streams in memory."""

    async def serve_one(stream) -> None:
        tls_contexts[0].set_alpn_protocols(["h2" if http == "2" else "http/1.1"])
        secure = trio.SSLStream(stream, tls_contexts[0], server_side=True, https_compatible=True)
        from mintws import Http1, Text

        carrier = Http2(Role.SERVER) if http == "2" else Http1(Role.SERVER)
        await secure.send_all(carrier.start())
        while not carrier.done:
            data = bytes(await secure.receive_some(65536))
            events, reply = carrier.receive(data)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    reply += connection.send(UpgradeAccept())
                elif isinstance(event, Text) or type(event).__name__ == "Close":
                    reply += connection.send(event)
            if reply:
                await secure.send_all(reply)
            if not data:
                break
        await secure.aclose()

    async def main():
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_one, theirs)
            options = {"http": http, "ssl": tls_contexts[1], "stream": ours}
            async with connect("wss://localhost/", **options) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
            assert websocket.close_code == 1000

    run(main)


def test_what_is_no_stream_is_a_type_error():
    with pytest.raises(TypeError, match="receive_some"):
        connect("ws://localhost/", stream=object())


class Foreign(Exception):
    """An error of another library's streams, as anyio has its own."""


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("fails", ["receive_some", "send_all"])
@pytest.mark.parametrize("system", [ConnectionResetError(errno.ECONNRESET, "reset"), None], ids=["errno", "none"])
def test_what_a_stream_raises_is_the_cause_of_a_connect_error(run, http, scheme, fails, system):
    class Broken:
        async def receive_some(self, max_bytes: int, /) -> bytes:
            await self.act("receive_some")

        async def send_all(self, data, /) -> None:
            await self.act("send_all")

        async def act(self, name: str) -> None:
            await trio.lowlevel.checkpoint()
            if name == fails:
                raise raised from system
            if name == "receive_some":
                await trio.sleep_forever()

        async def aclose(self) -> None:
            pass

    async def main():
        with trio.fail_after(5), pytest.raises(ConnectError, match="cannot connect to localhost: ") as failed:
            async with connect(f"{scheme}://localhost/", stream=Broken(), http=http):
                pass
        assert failed.value.__cause__ is (system or raised)
        assert failed.value.errno == (system and system.errno)

    raised = Foreign("the stream is broken")
    run(main)


class Pipe:
    """A stream of prepared bytes, which keeps half of a write that is never done if it is blocked."""

    def __init__(self, *incoming: bytes) -> None:
        self.incoming = list(incoming)
        self.sent = b""
        self.blocked = False

    async def receive_some(self, max_bytes: int, /) -> bytes:
        return self.incoming.pop(0) if self.incoming else b""

    async def send_all(self, data, /) -> None:
        if self.blocked:
            self.sent += bytes(data[: len(data) // 2])
            await trio.sleep_forever()
        self.sent += bytes(data)

    async def aclose(self) -> None:
        pass


def shaken(tls_contexts) -> tuple[Tls, Tls]:
    """A server and a client whose handshake is done."""
    server = Tls(tls_contexts[0], Role.SERVER)
    client = Tls(tls_contexts[1], Role.CLIENT, server_hostname="localhost")
    reply = client.start()
    while reply:
        _, answer = server.receive(reply)
        reply = client.receive(answer)[1] if answer else b""
    return server, client


def test_no_close_notify_follows_a_write_that_was_cancelled(run, tls_contexts):
    async def main():
        pipe = Pipe()
        stream = TlsStream(pipe, shaken(tls_contexts)[1], b"")
        await stream.send_all(b"whole")
        pipe.blocked = True
        with trio.move_on_after(0.01):
            await stream.send_all(b"half")
        pipe.blocked, sent = False, pipe.sent
        await stream.aclose()
        assert pipe.sent == sent

    run(main)


def test_a_write_waits_for_the_one_that_is_under_way(run, tls_contexts):
    class Slow(Pipe):
        async def send_all(self, data, /) -> None:
            for byte in bytes(data):
                await trio.lowlevel.checkpoint()
                self.sent += bytes([byte])

    async def main():
        pipe = Slow()
        server, client = shaken(tls_contexts)
        stream = TlsStream(pipe, client, b"")
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(stream.send_all, b"hello")
        assert server.receive(pipe.sent)[0] == b"hello" * 2

    run(main)
