"""Echo servers over TLS: `python benches/tls.py [--loop uvloop] [--only echo|memory] [--servers NAME,...]`.

echo: microseconds of CPU that the server process spends a message, by the kernel's account, the least of the rounds. All servers run at
once and are loaded by turns, by a blocking client with one connection each, which has the other core.

memory: KiB that the server process has grown by for each of many connections that have echoed one message of so many bytes, and then a
small one, and lie idle, and for each one whose client has begun the handshake and goes no further. Each figure is of a server of its own.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import echo
import measure
import trustme

from mintws import Binary, Http1, Role, UpgradeAccept, UpgradeRequest

SERVERS = ["mintws", "floor", "picows", "websockets", "aiohttp"]
SCENARIOS = [echo.Scenario(32), echo.Scenario(echo.KIB, 64), echo.Scenario(16 * echo.KIB, 4)]
#: How many bytes each idle connection has echoed.
SIZES = [32, 64 * echo.KIB, 256 * echo.KIB]
#: What a server is to answer within, in seconds.
PATIENCE = 30


class Client:
    """A WebSocket on a blocking socket."""

    def __init__(self, server: echo.EchoServer, context: ssl.SSLContext) -> None:
        self._raw = server.name == "floor"
        self._socket = context.wrap_socket(connect(server.port), server_hostname="localhost")
        self._room = bytearray(1 << 18)
        http = Http1(Role.CLIENT)
        self._connection = http.open()
        self._socket.sendall(self._connection.send(UpgradeRequest(f"localhost:{server.port}", "/", extensions=())))
        events = []
        while not events:
            events, _ = http.receive(self._socket.recv(65536))
        if not isinstance(events[0][1], UpgradeAccept):
            raise RuntimeError(f"{server.label} answers with {events[0][1]}")

    def echo(self, size: int, in_flight: int = 1, times: int = 1) -> None:
        """Send so many messages at once and take them back, so many times."""
        frame = self._connection.send(Binary(bytes(size)))
        # A server masks nothing; the floor gives back what came.
        back = (len(frame) if self._raw else len(frame) - 4) * in_flight
        chunk = frame * in_flight
        for _ in range(times):
            self._socket.sendall(chunk)
            left = back
            while left:
                got = self._socket.recv_into(self._room)
                if not got:
                    raise RuntimeError("the server has ended the connection")
                left -= got

    def close(self) -> None:
        self._socket.close()


class Greeting:
    """A connection whose client has sent what begins the handshake, and waits for ever when that is answered."""

    def __init__(self, server: echo.EchoServer, context: ssl.SSLContext) -> None:
        hello = ssl.MemoryBIO()
        begun = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        try:
            begun.do_handshake()
        except ssl.SSLWantReadError:
            self._socket = connect(server.port)
        self._socket.sendall(hello.read())
        if not self._socket.recv(65536):
            raise RuntimeError(f"{server.label} does not answer")

    def close(self) -> None:
        self._socket.close()


def connect(port: int) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def compare(servers: list[tuple[str, str]], tls: str, context: ssl.SSLContext, rounds: int, seconds: float) -> None:
    """Load all servers in all scenarios."""
    table = {}
    with echo.running(servers, tls=tls) as started, ExitStack() as stack:
        clients = {server: stack.enter_context(closing(Client(server, context))) for server in started}
        for scenario in SCENARIOS:
            times = {server: calibrate(client, scenario, seconds) for server, client in clients.items()}

            def case(
                server: echo.EchoServer, scenario: echo.Scenario = scenario, times: dict[echo.EchoServer, int] = times
            ) -> Callable[[], float]:
                def once() -> float:
                    before = measure.cpu_seconds(server.pid)
                    clients[server].echo(scenario.size, scenario.in_flight, times[server])
                    return (measure.cpu_seconds(server.pid) - before) / times[server] / scenario.in_flight * 1e6

                return once

            results = measure.interleave({server.label: case(server) for server in started}, rounds)
            table[scenario.label] = {name: result["min"] for name, result in results.items()}
    measure.table("echo over TLS", table, "us of CPU a message; times the first")


def calibrate(client: Client, scenario: echo.Scenario, seconds: float) -> int:
    """Give how often a client does it in so many seconds."""
    times, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        client.echo(scenario.size, scenario.in_flight)
        times += 1
    return times


def held(name: str, loop: str, tls: str, opened: Callable[[echo.EchoServer], Client | Greeting], count: int) -> float:
    """Give by how many KiB a server grows for each of so many connections, after some that have come and gone."""
    with echo.running([(name, loop)], tls=tls) as [server]:
        for _ in range(count // 20):
            opened(server).close()
        time.sleep(0.3)
        before = measure.resident(server.pid)
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(closing(opened(server)))
            time.sleep(0.3)
            return (measure.resident(server.pid) - before) / count / 1024


def memory(servers: list[tuple[str, str]], tls: str, context: ssl.SSLContext, sizes: Iterable[int], count: int) -> None:
    """Hold connections of all servers."""

    def echoed(size: int) -> Callable[[echo.EchoServer], Client]:
        def opened(server: echo.EchoServer) -> Client:
            client = Client(server, context)
            client.echo(size)
            # The application may hold the last message.
            client.echo(32)
            return client

        return opened

    cases: dict[str, Callable[[echo.EchoServer], Client | Greeting]] = {
        f"idle after {echo.Scenario(size).label.split(',')[0]} each way": echoed(size) for size in sizes
    }
    cases["half-open handshake"] = lambda server: Greeting(server, context)
    table = {
        label: {f"{name} {loop}": held(name, loop, tls, opened, count) for name, loop in servers}
        for label, opened in cases.items()
    }
    measure.table("memory over TLS", table, f"KiB a connection, of {count}; times the first")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--only", choices=["echo", "memory"])
    parser.add_argument("--servers", type=lambda names: names.split(","), default=SERVERS, help=", ".join(SERVERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a round takes for each server, about")
    parser.add_argument("--connections", type=int, default=400, help="how many are held")
    parser.add_argument("--bytes", type=lambda sizes: [int(it) for it in sizes.split(",")], default=SIZES)
    options = parser.parse_args()
    print(measure.describe(measure.machine()))
    servers = [(name, options.loop) for name in options.servers]
    authority = trustme.CA()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    authority.configure_trust(context)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "certificate.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
        if options.only != "memory":
            compare(servers, str(pem), context, options.rounds, options.seconds)
        if options.only != "echo":
            memory(servers, str(pem), context, options.bytes, options.connections)


if __name__ == "__main__":
    main()
