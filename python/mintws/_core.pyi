"""The Rust core. What has no underscore is public through `mintws`; the rest is what the layers above are built on."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias, final

from typing_extensions import Buffer, Self, disjoint_base

from mintws.connection import Carrier, Connection
from mintws.errors import RemoteProtocolError
from mintws.events import Event, Role, Sendable, State
from mintws.extensions import Chain

__all__ = [
    "RSV1",
    "Binary",
    "Close",
    "Contexts",
    "Endpoint",
    "Inbound",
    "Ping",
    "Pong",
    "Pool",
    "PreparedMessage",
    "Text",
    "__version__",
    "data_frames",
    "deflate_accept",
    "deflate_agree",
    "deflate_offer",
    "forked",
    "is_same_host",
    "is_upgrade",
    "new_key",
    "read_request",
    "read_response",
    "transitions",
    "write_ordinary_request",
    "write_ordinary_response",
    "write_rejection",
    "write_request",
    "write_response",
]

__version__: Final[str]

RSV1: Final = 0x40

_Headers: TypeAlias = list[tuple[str, str]]
_Lines: TypeAlias = list[tuple[bytes, bytes]]
_Parameters: TypeAlias = list[tuple[str, str | None]]
_Element: TypeAlias = tuple[str, _Parameters]
_Wish: TypeAlias = tuple[bool, bool, int | None, int | bool | None]
_Agreed: TypeAlias = tuple[bool, bool, int, int]

@final
class Text:
    """A text message, or a fragment of one (RFC 6455 §5.6).

    Args:
        data: the text; `bytes` are taken as UTF-8 and checked when they are sent.
        fin: `False` says that more fragments follow.

    Received, `data` is a `str`, or checked `bytes` if the connection was asked for these.
    """

    __match_args__: ClassVar[tuple[Literal["data"], Literal["fin"]]] = ("data", "fin")
    # Whoever asks a connection for bytes knows it; all others may rely on `str`.
    @property
    def data(self) -> str | Any: ...
    @property
    def fin(self) -> bool: ...
    def __new__(cls, data: str | Buffer, fin: bool = True) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Binary:
    """A binary message, or a fragment of one (RFC 6455 §5.6).

    Args:
        data: the bytes; `bytearray` and `memoryview` are copied.
        fin: `False` says that more fragments follow.
    """

    __match_args__: ClassVar[tuple[Literal["data"], Literal["fin"]]] = ("data", "fin")
    @property
    def data(self) -> bytes: ...
    @property
    def fin(self) -> bool: ...
    def __new__(cls, data: Buffer, fin: bool = True) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Ping:
    """A question whether the peer is there (RFC 6455 §5.5.2).

    Args:
        data: at most 125 bytes, which the Pong brings back.
    """

    __match_args__: ClassVar[tuple[Literal["data"]]] = ("data",)
    @property
    def data(self) -> bytes: ...
    def __new__(cls, data: Buffer = b"") -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Pong:
    """The answer to a Ping, or a sign of life (RFC 6455 §5.5.3).

    Args:
        data: at most 125 bytes: those of the Ping.
    """

    __match_args__: ClassVar[tuple[Literal["data"]]] = ("data",)
    @property
    def data(self) -> bytes: ...
    def __new__(cls, data: Buffer = b"") -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Close:
    """The closing handshake (RFC 6455 §5.5.1).

    Args:
        code: a status code that may be sent (§7.4), or `None` for a Close without one.
        reason: text of at most 123 bytes in UTF-8.
    """

    __match_args__: ClassVar[tuple[Literal["code"], Literal["reason"]]] = ("code", "reason")
    @property
    def code(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    def __new__(cls, code: int | None = 1000, reason: str = "") -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@disjoint_base
class Endpoint:
    """What `Connection` is built on: one end of one WebSocket behind its opening handshake, bytes to events and back."""

    def __new__(cls, role: Role, *_args: Any, **_options: Any) -> Self: ...
    @property
    def state(self) -> State:
        """Where the WebSocket is. It moves in `receive` and in `send`, nowhere else."""

    @property
    def failed(self) -> bool:
        """Whether the peer broke a rule or left without a Close: there is no closing handshake to wait for."""

    @property
    def corked(self) -> int:
        """How many bytes `cork` holds back."""

    @property
    def held(self) -> int:
        """How many bytes came that no event has told of yet: of an unfinished message, or ahead of the opening handshake."""

    def receive(self, data: Buffer) -> tuple[list[tuple[Connection, Event]], bytes]:
        """Take bytes from the peer and say what they mean.

        Args:
            data: the next bytes of the stream, however cut: `bytes`, or a `bytearray` or `memoryview` in one piece. Empty says
                that the peer ended the stream.

        Returns:
            events: what `data` completes, oldest first, as pairs of this connection and its event. A message comes whole, unless
                the connection was asked for parts; its size is at most `limit` bytes, inflated.
            reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2). Often empty.

        A peer that breaks a rule is no exception: the last event is `Failed` (§7.1.7). That, and a `Close` (§5.5.1), is answered
        by handing it to `send` when its turn comes, behind the answers to earlier messages.

        Raises:
            TypeError: `data` is not bytes.
        """

    def send(self, event: Sendable, *, compress: bool | None = None) -> bytes:
        """Say something to the peer.

        Args:
            event: what to say, or a `PreparedMessage`. A `Close` that was received may be sent back as it is (RFC 6455 §5.5.1); a
                `Failed` is written as the Close that says so, or as nothing if none is to be sent (§7.1.7).
            compress: whether the message is compressed; `None` leaves that to the threshold. It means nothing where
                permessage-deflate was not agreed on, or behind the first fragment of a message (RFC 7692 §6).

        Returns:
            Bytes to write, behind all that was returned before. Empty while `cork` holds them back, while the peer's flow control
            does, and when the carrier writes by itself.

        Raises:
            LocalProtocolError: the event may not be sent now, or what it holds is against a rule. Nothing was sent, the state is
                as before.
            TypeError: `event` is none.
        """

    def send_many(self, events: Iterable[Sendable], *, compress: bool | None = None) -> bytes:
        """Say several things at once: all of them, or none.

        Args:
            events: messages and control frames, in their order.
            compress: as in `send`, for each of them.

        Returns:
            Bytes to write, as from `send`.

        Raises:
            LocalProtocolError: one of them may not be sent behind those before it; none was, the state is as before.
            TypeError: one of them is of the opening handshake, or no event.
        """

    def send_vectored(self, event: Sendable, *, compress: bool | None = None) -> list[bytes | memoryview]:
        """Say something to the peer without a copy of a large payload.

        Args:
            event: as in `send`.
            compress: as in `send`.

        Returns:
            Buffers to write in this order, with `writelines` or `sendmsg`: none, one, or a header and the payload of the event
            itself. That is the case for 16 KiB and more from a server over HTTP/1.1, if they are neither compressed nor corked
            (RFC 6455 §5.3 has a client change each byte).

        Raises:
            LocalProtocolError: as from `send`.
            TypeError: as from `send`.
        """

    def cork(self) -> None:
        """Hold frames back until `flush` or `uncork`, so that many go out with one write.

        The state moves as each event is sent, not as it is written. Pongs that `receive` returns are not held back.
        """

    def flush(self) -> bytes:
        """Give the frames that `cork` has held back so far, and go on holding back what comes.

        Returns:
            Bytes to write, as from `send`.
        """

    def uncork(self) -> bytes:
        """Give the frames that `cork` has held back, and hold back no more.

        Returns:
            Bytes to write, as from `send`.
        """

    def release(self) -> None:
        """Free what an idle connection can do without: buffers, and the contexts of permessage-deflate.

        Nothing is lost: what the next messages of both sides may refer to is kept (RFC 7692 §7.2.2), up to 2 KiB of what was
        sent and the window of what came. Within a message the context is kept.
        """

    def _open(
        self,
        *,
        carrier: Carrier | None,
        limit: int | None,
        parts: bool,
        auto_pong: bool,
        text_as_bytes: bool,
        seed: bytes | None,
        rsv: int,
        transforms: Chain | None,
        inflate: tuple[int, bool] | None,
        deflate: tuple[int, bool, int, int, int] | None,
        pool: Pool | None,
    ) -> None:
        """Set up what follows the opening handshake."""

    def _sent(self, kind: str) -> None:
        """Move the state by an event that was sent; `LocalProtocolError` if it may not be sent."""

    def _check(self, kind: str) -> None:
        """Raise `LocalProtocolError` if an event may not be sent."""

    def _received(self, kind: str) -> bool:
        """Move the state by an event that was received; say whether it may come at all."""

    def _receive_early(self, events: list[tuple[Connection, Event]]) -> None:
        """Decode what came before the handshake was done."""

    def _lose(self, events: list[tuple[Connection, Event]], message: str | None = None) -> None:
        """Take the end of the transport: `Failed` with 1006, unless the end was due."""

    def _settle(self) -> bytes:
        """Give the bytes that must follow what was received: Pongs, and the end of a stream whose closing handshake is done."""

    def _send_failed(self, code: int, message: str) -> bytes:
        """Answer a fault: the Close that says `code`, if a Close may say it."""

@final
class PreparedMessage:
    """A message that is encoded once and sent on many connections.

    Args:
        event: a whole `Text` or `Binary`.
        level: how hard to compress, 0 to 9. It is compressed once for each size of window that a connection asks for, with no
            context from other messages (RFC 7692 §7.1.1), and not at all before one does.

    Raises:
        LocalProtocolError: the message is a fragment, its text is no UTF-8, or `level` is out of its range.
        TypeError: `event` is no message.

    Hand it to `Connection.send`. Servers without compression share the very bytes; each client masks its own (RFC 6455 §5.3).
    """

    def __new__(cls, event: Text | Binary, *, level: int = 6) -> Self: ...

@final
class Contexts:
    """permessage-deflate on whole messages, for a connection on which another extension stands next to the wire."""

    def __new__(
        cls,
        inflate: tuple[int, bool],
        deflate: tuple[int, bool, int, int, int],
        limit: int | None,
        pool: Pool | None = None,
    ) -> Self: ...
    def deflate(self, data: bytes) -> bytes:
        """Compress a message (RFC 7692 §7.2.1)."""

    def forget(self) -> None:
        """Let no later message refer to those before."""

    def inflate(self, data: bytes) -> bytes:
        """Undo what the peer's `deflate` did; `RemoteProtocolError` for what does not inflate, or to more than the limit."""

