"""A server: WebSockets and ordinary requests over HTTP/1.1 and HTTP/2 on one port."""

from __future__ import annotations

import math
import socket
import ssl as tls
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from mintws import _core
from mintws.arguments import explained
from mintws.connection import Connection, Options
from mintws.drivers import log
from mintws.drivers.addresses import GivenPath
from mintws.drivers.listener import port_of
from mintws.drivers.server import (
    SERVER_SLOTS,
    Respond,
    ServerSettings,
    ServerTransport,
    Upgrade,
    logger,
    server_context,
)
from mintws.drivers.unopened import Unopened
from mintws.errors import LocalProtocolError
from mintws.events import Peer, Role
from mintws.extensions import Extension
from mintws.limits import MAX_CONCURRENT_STREAMS, STREAM_WINDOW
from mintws.session import (
    END_WAIT,
    PRODUCT,
    ForwardedHeader,
    Network,
    ProxyHeaderReader,
    ServerSession,
    Step,
    Timeouts,
    TlsTimeouts,
    Visit,
    check_seconds,
)
from mintws.tls import Tls
from mintws.trio.blocks import BlockNursery, raising
from mintws.trio.listener import Listener, NoListener
from mintws.trio.proxy_protocol import read_header
from mintws.trio.stream import SocketStream, Stream, aclose_now, address_of
from mintws.trio.streamed import StreamTransport
from mintws.trio.tls import linger, shake_hands, shared_buffers
from mintws.trio.websocket import WebSocket

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler: TypeAlias = Callable[[WebSocket], Awaitable[None]]

#: The most connections that are accepted before other tasks may run.
ACCEPTED_AT_ONCE = 100
#: Seconds until the next connection is accepted where the system has no room for one.
NO_ROOM_WAIT = 0.1


