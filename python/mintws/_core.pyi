"""The Rust core. Names that `mintws` re-exports are public; the others are for the layers above."""

from asyncio import AbstractEventLoop, BufferedProtocol, Future, Transport
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, MutableMapping, Sequence
from contextvars import Context
from ssl import MemoryBIO, SSLError, SSLObject
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar, final

from typing_extensions import Buffer, Self, disjoint_base

from mintws.connection import Carrier, Connection
from mintws.errors import RemoteProtocolError
from mintws.events import Event, Headers, Role, Sendable, State
from mintws.extensions import Chain, Offer, Params, PerMessageDeflate
from mintws.tls import TlsBuffers

__all__ = [
    "CAN_LEAD",
    "DEFAULT_PORTS",
    "RSV1",
    "USEFUL_BYTES",
    "WRITE_HIGH",
    "AsgiCycle",
    "Awaitable",
    "Batch",
    "Binary",
    "BlockingWebSocket",
    "BurstWebSocket",
    "Close",
    "Contexts",
    "DataReceiver",
    "DataSender",
    "DeflateAgreement",
    "Endpoint",
    "Handshake",
    "HandshakeRefusal",
    "HandshakeRequest",
    "HandshakeResponse",
    "Lock",
    "LoopState",
    "MessageQueue",
    "Ping",
    "Pong",
    "Pool",
    "PreparedMessage",
    "ProtocolBase",
    "ReadyList",
    "SocketBase",
    "Succession",
    "Text",
    "TlsChannel",
    "TlsRecords",
    "Waiter",
    "WebSocket",
    "__version__",
    "check_close",
    "check_fields",
    "check_headers",
    "closing",
    "coroutine_method",
    "count_fields",
    "deflate_accept",
    "deflate_agree",
    "deflate_offer",
    "forked",
    "is_same_host",
    "is_upgrade",
    "read_absolute",
    "send_to_all",
    "transitions",
    "well_formed",
    "write_ordinary_request",
    "write_ordinary_response",
]

_W = TypeVar("_W", bound=WebSocket)

__version__: Final[str]

RSV1: Final = 0x40
#: How many bytes of a DATA frame count as useful against frames that do nothing (RFC 9113 §10.5).
USEFUL_BYTES: Final = 10
WRITE_HIGH: Final = 65536
CAN_LEAD: Final[bool]

#: The port of each scheme where none is written.
DEFAULT_PORTS: Final[dict[str, int]]

_Headers: TypeAlias = list[tuple[str, str]]
_Lines: TypeAlias = Sequence[tuple[bytes, bytes]]

