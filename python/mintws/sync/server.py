"""A server: WebSockets and ordinary requests over HTTP/1.1 and HTTP/2 on one port, with a thread for each WebSocket."""

from __future__ import annotations

import socket
import ssl as tls
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws import _core
from mintws.arguments import explained
from mintws.connection import Connection, Options
from mintws.drivers.addresses import GivenPath
from mintws.drivers.listener import port_of
from mintws.drivers.server import ServerSettings, ServerTransport, logger, server_context
from mintws.drivers.unopened import Unopened
from mintws.errors import LocalProtocolError
from mintws.events import Peer, Request, Response, Role, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Extension
from mintws.limits import MAX_CONCURRENT_STREAMS, STREAM_WINDOW
from mintws.session import (
    END_WAIT,
    PRODUCT,
    ForwardedHeader,
    Network,
    ServerSession,
    Step,
    Timeouts,
    Visit,
    check_seconds,
)
from mintws.sync.background import background
from mintws.sync.deadlines import deadline_after, seconds_until
from mintws.sync.listener import Listener, ListeningSocket
from mintws.sync.proxy_protocol import RelayedSocket
from mintws.sync.sockets import SocketTransport, address_of
from mintws.sync.transport import Unlocked, check_plain, plain
from mintws.sync.websocket import WebSocket
from mintws.tls import Tls

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler: TypeAlias = Callable[[WebSocket], object]
Upgrade: TypeAlias = Callable[[Connection, UpgradeRequest], UpgradeAccept | UpgradeReject | None]
Respond: TypeAlias = Callable[[Request], Response]


class serve(Unopened):  # noqa: N801  (used as a function)
    """Serve WebSockets: `with serve(handler, host, port) as server:`, or `server = serve(...).listen()`.

    HTTP/1.1 and HTTP/2 are spoken on the same port: by ALPN under TLS, by the client's preface in clear text. The handler of each WebSocket
    runs in a thread of its own, and so do the hooks for each request.

    Args:
        handler: called with each `WebSocket`. When it returns, the WebSocket is closed with 1000; when it raises, with 1011, and the error
            is logged to "mintws.server", unless it is the `ConnectionClosed` of its own end.
        host, port: where to listen: a host or several, all interfaces if `None` or ""; port 0 is one that is free on all of them.
        sock, path: instead of these, a socket that is bound already or several, or the path of a Unix socket.
        backlog: how many connections may wait in the system until they are accepted; 4096 if nothing is said. A `sock` that listens
            already keeps its own, where the system tells it: Linux does for TCP. The system may have a lower limit.
        reuse_port: whether other processes may listen on the same port if they say so too, and share the connections (SO_REUSEPORT).
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
        options: see `Options`.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
        OSError: the address cannot be listened on.
    """

    _how = "`with {}(...) as ...` or `{}(...).listen()`"

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
        **options: Unpack[Options],
    ) -> None:
        for name, hook in (("handler", handler), ("respond", respond), ("upgrade", upgrade)):
            check_plain(name, hook, "serve")
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
        self._server._guard_hooks()
        self._listener = self._make_listener(host, port, sock, path, backlog, reuse_port)
        self._ssl = server_context(ssl, http2=http2)

    def _make_server(self, handler: Handler, timeouts: Timeouts, options: Options) -> Server:
        return Server(handler, timeouts, options)

    def _make_listener(self, *place: Any) -> Any:
        return Listener(*place)

    def __enter__(self) -> Server:
        return self.listen()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._server.close()

    def listen(self) -> Server:
        """Begin to listen, for whom `with` does not fit; close the server that is returned.

        Raises:
            OSError: the address cannot be listened on.
            LocalProtocolError: it was called before.
        """
        return self._server._listen(self._listener, self._ssl)


