"""An address that cannot be connected to is told in the same words by all drivers."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
import trio

import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws import ConnectError

DRIVERS = ["asyncio", "trio", "sync"]


def failure(driver: str, url: str, **options: Any) -> ConnectError:
    """Give the error with which a client does not open."""
    options["open_timeout"] = 5

    async def enter(connect: Any) -> None:
        async with connect(url, **options):
            pass

    opens = {
        "asyncio": lambda: asyncio.run(enter(mintws.asyncio.connect)),
        "trio": lambda: trio.run(enter, mintws.trio.connect),
        "sync": lambda: mintws.sync.connect(url, **options).open(),
    }
    with pytest.raises(ConnectError) as failed:
        opens[driver]()
    return failed.value


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_address_that_refuses_is_told_with_its_errno(driver, port):
    error = failure(driver, f"ws://127.0.0.1:{port}/")
    refused = f"[Errno {errno.ECONNREFUSED}] Connect call failed ('127.0.0.1', {port})"
    assert (str(error), error.errno) == (f"cannot connect to 127.0.0.1:{port}: {refused}", errno.ECONNREFUSED)
    assert (type(error.__cause__), str(error.__cause__)) == (ConnectionRefusedError, refused)


@pytest.mark.parametrize(
    "options",
    [{"local_addr": ("127.0.0.1", 0)}, {"local_addr": ("192.0.2.7", 0)}, {"local_addr": ("::1", 0)}, {}],
    ids=["local", "bind", "family", "none"],
)
@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "255.255.255.255"]], ids=str
)
def test_addresses_are_told_in_the_same_words(monkeypatch, port, options, addresses):
    system = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **named):
        if host != "many.example":
            return system(host, port, *args, **named)
        if named.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (it, port)) for it in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    errors = [failure(driver, f"ws://many.example:{port}/", **options) for driver in DRIVERS]
    assert len({str(error) for error in errors}) == 1
    assert len({error.errno for error in errors}) == 1