@final
class Text:
    """A text message, or a fragment of one (RFC 6455 §5.6).

    Args:
        data: the text; `bytes` are taken as UTF-8 and checked when they are sent.
        fin: `False` says that more fragments follow.

    Received, `data` is a `str`, or checked `bytes` if the connection was asked for these.
    """

    __match_args__: ClassVar[tuple[Literal["data"], Literal["fin"]]] = ("data", "fin")
    # `bytes` only on connections that were asked for them; all others can rely on `str`.
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

    Raises:
        LocalProtocolError: the code is not one of two bytes.
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
    """Base class of `Connection`: one end of a WebSocket after its opening handshake, from bytes to events and back."""

    def __new__(cls, role: Role, *_args: Any, **_options: Any) -> Self: ...
    @property
    def state(self) -> State:
        """The state of the WebSocket. Only `receive` and `send` change it."""

    @property
    def failed(self) -> bool:
        """Whether the peer broke a rule or left without a Close, so that there is no closing handshake to wait for."""

    @property
    def corked_bytes(self) -> int:
        """The number of bytes that `cork` holds back."""

    @property
    def undelivered_bytes(self) -> int:
        """The number of received bytes that no event has delivered yet: of an unfinished message, or undecoded."""

    def receive(self, data: Buffer) -> tuple[list[tuple[Connection, Event]], bytes]:
        """Take bytes from the peer and return their events.

        Args:
            data: the next bytes of the stream, cut anywhere: `bytes`, or a contiguous `bytearray` or `memoryview`. Empty means that
                the peer ended the stream.

        Returns:
            events: the events completed by `data`, oldest first, as pairs of this connection and its event. A message is complete,
                unless the option `parts` is set; its size is at most `limit` bytes after decompression.
            reply: bytes to write now, before any other: a Pong for each Ping (RFC 6455 §5.5.2). Often empty.

        A peer that breaks a rule raises no exception: the last event is `Failed` (§7.1.7). Answer that, and a `Close` (§5.5.1), by
        passing it to `send` after the answers to earlier messages.

        Raises:
            TypeError: `data` is not bytes.

        Exceptions of a carrier propagate, and those of an extension that are not an `Exception`, such as `KeyboardInterrupt`. Then the
        next call returns the events, and the connection of that extension has failed with 1011.
        """

    def send(self, event: Sendable, *, compress: bool | None = None) -> bytes:
        """Send an event to the peer.

        Args:
            event: the event, or a `PreparedMessage`. A received `Close` may be sent back unchanged (RFC 6455 §5.5.1). A `Failed` is
                written as the Close that reports it, or as nothing if none is to be sent (§7.1.7). If the peer is gone, answers to
                earlier events are discarded.
            compress: whether to compress the message; `None` leaves that to the threshold. It is ignored if permessage-deflate was
                not agreed on, and after the first fragment of a message (RFC 7692 §6.1).

        Returns:
            Bytes to write after all earlier ones. Empty while `cork` or the peer's flow control holds them back, and if the
            carrier writes by itself.

        Raises:
            LocalProtocolError: the event may not be sent now, or its content breaks a rule. Nothing was sent, and the state is
                unchanged.
            TypeError: `event` is not an event.
        """

    def send_many(self, events: Iterable[Sendable], *, compress: bool | None = None) -> bytes:
        """Send several events at once: all of them, or none.

        Args:
            events: messages and control frames, in their order.
            compress: as in `send`, for each of them.

        Returns:
            Bytes to write, as from `send`.

        Raises:
            LocalProtocolError: one of them may not be sent after those before it. Nothing was sent, and the state is unchanged.
            TypeError: one of them belongs to the opening handshake, or is not an event.
        """

    def send_vectored(self, event: Sendable, *, compress: bool | None = None) -> list[bytes | memoryview]:
        """Send an event without copying a large payload.

        Args:
            event: as in `send`.
            compress: as in `send`.

        Returns:
            Buffers to write in this order, with `writelines` or `sendmsg`: none, one, or a header and the uncopied payload. The
            payload is not copied from 16 KiB on a server over HTTP/1.1, if it is neither compressed nor cut by `max_frame` (a client
            changes each byte, RFC 6455 §5.3). Then it is not corked either: bytes that `cork` has held back so far are returned
            before it.

        Raises:
            LocalProtocolError: as from `send`.
            TypeError: as from `send`.
        """

    def cork(self) -> None:
        """Hold back frames until `flush` or `uncork`, so that many are written at once.

        The state changes as each event is sent, not as it is written. The end of a stream waits for the frames before it. Pongs
        returned by `receive` are not held back. If the peer is lost, frames that are held back are discarded.
        """

    def flush(self) -> bytes:
        """Return the frames that `cork` has held back so far, and continue to hold back later ones.

        Returns:
            Bytes to write, as from `send`.
        """

    def uncork(self) -> bytes:
        """Return the frames that `cork` has held back, and stop holding back.

        Returns:
            Bytes to write, as from `send`.
        """

    def release(self) -> None:
        """Free memory that an idle connection does not need: buffers, and the contexts of permessage-deflate.

        No state is lost: the data that the next messages may refer to is kept (RFC 7692 §7.2.2), up to 2 KiB of sent data and the
        window of received data. Within a message the context is kept.
        """

    def _open(
        self,
        *,
        carrier: Carrier | None,
        limit: int | None,
        memory_limit: int | None,
        max_frame: int | None,
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
        """Prepare the state after the opening handshake, which takes effect when that is done."""

    def _send_by(self, sender: DataSender, number: int) -> None:
        """Write frames as DATA of a stream, from now on or once the connection is open. Those that have to wait go to the carrier."""

    def _deliver_to(self, queue: MessageQueue | None, *, traced: bool = False) -> None:
        """Deliver messages to a queue, instead of returning them from `receive`: from now on, or, if it is `None`, once there is one.

        If the queue is full, later messages wait as bytes until `_receive_early` is called. After the end of the input this has no effect.
        With `traced`, messages are also returned as events, for a log, and sent messages are not encoded by the driver's half of the core.
        """

    @property
    def _auto_pong(self) -> bool:
        """Whether Pings are answered automatically."""

    @property
    def _traffic(self) -> list[int]:
        """The number of messages, frames and payload bytes received, and of those sent."""

    @property
    def _compressed_traffic(self) -> list[int]:
        """The number of payload bytes of compressed messages, as they are on the wire, and without compression: received, and sent."""

    def _sent(self, kind: str) -> None:
        """Change the state for a sent event; raise `LocalProtocolError` if it may not be sent."""

    def _abandon(self) -> None:
        """End at once: nothing more is sent or received."""

    def _check(self, kind: str) -> bool:
        """Raise `LocalProtocolError` if an event may not be sent; return whether the peer is still there."""

    def _received(self, kind: str) -> bool:
        """Change the state for a received event; return whether it is allowed."""

    def _receive_early(self, events: list[Any]) -> None:
        """Decode waiting bytes, as far as their messages can be delivered."""

    def _fail(self, events: list[Any], error: RemoteProtocolError) -> None:
        """Fail the connection for a fault found by the carrier: `Failed` follows the waiting bytes, unless it is too late."""

    def _lose(self, events: list[Any], message: str | None = None) -> None:
        """Handle the end of the transport: `Failed` with 1006, unless the end was due."""

    def _take_replies(self, events: list[Any] | None = None) -> bytes:
        """Return the automatic replies: Pongs, and the end of a stream whose closing handshake is done.

        If an exception is raised, the next call returns `events` too.
        """

    def _cork_message(self, message: PreparedMessage | Text | Binary, *, compress: bool | None = None) -> None:
        """Encode a whole message, which `cork` holds back. A prepared message passes extensions of your own as its event does.

        Raises:
            LocalProtocolError, TypeError: as from `send`.
        """

    def _keep(self, events: list[Any]) -> None:
        """Keep events that an exception holds back. They come first with the next ones."""

    def _is_close_waiting(self) -> bool:
        """Whether the peer's Close is among the undecoded bytes."""

    def _send_failed(self, close: Close) -> bytes:
        """Answer a fault with `close`, if a Close is to be sent."""

@final
class LoopState:
    """The state shared by all transports of one event loop.

    Within a read callback, frames are collected while the WebSocket whose reader runs has unread messages. They are written by the send
    after its last message, or at the end of the callback.
    """

    def __new__(cls, buffer: memoryview) -> Self: ...
    def _begin_turn(self, event_loop: AbstractEventLoop) -> None:
        """Begin a turn, and resume deferred work; called by the loop."""

@disjoint_base
class ProtocolBase:
    """Base class of a driver's transport: reads, wakes readers, and writes once for each chunk read.

    The first argument is its event loop. All others are for the subclass.
    """

    def __new__(cls, event_loop: AbstractEventLoop, *_args: Any, **_named: Any) -> Self: ...
    #: The state shared with the other transports of the loop.
    _shared: LoopState | None
    #: The transport's `write`, while it is connected.
    _writer: Callable[[Any], object] | None
    #: The transport's `is_closing`.
    _is_closing: Callable[[], bool] | None
    #: The transport's `get_write_buffer_size`.
    _buffer_size: Callable[[], int] | None
    #: The `send` of its socket, if the transport calls it first in each write when its write buffer is empty.
    _send: Callable[[Any], int] | None
    #: The connection that has the transport for itself.
    _only: Endpoint | None
    #: What the DATA of WebSockets goes to, over HTTP/2.
    _data_receiver: DataReceiver | None
    @property
    def _behind(self) -> bool:
        """Whether received bytes wait for a turn of the loop to be decoded. The transport is not to be read meanwhile."""
    multiplexed: bool
    full: bool
    @property
    def heard(self) -> int:
        """The number of chunks received."""

    @property
    def written(self) -> int:
        """The number of bytes written to the transport."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to read into."""

    def buffer_updated(self, nbytes: int) -> None:
        """Process the bytes read."""

    def receive_early(self, connection: Endpoint, events: list[Any]) -> None:
        """Decode what a connection has left undecoded, as far as this turn of the loop has time for it."""

    def _take(self, events: list[Any], reply: bytes) -> None:
        """Process the result of a chunk: write the reply, dispatch the events, wake readers, and write the frames that they send."""

    def wake(self) -> None:
        """Wake the readers that have received something."""

    def _flush(self) -> None:
        """Write all frames collected on the loop, and wake their senders; called by the loop."""

    def write(self, data: bytes | memoryview) -> None:
        """Write `bytes` or a `memoryview` of bytes.

        A closing transport is not written to, because it would log each further write.
        """

@final
class TlsRecords:
    """Decrypts and encrypts for one connection whose handshake is done.

    The arguments are an `ssl.SSLObject` and its two `ssl.MemoryBIO`s. Connections that are used in one thread may share these: both are
    empty whenever a call returns.
    """

    def __new__(cls, ssl_object: SSLObject, incoming: MemoryBIO, outgoing: MemoryBIO) -> Self: ...
    def decrypt(self, ciphertext: bytes | memoryview, room: memoryview) -> tuple[int, bytes, SSLError | None]:
        """Decrypt ciphertext into `room`."""

    def encrypt(self, plaintext: bytes | memoryview) -> list[bytes]:
        """Encrypt plaintext."""

@disjoint_base
class TlsChannel:
    """Base class of a protocol with TLS: the work for each chunk that is read, and for each write.

    What comes before and after the time in which plaintext passes is the subclass's: `_receive` gets the chunk then. So is what
    waits for a later turn: `_wait` gets it, and calls `buffer_updated` with it then.
    """

    def __new__(cls, buffers: TlsBuffers, *_args: Any, **_named: Any) -> Self: ...
    def _open(self, records: TlsRecords, transport: Transport, protocol: BufferedProtocol) -> None:
        """Let plaintext pass between a transport and a protocol."""

    def _shut(self) -> None:
        """Let no plaintext pass any more."""

    def is_closing(self) -> bool:
        """Whether writes are discarded: no plaintext passes, or the transport beneath is closing."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give what is to be read into."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read, or as much of it as a turn of the loop has time for."""

    def write(self, data: bytes | memoryview) -> None:
        """Write plaintext. A channel that lets none pass discards it."""

@final
class ReadyList:
    """The queues of one transport whose state has changed: an empty one has received a message, or a queue has ended or become full.

    The driver of the transport drains it after it has processed the bytes it read.
    """

    def __new__(cls) -> Self: ...
    @property
    def empty(self) -> bool:
        """Whether it has none."""

    def drain(self) -> list[MessageQueue]:
        """Remove and return all queues."""

@disjoint_base
class MessageQueue:
    """The received messages of one WebSocket that wait for the application.

    `Connection._deliver_to` makes a connection add them here. A full queue pauses: the connection stops decoding until enough messages
    have been taken.
    """

    def __new__(cls, ready: ReadyList) -> Self: ...
    @property
    def _waiting(self) -> int:
        """The number of messages that wait for the application."""

    @property
    def _paused(self) -> bool:
        """Whether the queue is full, so that the peer is to be paused until the application has taken messages."""

    @property
    def _discarded(self) -> int:
        """The number of messages discarded."""

    @property
    def _taken(self) -> int:
        """The number of messages that the application has taken."""

    def _pop(self) -> Text | Binary | None:
        """Remove and return the oldest message as an event, or `None` if the queue is empty.

        If `_paused` was true before the call and is false after it, the peer may be resumed.
        """

    def _finish(self) -> None:
        """End the queue: no message follows."""

    def _discard(self) -> bool:
        """Discard all later messages, and count them; return whether the peer was paused and may be resumed."""

    def _abandon(self) -> bool:
        """Discard messages above the limit until one is taken, and count them; return whether the peer was paused and may be resumed."""

    def _keep(self) -> None:
        """Queue again the messages that `_abandon` discards."""

@disjoint_base
class WebSocket(MessageQueue):
    """Base class of a driver's WebSocket: received-message queue and batched sends."""

    def __new__(cls, protocol: ProtocolBase, connection: Endpoint) -> Self: ...
    _held_back: bool
    @property
    def _awaited(self) -> bool:
        """Whether a task waits in `recv`."""

    @property
    def _owes_answer(self) -> bool:
        """Whether the application has taken a message and sent nothing since."""

    async def recv(self) -> str | bytes:
        """Wait for the next message and return it.

        A cancelled call loses no message.

        Raises:
            ConnectionClosed: the WebSocket has ended.
        """

    async def recv_event(self) -> Text | Binary:
        """Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.

        Raises:
            ConnectionClosed: the WebSocket has ended.
        """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> str | bytes: ...
    async def send(
        self,
        message: str | Buffer | Text | Binary | PreparedMessage | Iterable[Any] | AsyncIterable[Any],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.

        A synchronous or asynchronous iterable of `str` or of bytes is one message, with each element a fragment. Other messages wait
        until it is complete. When the call returns, the message has been passed to the transport, if that has room. There is one
        exception, which makes bursts cheap: while a task handles messages that arrived together, its sends are written by the send
        after the last of these messages, or when the task waits for something else.
        A call that is cancelled while it waits for room has already sent its message: a second call would send it twice.

        Args:
            message: the message.
            compress: whether to compress it, if permessage-deflate was agreed on; `None` leaves it to the extension's threshold.

        Raises:
            ConnectionClosed: the WebSocket has ended.
            TypeError: `message` has another type: `ping` sends a Ping, and `close` a Close.
        """

    def _post(self, now: bool) -> None:
        """Write the pending frames of the connection: `now`, or together with those of `send`."""

    def _has_sent(self) -> None:
        """Record that the application sends something, which may answer the messages that it has taken."""

    def _check_thread(self) -> None:
        """Raise `RuntimeError` in a thread other than the loop's."""

    def _begin_batch(self) -> None:
        """Hold back frames until `_end_batch`."""

    def _end_batch(self) -> None:
        """Write the frames of the batch, unless it is nested."""

@disjoint_base
class BurstWebSocket(MessageQueue):
    """Base class of a WebSocket that takes and answers messages which arrived together without waiting in between.

    `recv` and `send` return an `Awaitable`. All else is left to coroutines of the subclass, `_receive`, `_send` and `_sent`: to wait, to
    let other tasks run, and to write.
    """

    def __new__(cls, ready: ReadyList, connection: Endpoint) -> Self: ...
    _awaited: bool
    """Whether a task waits in `recv`."""
    _blocked: bool
    """Whether sends have to wait, for room or for the end of a message in fragments, or to fail."""
    @property
    def _owes_answer(self) -> bool:
        """Whether the application has taken a message and sent nothing since."""

    @property
    def _batching(self) -> bool:
        """Whether a batch is open."""

    async def recv(self) -> str | bytes:
        """Wait for the next message and return it.

        A cancelled call loses no message.

        Raises:
            ConnectionClosed: the WebSocket has ended.
        """

    async def recv_event(self) -> Text | Binary:
        """Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.

        Raises:
            ConnectionClosed: the WebSocket has ended.
        """

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> str | bytes: ...
    async def send(
        self,
        message: str | Buffer | Text | Binary | PreparedMessage | Iterable[Any] | AsyncIterable[Any],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.

        A synchronous or asynchronous iterable of `str` or of bytes is one message, with each element a fragment. Other messages wait
        until it is complete. When the call returns, the message has been passed to the transport, if that has room. There is one
        exception, which makes bursts cheap: while a task handles messages that arrived together, its sends are written by the send
        after the last of these messages, or when the task waits for something else.
        A call that is cancelled has already sent its message: a second call would send it twice.

        Args:
            message: the message.
            compress: whether to compress it, if permessage-deflate was agreed on; `None` leaves it to the extension's threshold.

        Raises:
            ConnectionClosed: the WebSocket has ended.
            TypeError: `message` has another type: `ping` sends a Ping, and `close` a Close.
        """

    def _take(self, event: bool) -> tuple[Any] | None:
        """Take the next message in a tuple, as an event or as its data, or return `None` if there is none. A paused peer is resumed."""

    def _begin_turn(self) -> None:
        """Record that other tasks could run."""

    def _has_sent(self) -> None:
        """Record that the application sends something, which may answer the messages that it has taken."""

    def _take_frames(self) -> bytes:
        """Return the frames to be written: all that were collected."""

    def _begin_batch(self) -> None:
        """Collect frames until `_end_batch`."""

    def _end_batch(self) -> None:
        """End a batch."""

@disjoint_base
class AsgiCycle:
    """Base class of the life of a WebSocket in an application of ASGI: `receive` and `send`."""

    def __new__(cls, *_arguments: Any) -> Self: ...
    #: The WebSocket, while it is open.
    _open: WebSocket | None
    async def receive(self) -> MutableMapping[str, Any]:
        """Wait for the next event and return it."""

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take an event of the application.

        Raises:
            ClientDisconnected: the WebSocket has ended.
            LocalProtocolError: the event is not allowed, or not now.
        """

@final
class Lock:
    """A reentrant lock that code of the core can hold, and test, at little cost. Use it by `with`.

    Whoever frees it wakes the first thread that waits, and makes that its owner if it has waited for a millisecond. To do so each time
    would be fair too, but each message of two threads that send would cost switches between them.

    It changes only under the GIL. Waiting for it is not interrupted by signals, so it must not be held while a peer is waited for.

    It belongs to the process that made it: after a fork the child gets `LocalProtocolError` instead of it.
    """

    def __new__(cls) -> Self: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_error: object) -> None: ...
    @staticmethod
    def _leave_to_parent() -> None:
        """Leave all locks to the parent: this process was forked off it."""

@disjoint_base
class SocketBase:
    """Base class of a transport for threads. All of its methods are called under its lock, except `_follow` and `_is_attended`."""

    def __new__(cls, *_args: Any, **_named: Any) -> Self: ...
    _reading: bool
    closing: bool

    @property
    def lock(self) -> Lock:
        """The lock that guards the transport and its WebSockets."""

    @property
    def ready_list(self) -> ReadyList:
        """The WebSockets that have received something, or are full."""

    @property
    def heard(self) -> int:
        """The number of chunks received."""

    @property
    def written(self) -> int:
        """The number of bytes written, before encryption."""

    @property
    def buffered(self) -> int:
        """The number of bytes that the system has not taken yet."""

    @property
    def _unwritable(self) -> bool:
        """Whether writing has failed."""

    @property
    def _is_led(self) -> bool:
        """Whether a thread of the application reads the socket now."""

    @property
    def _was_led(self) -> bool:
        """Whether a thread of the application reads the socket, or did last."""

    def _attach(
        self, *, descriptor: int | None = None, records: TlsRecords | None = None, plaintext: memoryview | None = None
    ) -> None:
        """Set the descriptor of the socket; or, after the handshake of TLS, what decrypts and encrypts, and the room for plaintext."""

    def _decode_by(self, decoder: Endpoint | DataReceiver | None) -> None:
        """Set what decodes what threads of the application read: the connection that the socket carries alone, or streams of HTTP/2.

        `None` leaves the reading to the background.
        """

    def _follow(self) -> bool:
        """Have the background read the socket, once a thread of the application that reads it has; return whether that is a change now."""

    def _is_attended(self) -> bool:
        """Return whether a thread of the application has begun to read the socket since the last call.

        If not, the background is to read it, unless a thread has read it ever since. It is told when a thread has read.
        """

    def _park(self) -> object:
        """Return what announces, while it lives, that the calling thread waits for what another thread reads."""

    def _read(self) -> bytes | OSError | None:
        """Read the socket once without waiting; return the bytes, `b""` at their end, an `OSError`, or `None` if there is nothing."""

    def _take_left(
        self,
    ) -> tuple[
        list[tuple[Any, Any]] | None,
        bytes | OSError | SSLError | None,
        int,
        bool,
        tuple[bytes, tuple[int, bytes | int | None, list[tuple[Any, Any]]]] | None,
    ]:
        """Remove and return what threads of the application have left to be handled.

        These are events, what ended the input, as from `_read`, the bytes written in reply, whether a WebSocket is to be resumed, and a
        chunk of HTTP/2 with what a `DataReceiver` has returned for it, and its events.
        """

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes, encrypted over TLS, unless nothing more is written; what the system does not take waits."""

    def _encrypt_left(self) -> None:
        """Encrypt and write what threads have left to the background."""

    def _put(self, data: bytes | memoryview) -> None:
        """Write bytes as they are."""

    def _push(self) -> bool:
        """Write what has waited; return whether the system has taken some of it."""

    def _drop_output(self) -> None:
        """Discard what waits to be written."""

@final
class Batch:
    """Holds back the frames of a WebSocket within `with`."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_error: object) -> None:
        """Write the frames of the batch, unless it is nested."""

@disjoint_base
class BlockingWebSocket(MessageQueue):
    """Base class of a WebSocket for threads: received-message queue, and the calls that wait."""

    def __new__(cls, socket: SocketBase, connection: Endpoint) -> Self: ...
    _is_fragmenting: bool

    @property
    def _awaited(self) -> bool:
        """Whether a thread waits for the next message."""

    @property
    def _owes_answer(self) -> bool:
        """Whether the application has taken a message and sent nothing since."""

    def _begin_wait(self, reader: object) -> None:
        """Announce a reader that waits, for which an object stands.

        Raises:
            LocalProtocolError: there is one.
        """

    def _end_wait(self, reader: object) -> None:
        """Announce that this reader waits no more, if it did."""

    def _interrupt(self) -> None:
        """Have the thread that reads the socket to wait for the next message look again whether there is one."""

    def _keep_message(self) -> bool:
        """Keep a message that has come, to be the next that is received; return whether there is one. Call this under the lock."""

    def _take_resume(self) -> bool:
        """Return whether the peer was paused, and is to be resumed now."""

    def _has_sent(self) -> None:
        """Record that the application sends something, which may answer the messages that it has taken."""

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Wait for the next message and return it.

        A call that times out, or is interrupted while it waits, loses no message. A signal that comes as the call returns may raise before
        the caller has the message, which is lost then; in `for message in websocket:` it cannot.

        Args:
            timeout: seconds to wait; 0 returns a message that has come.

        Raises:
            ConnectionClosed: the WebSocket has ended.
            TimeoutError: no message came in time.
            LocalProtocolError: another thread is receiving.
        """

    def recv_event(self, timeout: float | None = None) -> Text | Binary:
        """Wait for the next message, or part of one, and return it as an event. The option `parts` requests parts.

        Args:
            timeout: as in `recv`.

        Raises:
            ConnectionClosed, TimeoutError, LocalProtocolError: as from `recv`.
        """

    def __iter__(self) -> Self: ...
    def __next__(self) -> str | bytes: ...
    def send(
        self,
        message: str | Buffer | Text | Binary | PreparedMessage | Iterable[Any],
        *,
        compress: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.

        An iterable of `str` or of bytes is one message, with each element a fragment. Messages of other threads wait until it is complete.
        When the call returns, the system has taken the message, except in a batch, or the connection has ended.

        Args:
            message: the message.
            compress: whether to compress it, if permessage-deflate was agreed on; `None` leaves it to the extension's threshold.
            timeout: seconds to wait until the system has taken it.

        Raises:
            ConnectionClosed: the WebSocket has ended.
            TimeoutError: the peer takes too little. If the call waited for another thread's message in fragments, nothing was sent.
                Otherwise the message was, and goes out when there is room: a second call would send it twice. A message in fragments
                that is not complete by then ends the connection with 1011. So it is with a call that is interrupted.
            LocalProtocolError: the message may not be sent.
            TypeError: `message` has another type: `ping` sends a Ping, and `close` a Close.
        """

    def _wait_leading(self, seconds: float | None) -> bool | None:
        """Wait for a message by reading the socket, for at most so many seconds, without the lock; return whether something came.

        Returns:
            `None` if the background is to read the socket.
        """

    def _send_large(self, event: Any, *, compress: bool | None = None) -> None:
        """Send a message, without copying a large payload where that can be.

        Raises:
            LocalProtocolError: it may not be sent.
        """

    def _post(self, now: bool) -> None:
        """Write the frames held back: `now`, or unless a batch does it."""

    def _post_with(self, others: Sequence[BlockingWebSocket]) -> None:
        """Write the frames held back of this WebSocket and of others on the same socket, together, unless batches do it."""

    def batch(self) -> Batch:
        """Write messages together that are sent within `with websocket.batch():`, instead of each by itself.

        They are written when the block ends, and earlier whenever there are 32 KiB of them, or `recv` waits. Messages that other threads
        send meanwhile are written with them.
        """

@final
class Succession:
    """A coroutine that is followed by another, however it ends: a handler, and the closing of its WebSocket.

    As a coroutine of Python it would be one that awaits the first, whose frame would be entered each time that the first goes on.

    Args:
        first: called when the task begins; returns the first coroutine.
        then: called with the exception that `first` or its coroutine has raised, or `None`; returns the other coroutine.
    """

    def __new__(
        cls,
        first: Callable[[], Coroutine[Any, Any, Any]],
        then: Callable[[BaseException | None], Coroutine[Any, Any, None]],
    ) -> Self: ...
    @property
    def __qualname__(self) -> str:
        """The name shown for its task: that of the coroutine that runs."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any:
        """Resume it with a value, as for a coroutine."""

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise an exception in the coroutine that runs."""

    def close(self) -> None:
        """End it: the coroutine that runs is closed, and none follows."""

@final
class Awaitable:
    """A call of `recv` or `send`, to be awaited once. It behaves like a coroutine."""

    @property
    def __qualname__(self) -> str:
        """The name shown for a task that awaits it."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any:
        """Resume it with a value, as for a coroutine."""

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Raise an exception in it, as for a coroutine."""

    def close(self) -> None:
        """End it, as for a coroutine."""

@final
class Waiter:
    """A future, by asyncio's protocol, that `recv` waits for and that wakes its task at once.

    An `asyncio.Future` wakes its task in the loop's next turn, which costs another call of the selector for each message that
    answers another.
    """

    _asyncio_future_blocking: bool
    def get_loop(self) -> AbstractEventLoop:
        """See `asyncio.Future.get_loop()`."""

    def add_done_callback(self, callback: Callable[[Waiter], object], *, context: Context | None = None) -> None:
        """See `asyncio.Future.add_done_callback()`."""

    def remove_done_callback(self, callback: Callable[[Waiter], object]) -> int:
        """See `asyncio.Future.remove_done_callback()`."""

    def done(self) -> bool:
        """See `asyncio.Future.done()`."""

    def cancelled(self) -> bool:
        """See `asyncio.Future.cancelled()`."""

    def result(self) -> None:
        """See `asyncio.Future.result()`."""

    def cancel(self, msg: object = None) -> bool:
        """See `asyncio.Future.cancel()`."""

    def wake(self, done: Future[None]) -> None:
        """Run the waiting task until it waits again. No task may be running."""

@final
class PreparedMessage:
    """A message that is encoded once and sent on many connections.

    Args:
        event: a complete `Text` or `Binary`.
        level: the compression level, 0 to 9. The message is compressed lazily, once for each window size in use, with no context
            from other messages (RFC 7692 §7.1.1).

    Raises:
        LocalProtocolError: the message is a fragment, its text is not UTF-8, or `level` is out of range.
        TypeError: `event` is not a message.

    Pass it to `Connection.send`. Servers without compression share the same bytes; each client masks its own (RFC 6455 §5.3).
    """

    def __new__(cls, event: Text | Binary, *, level: int = 6) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Text | Binary], dict[str, int]]: ...
    @property
    def _content(self) -> tuple[bool, bytes]:
        """Whether it is text, and its bytes."""

