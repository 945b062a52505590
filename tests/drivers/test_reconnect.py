"""`async for websocket in connect(...)`: what ends a WebSocket, and what comes next (RFC 6455 §7.2.3)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import sys

import pytest
from drivers.conftest import listening, url
from drivers.raw import close_alone, silent_server
from wire import RST_STREAM, SETTINGS, h2_frame

from mintws import (
    Close,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    LocalProtocolError,
    State,
    UpgradeError,
    UpgradeReject,
)
from mintws.asyncio import Failure, Pool, Reconnect, connect, serve


async def follow(opening, body=None):
    """Follow until the loop ends; the body is called with each WebSocket."""
    async for websocket in opening:
        if body is not None:
            await body(websocket)


def closed(websocket):
    return websocket.wait_closed()


SOON = Reconnect(first=0.01, longest=0.02)


def closing(*codes):
    """Make a handler that greets with a number and closes with one code after another; `None` leaves without a Close."""
    left = list(codes)
    count = iter(range(100))

    async def handler(websocket):
        await websocket.send(str(next(count)))
        code = left.pop(0) if left else 1000
        if code is None:
            websocket.transport.abort()
        else:
            await websocket.close(code)

    return handler


@pytest.mark.parametrize("codes", [[1001], [1011, 1012], [1013, 1014], [None]], ids=str)
def test_a_client_connects_again_after_an_end_that_may_pass(run, http, codes):
    heard = []

    async def work():
        async with listening(closing(*codes)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                async for message in websocket:
                    heard.append(message)

    run(work())
    assert heard == [str(number) for number in range(len(codes) + 1)]


@pytest.mark.parametrize("code", [1000, 4000, 3000])
def test_a_close_that_was_meant_ends_the_loop(run, http, code):
    heard = []

    async def work():
        async with listening(closing(code)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                heard.extend([message async for message in websocket])

    run(work())
    assert heard == ["0"]


def test_an_end_that_will_not_pass_is_raised_where_the_next_one_would_come(run, http):
    heard = []

    async def hear(websocket):
        heard.extend([message async for message in websocket])

    async def work():
        async with listening(closing(1008)) as server:
            with pytest.raises(ConnectionClosed) as told:
                await follow(connect(url(server), http=http, reconnect=SOON), hear)
            assert told.value.code == 1008

    run(work())
    assert heard == ["0"]


def test_a_close_of_this_side_ends_the_loop(run, http):
    opened = []

    async def work():
        async with listening() as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                opened.append(websocket)
                await websocket.close()

    run(work())
    assert len(opened) == 1


def test_a_body_that_goes_on_closes_the_websocket_and_gets_another(run, http):
    codes = []
    seen = []

    async def handler(websocket):
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async def work():
        async with listening(handler) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                assert all(it.state is State.CLOSED for it in seen)
                seen.append(websocket)
                if len(seen) < 3:
                    continue
                await websocket.close()

    run(work())
    assert codes == [1000] * 3


def test_a_loop_that_is_left_closes_the_websocket(run, http):
    ended = []

    async def work():
        closed = asyncio.Event()

        async def handler(websocket):
            await websocket.wait_closed()
            ended.append((websocket.close_code, websocket.ending.clean))
            closed.set()

        async with listening(handler) as server:
            async for opened in connect(url(server), http=http, reconnect=SOON):
                websocket = opened
                break
            await websocket.wait_closed()
            await closed.wait()
            assert websocket.ending.clean

    run(work())
    assert ended == [(1000, True)]


@pytest.mark.parametrize("guarded", [False, True])
def test_an_exception_of_the_body_leaves_the_loop_and_closes(run, http, guarded):
    ended, opened = [], []

    async def body(websocket):
        opened.append(websocket)
        async with websocket if guarded else contextlib.nullcontext():
            raise ValueError("of the body")

    async def work():
        async def handler(websocket):
            await websocket.wait_closed()
            ended.append(websocket.close_code)

        async with listening(handler) as server:
            with pytest.raises(ValueError, match="of the body"):
                await follow(connect(url(server), http=http, reconnect=SOON), body)
            await opened[0].wait_closed()

    run(work())
    assert ended == [1011 if guarded else 1000]


def test_a_loop_whose_task_is_cancelled_closes_the_websocket(run, http):
    ended = []

    async def work():
        ready = asyncio.Event()

        async def handler(websocket):
            await websocket.wait_closed()
            ended.append(websocket.ending.clean)

        async def follow(server):
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                ready.set()
                await websocket.recv()

        async with listening(handler) as server:
            task = asyncio.ensure_future(follow(server))
            await ready.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(work())
    assert ended == [True]


def test_a_client_that_is_cancelled_between_two_attempts_leaves_nothing(run):
    async def work():
        waits = asyncio.Event()

        def decide(failure):
            waits.set()
            return 100.0

        async def follow():
            async for _ in connect(f"ws://127.0.0.1:{free_port()}", reconnect=Reconnect(decide=decide)):
                pass

        task = asyncio.ensure_future(follow())
        await waits.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())


def test_a_websocket_that_ends_within_its_own_block_is_left_to_the_rule(run, http):
    heard = []

    async def work():
        async with listening(closing(1001, 1012, 1000)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                async with websocket:
                    while True:
                        heard.append(await websocket.recv())

    run(work())
    assert heard == ["0", "1", "2"]


@pytest.mark.parametrize("error", [None, ValueError("of the body")], ids=repr)
def test_a_block_that_ends_while_its_websocket_is_open_goes_on_as_none_does(run, http, caplog, error):
    caplog.set_level(logging.INFO, "mintws.client")
    codes, failures, opened = [], [], []

    async def handler(websocket):
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async def work():
        async with listening(handler) as server:
            policy = Reconnect(first=0.01, longest=0.02, decide=failures.append)
            async for websocket in connect(url(server), http=http, reconnect=policy):
                opened.append(websocket)
                with contextlib.suppress(ValueError):
                    async with websocket:
                        if len(opened) == 3:
                            break
                        if error is not None:
                            raise error

    run(work())
    assert codes == [1000 if error is None else 1011] * 2 + [1000]
    assert failures == []
    assert caplog.text.count("the loop has gone on; connecting again in") == 2


def test_a_close_within_the_block_ends_the_loop(run, http):
    opened = []

    async def work():
        async with listening() as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                opened.append(websocket)
                async with websocket:
                    await websocket.close()

    run(work())
    assert len(opened) == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has no TaskGroup")
def test_a_websocket_that_ends_within_a_task_group_in_its_block_is_left_to_the_rule(run, http):
    heard = []

    async def receive(websocket):
        while True:
            heard.append(await websocket.recv())

    async def work():
        async with listening(closing(1001, 1012, 1000)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                async with websocket, asyncio.TaskGroup() as group:
                    group.create_task(receive(websocket))

    run(work())
    assert heard == ["0", "1", "2"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio has no TaskGroup")
def test_a_group_with_another_error_leaves_the_loop(run):
    async def fail(begun):
        begun.set()
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("of the body")

    async def body(websocket):
        async with websocket, asyncio.TaskGroup() as group:
            begun = asyncio.Event()
            group.create_task(fail(begun))
            await begun.wait()
            await websocket.recv()
            await websocket.recv()

    async def work():
        async with listening(closing(1012)) as server:
            with pytest.raises(ExceptionGroup):  # noqa: F821
                await follow(connect(url(server), reconnect=SOON), body)

    run(work())


async def leave(connection, event, writer):
    """Leave without a Close when one comes."""
    if isinstance(event, Close):
        writer.close()


@pytest.mark.parametrize("code", [1000, 4000, None])
def test_a_close_of_this_side_ends_the_loop_though_the_peer_sends_none(run, http, code):
    ends = []

    async def work():
        async with silent_server(http, answer=leave) as address:
            async for websocket in connect(address, http=http, reconnect=SOON):
                await websocket.close(code)
                ends.append(websocket.close_code)

    run(work())
    assert ends == [1006]


def test_a_cancelled_wait_for_the_next_websocket_goes_on_where_it_was(run):
    attempts = []
    asked = asyncio.Event()

    def decide(failure):
        attempts.append(failure.attempts)
        asked.set()
        return 0.5 if len(attempts) == 1 else "stop"

    async def work():
        loop = asyncio.get_running_loop()
        policy = Reconnect(first=0, longest=0, decide=decide)
        websockets = aiter(connect(f"ws://127.0.0.1:{free_port()}", reconnect=policy))
        waiting = asyncio.ensure_future(anext(websockets))
        await asked.wait()
        began = loop.time()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(websockets), 0.01)
        assert attempts == [1]
        with pytest.raises(StopAsyncIteration):
            await anext(websockets)
        assert loop.time() - began > 0.4
        assert attempts == [1, 2]

    run(work())


def test_a_decision_that_is_cancelled_is_asked_for_again(run):
    asked = []

    async def decide(failure):
        asked.append(failure)
        if len(asked) == 1:
            await asyncio.sleep(100)
        return "raise"

    async def work():
        websockets = aiter(connect(f"ws://127.0.0.1:{free_port()}", reconnect=Reconnect(decide=decide)))
        waiting = asyncio.ensure_future(anext(websockets))
        while not asked:
            await asyncio.sleep(0.005)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(ConnectError):
            await anext(websockets)
        with pytest.raises(StopAsyncIteration):
            await anext(websockets)

    run(work())
    assert asked[0] is asked[1]


def test_a_websocket_whose_close_is_cancelled_by_the_loop_is_followed_by_another(run, http):
    released = asyncio.Event()

    async def answer(connection, event, writer):
        await released.wait()
        await close_alone(connection, event, writer)

    async def work():
        async with silent_server(http, answer=answer) as address:
            websockets = aiter(connect(address, http=http, reconnect=SOON))
            first = await anext(websockets)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(websockets), 0.01)
            released.set()
            second = await anext(websockets)
            assert (first.close_code, second.state) == (1000, State.OPEN)
            second.transport.abort()

    run(work())


def test_the_end_of_another_websocket_is_an_error_of_the_body(run, http):
    async def work():
        async with listening() as kept, listening(closing(1012)) as server:

            async def body(websocket):
                async with websocket, connect(url(server)) as other:
                    await other.recv()
                    await other.recv()

            with pytest.raises(ConnectionClosed) as told:
                await follow(connect(url(kept), http=http, reconnect=SOON), body)
            assert told.value.code == 1012

    run(work())


def test_without_the_block_the_end_is_raised_by_what_was_called(run, http):
    async def body(websocket):
        await websocket.recv()
        await websocket.recv()

    async def work():
        async with listening(closing(1012)) as server:
            with pytest.raises(ConnectionClosed):
                await follow(connect(url(server), http=http, reconnect=SOON), body)

    run(work())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_server_that_is_not_there_yet_is_tried_again(run, http):
    async def work():
        port = free_port()
        tries = []

        async def greet(websocket):
            await websocket.send("here")

        async with contextlib.AsyncExitStack() as stack:

            async def decide(failure):
                tries.append(failure.attempts)
                if failure.attempts == 3:
                    await stack.enter_async_context(serve(greet, "127.0.0.1", port))

            async for websocket in connect(
                f"ws://127.0.0.1:{port}", http=http, reconnect=Reconnect(first=0.01, longest=0.01, decide=decide)
            ):
                assert await websocket.recv() == "here"
                break
            await websocket.wait_closed()
        assert tries == [1, 2, 3]

    run(work())


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_that_may_pass_is_tried_again(run, http, status):
    answers = [UpgradeReject(status, headers={"Retry-After": "0"}), UpgradeReject(status), None]

    async def work():
        async with listening(upgrade=lambda connection, request: answers.pop(0)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                await websocket.close()

    run(work())
    assert answers == []


def test_retry_after_is_waited_for(run, http):
    failures = []

    def decide(failure):
        failures.append(failure)
        return None if failures[1:] else 0.0

    async def work():
        answers = [UpgradeReject(503, headers={"Retry-After": "7"}), None]
        async with listening(upgrade=lambda connection, request: answers.pop(0)) as server:
            async for websocket in connect(url(server), http=http, reconnect=Reconnect(decide=decide)):
                await websocket.close()

    run(work())
    assert 7 <= failures[0].then <= 8
    assert isinstance(failures[0].error, UpgradeError)
    assert (failures[1].then, failures[1].error.code) == ("stop", 1000)


def test_a_refusal_that_will_not_pass_is_raised(run, http):
    async def work():
        async with listening(upgrade=lambda connection, request: UpgradeReject(403)) as server:
            with pytest.raises(UpgradeError, match="403"):
                await follow(connect(url(server), http=http, reconnect=SOON))

    run(work())


def test_a_certificate_that_is_not_trusted_is_not_tried_again(run, tls_contexts):
    async def work():
        async with listening(ssl=tls_contexts[0]) as server:
            with pytest.raises(ConnectError, match="certificate") as told:
                await follow(connect(f"wss://localhost:{server.port}", reconnect=SOON))
            assert isinstance(told.value.__cause__, ssl.SSLCertVerificationError)

    run(work())


def test_a_server_of_another_version_is_not_tried_again(run, tls_contexts):
    async def work():
        server_tls, client_tls = tls_contexts
        async with listening(ssl=server_tls, http2=False) as server:
            address = f"wss://localhost:{server.port}"
            with pytest.raises(ConnectError, match="HTTP/2"):
                await follow(connect(address, ssl=client_tls, http="2", reconnect=SOON))

    run(work())


@pytest.mark.parametrize("later", [False, True])
def test_the_hook_sees_each_failure_and_decides(run, http, later):
    seen = []

    def decide(failure):
        assert isinstance(failure, Failure)
        seen.append((failure.error.code, failure.then if isinstance(failure.then, str) else "retry"))
        return {1000: 0.0, 1008: 0.0, 1012: "stop"}[failure.error.code]

    async def decide_later(failure):
        return decide(failure)

    async def work():
        policy = Reconnect(decide=decide_later if later else decide)
        async with listening(closing(1000, 1008, 1012)) as server:
            async for websocket in connect(url(server), http=http, reconnect=policy):
                await websocket.wait_closed()

    run(work())
    assert seen == [(1000, "stop"), (1008, "raise"), (1012, "retry")]


@contextlib.asynccontextmanager
async def answering(data):
    """Answer each connection with the same bytes; give the port, and what has come."""
    came = []

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            came.append(await reader.read(4096))
            writer.write(data)
            await writer.drain()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], came


@pytest.mark.parametrize(
    ("data", "section"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "RFC 9113 §3.4"),
        (h2_frame(SETTINGS, 0, 0, b"") + h2_frame(RST_STREAM, 0, 7, bytes(4)), "RFC 9113 §6.4"),
    ],
    ids=["HTTP/1.1", "RST_STREAM"],
)
def test_a_fault_of_the_whole_http2_connection_is_raised(run, data, section):
    async def work():
        async with answering(data) as (port, came):
            with pytest.raises(ConnectError) as told:
                await follow(connect(f"ws://127.0.0.1:{port}", http="2", reconnect=SOON))
            assert len(came) == 1
        assert (told.value.__cause__.code, told.value.__cause__.section) == (1002, section)
        assert section in str(told.value)

    run(asyncio.wait_for(work(), 5))


@pytest.mark.parametrize("wrong", ["plain", "version", "certificate"])
def test_a_tls_handshake_that_fails_the_same_way_again_is_raised(run, tls_contexts, wrong):
    server_tls, client_tls = tls_contexts
    if wrong == "version":
        server_tls.minimum_version, client_tls.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    elif wrong == "certificate":
        server_tls.verify_mode = ssl.CERT_REQUIRED

    async def work():
        async with listening(closing(), ssl=None if wrong == "plain" else server_tls) as server:
            address = f"wss://localhost:{server.port}"
            with pytest.raises(ConnectError) as told:
                await follow(connect(address, host="127.0.0.1", ssl=client_tls, reconnect=SOON))
            assert isinstance(told.value.__cause__, ssl.SSLError)

    run(asyncio.wait_for(work(), 5))


def test_the_hook_can_have_the_error_raised(run, http):
    async def work():
        async with listening(closing(1012)) as server:
            with pytest.raises(ConnectionClosed):
                await follow(connect(url(server), http=http, reconnect=Reconnect(decide=lambda it: "raise")), closed)

    run(work())


def test_what_the_hook_raises_leaves_the_loop(run):
    def decide(failure):
        raise KeyError("mine")

    async def work():
        with pytest.raises(KeyError, match="mine"):
            await follow(connect(f"ws://127.0.0.1:{free_port()}", reconnect=Reconnect(decide=decide)))

    run(work())


def test_a_line_says_why_and_when_next(run, http, caplog):
    caplog.set_level(logging.INFO, "mintws.client")

    async def work():
        async with listening(closing(1012, 4000)) as server:
            async for websocket in connect(url(server, "/chat?key=secret"), http=http, reconnect=SOON):
                await websocket.wait_closed()
            return server.port

    port = run(work())
    lines = [it.getMessage() for it in caplog.records if it.name == "mintws.client"]
    assert lines == [
        f"127.0.0.1:{port} /chat: the peer closed with 1012; connecting again in 0.0 s",
        f"127.0.0.1:{port} /chat: the peer closed with 4000; connecting no more",
    ]


def test_a_line_about_a_refusal_has_its_status_alone(run, http, caplog):
    caplog.set_level(logging.INFO, "mintws.client")
    answers = [UpgradeReject(503, body=b"a secret"), None]

    async def work():
        async with listening(upgrade=lambda connection, request: answers.pop(0)) as server:
            async for websocket in connect(url(server), http=http, reconnect=SOON):
                await websocket.close()

    run(work())
    assert "the server answered 503; connecting again in" in caplog.text
    assert "secret" not in caplog.text


def test_what_was_used_once_is_not_used_again(run):
    async def work():
        async with listening() as server:
            opening = connect(url(server))
            await (await opening).close()
            with pytest.raises(LocalProtocolError, match="call connect"):
                await follow(opening)
            opening = connect(url(server))
            async for _ in opening:
                break
            with pytest.raises(LocalProtocolError, match="call connect"):
                await opening
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                with pytest.raises(LocalProtocolError, match="connected once"):
                    await follow(connect(url(server), sock=sock))

    run(work())


def test_a_reconnecting_loop_that_is_left_leaves_nothing_behind(run, http):
    async def work():
        async with listening() as server:
            for _ in range(2):
                async for opened in connect(url(server), http=http, reconnect=SOON):
                    websocket = opened
                    break
                await websocket.wait_closed()
            del websocket, opened
            for _ in range(100):
                if not server.websockets:
                    break
                await asyncio.sleep(0.01)
            gc.collect()
            assert not server.websockets

    run(work())


@pytest.mark.parametrize("later", [False, True])
def test_headers_are_asked_for_at_each_opening(run, http, later):
    count = iter(range(10))
    sent = []

    def headers():
        return {"Authorization": f"Bearer {next(count)}"}

    async def headers_later():
        await asyncio.sleep(0)
        return headers()

    def upgrade(connection, request):
        sent.append(dict(request.headers)["authorization"])
        return UpgradeReject(503) if len(sent) == 1 else None

    async def work():
        async with listening(closing(1012, 1000), upgrade=upgrade) as server:
            fresh = headers_later if later else headers
            await follow(connect(url(server), http=http, headers=fresh, reconnect=SOON), closed)
            await (await connect(url(server), http=http, headers=fresh)).close()

    run(work())
    assert sent == ["Bearer 0", "Bearer 1", "Bearer 2", "Bearer 3"]


@pytest.mark.parametrize("wrong", [lambda: 1, lambda: {"Host": "a"}, lambda: {"a": "b\n"}, lambda: [("a",)]])
def test_wrong_headers_of_a_callable_are_raised_and_not_tried_again(run, wrong):
    async def work():
        async with listening() as server:
            with pytest.raises((TypeError, LocalProtocolError)):
                await follow(connect(url(server), headers=wrong, reconnect=SOON))

    run(work())


def test_headers_that_do_not_come_are_named_when_time_is_up(run):
    async def headers():
        await asyncio.sleep(100)
        return ()

    async def work():
        async with listening() as server:
            with pytest.raises(ConnectTimeout, match="headers"):
                await connect(url(server), headers=headers, open_timeout=0.05)

    run(work())


@pytest.mark.parametrize("open_timeout", [10.0, None])
@pytest.mark.parametrize("error", [TimeoutError, asyncio.TimeoutError, OSError])
def test_what_a_callable_for_headers_raises_is_raised_as_it_is(run, error, open_timeout):
    raised = error("the token service is down")

    async def headers():
        raise raised

    async def work():
        async with listening() as server:
            with pytest.raises(error) as told:
                await connect(url(server), headers=headers, open_timeout=open_timeout)
            assert told.value is raised

    run(work())


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("pooled", [False, True])
def test_a_url_is_asked_for_at_each_opening_and_may_lead_anywhere(run, http, later, pooled):
    asked = []

    def upgrade(connection, request):
        asked.append((request.target, request.headers.get("Authorization") is not None))
        return UpgradeReject(503) if len(asked) == 1 else None

    async def work():
        async with (
            listening(closing(1012, 1012, 1000), upgrade=upgrade) as one,
            listening(closing(1000), upgrade=upgrade) as other,
            Pool() as pool,
        ):
            places = iter([one, one, one, other])

            def fresh():
                return f"{url(next(places))}?token={len(asked)}"

            async def fresh_later():
                await asyncio.sleep(0)
                return fresh()

            opening = pool.connect if pooled else connect
            made = opening(fresh_later if later else fresh, http=http, auth=("ann", "secret"), reconnect=SOON)
            await follow(made, closed)

    run(work())
    assert asked == [(f"/?token={number}", True) for number in range(4)]


def test_a_url_that_is_asked_for_is_reached_as_the_arguments_say_and_a_redirect_from_there_is_not(run):
    seen = []

    def upgrade(connection, request):
        seen.append((request.host, request.target, "authorization" in dict(request.headers)))
        if request.target == "/old":
            return UpgradeReject(307, headers={"Location": url(server) + "new"})
        return None

    async def work():
        nonlocal server
        async with listening(upgrade=upgrade) as server:
            given = {"host": "127.0.0.1", "port": server.port, "auth": ("ann", "secret")}
            await (await connect(lambda: "ws://server.invalid/old", **given)).close()
            with pytest.raises(LocalProtocolError, match="a TLS context was given for a URL without TLS"):
                await connect(lambda: url(server), ssl=ssl.create_default_context())

    server = None
    run(work())
    assert seen == [("server.invalid", "/old", True), (f"127.0.0.1:{server.port}", "/new", False)]


@pytest.mark.parametrize("wrong", [lambda: 1, lambda: "http:", lambda: "ws://a/#b"])
def test_a_wrong_url_of_a_callable_is_raised_and_not_tried_again(run, wrong):
    async def work():
        with pytest.raises((TypeError, LocalProtocolError)):
            await follow(connect(wrong, reconnect=SOON))

    run(work())


def test_a_url_that_does_not_come_is_named_when_time_is_up(run):
    async def never():
        await asyncio.sleep(100)
        return ""

    async def work():
        with pytest.raises(ConnectTimeout, match=r"^cannot connect to the server: what `url` returns did not come"):
            await connect(never, open_timeout=0.05)

    run(work())


def test_a_connect_error_of_a_callable_is_tried_again_and_any_other_is_raised(run):
    raised = [ConnectError("the token service is down"), OSError("it is gone")]

    def fresh():
        raise raised[tried.pop()]

    async def work():
        with pytest.raises(OSError) as told:
            await follow(connect(fresh, reconnect=SOON))
        assert told.value is raised[1]

    tried = [1, 0, 0]
    run(work())
    assert not tried
