"""A plugin of pytest that has uvicorn's own tests run our classes, in place of uvicorn's.

`CLASSES` of the environment says which: "http1" or "http2" of `mintws.uvicorn.HttpProtocol`, "own1" or "own2" of `mintws.asgi.serve`.

Those tests call a protocol without a loop and a network: a transport keeps what is written, and a loop begins a task when `run_one` is
called. `Loop` and `Transport` put the rest of a loop and of a transport beneath that, which our classes ask for. The tests speak
HTTP/1.1: for HTTP/2, `Gateway` translates as a gateway does.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11
import httpx2
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mintws.asgi import serve
from mintws.uvicorn import HttpProtocol, WebSocketProtocol, _Http2Protocol

CLASSES = os.environ["CLASSES"]
#: The type of a frame.
GOAWAY = 7
OWN, HTTP2 = CLASSES.startswith("own"), CLASSES.endswith("2")


class Handle:
    """A timer of `Loop`."""

    def __init__(self, due: float, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._due, self.call, self.arguments = due, call, arguments
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._due


class Loop:
    """The loop that runs, but for its clock, which only `run_later` moves, and its tasks, each of which waits for `run_one`."""

    def __init__(self, theirs: Any) -> None:
        self._loop, self._theirs = asyncio.get_running_loop(), theirs
        self._now = 0.0
        self._handles: list[Handle] = []
        theirs.run_later = self.run_later

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def create_task(self, work: Coroutine[Any, Any, Any], **how: Any) -> asyncio.Task[Any]:
        begun = asyncio.Event()

        async def begin() -> None:
            begun.set()
            # What uvicorn's cycle makes of the end of its task is made of it in a callback here.
            await asyncio.wait([task])
            await asyncio.sleep(0)

        task: asyncio.Task[Any] = self._loop.create_task(_when(begun, work), **how)
        self._theirs._tasks.insert(0, begin())
        return task

    def call_at(self, due: float, call: Callable[..., Any], *arguments: Any) -> Handle:
        handle = Handle(due, call, arguments)
        self._handles.append(handle)
        return handle

    def call_later(self, delay: float, call: Callable[..., Any], *arguments: Any) -> Handle:
        return self.call_at(self._now + delay, call, *arguments)

    def run_later(self, with_delay: float) -> None:
        self._now += with_delay
        while due := [it for it in self._handles if it.cancelled() or it.when() <= self._now]:
            self._handles = [it for it in self._handles if it not in due]
            for handle in due:
                if not handle.cancelled():
                    handle.call(*handle.arguments)


async def _when(begun: asyncio.Event, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        await begun.wait()
    except asyncio.CancelledError:
        work.close()
        raise
    return await work


class Ssl:
    """The TLS of a transport of the tests: what a scope says of it."""

    def __init__(self, alpn: str | None) -> None:
        self._alpn = alpn
        self.context = ssl.create_default_context()

    def selected_alpn_protocol(self) -> str | None:
        return self._alpn

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256

    def getpeercert(self, binary_form: bool = False) -> None:
        return None


class Transport(asyncio.Transport):
    """A transport on one of the tests.

    Attributes:
        chooses_http2: whether ALPN has chosen HTTP/2, whatever the test's transport says.
    """

    chooses_http2 = False

    def __init__(self, theirs: Any, received: Callable[[bytes], None], set_protocol: Callable[[Any], None]) -> None:
        super().__init__()
        self._theirs, self._received, self.set_protocol = theirs, received, set_protocol  # type: ignore[method-assign]
        self._ssl = Ssl("h2") if getattr(theirs, "sslcontext", False) else None
        if self._ssl is not None and hasattr(theirs, "ssl_object") and not self.chooses_http2:
            self._ssl = Ssl(theirs.ssl_object.selected_alpn_protocol())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._ssl
        value = self._theirs.get_extra_info(name)
        return default if value is None else value

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self._received(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        if not self.is_closing():
            self._theirs.close()

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return bool(self._theirs.is_closing())

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self._theirs.pause_reading()

    def resume_reading(self) -> None:
        self._theirs.resume_reading()


class _Chosen(Transport):
    """One whose TLS, where it has any, has chosen HTTP/2."""

    chooses_http2 = True


class Front:
    """What stands where the tests call a protocol."""

    transport_class: type[Transport] = Transport

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self.loop = _loop
        config.load()
        self._protocol = self.make(config, server_state, app_state, Loop(_loop))

    def make(self, config: Any, server_state: Any, app_state: Any, loop: Any) -> Any:
        if OWN:
            options = {"http2": HTTP2, "idle_timeout": config.timeout_keep_alive}
            server = serve(config.loaded_app, "", 0, root_path=config.root_path, **options)._server
            server._lifespan.state.update(app_state)  # type: ignore[attr-defined]
            return server._make_protocol(loop)
        kind = _Http2Protocol if HTTP2 else HttpProtocol
        return kind(config, server_state, app_state, _loop=loop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._protocol.connection_made(self.transport_class(transport, self.receive, self.set_protocol))

    def receive(self, data: bytes) -> None:
        self.transport.write(data)

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def shutdown(self) -> None:
        (self._protocol.leave if OWN else self._protocol.shutdown)()

    def data_received(self, data: bytes) -> None:
        if hasattr(self._protocol, "data_received"):
            self._protocol.data_received(data)
        else:
            self._protocol.receive(data)


class Http2Front(Front):
    """One that gets frames of HTTP/2 and gives them."""

    transport_class = _Chosen


class Negotiator(Front):
    """The class that finds out which version is spoken."""

    def make(self, config: Any, server_state: Any, app_state: Any, loop: Any) -> Any:
        return HttpProtocol(config, server_state, app_state, _loop=loop)

    def set_protocol(self, protocol: Any) -> None:
        super().set_protocol(protocol)
        if isinstance(protocol, _Http2Protocol):
            front = Http2Front.__new__(Http2Front)
            front.loop, front._protocol, front.transport = self.loop, protocol, self.transport
            protocol = front
        self.transport.set_protocol(protocol)


class Gateway(Front):
    """A gateway between tests that speak HTTP/1.1 and a server that speaks HTTP/2. What has no translation raises `h11`'s error."""

    transport_class = _Chosen

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._number = 0
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flush()

    def flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.transport.is_closing():
            super().data_received(data)

    def data_received(self, data: bytes) -> None:
        self._client.receive_data(data)
        while (event := self._client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            match event:
                case h11.Request():
                    self._begin(event)
                case h11.Data():
                    for at in range(0, len(event.data), 16384):
                        self._h2.send_data(self._number, bytes(event.data[at : at + 16384]))
                case h11.EndOfMessage():
                    self._h2.end_stream(self._number)
                    rest = self._client.trailing_data[0]
                    self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
                    if rest:
                        self._client.receive_data(rest)
            self.flush()
        self.flush()

    def _begin(self, event: h11.Request) -> None:
        headers = dict(event.headers)
        left_out = (b"host", b"connection", b"upgrade", b"transfer-encoding")
        pseudo = [(b":method", event.method), (b":scheme", b"http"), (b":authority", headers[b"host"])]
        pseudo.append((b":path", event.target))
        self._number = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._number, [*pseudo, *(it for it in event.headers if it[0] not in left_out)])

    def receive(self, data: bytes) -> None:
        # The client of h2 takes nothing behind a GOAWAY, which the rest of a response may follow.
        self._received += data
        frames = b""
        while len(self._received) >= 9 and len(self._received) >= (
            size := 9 + int.from_bytes(self._received[:3], "big")
        ):
            frame, self._received = self._received[:size], self._received[size:]
            frames += b"" if frame[3] == GOAWAY else frame
        for event in self._h2.receive_data(frames):
            match event:
                case h2.events.InformationalResponseReceived() | h2.events.ResponseReceived():
                    (_, status), *headers = event.headers
                    reason = httpx2.codes.get_reason_phrase(int(status)).encode()
                    lines = [b"HTTP/1.1 " + status + b" " + reason, *(b"%s: %s" % it for it in headers)]
                    self.transport.write(b"\r\n".join([*lines, b"", b""]))
                case h2.events.DataReceived():
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    self.transport.write(event.data)
                case h2.events.StreamReset() if event.error_code:
                    # A gateway has no other way to say that a response is not whole.
                    self.transport.close()