@final
class Contexts:
    """permessage-deflate on complete messages, for a connection with another extension next to the wire."""

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
        """Prevent later messages from referring to earlier ones."""

    def inflate(self, data: bytes) -> bytes:
        """Decompress a message; raise `RemoteProtocolError` if it is corrupt or exceeds the limit."""

@final
class Pool:
    """A pool of compression contexts, which connections with permessage-deflate share message by message.

    Args:
        capacity: the number of deflaters kept between messages, and of inflaters.

    A connection whose own context is gone takes over the least recently used one and primes it with the data that its next message may
    refer to. A copy, by `copy.deepcopy` or pickle, is a new pool.
    """

    def __new__(cls, capacity: int = 8) -> Self: ...

@final
class DataSender:
    """The sending half of an HTTP/2 connection: DATA within the peer's windows, and the frames of the HTTP/2 library in between.

    A stream's window is 0 once it has closed.
    """

    def __new__(cls, window: int, max_frame_size: int) -> Self: ...
    max_frame_size: int
    """The largest frame that the peer takes."""
    def write(self, frames: bytes) -> None:
        """Write frames of any type but DATA."""

    def send(self, stream: int, data: Buffer) -> None:
        """Write DATA, or keep it until the windows let it pass; nothing is sent on a stream that has ended."""

    def finish(self, stream: int) -> bool:
        """Send no more on a stream than waits there; say whether its end is to be written now, and not once that has gone out."""

    def close(self, stream: int) -> None:
        """Send nothing more on a stream, and drop what waits there."""

    def pending(self, stream: int) -> int:
        """Give how many bytes wait for the windows, of a stream or of all (0)."""

    def take(self) -> bytes:
        """Give what is to be written to the transport."""

    def window(self, stream: int) -> int:
        """Give the window of a stream, or of the connection (0)."""

    def set_window(self, stream: int, window: int) -> None:
        """Set the window of a stream, which may be new, or of the connection (0)."""

    def drop(self, stream: int) -> None:
        """Forget a stream that has closed, and what waits there."""

    def tally(self) -> int:
        """Give how many useful bytes have gone out since the last call."""

