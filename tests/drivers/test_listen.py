"""Where `serve` listens: hosts and ports, sockets of the caller's, and how many connections wait in them."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
from pathlib import Path

import pytest
from drivers.conftest import echo, listening, url
from drivers.raw import paths_of

from mintws import ConnectError, LocalProtocolError, UpgradeError
from mintws.asyncio import connect, connect_http2, serve
from mintws.drivers import listener

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the backlog, and has all of 127.0.0.0/8")


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


HOSTS = ["127.0.0.1", "127.0.0.2", *(["::1"] if has_ipv6() else [])]


def backlog_of(server):
    """The backlogs that the system has of a server's sockets."""
    found = set()
    for it in server.sockets:
        with socket.fromfd(it.fileno(), it.family, it.type) as sock:
            found.add(int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)[28:], sys.byteorder))
    (backlog,) = found
    return backlog


def default_backlog():
    return min(listener.BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))


@contextlib.contextmanager
def connected(address, count, family=socket.AF_INET):
    """Connect so many sockets within a turn of the loop, and give how many need not ask again."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        begun = []
        for sock in socks:
            sock.setblocking(False)
            if sock.connect_ex(address) in (0, errno.EINPROGRESS):
                begun.append(sock)
        ready: set[socket.socket] = set()
        while len(ready) < len(begun):
            # Less than the second after which TCP asks again.
            _, found, _ = select.select([], [it for it in begun if it not in ready], [], 0.3)
            if not found:
                break
            ready.update(found)
        yield len(ready)


@LINUX
def test_all_hosts_are_served_on_one_port(run, http):
    async def work():
        async with serve(echo, HOSTS, 0) as server:
            assert [it.getsockname()[:2] for it in server.sockets] == [(host, server.port) for host in HOSTS]
            for host in HOSTS:
                async with connect(f"ws://localhost:{server.port}/", http=http, host=host) as websocket:
                    await websocket.send(host)
                    assert await websocket.recv() == host
        assert server.sockets == ()

    run(work())


@pytest.mark.parametrize("host", [None, "", "localhost", ["localhost", "127.0.0.1"]])
def test_all_families_are_served_on_one_port(run, host):
    async def work():
        async with serve(echo, host, 0) as server:
            assert {it.getsockname()[1] for it in server.sockets} == {server.port}
            families = [it.family for it in server.sockets]
            assert len(families) == len(set(families))
            if has_ipv6() and not host:
                assert set(families) == {socket.AF_INET, socket.AF_INET6}
            async with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
                await websocket.ping()

    run(work())


@pytest.fixture
def made(monkeypatch):
    """The sockets that are made to listen on, of which the first `made.taken` on a port that is named find it taken."""

    class Made(list):
        taken = 0

    made, create = Made(), socket.create_server

    def create_or_refuse(address, **options):
        if address[1] and made.taken:
            made.taken -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        made.append(create(address, **options))
        return made[-1]

    monkeypatch.setattr(listener.socket, "create_server", create_or_refuse)
    return made


@LINUX
@pytest.mark.parametrize("times", [1, listener.TRIES])
def test_a_port_that_is_taken_on_one_host_is_not_taken_on_the_others(run, made, times):
    async def work():
        made.taken = times
        if times == listener.TRIES:
            with pytest.raises(OSError, match="in use") as refused:
                await serve(echo, HOSTS[:2], 0)
            assert refused.value.errno == errno.EADDRINUSE
            assert len(made) == times
        else:
            async with serve(echo, HOSTS[:2], 0) as server:
                assert {it.getsockname()[1] for it in server.sockets} == {server.port}
                assert len(server.sockets) == 2
                assert len(made) > 2

    run(work())
    assert made.taken == 0
    assert all(it.fileno() == -1 for it in made)


@LINUX
def test_a_host_that_cannot_be_served_leaves_no_other_open(run, made):
    async def work():
        with socket.socket() as taken:
            taken.bind(("127.0.0.2", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await serve(echo, ["127.0.0.1", "127.0.0.2"], taken.getsockname()[1])
        with pytest.raises(OSError, match="assign"):
            await serve(echo, ["127.0.0.1", "203.0.113.1"], 0)

    run(work())
    assert made
    assert all(it.fileno() == -1 for it in made)


def test_an_address_of_a_name_whose_family_is_missing_is_passed_over(run, monkeypatch):
    def resolve(host, port, **options):
        first, second = ("2001:db8::1", port, 0, 0), ("127.0.0.1", port)
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET6, kind, 0, "", first), (socket.AF_INET, kind, 0, "", second)]

    monkeypatch.setattr(listener.socket, "getaddrinfo", resolve)

    async def work():
        async with serve(echo, "name.example", 0) as server:
            assert [it.getsockname() for it in server.sockets] == [("127.0.0.1", server.port)]

    run(work())


def test_the_path_of_a_unix_socket_may_have_any_form(run, http, tmp_path):
    async def work():
        for path in paths_of(tmp_path / "socket"):
            async with serve(echo, path=path), connect("ws://localhost/", http=http, path=path) as websocket:
                await websocket.send("hello")
                assert await websocket.recv() == "hello"

    run(work())


@LINUX
def test_the_backlog_is_what_was_asked_for(run, tmp_path):
    async def work():
        async with listening() as server:
            assert backlog_of(server) == default_backlog()
        async with serve(echo, HOSTS, 0, backlog=7) as server:
            assert backlog_of(server) == 7
        for path, backlog, room in (("a", 5, 6), ("b", None, 300)):
            where = str(tmp_path / path)
            async with serve(echo, path=where, backlog=backlog):
                with connected(where, 300, socket.AF_UNIX) as found:
                    assert found == min(room, default_backlog() + 1)

    run(work())


@LINUX
@pytest.mark.parametrize("listens", [None, 3, 1000])
@pytest.mark.parametrize("backlog", [None, 50])
def test_a_socket_that_listens_keeps_its_backlog(run, listens, backlog):
    async def work():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        if listens is not None:
            sock.listen(listens)
        async with serve(echo, sock=sock, backlog=backlog) as server:
            assert server.port == sock.getsockname()[1]
            assert backlog_of(server) == (backlog or listens or default_backlog())

    run(work())


@pytest.mark.parametrize("given", ["host and port", "a socket that listens"])
def test_a_burst_of_clients_waits_in_the_system(run, given):
    async def work():
        where = {"host": "127.0.0.1", "port": 0}
        if given != "host and port":
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            sock.listen(1024)
            where = {"sock": sock}
        async with serve(echo, **where) as server:
            # The loop does nothing meanwhile.
            with connected(("127.0.0.1", server.port), 120) as found:
                assert found == 120

    run(work())


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system has no SO_REUSEPORT")
def test_servers_share_a_port_if_all_say_so(run):
    async def work():
        async with listening(reuse_port=True) as first:
            with pytest.raises(OSError, match="in use"):
                await serve(echo, "127.0.0.1", first.port)
            async with serve(echo, "127.0.0.1", first.port, reuse_port=True) as second:
                assert first.port == second.port
                async with connect(f"ws://127.0.0.1:{first.port}/") as websocket:
                    await websocket.ping()

    run(work())


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({}, LocalProtocolError),
        ({"host": "127.0.0.1", "path": "x"}, LocalProtocolError),
        ({"port": 0, "sock": socket.socket}, LocalProtocolError),
        ({"sock": 5}, TypeError),
        ({"sock": "datagrams"}, LocalProtocolError),
        ({"host": []}, TypeError),
        ({"host": 5}, TypeError),
        ({"host": ["127.0.0.1", 5]}, TypeError),
        ({"host": b"127.0.0.1"}, TypeError),
        ({"port": "http"}, TypeError),
        ({"port": True}, TypeError),
        ({"port": -1}, LocalProtocolError),
        ({"port": 65536}, LocalProtocolError),
        ({"port": 0, "backlog": 0}, LocalProtocolError),
        ({"port": 0, "backlog": 1 << 31}, LocalProtocolError),
        ({"port": 0, "backlog": 10.0}, TypeError),
        ({"port": 0, "reuse_port": 1}, TypeError),
        ({"path": "x", "reuse_port": True}, LocalProtocolError),
        ({"path": ""}, LocalProtocolError),
        ({"path": 5}, TypeError),
        ({"port": 0, "window": 1000}, LocalProtocolError),
        ({"port": 0, "window": 1 << 31}, LocalProtocolError),
        ({"port": 0, "window": None}, TypeError),
        ({"port": 0, "max_concurrent_streams": -1}, LocalProtocolError),
        ({"port": 0, "max_concurrent_streams": "5"}, TypeError),
        ({"port": 0, "max_header_size": 1023}, LocalProtocolError),
        ({"port": 0, "max_header_size": 2048.0}, TypeError),
    ],
    ids=str,
)
def test_what_cannot_be_listened_on_is_refused_where_it_is_given(wrong, error):
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        given = {name: datagrams if value == "datagrams" else value for name, value in wrong.items()}
        with pytest.raises(error):
            serve(echo, **given)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_that_is_not_bound_is_refused(family):
    with socket.socket(family) as sock, pytest.raises(LocalProtocolError, match=r"^sock is not bound.*sock\.bind"):
        serve(echo, sock=sock)


def test_a_port_in_place_of_a_host_is_named_as_such():
    with pytest.raises(TypeError, match=r"^host is a str, or a sequence of them, not 8765$"):
        serve(echo, 8765)


@pytest.mark.parametrize("host", ["ws://127.0.0.1", "127.0.0.1/chat", ["127.0.0.1", "http://localhost"]], ids=str)
def test_a_url_in_place_of_a_host_is_named_as_such(host):
    with pytest.raises(LocalProtocolError, match=r"^host is a name or an address, not a URL or a path: '"):
        serve(echo, host, 0)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "\u00e9" * 64])
def test_a_host_that_is_no_name_is_refused(run, host):
    async def work():
        with pytest.raises(LocalProtocolError, match="is no name"):
            await serve(echo, host, 0)

    run(work())


@pytest.mark.parametrize("window", [None, 65535, 1 << 21])
def test_the_window_is_what_a_client_may_send_before_it_is_taken(run, window):
    async def work():
        options = {} if window is None else {"window": window}
        async with listening(**options) as server, connect_http2(f"ws://127.0.0.1:{server.port}") as client:
            websocket = await client.open()
            stream = websocket.connection.carrier.number
            assert client.http.h2.local_flow_control_window(stream) == (window or 256 * 1024)

    run(work())


@pytest.mark.parametrize(("most", "size"), [(2000, 3000), (None, 70_000), (None, 30_000), (200_000, 150_000)])
def test_a_head_is_taken_up_to_max_header_size(run, http, most, size):
    async def work():
        headers = [("X", "a" * size)]
        async with listening(max_header_size=most) as server, connect(url(server), http=http) as first:
            if size < (most or 64_000):
                async with connect(url(server), http=http, headers=headers) as second:
                    await second.ping()
            else:
                with pytest.raises(ConnectError) as refused:
                    await connect(url(server), http=http, headers=headers)
                assert http == "2" or (isinstance(refused.value, UpgradeError) and refused.value.status == 431)
            await first.ping()

    run(work())


def test_streams_beyond_the_most_wait_for_one_to_end(run):
    async def work():
        async with listening(max_concurrent_streams=2) as server:
            async with connect_http2(f"ws://127.0.0.1:{server.port}") as client:
                assert client.http.h2.remote_settings.max_concurrent_streams == 2
                first, _ = await client.open(), await client.open()
                assert not client.http.has_room
                await first.close()
                third = await client.open()
                await third.ping()

    run(work())
