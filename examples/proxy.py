"""A WebSocket proxy before a server: `python examples/proxy.py ws://localhost:9000 [PORT] [--http 2]`.

What either side sends goes to the other as it comes, in parts, and no faster than the other takes it. Subprotocols, refusals, headers,
close codes and reasons pass. Each side speaks the version of HTTP that it wants.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

from mintws import (
    ConnectError,
    Connection,
    ConnectionClosed,
    LocalProtocolError,
    State,
    UpgradeAccept,
    UpgradeError,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.asyncio import WebSocket, connect, serve

#: What is between two neighbours, and not passed on (RFC 9110 §7.6.1), beside what a header Connection names; and what each server adds.
NEIGHBOURS = {
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
}
OF_SERVER = {"content-length", "date"}


class Proxy:
    """The way to one server.

    Args:
        url: the server.
        http: the version of HTTP that it is asked in.
    """

    def __init__(self, url: str, http: Literal["1.1", "2", "auto"]) -> None:
        self.server = urlsplit(url)
        self.http = http

    async def open(self, connection: Connection, request: UpgradeRequest) -> UpgradeAccept | UpgradeReject:
        """Open a WebSocket to the server first: its answer is that to the client."""
        peer = request.peer.address[0] if request.peer is not None and request.peer.address else "unknown"
        lines = [value.decode("latin-1") for name, value in request.raw_headers if name == b"connection"]
        named = {name.strip().lower() for name in ",".join(lines).split(",")}
        headers = [*without(NEIGHBOURS | named, request.headers), ("x-forwarded-for", peer)]
        try:
            onward = await connect(
                # The server sees the host that the client has asked for.
                f"{self.server.scheme}://{request.host}{request.target}",
                host=self.server.hostname,
                port=self.server.port or (443 if self.server.scheme == "wss" else 80),
                server_hostname=self.server.hostname if self.server.scheme == "wss" else None,
                http=self.http,
                headers=headers,
                user_agent_header=None,
                subprotocols=request.subprotocols,
                redirects=0,
                proxy=None,
                parts=True,
                limit=None,
            )
        except UpgradeError as refused:
            headers = without(NEIGHBOURS | OF_SERVER, refused.headers)
            return UpgradeReject(refused.status, headers=headers, body=refused.body)
        except ConnectError as error:
            return UpgradeReject(504 if isinstance(error, TimeoutError) else 502, body=f"{error}\n".encode())
        connection.app = onward
        # The handler runs unless the client has left meanwhile.
        asyncio.get_running_loop().call_soon(close_unless_open, connection, onward)
        assert onward.response is not None
        headers = without(NEIGHBOURS | OF_SERVER, onward.response.headers)
        return UpgradeAccept(subprotocol=onward.subprotocol, headers=headers)

    async def carry(self, websocket: WebSocket) -> None:
        """Carry what comes on either side to the other, until both are closed."""
        onward: WebSocket = websocket.app
        try:
            await asyncio.gather(pass_on(websocket, onward, 1001), pass_on(onward, websocket, 1014))
        finally:
            await onward.close(1001)


async def pass_on(source: WebSocket, sink: WebSocket, lost: int) -> None:
    """Send messages on as they come, then the Close.

    While `send` waits for the sink nothing is received from the source, which then waits too.

    Args:
        lost: the code that stands for 1006, which cannot be sent: the source has left without a Close.
    """
    try:
        while True:
            await sink.send(await source.recv_event())
    except ConnectionClosed:
        match source.close_code:
            case None:
                pass  # the sink has ended, and who passes on what comes from it closes the source
            case 1005:
                await sink.close(None)
            case 1006:
                await sink.close(lost)
            case code:
                await sink.close(code, source.close_reason or "")


def without(names: set[str], headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give headers but for those of these names."""
    return [(name, value) for name, value in headers if name.lower() not in names]


def close_unless_open(connection: Connection, onward: WebSocket) -> None:
    """Close the WebSocket to the server if there is none to the client."""
    if connection.state is not State.OPEN:
        onward.transport.abort()


async def main(url: str, port: int, http: Literal["1.1", "2", "auto"]) -> None:
    """Serve until Ctrl-C."""
    proxy = Proxy(url, http)
    async with serve(proxy.carry, "localhost", port, upgrade=proxy.open, parts=True, limit=None) as server:
        print(f"ws://localhost:{server.port}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, without a path")
    parser.add_argument("port", type=int, nargs="?", default=8765)
    parser.add_argument(
        "--http", choices=["1.1", "2", "auto"], default="auto", help="the HTTP that the server is asked in"
    )
    given = parser.parse_args()
    if not given.url.startswith(("ws://", "wss://")):
        parser.error(f"{given.url!r} must begin with ws:// or wss://")
    try:
        asyncio.run(main(given.url, given.port, given.http))
    except (OSError, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
