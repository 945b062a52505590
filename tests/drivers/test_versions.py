"""Which versions of HTTP `connect` tries under `http="auto"`, and what it remembers of a server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl

import pytest
from drivers.conftest import echo, listening

from mintws import (
    Close,
    ConnectError,
    ExtendedConnectDisabled,
    Http1,
    Http2,
    Role,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import connect, connector
from mintws.session import HTTP1_LIFETIME, HTTP1_ORIGINS, Http1Origins, VersionChoice

#: Statuses of a server that may take an Upgrade, with the headers that they come with.
PASSED_OVER = [(status, ()) for status in (400, 405, 421, 426, 501, 502, 503, 504, 505)]
#: Statuses that HTTP/1.1 would not change.
FINAL = [*((status, ()) for status in (200, 301, 401, 403, 404, 429, 500)), (503, (("Retry-After", "120"),))]


def refused(status, headers=()):
    return UpgradeError(status, tuple(headers), b"")


class Opening:
    """One opening of "the origin" after another, on a clock that is moved by hand."""

    def __init__(self):
        self.learnt = Http1Origins()
        self.now = 1000.0

    def begin(self, asked="auto", origin="the origin", attempts=2):
        return VersionChoice(asked, origin, self.learnt, attempts, self.now)

    def fall_back(self, **options):
        choice = self.begin(**options)
        assert choice.version == "auto"
        assert choice.failed(self.now, refused(502), http2=True)
        assert choice.version == "1.1"
        return choice


@pytest.mark.parametrize(("status", "headers"), PASSED_OVER)
def test_a_refusal_that_may_be_of_the_version_is_tried_over_the_other(status, headers):
    choice = Opening().begin()
    assert choice.failed(1000.0, refused(status, headers), http2=True)
    assert choice.version == "1.1"
    # Once.
    assert not choice.failed(1000.0, refused(status, headers), http2=False)


@pytest.mark.parametrize(("status", "headers"), FINAL)
def test_a_refusal_that_is_of_the_server_is_final(status, headers):
    assert not Opening().begin().failed(1000.0, refused(status, headers), http2=True)


@pytest.mark.parametrize("asked", ["1.1", "2"])
def test_a_version_that_was_asked_for_is_the_only_one(asked):
    opening = Opening()
    opening.fall_back().opened(opening.now)
    choice = opening.begin(asked)
    assert choice.version == asked
    for error in (refused(502), ConnectError("reset"), ExtendedConnectDisabled("no")):
        assert not choice.failed(opening.now, error, http2=asked == "2")


def test_what_fails_before_http2_is_spoken_is_not_of_it():
    assert not Opening().begin().failed(1000.0, ConnectError("nobody listens"), http2=False)


def test_a_server_that_opens_over_http1_is_offered_nothing_else_for_a_while():
    opening = Opening()
    opening.fall_back().opened(opening.now)
    opening.now += HTTP1_LIFETIME - 1
    remembered = opening.begin()
    assert remembered.version == "1.1"
    # What was remembered shows nothing new, so the time is up all the same.
    remembered.opened(opening.now)
    assert opening.begin(origin="another").version == "auto"
    opening.now += 1
    assert opening.begin().version == "auto"


def test_a_server_without_the_setting_is_known_at_once():
    # A socket of the caller's cannot be connected anew, so the next one profits.
    opening = Opening()
    assert not opening.begin(attempts=1).failed(opening.now, ExtendedConnectDisabled("no"), http2=True)
    assert opening.begin(attempts=1).version == "1.1"


@pytest.mark.parametrize("error", [refused(502), refused(401), ConnectError("reset")])
def test_nothing_is_learnt_where_http1_does_not_open_either(error):
    # The server behind a gateway may just be down.
    opening = Opening()
    assert not opening.fall_back().failed(opening.now, error, http2=False)
    assert opening.begin().version == "auto"


@pytest.mark.parametrize("error", [refused(502), refused(505), ConnectError("reset")])
def test_what_was_learnt_and_no_longer_holds_is_forgotten(error):
    opening = Opening()
    opening.fall_back().opened(opening.now)
    assert not opening.begin().failed(opening.now, error, http2=False)
    assert opening.begin().version == "auto"


def test_what_was_learnt_outlives_a_refusal_that_is_not_of_the_version():
    opening = Opening()
    opening.fall_back().opened(opening.now)
    assert not opening.begin().failed(opening.now, refused(401), http2=False)
    assert opening.begin().version == "1.1"


def test_so_many_origins_are_remembered_the_newest_of_all():
    learnt = Http1Origins()
    for number in [*range(HTTP1_ORIGINS + 1), 1, HTTP1_ORIGINS + 1]:
        learnt.learn(0.0, number)
    assert [number for number in range(HTTP1_ORIGINS + 2) if not learnt.known(1.0, number)] == [0, 2]


@contextlib.asynccontextmanager
async def gateway(server_tls, status=None, headers=()):
    """Serve behind a refusal of HTTP/2, or none; give the server and the versions of HTTP that were asked over."""
    asked = []

    def upgrade(connection, request):
        asked.append(connection.carrier.http_version)
        return UpgradeReject(status, headers=headers) if status and asked[-1] == "2" else None

    async with listening(echo, ssl=server_tls, upgrade=upgrade) as server:
        yield f"wss://localhost:{server.port}/", asked


@pytest.mark.parametrize(("status", "headers"), [(502, ()), (504, ()), (503, ()), (400, ())])
def test_a_gateway_is_asked_over_http2_once_in_a_while(run, tls_contexts, status, headers):
    server_tls, client_tls = tls_contexts

    async def work():
        async with gateway(server_tls, status, headers) as (address, asked):
            for _ in range(3):
                async with connect(address, ssl=client_tls) as websocket:
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"
            assert asked == ["2", "1.1", "1.1", "1.1"]

    run(work())


def test_a_gateway_that_says_when_to_come_again_is_not_asked_over_http1(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with gateway(server_tls, 503, {"Retry-After": "120"}) as (address, asked):
            with pytest.raises(UpgradeError) as failed:
                await connect(address, ssl=client_tls)
            assert failed.value.status == 503
            assert asked == ["2"]

    run(work())


def test_what_was_learnt_is_of_a_server_and_a_context_and_a_loop(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    other_tls = ssl.create_default_context()
    other_tls.check_hostname, other_tls.verify_mode = False, ssl.CERT_NONE

    async def work():
        async with gateway(server_tls, 502) as (address, asked):
            for options in (
                {"ssl": client_tls},
                {"ssl": other_tls},
                {"ssl": client_tls, "host": "127.0.0.1"},
                {"ssl": client_tls, "server_hostname": "127.0.0.1"},
            ):
                for versions in (["2", "1.1"], ["1.1"]):
                    asked.clear()
                    async with connect(address, **options):
                        assert asked == versions

    run(work())
    run(work())


def test_a_socket_of_the_callers_profits_from_what_one_before_has_shown(run, tls_contexts):
    server_tls, client_tls = tls_contexts
    server_tls.set_alpn_protocols(["h2", "http/1.1"])

    async def serve_one(reader, writer):
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        http = Http2(Role.SERVER, enable_connect=False) if chosen == "h2" else Http1(Role.SERVER)
        writer.write(http.start())
        with contextlib.suppress(ConnectionError):
            while not http.done and (data := await reader.read(65536)):
                events, reply = http.receive(data)
                writer.write(reply)
                for connection, event in events:
                    if isinstance(event, (UpgradeRequest, Close)):
                        writer.write(connection.send(UpgradeAccept() if isinstance(event, UpgradeRequest) else event))
        writer.close()

    async def work():
        async with await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            address = f"wss://localhost:{port}/"
            with pytest.raises(ExtendedConnectDisabled):
                await connect(address, ssl=client_tls, sock=socket.create_connection(("127.0.0.1", port)))
            sock = socket.create_connection(("127.0.0.1", port))
            async with connect(address, ssl=client_tls, sock=sock) as websocket:
                assert websocket.http_version == "1.1"

    run(work())


def test_what_was_learnt_goes_with_the_loop(run, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with gateway(server_tls, 502) as (address, _):
            async with connect(address, ssl=client_tls):
                pass

    before = len(connector._learnt)
    run(work())
    gc.collect()
    assert len(connector._learnt) <= before
