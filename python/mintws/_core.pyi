"""The Rust core. What has no underscore is public through `mintws`; the rest is what the layers above are built on."""

from asyncio import AbstractEventLoop, BufferedProtocol, Future, Transport
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextvars import Context
from ssl import MemoryBIO, SSLError, SSLObject
from typing import Any, ClassVar, Final, Literal, TypeAlias, final

from typing_extensions import Buffer, Self, disjoint_base

from mintws.connection import Carrier, Connection
from mintws.errors import RemoteProtocolError
from mintws.events import Event, Headers, Role, Sendable, State
from mintws.extensions import Chain, Offer, Params, PerMessageDeflate
from mintws.tls import TlsBuffers

__all__ = [
    "DEFAULT_PORTS",
    "RSV1",
    "USEFUL_BYTES",
    "Arrival",
    "Binary",
    "Close",
    "Contexts",
    "DataSender",
    "DeflateAgreement",
    "Endpoint",
    "Exchange",
    "Handshake",
    "HandshakeRefusal",
    "HandshakeRequest",
    "HandshakeResponse",
    "Inbound",
    "LoopState",
    "MessageQueue",
    "Operation",
    "Ping",
    "Pong",
    "Pool",
    "PreparedMessage",
    "ReadyList",
    "Text",
    "TlsChannel",
    "TlsRecords",
    "WebSocket",
    "__version__",
    "check_close",
    "check_fields",
    "check_headers",
    "closing",
    "coroutine_method",
    "deflate_accept",
    "deflate_agree",
    "deflate_offer",
    "forked",
    "is_same_host",
    "is_upgrade",
    "transitions",
    "well_formed",
    "write_ordinary_request",
    "write_ordinary_response",
]

__version__: Final[str]

RSV1: Final = 0x40
#: How many bytes of a DATA frame count as useful against frames that do nothing (RFC 9113 §10.5).
USEFUL_BYTES: Final = 10

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
        """How many bytes came that no event has told of yet: of an unfinished message, or what waits to be decoded."""

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

        What a carrier raises is raised too, and what an extension raises that is no `Exception`, such as `KeyboardInterrupt`. Then the
        events come with the next call, and the connection of that extension has failed with 1011.
        """

    def send(self, event: Sendable, *, compress: bool | None = None) -> bytes:
        """Say something to the peer.

        Args:
            event: what to say, or a `PreparedMessage`. A `Close` that was received may be sent back as it is (RFC 6455 §5.5.1); a
                `Failed` is written as the Close that says so, or as nothing if none is to be sent (§7.1.7). When the peer is gone,
                what answers the events before that goes nowhere.
            compress: whether the message is compressed; `None` leaves that to the threshold. It means nothing where
                permessage-deflate was not agreed on, or behind the first fragment of a message (RFC 7692 §6.1).

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
            itself. That is the case for 16 KiB and more from a server over HTTP/1.1, if they are neither compressed nor cut by
            `max_frame` (RFC 6455 §5.3 has a client change each byte). They are not corked then: what `cork` has held back so far goes
            in front of them.

        Raises:
            LocalProtocolError: as from `send`.
            TypeError: as from `send`.
        """

    def cork(self) -> None:
        """Hold frames back until `flush` or `uncork`, so that many go out with one write.

        The state moves as each event is sent, not as it is written; the end of a stream waits for the frames before it. Pongs that
        `receive` returns are not held back. Frames that are held back when the peer is lost go nowhere.
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
        """Make what follows the opening handshake; it is in place when that is done."""

    def _send_by(self, sender: DataSender, number: int) -> None:
        """Have frames go out as DATA of a stream from now on, or once the connection is open; the carrier is handed what has to wait."""

    def _deliver_to(self, queue: MessageQueue | None, *, traced: bool = False) -> None:
        """Have messages go to a queue, instead of being returned by `receive`: from now on, or, if it is `None`, once there is one.

        What a queue does not take waits as bytes; they go on with `_receive_early`. When nothing more comes, it means nothing.
        `traced` messages are events all the same, for a log, and of those that are sent none is encoded by the driver's half of the core.
        """

    @property
    def _auto_pong(self) -> bool:
        """Whether Pings are answered by themselves."""

    @property
    def _traffic(self) -> list[int]:
        """How many messages, frames and payload bytes have come and were sent: three and three."""

    def _sent(self, kind: str) -> None:
        """Move the state by an event that was sent; `LocalProtocolError` if it may not be sent."""

    def _abandon(self) -> None:
        """End at once: nothing more is said or heard."""

    def _check(self, kind: str) -> bool:
        """Raise `LocalProtocolError` if an event may not be sent; say whether there is anyone to send it to."""

    def _received(self, kind: str) -> bool:
        """Move the state by an event that was received; say whether it may come at all."""

    def _receive_early(self, events: list[Any]) -> None:
        """Decode what has waited, as far as it is taken now."""

    def _fail(self, events: list[Any], error: RemoteProtocolError) -> None:
        """Take note of a fault that the carrier found: `Failed`, behind what waits, unless it is too late for that."""

    def _lose(self, events: list[Any], message: str | None = None) -> None:
        """Take the end of the transport: `Failed` with 1006, unless the end was due."""

    def _settle(self, events: list[Any] | None = None) -> bytes:
        """Give the bytes that must follow what was received: Pongs, and the end of a stream whose closing handshake is done.

        If anything raises, `events` come with those of the next call.
        """

    def _keep(self, events: list[Any]) -> None:
        """Keep events that an exception keeps from being handed on: they come first with the next ones."""

    def _is_close_waiting(self) -> bool:
        """Whether the peer's Close is among the bytes that wait to be decoded."""

    def _send_failed(self, close: Close) -> bytes:
        """Answer a fault with `close`, if a Close is owed."""

