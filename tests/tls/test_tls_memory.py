"""Memory of TLS connections: it stays what an idle one takes, whatever has passed, and is free when the last reference goes."""

from __future__ import annotations

import gc
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from weakref import ref

import pytest
import trustme
from tls_pair import VERSIONS, Sides, carry, client_context, connected, feed, server_context, shake_hands, sides

from mintws.tls import TlsBuffers

#: In a process of its own, so that no other test has left room that is used again: what is resident for a side, in KiB.
MEASURE = """
import gc, os, sys
from tls_pair import carry, client_context, server_context, shake_hands, sides, VERSIONS
from mintws.tls import TlsBuffers

version, COUNT, SIZE = VERSIONS[int(sys.argv[1])], 100, int(sys.argv[2])
buffers, client, server = TlsBuffers(), client_context(version), server_context(version)

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def talk(them, size):
    assert carry(them, upwards=them.client.send(bytes(size))) == (b"", bytes(size))
    assert carry(them, downwards=them.server.send(bytes(size))) == (bytes(size), b"")

def opened():
    them = sides(client, server, buffers=buffers)
    shake_hands(them)
    talk(them, 32)
    return them

for _ in range(5):
    talk(opened(), SIZE)
before = resident()
kept = [opened() for _ in range(COUNT)]
idle = resident()
for them in kept:
    talk(them, SIZE)
print((idle - before) / COUNT / 2 / 1024, (resident() - before) / COUNT / 2 / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the kernel tells no resident size here")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1 << 16, 1 << 20])
def test_a_side_keeps_no_more_memory_after_large_plaintext(version: ssl.TLSVersion, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(VERSIONS.index(version)), str(size)],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    idle, after = map(float, done.stdout.split())
    # About 23 KiB for each, of which OpenSSL's buffers for a record are most.
    assert 5 < idle < 40
    assert after < idle + 8


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def closed(version: ssl.TLSVersion) -> Sides:
    them = connected(version=version)
    carry(them, upwards=them.client.send(b"x" * 100_000) + them.client.close())
    carry(them, downwards=them.server.close())
    return them


def cut_off(version: ssl.TLSVersion) -> Sides:
    them = connected(version=version)
    for tls in them:
        tls.receive(b"")
    return them


def corrupted(version: ssl.TLSVersion) -> Sides:
    them = connected(version=version)
    sent = bytearray(them.client.send(b"x" * 1000))
    sent[-1] ^= 1
    carry(them, upwards=bytes(sent))
    return them


def half_open(version: ssl.TLSVersion) -> Sides:
    them = sides(version=version)
    feed(them.server, them.client.start())
    return them


def refused(version: ssl.TLSVersion) -> Sides:
    them = sides(client_context(version, trusts=trustme.CA()), server_context(version))
    shake_hands(them)
    return them


def no_tls(version: ssl.TLSVersion) -> Sides:
    them = sides(version=version)
    for tls in them:
        tls.start()
        tls.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return them


def named(version: ssl.TLSVersion) -> Sides:
    server = server_context(version)
    server.sni_callback = lambda ssl_object, _name, context: setattr(ssl_object, "context", context)
    return connected(client_context(version), server)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", [connected, closed, cut_off, corrupted, half_open, refused, no_tls, named])
def test_a_connection_is_freed_with_its_last_reference(version: ssl.TLSVersion, end: Callable[..., Sides]) -> None:
    # Whatever its end was, and while what it shared lives on.
    them = end(version=version)
    gone = [ref(tls.ssl_object) for tls in them]
    errors = [tls.end for tls in them]
    del them
    assert [it() for it in gone] == [None, None]
    assert all(error is None or isinstance(error, ssl.SSLError) for error in errors)


@pytest.mark.usefixtures("uncollected")
def test_a_connection_is_freed_while_its_buffers_are_shared() -> None:
    buffers = TlsBuffers()
    stays, goes = connected(buffers=buffers), connected(buffers=buffers)
    carry(goes, upwards=goes.client.send(b"x" * 100_000))
    gone = [ref(tls.ssl_object) for tls in goes]
    del goes
    assert [it() for it in gone] == [None, None]
    assert carry(stays, upwards=stays.client.send(b"still here")) == (b"", b"still here")
