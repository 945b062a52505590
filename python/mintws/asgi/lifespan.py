"""The lifespan of an ASGI application: what it does before the first connection and after the last."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from mintws.asgi.messages import App, Message
from mintws.asyncio.timers import Late, limited
from mintws.errors import LocalProtocolError, MintWSError
from mintws.session import END_WAIT

#: Whether an application has a lifespan: it has none if it raises instead of starting, it must have one, or it is not asked.
Mode: TypeAlias = Literal["auto", "on", "off"]

#: The newest version of the specification's lifespan part.
SPEC_VERSION = "2.0"


class LifespanFailed(MintWSError):
    """The application says that it cannot start, or has not stopped properly; the text is its own."""


class Lifespan:
    """The conversation with an application about its start and its end (https://asgi.readthedocs.io/en/latest/specs/lifespan.html).

    Args:
        app: the application.
        mode: "auto", "on" or "off"; see `Mode`.
        logger: where it is logged that an application has no lifespan, or that its lifespan ended before it was to.

    Attributes:
        state: what the application keeps for the scopes of its connections.
    """

    def __init__(self, app: App, mode: Mode, logger: logging.Logger) -> None:
        if mode not in ("auto", "on", "off"):
            raise LocalProtocolError(f'lifespan is "auto", "on" or "off", not {mode!r}')
        self.state: dict[str, Any] = {}
        self._app = app
        self._mode = mode
        self._logger = logger
        self._task: asyncio.Task[None] | None = None
        self._asked = False
        self._started: asyncio.Future[LifespanFailed | None]
        #: Done when the application is to stop.
        self._stopping: asyncio.Future[None]
        self._stopped: asyncio.Future[LifespanFailed | None]

    async def startup(self) -> None:
        """Start the application, and wait until it has.

        Raises:
            LifespanFailed: it cannot start, or has no lifespan though it must have one.
            LocalProtocolError: it was started before.
        """
        if self._task is not None:
            raise LocalProtocolError("an application starts once: call serve() again")
        loop = asyncio.get_running_loop()
        self._started, self._stopping, self._stopped = (loop.create_future() for _ in range(3))
        if self._mode == "off":
            self._started.set_result(None)
            self._stopped.set_result(None)
        self._task = loop.create_task(self._run())
        try:
            failure = await asyncio.shield(self._started)
            if failure is not None:
                raise failure
        except BaseException:
            self.cancel()
            raise

    async def shutdown(self) -> None:
        """Have the application stop, and wait until it has.

        If the call is cancelled, so is what the application does.

        Raises:
            LifespanFailed: it has not stopped properly.
        """
        if self._task is None or self._task.get_loop().is_closed():
            return
        if not self._stopping.done():
            self._stopping.set_result(None)
        try:
            failure = await asyncio.shield(self._stopped)
            # It has said so, and may go on for a moment.
            with suppress(Late):
                await limited(asyncio.wait([self._task]), END_WAIT)
        finally:
            self.cancel()
        if failure is not None:
            raise failure

    async def wait_stopped(self) -> None:
        """Wait until the application has stopped, or was cancelled."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """End what the application does."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def _run(self) -> None:
        if self._mode == "off":
            return
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": SPEC_VERSION}, "state": self.state}
        error: Exception | None = None
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as raised:
            error = raised
        finally:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        """Take the end of the application's coroutine."""
        if not self._started.done():
            self._started.set_result(self._missing(error))
        elif not self._stopped.done() and error is not None:
            self._logger.error("the lifespan of the application failed", exc_info=error)
        if not self._stopped.done():
            failed = error is not None and self._stopping.done()
            self._stopped.set_result(LifespanFailed("the application raised when it was to stop") if failed else None)

    def _missing(self, error: Exception | None) -> LifespanFailed | None:
        """Take that an application has ended instead of starting: it has no lifespan, unless it must have one."""
        if self._mode == "on":
            failure = LifespanFailed("the application ended instead of starting")
            failure.__cause__ = error
            return failure
        # One that has taken the event may have failed at its work.
        level = logging.WARNING if self._asked and error is not None else logging.INFO
        self._logger.log(level, "the application has no lifespan", exc_info=error)
        return None

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        await asyncio.shield(self._stopping)
        if self._stopped.done():
            # Nothing more comes.
            self.cancel()
            await asyncio.get_running_loop().create_future()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        if phase == "startup" and not self._started.done():
            awaited = self._started
        elif phase == "shutdown" and self._stopping.done() and not self._stopped.done():
            awaited = self._stopped
        elif kind == "lifespan.shutdown.failed" and self._started.done() and not self._stopping.done():
            # It is cancelled or has failed before it was to stop, which the end of its coroutine tells.
            return
        else:
            raise LocalProtocolError(f"an application may not send {kind!r} now")
        if outcome not in ("complete", "failed"):
            raise LocalProtocolError(f"an application may not send {kind!r}")
        verb = "start" if phase == "startup" else "stop"
        text = message.get("message") or f"the application could not {verb}"
        awaited.set_result(LifespanFailed(text) if outcome == "failed" else None)