class Server(ServerSettings):
    """A server that listens.

    Attributes:
        port: the port that is listened on; 0 for a Unix socket.
        leaving: no new connections, requests and WebSockets are taken.
    """

    _protocols: set[ServerSocket]

    def __init__(self, handler: Handler, timeouts: Timeouts, options: Options) -> None:
        super().__init__(handler, timeouts, options)
        self.port = 0
        #: Transports that have their TLS handshake before them, or a PROXY header.
        self._shaking: set[ServerSocket | RelayedSocket] = set()
        #: What handles and answers, and for which transport.
        self._threads: dict[threading.Thread, ServerSocket] = {}
        self._listening: list[ListeningSocket] = []
        self._process = _core.Lock()
        self._begun = self._closed = False
        #: Guards and tells of changes of all of these; no lock of a transport is taken within it.
        self._changed = self._changing = threading.Condition()

    def _guard_hooks(self) -> None:
        """Have the handler and the hooks run without the lock of the transport."""
        # A `Router` of coroutine functions returns a coroutine.
        self._handler = partial(_unlocked, plain("the handler", self._handler, "serve"))
        self._respond = None if self._respond is None else partial(_unlocked, self._respond)
        self._upgrade = None if self._upgrade is None else partial(_unlocked, self._upgrade)

    def _listen(self, listener: Listener, ssl: tls.SSLContext | None) -> Server:
        """Begin to listen, where `serve` was told to."""
        if self._begun:
            raise LocalProtocolError("a server listens once: call serve() again")
        self._begun = True
        self._listening = listener.listen(partial(self._accept, ssl))
        self.port = port_of(self.sockets)
        return self

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close()

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that are listened on: none before and after."""
        return tuple(it.sock for it in self._listening)

    @property
    def websockets(self) -> frozenset[WebSocket]:
        """Those that are open now."""
        self._check_process()
        with self._changed:
            transports = list(self._protocols)
        return frozenset(websocket for transport in transports for websocket in list(transport.websockets))

    def serve_forever(self) -> None:
        """Serve until the server is closed; Ctrl-C interrupts it."""
        self.wait_closed()

    def wait_closed(self) -> None:
        """Wait until `close` is done."""
        self._check_process()
        with self._changed:
            self._changed.wait_for(lambda: self._closed)

    def drain(self, timeout: float | None, code: int = 1001, reason: str = "") -> None:
        """Stop listening, let what is under way come to its end, and close what is left then.

        No connections, requests and WebSockets are taken any more, which clients are told by GOAWAY, or by `Connection: close` in the
        response that is due; connections that carry nothing are closed at once. Requests that have begun get their responses, and
        WebSockets go on until they are closed by either side.

        If the call is interrupted, nothing more is taken all the same, and what is under way goes on: call `drain` again, or `close`.

        Args:
            timeout: how long that may take, in seconds, before `close` is called; `None` waits for as long as it takes.
            code, reason: as in `close`, for the WebSockets that are left.

        Raises:
            LocalProtocolError, TypeError: an argument is wrong; the server goes on.
        """
        self._check_process()
        if timeout is not None:
            check_seconds("timeout", timeout)
        _core.check_close(code, reason)
        self._leave()
        self._wait_for_work(timeout)
        self.close(code, reason)

    def close(self, code: int = 1001, reason: str = "") -> None:
        """Stop listening, close all WebSockets, and wait for their handlers and for answers to ordinary requests.

        After the close timeout the connections of those that are left are cut, so that what they wait for ends. Handlers and hooks that do
        not return within another second are left to themselves, and logged. If the call is interrupted, all connections are cut.

        Args:
            code: the status code that the clients get: 1001, going away, or 1012, to come again after a restart.
            reason: text of at most 123 bytes in UTF-8.

        Raises:
            LocalProtocolError: the code or the reason may not be sent; the server goes on.
        """
        self._check_process()
        _core.check_close(code, reason)
        self._leave()
        for websocket in self.websockets:
            websocket._begin_close(code, reason)
        try:
            self._wait_for_work(self._timeouts.close_timeout)
            for transport in self._working_transports():
                transport.cut()
            for transport in list(self._protocols):
                with transport.lock:
                    transport.close()
            self._wait_for_work(END_WAIT)
        finally:
            self._cut_off()
        background().join()

    def _note_end(self) -> None:
        """Look again whether there is work under way: some of it has ended."""
        with self._changed:
            self._changed.notify_all()

    def _accept(self, ssl: tls.SSLContext | None, sock: socket.socket) -> None:
        """Serve a connection."""
        address = address_of(sock.getpeername)
        visit = None if self.leaving else self._admit(address, secure=ssl is not None)
        if visit is None:
            sock.close()
        elif self._relays(address):
            done = partial(self._end_proxy_header, ssl, visit, address)
            relayed = RelayedSocket(sock, self._timeouts.open_timeout, done)
            with self._changed:
                self._shaking.add(relayed)
            relayed.start()
        else:
            self._serve(ssl, sock, visit, Peer(address))

    def _end_proxy_header(
        self, ssl: tls.SSLContext | None, visit: Visit, address: object, relayed: RelayedSocket
    ) -> None:
        """Serve a proxy's connection whose header has come, or end it."""
        with self._changed:
            self._shaking.discard(relayed)
        header = relayed.reader.header
        peer = None
        if header is not None and not self.leaving:
            peer = self._identify(visit, address, header)
        elif header is None and not relayed.is_cut:
            self._fail_proxy_header(address, relayed.reader)
        if peer is not None and header is not None:
            self._serve(ssl, relayed.release(), visit, peer, header.destination)
        else:
            self._depart(visit)

    def _serve(
        self, ssl: tls.SSLContext | None, sock: socket.socket, visit: Visit, peer: Peer, sockname: object = None
    ) -> None:
        """Serve a connection that was admitted."""
        try:
            side = None if ssl is None else Tls(ssl, Role.SERVER)
        except Exception:
            # It is of a context of the application's own class.
            logger.exception("a connection failed")
            sock.close()
            self._depart(visit)
            return
        ServerSocket(sock, self, side, visit, peer, sockname).start()

    def _check_process(self) -> None:
        """Raise `LocalProtocolError` in a fork of the process that the server belongs to."""
        with self._process:
            pass

    def _leave(self) -> None:
        """Take nothing new."""
        self.leaving = True
        listening, self._listening = self._listening, []
        for it in listening:
            it.cut()
        with self._changed:
            transports, shaking = list(self._protocols), list(self._shaking)
        for transport in transports:
            with transport.lock:
                transport.leave()
        for waiting in shaking:
            waiting.cut()

    def _wait_for_work(self, timeout: float | None) -> None:
        """Wait until no work is under way, but that of the calling thread."""
        deadline = deadline_after(timeout)
        with self._changed:
            while self._is_busy() and (deadline is None or seconds_until(deadline)):
                self._changed.wait(seconds_until(deadline))

    def _is_busy(self) -> bool:
        own = self._threads.get(threading.current_thread())
        return bool(self._other_threads() or self._open_protocols(own))

    def _other_threads(self) -> list[threading.Thread]:
        return [it for it in self._threads if it is not threading.current_thread()]

    def _working_transports(self) -> list[ServerSocket]:
        with self._changed:
            return [self._threads[it] for it in self._other_threads()]

    def _cut_off(self) -> None:
        """End what is left."""
        with self._changed:
            transports = [*self._protocols, *self._shaking]
        for transport in transports:
            transport.cut()
        with self._changed:
            left = self._other_threads()
            if left and not self._closed:
                logger.warning("the server is closed, but %d handlers or hooks have not returned", len(left))
            self._closed = True
            self._changed.notify_all()