class serve(Unopened):  # noqa: N801  (used as a function)
    """Serve WebSockets: `async with serve(handler, host, port) as server:`, or `server = await nursery.start(serve, handler, host, port)`.

    HTTP/1.1 and HTTP/2 are spoken on the same port: by ALPN under TLS, by the client's preface in clear text. Awaited, it serves until it
    is cancelled or the server is closed.

    Args:
        handler: a coroutine function that is called with each `WebSocket`. When it returns, the WebSocket is closed with 1000; when it
            raises, with 1011, and the error is logged to "mintws.server", unless it is the `ConnectionClosed` of its own end.
        host, port: where to listen: a host or several, all interfaces if `None` or ""; port 0 is one that is free on all of them.
        sock, path: instead of these, a socket that is bound already or several, or the path of a Unix socket.
        backlog: how many connections may wait in the system until they are accepted; 4096 if nothing is said. A `sock` that listens
            already keeps its own, where the system tells it: Linux does for TCP. The system may have a lower limit.
        reuse_port: whether other processes may listen on the same port if they say so too, and share the connections (SO_REUSEPORT).
        listen: `False` listens nowhere, without any of these: `Server.serve_stream` brings the connections.
        ssl: the TLS context of a server with TLS, with its certificate loaded, or what makes one when it is called, which is done once.
            The context is the server's from then on, and its list for ALPN is set here: give another server, or other uses, their own.
        respond: answers ordinary requests, `Request` to `Response`; without it they get 426.
        upgrade: decides on a handshake: gets the connection and its `UpgradeRequest`, gives an `UpgradeAccept`, an `UpgradeReject`,
            or `None` for what the other arguments say, which also hold for the subprotocol and the extensions that an `UpgradeAccept`
            does not give. `request.peer` is who asks, for `respond` too; what is kept as `connection.app` is `websocket.app` for the
            handler. Meanwhile `connection.owner.transport` is the transport.
        subprotocols: what the server speaks; the first of the client's that is among them is agreed on.
        extensions: what the server is willing to use; permessage-deflate with windows of 4 KiB if nothing is said, none if `()`.
        origins: the origins that may open WebSockets, each as a browser writes it: `"https://example.com"`. `None` among them lets clients
            in that send no Origin. See `session.check_origin` for what holds if nothing is said.
        http2: whether HTTP/2 is spoken.
        max_connections: how many connections there may be at a time; any more are closed at once. `None` is no limit.
        max_connections_per_address: the same for the connections of one client address, or of one IPv6 network of 64 bits. Behind a proxy
            that is the proxy's.
        max_handshakes: how many TLS handshakes may be under way, after which connections are closed at once, and how many opening
            handshakes may wait for an answer, after which they are refused: with 503 or, over HTTP/2, with REFUSED_STREAM.
        proxy_protocol: the networks of proxies, such as `["10.0.0.0/8"]`, whose connections begin with a PROXY header that tells the
            client's address, version 1 or 2; "unix" among them is for a Unix socket. Connections from elsewhere have none.
        trusted_proxies, forwarded_header: the networks of proxies whose headers tell the client's address, scheme and host for
            `request.peer`, and which headers these are: "X-Forwarded-For", with -Proto and -Host, or "Forwarded" (RFC 7239).
        window, max_concurrent_streams: over HTTP/2, what a client may send on one stream before it is taken, and how many streams it may
            have open; see `Http2`.
        max_header_size: the bytes that the head of a request may have, 1 KiB to 1 MiB; if nothing is said, 32 KiB over HTTP/1.1, where a
            larger one gets 431, and 64 KiB over HTTP/2, where it ends the connection.
        server_header: the Server of each response that has none; `None` leaves it out.
        open_timeout, idle_timeout, close_timeout, half_closed_timeout, ping_interval, ping_timeout: see `Timeouts`.
        task_status: for `nursery.start`, which gives the `Server` by it.
        options: see `Options`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
        OSError: the address cannot be listened on.
    """

    _how = "`async with {}(...) as ...`"

    @explained(Connection)
    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | Sequence[socket.socket] | None = None,
        path: GivenPath | None = None,
        backlog: int | None = None,
        reuse_port: bool = False,
        listen: bool = True,
        ssl: tls.SSLContext | Callable[[], tls.SSLContext] | None = None,
        respond: Respond | None = None,
        upgrade: Upgrade | None = None,
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        origins: Sequence[str | None] | None = None,
        http2: bool = True,
        max_connections: int | None = None,
        max_connections_per_address: int | None = None,
        max_handshakes: int | None = None,
        proxy_protocol: Sequence[Network] | None = None,
        trusted_proxies: Sequence[Network] | None = None,
        forwarded_header: ForwardedHeader = "X-Forwarded-For",
        window: int = STREAM_WINDOW,
        max_concurrent_streams: int = MAX_CONCURRENT_STREAMS,
        max_header_size: int | None = None,
        server_header: str | None = PRODUCT,
        open_timeout: float | None = 10.0,
        idle_timeout: float | None = 60.0,
        close_timeout: float = 10.0,
        half_closed_timeout: float | None = 0.2,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
        **options: Unpack[Options],
    ) -> None:
        timeouts = Timeouts(open_timeout, close_timeout, ping_interval, ping_timeout, idle_timeout, half_closed_timeout)
        self._server = self._make_server(handler, timeouts, options)
        self._server._configure(
            respond=respond,
            upgrade=upgrade,
            subprotocols=subprotocols,
            extensions=extensions,
            origins=origins,
            http2=http2,
            max_connections=max_connections,
            max_connections_per_address=max_connections_per_address,
            max_handshakes=max_handshakes,
            proxy_protocol=proxy_protocol,
            trusted_proxies=trusted_proxies,
            forwarded_header=forwarded_header,
            window=window,
            max_concurrent_streams=max_concurrent_streams,
            max_header_size=max_header_size,
            server_header=server_header,
        )
        self._listener = self._make_listener(listen, (host, port, sock, path, backlog, reuse_port))
        self._ssl = server_context(ssl, http2=http2)
        self._task_status = task_status
        self._serving: Coroutine[Any, Any, None] | None = None

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> Server:
        return Server(handler, timeouts, options)

    def _make_listener(self, listen: bool, place: tuple[Any, ...]) -> Listener | NoListener:
        if not isinstance(listen, bool):
            raise TypeError(f"listen is True or False, not {listen!r}")
        if listen:
            return Listener(*place)
        if any(it is not None and it is not False for it in place):
            raise LocalProtocolError(
                "listen=False listens nowhere: leave out host, port, sock, path, backlog, reuse_port"
            )
        return NoListener()

    async def __aenter__(self) -> Server:
        self._tasks = BlockNursery()
        nursery = await self._tasks.open()
        try:
            return await self._server._listen(self._listener, self._ssl, nursery)
        except BaseException:
            await self._tasks.close()
            raise

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._server.__aexit__(kind, error, trace)
        finally:
            await self._tasks.close()

    # A call is a coroutine too, as `nursery.start` and `nursery.start_soon` want it.

    async def _serve(self) -> None:
        async with self as server:
            self._task_status.started(server)
            await server.serve_forever()

    def _begin(self) -> Coroutine[Any, Any, None]:
        if self._serving is None:
            self._serving = self._serve()
        return self._serving

    def __await__(self) -> Generator[Any, None, None]:
        return self._begin().__await__()

    def send(self, value: Any) -> Any:
        """Resume it with a value, as for a coroutine."""
        return self._begin().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an exception in it, as for a coroutine."""
        return self._begin().throw(*error)

    def close(self) -> None:
        """End it, as for a coroutine."""
        if self._serving is not None:
            self._serving.close()


Coroutine.register(serve)


class Server(ServerSettings):
    """A server that listens.

    Attributes:
        port: the port that is listened on; 0 for a Unix socket.
        leaving: no new connections, requests and WebSockets are taken.
    """

    _protocols: set[TrioServerTransport]

    def __init__(self, handler: Handler, timeouts: Timeouts, options: Options) -> None:
        super().__init__(handler, timeouts, options)
        self.port = 0
        #: What handles and answers: the task that does so, how it is cancelled, and for which transport.
        self._tasks: dict[trio.lowlevel.Task, tuple[trio.CancelScope, TrioServerTransport]] = {}
        self._listening: list[socket.socket] = []
        self._listened = False
        self._ssl: tls.SSLContext | None = None
        self._closed = trio.Event()
        #: How accepting ends, and the handshakes of TLS.
        self._accepting = trio.CancelScope()
        self._shaking: set[trio.CancelScope] = set()
        #: Tasks that wait for the end of some of the work that is under way.
        self._work = trio.lowlevel.ParkingLot()

    async def _listen(
        self, listener: Listener | NoListener, ssl: tls.SSLContext | None, nursery: trio.Nursery
    ) -> Server:
        """Begin to listen, where `serve` was told to; what is done for clients runs in the nursery."""
        if self._listened:
            raise LocalProtocolError("a server listens once: call serve() again")
        self._listened = True
        self._nursery, self._ssl = nursery, ssl
        self._listening = await listener.listen()
        self.port = port_of(self._listening)
        nursery.start_soon(self._accept_all, self._listening)
        return self

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        with raising(error):
            await self.close()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The sockets that are listened on: none before and after."""
        return tuple(self._listening)

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """Those that are open now."""
        return frozenset(websocket for protocol in self._protocols for websocket in protocol.websockets)

    async def serve_forever(self) -> None:
        """Serve until the task is cancelled or the server is closed."""
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until `close` is done."""
        await self._closed.wait()

    async def serve_stream(self, stream: Stream) -> None:
        """Serve a connection that was accepted elsewhere, until it ends. The stream is closed then.

        The server speaks its TLS on the stream, if it has any. What it does for the connection runs in the server's nursery. If the call is
        cancelled, the connection is cut. A server that takes nothing new any more closes the stream at once. A PROXY header is read from
        connections alone that the server has accepted itself.

        Args:
            stream: what the bytes of the client come from, with the methods that `connect` takes a stream for.

        Raises:
            LocalProtocolError: the server has not begun. The stream is closed.
        """
        if not self._listened or self.leaving:
            await aclose_now(stream)
            if not self._listened:
                raise LocalProtocolError("the server has not begun: use it within `async with serve(...)`")
            return
        ended = trio.Event()
        carried = trio.CancelScope()

        async def carry() -> None:
            try:
                with carried:
                    await self._carry(stream)
            finally:
                ended.set()

        self._nursery.start_soon(carry)
        try:
            await ended.wait()
        finally:
            if not ended.is_set():
                carried.cancel()
                for protocol in [it for it in self._protocols if it.stream is stream]:
                    # It ends by itself, and is not cancelled.
                    protocol.cut()
                with trio.CancelScope(shield=True):
                    await ended.wait()

    async def drain(self, timeout: float | None, code: int = 1001, reason: str = "") -> None:
        """Stop listening, let what is under way come to its end, and close what is left then.

        No connections, requests and WebSockets are taken any more, which clients are told by GOAWAY, or by `Connection: close` in the
        response that is due; connections that carry nothing are closed at once. Requests that have begun get their responses, and
        WebSockets go on until they are closed by either side.

        If the call is cancelled, nothing more is taken all the same, and what is under way goes on: call `drain` again, or `close`.

        Args:
            timeout: how long that may take, in seconds, before `close` is called; `None` waits for as long as it takes.
            code, reason: as in `close`, for the WebSockets that are left.

        Raises:
            LocalProtocolError, TypeError: an argument is wrong; the server goes on.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        _core.check_close(code, reason)
        self._leave()
        await self._wait_for_work(timeout)
        await self.close(code, reason)

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Stop listening, close all WebSockets, and wait for their handlers and for answers to ordinary requests.

        What takes longer than the close timeout is cancelled, and what is left when this call itself is cancelled is cut off.

        Args:
            code: the status code that the clients get: 1001, going away, or 1012, to come again after a restart.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent; the server goes on.
        """
        _core.check_close(code, reason)
        self._leave()
        for websocket in self.websockets:
            websocket._begin_close(code, reason)
        try:
            await self._wait_for_work(self._timeouts.close_timeout)
            while others := self._other_tasks():
                for scope in others:
                    scope.cancel()
                await self._work.park()
            for protocol in list(self._protocols):
                protocol.close()
            with trio.move_on_after(END_WAIT):
                for protocol in list(self._protocols):
                    await protocol.gone.wait()
        finally:
            self._cut_off()

    def _note_end(self) -> None:
        """Look again whether there is work under way: some of it has ended."""
        self._work.unpark_all()

    def _leave(self) -> None:
        """Take nothing new."""
        self.leaving = True
        self._accepting.cancel()
        listening, self._listening = self._listening, []
        for sock in listening:
            trio.lowlevel.notify_closing(sock)
            sock.close()
        for protocol in list(self._protocols):
            protocol.leave()
        for scope in list(self._shaking):
            scope.cancel()

    async def _wait_for_work(self, timeout: float | None) -> None:
        """Wait until no work is under way, but that of the calling task."""
        with trio.CancelScope() as scope:
            if timeout is not None:
                scope.deadline = trio.current_time() + timeout
            await trio.lowlevel.checkpoint()
            while self._is_busy():
                await self._work.park()

    def _other_tasks(self) -> list[trio.CancelScope]:
        """Give how the tasks end that are not the calling one."""
        calling = trio.lowlevel.current_task()
        return [scope for task, (scope, _) in self._tasks.items() if task is not calling]

    def _is_busy(self) -> bool:
        _, own = self._tasks.get(trio.lowlevel.current_task(), (None, None))
        return bool(self._open_protocols(own) or self._other_tasks())

    def _cut_off(self) -> None:
        """End what is left."""
        for scope in self._other_tasks():
            scope.cancel()
        for protocol in list(self._protocols):
            protocol.cut()
        for scope in list(self._shaking):
            scope.cancel()
        self._closed.set()

    async def _accept_all(self, listening: Sequence[socket.socket]) -> None:
        """Accept connections of all sockets until the server leaves."""
        with self._accepting:
            async with trio.open_nursery() as nursery:
                for sock in listening:
                    nursery.start_soon(self._accept, sock)

    async def _accept(self, listening: socket.socket) -> None:
        """Accept connections of a socket until the server leaves."""
        while not self.leaving:
            await trio.lowlevel.wait_readable(listening)
            for _ in range(ACCEPTED_AT_ONCE):
                try:
                    sock, _ = listening.accept()
                except BlockingIOError:
                    break
                except ConnectionError:
                    # The client was quicker.
                    continue
                except OSError as error:
                    if self.leaving:
                        return
                    logger.error("no connection is accepted: %s", error)
                    await trio.sleep(NO_ROOM_WAIT)
                    break
                self._nursery.start_soon(self._carry, SocketStream(sock))

    async def _carry(self, stream: Stream) -> None:
        """Serve a connection."""
        ssl = self._ssl
        peer = Peer(address_of(stream))
        visit = None if self.leaving else self._admit(peer.address, secure=ssl is not None)
        try:
            if visit is None:
                return
            if isinstance(stream, SocketStream) and self._relays(peer.address):
                relayed = await self._read_proxy_header(stream, visit, peer.address)
                if relayed is None:
                    return
                peer = relayed
            secure, early = None, b""
            if ssl is not None:
                shaken = await self._shake_hands(stream, ssl, visit, peer.address)
                if shaken is None:
                    return
                self._shaken(visit)
                secure, early = shaken
            protocol = TrioServerTransport(stream, self, secure, early)
            protocol.peer = replace(peer, tls=protocol.peer.tls)
            if not self.leaving:
                await protocol.serve(None if secure is None else secure.ssl_object.selected_alpn_protocol())
        except Exception:
            # One connection does not end the others.
            logger.exception("- %s: the connection failed", log.address_of(peer.address))
        finally:
            self._depart(visit)
            await aclose_now(stream)

    async def _read_proxy_header(self, stream: SocketStream, visit: Visit, address: object) -> Peer | None:
        """Read the header of a proxy's connection; give whose that is, or `None` if it is not served."""
        reader = ProxyHeaderReader()
        timeout = self._timeouts.open_timeout
        with trio.CancelScope() as scope:
            self._shaking.add(scope)
            if self.leaving:
                scope.cancel()
            try:
                with trio.move_on_after(math.inf if timeout is None else timeout) as late:
                    await read_header(stream.sock, reader)
                if late.cancelled_caught:
                    reader.fault = f"it did not come within {timeout:g} s"
                if reader.header is not None:
                    return self._identify(visit, address, reader.header)
                self._fail_proxy_header(address, reader)
            finally:
                self._shaking.discard(scope)
        return None

    async def _shake_hands(
        self, stream: Stream, ssl: tls.SSLContext, visit: Visit, address: object
    ) -> tuple[Tls, bytes] | None:
        """Do the handshake of TLS; give what came after it, or `None` if it was not done."""
        timeouts = TlsTimeouts(trio.current_time(), self._timeouts.open_timeout, self._timeouts.close_timeout)
        with trio.CancelScope() as scope:
            self._shaking.add(scope)
            if self.leaving:
                scope.cancel()
            try:
                with trio.move_on_at(math.inf if timeouts.deadline is None else timeouts.deadline):
                    secure = Tls(ssl, Role.SERVER, buffers=shared_buffers())
                    return secure, await shake_hands(stream, secure)
                late = f"the TLS handshake did not end within {timeouts.handshake_timeout:g} s"
                self._fail_handshake(visit, address, TimeoutError(late))
            except trio.BrokenResourceError as error:
                self._fail_handshake(visit, address, ConnectionError(str(error)))
            except OSError as error:
                self._fail_handshake(visit, address, error)
                await linger(stream, timeouts)
            except Exception as error:
                self._fail_handshake(visit, address, error)
            finally:
                self._shaking.discard(scope)
        return None


