"""Proxies that answer in all ways, over sockets: CONNECT (RFC 9110 §9.3.6) and SOCKS, with TLS to the proxy and within it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
import trustme
from drivers.conftest import listening

from mintws import (
    Close,
    ConnectError,
    ConnectTimeout,
    Http2,
    LocalProtocolError,
    ProxyError,
    RemoteProtocolError,
    Role,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import Reconnect, connect, connect_http2

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"
VARIABLES = [case(f"{name}_proxy") for name in ("http", "https", "all", "no") for case in (str.lower, str.upper)]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def http_head(reader):
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def relay(port, reader, writer, answer):
    """Connect to a server, answer the client, and let all pass that comes."""
    theirs, ours = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(answer)
        await asyncio.gather(pump(reader, ours), pump(theirs, writer))
    finally:
        ours.close()
        with contextlib.suppress(OSError):
            await ours.wait_closed()


@contextlib.asynccontextmanager
async def proxy(talk, context=None):
    """Serve a proxy that handles each client by a coroutine function; give its port."""
    serving = set()

    async def serve_one(reader, writer):
        task = asyncio.current_task()
        serving.add(task)
        # Python 3.11 logs tasks of clients that were cancelled.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def connecting(server, heads=None, answer=OPENED):
    """Make a proxy that connects to one server, whatever it is asked for, and notes what that was."""

    async def talk(reader, writer):
        head = await http_head(reader)
        if heads is not None:
            heads.append(head)
        await relay(server.port, reader, writer, answer)

    return talk


def answering(*parts, close=True):
    """Make a proxy that answers with these parts, and then closes or says nothing more."""

    async def talk(reader, writer):
        await http_head(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        if not close:
            await reader.read()

    return talk


async def echoes(opening):
    async with opening as websocket:
        await websocket.send("hello")
        return await websocket.recv() == "hello"


@pytest.fixture(params=["http", "https"])
def outer(request, tls_contexts):
    """The scheme of the proxy, and the TLS contexts of it and of its client."""
    if request.param == "http":
        return "http", None, None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return "https", server, client


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_a_websocket_passes_a_proxy(run, http, outer, tls_contexts, secure):
    scheme, theirs, ours = outer
    server_tls, client_tls = tls_contexts if secure else (None, None)
    heads = []

    async def work():
        async with listening(ssl=server_tls) as server, proxy(connecting(server, heads), theirs) as port:
            # A name that only the proxy knows, unless the certificate must have it.
            address = "wss://localhost:7" if secure else "ws://server.invalid:7"
            by = f"{scheme}://ann:secret@localhost:{port}"
            assert await echoes(connect(address, http=http, ssl=client_tls, proxy=by, proxy_ssl=ours))

    run(work())
    name = "localhost:7" if secure else "server.invalid:7"
    assert heads == [f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"]


def test_many_websockets_pass_a_proxy_on_one_connection(run):
    heads = []

    async def work():
        async with listening() as server, proxy(connecting(server, heads)) as port:
            async with connect_http2("ws://server.invalid", proxy=f"http://127.0.0.1:{port}") as client:
                assert all([await echoes(await client.open()) for _ in range(3)])

    run(work())
    assert len(heads) == 1


def test_the_arguments_of_an_address_are_those_of_the_server(run):
    heads = []

    async def work():
        async with listening() as server, proxy(connecting(server, heads)) as port:
            by = f"http://127.0.0.1:{port}"
            opening = connect(
                "ws://server.invalid", host="other.invalid", port=9, proxy=by, local_addr=("127.0.0.1", 0)
            )
            assert await echoes(opening)

    run(work())
    assert heads[0].startswith("CONNECT other.invalid:9 ")


async def answer_at_once(reader, writer):
    """Serve a WebSocket over HTTP/2, with SETTINGS that do not wait for the client's preface."""
    carrier = Http2(Role.SERVER)
    writer.write(carrier.start())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            events, reply = carrier.receive(data)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    reply += connection.send(UpgradeAccept())
                elif isinstance(event, (Text, Close)):
                    reply += connection.send(event)
            writer.write(reply + carrier.proceed()[1])
    writer.close()


