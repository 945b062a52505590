"""Proxies of clients for threads: CONNECT (RFC 9110 §9.3.6) and SOCKS, with TLS to the proxy and within it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading

import pytest
from drivers.raw import blocking_server
from drivers.test_proxy import OPENED, REFUSAL, VARIABLES, answering, connecting, http_head, proxy, pump, relay, socks
from sync.conftest import SOON, delay, listening, speak_first, until

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    Http1,
    LocalProtocolError,
    ProxyError,
    Role,
    UpgradeAccept,
    UpgradeReject,
)
from mintws.sync import Reconnect, connect, connect_http2


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def proxied(talk, context=None):
    """Serve a proxy on a loop in a thread of its own; give its port."""
    begun = queue.SimpleQueue()

    async def talk_and_close(reader, writer):
        try:
            await talk(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def main():
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        async with proxy(talk_and_close, context) as port:
            begun.put((port, lambda: loop.call_soon_threadsafe(end.set)))
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, end = begun.get(timeout=SOON)
    try:
        yield port
    finally:
        end()
        thread.join(SOON)
    assert not thread.is_alive()


def echoes(opening):
    with opening as websocket:
        for message in ("hello", "x" * 1_000_000):
            websocket.send(message)
            if websocket.recv(SOON) != message:
                return False
    return True


@pytest.fixture(params=["http", "https"])
def outer(request, tls_contexts):
    """The scheme of the proxy, and the TLS contexts of it and of its client."""
    return (request.param, *(tls_contexts if request.param == "https" else (None, None)))


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_websocket_passes_a_proxy(http, outer, tls_contexts, secure):
    scheme, theirs, ours = outer
    server_tls, client_tls = tls_contexts if secure else (None, None)
    heads = []
    with listening(ssl=server_tls) as server, proxied(connecting(server, heads), theirs) as port:
        # A name that only the proxy knows, unless the certificate must have it.
        address = "wss://localhost:7" if secure else "ws://server.invalid:7"
        by = f"{scheme}://ann:secret@localhost:{port}"
        assert echoes(connect(address, http=http, ssl=client_tls, proxy=by, proxy_ssl=ours))
    name = "localhost:7" if secure else "server.invalid:7"
    assert heads == [f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"]


def test_threads_share_a_connection_by_a_proxy(outer, works):
    scheme, theirs, ours = outer
    echoed = []
    with listening() as server, proxied(connecting(server), theirs) as port:
        with connect_http2("ws://server.invalid", proxy=f"{scheme}://localhost:{port}", proxy_ssl=ours) as client:
            for _ in range(4):
                works.begin(lambda: echoed.append(echoes(client.open())))
            works.end()
            assert echoed == [True] * 4
            addresses = [client.open().transport.get_extra_info(name) for name in ("peername", "sockname")]
            assert addresses[0][1] == port != addresses[1][1]


@pytest.mark.parametrize("delayed", [False, True])
def test_what_comes_with_the_answer_of_a_proxy_is_kept(outer, monkeypatch, delayed):
    scheme, theirs, ours = outer
    if delayed:
        delay(monkeypatch)

    async def pass_first(reader, writer, port):
        await http_head(reader)
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        writer.write(OPENED + await theirs.readexactly(9))
        try:
            await asyncio.gather(pump(reader, ours), pump(theirs, writer))
        finally:
            ours.close()
            with contextlib.suppress(OSError):
                await ours.wait_closed()

    with blocking_server(speak_first) as there, proxied(lambda *it: pass_first(*it, there), theirs) as port:
        by = f"{scheme}://localhost:{port}"
        with connect_http2("ws://server.invalid", proxy=by, proxy_ssl=ours, open_timeout=SOON) as client:
            assert client.http.can_open


def refused_by(talk, expected=ProxyError, context=None, **options):
    scheme = "http" if context is None else "https"
    with proxied(talk, context) as port:
        with pytest.raises(expected) as told:
            connect("wss://server.invalid/", proxy=f"{scheme}://ann:secret@localhost:{port}", **options).open()
    assert str(told.value).startswith("cannot connect to server.invalid")
    assert "secret" not in str(told.value)
    return port, told.value


@pytest.mark.parametrize("parts", [(REFUSAL + b"who?",), (REFUSAL[:20], REFUSAL[20:], b"wh", b"o?")], ids=len)
@pytest.mark.parametrize("close", [True, False], ids=["closed", "kept"])
def test_a_refusal_has_status_headers_and_body(outer, parts, close):
    scheme, theirs, ours = outer
    port, error = refused_by(answering(*parts, close=close), context=theirs, proxy_ssl=ours)
    assert (error.status, error.body) == (407, b"who?")
    assert dict(error.headers)["proxy-authenticate"] == "Basic"
    assert f"by the proxy {scheme}://localhost:{port}: the proxy answered 407" in str(error)


@pytest.mark.parametrize("open_timeout", [SOON, 0.9])
def test_the_body_of_a_refusal_is_waited_for_a_second_at_most(open_timeout):
    _, error = refused_by(answering(REFUSAL + b"wh", close=False), open_timeout=open_timeout)
    assert (error.status, error.body) == (407, b"wh")


def test_a_refusal_whose_body_is_cut_has_what_came():
    _, error = refused_by(answering(REFUSAL + b"wh"))
    assert (error.status, error.body) == (407, b"wh")


def test_a_proxy_that_says_nothing_is_named_when_time_is_up(outer):
    scheme, theirs, ours = outer
    talk = answering(close=False)
    port, error = refused_by(talk, ConnectTimeout, context=theirs, proxy_ssl=ours, open_timeout=0.5)
    assert f"the answer of the proxy {scheme}://localhost:{port} did not come within 0.5 s" in str(error)


def test_a_proxy_that_does_not_shake_hands_is_named_when_time_is_up():
    end = threading.Event()
    with blocking_server(lambda sock: end.wait(SOON)) as port:
        with pytest.raises(ConnectTimeout, match=f"the connection to the proxy https://localhost:{port} did not come"):
            connect("ws://server.invalid", proxy=f"https://localhost:{port}", open_timeout=0.2).open()
        end.set()


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\n",)], ids=len)
def test_a_proxy_that_leaves_is_no_server(parts):
    _, error = refused_by(answering(*parts), ConnectError)
    assert "the proxy left without an answer" in str(error)


def test_a_proxy_that_cannot_be_reached_is_named():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectError, match=f"by the proxy http://127.0.0.1:{port}") as told:
        connect("ws://server.invalid", proxy=f"http://127.0.0.1:{port}").open()
    assert isinstance(told.value.__cause__, ConnectionRefusedError)


def test_a_certificate_of_a_proxy_is_checked(tls_contexts):
    _, error = refused_by(answering(), ConnectError, context=tls_contexts[0])
    assert "certificate" in str(error)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_environment_names_the_proxy(http, monkeypatch, tls_contexts, secure):
    server_tls, client_tls = tls_contexts if secure else (None, None)
    heads = []
    with listening(ssl=server_tls) as server, proxied(connecting(server, heads)) as port:
        monkeypatch.setenv("https_proxy" if secure else "http_proxy", f"http://127.0.0.1:{port}")
        address = f"{'wss' if secure else 'ws'}://server.test:7"
        name = "localhost" if secure else None
        assert echoes(connect(address, http=http, ssl=client_tls, server_hostname=name))
        at = {"host": "127.0.0.1", "port": server.port}
        for without in ({}, {"proxy": None}):
            assert echoes(connect(address, http=http, ssl=client_tls, server_hostname=name, **at, **without))
        monkeypatch.setenv("all_proxy", "gopher://proxy.example")
        monkeypatch.delenv("https_proxy" if secure else "http_proxy")
        with pytest.raises(LocalProtocolError, match="all_proxy"):
            connect(address, http=http, ssl=client_tls).open()
    assert len(heads) == 1


@pytest.mark.parametrize("wrong", ["gopher://proxy", "http://", "http://a:b:c", 1, True])
def test_a_wrong_proxy_is_refused_where_it_is_given(wrong):
    for call in (connect, connect_http2):
        with pytest.raises((LocalProtocolError, TypeError), match="proxy"):
            call("ws://server.test", proxy=wrong)


def test_redirects_pass_the_proxy_too(http):
    heads = []
    redirect = UpgradeReject(302, headers={"Location": "ws://second.invalid/"})
    hook = lambda connection, request: redirect if request.host == "first.invalid" else None  # noqa: E731
    with listening(upgrade=hook) as server, proxied(connecting(server, heads)) as port:
        assert echoes(connect("ws://first.invalid/", http=http, proxy=f"http://127.0.0.1:{port}"))
    assert [head.split()[1] for head in heads] == ["first.invalid:80", "second.invalid:80"]


@pytest.mark.parametrize(("status", "tries"), [(502, 2), (407, 1)])
def test_a_refusal_of_a_proxy_that_may_pass_is_tried_again(status, tries):
    count = []

    async def talk(reader, writer):
        await http_head(reader)
        count.append(1)
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % (status if len(count) < 2 else 403))

    with proxied(talk) as port:
        by = f"http://127.0.0.1:{port}"
        with pytest.raises(ProxyError):
            next(iter(connect("ws://server.invalid", proxy=by, reconnect=Reconnect(first=0.01))))
    assert len(count) == tries


@pytest.mark.parametrize(
    ("scheme", "address"),
    [("socks5h", b"localhost"), ("socks5", None), ("socks4a", b"localhost"), ("socks4", b"\x7f\x00\x00\x01")],
)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_socks_proxies_resolve_names_or_do_not(http, tls_contexts, scheme, address, secure):
    server_tls, client_tls = tls_contexts if secure else (None, None)
    asked = []
    with listening(ssl=server_tls) as server, proxied(socks(int(scheme[5]), server, asked)) as port:
        target = f"{'wss' if secure else 'ws'}://localhost:{server.port}"
        assert echoes(connect(target, http=http, ssl=client_tls, proxy=f"{scheme}://127.0.0.1:{port}"))
    assert asked == [address] or (address is None and asked[0] in (b"\x7f\x00\x00\x01", bytes(15) + b"\x01"))


def test_a_name_that_the_client_cannot_resolve_for_a_proxy_is_told():
    with pytest.raises(ConnectError, match=r"server\.invalid by the proxy"):
        connect("ws://server.invalid", proxy="socks5://127.0.0.1:9").open()


def test_a_proxy_that_is_lost_ends_the_websocket(http, outer):
    scheme, theirs, ours = outer
    writers = []

    async def talk(reader, writer):
        writers.append((writer, asyncio.get_running_loop()))
        await http_head(reader)
        await relay(server.port, reader, writer, OPENED)

    with listening() as server, proxied(talk, theirs) as port:
        by = f"{scheme}://localhost:{port}"
        websocket = connect("ws://server.invalid", http=http, proxy=by, proxy_ssl=ours).open()
        [(writer, loop)] = writers
        loop.call_soon_threadsafe(writer.transport.abort)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(SOON)
        assert closed.value.code == 1006


def test_a_proxy_that_takes_nothing_holds_back_who_sends(outer, tls_contexts):
    """What waits for it is bounded, and is left when the WebSocket ends."""
    scheme, theirs, ours = outer
    end = threading.Event()

    async def talk(reader, writer):
        await http_head(reader)
        carrier = Http1(Role.SERVER)
        writer.write(OPENED)
        reply, events = b"", []
        while not events:
            events, reply = carrier.receive(await reader.read(65536))
        writer.write(reply + events[0][0].send(UpgradeAccept()))
        writer.transport.pause_reading()
        await asyncio.to_thread(end.wait, SOON)

    with proxied(talk, theirs) as port:
        by = f"{scheme}://localhost:{port}"
        opening = connect("ws://server.invalid", proxy=by, proxy_ssl=ours, close_timeout=0.2, extensions=())
        websocket = opening.open()
        with pytest.raises(TimeoutError):
            send_much(websocket)
        websocket.close()
        assert websocket.close_code == 1006
        until(lambda: not [it for it in threading.enumerate() if it.name == "mintws"])
        end.set()


def send_much(websocket):
    for _ in range(200):
        websocket.send(b"x" * (1 << 20), timeout=0.3)
