"""A transport in memory does what one of a socket does: each conversation runs on both, and its protocols are told the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from drivers.conftest import until

from mintws.asyncio.memory import MemoryTransport, memory_transports

#: More than fits between two ends, and into a write buffer.
MUCH = 4 << 20


class Told(asyncio.Protocol):
    """A protocol that notes what it is told."""

    def __init__(self, keeps_open: bool = False) -> None:
        self.calls: list[Any] = []
        self.data = bytearray()
        self.keeps_open = keeps_open

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.data:
            self.calls.append("data")
        self.data += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.calls.append(("lost", type(error)))

    @property
    def is_lost(self) -> bool:
        return any(isinstance(it, tuple) for it in self.calls)


class Buffered(Told, asyncio.BufferedProtocol):
    """The same with a buffer of its own."""

    space = bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.space

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.space[:nbytes]))


async def over_sockets(one: Told, other: Told) -> None:
    loop = asyncio.get_running_loop()
    for sock, protocol in zip(socket.socketpair(), (one, other), strict=True):
        await loop.create_connection(lambda it=protocol: it, sock=sock)


async def in_memory(one: Told, other: Told) -> None:
    for transport, protocol in zip(memory_transports(asyncio.get_running_loop()), (one, other), strict=True):
        transport.start(protocol)


async def ends(one: Told, other: Told) -> None:
    one.transport.write(b"hello")
    await until(lambda: other.data)
    one.transport.close()
    assert one.transport.is_closing()
    one.transport.write(b"too late")
    await until(lambda: other.is_lost)
    assert other.data == b"hello"


async def ends_a_half(one: Told, other: Told) -> None:
    other.keeps_open = True
    one.transport.write(b"question")
    one.transport.write_eof()
    with pytest.raises(RuntimeError):
        one.transport.write(b"more")
    await until(lambda: "eof" in other.calls)
    assert not other.transport.is_closing()
    other.transport.write(b"answer")
    other.transport.close()
    await until(lambda: one.is_lost)
    assert (bytes(one.data), bytes(other.data)) == (b"answer", b"question")


async def ends_after_much(one: Told, other: Told) -> None:
    one.transport.write(bytes(MUCH))
    one.transport.close()
    assert not one.is_lost
    await until(lambda: other.is_lost)
    assert len(other.data) == MUCH


async def ends_a_half_after_much(one: Told, other: Told) -> None:
    one.transport.write(bytes(MUCH))
    one.transport.write_eof()
    await until(lambda: one.is_lost)
    assert len(other.data) == MUCH


async def is_aborted(one: Told, other: Told) -> None:
    one.transport.write(b"hello")
    one.transport.abort()
    assert one.transport.is_closing()
    one.transport.abort()
    await until(lambda: other.is_lost)
    assert other.data == b"hello"


async def is_aborted_after_much(one: Told, other: Told) -> None:
    other.transport.pause_reading()
    one.transport.write(bytes(MUCH))
    one.transport.abort()
    await until(lambda: one.is_lost)
    other.transport.resume_reading()
    await until(lambda: other.is_lost)
    assert 0 < len(other.data) < MUCH


async def is_told_that_nobody_reads(one: Told, other: Told) -> None:
    one.keeps_open = True
    other.transport.abort()
    await until(lambda: "eof" in one.calls)
    while not one.is_lost:
        one.transport.write(b"hello")
        await asyncio.sleep(0.01)


async def waits_for_a_reader(one: Told, other: Told) -> None:
    other.transport.pause_reading()
    one.transport.set_write_buffer_limits(high=1000, low=10)
    one.transport.write(bytes(MUCH))
    assert one.calls == ["pause"]
    assert one.transport.get_write_buffer_size() > 1000
    await asyncio.sleep(0.05)
    assert other.data == b"" and not other.transport.is_reading()
    other.transport.resume_reading()
    await until(lambda: len(other.data) == MUCH)
    assert one.calls == ["pause", "resume"] and one.transport.get_write_buffer_size() == 0
    one.transport.close()
    await until(lambda: other.is_lost)


async def loses_its_reader(one: Told, other: Told) -> None:
    other.transport.pause_reading()
    one.transport.write(bytes(MUCH))
    other.transport.abort()
    await until(lambda: one.is_lost)


async def writes_in_pieces(one: Told, other: Told) -> None:
    one.transport.write(b"")
    one.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
    with pytest.raises(TypeError):
        one.transport.write("text")
    await until(lambda: len(other.data) == 3)
    other.transport.close()
    await until(lambda: one.is_lost)


CONVERSATIONS = [
    ends,
    ends_a_half,
    ends_after_much,
    ends_a_half_after_much,
    is_aborted,
    is_aborted_after_much,
    is_told_that_nobody_reads,
    waits_for_a_reader,
    loses_its_reader,
    writes_in_pieces,
]

#: Where the system resets a connection, since something on it was not read: which error that is, and whether the end of the peer's half is
#: seen before, is its own.
RESETS = {loses_its_reader, is_told_that_nobody_reads}


@pytest.mark.parametrize("kind", [Told, Buffered])
@pytest.mark.parametrize("converse", CONVERSATIONS, ids=lambda it: it.__name__)
def test_protocols_are_told_the_same_as_over_a_socket(
    run: Callable[[Any], Any], converse: Callable[[Told, Told], Awaitable[None]], kind: type[Told]
) -> None:
    told = []

    async def work(connect: Callable[[Told, Told], Awaitable[None]]) -> None:
        one, other = kind(), kind()
        await connect(one, other)
        await asyncio.sleep(0.01)
        await converse(one, other)
        await until(lambda: one.is_lost and other.is_lost)
        told.append((one.calls, other.calls))

    run(work(over_sockets))
    run(work(in_memory))
    if converse in RESETS:
        for one, _ in told:
            assert issubclass(one[-1][1], OSError)
        told = [([it for it in one[:-1] if it != "eof"], other) for one, other in told]
    assert told[0] == told[1]


def test_a_fault_of_a_protocol_is_reported_and_ends_the_transport(run):
    class Broken(Told):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async def work(connect):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        one, other = Told(), Broken()
        await connect(one, other)
        one.transport.write(b"hello")
        await until(lambda: one.is_lost and other.is_lost)
        return [type(it) for it in reported], other.calls, one.calls

    assert run(work(over_sockets)) == run(work(in_memory))


def test_no_more_is_on_its_way_than_fits(run):
    async def work():
        one, other = Told(), Told()
        await in_memory(one, other)
        other.transport.pause_reading()
        one.transport.write(bytes(100_000))
        assert one.transport.get_write_buffer_size() == 100_000 - 65536
        one.transport.write(bytes(40_000))
        assert one.calls == ["pause"]
        other.transport.resume_reading()
        await until(lambda: len(other.data) == 140_000)
        assert one.calls == ["pause", "resume"]

    run(work())


def test_limits_of_the_write_buffer_are_those_of_asyncio(run):
    async def work():
        one, _ = memory_transports(asyncio.get_running_loop())
        sock, _peer = socket.socketpair()
        other, _ = await asyncio.get_running_loop().create_connection(Told, sock=sock)
        for limits in ({}, {"high": 1000}, {"low": 1000}, {"high": 0}, {"high": 10, "low": 10}):
            one.set_write_buffer_limits(**limits)
            other.set_write_buffer_limits(**limits)
            assert one.get_write_buffer_limits() == other.get_write_buffer_limits()
        for wrong in ({"high": 1, "low": 2}, {"low": -1, "high": 1}):
            with pytest.raises(ValueError, match="high"):
                one.set_write_buffer_limits(**wrong)
        other.abort()
        _peer.close()

    run(work())


def test_it_knows_no_socket_and_an_empty_address(run):
    async def work():
        one, _ = memory_transports(asyncio.get_running_loop())
        assert isinstance(one, asyncio.Transport) and isinstance(one, MemoryTransport)
        assert one.get_extra_info("socket") is None
        assert one.get_extra_info("peername") == one.get_extra_info("sockname") == ""
        assert one.get_extra_info("anything", 5) == 5
        assert one.can_write_eof()

    run(work())
