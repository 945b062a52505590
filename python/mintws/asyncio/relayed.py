"""A transport of a proxy, which tells the addresses of the proxy's client."""

from __future__ import annotations

import asyncio
from typing import Any

from mintws.events import Peer
from mintws.session import ProxyHeader

#: The methods of a transport that are those of the one beneath.
_FORWARDED = (
    "abort",
    "can_write_eof",
    "close",
    "get_protocol",
    "get_write_buffer_limits",
    "get_write_buffer_size",
    "is_closing",
    "is_reading",
    "pause_reading",
    "resume_reading",
    "set_protocol",
    "set_write_buffer_limits",
    "write",
    "write_eof",
    "writelines",
)


class RelayedTransport(asyncio.Transport):
    """A transport that tells the addresses of a PROXY header, and does all else as the transport beneath.

    Its `peername` and `sockname` are those of the client's connection to the proxy, if the header has them.

    Attributes:
        beneath: the transport beneath.
    """

    __slots__ = ("_header", "_peer", "beneath", *_FORWARDED)

    def __init__(self, beneath: asyncio.Transport, peer: Peer, header: ProxyHeader) -> None:
        super().__init__()
        self.beneath = beneath
        self._peer = peer
        self._header = header
        # As methods they would cost a frame for each call.
        for name in _FORWARDED:
            setattr(self, name, getattr(beneath, name))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        match name:
            case "relayed_peer":
                return self._peer
            case "peername":
                return self._peer.address
            case "sockname" if self._header.destination is not None:
                return self._header.destination
        return self.beneath.get_extra_info(name, default)
