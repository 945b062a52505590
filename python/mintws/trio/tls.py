"""TLS on a stream, up to the end of its handshake; from then on a transport encrypts and decrypts."""

from __future__ import annotations

import ssl

import trio

from mintws.session import TlsTimeouts
from mintws.tls import Tls, TlsBuffers, TlsState
from mintws.trio.stream import Stream

READ_SIZE = 16 * 1024

_context: trio.lowlevel.RunVar[ssl.SSLContext] = trio.lowlevel.RunVar("mintws TLS context")
_proxy_context: trio.lowlevel.RunVar[ssl.SSLContext] = trio.lowlevel.RunVar("mintws TLS context for proxies")
_buffers: trio.lowlevel.RunVar[TlsBuffers] = trio.lowlevel.RunVar("mintws TLS buffers")


def default_context() -> ssl.SSLContext:
    """Give the context that the clients of a run share, which checks certificates against those of the system."""
    try:
        return _context.get()
    except LookupError:
        context = ssl.create_default_context()
        # RFC 9113 §9.2.1 forbids it, and a message that is sent during it would fail.
        context.options |= ssl.OP_NO_RENEGOTIATION
        _context.set(context)
        return context


def proxy_context() -> ssl.SSLContext:
    """Give the context that the clients of a run share for TLS to proxies, which speak HTTP/1.1 in it."""
    try:
        return _proxy_context.get()
    except LookupError:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        _proxy_context.set(context)
        return context


def shared_buffers() -> TlsBuffers:
    """Give the buffers that the TLS connections of a run share."""
    try:
        return _buffers.get()
    except LookupError:
        buffers = TlsBuffers()
        _buffers.set(buffers)
        return buffers


async def shake_hands(stream: Stream, tls: Tls) -> bytes:
    """Do the handshake.

    Returns:
        What came after it, to be decrypted.

    Raises:
        ssl.SSLError: it was not done, for which the peer has got an alert.
    """
    rest = b""
    await _send(stream, tls.start())
    while tls.state is TlsState.HANDSHAKE and tls.end is None:
        ciphertext = await stream.receive_some(READ_SIZE)
        if ciphertext:
            reply, rest = tls.shake_hands(bytes(ciphertext))
            await _send(stream, reply)
        else:
            tls.receive_eof()
    if tls.end is not None:
        raise tls.end
    return rest


class TlsStream:
    """The plaintext of a stream with TLS.

    Args:
        stream: the stream beneath.
        tls: TLS whose handshake is done.
        early: ciphertext that came with the end of the handshake.
    """

    def __init__(self, stream: Stream, tls: Tls, early: bytes) -> None:
        self._stream = stream
        self._tls = tls
        self._early = early
        #: What waits until a write that is under way has ended.
        self._output = b""
        self._writing = False

    async def receive_some(self, max_bytes: int, /) -> bytes:
        """Wait for plaintext, and return some, which may be more than `max_bytes`; none after the peer's close_notify.

        Raises:
            ssl.SSLError: the stream ended without it, so that something may be missing (RFC 8446 §6.1), or a record is wrong.
        """
        while self._tls.end is None:
            ciphertext, self._early = self._early, b""
            if not ciphertext:
                ciphertext = bytes(await self._stream.receive_some(READ_SIZE))
            plaintext, reply = self._tls.receive(ciphertext)
            await self._write(reply)
            if plaintext:
                return plaintext
        if isinstance(self._tls.end, ssl.SSLZeroReturnError):
            return b""
        raise self._tls.end

    async def send_all(self, data: bytes | bytearray | memoryview, /) -> None:
        """Encrypt and write all bytes."""
        await self._write(self._tls.send(bytes(data)))

    async def aclose(self) -> None:
        """Send close_notify, unless a write was cancelled or has failed, and end both halves."""
        try:
            if not self._writing:
                await self._write(self._tls.close())
        finally:
            await self._stream.aclose()

    async def _write(self, ciphertext: bytes) -> None:
        """Write ciphertext after what is being written: a task that reads may have an answer to a KeyUpdate."""
        self._output += ciphertext
        if self._writing:
            return
        self._writing = True
        while self._output:
            output, self._output = self._output, b""
            await self._stream.send_all(output)
        self._writing = False


async def linger(stream: Stream, timeouts: TlsTimeouts) -> None:
    """After a fault, end our half and discard what the peer sends for a while, so that no reset overtakes the alert."""
    timeouts.linger(trio.current_time())
    assert timeouts.deadline is not None
    with trio.move_on_at(timeouts.deadline):
        await _discard(stream)


async def _discard(stream: Stream) -> None:
    try:
        if hasattr(stream, "send_eof"):
            await stream.send_eof()
        while await stream.receive_some(READ_SIZE):
            pass
    except Exception:
        # It has gone.
        return


async def _send(stream: Stream, data: bytes) -> None:
    if data:
        await stream.send_all(data)
