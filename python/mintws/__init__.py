"""WebSockets over HTTP/1.1 and HTTP/2 as values that the caller drives: bytes in, events and bytes out.

`Http1` and `Http2` are one connection each, client or server; `Connection` is one WebSocket on it. Neither does I/O: drivers for
asyncio stand on top, in `mintws.asyncio`.
"""

import os as _os

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
    RemoteProtocolError,
    ResponseTooLarge,
    UpgradeError,
)
from mintws.events import Event, Failed, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.extensions import Agreed, Extension, Offer, PerMessageDeflate, Transform
from mintws.http1 import Http1
from mintws.http2 import Http2

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
    "PreparedMessage",
    "RemoteProtocolError",
    "ResponseTooLarge",
    "Role",
    "State",
    "Text",
    "Transform",
    "UpgradeAccept",
    "UpgradeError",
    "UpgradeReject",
    "UpgradeRequest",
]

__version__ = _core.__version__

if hasattr(_os, "register_at_fork"):
    # A child must not draw the masking-keys that its parent draws.
    _os.register_at_fork(after_in_child=_core.forked)