@final
class LoopState:
    """The state that all transports of one event loop share.

    Within a read callback, frames are collected as long as the WebSocket whose reader runs has unread messages. They are written by the
    send that follows its last message, or else at the end of the callback.
    """

    def __new__(cls, buffer: memoryview) -> Self: ...
    def _begin_turn(self, event_loop: AbstractEventLoop) -> None:
        """Begin a turn, and let what has waited for it go on; the loop calls this."""

@disjoint_base
class Exchange:
    """What a driver's transport is built on: it reads, wakes readers, and writes once for each chunk that is read.

    The first argument is the loop that it belongs to; all others are the subclass's.
    """

    def __new__(cls, event_loop: AbstractEventLoop, *_args: Any, **_named: Any) -> Self: ...
    #: What is shared with the other transports of the loop.
    _shared: LoopState | None
    #: The transport's `write`, while it is there.
    _writer: Callable[[Any], object] | None
    #: The transport's `is_closing`.
    _is_closing: Callable[[], bool] | None
    #: The connection that has the transport for itself.
    _only: Endpoint | None
    #: What the DATA of WebSockets goes to, over HTTP/2.
    _inbound: Inbound | None
    @property
    def _behind(self) -> bool:
        """Whether some of what was read is not decoded yet, and waits for a turn of the loop: the transport is not to be read meanwhile."""
    multiplexed: bool
    full: bool
    @property
    def heard(self) -> int:
        """How many chunks have come."""

    @property
    def written(self) -> int:
        """How many bytes were given to the transport."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give what is to be read into."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""

    def _take(self, events: list[Any], reply: bytes) -> None:
        """Take what an HTTP connection made of a chunk: write the reply, hand on the events, wake readers, and write what they send."""

    def wake(self) -> None:
        """Let readers go on for whom something has come."""

    def _flush(self) -> None:
        """Write all that is collected on the loop, and let its senders go on; the loop calls this."""

    def write(self, data: bytes | memoryview) -> None:
        """Write what is due: `bytes`, or a `memoryview` of bytes.

        A transport that is closing gets no more: it would log each further write.
        """

@final
class TlsRecords:
    """Decrypts and encrypts for one connection whose handshake is done.

    The arguments are an `ssl.SSLObject` and its two `ssl.MemoryBIO`s. Connections that are used in one thread may share these: both are
    empty whenever a call returns.
    """

    def __new__(cls, ssl_object: SSLObject, incoming: MemoryBIO, outgoing: MemoryBIO) -> Self: ...
    def decrypt(self, ciphertext: bytes | memoryview, room: memoryview) -> tuple[int, bytes, SSLError | None]:
        """Decrypt ciphertext, and what waits in the `MemoryBIO`, into `room`."""

    def encrypt(self, plaintext: bytes | memoryview) -> list[bytes]:
        """Encrypt plaintext."""

@disjoint_base
class TlsChannel:
    """What a protocol with TLS is built on: what it does once for each chunk that is read, and for each write.

    What comes before and after the time in which plaintext passes is the subclass's: `_receive` gets the chunk then. So is what waits for a
    later turn: `_wait` gets it, and gives it to `_take` in pieces of `SMALL`.
    """

    SMALL: ClassVar[int]

    def __new__(cls, buffers: TlsBuffers, *_args: Any, **_named: Any) -> Self: ...
    def _open(self, records: TlsRecords, transport: Transport, protocol: BufferedProtocol) -> None:
        """Let plaintext pass between a transport and a protocol."""

    def _shut(self) -> None:
        """Let no plaintext pass any more."""

    def is_closing(self) -> bool:
        """Whether what is written goes nowhere: no plaintext passes, or the transport beneath is closing."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give what is to be read into."""

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""

    def _take(self, nbytes: int) -> None:
        """Take ciphertext that is in the buffer."""

    def write(self, data: bytes | memoryview) -> None:
        """Write plaintext. A channel that lets none pass discards it."""