@pytest.mark.parametrize("early", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_bytes_before_the_request_are_named_as_the_cause(run, early):
    async def work():
        async with proxy(answering(OPENED + early, close=False)) as port:
            with pytest.raises(ConnectError, match="bytes came that answer no request") as told:
                await connect("ws://server.invalid", http="1.1", proxy=f"http://127.0.0.1:{port}")
            assert isinstance(told.value.__cause__, RemoteProtocolError)

    run(work())


@pytest.mark.parametrize("pieces", [1, 5, 1000])
def test_an_answer_in_pieces_is_one_and_the_servers_first_bytes_may_come_with_it(run, pieces):
    async def talk(reader, writer, port):
        await http_head(reader)
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        data = OPENED + await theirs.readexactly(9)
        step = max(1, len(data) // pieces)
        for at in range(0, len(data), step):
            writer.write(data[at : at + step])
            await writer.drain()
            await asyncio.sleep(0.001)
        try:
            await asyncio.gather(pump(reader, ours), pump(theirs, writer))
        finally:
            ours.close()

    async def work():
        async with await asyncio.start_server(answer_at_once, "127.0.0.1", 0) as server:
            there = server.sockets[0].getsockname()[1]
            async with proxy(lambda reader, writer: talk(reader, writer, there)) as port:
                assert await echoes(connect("ws://server.invalid", http="2", proxy=f"http://127.0.0.1:{port}"))

    run(work())


def refused_by(run, talk, expected=ProxyError, **options):
    async def work():
        async with proxy(talk) as port:
            with pytest.raises(expected) as told:
                await connect("wss://server.invalid/", proxy=f"http://ann:secret@127.0.0.1:{port}", **options)
            return port, told.value

    port, error = run(work())
    assert str(error).startswith("cannot connect to server.invalid")
    assert "secret" not in str(error)
    return port, error


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize("parts", [(REFUSAL + b"who?",), (REFUSAL[:20], REFUSAL[20:], b"wh", b"o?")], ids=len)
@pytest.mark.parametrize("close", [True, False], ids=["closed", "kept"])
def test_a_refusal_has_status_headers_and_body(run, parts, close):
    port, error = refused_by(run, answering(*parts, close=close))
    assert (error.status, error.body) == (407, b"who?")
    assert dict(error.headers)["proxy-authenticate"] == "Basic"
    assert f"by the proxy http://127.0.0.1:{port}: the proxy answered 407 Proxy Authentication Required" in str(error)


def test_the_body_of_a_refusal_is_waited_for_a_second(run):
    _, error = refused_by(run, answering(REFUSAL + b"wh", close=False))
    assert (error.status, error.body) == (407, b"wh")


def test_a_refusal_whose_body_does_not_come_in_time_is_told_all_the_same(run):
    _, error = refused_by(run, answering(REFUSAL + b"wh", close=False), open_timeout=0.9)
    assert (error.status, error.body) == (407, b"wh")


def test_a_refusal_whose_body_is_cut_has_what_came(run):
    _, error = refused_by(run, answering(REFUSAL + b"wh"))
    assert (error.status, error.body) == (407, b"wh")


def test_a_proxy_that_says_nothing_is_named_when_time_is_up(run):
    port, error = refused_by(run, answering(close=False), ConnectTimeout, open_timeout=1)
    assert f"the answer of the proxy http://127.0.0.1:{port} did not come" in str(error)


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\n",)], ids=len)
def test_a_proxy_that_leaves_is_no_server(run, parts):
    _, error = refused_by(run, answering(*parts), ConnectError)
    assert isinstance(error.__cause__, RemoteProtocolError)
    assert error.__cause__.code == 1006
    assert "left without an answer" in str(error)


def test_what_is_no_proxy_is_told(run):
    _, error = refused_by(run, answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ConnectError)
    assert isinstance(error.__cause__, RemoteProtocolError)
    assert "no HTTP" in str(error)


def test_a_proxy_that_cannot_be_reached_is_named(run):
    async def work():
        with pytest.raises(ConnectError, match=r"by the proxy http://127\.0\.0\.1:9: ") as told:
            await connect("ws://server.invalid/", proxy="http://127.0.0.1:9")
        assert isinstance(told.value.__cause__, ConnectionRefusedError)

    run(work())


def test_a_certificate_of_a_proxy_is_checked(run, outer):
    _, theirs, _ = outer
    if theirs is None:
        return

    async def work():
        async with listening() as server, proxy(connecting(server), theirs) as port:
            with pytest.raises(ConnectError, match="certificate") as told:
                await connect("ws://server.invalid/", proxy=f"https://localhost:{port}")
            assert isinstance(told.value.__cause__, ssl.SSLCertVerificationError)

    run(work())


def test_a_client_that_is_cancelled_leaves_no_transport(run):
    gone = []

    async def work():
        asked = asyncio.Event()

        async def talk(reader, writer):
            await http_head(reader)
            asked.set()
            gone.append(await reader.read())

        async with proxy(talk) as port:
            task = asyncio.ensure_future(_open("ws://server.invalid/", proxy=f"http://127.0.0.1:{port}"))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(500):
                if gone:
                    break
                await asyncio.sleep(0.01)

    run(work())
    assert gone == [b""]


async def _open(*args, **options):
    return await connect(*args, **options)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_environment_names_the_proxy(run, http, monkeypatch, tls_contexts, secure):
    server_tls, client_tls = tls_contexts if secure else (None, None)
    heads = []

    async def work():
        async with listening(ssl=server_tls) as server, proxy(connecting(server, heads)) as port:
            monkeypatch.setenv("https_proxy" if secure else "http_proxy", f"http://127.0.0.1:{port}")
            address = f"{'wss' if secure else 'ws'}://server.test:7"
            assert await echoes(
                connect(address, http=http, ssl=client_tls, server_hostname="localhost" if secure else None)
            )
            for without in ({"proxy": None}, {"host": "127.0.0.1", "port": server.port}):
                with contextlib.suppress(OSError):
                    await echoes(connect(address, http=http, ssl=client_tls, open_timeout=5, **without))
            monkeypatch.setenv("no_proxy", ".test")
            with pytest.raises(ConnectError):
                await connect(address, http=http, ssl=client_tls)

    run(work())
    assert len(heads) == 1


def test_a_wrong_environment_is_told_and_not_passed_over(run, monkeypatch):
    monkeypatch.setenv("all_proxy", "gopher://proxy.example")

    async def work():
        with pytest.raises(LocalProtocolError, match="all_proxy"):
            await connect("ws://server.test")

    run(work())


@pytest.mark.parametrize("wrong", ["gopher://proxy", "http://", "http://a:b:c", 1, True])
def test_a_wrong_proxy_is_refused_where_it_is_given(wrong):
    for call in (connect, connect_http2):
        with pytest.raises((LocalProtocolError, TypeError), match="proxy"):
            call("ws://server.test", proxy=wrong)


def test_what_is_connected_already_has_no_proxy(run, tmp_path, monkeypatch):
    with pytest.raises(LocalProtocolError, match="`path`"):
        connect("ws://server.test", path=str(tmp_path / "socket"), proxy="http://proxy.example")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")

    async def work():
        with pytest.raises(ConnectError) as told:
            await connect("ws://server.test", path=str(tmp_path / "socket"))
        assert isinstance(told.value.__cause__, FileNotFoundError)

    run(work())


def test_redirects_pass_the_proxy_too(run, http):
    heads = []

    async def work():
        hook = lambda connection, request: (  # noqa: E731
            UpgradeReject(302, headers={"Location": "ws://second.invalid/"})
            if request.host == "first.invalid"
            else None
        )
        async with listening(upgrade=hook) as server, proxy(connecting(server, heads)) as port:
            assert await echoes(connect("ws://first.invalid/", http=http, proxy=f"http://127.0.0.1:{port}"))

    run(work())
    assert [head.split()[1] for head in heads] == ["first.invalid:80", "second.invalid:80"]


@pytest.mark.parametrize(("status", "tries"), [(502, 2), (503, 2), (407, 1), (403, 1)])
def test_a_refusal_of_a_proxy_that_may_pass_is_tried_again(run, status, tries):
    count = []

    async def talk(reader, writer):
        await http_head(reader)
        count.append(1)
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % (status if len(count) < 2 else 403))

    async def work():
        async with proxy(talk) as port:
            by = f"http://127.0.0.1:{port}"
            with pytest.raises(ProxyError):
                await anext(aiter(connect("ws://server.invalid", proxy=by, reconnect=Reconnect(first=0.01))))

    run(work())
    assert len(count) == tries


def socks(version, server, asked):
    """Make a SOCKS proxy that connects to one server, and notes the address it was asked for."""

    async def talk(reader, writer):
        if version == 5:
            _, count = await reader.readexactly(2)
            await reader.readexactly(count)
            writer.write(b"\x05\x00")
            *_, kind = await reader.readexactly(4)
            size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
            asked.append(await reader.readexactly(size))
            await reader.readexactly(2)
            answer = b"\x05\x00\x00\x01" + bytes(6)
        else:
            address = (await reader.readexactly(8))[4:]
            await reader.readuntil(b"\x00")
            if address[:3] == bytes(3):
                address = (await reader.readuntil(b"\x00"))[:-1]
            asked.append(address)
            answer = b"\x00\x5a" + bytes(6)
        await relay(server.port, reader, writer, answer)

    return talk


@pytest.mark.parametrize(
    ("scheme", "address"),
    [("socks5h", b"localhost"), ("socks5", None), ("socks4a", b"localhost"), ("socks4", b"\x7f\x00\x00\x01")],
)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_socks_proxies_resolve_names_or_do_not(run, http, tls_contexts, scheme, address, secure):
    server_tls, client_tls = tls_contexts if secure else (None, None)
    asked = []

    async def work():
        async with listening(ssl=server_tls) as server, proxy(socks(int(scheme[5]), server, asked)) as port:
            target = f"{'wss' if secure else 'ws'}://localhost:{server.port}"
            assert await echoes(connect(target, http=http, ssl=client_tls, proxy=f"{scheme}://127.0.0.1:{port}"))

    run(work())
    assert asked == [address] or (address is None and asked[0] in (b"\x7f\x00\x00\x01", bytes(15) + b"\x01"))


def test_a_name_that_the_client_cannot_resolve_for_a_proxy_is_told(run):
    async def work():
        with pytest.raises(ConnectError, match=r"server\.invalid by the proxy"):
            await connect("ws://server.invalid", proxy="socks5://127.0.0.1:9")

    run(work())


def test_a_refusal_of_a_socks_proxy_has_its_reply(run):
    async def talk(reader, writer):
        await reader.readexactly(3)
        writer.write(b"\x05\x00")
        await reader.readexactly(4)
        writer.write(b"\x05\x05\x00\x01" + bytes(6))

    async def work():
        async with proxy(talk) as port:
            with pytest.raises(ProxyError, match="refused") as told:
                await connect("ws://server.invalid", proxy=f"socks5h://127.0.0.1:{port}")
            assert told.value.status == 5

    run(work())
