"""Pings that are sent every so often, and what is made of silence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mintws.events import State
from mintws.session import Timing

if TYPE_CHECKING:
    from mintws.asyncio.link import Link
    from mintws.asyncio.websocket import WebSocket

#: Bytes on their way that keep nothing from the peer for long.
FEW = 16 * 1024


class Keepalive:
    """The keepalive of one WebSocket (RFC 6455 §5.5.2).

    Whatever comes on the transport says that the peer lives: it cannot put a Pong into the middle of a frame. So does what it takes, as
    long as our Ping stands behind it. Where we do not read, because the application takes nothing, silence says nothing.
    """

    __slots__ = ("_link", "_look_timer", "_send_timer", "_timing", "_websocket")

    def __init__(self, websocket: WebSocket, link: Link, timing: Timing) -> None:
        self._websocket = websocket
        self._link = link
        self._timing = timing
        self._look_timer: asyncio.TimerHandle | None = None
        self._send_timer = link.loop.call_later(timing.ping_interval or 0, self._send)

    def stop(self) -> None:
        self._send_timer.cancel()
        if self._look_timer is not None:
            self._look_timer.cancel()

    def _send(self) -> None:
        connection = self._websocket.connection
        if connection.state is not State.OPEN or self._link.lost:
            return
        # Contexts of compression are made anew when they are needed; an idle connection need not hold them.
        connection.release()
        self._websocket.send_ping()
        self._send_timer = self._link.loop.call_later(self._timing.ping_interval or 0, self._send)
        if self._look_timer is None:
            self._look_later()

    def _look_later(self, *, probed: bool = False) -> None:
        timeout = self._timing.ping_timeout
        if timeout is not None:
            heard, unsent = self._link.heard, self._link.unsent
            taken = self._link.written - unsent if unsent > FEW else None
            self._look_timer = self._link.loop.call_later(timeout, self._look, heard, taken, timeout, probed)

    def _look(self, heard: int, taken: int | None, timeout: float, probed: bool) -> None:
        """See whether the peer has given a sign of life.

        Args:
            heard: how many chunks had come when it was last looked.
            taken: how many bytes the peer had taken then; `None` if all had gone, and nothing but what comes counts.
            timeout: how long that is ago.
            probed: the peer was asked beneath the WebSocket.
        """
        link, websocket = self._link, self._websocket
        self._look_timer = None
        unsent = link.unsent
        took = taken is not None and link.written - unsent > taken
        if link.heard != heard or took or not link.is_reading:
            if websocket.awaits_pong:
                self._look_later()
        elif link.multiplexed and not probed and (websocket.paused or websocket.connection.buffered):
            # Flow control keeps the Ping from going, or its Pong from coming.
            link.probe()
            self._look_later(probed=True)
        else:
            silent = (
                f"no Pong came within {timeout:g} s"
                if taken is None
                else f"the peer takes nothing: {unsent} bytes wait"
            )
            websocket.ending.cause = f"keepalive: {silent}"
            websocket.begin_close(1011, "keepalive ping timeout")
            link.abort(websocket)
