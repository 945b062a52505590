"""One WebSocket as an ASGI application sees it: messages that it receives, and messages that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from enum import Enum, auto
from typing import Any, Protocol

from mintws import _core
from mintws.asgi.messages import Application, ClientDisconnected, Message, is_of_the_end, texts
from mintws.asgi.requests import Output, StreamResponder
from mintws.asyncio import WebSocket
from mintws.asyncio.transport import LoopTransport
from mintws.connection import Connection
from mintws.errors import ConnectionClosed, LocalProtocolError
from mintws.events import Headers, State, UpgradeAccept, UpgradeReject

#: A server that stops closes WebSockets with this code: the clients may come again.
SERVICE_RESTART = 1012
#: Headers of a refusal that its carrier writes.
FRAMING = ("content-length", "transfer-encoding")


class AsgiWebSocket(WebSocket):
    """A WebSocket whose `send` raises what an ASGI server raises.

    Attributes:
        disconnect: the event that tells the application of the end, from when there is one.
    """

    __slots__ = ("disconnect",)

    def __init__(self, protocol: LoopTransport, connection: Connection) -> None:
        super().__init__(protocol, connection)
        self.disconnect: Message | None = None

    def _disconnected(self) -> dict[str, Any]:
        closed = self._ended(False)
        assert isinstance(closed, ConnectionClosed)
        if self.disconnect is None:
            self.disconnect = _disconnect(closed.code, closed.reason)
        return dict(self.disconnect)

    async def _send(self, message: Any, compress: bool | None) -> None:
        try:
            await super()._send(message, compress)
        except ConnectionClosed as closed:
            raise ClientDisconnected(str(closed)) from None


async def no_handler(websocket: WebSocket) -> None:
    """Stand for the handler of a server whose WebSockets are an application's: it is never called."""
    raise NotImplementedError("the application handles WebSockets")


class WebSocketTransport(Output, Protocol):
    """The transport of a WebSocket, as far as its application has to do with it."""

    def close_if_done(self) -> None:
        """Close the transport if nothing more is to come on it."""

    def answer(self, connection: Connection, answer: UpgradeAccept | UpgradeReject) -> WebSocket | None:
        """Answer an opening handshake, and give the WebSocket that opens by that; `None` if the client has gone."""

    def leave_soon(self, websocket: WebSocket) -> None:
        """End a WebSocket as soon as its Close is written, without waiting for the peer's."""

    def log_answer(self, scope: MutableMapping[str, Any], answer: UpgradeAccept | UpgradeReject) -> None:
        """Log an answer."""


class _Phase(Enum):
    """Where the conversation with the application is.

    Attributes:
        CONNECTING: `websocket.connect` is to be received.
        CONNECTED: it was, and the application has not decided.
        DENYING: the application refuses, and has begun to say how.
        REFUSING: a part of the refusal is sent, and more of it is to come.
        OPEN: the WebSocket is open.
        CLOSED: the application has refused or closed it.
        GONE: the client has ended it, or its connection is lost.
    """

    CONNECTING = auto()
    CONNECTED = auto()
    DENYING = auto()
    REFUSING = auto()
    OPEN = auto()
    CLOSED = auto()
    GONE = auto()