@final
class ReadyList:
    """The queues of one transport that have become worth a look: each was empty and has a message, or has ended, or is full.

    Whoever drives the transport drains it when it has handed on what was read.
    """

    def __new__(cls) -> Self: ...
    def drain(self) -> list[MessageQueue]:
        """Take the queues off the list."""

@disjoint_base
class MessageQueue:
    """The messages of one WebSocket that wait for the application.

    `Connection._deliver_to` has a connection put them here. A queue that is full pauses: the connection decodes no more until enough
    messages were taken.
    """

    def __new__(cls, ready: ReadyList) -> Self: ...
    @property
    def waiting(self) -> int:
        """How many messages wait for the application."""

    @property
    def paused(self) -> bool:
        """Whether the peer is to send no more until the application has taken some."""

    @property
    def discarded(self) -> int:
        """How many messages came that nobody took."""

    @property
    def taken(self) -> int:
        """How many messages the application has taken."""

    def _pop(self) -> Text | Binary | None:
        """Take the oldest message, as an event; `None` if none waits."""

    def _finish(self) -> None:
        """Say that nothing follows the messages."""

    def _discard(self) -> bool:
        """Take no more messages than those that wait already, and count later ones; say whether the peer was paused, which may go on."""

    def _abandon(self) -> bool:
        """Count and drop messages beyond those that may wait, until one is taken; say whether the peer was paused, which may go on."""

    def _keep(self) -> None:
        """Have messages wait again that `_abandon` drops."""

