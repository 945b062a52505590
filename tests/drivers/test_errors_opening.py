"""Why no WebSocket was opened: one class of errors for all that can go wrong, with the error beneath and what was waited for."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import socket
import ssl
import sys
import time

import pytest
import trustme
from drivers.conftest import echo, listening, url
from drivers.raw import blocking_server, full_unix_socket, open_by_hand, reset, silent_server
from wire import RST_STREAM, h2_frame

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    Http1,
    Http2,
    LocalProtocolError,
    Role,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import connect, connect_http2, serve
from mintws.events import Response
from mintws.session import REFUSAL_WAIT, Timeouts


def opened(address, how, **options):
    """Begin to connect: a WebSocket over a version of HTTP, or an HTTP/2 connection for many."""
    return connect_http2(address, **options) if how == "many" else connect(address, http=how, **options)


async def failure(opening):
    with pytest.raises(ConnectError) as failed:
        await opening
    assert isinstance(failed.value, OSError)
    assert "closed with" not in str(failed.value)
    return failed.value


def carrier_of(how):
    return Http1(Role.SERVER) if how == "1.1" else Http2(Role.SERVER)


@pytest.fixture(params=["1.1", "2", "many"])
def how(request):
    return request.param


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def named(authority, *names, **options):
    """Make the context of a server whose certificate has these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **options).configure_cert(context)
    return context


def test_a_port_that_nobody_listens_on_is_told_with_its_errno(run, how):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = run(failure(opened(f"ws://127.0.0.1:{port}", how)))
    assert error.errno == errno.ECONNREFUSED
    assert isinstance(error.__cause__, ConnectionRefusedError)
    assert f"cannot connect to 127.0.0.1:{port}: " in str(error)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_a_path_that_is_no_socket_is_told_with_its_errno(run, how, tmp_path):
    error = run(failure(opened("ws://localhost", how, path=str(tmp_path / "none"))))
    assert error.errno == errno.ENOENT
    assert isinstance(error.__cause__, FileNotFoundError)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a connection that has no room")
def test_a_unix_socket_without_room_is_tried_until_it_has_some(run, tmp_path):
    path = str(tmp_path / "socket")

    async def work():
        with full_unix_socket(path) as unix:
            with pytest.raises(ConnectTimeout, match=r"the connection did not come within 0\.1 s"):
                await connect("ws://localhost/", path=path, open_timeout=0.1)
            opening = asyncio.ensure_future(connect("ws://localhost/", path=path))
            await asyncio.sleep(0.1)
            async with serve(echo, sock=unix), await opening as websocket:
                await websocket.send("there is room")
                assert await websocket.recv() == "there is room"

    run(work())


@pytest.mark.parametrize("by", ["address", "sock"])
@pytest.mark.parametrize(
    ("wrong", "says"), [("name", "Hostname mismatch"), ("issuer", "unable to get local issuer"), ("time", "expired")]
)
def test_a_certificate_that_is_not_trusted_is_the_cause(run, authority, trusting, how, wrong, says, by):
    yesterday = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
    issuer = trustme.CA() if wrong == "issuer" else authority
    context = named(issuer, "localhost", **({"not_after": yesterday} if wrong == "time" else {}))
    name = "elsewhere.example" if wrong == "name" else "localhost"
    with blocking_server(lambda sock: sock.recv(1), context) as port:
        options = {"host": "127.0.0.1"} if by == "address" else {"sock": socket.create_connection(("127.0.0.1", port))}
        error = run(failure(opened(f"wss://localhost:{port}", how, server_hostname=name, ssl=trusting, **options)))
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    with pytest.raises(ssl.SSLCertVerificationError, match=says):
        raise error.__cause__
    assert error.__cause__.verify_message in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_that_the_server_wants_of_the_client_is_the_cause(run, authority, trusting, how, version):
    # With TLS 1.3 the alert comes when the client's handshake is done.
    context = named(authority, "localhost")
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    context.set_alpn_protocols(["http/1.1" if how == "1.1" else "h2"])
    with blocking_server(lambda sock: None, context) as port:
        error = run(failure(opened(f"wss://localhost:{port}", how, host="127.0.0.1", ssl=trusting)))
    # The client may find that the server is gone before it has read the alert.
    assert isinstance(error.__cause__, OSError)
    if isinstance(error.__cause__, ssl.SSLError):
        assert "ALERT" in error.__cause__.reason
        assert "alert" in str(error).lower()
    else:
        assert isinstance(error.__cause__, ConnectionError)