@final
class DataReceiver:
    """The receiving half of an HTTP/2 connection: DATA of WebSockets goes to their connections, all else to the HTTP/2 library.

    All DATA is counted for the window of the connection, whose credit goes back at once.
    """

    def __new__(
        cls,
        sender: DataSender,
        server: bool,
        max_frame_size: int,
        stream_window: int,
        connection_window: int,
        memory_limit: int | None,
    ) -> Self: ...
    @property
    def held_bytes(self) -> int:
        """How many bytes are held for the peer, as far as was counted: what the application has taken of late may be among them."""

    @property
    def over(self) -> bool:
        """Whether that is more than the connection may hold."""

    def carry(self, stream: int, connection: Endpoint) -> None:
        """Have the DATA of `stream` go to `connection` from now on."""

    def drop(self, stream: int) -> None:
        """Leave the DATA of `stream` to the HTTP/2 library from now on."""

    def pause(self, stream: int, paused: bool) -> None:
        """Keep credit back, or give what was kept back; the `WINDOW_UPDATE` comes with the next `update_windows`.

        That of bytes which still wait to be decoded stays.
        """

    def look(self, stream: int, connection: Endpoint) -> None:
        """Have bytes go on in a later turn that the `connection` of `stream` has left undecoded, be the stream open or not."""

    def begin_turn(self, most: int) -> None:
        """Begin a turn, in which no more than `most` is done: the rest of what comes waits, and goes on with the next `receive`."""

    def end_turns(self) -> None:
        """Bound nothing any more."""

    @property
    def behind(self) -> bool:
        """Whether some of what came, or is to be sent, waits for a later turn."""

    def stop(self) -> None:
        """Drop what waits for a later turn: the connection has ended."""

    def window(self, stream: int) -> tuple[int, int] | None:
        """Give `(left, credit)` of a stream, or of the connection (0): what the peer may send, and what it will be given back."""

    def life_signs(self, stream: int) -> int:
        """Give a count that grows with each sign of life of the peer on a stream.

        It is the bytes of its DATA, be a frame whole or not, and of its `WINDOW_UPDATE`s, and those that its windows let pass after a wait.
        """

    def receive(
        self, data: Buffer, offset: int, events: list[tuple[Connection | None, Any]]
    ) -> tuple[int, bytes | int | None]:
        """Take bytes that have waited, and those from `data[offset:]`, until there is something for the HTTP/2 library.

        Returns:
            The offset after it, and a frame for the library, or the number of a stream that was sent more than its window (0:
            the connection was), or `None` at the end of `data`, or where the turn has no time for more. Events are appended to `events`.
        """

    def tally(self) -> int:
        """Give how many useful bytes the DATA of WebSockets has carried since the last call."""

    def update_windows(self) -> list[Connection]:
        """Write each `WINDOW_UPDATE` that is due, and give the connections that have something to say since the last call."""

    def pump(self) -> list[int]:
        """Write what the windows now let pass, as far as the turn has time, and give the streams whose end is to be written."""