@disjoint_base
class WebSocket(MessageQueue):
    """What a driver's WebSocket is built on: messages that wait for the application, and frames that wait to be written."""

    def __new__(cls, exchange: Exchange, connection: Endpoint) -> Self: ...
    _held_back: bool
    @property
    def awaited(self) -> bool:
        """Whether a task waits in `recv`."""

    @property
    def owes_answer(self) -> bool:
        """Whether the application has taken a message and sent nothing since."""

    async def recv(self) -> str | bytes:
        """Wait for the next message and give it.

        A call that is cancelled loses no message.

        Raises:
            ConnectionClosed: nothing more comes.
        """

    async def recv_event(self) -> Text | Binary:
        """Wait for the next message, or part of one, as an event; parts are asked for by the option `parts`.

        Raises:
            ConnectionClosed: nothing more comes.
        """

    async def _recv_asgi(self) -> dict[str, Any]:
        """Wait for the next message as an event of ASGI."""

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> str | bytes: ...
    async def send(
        self,
        message: str | Buffer | Text | Binary | PreparedMessage | Iterable[Any] | AsyncIterable[Any],
        *,
        compress: bool | None = None,
    ) -> None:
        """Send a message: `str` as text, bytes as binary, a `Text`, `Binary` or `PreparedMessage` as it is.

        An iterable of `str` or of bytes, asynchronous or not, is one message in as many fragments; others wait until it is whole.
        When the call returns, the message is with the transport, if there is room. One exception makes bursts cheap: while a task goes
        through messages that came together, its sends are written by the send that follows the last of these messages, or when the
        task waits for something else.
        A call that is cancelled while it waits for room has sent its message already: to call again would send it twice.

        Args:
            message: what to send.
            compress: whether to compress it, where permessage-deflate was agreed on; `None` leaves it to the extension's threshold.

        Raises:
            ConnectionClosed: nothing more can be sent.
            TypeError: the message is nothing of the kind: `ping` sends a Ping, and `close` a Close.
        """

    def _post(self, now: bool) -> None:
        """Have frames written that were sent on the connection: `now`, or when those of `send` are."""

    def _has_sent(self) -> None:
        """Note that the application sends something, which may answer the messages that it has taken."""

    def _check_thread(self) -> None:
        """Raise `RuntimeError` in any thread but the loop's."""

    def _begin_batch(self) -> None:
        """Hold frames back until `_end_batch`."""

    def _end_batch(self) -> None:
        """Write the frames of the batch, unless it is within another."""

@final
class Operation:
    """A call of `recv` or `send` that is awaited, once; as good as a coroutine."""

    @property
    def __qualname__(self) -> str:
        """What a task that awaits it is shown with."""

    def __await__(self) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any:
        """As a coroutine does."""

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """As a coroutine does."""

    def close(self) -> None:
        """As a coroutine does."""

@final
class Arrival:
    """What `recv` waits for: a future by asyncio's protocol that wakes its task at once.

    An `asyncio.Future` wakes it in the loop's next turn, which costs another call of the selector for each message that answers
    another.
    """

    _asyncio_future_blocking: bool
    def get_loop(self) -> AbstractEventLoop:
        """As an `asyncio.Future` does."""

    def add_done_callback(self, callback: Callable[[Arrival], object], *, context: Context | None = None) -> None:
        """As an `asyncio.Future` does."""

    def remove_done_callback(self, callback: Callable[[Arrival], object]) -> int:
        """As an `asyncio.Future` does."""

    def done(self) -> bool:
        """As an `asyncio.Future` does."""

    def cancelled(self) -> bool:
        """As an `asyncio.Future` does."""

    def result(self) -> None:
        """As an `asyncio.Future` does."""

    def cancel(self, msg: object = None) -> bool:
        """As an `asyncio.Future` does."""

    def wake(self, done: Future[None]) -> None:
        """Run the task that waits until it waits again; only where no task runs."""

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
    def __getnewargs_ex__(self) -> tuple[tuple[Text | Binary], dict[str, int]]: ...
    @property
    def _content(self) -> tuple[bool, bytes]:
        """Whether it is text, and its bytes."""

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
class DataSender:
    """What an HTTP/2 connection sends: DATA within the peer's windows, and the frames of the HTTP/2 library in between.

    A stream's window is 0 once it has closed.
    """

    def __new__(cls, window: int, max_frame_size: int) -> Self: ...
    max_frame_size: int
    """The largest frame that the peer takes."""
    def write(self, frames: bytes) -> None:
        """Write frames of any type but DATA."""

    def write_data(self, stream: int, data: Buffer) -> None:
        """Write DATA and take it off both windows."""

    def take(self) -> bytes:
        """Give what is to be written to the transport."""

    def block(self, stream: int, blocked: bool) -> None:
        """Have what is sent on a stream wait behind what waits there already, or no more."""

    def window(self, stream: int) -> int:
        """Give the window of a stream, or of the connection (0)."""

    def set_window(self, stream: int, window: int) -> None:
        """Set the window of a stream, which may be new, or of the connection (0)."""

    def drop(self, stream: int) -> None:
        """Forget a stream that has closed."""

    def tally(self) -> int:
        """Give how many useful bytes have gone out at once since the last call."""

