"""Proxies on trio: a tunnel is opened, also over TLS, and what comes with the answer is kept; a refusal is an error with its body."""

from __future__ import annotations

import socket
import ssl
import struct
from functools import partial

import pytest
import trio
import trio.testing
from on_trio import listening, url

from mintws import ConnectionClosed, ConnectTimeout, LocalProtocolError, ProxyError
from mintws.trio import connect, connect_http2


async def pass_on(source, sink) -> None:
    try:
        while data := await source.receive_some():
            await sink.send_all(data)
        await sink.aclose()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


class HttpProxy:
    """A proxy that knows CONNECT, and may refuse, say nothing, or wait for the server's first bytes and write them with its answer."""

    def __init__(self, *, tls=None, status: bytes = b"200 Connected", with_answer: bool = False) -> None:
        self.tls = tls
        self.status = status
        self.with_answer = with_answer
        self.asked: list[bytes] = []

    async def serve(self, stream) -> None:
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        self.asked.append(head)
        if not self.status.startswith(b"200"):
            if self.status:
                await stream.send_all(b"HTTP/1.1 " + self.status + b"\r\nContent-Length: 4\r\n\r\nwhy\n")
            await trio.sleep(1)
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        server = await trio.open_tcp_stream("127.0.0.1" if host == "localhost" else host, int(port))
        answer = b"HTTP/1.1 200 Connected\r\n\r\n"
        try:
            if self.with_answer:
                # An HTTP/2 server speaks first.
                answer += await server.receive_some()
            await stream.send_all(answer[:10])
            await trio.sleep(0.01)
            await stream.send_all(answer[10:])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pass_on, stream, server)
                nursery.start_soon(pass_on, server, stream)
        finally:
            await trio.aclose_forcefully(stream)
            await trio.aclose_forcefully(server)


@pytest.fixture
def proxied(run):
    def proxied(proxy: HttpProxy, work) -> None:
        async def main() -> None:
            async with trio.open_nursery() as nursery:
                listener, *_ = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
                port = listener.socket.getsockname()[1]
                await work(f"{'https' if proxy.tls else 'http'}://ann:secret@localhost:{port}")
                nursery.cancel_scope.cancel()

        run(main)

    return proxied


@pytest.mark.parametrize("proxy_tls", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_a_websocket_opens_by_a_proxy(proxied, http, tls_contexts, tls, proxy_tls):
    async def work(where):
        proxy_ssl = tls_contexts[1] if proxy_tls else None
        async with listening(ssl=tls_contexts[0] if tls else None) as server:
            target = f"wss://localhost:{server.port}/" if tls else url(server)
            ssl = tls_contexts[1] if tls else None
            async with connect(target, http=http, ssl=ssl, proxy=where, proxy_ssl=proxy_ssl) as websocket:
                for message in ("hello", "x" * 200_000):
                    await websocket.send(message)
                    assert await websocket.recv() == message

    proxy = HttpProxy(tls=tls_contexts[0] if proxy_tls else None)
    proxied(proxy, work)
    assert b"Proxy-Authorization: Basic YW5uOnNlY3JldA==" in proxy.asked[0].replace(
        b"proxy-authorization", b"Proxy-Authorization"
    )


def test_what_comes_with_the_answer_of_a_proxy_is_kept(proxied):
    async def talk(stream) -> None:
        """A server that speaks first: its SETTINGS come before the client's."""
        from mintws import Http2, Role

        carrier = Http2(Role.SERVER)
        await stream.send_all(carrier.start())
        while data := await stream.receive_some():
            _, reply = carrier.receive(bytes(data))
            await stream.send_all(reply)

    async def work(where):
        async with trio.open_nursery() as nursery:
            listener, *_ = await nursery.start(partial(trio.serve_tcp, talk, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            async with connect_http2(f"ws://127.0.0.1:{port}", proxy=where) as client:
                assert client.http.can_open
            nursery.cancel_scope.cancel()

    proxied(HttpProxy(with_answer=True), work)


def test_a_refusal_of_a_proxy_has_its_status_and_body(proxied):
    async def work(where):
        with pytest.raises(ProxyError) as refused:
            async with connect("ws://example.invalid/", proxy=where):
                pass
        assert (refused.value.status, refused.value.body) == (407, b"why\n")

    proxied(HttpProxy(status=b"407 Proxy Authentication Required"), work)


def test_a_silent_proxy_is_named(proxied):
    async def work(where):
        with pytest.raises(
            ConnectTimeout, match=r"the answer of the proxy http://localhost:\d+ did not come within 0\.3 s"
        ):
            async with connect("ws://example.invalid/", proxy=where, open_timeout=0.3):
                pass

    proxied(HttpProxy(status=b""), work)


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_a_refusal_whose_body_is_cut_off_is_the_refusal(run, tls_contexts, proxy_tls):
    async def refuse(stream) -> None:
        sock = stream.socket
        if proxy_tls:
            stream = trio.SSLStream(stream, tls_contexts[0], server_side=True, https_compatible=True)
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 100\r\n\r\nhello")
        await trio.sleep(0.2)
        # What closes it resets it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    async def main():
        async with trio.open_nursery() as nursery:
            listener, *_ = await nursery.start(partial(trio.serve_tcp, refuse, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            proxy = f"{'https' if proxy_tls else 'http'}://localhost:{port}"
            with pytest.raises(ProxyError) as refused:
                async with connect("ws://example.invalid/", proxy=proxy, proxy_ssl=tls_contexts[1]):
                    pass
            assert (refused.value.status, refused.value.body) == (407, b"hello")
            nursery.cancel_scope.cancel()

    run(main)


def test_a_tunnel_in_tls_that_ends_without_close_notify_is_named_as_the_cause(proxied, tls_contexts):
    class Cutting(HttpProxy):
        async def serve(self, stream) -> None:
            tls = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
            self.asked.append(await tls.receive_some())
            await tls.send_all(b"HTTP/1.1 200 Connected\r\n\r\n")
            server = await trio.open_tcp_stream("127.0.0.1", target)
            async with server:
                await server.send_all(await tls.receive_some())
                await tls.send_all(await server.receive_some())
                await stream.send_eof()

    async def work(where):
        nonlocal target
        async with listening() as server:
            target = server.port
            async with connect(url(server), proxy=where, proxy_ssl=tls_contexts[1]) as websocket:
                with pytest.raises(ConnectionClosed) as closed:
                    await websocket.recv()
        assert closed.value.code == 1006
        assert isinstance(websocket.ending.error.__cause__, ssl.SSLEOFError)

    target = 0
    proxied(Cutting(tls=tls_contexts[0]), work)


def test_a_stream_that_is_given_with_another_way_is_named(run):
    async def main() -> None:
        stream = trio.testing.memory_stream_pair()[0]
        for way, told in (
            ({"port": 7}, "`sock`, `path` or `stream` is given instead"),
            ({"proxy": "a"}, "`stream` is connected"),
        ):
            with pytest.raises(LocalProtocolError, match=told):
                connect("ws://server.invalid/", stream=stream, **way)

    run(main)
