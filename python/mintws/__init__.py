"""WebSockets over HTTP/1.1 and HTTP/2 as values that the caller drives: bytes in, events and bytes out.

`Http1` and `Http2` are one connection each, client or server; `Connection` is one WebSocket on it. Neither does I/O: drivers for
asyncio stand on top, in `mintws.asyncio`.
"""

import os as _os
import typing as _typing

from mintws import _core
from mintws._core import Binary, Close, Ping, Pong, PreparedMessage, Text
from mintws.connection import Carrier, Connection
from mintws.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    MintWSError,
    PoolClosed,
    ProxyError,
    RemoteProtocolError,
    ResponseTooLarge,
    SendBufferFull,
    UpgradeError,
)
from mintws.events import Event, Failed, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Agreed, Extension, Offer, PerMessageDeflate, Transform
from mintws.http1 import Http1

if _typing.TYPE_CHECKING:
    from mintws.http2 import Http2
else:
    # A type checker would take any name for one of this module.
    def __getattr__(name):
        """Import `Http2`, and `h2` with it, when it is first asked for."""
        if name != "Http2":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from mintws.http2 import Http2

        globals()[name] = Http2
        return Http2


__all__ = [
    "Agreed",
    "Binary",
    "Carrier",
    "Close",
    "ConnectError",
    "ConnectTimeout",
    "Connection",
    "ConnectionClosed",
    "Event",
    "ExtendedConnectDisabled",
    "Extension",
    "Failed",
    "Http1",
    "Http2",
    "LocalProtocolError",
    "MintWSError",
    "Offer",
    "PerMessageDeflate",
    "Ping",
    "Pong",
    "PoolClosed",
    "PreparedMessage",
    "ProxyError",
    "RemoteProtocolError",
    "ResponseTooLarge",
    "Role",
    "SendBufferFull",
    "State",
    "Text",
    "Transform",
    "UpgradeAccept",
    "UpgradeError",
    "UpgradeReject",
    "UpgradeRequest",
]

__version__ = _core.__version__


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if hasattr(_os, "register_at_fork"):
    # A child must not draw the masking-keys that its parent draws.
    _os.register_at_fork(after_in_child=_core.forked)
