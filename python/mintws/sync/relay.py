"""TLS to a proxy, done by the background: a transport has a socket with the plaintext, over which it may speak TLS of its own."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from mintws.sync.background import READ, WRITE, background
from mintws.tls import Tls, TlsState

READ_SIZE = 64 * 1024
#: Bytes that wait for one socket above which the other is not read.
BUFFERED = 256 * 1024


class RelayedSocket(socket.socket):
    """The transport's end of a relay, with the addresses of the socket that leads to the proxy."""

    def __init__(self, end: socket.socket, names: tuple[Any, Any], closed: Callable[[], None]) -> None:
        super().__init__(end.family, end.type, end.proto, end.detach())
        self._names = names
        self._was_closed = closed

    def getsockname(self) -> Any:
        return self._names[0]

    def getpeername(self) -> Any:
        return self._names[1]

    def close(self) -> None:
        super().close()
        self._was_closed()


class Side:
    """One of the two sockets of a relay. All methods are the background's.

    Args:
        sock: the socket.
        take: handles what is read, `b""` at its end.
        relay: the relay.

    Attributes:
        output: what the system has not taken yet.
        input_ended: nothing more is read.
    """

    attended = None

    def __init__(self, sock: socket.socket, take: Callable[[bytes], None], relay: Relay) -> None:
        sock.setblocking(False)
        self.output = bytearray()
        self.input_ended = self.ended = False
        self.expires_at = math.inf
        self.other: Side
        self._sock = sock
        self._take = take
        self._relay = relay
        self._half_ends = self._broken = False

    @property
    def interest(self) -> int:
        reads = not self.input_ended and len(self.other.output) < BUFFERED
        return (READ if reads else 0) | (WRITE if self.output else 0)

    def fileno(self) -> int:
        return self._sock.fileno()

    def process(self, events: int) -> None:
        if self.ended or not events:
            return
        if events & WRITE:
            self._push()
        if events & READ and not self.input_ended:
            self._read()
        background().watch(self.other)
        self._relay.settle()

    def write(self, data: bytes) -> None:
        """Write bytes, once the system takes them."""
        if not self._broken:
            self.output += data
            self._push()

    def end_half(self) -> None:
        """Write nothing more than what waits."""
        self._half_ends = True
        self._push()

    def expire(self) -> None:
        self.cut()

    def cut(self) -> None:
        self._relay.end()

    def close_socket(self) -> bool:
        self._sock.close()
        return True

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self.input_ended = not data
        self._take(data)

    def _push(self) -> None:
        try:
            while self.output:
                del self.output[: self._sock.send(self.output)]
            if self._half_ends:
                self._sock.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # What has come before is still read.
            self._broken = True
            self.output.clear()


class Relay:
    """TLS between a socket that leads to a proxy, and one with its plaintext, which a transport has.

    It ends when the transport has closed its socket and the proxy has got what was written there.

    Args:
        sock: the socket that leads to the proxy, which is the relay's from now on.
        tls: one side of TLS whose handshake is done.
        close_timeout: seconds to wait until the proxy has taken everything, once the transport has closed its socket.

    Attributes:
        socket: the transport's.

    Raises:
        OSError: the connection has failed already.
    """

    def __init__(self, sock: socket.socket, tls: Tls, close_timeout: float) -> None:
        names = sock.getsockname(), sock.getpeername()
        ours, theirs = socket.socketpair()
        self.socket = RelayedSocket(theirs, names, self._hang_up)
        self._tls = tls
        self._close_timeout = close_timeout
        self._hung_up = False
        self._plain = Side(ours, self._encrypt, self)
        self._cipher = Side(sock, self._decrypt, self)
        self._plain.other, self._cipher.other = self._cipher, self._plain

    def start(self) -> None:
        """Begin."""
        background().add(self._plain)
        background().add(self._cipher)
        background().call(self._pass_end)

    def settle(self) -> None:
        """End, if nothing is left to be done."""
        if self._hung_up and self._plain.input_ended and not self._cipher.output:
            self.end()

    def end(self) -> None:
        """End both sockets now."""
        for side in (self._plain, self._cipher):
            side.ended = True
            background().watch(side)

    def _hang_up(self) -> None:
        background().call(self._limit)

    def _limit(self) -> None:
        """Limit the time that is left, now that the transport has closed its socket."""
        self._hung_up = True
        self._plain.expires_at = time.monotonic() + self._close_timeout
        background().schedule(self._plain)
        self.settle()

    def _encrypt(self, plaintext: bytes) -> None:
        if not plaintext:
            self._cipher.write(self._tls.close())
            self._cipher.end_half()
        elif self._tls.state is TlsState.OPEN:
            try:
                self._cipher.write(self._tls.send(plaintext))
            except ssl.SSLError:
                # The proxy has begun another handshake.
                self.end()

    def _decrypt(self, ciphertext: bytes) -> None:
        plaintext, reply = self._tls.receive(ciphertext)
        self._cipher.write(reply)
        self._plain.write(plaintext)
        self._pass_end()

    def _pass_end(self) -> None:
        if self._tls.end is not None:
            self._cipher.input_ended = True
            self._plain.end_half()
            background().watch(self._cipher)
