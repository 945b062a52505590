"""TLS without I/O (RFC 8446, RFC 5246): ciphertext in, plaintext out, and back; what a client offers by ALPN (RFC 7301)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto

from mintws import _core
from mintws.errors import LocalProtocolError
from mintws.events import Role

#: The most plaintext in a record (RFC 8446 §5.1).
RECORD = 1 << 14
#: The most ciphertext that is decrypted at a time.
READ_SIZE = 1 << 17

#: The number of the ALPN extension (RFC 7301 §3.1).
_ALPN = 16


class TlsBuffers:
    """Buffers that the TLS connections of one thread can share.

    A `MemoryBIO` keeps the size of the largest piece that it has held: of two that a connection had for itself, 130 KiB were measured after
    64 KiB each way. OpenSSL takes all that is in one, and keeps a record that is not whole itself. So these are empty between calls.

    Attributes:
        incoming, outgoing: ciphertext on its way into OpenSSL and out of it.
        ciphertext: room for `READ_SIZE` bytes.
        plaintext: room for what these come to, with a record that has begun before; the same memory, since ciphertext is in `incoming`
            before there is plaintext.
    """

    __slots__ = ("ciphertext", "incoming", "outgoing", "plaintext")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.plaintext = memoryview(bytearray(READ_SIZE + RECORD))
        self.ciphertext = self.plaintext[:READ_SIZE]


class TlsState(Enum):
    """The state of a TLS connection."""

    #: The handshake is not done.
    HANDSHAKE = auto()
    #: Plaintext passes.
    OPEN = auto()
    #: Our close_notify, or an alert, is the last that was said.
    CLOSED = auto()


class Tls:
    """One side of a TLS connection.

    Write what `start` gives, and what `receive` gives beside plaintext. `send` may be called in the state OPEN.

    Args:
        context: a context for this role.
        role: which side this is.
        server_hostname: what a client calls the server, and checks its certificate for.
        alpn: what a client offers, best first, and leaves the list of the context as it is; `None` offers that list.
        buffers: what is shared with other connections of the same thread.

    Raises:
        ssl.SSLError, ValueError: no connection can be made with this context.

    Attributes:
        ssl_object: tells what was agreed on.
        records: decrypts and encrypts once the handshake is done, for a driver that has buffers of its own.
        state: what may be said.
        end: why nothing more comes, once that is so: an `ssl.SSLZeroReturnError` after the peer's close_notify, an `ssl.SSLEOFError` if
            the transport ended without it, so that something may be missing (RFC 8446 §6.1), else what is wrong.
    """

    __slots__ = ("_buffers", "end", "records", "ssl_object", "state")

    def __init__(
        self,
        context: ssl.SSLContext,
        role: Role,
        *,
        server_hostname: str | None = None,
        alpn: Sequence[str] | None = None,
        buffers: TlsBuffers | None = None,
    ) -> None:
        self._buffers = buffers = buffers or TlsBuffers()
        self.state = TlsState.HANDSHAKE
        self.end: ssl.SSLError | None = None
        bios = buffers.incoming, buffers.outgoing
        if role is Role.SERVER:
            self.ssl_object = context.wrap_bio(*bios, server_side=True)
        elif alpn is None:
            self.ssl_object = context.wrap_bio(*bios, server_hostname=server_hostname)
        else:
            before = offered(context, server_hostname)
            offer(context, alpn)
            try:
                self.ssl_object = context.wrap_bio(*bios, server_hostname=server_hostname)
            finally:
                # OpenSSL has copied the list into the connection.
                offer(context, before)
        self.records = _core.TlsRecords(self.ssl_object, *bios)

    @property
    def plaintext(self) -> memoryview:
        """The room for what `records` decrypts at a time, at most `READ_SIZE` bytes of ciphertext."""
        return self._buffers.plaintext

    def start(self) -> bytes:
        """Begin the handshake, as a client does."""
        return b"" if self.ssl_object.server_side else self.shake_hands(b"")[0]

    def receive(self, ciphertext: bytes | memoryview) -> tuple[bytes, bytes]:
        """Take what came from the peer; `b""` says that the transport has ended.

        Returns:
            Plaintext, and bytes to write: of the handshake, an alert, or the answer to a KeyUpdate.
        """
        if not ciphertext:
            self.receive_eof()
        plaintext, reply = [], []
        for start in range(0, len(ciphertext), READ_SIZE):
            piece: bytes | memoryview = memoryview(ciphertext)[start : start + READ_SIZE]
            if self.state is TlsState.HANDSHAKE:
                due, piece = self.shake_hands(piece)
                reply.append(due)
            if self.state is TlsState.HANDSHAKE or self.end is not None or not piece:
                continue
            size, due, end = self.records.decrypt(piece, self._buffers.plaintext)
            plaintext.append(bytes(self._buffers.plaintext[:size]))
            reply.append(due)
            if end is not None:
                self.receive_end(end)
        return b"".join(plaintext), b"".join(reply)

    def send(self, plaintext: bytes | memoryview) -> bytes:
        """Encrypt plaintext.

        Raises:
            LocalProtocolError: the handshake is not done, or `close` was called, or the connection has failed.
            ssl.SSLWantReadError: the server has begun another handshake, as TLS 1.2 lets it, unless the context has
                `ssl.OP_NO_RENEGOTIATION`; nothing was sent.
        """
        if self.state is not TlsState.OPEN:
            raise LocalProtocolError(f"nothing is sent in the state {self.state.name}: look at `state` before")
        return b"".join(self.records.encrypt(plaintext))

    def close(self) -> bytes:
        """Say that nothing more is sent, by close_notify (RFC 8446 §6.1). What the peer still sends comes as before."""
        if self.state is TlsState.HANDSHAKE:
            self.end = ssl.SSLError("the TLS connection was closed before the handshake was done")
        if self.state is TlsState.OPEN:
            with suppress(ssl.SSLError):
                # It would wait for the peer's.
                self.ssl_object.unwrap()
        self.state = TlsState.CLOSED
        return self._buffers.outgoing.read()

    def shake_hands(self, ciphertext: bytes | memoryview) -> tuple[bytes, bytes]:
        """Go on with the handshake.

        Returns:
            Bytes to write, and what came after the handshake, to be decrypted by `records`.
        """
        incoming, outgoing = self._buffers.incoming, self._buffers.outgoing
        try:
            incoming.write(ciphertext)
            self.ssl_object.do_handshake()
            self.state = TlsState.OPEN
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.receive_end(error)
        finally:
            rest, reply = incoming.read(), outgoing.read()
        return reply, rest

    def receive_end(self, error: ssl.SSLError) -> None:
        """Take what `records` gives as the end."""
        if self.end is None:
            # Its frames hold the connection.
            self.end = error.with_traceback(None)
        if not isinstance(error, ssl.SSLZeroReturnError):
            # OpenSSL takes nothing more after an alert.
            self.state = TlsState.CLOSED

    def receive_eof(self) -> None:
        """Take the end of the transport; this side may still send, and close (RFC 8446 §6.1)."""
        shaken = self.state is not TlsState.HANDSHAKE
        if self.end is None:
            missing = "without a TLS close_notify" if shaken else "before the TLS handshake was done"
            self.end = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, f"the peer ended the transport {missing}")
        if not shaken:
            self.state = TlsState.CLOSED


def offered(context: ssl.SSLContext, server_hostname: str | None = None) -> list[str]:
    """Give the protocols that a client's context offers.

    A context has no getter for them, so they are read out of the first message of a handshake that goes no further.

    Args:
        context: the context.
        server_hostname: which server is asked, for a context of the caller's own class that wants to know.

    Raises:
        ssl.SSLError: no handshake can begin with this context.
    """
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_hostname).do_handshake()
    return _alpn_of(outgoing.read())


def offer(context: ssl.SSLContext, protocols: Sequence[str]) -> None:
    """Set the protocols that a context offers, or chooses from."""
    try:
        context.set_alpn_protocols(list(protocols))
    except MemoryError:
        # What OpenSSL 1.1.1 says of an empty list, when it has dropped the one before.
        if protocols:
            raise


def _alpn_of(hello: bytes) -> list[str]:
    """Read the protocols out of a record with a ClientHello (RFC 8446 §4.1.2)."""
    # The headers of the record and of the message, the version and the random bytes.
    at = 5 + 4 + 2 + 32
    # The session's name, the cipher suites, the compression methods: each with its size before it.
    for width in (1, 2, 1):
        at += width + int.from_bytes(hello[at : at + width], "big")
    at += 2
    while at < len(hello):
        kind, size = (int.from_bytes(hello[start : start + 2], "big") for start in (at, at + 2))
        if kind == _ALPN:
            return _names(hello[at + 6 : at + 4 + size])
        at += 4 + size
    return []


def _names(listed: bytes) -> list[str]:
    names = []
    while listed:
        end = 1 + listed[0]
        names.append(listed[1:end].decode("ascii"))
        listed = listed[end:]
    return names