@final
class Handshake:
    """The opening handshake over one version of HTTP: RFC 6455 §4 over HTTP/1.1, RFC 8441 §5 over HTTP/2."""

    HTTP1: ClassVar[Handshake]
    HTTP2: ClassVar[Handshake]
    @property
    def accepting(self) -> int:
        """The status of a response that accepts: 101 or 200."""

    def new_key(self, draw: Callable[[int], bytes]) -> str:
        """Return a Sec-WebSocket-Key from 16 bytes of `draw` (RFC 6455 §4.1), or "" over HTTP/2."""

    def write_request(
        self,
        host: str,
        target: str,
        headers: _Headers,
        subprotocols: list[str],
        extensions: Sequence[Offer],
        *,
        key: str,
        scheme: str,
    ) -> Headers:
        """Write the headers of a client's request: over HTTP/1.1 with its `key`, over HTTP/2 with its `scheme`."""

    def read_request(
        self, headers: _Lines, *, method: bytes, target: bytes, http_version: bytes
    ) -> HandshakeRequest | HandshakeRefusal | None:
        """Parse a client's request. Over HTTP/2 the other arguments are ignored, and `None` means that it asks for no WebSocket."""

    def write_response(
        self,
        asked_subprotocols: list[str],
        subprotocol: str | None,
        extensions: Sequence[Offer],
        headers: _Headers,
        *,
        key: str,
    ) -> Headers:
        """Write the headers of the response that accepts a request with this `key`, which may be empty over HTTP/2."""

    def read_response(
        self, headers: _Lines, offered_subprotocols: list[str], *, key: str
    ) -> HandshakeResponse | RemoteProtocolError:
        """Parse the response to a request, which had this `key` over HTTP/1.1; return its fault if it does not accept validly."""

    def write_rejection(self, status: int, headers: _Headers, body_len: int) -> Headers:
        """Write the headers of a response that rejects a request."""