@final
class Inbound:
    """What an HTTP/2 connection receives: DATA of WebSockets goes to their connections, all else to the HTTP/2 library.

    All DATA is counted for the window of the connection, whose credit goes back at once.
    """

    def __new__(
        cls, sender: DataSender, server: bool, max_frame_size: int, stream_window: int, connection_window: int
    ) -> Self: ...
    def carry(self, stream: int, connection: Endpoint) -> None:
        """Have the DATA of `stream` go to `connection` from now on."""

    def drop(self, stream: int) -> None:
        """Leave the DATA of `stream` to the HTTP/2 library from now on."""

    def pause(self, stream: int, paused: bool) -> None:
        """Keep credit back, or give what was kept back; the `WINDOW_UPDATE` comes with the next `settle`.

        That of bytes which still wait to be decoded stays.
        """

    def look(self, stream: int) -> None:
        """Have bytes go on in a later turn that the connection of `stream` has left undecoded."""

    def begin_turn(self, most: int) -> None:
        """Begin a turn, in which no more than `most` is done: the rest of what comes waits, and goes on with the next `receive`."""

    def end_turns(self) -> None:
        """Bound nothing any more."""

    @property
    def behind(self) -> bool:
        """Whether some of what came waits for a later turn."""

    def stop(self) -> None:
        """Drop what waits for a later turn: the connection has ended."""

    def window(self, stream: int) -> tuple[int, int] | None:
        """Give `(left, credit)` of a stream, or of the connection (0): what the peer may send, and what it will be given back."""

    def receive(
        self, data: Buffer, offset: int, events: list[tuple[Connection | None, Any]]
    ) -> tuple[int, bytes | int | None]:
        """Take bytes that have waited, and those from `data[offset:]`, until there is something for the HTTP/2 library.

        Returns:
            The offset behind it, and a frame for the library, or the number of a stream that was sent more than its window (0:
            the connection was), or `None` at the end of `data`, or where the turn has no time for more. Events are appended to `events`.
        """

    def tally(self) -> int:
        """Give how many useful bytes the DATA of WebSockets has carried since the last call."""

    def settle(self) -> list[Connection]:
        """Write each `WINDOW_UPDATE` that is due, and give the connections that have something to say since the last call."""

@final
class Handshake:
    """The opening handshake over one version of HTTP: RFC 6455 §4 over HTTP/1.1, RFC 8441 §5 over HTTP/2."""

    HTTP1: ClassVar[Handshake]
    HTTP2: ClassVar[Handshake]
    @property
    def accepting(self) -> int:
        """The status of a response that accepts: 101 or 200."""

    def new_key(self, draw: Callable[[int], bytes]) -> str:
        """Write the 16 bytes that `draw` gives as a Sec-WebSocket-Key (RFC 6455 §4.1); over HTTP/2, which has none, give ""."""

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
        """Read a client's request; over HTTP/2, where the other arguments mean nothing, `None` is one that asks for no WebSocket."""

    def write_response(
        self,
        asked_subprotocols: list[str],
        subprotocol: str | None,
        extensions: Sequence[Offer],
        headers: _Headers,
        *,
        key: str,
    ) -> Headers:
        """Write the headers of the response that accepts a request with this `key`, which over HTTP/2 may be empty."""

    def read_response(
        self, headers: _Lines, offered_subprotocols: list[str], *, key: str
    ) -> HandshakeResponse | RemoteProtocolError:
        """Read the response that accepts a request, which had this `key` over HTTP/1.1; or give what is wrong with it."""

    def write_rejection(self, status: int, headers: _Headers, body_len: int) -> Headers:
        """Write the headers of a response that rejects a request."""