def test_a_reset_before_the_answer_is_the_cause(run, how):
    def talk(sock):
        sock.recv(65536)
        reset(sock)

    with blocking_server(talk) as port:
        error = run(failure(opened(f"ws://127.0.0.1:{port}", how)))
    assert isinstance(error.__cause__, ConnectionResetError)
    assert error.errno == errno.ECONNRESET


def test_an_end_before_the_answer_is_told(run, http):
    def talk(sock):
        carrier = carrier_of(http)
        sock.sendall(carrier.start())
        while not any(isinstance(event, UpgradeRequest) for _, event in carrier.receive(sock.recv(65536))[0]):
            pass

    with blocking_server(talk) as port:
        error = run(failure(opened(f"ws://127.0.0.1:{port}", http)))
    assert error.errno is None
    assert "without" in str(error)


def test_an_end_before_anything_is_told_alike_over_both_versions(run, how):
    with blocking_server(lambda sock: sock.recv(65536)) as port:
        error = run(failure(opened(f"ws://127.0.0.1:{port}", how)))
    assert str(error) == f"cannot connect to 127.0.0.1:{port}: the server closed the connection without an answer"


def test_an_answer_that_breaks_a_rule_is_the_cause(run, http):
    def talk(sock):
        carrier = carrier_of(http)
        sock.sendall(carrier.start())
        while True:
            for connection, event in carrier.receive(sock.recv(65536))[0]:
                if isinstance(event, UpgradeRequest):
                    if http == "1.1":
                        # Without Sec-WebSocket-Accept.
                        sock.sendall(b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                    else:
                        headers = ((":status", "200"), ("sec-websocket-protocol", "unasked"))
                        connection.carrier.respond(headers, None)
                        sock.sendall(carrier.h2.data_to_send())
                    sock.recv(65536)
                    return

    with blocking_server(talk) as port:
        error = run(failure(opened(f"ws://127.0.0.1:{port}", http)))
    assert error.__cause__.section == "RFC 6455 §4.1"
    assert error.__cause__.section in str(error)


# What was waited for.


def is_timeout(error, *says):
    assert isinstance(error, ConnectTimeout)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, asyncio.TimeoutError)
    for part in (*says, "within 0.3 s (`open_timeout`)"):
        assert part in str(error)


def test_a_timeout_of_tcp_says_so(run, how):
    # The queue of a listener that accepts nobody is full at last.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        error = run(failure(opened(f"ws://127.0.0.1:{listener.getsockname()[1]}", how, open_timeout=0.3)))
        for sock in waiting:
            sock.close()
    is_timeout(error, "the TCP connection did not come")


def test_a_timeout_of_tls_says_so(run, how, trusting):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"wss://localhost:{listener.getsockname()[1]}"
        error = run(failure(opened(address, how, host="127.0.0.1", ssl=trusting, open_timeout=0.3)))
    is_timeout(error, "the end of the TLS handshake did not come")


def test_a_timeout_of_the_answer_or_of_settings_says_so(run, how):
    async def work():
        async with silent_server(accept=False) as address:
            return await failure(opened(address, how, open_timeout=0.3))

    is_timeout(run(work()), "the server's answer" if how == "1.1" else "the server's SETTINGS")


def impatient(client):
    """Let a client that is connected wait no longer."""
    client._protocol.timeouts = Timeouts(0.3, 0.1, None, None)


def test_a_timeout_of_a_free_stream_says_so(run):
    def talk(sock):
        carrier = Http2(Role.SERVER, max_concurrent_streams=1)
        open_by_hand(sock, carrier)
        while data := sock.recv(65536):
            sock.sendall(carrier.receive(data)[1])

    async def work(port):
        async with connect_http2(f"ws://127.0.0.1:{port}", close_timeout=0.1) as client:
            await client.open("/")
            impatient(client)
            return await failure(client.open("/"))

    with blocking_server(talk) as port:
        is_timeout(run(work(port)), "a free stream")


