"""One WebSocket as coroutines see it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from mintws import _core
from mintws.asyncio.transport import LoopTransport
from mintws.connection import Connection
from mintws.drivers.broadcast import Fates
from mintws.drivers.messages import LARGE, Fragments, WholeMessage, check_several, event_of, no_message
from mintws.drivers.methods import of_the_core
from mintws.drivers.websocket import LoggedWebSocket
from mintws.errors import ConnectionClosed
from mintws.events import (
    Binary,
    PreparedMessage,
    State,
    Text,
)
from mintws.session import LoopBody, Ordered

#: What is sent as one message.
Message: TypeAlias = WholeMessage | Iterable[Any] | AsyncIterable[Any]


_of_the_core = of_the_core(_core.WebSocket)


class WebSocket(_core.WebSocket, LoggedWebSocket):
    """An open WebSocket.

    `recv` and `send` take and give `str` for text and `bytes` for binary messages. Iterating with `async for` gives messages until the
    peer closes. One task may receive and others send at the same time.

    Attributes:
        connection: the `Connection` beneath, with its request, response, extensions and subprotocol.
    """

    __slots__ = (
        "__weakref__",
        "_body",
        "_closed",
        "_drain",
        "_fragmenting",
        "_protocol",
        "_session",
        "_traced",
        "connection",
    )

    _protocol: LoopTransport

    def __init__(self, protocol: LoopTransport, connection: Connection) -> None:
        self._attach(protocol, connection)
        self._body = LoopBody.NONE
        self._drain: asyncio.Future[None] | None = None
        self._closed: asyncio.Future[None] | None = None
        #: A message in fragments is being sent; done when it is whole.
        self._fragmenting: asyncio.Future[None] | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, for its `get_extra_info`."""
        return self._protocol.transport

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        ended = self._is_left_to_loop(error)
        self._end_body()
        if error is None or ended:
            await self.close()
        else:
            await self.close(1011 if isinstance(error, Exception) else 1001)
        return ended

    @_of_the_core
    async def recv(self) -> str | bytes:
        raise NotImplementedError

    @_of_the_core
    async def recv_event(self) -> Text | Binary:
        raise NotImplementedError

    @_of_the_core
    async def send(self, message: Message, *, compress: bool | None = None) -> None:
        raise NotImplementedError

    def _offer_now(
        self, event: Text | Binary | PreparedMessage, compress: bool | None, max_unsent: int
    ) -> Fates[WebSocket]:
        return _core.send_to_all([self], event, compress, max_unsent)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Write messages together that are sent within `with websocket.batch():`, instead of each by itself.

        They are written when the block ends, and earlier whenever there are 32 KiB of them, or `recv` waits. Messages that other tasks
        send meanwhile are written with them.
        """
        self._begin_batch()
        try:
            yield
        finally:
            self._end_batch()

    async def send_many(self, messages: Iterable[Any], *, compress: bool | None = None) -> None:
        """Send several messages, and write them together.

        Args:
            messages: any that `send` takes.
            compress: as in `send`, for each of them.

        Raises:
            ConnectionClosed, LocalProtocolError, TypeError: as from `send`; the messages before the one that it concerns were sent.
        """
        check_several(messages)
        with self.batch():
            for message in messages:
                await self.send(message, compress=compress)

    async def ping(self, data: bytes | None = None) -> float:
        """Ask whether the peer is there; wait for its Pong and give the seconds until it came (RFC 6455 §5.5.2).

        Args:
            data: at most 125 bytes, different from those of other Pings under way; chosen if `None`.

        Raises:
            ConnectionClosed: the connection ended before the Pong came.
            LocalProtocolError: a Ping with the same data is under way, or there is too much of it.
        """
        await self._learn_loss()
        pong: asyncio.Future[float] = self._protocol.loop.create_future()
        self._send_ping(pong, data)
        try:
            return await pong
        finally:
            # The future holds what it raises, and that this frame.
            del pong

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        try:
            await super().close(code, reason)
        except asyncio.CancelledError:
            self._protocol.let_finish()
            raise

    # What the protocol calls.

    def _wake_senders(self) -> None:
        """Let senders go on whose bytes have gone, or can no more go."""
        if self._drain is not None and (self._gone() or self._has_room()):
            self._drain.set_result(None)
            self._drain = None
            self._session.log_stall(None)
            self._protocol.blocked_senders.discard(self)

    def _begin_close(self, code: int | None = 1000, reason: str = "") -> None:
        self._check_thread()
        super()._begin_close(code, reason)

    def _obey(self, ordered: Ordered) -> None:
        super()._obey(ordered)
        if self._session.is_over and self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    # What the core calls.

    def _ended(self, iterating: bool) -> Exception | None:
        """Answer the peer's Close and say what a reader is to be told; `None` ends an iteration."""
        self._answer()
        closed = self.ending.exception()
        return None if iterating and self._ends_quietly(closed) else closed

    async def _send(self, message: Any, compress: bool | None) -> None:
        """Send what takes more than to encode it and let it be written."""
        event = event_of(message)
        self._has_sent()
        while self._fragmenting is not None and not self._gone():
            await asyncio.shield(self._fragmenting)
        await self._learn_loss()
        if event is None:
            await self._send_fragments(message, compress)
            return
        if isinstance(event, (Text, Binary)) and len(event.data) > LARGE:
            # Not `writelines`: some releases of Python copy, others forget to say that the transport is full.
            self._write_large(event, compress)
        else:
            self._encode(event, compress)
            self._post(False)
        await self._drained()

    async def _send_fragment(self, fragment: Text | Binary, compress: bool | None) -> None:
        await self._learn_loss()
        self._encode(fragment, compress)
        self._post(False)

    async def _learn_loss(self) -> None:
        """Wait for the loss of a transport that nothing can be written to: it says why."""
        if self.connection.state is not State.CLOSED and self._protocol.closing:
            await asyncio.shield(self._protocol.gone)

    async def _drained(self) -> None:
        """Wait until what was sent has mostly gone."""
        while not self._has_room() and not self._gone():
            if self._drain is None:
                self._drain = self._protocol.loop.create_future()
                self._protocol.blocked_senders.add(self)
                if self._traced:
                    self._session.log_stall(self._protocol.loop.time())
                    self._protocol.schedule(self._session)
            await asyncio.shield(self._drain)

    # Its own parts.

    async def _send_fragments(self, fragments: Any, compress: bool | None) -> None:
        """Send an iterable as the fragments of one message; a peer that has seen some of it is told if the rest does not come."""
        if self._gone():
            raise self.ending.exception()
        self._fragmenting = self._protocol.loop.create_future()
        made = Fragments()
        try:
            async for fragment in _fragments(fragments):
                await self._send_fragment(made.next(fragment), compress)
                await self._drained()
                if made.due:
                    await asyncio.sleep(0)
            await self._send_fragment(made.last(), compress)
        except BaseException as error:
            if made.begun and not isinstance(error, ConnectionClosed):
                self._begin_close(1011, "a message was not finished")
            raise
        finally:
            self._end_fragments()

    def _end_fragments(self) -> None:
        """Let messages go on that wait for the end of one in fragments."""
        if self._fragmenting is not None and not self._protocol.loop.is_closed():
            self._fragmenting.set_result(None)
            self._fragmenting = None

    async def _over(self) -> None:
        """Wait until it has ended, and what may come before the peer's Close is no longer kept."""
        while not self._session.is_over and not self._protocol.loop.is_closed():
            if self._closed is None or self._closed.done():
                self._closed = self._protocol.loop.create_future()
            await asyncio.shield(self._closed)

    def _has_room(self) -> bool:
        if self._protocol.multiplexed:
            self._held_back = self._is_held_back()
        return not self._protocol.full and not self._held_back


def _fragments(message: Any) -> AsyncIterable[Any]:
    if isinstance(message, AsyncIterable):
        return message
    if isinstance(message, Iterable) and not isinstance(message, Mapping):
        return _iterate(message)
    raise no_message(message)


async def _iterate(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
