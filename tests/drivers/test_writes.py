"""When the asyncio driver writes what is sent: before `send` returns, but for bursts and batches."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import threading

import pytest
from drivers.batches import echo_in_a_batch, talk_in_a_batch
from drivers.conftest import BOUND, listening, url
from drivers.raw import raw_client
from wire import REQUEST, TEXT, frames_of, masked

from mintws import Binary, Http2, PreparedMessage, Role, State, Text, UpgradeRequest
from mintws.asyncio import connect, connect_http2, serve

KINDS = [
    "text",
    b"bytes",
    Text("event"),
    PreparedMessage(Text("prepared")),
    b"x" * 40_000,
    b"x" * 100_000,
    ["frag", "ments"],
]


def given_at_each_send(websocket, messages):
    """Send messages; give whether each was with the transport when its `send` returned."""

    async def send():
        for message in messages:
            before = websocket._protocol.written
            await websocket.send(message)
            yield websocket._protocol.written > before and websocket.connection.corked_bytes == 0

    return send()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("given", ["host and port", "sockets"])
def test_each_write_is_sent_at_once(run, http, tls, given, tls_contexts):
    # By default the system holds the second of two small writes until the first is acknowledged, 40 ms later.
    theirs, ours = tls_contexts if tls else (None, None)
    no_delay = []

    def see(websocket):
        sock = websocket.transport.get_extra_info("socket")
        no_delay.append(bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))

    async def handler(websocket):
        see(websocket)
        await websocket.wait_closed()

    async def main():
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
            sockets[0].bind(("127.0.0.1", 0))
            sockets[0].listen()
            where = {"sock": sockets[0]} if given == "sockets" else {"host": "127.0.0.1", "port": 0}
            async with serve(handler, ssl=theirs, **where) as server:
                sockets[1].connect(("127.0.0.1", server.port))
                via = {"sock": sockets[1]} if given == "sockets" else {"host": "127.0.0.1"}
                address = f"{'wss' if tls else 'ws'}://localhost:{server.port}/"
                async with connect(address, http=http, ssl=ours, **via) as websocket:
                    see(websocket)

    run(main())
    assert no_delay == [True, True]


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("tls", [False, True])
def test_a_message_is_with_the_transport_when_send_returns(run, http, tls, role, tls_contexts):
    theirs, ours = tls_contexts if tls else (None, None)
    given = []

    async def handler(websocket):
        if role == "server":
            given.extend([it async for it in given_at_each_send(websocket, KINDS)])
        async for _ in websocket:
            pass

    async def work():
        async with listening(handler, ssl=theirs) as server:
            address = f"wss://localhost:{server.port}" if tls else url(server)
            async with connect(address, http=http, ssl=ours, host="127.0.0.1") as websocket:
                if role == "client":
                    given.extend([it async for it in given_at_each_send(websocket, KINDS)])
                else:
                    for _ in KINDS:
                        await websocket.recv()

    run(work())
    assert given == [True] * len(KINDS)


def test_code_that_blocks_after_send_keeps_nothing_from_the_peer(run):
    got = []

    async def handler(websocket):
        async for _ in websocket:
            for token in ("one", "two", "three"):
                await websocket.send(token)
                # The loop does not turn here.
                got.append(frames_of(peer.recv(100)))

    peer = socket.socket()
    peer.settimeout(5)

    def open_websocket(port):
        peer.connect(("127.0.0.1", port))
        peer.sendall(REQUEST + b"\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += peer.recv(1000)
        peer.sendall(masked(TEXT, b"go"))

    async def work():
        async with listening(handler, extensions=()) as server:
            await asyncio.to_thread(open_websocket, server.port)
            while len(got) < 3:
                await asyncio.sleep(0.01)
            peer.close()

    run(work())
    assert got == [[(1, 0, TEXT, token)] for token in (b"one", b"two", b"three")]


def test_answers_to_a_burst_are_written_by_the_send_after_its_last_message(run):
    written = []

    async def handler(websocket):
        start = websocket._protocol.written
        async for message in websocket:
            await websocket.send(message)
            written.append(websocket._protocol.written - start)

    async def work():
        async with listening(handler, extensions=()) as server:
            reader, writer = await raw_client(server)
            writer.write(masked(TEXT, b"1") + masked(TEXT, b"2") + masked(TEXT, b"3"))
            assert await reader.readexactly(9) == b"\x81\x011\x81\x012\x81\x013"
            writer.close()

    run(work())
    assert written == [0, 0, 9]


def turn_the_loop_within_a_task():
    """Run the loop within a task of its own, as nested event loops of notebooks do."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asyncio.tasks._leave_task(loop, task)
    loop._run_once()
    asyncio.tasks._enter_task(loop, task)