class WebSocketCycle(_core.AsgiCycle):
    """The life of one WebSocket in an application.

    Args:
        protocol: its transport.
        connection: its connection, whose client waits for an answer.
        scope: the scope, see `websocket_scope`.
        application: the application.
    """

    __slots__ = (
        "_application",
        "_connection",
        "_decided",
        "_denial",
        "_end",
        "_phase",
        "_protocol",
        "_refusal",
        "_scope",
        "_websocket",
    )

    _open: AsgiWebSocket | None

    def __init__(
        self,
        protocol: WebSocketTransport,
        connection: Connection,
        scope: MutableMapping[str, Any],
        application: Application,
    ) -> None:
        self._protocol = protocol
        self._connection = connection
        self._scope = scope
        self._application = application
        self._phase = _Phase.CONNECTING
        #: From when the application accepts it; `_open` is the same in the phase `OPEN`.
        self._websocket: AsgiWebSocket | None = None
        #: The head of a refusal whose body is still to come.
        self._denial: Message = {}
        #: What sends the rest of a refusal, in the phase `REFUSING`.
        self._refusal: StreamResponder | None = None
        #: Done when it is open, or never will be: an application may wait for messages before it accepts.
        self._decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: What the application is told of the end.
        self._end: Message | None = None

    async def run(self) -> None:
        """Run the application, and end what it leaves open: with 1000 where it returns, 1011 where it raises, 500 before the answer."""
        code = 1000
        try:
            result = await self._application.app(self._scope, self.receive, self.send)
            if result is not None:
                self._log_error("ASGI callable should return None, but returned '%s'.", result)
            if self._phase in _UNDECIDED or self._phase is _Phase.REFUSING:
                self._log_error("ASGI callable returned without completing handshake.")
        except Exception as error:
            if not is_of_the_end(error):
                self._application.logger.error("Exception in ASGI application\n", exc_info=error)
                code = 1011
        except BaseException:
            # It is cancelled, or the process ends: nobody is to wait for the client.
            self._end_refusal(503)
            if self._websocket is not None:
                self._websocket._begin_close(1001)
                self._protocol.leave_soon(self._websocket)
            raise
        self._end_refusal(500)
        if self._websocket is not None:
            self._websocket.discard()
            await self._websocket.close(code)

    def shut_down(self, code: int) -> None:
        """End it because the server stops: with a Close, or a 503 before the answer."""
        if self._websocket is not None:
            self._websocket._begin_close(code)
        self._refuse(503, code)

    def lose(self) -> None:
        """Tell the application that the client has gone, if it has not got an answer."""
        if self._phase in _UNDECIDED:
            self._finish(_Phase.GONE, _disconnect(1006))

    async def _receive(self) -> Message:
        """Give an event while the WebSocket is not open."""
        if self._phase is _Phase.CONNECTING:
            self._phase = _Phase.CONNECTED
            return {"type": "websocket.connect"}
        if self._phase in _UNDECIDED:
            await asyncio.shield(self._decided)
            return await self.receive()
        assert self._end is not None
        return dict(self._end)

    async def _send(self, message: Message) -> None:
        """Take an event that is no message of an open WebSocket, or that is not a `dict`."""
        if self._open is not None and self._open.disconnect is not None:
            self._finish(_Phase.GONE, self._open.disconnect)
        match self._phase, message["type"]:
            case (_Phase.GONE, _):
                raise ClientDisconnected("the client has gone")
            case (_Phase.CONNECTING | _Phase.CONNECTED, "websocket.accept"):
                self._accept(message)
            case (_Phase.CONNECTING | _Phase.CONNECTED, "websocket.close"):
                self._refuse(403)
            case (_Phase.CONNECTING | _Phase.CONNECTED, "websocket.http.response.start"):
                self._phase, self._denial = _Phase.DENYING, message
            case (_Phase.DENYING, "websocket.http.response.body"):
                refusal = _refusal(self._denial, message.get("body", b""), self._application.headers)
                if message.get("more_body", False):
                    self._begin_refusal(refusal)
                else:
                    self._deny(refusal, 1006)
            case (_Phase.REFUSING, "websocket.http.response.body"):
                self._send_refusal(message.get("body", b""), more=message.get("more_body", False))
            case (_Phase.OPEN, "websocket.send"):
                assert self._open is not None
                data = message.get("bytes")
                await self._open.send(message["text"] if data is None else data)
            case (_Phase.OPEN, "websocket.close"):
                assert self._open is not None
                code, reason = message.get("code"), message.get("reason") or ""
                code = 1000 if code is None else code
                self._open.discard()
                self._open._begin_close(code, reason)
                # A task may wait in `receive`.
                self._open.disconnect = _disconnect(code, reason)
                self._finish(_Phase.CLOSED, self._open.disconnect)
            case (phase, kind):
                raise LocalProtocolError(f"an application may not send {kind!r} {_WHEN[phase]}")
        if self._phase is _Phase.REFUSING and self._refusal is not None:
            await self._refusal.drained()

    def _accept(self, message: Message) -> None:
        answer = UpgradeAccept(
            subprotocol=message.get("subprotocol"),
            extensions=self._application.extensions,
            headers=(*texts(message.get("headers", ())), *self._application.headers),
        )
        self._protocol.log_answer(self._scope, answer)
        websocket = self._protocol.answer(self._connection, answer)
        if websocket is None:
            self._finish(_Phase.GONE, _disconnect(1006))
            raise ClientDisconnected("the client has gone")
        assert isinstance(websocket, AsgiWebSocket)
        self._websocket = self._open = websocket
        self._phase = _Phase.OPEN
        self._decide()

    def _refuse(self, status: int, code: int = 1006) -> None:
        """Refuse with an empty body, unless there was an answer."""
        if self._phase in _UNDECIDED:
            self._deny(UpgradeReject(status), code)

    def _deny(self, answer: UpgradeReject, code: int) -> None:
        self._protocol.log_answer(self._scope, answer)
        self._protocol.answer(self._connection, answer)
        self._finish(_Phase.CLOSED, _disconnect(code))

    def _begin_refusal(self, refusal: UpgradeReject) -> None:
        """Send the first part of a refusal."""
        if self._protocol.closing or self._connection.state is not State.REQUESTED:
            self._finish(_Phase.GONE, _disconnect(1006))
            raise ClientDisconnected("the client has gone")
        rest, data = self._connection.stream_reject(refusal)
        self._protocol.log_answer(self._scope, refusal)
        self._protocol.write(data)
        self._refusal = StreamResponder(self._protocol, rest, begun=True)
        self._phase = _Phase.REFUSING

    def _send_refusal(self, data: bytes, *, more: bool) -> None:
        """Send another part of a refusal."""
        assert self._refusal is not None
        if self._refusal.gone:
            self._leave_refusal(_Phase.GONE)
            raise ClientDisconnected("the client has gone")
        self._refusal.send(data, end=not more)
        if not more:
            self._leave_refusal(_Phase.CLOSED)

    def _end_refusal(self, status: int) -> None:
        """Refuse what was not answered, and give up a refusal that is not whole."""
        self._refuse(status)
        if self._phase is _Phase.REFUSING and self._refusal is not None:
            self._refusal.abandon()
            self._leave_refusal(_Phase.GONE)

    def _leave_refusal(self, phase: _Phase) -> None:
        """Have done with a refusal in parts."""
        self._refusal = None
        self._finish(phase, _disconnect(1006))
        self._protocol.close_if_done()

    def _finish(self, phase: _Phase, end: Message) -> None:
        """Tell the application from now on that the WebSocket has ended, by the event `end`."""
        self._phase, self._open = phase, None
        if self._end is None:
            self._end = end
        self._decide()

    def _decide(self) -> None:
        if not self._decided.done():
            self._decided.set_result(None)

    def _log_error(self, text: str, *arguments: object) -> None:
        self._application.logger.error(text, *arguments)


def _disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


_UNDECIDED = (_Phase.CONNECTING, _Phase.CONNECTED, _Phase.DENYING)

_WHEN = {
    _Phase.CONNECTING: "before it has accepted or refused the WebSocket",
    _Phase.CONNECTED: "before it has accepted or refused the WebSocket",
    _Phase.DENYING: "within the body of a refusal",
    _Phase.REFUSING: "within the body of a refusal",
    _Phase.OPEN: "while the WebSocket is open",
    _Phase.CLOSED: "after it has refused or closed the WebSocket",
}


def _refusal(start: Message, body: bytes, more: Headers) -> UpgradeReject:
    headers = [(name, value) for name, value in texts(start.get("headers", ())) if name.lower() not in FRAMING]
    return UpgradeReject(start["status"], headers=(*headers, *more), body=body)