class TrioServerTransport(ServerTransport, StreamTransport):
    """A server's transport."""

    __slots__ = SERVER_SLOTS

    _server: Server
    _session: ServerSession

    cancelled = trio.Cancelled

    def __init__(self, stream: Stream, server: Server, secure: Tls | None, early: bytes) -> None:
        super().__init__(stream, ServerSession(trio.current_time(), server._timeouts), secure, early)
        self._begin_server(server)

    async def serve(self, alpn: str | None) -> None:
        """Serve until the transport is gone."""
        self._server._protocols.add(self)
        self.speak_chosen(alpn, secure=self._tls is not None)
        # The server cuts it when it ends, and what is answered before can be written.
        await self.run(shield=True)

    def receive(self, data: bytes | bytearray) -> None:
        if self._preface is not None:
            start = self.receive_start(data)
            if start is None:
                return
            if start:
                super().receive(start)
            if data:
                return
        super().receive(data)

    def lose(self) -> None:
        super().lose()
        self._server._protocols.discard(self)
        self._server._note_end()

    def _end_chunk(self, crowded: bool, replied: int) -> None:
        super()._end_chunk(crowded, replied)
        self.limit_half_closed()

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        self._server._note_end()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._server._nursery.start_soon(self._work, work)

    async def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = trio.lowlevel.current_task()
        with trio.CancelScope() as scope:
            self._server._tasks[task] = scope, self
            try:
                await work
            finally:
                del self._server._tasks[task]
                self.end_work()
                self._server._note_end()