def test_a_timeout_of_the_answer_on_a_stream_says_so(run):
    def talk(sock):
        carrier = Http2(Role.SERVER)
        sock.sendall(carrier.start())
        while data := sock.recv(65536):
            sock.sendall(carrier.receive(data)[1])

    async def work(port):
        async with connect_http2(f"ws://127.0.0.1:{port}") as client:
            impatient(client)
            return await failure(client.open("/"))

    with blocking_server(talk) as port:
        is_timeout(run(work(port)), "the server's answer")


# Refusals.


def refusing(status, *, headers=(), body=b""):
    return lambda connection, request: UpgradeReject(status, headers=headers, body=body)


def test_a_refusal_says_all_that_one_looks_for(run, http):
    headers = [("Location", "/elsewhere"), ("Retry-After", "120"), ("Set-Cookie", "secret=1")]
    body = b"<h1>busy</h1>\r\n\x1b[31m" + b"come again " * 100

    async def work():
        async with listening(upgrade=refusing(503, headers=headers, body=body)) as server:
            if http == "1.1":
                return await failure(connect(url(server)))
            async with connect_http2(url(server)) as client:
                return await failure(client.open("/"))

    error = run(work())
    assert isinstance(error, UpgradeError)
    assert (error.status, error.body) == (503, body)
    said = str(error)
    assert said.startswith("the server answered 503 Service Unavailable and opened no WebSocket")
    assert "(Location: /elsewhere, Retry-After: 120): <h1>busy</h1> " in said
    assert said.isprintable()
    assert len(said) < 400
    assert "secret" not in said


def test_a_status_without_a_name_is_told(run):
    async def work():
        async with listening(upgrade=refusing(599)) as server:
            return await failure(connect(url(server)))

    assert str(run(work())) == "the server answered 599 and opened no WebSocket"


def test_content_that_is_encoded_is_not_shown():
    assert str(UpgradeError(403, (("content-encoding", "gzip"),), b"\x1f\x8b")).endswith("opened no WebSocket")


ENDLESS = {
    "until the end": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\nbusy",
    "by length": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 100\r\n\r\nbusy",
    "in chunks": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n",
    "no body yet": b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n",
}


def endless(how, rest=b"", wait=0.0):
    """Answer with a refusal whose body does not end, or ends with `rest` after a while."""

    def talk(sock):
        if how in ENDLESS:
            sock.recv(65536)
            sock.sendall(ENDLESS[how])
        else:
            carrier = Http2(Role.SERVER)
            sock.sendall(carrier.start())
            asked = None
            while asked is None:
                events, reply = carrier.receive(sock.recv(65536))
                sock.sendall(reply)
                asked = next((it for it, event in events if isinstance(event, UpgradeRequest)), None)
            stream = asked.carrier
            head = ((":status", "503"), ("retry-after", "5"))
            stream.respond(head, None)
            sock.sendall(stream.send_data(b"busy"))
        if rest:
            time.sleep(wait)
            sock.sendall(rest)
        while sock.recv(65536):
            pass

    return talk


@pytest.mark.parametrize("body", [*ENDLESS, "on a stream"])
@pytest.mark.parametrize("timeout", [0.3, None])
def test_a_refusal_whose_body_does_not_end_is_told(run, body, timeout):
    async def work(port):
        begun = asyncio.get_running_loop().time()
        address = f"ws://127.0.0.1:{port}"
        error = await failure(connect(address, http="2" if body == "on a stream" else "1.1", open_timeout=timeout))
        return error, asyncio.get_running_loop().time() - begun

    with blocking_server(endless(body)) as port:
        error, took = run(work(port))
    assert isinstance(error, UpgradeError)
    assert (error.status, error.body) == (503, b"" if body == "no body yet" else b"busy")
    assert "Retry-After: 5" in str(error)
    assert took < (timeout or REFUSAL_WAIT) + 4


