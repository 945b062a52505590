"""Redirects of the opening handshake, over sockets (RFC 9110 §15.4)."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from drivers.conftest import listening, url

from mintws import ConnectError, ConnectTimeout, LocalProtocolError, UpgradeError, UpgradeReject
from mintws.asyncio import Reconnect, connect, connect_http2, serve


def redirecting(to, status=302, sent=None):
    """Make a hook that redirects each target in `to`, and notes the requests."""

    def upgrade(connection, request):
        if sent is not None:
            sent.append(request)
        location = to(request) if callable(to) else to.get(request.target)
        return None if location is None else UpgradeReject(status, headers={"Location": location})

    return upgrade


async def target_of(opening):
    async with opening as websocket:
        return websocket.request.host, websocket.request.target


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(run, http, status):
    async def work():
        async with listening(upgrade=redirecting({"/": "new?a=1#part"}, status)) as server:
            found = await target_of(connect(url(server), http=http, subprotocols=["a"], headers={"X-Own": "1"}))
            assert found == (f"127.0.0.1:{server.port}", "/new?a=1")

    run(work())


def test_the_request_stays_the_same_at_the_same_origin(run, http):
    sent = []

    async def work():
        hook = redirecting({"/": "/new"}, sent=sent)
        async with listening(upgrade=hook, origins=["http://here"], subprotocols=["a"]) as server:
            address = url(server).replace("//", "//ann:secret@")
            headers = {"Cookie": "a=1", "X-Own": "1"}
            await target_of(connect(address, http=http, headers=headers, subprotocols=["a"], origin="http://here"))

    run(work())
    first, second = (dict(it.headers) for it in sent)
    assert first == second
    assert {"authorization", "cookie", "x-own", "origin", "user-agent"} <= first.keys()
    assert sent[1].subprotocols == ("a",)


def test_another_origin_gets_no_credentials(run, http):
    sent = []

    async def work():
        async with listening(upgrade=redirecting({}, sent=sent)) as there:
            here = redirecting({"/": f"http://127.0.0.1:{there.port}/there"}, sent=sent)
            async with listening(upgrade=here) as server:
                address = url(server).replace("//", "//ann:secret@")
                headers = {"Cookie": "a=1", "X-Own": "1"}
                found = await target_of(connect(address, http=http, headers=headers))
                assert found == (f"127.0.0.1:{there.port}", "/there")

    run(work())
    first, second = ({name for name, _ in it.headers} for it in sent)
    assert first - second == {"authorization", "cookie"}


def test_another_origin_is_reached_where_its_url_says(run, http):
    async def work():
        async with listening() as there:
            async with listening(upgrade=redirecting({"/": url(there, "/there")})) as server:
                # Which no resolver knows.
                opening = connect("ws://here.invalid/", http=http, host="127.0.0.1", port=server.port)
                assert await target_of(opening) == (f"127.0.0.1:{there.port}", "/there")

    run(work())


def test_the_same_origin_is_reached_as_before(run, http):
    async def work():
        async with listening(upgrade=redirecting({"/": "/new"})) as server:
            opening = connect("ws://here.invalid/", http=http, host="127.0.0.1", port=server.port)
            assert await target_of(opening) == ("here.invalid", "/new")

    run(work())


def test_tls_may_begin_with_a_redirect_and_never_ends_with_one(run, http, tls_contexts):
    server_tls, client_tls = tls_contexts

    async def work():
        async with listening(ssl=server_tls) as there:
            secure = f"https://localhost:{there.port}/there"
            async with listening(
                ssl=server_tls, upgrade=redirecting({"/": secure, "/down": "ws://127.0.0.1:9/"})
            ) as server:
                opening = connect(f"wss://localhost:{server.port}/", http=http, ssl=client_tls)
                assert await target_of(opening) == (f"localhost:{there.port}", "/there")
                with pytest.raises(ConnectError, match="without TLS") as told:
                    await connect(f"wss://localhost:{server.port}/down", http=http, ssl=client_tls)
                assert told.value.__cause__.status == 302
            async with listening(upgrade=redirecting({"/": secure})) as plain:
                # The context of the loop does not trust it: TLS was spoken.
                with pytest.raises(ConnectError, match="certificate"):
                    await connect(url(plain), http=http)

    run(work())


def test_loops_end(run, http):
    sent = []

    async def work():
        async with listening(upgrade=redirecting(lambda request: "/again", sent=sent)) as server:
            with pytest.raises(ConnectError, match="more than 3 times") as told:
                await connect(url(server), http=http, redirects=3)
            assert isinstance(told.value.__cause__, UpgradeError)

    run(work())
    assert len(sent) == 4


def test_redirects_can_be_turned_off(run, http):
    async def work():
        async with listening(upgrade=redirecting({"/": "/new"})) as server:
            with pytest.raises(UpgradeError, match="Location: /new"):
                await connect(url(server), http=http, redirects=0)

    run(work())


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", None])
def test_a_wrong_number_of_redirects_is_refused(wrong):
    with pytest.raises((TypeError, LocalProtocolError), match="redirects"):
        connect("ws://localhost", redirects=wrong)


def test_what_was_connected_already_follows_none(run, http):
    async def work():
        async with listening(upgrade=redirecting({"/": "/new"})) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                with pytest.raises(UpgradeError, match="302"):
                    await connect(url(server), http=http, sock=sock)

    run(work())


def test_a_unix_socket_is_one_origin(run, http, tmp_path):
    path = str(tmp_path / "socket")
    hook = redirecting({"/": "/new", "/away": "ws://127.0.0.1:9/"})

    async def work():
        async with serve(lambda websocket: websocket.wait_closed(), path=path, upgrade=hook):
            assert await target_of(connect("ws://here/", http=http, path=path)) == ("here", "/new")
            with pytest.raises(ConnectError, match="`path`"):
                await connect("ws://here/away", http=http, path=path)

    run(work())


def test_all_redirects_together_take_no_longer_than_the_timeout(run):
    async def upgrade(connection, request):
        await asyncio.sleep(0.05)
        return UpgradeReject(302, headers={"Location": "/again"})

    async def work():
        async with listening(upgrade=upgrade) as server:
            with pytest.raises(ConnectTimeout):
                await connect(url(server), open_timeout=0.3, redirects=1000)

    run(work())


def test_the_error_names_the_server_that_it_was_redirected_to(run):
    async def work():
        async with listening(upgrade=redirecting({"/": "ws://127.0.0.1:9/there"})) as server:
            with pytest.raises(ConnectError, match=r"127\.0\.0\.1:9\b"):
                await connect(url(server))

    run(work())


def test_each_redirect_is_logged_without_its_query(run, http, caplog):
    caplog.set_level(logging.DEBUG, "mintws.client")

    async def work():
        async with listening(upgrade=redirecting({"/": "/new?key=secret"})) as server:
            await target_of(connect(url(server), http=http))
            return server.port

    port = run(work())
    assert f"the server answered 302; redirected to 127.0.0.1:{port} /new\n" in caplog.text
    assert "secret" not in caplog.text


def test_a_client_that_connects_again_begins_with_its_own_url(run, http):
    sent = []

    async def work():
        async def handler(websocket):
            await websocket.close(1012 if len(sent) == 2 else 1000)

        async with listening(handler, upgrade=redirecting({"/": "/new"}, sent=sent)) as server:
            async for websocket in connect(url(server), http=http, reconnect=Reconnect(first=0.01)):
                await websocket.wait_closed()

    run(work())
    assert [it.target for it in sent] == ["/", "/new", "/", "/new"]


def test_streams_of_a_connection_follow_none(run):
    async def work():
        async with listening(upgrade=redirecting({"/": "/new"})) as server, connect_http2(url(server)) as client:
            with pytest.raises(UpgradeError, match="302"):
                await client.open("/")
            await (await client.open("/new")).close()

    run(work())