@final
class HandshakeRequest:
    """The request of an opening handshake, as a server reads it."""

    @property
    def host(self) -> str:
        """The host, with a port where one was written."""

    @property
    def target(self) -> str:
        """Path and query."""

    @property
    def headers(self) -> Headers:
        """All headers but those of the handshake, names in lower case."""

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that are asked for, best first."""

    @property
    def extensions(self) -> tuple[tuple[str, Params], ...]:
        """The extensions that are offered, best first: names and parameters."""

    @property
    def key(self) -> str:
        """Sec-WebSocket-Key; over HTTP/2 empty, unless there is one that can be answered."""

@final
class HandshakeRefusal:
    """A request that breaks a rule, and the response that says so."""

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
    """The response that accepts an opening handshake, as a client reads it."""

    @property
    def subprotocol(self) -> str | None:
        """One of the subprotocols that were asked for, or `None`."""

    @property
    def extensions(self) -> tuple[tuple[str, Params], ...]:
        """What is said of extensions: names and parameters. Whether that was offered is not checked yet."""

    @property
    def headers(self) -> Headers:
        """All headers but those of the handshake, names in lower case."""

@final
class DeflateAgreement:
    """permessage-deflate as two sides have agreed on it (RFC 7692 §7.1)."""

    @property
    def server_no_context_takeover(self) -> bool:
        """Whether the server compresses each message by itself."""

    @property
    def client_no_context_takeover(self) -> bool:
        """Whether the client does."""

    @property
    def server_max_window_bits(self) -> int:
        """The window of the server, 8 to 15 bits."""

    @property
    def client_max_window_bits(self) -> int:
        """The window of the client."""

    @property
    def answer(self) -> Params:
        """The parameters of the server's answer."""

def check_close(code: int | None, reason: str) -> None:
    """Raise `LocalProtocolError` for what no Close may say."""

def closing(code: object, message: object) -> Close:
    """Make the Close that answers a fault, of its `code` and as much of its `message` as fits.

    An extension may have made them: a code that may not be sent is 1011, and a message that is no text is none.
    """

def coroutine_method(method: Any) -> Any:
    """Make a method that calls `method`, a method descriptor of a class of the core, and has attributes."""

def forked() -> None:
    """Tell the sources of masking-keys that this process is a new fork."""

def transitions() -> list[tuple[str, str, str, str, str]]:
    """Give the tables of states: `(role, state, "send" or "receive", kind, state after)` for all that is allowed.

    GONE is CLOSED to all others: the peer is gone, and what is still sent in answer goes nowhere.
    """

def is_upgrade(headers: _Lines) -> bool:
    """Say whether the headers of a request over HTTP/1.1 ask for a WebSocket, rightly or not."""

def is_same_host(host: str, authority: str, scheme: str) -> bool:
    """Say whether the Host of a request over HTTP/2 is its `:authority`, but for case and the port of the scheme (RFC 9113 §8.3.1)."""

def check_fields(headers: _Lines) -> RemoteProtocolError | None:
    """Give what is wrong with the names and values of a request's fields (RFC 9110 §5.1, §5.5)."""

def check_headers(headers: Sequence[tuple[str, str]], *, of_handshake: bool) -> None:
    """Raise if headers are not well-formed or, `of_handshake`, are such as the handshake writes itself."""

def well_formed(headers: Sequence[tuple[str, str]]) -> _Headers:
    """Give the headers of a response that are well-formed, names in lower case."""

def write_ordinary_response(
    status: int, headers: _Headers, body_len: int | None, *, head: bool, http2: bool
) -> _Headers:
    """Write the headers of an ordinary response, with `:status` over HTTP/2; `head` says that it answers a HEAD.

    A `body_len` of `None` says that the body follows in parts.
    """

def write_ordinary_request(method: str, target: str, headers: _Headers, body_len: int, *, scheme: str) -> _Headers:
    """Write the headers of an ordinary request over HTTP/2, the pseudo-headers first."""

def deflate_offer(wish: PerMessageDeflate) -> Params:
    """Give the parameters of a client's offer of permessage-deflate (RFC 7692 §7.1)."""

def deflate_accept(wish: PerMessageDeflate, offer: Sequence[tuple[str, str | None]]) -> DeflateAgreement | None:
    """Decide, on a server, on the parameters of an offer of permessage-deflate; `None` declines."""

def deflate_agree(wish: PerMessageDeflate, answer: Sequence[tuple[str, str | None]]) -> DeflateAgreement | None:
    """Check, on a client, the parameters of an answer; `None` if it is not one to this offer."""