def test_a_loop_that_runs_within_a_burst_writes_what_was_sent_before(http):
    written = []

    async def handler(websocket):
        start = websocket._protocol.written
        async for message in websocket:
            await websocket.send(message)
            turn_the_loop_within_a_task()
            written.append(websocket._protocol.written > start)
            start = websocket._protocol.written

    async def work():
        async with listening(handler, extensions=()) as server, connect(url(server), http=http) as websocket:
            await websocket.send_many(["1", "2", "3"])
            assert [await websocket.recv() for _ in range(3)] == ["1", "2", "3"]

    # uvloop's loop cannot be run within itself.
    asyncio.run(asyncio.wait_for(work(), BOUND))
    assert written == [True] * 3


def test_a_burst_to_others_is_written_by_the_send_after_its_last_message(run, http):
    receivers, written = [], []

    async def handler(websocket):
        if websocket.request.target != "/send":
            receivers.append(websocket)
            await websocket.wait_closed()
            return
        starts = [it._protocol.written for it in receivers]
        async for message in websocket:
            for receiver in receivers:
                await receiver.send(message)
                written.append(sum(it._protocol.written - start for it, start in zip(receivers, starts, strict=True)))

    async def work():
        async with listening(handler, extensions=()) as server:
            clients = [await connect(url(server), http=http) for _ in range(2)]
            reader, writer = await raw_client(server, head=REQUEST.replace(b"/chat", b"/send") + b"\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            while len(receivers) < 2:
                await asyncio.sleep(0.01)
            # The openings count, and in a turn that is spent a sender waits for the next one.
            receivers[0]._protocol._shared._begin_turn(asyncio.get_running_loop())
            writer.write(masked(TEXT, b"1") + masked(TEXT, b"2"))
            for client in clients:
                assert [await client.recv(), await client.recv()] == ["1", "2"]
                await client.close()
            writer.close()

    run(work())
    frame = 3 if http == "1.1" else 3 + 9
    # The third send writes both messages to its own receiver and the first one to the other.
    assert written[:2] == [0, 0]
    assert written[2] >= 3 * 3
    assert written[3] - written[2] in (frame, 3)


def test_answers_on_many_streams_are_written_together_before_their_sends_return(run):
    written, writes, watched, count = [], [], set(), 20

    async def handler(websocket):
        protocol = websocket._protocol
        writer = protocol._writer
        if not watched:
            watched.add(protocol)
            protocol._writer = lambda data: (writes.append(len(data)), writer(data))
        async for message in websocket:
            before = websocket._protocol.written
            await websocket.send(message)
            written.append(websocket._protocol.written - before)

    async def work():
        async with listening(handler, extensions=()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            http = Http2(Role.CLIENT)
            writer.write(http.start())
            while http.can_open is None:
                writer.write(http.receive(await reader.read(65536))[1])
            connections = [http.open() for _ in range(count)]
            writer.write(b"".join(it.send(UpgradeRequest("localhost")) for it in connections))
            while any(it.state is not State.OPEN for it in connections):
                writer.write(http.receive(await reader.read(65536))[1])
            writes.clear()
            writer.write(b"".join(it.send(Text(str(i))) for i, it in enumerate(connections)))
            got = []
            while len(got) < count:
                got += [event for _, event in http.receive(await reader.read(65536))[0]]
            assert sorted(int(it.data) for it in got) == list(range(count))
            writer.close()

    run(work())
    assert len(written) == count
    assert all(size > 0 for size in written)
    # The last of them need not wait for others, and has written all.
    assert len([size for size in writes if size > 17]) == 1


def test_a_send_that_waits_for_a_common_write_can_be_cancelled(run):
    cancelled = []

    async def handler(websocket):
        async for message in websocket:
            task = asyncio.current_task()
            # It takes effect where the task waits next.
            task.cancel()
            try:
                await websocket.send(message)
            except asyncio.CancelledError:
                cancelled.append(message)
                getattr(task, "uncancel", int)()

    async def work():
        async with listening(handler, extensions=()) as server, connect_http2(url(server)) as client:
            websockets = [await client.open(str(f"/{i}")) for i in range(5)]
            with batches(websockets):
                for i, websocket in enumerate(websockets):
                    await websocket.send(str(i))
            # A cancelled send has sent its message.
            assert [await it.recv() for it in websockets] == list("01234")

    run(work())
    # The last one had nobody to wait for.
    assert len(cancelled) == 4


def batches(websockets):
    """Collect what is sent on several WebSockets."""
    stack = contextlib.ExitStack()
    for websocket in websockets:
        stack.enter_context(websocket.batch())
    return stack


def test_a_receive_that_waits_writes_what_a_batch_holds_back(run, http):
    async def work():
        async with listening(echo_in_a_batch) as server, connect(url(server), http=http) as websocket:
            await talk_in_a_batch(websocket)

    run(work())


def test_a_batch_is_written_at_its_end(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http, extensions=()) as websocket:
            before = websocket._protocol.written
            with websocket.batch():
                for i in range(10):
                    await websocket.send(str(i))
                with websocket.batch():
                    await websocket.send(Text("event"))
                assert websocket._protocol.written == before
                assert websocket.unsent == 10 * 7 + 11
            assert websocket._protocol.written > before
            assert websocket.unsent == 0
            assert [await websocket.recv() for _ in range(11)] == [*map(str, range(10)), "event"]

    run(work())


def test_a_batch_that_raises_has_sent_its_messages(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            with pytest.raises(TypeError), websocket.batch():
                await websocket.send_many(["before", 7])
            assert await websocket.recv() == "before"

    run(work())


def test_a_batch_is_bounded(run, http):
    async def work():
        async with listening(limit=None) as server, connect(url(server), http=http, extensions=()) as websocket:
            before = websocket._protocol.written
            with websocket.batch():
                for _ in range(100):
                    await websocket.send(b"x" * 1000)
                    assert websocket.connection.corked_bytes <= 40_000
                assert websocket._protocol.written > before
            for _ in range(100):
                await websocket.recv()

    run(work())


def test_many_messages_are_sent_together(run, http):
    async def work():
        async with listening() as server, connect(url(server), http=http) as websocket:
            await websocket.send_many(["text", b"bytes", Binary(b"event")], compress=False)
            assert [await websocket.recv() for _ in range(3)] == ["text", b"bytes", b"event"]
            with pytest.raises(TypeError):
                await websocket.send_many(["sent", 7])
            assert await websocket.recv() == "sent"

    run(work())


def test_the_fragments_of_an_iterable_that_never_waits_are_bounded(run, http):
    size, count, most = 256 * 1024, 200, 0

    async def handler(websocket):
        total = 0
        while total < size * count:
            total += len((await websocket.recv_event()).data)
        await websocket.send(str(total))

    async def work():
        async with listening(handler, parts=True, limit=None) as server:
            async with connect(url(server), http=http, extensions=()) as websocket:

                def fragments():
                    nonlocal most
                    for _ in range(count):
                        most = max(most, websocket.unsent)
                        yield b"x" * size

                await websocket.send(fragments())
                assert await websocket.recv() == str(size * count)

    run(work())
    assert most < 4 * size


def test_other_tasks_get_their_turn_while_an_iterable_is_sent(run, http):
    turns = 0

    async def handler(websocket):
        async for _ in websocket:
            pass

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def work():
        async with listening(handler, limit=None) as server:
            async with connect(url(server), http=http, extensions=()) as websocket:
                counting = asyncio.create_task(count_turns())
                await websocket.send(b"x" * 65536 for _ in range(100))
                counting.cancel()

    run(work())
    assert turns >= 100 * 65536 / (256 * 1024)


def test_a_thread_that_is_not_the_loops_is_refused(run, http):
    """Compressed bytes of two threads would mix."""

    async def work():
        asyncio.get_running_loop().set_debug(True)
        async with listening() as server, connect(url(server), http=http) as websocket:

            def call(method, *args):
                try:
                    asyncio.run(getattr(websocket, method)(*args))
                except RuntimeError as error:
                    return str(error)
                return None

            for method, *args in (
                ("send", "x"),
                ("send", b"x" * 100_000),
                ("recv",),
                ("ping",),
                ("close",),
                ("send_many", ["x"]),
            ):
                error = await asyncio.to_thread(call, method, *args)
                assert error is not None and "run_coroutine_threadsafe" in error, method
            assert websocket.state is State.OPEN
            await websocket.send("later")
            assert await websocket.recv() == "later"

    run(work())


def test_a_server_and_a_client_are_not_called_by_another_thread(run):
    def call(method, *args):
        with pytest.raises(RuntimeError, match=r"belongs to an event loop of another thread: .*run_coroutine"):
            asyncio.run(method(*args))

    async def work():
        async with listening() as server, connect_http2(url(server)) as client:
            for method, *args in (
                (client.open, "/"),
                (client.request, "GET", "/"),
                (client.close,),
                (server.drain, 1.0),
                (server.close,),
                (server.wait_closed,),
                (server.serve_forever,),
            ):
                await asyncio.to_thread(call, method, *args)
            # Nothing was done by that.
            async with connect(url(server)), await client.open("/") as websocket:
                await websocket.send("later")
                assert await websocket.recv() == "later"

    run(work())


def test_a_loop_may_go_on_in_another_thread():
    loop = asyncio.new_event_loop()

    async def begin():
        server = await listening()
        return server, await connect(url(server))

    async def talk(websocket):
        await websocket.send("hello")
        return await websocket.recv()

    async def end(server, websocket):
        await websocket.close()
        await server.close()

    server, websocket = loop.run_until_complete(begin())
    got = []
    thread = threading.Thread(target=lambda: got.append(loop.run_until_complete(talk(websocket))))
    thread.start()
    thread.join(10)
    assert got == ["hello"]
    loop.run_until_complete(end(server, websocket))
    loop.close()


@pytest.mark.skipif("sys.version_info < (3, 11)", reason="a task is given its context since Python 3.11")
def test_a_reader_whose_context_is_entered_is_woken_by_the_loop(run, http):
    async def work():
        async with listening() as server:
            websocket = await connect(url(server), http=http, close_timeout=0.2)
            context, loop = contextvars.copy_context(), asyncio.get_running_loop()
            reader = loop.create_task(websocket.recv(), context=context)
            await asyncio.sleep(0.05)
            # This ends the WebSocket in the very context that its reader is to go on in.
            loop.call_soon(websocket._protocol.abort, websocket, context=context)
            with pytest.raises(Exception, match="1006"):
                await asyncio.wait_for(reader, 5)

    run(work())


def test_a_peer_that_leaves_while_messages_wait_is_no_failure_of_the_handler(run, caplog):
    ends = []

    async def handler(websocket):
        await asyncio.sleep(0.1)
        try:
            async for message in websocket:
                await websocket.send(message)
                await asyncio.sleep(0)
        finally:
            ends.append((websocket.close_code, websocket.state))

    async def work():
        async with listening(handler, close_timeout=1) as server:
            for burst in (masked(TEXT, b"x" * 2000) * 1000, masked(TEXT, b"x" * 100_000) * 20):
                reader, writer = await raw_client(server)
                writer.write(burst)
                await asyncio.sleep(0.05)
                writer.transport.abort()
            while len(ends) < 2:
                await asyncio.sleep(0.01)

    run(work())
    assert ends == [(1006, State.CLOSED)] * 2
    assert [record for record in caplog.records if record.levelname not in ("DEBUG", "INFO")] == []
