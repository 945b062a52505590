"""Sockets that a process manager has opened for this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from drivers.conftest import echo, url

from mintws import LocalProtocolError
from mintws.asyncio import connect, inherited_sockets, serve
from mintws.drivers import inherited


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that the environment tells of."""
    sock = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(inherited, "FIRST", sock.fileno())
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.delenv("LISTEN_FDNAMES", raising=False)
    inherited._inherited.cache_clear()
    yield sock
    for it in inherited._inherited():
        it[1].detach()
    inherited._inherited.cache_clear()
    sock.close()


def test_each_call_returns_the_same_sockets_and_no_child_process_takes_them(given):
    [sock] = inherited_sockets()
    assert sock.getsockname() == given.getsockname()
    assert inherited_sockets() == [sock]
    assert not sock.get_inheritable()
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & os.environ.keys()


def test_sockets_are_found_by_their_names(given, monkeypatch):
    monkeypatch.setenv("LISTEN_FDNAMES", "web")
    assert inherited_sockets("other") == []
    assert inherited_sockets("web") == inherited_sockets() != []


def test_sockets_of_another_process_are_not_taken(given, monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    assert inherited_sockets() == []


def test_without_a_process_manager_there_is_none(given, monkeypatch):
    monkeypatch.delenv("LISTEN_FDS")
    assert inherited_sockets() == []


@pytest.mark.parametrize(
    "environment", [{"LISTEN_FDS": "two"}, {"LISTEN_PID": "me"}, {"LISTEN_PID": ""}, {"LISTEN_FDNAMES": "a:b"}]
)
def test_an_environment_that_is_malformed_is_told(given, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LocalProtocolError, match=next(iter(environment))):
        inherited_sockets()


def test_a_descriptor_that_is_no_socket_is_told(given, monkeypatch):
    with open(os.devnull) as null:
        monkeypatch.setattr(inherited, "FIRST", null.fileno())
        with pytest.raises(OSError, match="socket"):
            inherited_sockets()


def test_a_server_listens_on_several_sockets(run, http, tmp_path):
    async def work():
        path = str(tmp_path / "socket")
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        tcp = [socket.create_server(("127.0.0.1", 0), backlog=7) for _ in range(2)]
        ports = [it.getsockname()[1] for it in tcp]
        async with serve(echo, sock=[*tcp, unix]) as server:
            assert server.port == ports[0]
            assert len(server.sockets) == 3
            for where in (
                {"host": "127.0.0.1", "port": ports[0]},
                {"host": "127.0.0.1", "port": ports[1]},
                {"path": path},
            ):
                async with connect(url(server), http=http, **where) as websocket:
                    await websocket.send("x")
                    assert await websocket.recv() == "x"

    run(work())


@pytest.mark.parametrize(
    ("sock", "error", "message"),
    [
        ([], LocalProtocolError, "was one inherited"),
        ("socket", TypeError, "sock is"),
        ([5], TypeError, "sock is"),
        (5, TypeError, "sock is"),
    ],
)
def test_what_is_no_socket_is_refused_where_it_is_given(sock, error, message):
    with pytest.raises(error, match=message):
        serve(echo, sock=sock)
