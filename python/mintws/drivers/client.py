"""Clients: what they are told, the openings and requests on one transport, and why they fail."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from mintws.connection import Connection, Options, check_options, check_request
from mintws.drivers import log
from mintws.drivers.transport import LoggedTransport, Waiter
from mintws.drivers.unopened import Unopened
from mintws.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    ProxyError,
    RemoteProtocolError,
    ResponseTooLarge,
    UpgradeError,
)
from mintws.events import (
    Failed,
    Headers,
    MessageReset,
    Request,
    Response,
    Role,
    State,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
    check_str,
    completed,
    pairs,
)
from mintws.extensions import Extension
from mintws.http1 import Http1
from mintws.limits import INT31, check_int, check_streams
from mintws.session import (
    REDIRECTS,
    ClientSession,
    DriverWebSocket,
    HttpVersion,
    Proxy,
    Redirects,
    Step,
    Timeouts,
    VersionChoice,
    product_header,
)
from mintws.url import Url, basic_credentials, parse

if TYPE_CHECKING:
    from mintws.http2 import Http2

W = TypeVar("W")
WebSocketT = TypeVar("WebSocketT", bound=DriverWebSocket)

#: Headers as a caller gives them.
GivenHeaders: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
#: A URL as a caller gives it, or what makes one for each opening.
GivenUrl: TypeAlias = str | Callable[[], str | Awaitable[str]]

#: Stands for a URL that has not been made, in the log and in errors.
UNKNOWN_URL = Url(secure=True, host="server.invalid", port=443, authority="the server", target="/", authorization=None)

logger = logging.getLogger("mintws.client")


class CookieJar(Protocol):
    """The methods that are used of an `http.cookiejar.CookieJar`, which is not imported here because it loads much of urllib."""

    def add_cookie_header(self, request: Any) -> None: ...
    def extract_cookies(self, response: Any, request: Any) -> None: ...


class ClientSettings:
    """The arguments of `connect`, without the place where it connects to.

    Args:
        url, auth: see `connect`; a callable is called by `fresh_url`.
        headers: see `connect`; a callable is called by `fresh_headers`.
        http, subprotocols, extensions, origin, user_agent_header, timeouts, options, redirects, cookies: see `connect`.

    Attributes:
        url: the URL, which `fresh_url` changes.

    Raises:
        LocalProtocolError, TypeError: one of them is wrong.
    """

    def __init__(
        self,
        url: GivenUrl,
        auth: tuple[str, str] | None,
        http: HttpVersion,
        headers: GivenHeaders | Callable[[], GivenHeaders | Awaitable[GivenHeaders]],
        subprotocols: Sequence[str],
        extensions: Sequence[Extension] | None,
        origin: str | None,
        user_agent_header: str | None,
        timeouts: Timeouts,
        options: Options,
        redirects: int = REDIRECTS,
        cookies: CookieJar | None = None,
    ) -> None:
        if http not in ("auto", "1.1", "2"):
            raise LocalProtocolError(f'http must be "auto", "1.1" or "2", not {http!r}')
        self.http: HttpVersion = http
        check_options(options)
        self._make_url = url if callable(url) else None
        self._auth = auth
        self.url = authorized(UNKNOWN_URL if callable(url) else parse(url), auth)
        self._product = product_header("User-Agent", user_agent_header)
        self._headers: Headers | Callable[[], GivenHeaders | Awaitable[GivenHeaders]]
        self._headers = headers if callable(headers) else completed(pairs(headers), self._product)
        self._subprotocols = subprotocols
        self._extensions = extensions
        self._origin = origin
        self.timeouts = timeouts
        self.options = options
        check_int("redirects", redirects, 0, INT31)
        self.redirects = redirects
        self.cookies = None
        if cookies is not None:
            if not hasattr(cookies, "add_cookie_header") or not hasattr(cookies, "extract_cookies"):
                kind = type(cookies).__name__
                raise TypeError(
                    f'cookies is an http.cookiejar.CookieJar, not {kind}: headers={{"Cookie": "a=1"}} sends some'
                )
            # With urllib, which who keeps no cookies need not load.
            from mintws.drivers.cookies import Cookies

            self.cookies = Cookies(cookies)
        # Raises for what no request may have. A URL that is not known has words for its authority, which no request may have either.
        checked = self.url if self._make_url is None else self.url._replace(authority=self.url.host)
        self.request(checked, () if callable(self._headers) else self._headers, ())

    async def fresh_url(self, attempt: Attempt) -> Url:
        """Return the URL of an opening, which a callable of the caller's makes for each.

        Raises:
            LocalProtocolError, TypeError: it returns what is no URL.
        """
        if self._make_url is not None:
            attempt.awaits = awaited = "what `url` returns"
            made = self._make_url()
            self.url = authorized(parse(await made if isinstance(made, Awaitable) else made), self._auth)
            attempt.begin(self.url)
            # A thread that has waited for it may be late, and says so.
            attempt.awaits = awaited
        return self.url

    async def fresh_headers(self, attempt: Attempt) -> Headers:
        """Return the headers of an opening, which a callable of the caller's makes for each.

        Raises:
            LocalProtocolError, TypeError: it returns what are no headers.
        """
        if not callable(self._headers):
            return self._headers
        attempt.awaits = "what `headers` returns"
        made = self._headers()
        return completed(pairs(await made if isinstance(made, Awaitable) else made), self._product)

    def request(self, url: Url, fields: Headers, offer: Sequence[Extension]) -> UpgradeRequest:
        """Make the request of an opening, with `offer` as its extensions if the caller has said nothing of them."""
        extensions = offer if self._extensions is None else self._extensions
        return upgrade_request(url, fields, self._subprotocols, extensions, self._origin)


class Http2Settings:
    """The arguments of `connect_http2`, without the place where it connects to.

    Args:
        url, user_agent_header, timeouts, options, window, max_concurrent_streams: see `connect_http2`.

    Attributes:
        streams: arguments of `Http2`.

    Raises:
        LocalProtocolError, TypeError: one of them is wrong.
    """

    def __init__(
        self,
        url: Url,
        user_agent_header: str | None,
        timeouts: Timeouts,
        options: Options,
        window: int,
        max_concurrent_streams: int | None,
    ) -> None:
        check_options(options)
        check_streams(window, max_concurrent_streams)
        self.url = url
        self.product = product_header("User-Agent", user_agent_header)
        self.timeouts = timeouts
        self.options = options
        self.streams = {"window": window, "max_concurrent_streams": max_concurrent_streams}


class OpenedOnce(Unopened):
    """An opening that is made once."""

    _begun = False

    def _begin(self) -> None:
        if self._begun:
            name = self._name or type(self).__name__
            raise LocalProtocolError(f"{name}() opens one connection, and did so already: call {name}() again")
        self._begun = True


def upgrade_request(
    url: Url,
    fields: Headers,
    subprotocols: Sequence[str],
    extensions: Sequence[Extension],
    origin: str | None,
) -> UpgradeRequest:
    """Make the request of an opening handshake.

    Raises:
        LocalProtocolError, TypeError: an argument is wrong.
    """
    if origin is not None:
        check_str(origin=origin)
        fields = (("Origin", origin), *fields)
    if url.authorization is not None and not any(name.lower() == "authorization" for name, _ in fields):
        fields = (("Authorization", url.authorization), *fields)
    request = UpgradeRequest(
        url.authority, url.target, headers=fields, subprotocols=subprotocols, extensions=extensions
    )
    check_request(request)
    return request


def authorized(url: Url, auth: object) -> Url:
    """Return a URL with the credentials that are given beside it: a user and a password, or none.

    Raises:
        LocalProtocolError: it has some already, or Basic credentials cannot represent them (RFC 7617 §2).
        TypeError: they are no pair of `str`.
    """
    match auth:
        case None:
            return url
        case (str(user), str(password)):
            pass
        case _:
            raise TypeError("auth is a user and a password, a pair of str, which this is not")
    if url.authorization is not None:
        raise LocalProtocolError("the URL has a user and a password: leave out these, or `auth`")
    try:
        return url._replace(authorization=basic_credentials(user.encode(), password.encode()))
    except UnicodeEncodeError:
        raise LocalProtocolError("a user or a password has a surrogate, which is no character") from None


class Reach(Enum):
    """Where a client can connect to, given its arguments."""

    ANYWHERE = "anywhere"
    ORIGIN = "one origin, by a path"
    ONCE = "one server, once"


class Attempt:
    """The opening of a connection, or of a WebSocket on it, that a client waits for.

    Attributes:
        awaits: what the server has not done yet.
        refusal: its no, whose body had not ended when time was up.
        failure: the same of a proxy.
        id: the number of the transport, once there is one.
        multiplexed: HTTP/2 is spoken.
        unprocessed: the server has certainly not processed the last request.
    """

    __slots__ = ("_url", "awaits", "failure", "id", "multiplexed", "refusal", "unprocessed")

    #: The class of the error that time is up.
    timeout_error: type[ConnectTimeout] = ConnectTimeout

    def __init__(self, url: Url) -> None:
        self.begin(url)

    def begin(self, url: Url) -> None:
        """Begin with a URL, the first one or one that the attempt is redirected to."""
        self._url = url
        self.awaits = "the server's answer"
        self.refusal: UpgradeReject | None = None
        self.failure: ConnectError | None = None
        self.id = 0
        self.multiplexed = False
        self.unprocessed = True

    def begin_tls(self) -> None:
        """Go on to wait for TLS: its handshake begins when TCP is connected."""
        self.awaits = "the end of the TLS handshake"

    def late(self, timeout: float | None) -> ConnectError:
        """Make the error that says that time is up, and log it."""
        error: ConnectError
        if self.failure is not None:
            error = self.failure
        elif self.refusal is not None:
            error = refused(self.refusal)
        else:
            late = f"{self.awaits} did not come within {timeout:g} s (`open_timeout`)"
            error = self.timeout_error(f"cannot connect to {self._url.authority}: {late}")
        self.log(error)
        return error

    def log(self, error: ConnectError, then: str = "") -> None:
        """Log why nothing was opened; of a refusal no more than its status, since the rest may be secret."""
        if logger.isEnabledFor(logging.DEBUG):
            why = f"the server answered {error.status}" if isinstance(error, UpgradeError) else log.shown(str(error))
            where = f"{self._url.authority} {log.path(self._url.target)}"
            logger.debug("%s not opened: %s: %s%s", self.id or "-", where, why, then)


async def follow_redirects(
    settings: ClientSettings,
    url: Url,
    attempt: Attempt,
    offer: Sequence[Extension],
    reach: Reach,
    open_at: Callable[[Url, UpgradeRequest], Awaitable[WebSocketT]],
) -> WebSocketT:
    """Open a WebSocket where its URL leads, and the redirects of servers.

    Args:
        url: the URL.
        offer: the extensions that are offered if the caller has said nothing of them.
        reach: which redirects can be followed.
        open_at: opens a WebSocket at a URL, by a request.

    Raises:
        ConnectError: the last server refuses it or cannot be reached, or a redirect is not to be followed.
    """
    headers = await settings.fresh_headers(attempt)
    most = 0 if reach is Reach.ONCE else settings.redirects
    redirects = Redirects(url, most, elsewhere=reach is Reach.ANYWHERE)
    while True:
        url, cookies = redirects.url, settings.cookies
        fields: Headers = redirects.permitted(headers)
        if cookies is not None:
            fields = completed(fields, cookies.sent_to(url))
        try:
            websocket = await open_at(url, settings.request(url, fields, offer))
        except UpgradeError as error:
            if cookies is not None:
                cookies.keep(url, error.headers)
            if not redirects.follow(error):
                raise
            attempt.log(error, f"; redirected to {redirects.url.authority} {log.path(redirects.url.target)}")
            attempt.begin(redirects.url)
        else:
            if cookies is not None and websocket.response is not None:
                cookies.keep(url, websocket.response.headers)
            return websocket


async def open_by_turns(
    choice: VersionChoice,
    attempt: Attempt,
    now: Callable[[], float],
    open_once: Callable[[HttpVersion, Attempt], Awaitable[W]],
) -> W:
    """Open a WebSocket over the versions of HTTP that `choice` gives, one after the other.

    Raises:
        ConnectError: the last of them has failed.
    """
    while True:
        try:
            websocket = await open_once(choice.version, attempt)
        except ConnectError as error:
            if not choice.failed(now(), error, http2=attempt.multiplexed):
                raise
            attempt.log(error, "; HTTP/1.1 is tried")
        else:
            choice.opened(now())
            return websocket


class Http2ClientBase:
    """One HTTP/2 connection to a server, without the I/O of its calls."""

    def __init__(self, protocol: ClientTransport, settings: Http2Settings) -> None:
        assert protocol.http2 is not None
        self.http = protocol.http2
        self.id = str(protocol.id)
        self._url = settings.url
        self._product = settings.product

    def _handshake(
        self,
        target: str,
        headers: GivenHeaders,
        subprotocols: Sequence[str],
        extensions: Sequence[Extension],
        origin: str | None,
    ) -> tuple[Url, UpgradeRequest]:
        """Make the request of an opening handshake, and the URL that it is for."""
        url = self._url._replace(target=target)
        fields = completed(pairs(headers), self._product)
        return url, upgrade_request(url, fields, subprotocols, extensions, origin)

    def _ordinary(self, method: str, target: str, headers: GivenHeaders, body: bytes, limit: int | None) -> Request:
        """Make an ordinary request."""
        check_options({"limit": limit})
        return Request(method, target, (("host", self._url.authority), *completed(pairs(headers), self._product)), body)


#: The slots of a client's transport, for its subclass: of several bases only one can have any.
CLIENT_SLOTS = (
    "_check",
    "_openings",
    "_options",
    "_responses",
    "_streams",
    "_url",
    "_version",
    "_waiting",
    "http2",
    "pool",
    "ready",
    "single",
)


class Sharing(Protocol):
    """A pool, which shares transports between its users."""

    def changed(self, transport: Any) -> None:
        """Take that streams of a transport may have ended, that it may take no new ones, or that it has ended."""


class ClientTransport(LoggedTransport):
    """A client's transport, without its I/O.

    A subclass calls `_begin_client` first, and has `outlive` and what `LoggedTransport` asks for.

    Attributes:
        http2: the HTTP connection, if it is one of HTTP/2.
        ready: the server's SETTINGS have come, or never will: `check_open` tells.
        single: the transport is for one WebSocket and ends with it.
        pool: the pool that has it.
    """

    __slots__ = ()

    _session: ClientSession
    _check: Any
    _openings: dict[Connection, Any]
    _responses: dict[int, tuple[Any, int | None]]
    _waiting: list[Any]
    http2: Http2 | None
    ready: Any
    single: bool
    pool: Sharing | None

    logger = logger
    #: What fails is raised, so nobody need look here for it.
    level = logging.DEBUG
    #: The class of the error that something came too late.
    timeout_error: type[ConnectTimeout] = ConnectTimeout

    def _begin_client(self, url: Url, http: HttpVersion, options: Options, streams: dict[str, Any]) -> None:
        """Set what is a client's.

        Args:
            streams: arguments of `Http2`.
        """
        self._url = url
        self._version = http
        self._options = options
        self._streams = streams
        self.http2 = None
        self._openings = {}
        #: Requests that wait for their response, with the limits of its body.
        self._responses = {}
        #: Requests that wait for a stream.
        self._waiting = []
        #: What waits for a sign of life.
        self._check = None
        self.single = False
        self.pool = None
        self.ready = self.new_waiter()

    def outlive(self) -> None:
        """Go on until the transport has ended, though nobody waits for that."""
        raise NotImplementedError

    def speak_chosen(self, alpn: str | None) -> None:
        """Begin to speak the version of HTTP that was asked for and, under TLS, chosen by ALPN; none if these differ."""
        chosen = self._version
        if self._url.secure:
            chosen = "2" if alpn == "h2" else "1.1"
            if self._version not in ("auto", chosen):
                return
        if chosen == "2":
            scheme = "https" if self._url.secure else "http"
            # With h2, which who does not speak it need not load.
            from mintws.http2 import Http2

            self.http2 = Http2(Role.CLIENT, scheme=scheme, **self._streams, **self._options)
            self.speak(self.http2)
        else:
            self.speak(Http1(Role.CLIENT, **self._options))
            self.ready.set_result(None)

    def begin_attempt(self, attempt: Attempt) -> None:
        """Say in `attempt` which transport it has.

        Raises:
            ConnectError: the server does not speak the version of HTTP that was asked for.
        """
        if not self.speaks:
            why = f"the server does not speak HTTP/{self._version} (ALPN)"
            raise self.unreachable(RemoteProtocolError(why, section="RFC 7301 §3.2"))
        attempt.id, attempt.multiplexed = self.id, self.multiplexed

    async def open(
        self, request: UpgradeRequest, attempt: Attempt, begun: Callable[[Connection], None] | None = None
    ) -> Any:
        """Open a WebSocket.

        Args:
            request: the request.
            attempt: what is waited for.
            begun: called with its connection when its stream counts among those of the transport.

        Raises:
            ConnectError: the server refuses it, or the connection ends before its answer.
        """
        attempt.unprocessed = True
        self.check_open()
        opening = self.new_waiter()
        connection = self.http.open()
        connection._deliver_to(None)
        self._openings[connection] = opening
        try:
            self.write(connection.send(request))
            if begun is not None:
                begun(connection)
            return await opening
        except BaseException:
            attempt.unprocessed = connection.carrier.unprocessed
            if isinstance(connection.response, UpgradeAccept):
                self.drop(connection)
            elif not self.lost:
                attempt.awaits, attempt.refusal = self._awaited_by(connection), connection.refusal
                self.say_last(connection.abort())
            raise
        finally:
            self._openings.pop(connection, None)
            # The waiter holds what it raises, and that this frame.
            del opening
            self._session.forget(connection)

    def drop(self, connection: Connection) -> None:
        """Abort the WebSocket of a connection that has opened, but whom nobody waits for."""
        for websocket in list(self.websockets):
            if websocket.connection is connection:
                self.abort(websocket)

    async def settings(self, attempt: Attempt) -> None:
        """Wait for the server's SETTINGS.

        Raises:
            ConnectError: the connection ends before.
        """
        attempt.awaits = "the server's SETTINGS"
        try:
            await self.ready
            self.check_open()
        except BaseException:
            self.cut()
            raise

    async def request(self, request: Request, limit: int | None) -> Response:
        """Make an ordinary request, and wait for its response, whose body has at most `limit` bytes.

        Raises:
            ConnectError: the connection takes no new requests.
            ConnectionClosed: the connection, or the request's stream, ends before the response does.
        """
        http = self.http2
        assert http is not None
        self.check_open()
        while not http.has_room:
            room = self.new_waiter()
            self._waiting.append(room)
            await room
            self.check_open()
        stream, data = http.request(request)
        response = self.new_waiter()
        self._responses[stream] = response, limit
        self.write(data)
        try:
            answer: Response = await response
            return answer
        except ConnectionClosed:
            raise
        except BaseException:
            # It is cancelled, or the response too large.
            self.say_last(http.cancel(stream))
            raise
        finally:
            self._responses.pop(stream, None)
            # As in `open`.
            del response

    def check_open(self) -> None:
        """Raise `ConnectError` if nothing more can be begun on the connection."""
        if self.lost or self.closing:
            raise self.unreachable(self.error or self._end())
        if self.http.leaving:
            leaving = "the connection takes no new streams any more: connect again"
            raise ConnectError(f"cannot connect to {self._url.authority}: {leaving}")

    def unreachable(self, error: Exception | None) -> ConnectError:
        """Make the error that names why nothing can be opened, which is its cause."""
        return unreachable(self._url, error, self.timeout_error)

    def _end(self) -> RemoteProtocolError | None:
        """Give how the connection has ended over HTTP/2, of which no event told where it had no stream; `None` if it has not."""
        if self.http2 is None or not self.http2.end_reason:
            return None
        return RemoteProtocolError(self.http2.end_reason, code=1006, section="RFC 9113 §6.8")

    def _awaited_by(self, connection: Connection) -> str:
        """Name what an opening waits for."""
        if self.http.can_open is None:
            return "the server's SETTINGS"
        return "a free stream" if self.multiplexed and not connection.carrier.number else "the server's answer"

    async def check(self) -> bool:
        """Return whether the server is there: whether anything comes from it within `CHECK_WAIT` seconds after a PING."""
        if self.lost or self.closing:
            return False
        self._check = answer = self.new_waiter()
        try:
            self.obey(self._session.check(self.now()))
            alive: bool = await answer
            return alive
        finally:
            self._end_check(alive=False)

    def _end_check(self, *, alive: bool) -> None:
        answer, self._check = self._check, None
        self._session.end_check()
        if answer is not None and not answer.done():
            answer.set_result(alive)

    @property
    def shared(self) -> bool:
        return self.multiplexed and not self.single

    @property
    def usable(self) -> bool:
        """Whether WebSockets can be opened on it, over HTTP/2."""
        return not (self.lost or self.closing) and self.http2 is not None and self.http2.can_open is True

    @property
    def streams(self) -> int:
        """The number of streams that are open, or wait to be, over HTTP/2."""
        return 0 if self.http2 is None else self.http2.streams

    @property
    def stream_limit(self) -> int:
        """How many streams may be open at a time, over HTTP/2."""
        return 0 if self.http2 is None else self.http2.stream_limit

    def fail_openings(self, error: Callable[[Url], ConnectError]) -> None:
        """Fail all openings that wait for the answer of the server.

        Args:
            error: makes the error.
        """
        for opening in self._openings.values():
            if not opening.done():
                opening.set_exception(error(self._url))

    def rest(self, until: float | None) -> None:
        """Set the time at which its pool is to be asked whether it is still idle; `None` if it is in use."""
        self.obey(self._session.rest(until))

    def _tell_pool(self) -> None:
        if self.pool is not None:
            self.pool.changed(self)

    def check_done(self, websocket: DriverWebSocket) -> None:
        super().check_done(websocket)
        if websocket.connection.state is State.CLOSED and not self.shared:
            self._part()

    def abort(self, websocket: DriverWebSocket) -> None:
        super().abort(websocket)
        if self.multiplexed and not self.shared:
            self._part()

    def check_received(self) -> None:
        """See to what has come: SETTINGS, the heads of refusals, room for streams."""
        if not self.ready.done() and self.http.can_open is not None and not self.http.done:
            self.ready.set_result(None)
        for connection in self._openings:
            if connection.refusal is not None:
                self.obey(self._session.refuse(self.now(), connection))
        if self._check is not None:
            self._end_check(alive=True)
        self._offer_room()
        self._tell_pool()

    def expire(self) -> None:
        for connection in self._session.refused(self.now()):
            opening, refusal = self._openings[connection], connection.refusal
            if not opening.done() and refusal is not None:
                opening.set_exception(refused(refusal))
        if self._session.is_unanswered(self.now()):
            self._end_check(alive=False)
        super().expire()
        self._tell_pool()

    def say_last(self, data: bytes) -> None:
        super().say_last(data)
        self._offer_room()
        self._tell_pool()

    def let_go(self, websocket: DriverWebSocket) -> None:
        super().let_go(websocket)
        self._tell_pool()

    def _offer_room(self) -> None:
        """Let requests go on that wait for a stream, where one has ended."""
        if self._waiting and self.http2 is not None and (self.http2.has_room or self.http2.leaving):
            waiting, self._waiting = self._waiting, []
            for room in waiting:
                if not room.done():
                    room.set_result(None)

    def _part(self) -> None:
        """Leave the end of the transport, whose WebSocket has ended, to the server."""
        self.obey(self._session.part(self.now(), self))

    def take_step(self, step: Step) -> None:
        super().take_step(step)
        if step is Step.LET_GO:
            self.outlive()
            for websocket in list(self.websockets):
                self.let_go(websocket)

    def let_finish(self) -> None:
        if not self.shared:
            self.outlive()

    def lose(self) -> None:
        super().lose()
        for opening in self._openings.values():
            if not opening.done():
                opening.set_exception(self.unreachable(self.error))
        for response, _ in self._responses.values():
            if not response.done():
                ended = ConnectionClosed(1006, str(self.error or "the server closed it"), clean=False)
                ended.__cause__ = self.error
                response.set_exception(ended)
        for waiting in [self.ready, *self._waiting]:
            if not waiting.done():
                waiting.set_result(None)
        self._end_check(alive=False)
        self._tell_pool()

    def receive_handshake(self, connection: Connection, event: Any) -> None:
        opening: Waiter[Any] | None = self._openings.get(connection)
        match event:
            case UpgradeAccept():
                websocket = self.adopt(connection)
                # What came in the same chunk has waited for it.
                self.call_soon(websocket._resume)
                if opening is None or opening.done():
                    self.abort(websocket)
                else:
                    opening.set_result(websocket)
            case UpgradeReject() if opening is not None and not opening.done():
                opening.set_exception(refused(event))
            case Failed(error) if opening is not None and not opening.done():
                if isinstance(error.__cause__, ExtendedConnectDisabled):
                    opening.set_exception(error.__cause__)
                else:
                    # That the transport has ended is told by its own error, where it has one.
                    ended = self.error or (None if self.http2 is None else self.http2._fault)
                    opening.set_exception(self.unreachable(error if error.code != 1006 or ended is None else ended))
            case Failed(error) if opening is None and not self.multiplexed and self.error is None:
                # The peer was quicker than the request, whose opening is told this.
                self.error = error

    def receive_ordinary(self, event: Any) -> None:
        if not self.multiplexed:
            return
        super().receive_ordinary(event)
        awaited = self._responses.get(getattr(event, "stream", 0))
        if awaited is None:
            # Of no request that waits for its response.
            return
        waiting, limit = awaited
        response = self.http.collect(event, limit)
        if waiting.done():
            return
        if isinstance(response, Response):
            if response.body is None:
                assert limit is not None
                waiting.set_exception(ResponseTooLarge(response.status, limit))
            else:
                waiting.set_result(response)
        elif isinstance(event, MessageReset):
            from mintws.http2.frames import code_name

            reset = f"the server reset the request's stream with {code_name(event.code)}"
            waiting.set_exception(ConnectionClosed(1006, reset, clean=False, ended_by="peer"))


def refused(refusal: UpgradeReject) -> UpgradeError:
    """Make the error that has the server's no."""
    return UpgradeError(refusal.status, refusal.headers, refusal.body)


def unreachable(
    url: Url, error: Exception | None, timeout_error: type[ConnectTimeout], proxy: Proxy | None = None
) -> ConnectError:
    """Make the error that names why nothing can be opened, which is its cause."""
    what = f"cannot connect to {url.authority}" + ("" if proxy is None else f" by the proxy {proxy}")
    if isinstance(error, ProxyError):
        return error.about(what)
    if error is None:
        why = "the connection has ended"
    elif isinstance(error, RemoteProtocolError) and error.code == 1006:
        # Without the section on status codes, which nobody has sent.
        why = error.args[0]
    else:
        why = str(error) or type(error).__name__
    kind = timeout_error if isinstance(error, TimeoutError) else ConnectError
    made = kind(f"{what}: {why}", errno=getattr(error, "errno", None))
    made.__cause__ = error
    return made
