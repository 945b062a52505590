"""`async for websocket in connect(..., nursery=nursery)` on trio, fresh headers for each opening, and redirects."""

from __future__ import annotations

import logging
from functools import partial
from http.cookiejar import CookieJar

import pytest
import trio
from on_trio import listening, url

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    Http1,
    Http2,
    LocalProtocolError,
    Role,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.trio import Pool, Reconnect, basic_auth, connect

SOON = Reconnect(first=0.01, longest=0.02)


def closing(*codes):
    """Make a handler that greets with a number and closes with one code after another, then with 1000."""
    left = list(codes)
    count = iter(range(100))

    async def handler(websocket):
        await websocket.send(str(next(count)))
        await websocket.close(left.pop(0) if left else 1000)

    return handler


def test_a_client_connects_again_until_a_close_that_was_meant(run, http, caplog):
    caplog.set_level(logging.INFO, "mintws.client")
    heard = []

    async def main():
        async with listening(closing(1012, 1001)) as server, trio.open_nursery() as nursery:
            async for websocket in connect(url(server), http=http, nursery=nursery, reconnect=SOON):
                async with websocket:
                    async for message in websocket:
                        heard.append(message)

    run(main)
    assert heard == ["0", "1", "2"]
    assert len([it for it in caplog.messages if "1012" in it or "1001" in it]) == 2


def test_an_end_that_will_not_pass_is_raised(run, http):
    async def hear(opening):
        async for websocket in opening:
            async with websocket:
                async for _ in websocket:
                    pass

    async def main():
        async with listening(closing(1008)) as server, trio.open_nursery() as nursery:
            with pytest.raises(ConnectionClosed) as closed:
                await hear(connect(url(server), http=http, nursery=nursery, reconnect=SOON))
            assert closed.value.code == 1008

    run(main)


def test_the_function_that_decides_may_wait_and_stop(run):
    failures = []

    async def decide(failure):
        await trio.sleep(0)
        failures.append(failure)
        return "stop" if failure.attempts == 3 else 0.0

    async def main():
        reconnect = Reconnect(first=0.01, longest=0.02, decide=decide)
        async with trio.open_nursery() as nursery:
            async for _ in connect("ws://127.0.0.1:9/", nursery=nursery, reconnect=reconnect):
                raise AssertionError("nothing listens there")

    run(main)
    assert [it.attempts for it in failures] == [1, 2, 3]
    assert all(isinstance(it.error, ConnectError) for it in failures)


def test_leaving_the_loop_closes_its_websocket(run, http):
    ended = trio.Event()

    async def handler(websocket):
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.recv()
        assert closed.value.code == 1000
        ended.set()

    async def main():
        async with listening(handler) as server, trio.open_nursery() as nursery:
            async for _ in connect(url(server), http=http, nursery=nursery, reconnect=SOON):
                break
            await ended.wait()

    run(main)


def test_cancellation_ends_the_wait_for_the_next_attempt(run):
    async def main():
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.2) as scope:
                reconnect = Reconnect(first=60, decide=lambda failure: 60.0)
                async for _ in connect("ws://127.0.0.1:9/", nursery=nursery, reconnect=reconnect):
                    raise AssertionError("nothing listens there")
            assert scope.cancelled_caught

    run(main)


def test_a_wait_that_was_cancelled_goes_on_where_it_was(run):
    attempts = []

    def decide(failure):
        attempts.append(failure.attempts)
        return 0.5 if len(attempts) == 1 else "stop"

    async def main():
        async with trio.open_nursery() as nursery:
            reconnect = Reconnect(first=0, longest=0, decide=decide)
            websockets = aiter(connect("ws://127.0.0.1:9/", nursery=nursery, reconnect=reconnect))
            while not attempts:
                with trio.move_on_after(0.05):
                    await anext(websockets)
            for _ in range(2):
                with trio.move_on_after(0.01) as scope:
                    await anext(websockets)
                assert scope.cancelled_caught
            assert attempts == [1]
            with pytest.raises(StopAsyncIteration):
                await anext(websockets)

    run(main)
    assert attempts == [1, 2]


def test_a_block_that_ends_while_its_websocket_is_open_is_followed_by_another(run, http):
    codes, opened = [], []

    async def handler(websocket):
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async def main():
        async with listening(handler) as server, trio.open_nursery() as nursery:
            async for websocket in connect(url(server), http=http, nursery=nursery, reconnect=SOON):
                opened.append(websocket)
                async with websocket:
                    if len(opened) == 3:
                        await websocket.close()

    run(main)
    assert codes == [1000] * 3


def test_a_websocket_that_ends_within_a_nursery_in_its_block_is_left_to_the_rule(run, http):
    heard = []

    async def receive(websocket):
        while True:
            heard.append(await websocket.recv())

    async def main():
        async with listening(closing(1001, 1012)) as server, trio.open_nursery() as nursery:
            async for websocket in connect(url(server), http=http, nursery=nursery, reconnect=SOON):
                async with websocket, trio.open_nursery() as inner:
                    inner.start_soon(receive, websocket)

    run(main)
    assert heard == ["0", "1", "2"]


def test_the_end_of_the_websocket_beside_a_cancellation_leaves_the_loop_as_from_any_nursery(run):
    async def end(websocket, scope):
        try:
            await websocket.recv()
            await websocket.recv()
        finally:
            scope.cancel()

    async def main():
        async with listening(closing(1012)) as server, trio.open_nursery() as nursery:
            opening = connect(url(server), nursery=nursery, reconnect=Reconnect(first=60))
            with (
                pytest.RaisesGroup(ConnectionClosed, flatten_subgroups=True),
                trio.CancelScope() as scope,
            ):
                await follow(opening, scope)
            assert scope.cancel_called

    async def follow(opening, scope):
        async for websocket in opening:
            async with websocket, trio.open_nursery() as inner:
                inner.start_soon(end, websocket, scope)
                await trio.sleep_forever()

    run(main)