class WebSockets(WebSocketProtocol):
    """Ours, with room for the attributes that the tests set."""

    def connection_made(self, transport: Any) -> None:
        if not isinstance(transport, asyncio.Transport):
            transport = Transport(transport, transport.write, lambda _: None)
        super().connection_made(transport)


class Config(uvicorn.Config):
    """uvicorn's, with our classes where the test does not name one."""

    def __init__(self, app: Any, **named: Any) -> None:
        if named.get("http", "zttp") in ("zttp", "auto", "h11", "httptools"):
            named |= {"http": HttpProtocol, "http2": False}
        super().__init__(app, **{"ws": WebSocketProtocol} | named)


class Client(httpx2.AsyncClient):
    """That of httpx, which speaks the version that is asked for."""

    def __init__(self, **named: Any) -> None:
        super().__init__(http1=not HTTP2, http2=HTTP2, **named)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # A mark goes before the parameters of a fixture.
    for name, what in (("ws_protocol_cls", WebSockets), ("http_protocol_cls", HttpProtocol)):
        if name in metafunc.fixturenames:
            where = f"{what.__module__}:{what.__name__}"
            metafunc.definition.add_marker(pytest.mark.parametrize(name, [where], ids=["mintws"], indirect=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [it for it in items if _is_left_out(it.function)]  # type: ignore[attr-defined]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [it for it in items if it not in left_out]


def _is_left_out(test: Callable[..., Any]) -> bool:
    """Whether a test does not concern the classes, or ends one way or the other; `WHY` has the reasons."""
    uses = test.__code__.co_names
    by_chance = HTTP2 and test.__name__ in (
        "test_request_than_limit_max_requests_warn_log",
        "test_limit_max_requests_jitter",
    )
    return by_chance or "app_finished" in uses or (OWN and "get_connected_protocol" not in uses)


@pytest.fixture(autouse=True)
def _ours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ours into the names of a module of tests."""
    module = request.module
    front = Gateway if HTTP2 else Front
    names: dict[str, Any] = {"Config": Config, "H11Protocol": front, "HttpToolsProtocol": front}
    if module.__name__ == "tests.protocols.test_http":
        connected = module.get_connected_protocol
        monkeypatch.setattr(
            module, "get_connected_protocol", lambda app, _, *more, **named: connected(app, front, *more, **named)
        )
        del names["Config"]
    if module.__name__ == "tests.protocols.test_http2":
        names = {"ZttpH2Protocol": Http2Front, "AutoZttpProtocol": Negotiator, "ZttpProtocol": HttpToolsProtocol}
        names["Config"] = Config
    if module.__name__ == "tests.protocols.test_websocket":
        names = {}
    for name, ours in names.items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, ours)
    if not OWN:
        monkeypatch.setattr(httpx2, "AsyncClient", Client)