@final
class HandshakeRequest:
    """The request of an opening handshake, parsed by a server."""

    @property
    def host(self) -> str:
        """The host, with a port if one was given."""

    @property
    def target(self) -> str:
        """Path and query."""

    @property
    def headers(self) -> Headers:
        """All headers except those of the handshake, with names in lower case."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The requested subprotocols, in order of preference."""

    @property
    def extensions(self) -> tuple[tuple[str, Params], ...]:
        """The offered extensions, in order of preference: names and parameters."""

    @property
    def key(self) -> str:
        """Sec-WebSocket-Key; over HTTP/2 empty, unless there is a valid one."""

@final
class HandshakeRefusal:
    """A request that breaks a rule, with the response that reports it."""

    @property
    def error(self) -> RemoteProtocolError:
        """The `RemoteProtocolError` that names the rule."""

    @property
    def status(self) -> int:
        """The status of the response."""

    @property
    def headers(self) -> Headers:
        """Its headers, over HTTP/2 with `:status`."""

    @property
    def body(self) -> bytes:
        """Its body."""

@final
class HandshakeResponse:
    """The response that accepts an opening handshake, parsed by a client."""

    @property
    def subprotocol(self) -> str | None:
        """One of the requested subprotocols, or `None`."""

    @property
    def extensions(self) -> tuple[tuple[str, Params], ...]:
        """The answers to extensions: names and parameters. They are not compared with the offers yet."""

    @property
    def headers(self) -> Headers:
        """All headers except those of the handshake, with names in lower case."""