def test_a_refusal_on_one_of_many_streams_leaves_the_others(run):
    async def work(port):
        async with connect_http2(f"ws://127.0.0.1:{port}", close_timeout=0.1) as client:
            error = await failure(client.open("/"))
            assert not client._protocol.lost and not client._protocol._session._refused_at
            assert not client.http._streams
            return error

    with blocking_server(endless("on a stream")) as port:
        assert run(work(port)).status == 503


def test_the_body_of_a_refusal_may_come_after_its_head(run):
    async def work(port):
        return await failure(connect(f"ws://127.0.0.1:{port}"))

    with blocking_server(endless("by length", rest=b"x" * 96, wait=0.2)) as port:
        assert run(work(port)).body == b"busy" + b"x" * 96


def test_a_refusal_over_http2_whose_body_does_not_end_is_asked_again_over_http_1_1(run, authority, trusting):
    context = named(authority, "localhost")
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen = []

    def talk(sock):
        chosen.append(sock.selected_alpn_protocol())
        if chosen[-1] == "http/1.1":
            open_by_hand(sock, Http1(Role.SERVER))
            sock.recv(65536)
            return
        carrier = Http2(Role.SERVER)
        sock.sendall(carrier.start())
        while True:
            for connection, event in carrier.receive(sock.recv(65536))[0]:
                if isinstance(event, UpgradeRequest):
                    connection.carrier.respond(((":status", "501"),), None)
                    sock.sendall(carrier.h2.data_to_send())
                    while sock.recv(65536):
                        pass
                    return

    async def work(port):
        address = f"wss://localhost:{port}"
        websocket = await connect(address, host="127.0.0.1", ssl=trusting, close_timeout=0.1)
        assert websocket.http_version == "1.1"
        websocket.transport.abort()

    with blocking_server(talk, context) as port:
        run(work(port))
    assert chosen == ["h2", "http/1.1"]


def test_a_server_without_extended_connect_is_both_kinds_of_error(run):
    def talk(sock):
        carrier = Http2(Role.SERVER, enable_connect=False)
        sock.sendall(carrier.start())
        while data := sock.recv(65536):
            sock.sendall(carrier.receive(data)[1])

    with blocking_server(talk) as port:
        error = run(failure(connect(f"ws://127.0.0.1:{port}", http="2")))
    assert isinstance(error, ExtendedConnectDisabled)
    assert isinstance(error, LocalProtocolError)


# Ordinary requests, which open nothing.


def test_a_request_whose_stream_is_reset_says_with_which_code(run):
    def talk(sock):
        carrier = Http2(Role.SERVER)
        sock.sendall(carrier.start())
        while data := sock.recv(65536):
            events, reply = carrier.receive(data)
            sock.sendall(reply)
            if any(type(event).__name__ == "RequestStarted" for _, event in events):
                sock.sendall(h2_frame(RST_STREAM, 0, 1, (11).to_bytes(4, "big")))

    async def work(port):
        async with connect_http2(f"ws://127.0.0.1:{port}", close_timeout=0.1) as client:
            with pytest.raises(ConnectionClosed, match="ENHANCE_YOUR_CALM"):
                await client.request("GET", "/")

    with blocking_server(talk) as port:
        run(work(port))


def test_a_request_that_a_reset_of_tcp_ends_has_it_as_its_cause(run):
    async def work():
        async def respond(request):
            reset_soon()
            await asyncio.sleep(10)
            return Response(200)

        def reset_soon():
            (protocol,) = server._protocols
            raw = protocol.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            protocol.transport.abort()

        async with listening(respond=respond, close_timeout=0.1) as server:
            async with connect_http2(url(server)) as client:
                with pytest.raises(ConnectionClosed) as closed:
                    await client.request("GET", "/")
                assert isinstance(closed.value.__cause__, ConnectionResetError)
                assert "reset" in str(closed.value)
                error = await failure(client.request("GET", "/"))
                assert isinstance(error.__cause__, ConnectionResetError)
                assert isinstance((await failure(client.open())).__cause__, ConnectionResetError)

    run(work())
