"""A loop that ends with connections open leaves nothing of ours behind: no exception, no transport."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap

import pytest
from drivers.raw import close_alone, silent_server

#: A server that answers no handshake, a WebSocket that echoes, hooks that never end.
BEGIN = """
import asyncio, sys
from mintws.asyncio import connect, connect_http2, serve

HTTP = sys.argv[1]

async def echo(websocket):
    async for message in websocket:
        await websocket.send(message)

async def never(*_):
    await asyncio.sleep(60)

async def silent():
    server = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    return server, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

async def serving(handler=echo, **options):
    server = await serve(handler, "127.0.0.1", 0, **options)
    return server, f"ws://127.0.0.1:{server.port}"

async def opened(**options):
    server, url = await serving(**options)
    return server, url, await connect(url, http=HTTP)

loop = asyncio.new_event_loop()
"""
#: What begins and is not over when the loop is closed.
WORK = {
    "both ends are open": """
        async def work():
            server, url, websocket = await opened()
            await websocket.send("x")
            await websocket.recv()
            return server, websocket
        keep = loop.run_until_complete(work())
    """,
    "within async with": """
        async def work():
            async with serve(echo, "127.0.0.1", 0) as server:
                async with connect(f"ws://127.0.0.1:{server.port}", http=HTTP) as websocket:
                    await websocket.recv()
    """,
    "within the async with of many": """
        async def work():
            server, url = await serving()
            async with server, connect_http2(url) as client, await client.open() as websocket:
                await websocket.recv()
    """,
    "within an opening": """
        async def work():
            server, url = await silent()
            async with connect(url, http=HTTP) as websocket:
                pass
    """,
    "within an opening of many": """
        async def work():
            server, url = await silent()
            async with connect_http2(url) as client:
                pass
    """,
    "within the upgrade hook": """
        async def work():
            await opened(upgrade=never)
    """,
    "within the response hook": """
        async def work():
            server, url = await serving(respond=never)
            async with connect_http2(url) as client:
                await client.request("GET", "/")
    """,
    "within the closing handshake": """
        async def work():
            server, url, websocket = await opened(handler=never)
            await websocket.close()
    """,
    "within the end of the server": """
        async def work():
            server, url, websocket = await opened(handler=never)
            await server.close()
    """,
    "within the drain of the server": """
        async def work():
            server, url, websocket = await opened(handler=never)
            await server.drain(None)
    """,
    "within the end of many": """
        async def work():
            server, url = await serving(handler=never)
            async with connect_http2(url) as client:
                await client.open()
    """,
    "within a message": """
        async def work():
            server, url, websocket = await opened()
            async def parts():
                yield "a"
                await never()
            await websocket.send(parts())
    """,
    "waiting": """
        async def work():
            server, url, websocket = await opened(handler=never)
            await asyncio.gather(websocket.ping(b"x"), websocket.wait_closed(), websocket.recv(), server.serve_forever())
    """,
}
END = """
if "keep" not in globals():
    pending = loop.create_task(work())
    loop.run_until_complete(asyncio.sleep(0.3))
loop.close()
"""


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_loop_that_is_closed_with_connections_open_shows_no_exception_of_ours(http, work):
    code = BEGIN + textwrap.dedent(work) + END
    done = subprocess.run([sys.executable, "-c", code, http], capture_output=True, text=True, timeout=30, check=False)
    # The message is asyncio's, as is the one of its own server's connections.
    own = ("Task was destroyed but it is pending!", "task: <Task pending ")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if not line.startswith(own)] == []


CLOSE_AND_END = """
import asyncio, ssl, sys
from mintws.asyncio import connect

URL, HTTP, CA = sys.argv[1:]

async def work():
    context = ssl.create_default_context(cafile=CA) if URL.startswith("wss") else None
    async with connect(URL, http=HTTP, ssl=context, extensions=()):
        pass

asyncio.run(work())
"""


@pytest.mark.parametrize("tls", [False, True])
def test_a_loop_that_ends_when_a_websocket_has_closed_leaves_no_transport(run, http, tls, tls_contexts, tmp_path):
    async def work():
        async with silent_server(http, answer=close_alone, tls=tls_contexts[0] if tls else None) as url:
            program = [sys.executable, "-W", "error", "-c", CLOSE_AND_END, url, http, str(tmp_path / "certificate.pem")]
            client = await asyncio.create_subprocess_exec(*program, stderr=subprocess.PIPE)
            _, shown = await client.communicate()
            assert (client.returncode, shown) == (0, b"")

    run(work())


CANCEL_AND_END = """
import asyncio, ssl, sys
from mintws.asyncio import connect, connect_http2

URL, HTTP, CA, MANY, MOMENT = sys.argv[1:]

async def work():
    context = ssl.create_default_context(cafile=CA) if URL.startswith("wss") else None
    if MANY:
        async with connect_http2(URL, ssl=context) as client:
            await client.open()
            cancel()
    else:
        async with connect(URL, http=HTTP, ssl=context, extensions=()):
            cancel()

def cancel():
    begun.set()
    if MOMENT == "while it closes":
        loop = asyncio.get_running_loop()
        loop.call_soon(asyncio.current_task().cancel)

async def main():
    # When this returns, the loop cancels what closes.
    global begun
    begun = asyncio.Event()
    task = asyncio.create_task(work())
    await begun.wait()
    if MOMENT == "while it closes":
        await task

try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
"""


@pytest.mark.parametrize("moment", ["while it closes", "while the loop ends"])
@pytest.mark.parametrize(("http", "many"), [("1.1", ""), ("2", ""), ("2", "many")])
@pytest.mark.parametrize("tls", [False, True])
def test_a_loop_that_ends_when_closing_is_cancelled_leaves_no_transport(
    run, http, tls, many, moment, tls_contexts, tmp_path
):
    async def work():
        async with silent_server(http, answer=close_alone, tls=tls_contexts[0] if tls else None) as url:
            words = [url, http, str(tmp_path / "certificate.pem"), many, moment]
            client = await asyncio.create_subprocess_exec(
                sys.executable,
                "-W",
                "error",
                "-c",
                CANCEL_AND_END,
                *words,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            _, shown = await client.communicate()
            assert (client.returncode, shown) == (0, b"")

    run(work())