@final
class DeflateAgreement:
    """The agreed parameters of permessage-deflate (RFC 7692 §7.1)."""

    @property
    def server_no_context_takeover(self) -> bool:
        """Whether the server compresses each message by itself."""

    @property
    def client_no_context_takeover(self) -> bool:
        """Whether the client compresses each message by itself."""

    @property
    def server_max_window_bits(self) -> int:
        """The window of the server, 8 to 15 bits."""

    @property
    def client_max_window_bits(self) -> int:
        """The window of the client, 8 to 15 bits."""

    @property
    def answer(self) -> Params:
        """The parameters of the server's answer."""

def check_close(code: int | None, reason: str) -> None:
    """Raise `LocalProtocolError` for a code or reason that may not be sent in a Close."""

def closing(code: object, message: object) -> Close:
    """Return the Close that answers a fault, with its `code` and as much of its `message` as fits.

    Both may come from an extension: a code that may not be sent becomes 1011, and a message that is not text is omitted.
    """

def coroutine_method(method: Any) -> Any:
    """Return a method that calls `method`, a method descriptor of a class of the core, and has attributes."""

def send_to_all(
    websockets: list[_W], message: Text | Binary | PreparedMessage, compress: bool | None, bound: int
) -> tuple[list[_W], list[_W], list[_W], list[_W]]:
    """Send a whole message on each of some WebSockets, without waiting. Those on one transport are written together.

    Args:
        websockets: the WebSockets, each of them once.
        message: a `PreparedMessage`, which they share, or a `Text` or `Binary`, which each encodes by itself.
        compress: as in `WebSocket.send`.
        bound: the most bytes that may wait on a WebSocket for the message to be sent on it.

    Returns:
        The WebSockets on which it was sent, those on which too much waits, those within a message in fragments, and those that have ended.

    Raises:
        RuntimeError: one of them belongs to the loop of another thread; nothing was sent.
        TypeError: one of them is not a WebSocket; nothing was sent.

    An exception of an extension is raised after the message was sent to all others.
    """