@final
class Pool:
    """The contexts that connections with permessage-deflate share, each for the length of a message.

    Args:
        capacity: how many deflaters it keeps between messages, and how many inflaters.

    Connections take turns: the context that has waited longest is taken over by another that finds its own no more. It then learns what
    that connection's next message may refer to. A copy, by `copy.deepcopy` or pickle, is a new pool.
    """

    def __new__(cls, capacity: int = 8) -> Self: ...

@final
class Inbound:
    """What an HTTP/2 connection receives: DATA of WebSockets goes to their connections, all else to the HTTP/2 library.

    All DATA is counted for the window of the connection, whose credit goes back at once.
    """

    def __new__(cls, server: bool, max_frame_size: int, stream_window: int, connection_window: int) -> Self: ...
    def carry(self, stream: int, connection: Endpoint) -> None:
        """Have the DATA of `stream` go to `connection` from now on."""

    def drop(self, stream: int) -> None:
        """Leave the DATA of `stream` to the HTTP/2 library from now on."""

    def pause(self, stream: int, paused: bool) -> None:
        """Keep credit back, or give what was kept back; the `WINDOW_UPDATE` comes with the next `settle`."""

    def window(self, stream: int) -> tuple[int, int] | None:
        """Give `(left, credit)` of a stream, or of the connection (0): what the peer may send, and what it will be given back."""

    def receive(
        self, data: Buffer, offset: int, events: list[tuple[Connection | None, Any]]
    ) -> tuple[int, bytes | int | None]:
        """Take bytes from `data[offset:]` until there is something for the HTTP/2 library.

        Returns:
            The offset behind it, and a frame for the library, or the number of a stream that was sent more than its window (0:
            the connection was), or `None` at the end of `data`. Events are appended to `events`.
        """

    def tally(self) -> int:
        """Give how many DATA frames of WebSockets that carried something have come since the last call."""

    def settle(self) -> tuple[bytes, list[Connection]]:
        """Give each `WINDOW_UPDATE` that is due, and the connections that have something to say since the last call."""

