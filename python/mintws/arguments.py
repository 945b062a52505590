"""Error messages for unknown arguments: the argument that was probably meant, and those that exist."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeAlias, get_type_hints

P = ParamSpec("P")

#: Arguments of ours, each with advice on its value. The first one that the call has is suggested. An empty name fits any call.
Meant: TypeAlias = tuple[tuple[str, str], ...]

_LIMIT: Meant = (("limit", ""),)
_OF_ONE_WEBSOCKET = "that is of one WebSocket: give it to Http2Client.open(), or to UpgradeRequest and UpgradeAccept"
_HEADERS: Meant = (
    ("headers", ""),
    ("upgrade", "which may give an UpgradeAccept with headers"),
    ("", _OF_ONE_WEBSOCKET),
)
_COOKIE: Meant = (
    ("cookies", "a CookieJar"),
    ("headers", "with a Cookie"),
    ("upgrade", "which may give an UpgradeAccept with Set-Cookie among its headers"),
    ("", "a Cookie is one of the headers of Http2Client.open(), or of an UpgradeRequest"),
)
_CREDENTIALS: Meant = (
    ("upgrade", "such as basic_auth() makes, which lets in who has credentials"),
    ("", "credentials are an Authorization among the headers of an UpgradeRequest"),
)
_CONNECTS = "connect() does that, of mintws.asyncio for example"
_SUBPROTOCOLS: Meant = (("subprotocols", ""), ("", _OF_ONE_WEBSOCKET))
_COMPRESSION: Meant = (
    ("extensions", "() for no compression, [PerMessageDeflate(...)] for parameters of it"),
    ("", _OF_ONE_WEBSOCKET),
)
_CLOCK = "it needs a clock, which only drivers have: see mintws.asyncio"
_OPEN_TIMEOUT: Meant = (("open_timeout", ""), ("", _CLOCK))
_PING_INTERVAL: Meant = (("ping_interval", ""), ("", _CLOCK))
_PING_TIMEOUT: Meant = (("ping_timeout", ""), ("", _CLOCK))
_SSL: Meant = (("ssl", "a context"), ("", "TLS is of the transport beneath"))
_PROXY: Meant = (("proxy", 'a URL, such as "http://user:password@proxy.example:3128"'),)
_PROXY_HEADERS: Meant = (("proxy", "whose URL may have a user and a password: no further headers are sent to it"),)
_QUEUE: Meant = (("", "what waits is bounded already, at 256 messages or 256 KiB: see back-pressure in the guide"),)
_LOGGER: Meant = (("", 'the loggers are called "mintws.client" and "mintws.server"'),)
_REDIRECTS: Meant = (("redirects", ""), ("", _CONNECTS))
_RECEIVE_TIMEOUT: Meant = (("", "asyncio.timeout() around recv() bounds it"),)
_NOT_DECODED: Meant = (("text_as_bytes", "which is checked to be UTF-8 all the same"),)

#: Arguments of other libraries: websockets, aiohttp, websocket-client, picows, Tornado, httpx-ws, and those that uvicorn passes on.
ELSEWHERE: Mapping[str, Meant] = {
    "uri": (("url", ""),),
    "max_size": _LIMIT,
    "max_msg_size": _LIMIT,
    "max_message_size": _LIMIT,
    "max_message_size_bytes": _LIMIT,
    "ws_max_size": _LIMIT,
    "max_frame_size": (("limit", "for what comes, or max_frame for what is sent"),),
    "additional_headers": _HEADERS,
    "extra_headers": _HEADERS,
    "header": _HEADERS,
    "headers": _HEADERS,
    "user_agent_header": (("headers", "with a User-Agent"), ("", _OF_ONE_WEBSOCKET)),
    "user_agent": (("user_agent_header", ""), ("headers", "with a User-Agent"), ("", _OF_ONE_WEBSOCKET)),
    "cookie": _COOKIE,
    "cookies": _COOKIE,
    "auth": _CREDENTIALS,
    "origin": (("origins", "those that may open WebSockets"), ("", _OF_ONE_WEBSOCKET)),
    "suppress_origin": (("origin", "which is not sent unless it is given"), ("", _OF_ONE_WEBSOCKET)),
    "protocols": _SUBPROTOCOLS,
    "subprotocols": _SUBPROTOCOLS,
    "select_subprotocol": (
        ("upgrade", "which may give an UpgradeAccept with the subprotocol"),
        ("", _OF_ONE_WEBSOCKET),
    ),
    "compression": _COMPRESSION,
    "compress": _COMPRESSION,
    "compression_options": _COMPRESSION,
    "extensions": _COMPRESSION,
    "ws_per_message_deflate": _COMPRESSION,
    "process_request": (("upgrade", "which may give an UpgradeReject, and respond for ordinary requests"),),
    "process_response": (("upgrade", "which may give an UpgradeAccept with headers"),),
    "timeout": (
        ("open_timeout", "or close_timeout for the closing handshake; asyncio.timeout() around recv() bounds that"),
        ("", _CLOCK),
    ),
    "connect_timeout": _OPEN_TIMEOUT,
    "open_timeout": _OPEN_TIMEOUT,
    "websocket_handshake_timeout": _OPEN_TIMEOUT,
    "close_timeout": (("", _CLOCK),),
    "receive_timeout": _RECEIVE_TIMEOUT,
    "heartbeat": _PING_INTERVAL,
    "ping_interval": _PING_INTERVAL,
    "ws_ping_interval": _PING_INTERVAL,
    "enable_auto_ping": _PING_INTERVAL,
    "auto_ping_idle_timeout": _PING_INTERVAL,
    "keepalive_ping_interval_seconds": _PING_INTERVAL,
    "ping_timeout": _PING_TIMEOUT,
    "ws_ping_timeout": _PING_TIMEOUT,
    "auto_ping_reply_timeout": _PING_TIMEOUT,
    "keepalive_ping_timeout_seconds": _PING_TIMEOUT,
    "autoping": (("auto_pong", ""),),
    "enable_auto_pong": (("auto_pong", ""),),
    "ssl_context": _SSL,
    "ssl_options": _SSL,
    "sslopt": _SSL,
    "verify_ssl": _SSL,
    "socket": (("sock", ""),),
    "socket_factory": (("sock", "a socket that is connected already"),),
    "sockopt": (("sock", "a socket with these options"),),
    "proxy_auth": _PROXY,
    "proxy_headers": _PROXY_HEADERS,
    "http_proxy_host": _PROXY,
    "http_proxy_port": _PROXY,
    "http_proxy_auth": _PROXY,
    "process_exception": (
        ("reconnect", "a Reconnect whose decide is called with each failure"),
        ("", _CONNECTS),
    ),
    "max_queue": _QUEUE,
    "ws_max_queue": _QUEUE,
    "queue_size": _QUEUE,
    "read_limit": _QUEUE,
    "write_limit": _QUEUE,
    "writer_limit": _QUEUE,
    "logger": _LOGGER,
    "logger_name": _LOGGER,
    "max_redirects": _REDIRECTS,
    "redirect_limit": _REDIRECTS,
    "skip_utf8_validation": _NOT_DECODED,
    "decode_text": _NOT_DECODED,
    "loop": (("", "the loop is the one that runs"),),
}


def explained(
    options: type | None = None, absent: Mapping[str, str] | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Decorate an `__init__` so that a call with an unknown argument raises a `TypeError` that suggests the right one.

    Args:
        options: the class whose keyword-only arguments replace `**options` in the signature.
        absent: those of its arguments that the call does not have, each with the reason.
    """
    reasons = absent or {}

    def decorate(init: Callable[P, None]) -> Callable[P, None]:
        parameters = {
            name: parameter
            for name, parameter in inspect.signature(init).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        }
        hints = {name: hint for name, hint in init.__annotations__.items() if name in parameters or name == "return"}
        if options is not None:
            shared = {
                name: parameter
                for name, parameter in inspect.signature(options).parameters.items()
                if parameter.kind is parameter.KEYWORD_ONLY and name not in reasons
            }
            parameters |= shared
            hints |= {name: hint for name, hint in get_type_hints(vars(options)["__init__"]).items() if name in shared}
        known = parameters.keys() - {"self"}

        @wraps(init)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            if not kwargs.keys() <= known:
                unknown = next(name for name in kwargs if name not in known)
                call = init.__qualname__.removesuffix(".__init__")
                if unknown in reasons:
                    raise TypeError(f"{call}() has no argument {unknown}: {reasons[unknown]}")
                raise TypeError(_explain(call, unknown, list(parameters)[1:]))
            init(*args, **kwargs)

        checked.__annotations__ = hints
        checked.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        return checked

    return decorate


def _explain(call: str, unknown: str, known: Collection[str]) -> str:
    said = f"{call}() has no argument {unknown}"
    for name, note in ELSEWHERE.get(unknown, ()):
        if not name:
            return f"{said}: {note}"
        if name in known:
            return f"{said}: use {name}" + (f", {note}" if note else "")
    nearest = get_close_matches(unknown, known, 1)
    if nearest:
        said += f"; did you mean {nearest[0]}?"
    return f"{said}; it has {', '.join(known)}"