def forked() -> None:
    """Report to the sources of masking-keys that this process is a new fork."""

def transitions() -> list[tuple[str, str, str, str, str]]:
    """Return the transition tables: `(role, state, "send" or "receive", kind, next state)` for all that is allowed.

    GONE appears as CLOSED elsewhere: the peer is gone, and answers are discarded.
    """

def is_upgrade(headers: _Lines) -> bool:
    """Return whether the headers of an HTTP/1.1 request ask for a WebSocket, validly or not."""

def is_same_host(host: str, authority: str, scheme: str) -> bool:
    """Return whether the Host of an HTTP/2 request equals `:authority`, ignoring case and a default port (RFC 9113 §8.3.1)."""

def count_fields(block: bytes, most: int) -> int | None:
    """Count the fields of a header block, up to `most`, by their lengths alone (RFC 7541 §6).

    Where the block ends too early, those before are counted. Return `None` where an integer is longer than any that is needed (§5.1).
    """

def check_fields(headers: _Lines) -> RemoteProtocolError | None:
    """Return the fault in the names and values of a request's fields, or `None` (RFC 9110 §5.1, §5.5)."""

def read_absolute(target: bytes) -> tuple[str, str] | RemoteProtocolError | None:
    """Return the host, and path with query, of a request target in absolute form, an URI of http or https (RFC 9112 §3.2.2).

    An invalid one gives its fault; a target of any other form gives `None`.
    """

def check_headers(headers: Sequence[tuple[str, str]], *, of_handshake: bool) -> None:
    """Raise if headers are malformed or, with `of_handshake`, among those that the handshake itself writes."""

def well_formed(headers: Sequence[tuple[str, str]]) -> _Headers:
    """Return the well-formed headers of a response, with names in lower case."""

def write_ordinary_response(
    status: int, headers: _Headers, body_len: int | None, *, head: bool, http2: bool
) -> _Headers:
    """Write the headers of an ordinary response, with `:status` over HTTP/2. With `head` it answers a HEAD.

    With a `body_len` of `None` the body follows in parts.
    """

def write_ordinary_request(method: str, target: str, headers: _Headers, body_len: int, *, scheme: str) -> _Headers:
    """Write the headers of an ordinary request over HTTP/2, the pseudo-headers first."""

def deflate_offer(wish: PerMessageDeflate) -> Params:
    """Return the parameters of a client's offer of permessage-deflate (RFC 7692 §7.1)."""

def deflate_accept(wish: PerMessageDeflate, offer: Sequence[tuple[str, str | None]]) -> DeflateAgreement | None:
    """On a server, accept the parameters of an offer of permessage-deflate, or return `None` to decline it."""

def deflate_agree(wish: PerMessageDeflate, answer: Sequence[tuple[str, str | None]]) -> DeflateAgreement | None:
    """On a client, check the parameters of an answer; return `None` if it does not fit this offer."""