def data_frames(stream: int, payload: Buffer, max_frame_size: int) -> bytes:
    """Make DATA frames of `payload` for `stream`, each of at most `max_frame_size` bytes (RFC 9113 §6.1)."""

def forked() -> None:
    """Tell the sources of masking-keys that this process is a new fork."""

def transitions() -> list[tuple[str, str, str, str, str]]:
    """Give the tables of states: `(role, state, "send" or "receive", kind, state after)` for all that is allowed."""

def new_key(random: bytes) -> str:
    """Write 16 random bytes as a Sec-WebSocket-Key (RFC 6455 §4.1)."""

def is_upgrade(headers: _Lines) -> bool:
    """Say whether the headers of a request over HTTP/1.1 ask for a WebSocket, rightly or not."""

def is_same_host(host: str, authority: str, scheme: str) -> bool:
    """Say whether the Host of a request over HTTP/2 is its `:authority`, but for case and the port of the scheme (RFC 9113 §8.3.1)."""

def write_request(
    host: str,
    target: str,
    headers: _Headers,
    subprotocols: list[str],
    extensions: str,
    *,
    key: str | None = None,
    scheme: str | None = None,
) -> _Headers:
    """Write a client's request: over HTTP/1.1 with its `key`, over HTTP/2 with its `scheme`."""

