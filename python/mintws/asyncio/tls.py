"""TLS on the transports of a loop."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any
from weakref import WeakKeyDictionary

from mintws import _core
from mintws.asyncio.timers import rearm
from mintws.session import TlsTimeouts
from mintws.tls import Tls, TlsBuffers, TlsState

#: The contexts of clients that give none: to load the system's certificates takes tens of milliseconds and a MiB.
_defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, ssl.SSLContext] = WeakKeyDictionary()
#: The same for TLS to proxies.
_proxy_defaults: WeakKeyDictionary[asyncio.AbstractEventLoop, ssl.SSLContext] = WeakKeyDictionary()
#: The buffers that the connections of a loop share.
_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, TlsBuffers] = WeakKeyDictionary()


def default_context(loop: asyncio.AbstractEventLoop) -> ssl.SSLContext:
    """Give the context that the clients of a loop share, which checks certificates against those of the system."""
    context = _defaults.get(loop)
    if context is None:
        context = _defaults[loop] = ssl.create_default_context()
        # RFC 9113 §9.2.1 forbids it, and a message that is sent during it would fail.
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def proxy_context(loop: asyncio.AbstractEventLoop) -> ssl.SSLContext:
    """Give the context that the clients of a loop share for TLS to proxies, which speak HTTP/1.1 in it."""
    context = _proxy_defaults.get(loop)
    if context is None:
        context = _proxy_defaults[loop] = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
    return context


def shared_buffers(loop: asyncio.AbstractEventLoop) -> TlsBuffers:
    """Give the buffers that the TLS connections of a loop share."""
    buffers = _buffers.get(loop)
    if buffers is None:
        buffers = _buffers[loop] = TlsBuffers()
    return buffers


class TlsProtocol(_core.TlsChannel, asyncio.BufferedProtocol):
    """TLS between a transport of the loop and a protocol, whose `connection_made` is called when the handshake is done.

    A subclass says which side it is, and what the protocol is.

    Args:
        buffers: what the TLS connections of the loop share.
        loop: the loop.
        timeouts: how long the peer is waited for.

    Attributes:
        protocol: the protocol, from the end of the handshake to that of the connection.
    """

    __slots__ = (
        "__weakref__",
        "_buffers",
        "_error",
        "_full",
        "_loop",
        "_paused",
        "_timeouts",
        "_timer",
        "_tls",
        "_transport",
        "_waiting",
        "protocol",
    )

    #: Whether what the peer sends after a fault is read for a while, so that the alert reaches it.
    lingers: bool

    def __init__(self, buffers: TlsBuffers, loop: asyncio.AbstractEventLoop, timeouts: TlsTimeouts) -> None:
        self._buffers = buffers
        self._loop = loop
        self._timeouts = timeouts
        self._timer: asyncio.Handle | None = None
        self._transport: asyncio.Transport
        #: `None` before it has begun, and when its end was told.
        self._tls: Tls | None = None
        #: The transport has more to write than it likes.
        self._full = False
        #: The protocol wants nothing to be read.
        self._paused = False
        #: Ciphertext that was read and waits for a later turn of the loop; nothing is read meanwhile.
        self._waiting = b""
        #: What ended it, if the transport does not know that; nothing passes then.
        self._error: Exception | None = None
        self.protocol: asyncio.BufferedProtocol | None = None

    # What a subclass has.

    def begin(self) -> Tls:
        """Make one side of a TLS connection."""
        raise NotImplementedError

    def make(self) -> asyncio.BufferedProtocol:
        """Make the protocol: the handshake is done."""
        raise NotImplementedError

    def opened(self) -> None:
        """Handle that the protocol has its transport."""

    def failed(self, error: Exception) -> None:
        """Take the error for which the handshake was not done."""
        raise NotImplementedError

    # What the loop calls, beside `get_buffer` and `buffer_updated`.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._arm()
        try:
            self._tls = tls = self.begin()
        except Exception as error:
            self._transport.close()
            self.failed(error)
            return
        self._write(tls.start())
        if tls.end is not None:
            self._fail(tls.end)

    def _receive(self, ciphertext: memoryview) -> None:
        """Take a chunk while no plaintext passes; the core calls this."""
        tls = self._tls
        if tls is None or self._error is not None:
            return
        if tls.state is TlsState.CLOSED:
            _, reply = tls.receive(ciphertext)
            self._write(reply)
            if tls.end is not None:
                self._transport.close()
            return
        reply, rest = tls.shake_hands(ciphertext)
        self._write(reply)
        if tls.end is not None:
            self._fail(tls.end)
        elif tls.state is TlsState.OPEN:
            self._begin_plaintext(tls, rest)

    def eof_received(self) -> bool:
        if self._tls is not None and self._tls.state is not TlsState.CLOSED:
            self._tls.receive_eof()
            self._error = self._tls.end
            self._shut()
            self._write(self._tls.close())
        self._timeouts.close(self._loop.time())
        self._arm()
        return False

    def pause_writing(self) -> None:
        self._full = True
        if self.protocol is not None:
            self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self.protocol is not None:
            self.protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._timeouts.stop()
        self._arm()
        self._shut()
        self._tell_end(self._error or error)

    # What the protocol does by way of its transport, and the core.

    @property
    def reading(self) -> bool:
        """Whether what the peer sends is taken."""
        return not self._paused and not self.is_closing()

    def pause_reading(self) -> None:
        """Take no more from the transport."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what the transport has, when nothing waits."""
        self._paused = False
        if not self._waiting:
            self._transport.resume_reading()

    def close(self) -> None:
        """Say that nothing more is written, and close the transport when the peer has said so too."""
        tls = self._tls
        if tls is None or tls.state is not TlsState.OPEN:
            return
        self._shut()
        self._write(tls.close())
        self._timeouts.close(self._loop.time())
        self._arm()
        if tls.end is not None:
            self._transport.close()
        else:
            self._end_half()

    def abort(self) -> None:
        """End the transport at once."""
        self._shut()
        self._transport.abort()

    def _wait(self, ciphertext: memoryview) -> None:
        """Keep records for the next turn of the loop; the core calls this."""
        self._waiting = bytes(ciphertext)
        self._transport.pause_reading()
        self._loop.call_soon(self._take_waiting)

    def _end(self, error: ssl.SSLError) -> None:
        """Take the end of what the peer sends; the core calls this."""
        tls = self._tls
        if tls is None or self._error is not None:
            return
        if isinstance(error, ssl.SSLWantReadError):
            # What is to be sent would have to wait for another handshake.
            error = ssl.SSLError("the server renegotiates TLS while data is sent: set ssl.OP_NO_RENEGOTIATION")
        closing = tls.state is TlsState.CLOSED
        tls.receive_end(error)
        if closing:
            self._transport.close()
        elif tls.state is TlsState.CLOSED:
            self._fail(error)
        else:
            assert self.protocol is not None
            self.protocol.eof_received()
            self.close()

    # Inside.

    def _begin_plaintext(self, tls: Tls, rest: bytes) -> None:
        """Let plaintext pass: what came with the end of the handshake, and all that follows."""
        self._timeouts.stop()
        self._arm()
        self.protocol = protocol = self.make()
        self._open(tls.records, self._transport, protocol)
        protocol.connection_made(TlsTransport(self, self._transport, tls.ssl_object))
        if self._full:
            protocol.pause_writing()
        self.opened()
        if rest:
            self._buffers.ciphertext[: len(rest)] = rest
            self.buffer_updated(len(rest))

    def _take_waiting(self) -> None:
        """Take as much of what waits as a turn has time for."""
        waiting, self._waiting = self._waiting, b""
        if self._transport.is_closing():
            return
        self._buffers.ciphertext[: len(waiting)] = waiting
        try:
            self.buffer_updated(len(waiting))
        except BaseException:
            # As a loop ends a transport whose protocol fails.
            self.abort()
            raise
        if not (self._waiting or self._paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def _fail(self, error: Exception) -> None:
        """End the transport for a fault, which an alert has told the peer."""
        self._shut()
        self._error = error
        if self.lingers:
            self._timeouts.linger(self._loop.time())
            self._end_half()
        else:
            self._timeouts.close(self._loop.time())
            self._transport.close()
        self._arm()
        self._loop.call_soon(self._tell_end, error)

    def _tell_end(self, error: Exception | None) -> None:
        """Tell once that the connection has ended."""
        tls, self._tls = self._tls, None
        # Whoever is told may keep it, with frames that know this.
        self._error = None
        if tls is None:
            return
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(error)
        else:
            self.failed(error or ConnectionResetError("the TLS handshake was cut off"))

    def _write(self, data: bytes) -> None:
        if data:
            self._transport.write(data)

    def _end_half(self) -> None:
        """Write no more, and read, and discard, what still comes."""
        self.resume_reading()
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:
                self._transport.abort()

    def _arm(self) -> None:
        self._timer = rearm(self._timer, self._loop, self._timeouts.deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._timeouts.expire(self._loop.time()):
            if self._tls is not None and self._tls.state is TlsState.HANDSHAKE:
                timeout = self._timeouts.handshake_timeout
                self._error = TimeoutError(f"the TLS handshake did not end within {timeout:g} s")
            self.abort()
        self._arm()


class TlsTransport(asyncio.Transport):
    """The transport of a protocol over TLS.

    It tells of TLS `ssl_object`, `sslcontext`, `peercert`, `cipher` and `compression`, and all else that the transport beneath tells. What
    it counts as waiting to be written is ciphertext. Its halves do not end apart (RFC 5246 §7.2.1).
    """

    __slots__ = ("_channel", "_ssl_object", "_transport", "is_closing", "write")

    def __init__(self, channel: TlsProtocol, transport: asyncio.Transport, ssl_object: ssl.SSLObject) -> None:
        super().__init__()
        self._channel = channel
        self._transport = transport
        self._ssl_object = ssl_object
        # As methods they would cost a frame for each write.
        self.write = channel.write  # type: ignore[method-assign, assignment]
        self.is_closing = channel.is_closing  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "ssl_object":
                return self._ssl_object
            case "sslcontext":
                return self._ssl_object.context
            case "peercert":
                return self._ssl_object.getpeercert()
            case "cipher":
                return self._ssl_object.cipher()
            case "compression":
                return self._ssl_object.compression()
        return self._transport.get_extra_info(name, default)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def is_reading(self) -> bool:
        return self._channel.reading

    def pause_reading(self) -> None:
        if not self.is_closing():
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._channel.resume_reading()

    def get_protocol(self) -> Any:
        return self._channel.protocol

    def close(self) -> None:
        self._channel.close()

    def abort(self) -> None:
        self._channel.abort()