def test_a_close_of_this_side_ends_the_loop_though_the_peer_sends_none(run, http):
    ends = []

    async def leave(stream):
        """Open WebSockets, and leave without a Close when one comes."""
        carrier = (Http1 if http == "1.1" else Http2)(Role.SERVER)
        await stream.send_all(carrier.start())
        async for data in stream:
            events, reply = carrier.receive(data)
            await stream.send_all(reply)
            for connection, event in events:
                if isinstance(event, UpgradeRequest):
                    await stream.send_all(connection.send(UpgradeAccept()))
                elif isinstance(event, Close):
                    return

    async def main():
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, leave, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            address = f"ws://127.0.0.1:{port}/"
            async for websocket in connect(address, http=http, nursery=nursery, reconnect=SOON):
                await websocket.close()
                ends.append(websocket.close_code)
            nursery.cancel_scope.cancel()

    run(main)
    assert ends == [1006]


def test_connecting_again_needs_a_nursery_and_no_stream(run):
    async def main():
        with pytest.raises(LocalProtocolError, match="nursery"):
            connect("ws://127.0.0.1:9/").__aiter__()
        async with trio.open_nursery() as nursery:
            stream = trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream
            stapled = trio.StapledStream(stream[0](), stream[1]())
            with pytest.raises(LocalProtocolError, match="connected once"):
                connect("ws://example.com/", stream=stapled, nursery=nursery).__aiter__()
            opening = connect("ws://127.0.0.1:9/", nursery=nursery)
            opening.__aiter__()
            with pytest.raises(LocalProtocolError, match="did so already"):
                await opening

    run(main)


def test_headers_are_made_anew_for_each_opening(run, http):
    seen = []

    async def token():
        await trio.sleep(0)
        return {"Authorization": f"Bearer {len(seen)}"}

    def upgrade(connection, request):
        seen.append({name.lower(): value for name, value in request.headers}["authorization"])

    async def main():
        async with listening(closing(1012), upgrade=upgrade) as server, trio.open_nursery() as nursery:
            async for websocket in connect(url(server), http=http, headers=token, nursery=nursery, reconnect=SOON):
                async with websocket:
                    await websocket.wait_closed()

    run(main)
    assert seen == ["Bearer 0", "Bearer 1"]


@pytest.mark.parametrize("pooled", [False, True])
def test_a_url_is_made_anew_for_each_opening(run, http, pooled):
    seen = []

    def upgrade(connection, request):
        seen.append(request.target)

    async def main():
        async with listening(closing(1012), upgrade=upgrade) as server, trio.open_nursery() as nursery, Pool() as pool:

            async def fresh():
                await trio.sleep(0)
                return f"{url(server)}?token={len(seen)}"

            opening = pool.connect if pooled else partial(connect, nursery=nursery)
            async for websocket in opening(fresh, http=http, reconnect=SOON):
                async with websocket:
                    await websocket.wait_closed()

    run(main)
    assert seen == ["/?token=0", "/?token=1"]


def test_redirects_are_followed_and_credentials_stay_at_their_origin(run, http):
    seen = []

    def note(connection, request):
        seen.append((request.target, "authorization" in {name.lower() for name, _ in request.headers}))

    async def main():
        async with listening(upgrade=note) as there:

            def lead(connection, request):
                note(connection, request)
                if request.target == "/":
                    return UpgradeReject(301, headers=[("Location", "/next")])
                return UpgradeReject(307, headers=[("Location", f"http://127.0.0.1:{there.port}/there")])

            async with listening(upgrade=lead) as here:
                where = f"ws://user:secret@127.0.0.1:{here.port}/"
                async with connect(where, http=http) as websocket:
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"
                with pytest.raises(UpgradeError) as refused:
                    await connect(where, http=http, redirects=0).__aenter__()
                assert refused.value.status == 301

    run(main)
    assert seen[:3] == [("/", True), ("/next", True), ("/there", False)]


def test_cookies_are_kept_in_a_jar_and_credentials_are_asked_for(run, http):
    def upgrade(connection, request):
        seen.append(dict(request.cookies))
        return ask(connection, request) or UpgradeAccept(headers={"Set-Cookie": "tea=mint"})

    async def main():
        async with listening(upgrade=upgrade) as server:
            address = url(server).replace("ws://", "ws://ann:secret@")
            for _ in range(2):
                async with connect(address, http=http, cookies=jar) as websocket:
                    await websocket.send("hello")
                    assert await websocket.recv() == "hello"
            with pytest.raises(UpgradeError) as refused:
                async with connect(url(server), http=http):
                    pass
            assert refused.value.status == 401

    ask, jar = basic_auth({"ann": "secret"}), CookieJar()
    seen: list[dict[str, str]] = []
    run(main)
    assert seen == [{}, {"tea": "mint"}, {}]


@pytest.mark.parametrize("error", [TimeoutError, trio.TooSlowError])
def test_what_a_callable_for_headers_raises_is_raised_as_it_is(run, error):
    raised = error("the token service is down")

    async def headers():
        raise raised

    async def main():
        with pytest.raises(error) as told:
            async with connect("ws://127.0.0.1:9/", headers=headers):
                pass
        assert told.value is raised

    run(main)