class ServerSocket(ServerTransport, SocketTransport):
    """A server's transport."""

    _server: Server
    _session: ServerSession

    lingers_after_fault = True
    #: Threads are not cancelled.
    cancelled = GeneratorExit

    def __init__(
        self, sock: socket.socket, server: Server, side: Tls | None, visit: Visit, peer: Peer, sockname: object
    ) -> None:
        session = ServerSession(self.now(), server._timeouts)
        SocketTransport.__init__(self, sock, session, side, server._timeouts.open_timeout)
        self.peer = replace(peer, tls=self.peer.tls)
        #: The address that a proxy says the client has connected to.
        self._sockname = sockname
        self._begin_server(server, visit)
        server._shaking.add(self)

    def connected(self) -> None:
        server = self._server
        with server._changed:
            server._shaking.discard(self)
            if self.visit is not None:
                server._shaken(self.visit)
            if not server.leaving:
                server._protocols.add(self)
        if server.leaving:
            self.cut()
            return
        tls = self.peer.tls
        self.speak_chosen(None if tls is None else tls.selected_alpn_protocol(), secure=tls is not None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sockname" and self._sockname is not None:
            return self._sockname
        return super().get_extra_info(name, default)

    def failed(self, error: Exception) -> None:
        self._server._fail_handshake(self.visit, self.peer.address, error)

    def receive(self, data: bytes) -> None:
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
        server = self._server
        with server._changed:
            server._protocols.discard(self)
            server._shaking.discard(self)
        server._depart(self.visit)
        server._note_end()

    def count_traffic(self) -> None:
        with self.lock:
            super().count_traffic()

    def go_on(self, events: Sequence[tuple[Connection | None, Any]], reply: bytes) -> None:
        super().go_on(events, reply)
        if self.multiplexed:
            self.limit_half_closed()

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        self._server._note_end()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a thread: after what the calling thread runs for this transport, if there is such work, or in a new one."""
        if getattr(_own, "transport", None) is self:
            _own.works.append(work)
            return
        thread = threading.Thread(target=self._work, args=(work,), name=f"mintws {self.id}", daemon=True)
        with self._server._changed:
            self._server._threads[thread] = self
        try:
            thread.start()
        except RuntimeError:
            work.close()
            with self._server._changed:
                del self._server._threads[thread]
            raise

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out a coroutine, and those that it spawns."""
        _own.transport = self
        works = _own.works = deque([work])
        try:
            while works:
                try:
                    self.carry_out(works.popleft())
                finally:
                    with self.lock:
                        self.end_work()
                        self.run_soon()
        finally:
            with self._server._changed:
                del self._server._threads[threading.current_thread()]
            self._server._note_end()


#: What a thread works for: the transport, and the coroutines that follow.
_own = threading.local()


def _unlocked(call: Callable[..., Any], *args: Any) -> Unlocked:
    return Unlocked(partial(call, *args))