def read_request(
    headers: _Lines, start: tuple[bytes, bytes, bytes] | None = None
) -> tuple[
    tuple[str, str, _Headers, list[str], list[_Element], str] | None,
    tuple[RemoteProtocolError, int, _Headers, bytes] | None,
]:
    """Read a client's request, with `start` = method, target and version over HTTP/1.1, without over HTTP/2.

    Returns:
        What is asked, or why it is refused; neither, if it is no request for a WebSocket.
    """

def write_response(
    asked_subprotocols: list[str],
    subprotocol: str | None,
    extensions: str,
    headers: _Headers,
    *,
    key: str | None = None,
) -> _Headers:
    """Write a server's yes: over HTTP/1.1 with the client's `key`."""

def read_response(
    headers: _Lines, offered_subprotocols: list[str], *, key: str | None = None
) -> tuple[tuple[str | None, list[_Element], _Headers], None] | tuple[None, RemoteProtocolError]:
    """Read a server's yes: over HTTP/1.1 with the `key` that was sent.

    Returns:
        The answer, or the error.
    """

def write_rejection(status: int, headers: _Headers, body_len: int, *, http2: bool) -> _Headers:
    """Write the headers of a server's no."""

def write_ordinary_response(status: int, headers: _Headers, body_len: int, *, head: bool, http2: bool) -> _Headers:
    """Write the headers of an ordinary response, with `:status` over HTTP/2; `head` says that it answers a HEAD."""

def write_ordinary_request(method: str, target: str, headers: _Headers, body_len: int, *, scheme: str) -> _Headers:
    """Write the headers of an ordinary request over HTTP/2, the pseudo-headers first."""

def deflate_offer(wish: _Wish) -> _Element:
    """Write a client's offer of permessage-deflate (RFC 7692 §7.1)."""

def deflate_accept(wish: _Wish, name: str, params: Sequence[tuple[str, str | None]]) -> tuple[_Agreed, _Element] | None:
    """Decide, on a server, on one offer: what then holds and the answer to write, or `None` to decline."""

def deflate_agree(wish: _Wish, name: str, params: Sequence[tuple[str, str | None]]) -> _Agreed | None:
    """Check, on a client, an answer: what then holds, or `None` if it is not one to this offer."""
