"""The keepalive of a WebSocket on an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mintws.asyncio.timing import rearm
from mintws.events import State
from mintws.session import Action, Keepalive, Signs

if TYPE_CHECKING:
    from mintws.asyncio.link import Link
    from mintws.asyncio.websocket import WebSocket


class KeepaliveTimer:
    """The timer of a `Keepalive`, and what its actions are on a WebSocket."""

    __slots__ = ("_keepalive", "_link", "_timer", "_websocket")

    def __init__(self, websocket: WebSocket, link: Link, interval: float) -> None:
        self._websocket = websocket
        self._link = link
        self._keepalive = Keepalive(link.loop.time(), interval, link.timing.ping_timeout)
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def stop(self) -> None:
        self._timer = rearm(self._timer, self._link.loop, None, self._expire)

    def _arm(self) -> None:
        self._timer = rearm(self._timer, self._link.loop, self._keepalive.deadline, self._expire)

    def _expire(self) -> None:
        link, websocket, connection = self._link, self._websocket, self._websocket.connection
        unsent = link.unsent
        signs = Signs(
            open=connection.state is State.OPEN and not link.lost,
            heard=link.heard,
            taken=link.written - unsent,
            unsent=unsent,
            reading=link.is_reading,
            withheld=link.multiplexed and bool(websocket.paused or connection.buffered),
            awaits_pong=websocket.awaits_pong,
        )
        action = self._keepalive.expire(link.loop.time(), signs)
        self._arm()
        if action is Action.PING:
            # Contexts of compression are made anew when they are needed; an idle connection need not hold them.
            connection.release()
            websocket.send_ping()
        elif action is Action.PROBE:
            link.probe()
        elif action is Action.END:
            websocket.ending.cause = self._keepalive.cause
            websocket.begin_close(1011, "keepalive ping timeout")
            link.abort(websocket)
