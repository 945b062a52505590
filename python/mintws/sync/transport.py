"""A transport, as its WebSockets and the threads that use it see it: `SocketTransport` is one."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from mintws.drivers.transport import LoggedTransport
from mintws.sync.parking import Late, Parking, park

if TYPE_CHECKING:
    from mintws._core import Lock, ReadyList

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds in which the background carries out what is due.
BACKGROUND_WAIT = 0.05


class ThreadTransport(LoggedTransport):
    """A transport that threads share.

    Attributes:
        lock: guards the transport and its WebSockets.
        parking: the threads that wait for a change of the transport.
        ready_list: the WebSockets that have received something, or are full.
        expires_at: when to call `expire`; infinity if never.
    """

    parking: Parking
    expires_at: float

    if TYPE_CHECKING:

        @property
        def lock(self) -> Lock: ...
        def _park(self) -> object: ...
        @property
        def ready_list(self) -> ReadyList: ...

    @property
    def transport(self) -> ThreadTransport:
        """Itself, for its `get_extra_info`."""
        return self

    def now(self) -> float:
        return time.monotonic()

    def wait(self, parking: Parking, done: Callable[[], bool], deadline: float | None) -> None:
        """Wait, without the lock, until `done`, which is called under the lock, is true.

        Raises:
            Late: the deadline has passed.
        """
        until = math.inf if deadline is None else deadline
        while True:
            place = here = None
            try:
                with self.lock:
                    if done():
                        return
                    place, here = self.enter_parking(parking)
                    # The background keeps the time, but not that of a transport which has ended, be it meanwhile.
                    expires_at = self.expires_at if self.lost else max(self.expires_at, self.now()) + BACKGROUND_WAIT
                wakes_at = min(until, expires_at)
                woken = park(place, None if wakes_at == math.inf else wakes_at - self.now())
            finally:
                del here
                if place is not None:
                    with self.lock:
                        parking.leave(place)
            if not woken:
                with self.lock:
                    if self.lost and self.now() >= self.expires_at:
                        self.expire()
                    if done():
                        return
                if self.now() >= until:
                    raise Late

    def enter_parking(self, parking: Parking) -> tuple[threading.Lock, object]:
        """Announce that the calling thread is going to wait, under the lock.

        Returns:
            The place where it does, and what is to be dropped when it waits no more.
        """
        here = self._park()
        try:
            place = parking.enter()
            self.attend()
        except BaseException:
            # A signal has interrupted it. Whoever gets the exception may keep it, with this frame.
            del here
            raise
        return place, here

    def make(self, call: Callable[[], T]) -> T:
        """Make a call under the lock, and return its result. It waits for nothing, and a signal does not interrupt it.

        Signals raise in the main thread alone, for which the background makes the call.
        """
        if threading.current_thread() is not threading.main_thread():
            with self.lock:
                return self._make_here(call)
        left = _Left(call)
        try:
            with self.lock:
                if self.lost:
                    # The background may have ended, and little is left to be interrupted.
                    return self._make_here(call)
                self.leave_to_background(left)
            left.wait()
        except BaseException:
            with self.lock:
                # Either it has not been made, or it has been made whole.
                self.withdraw(left)
            raise
        return left.result()

    def _make_here(self, call: Callable[[], T]) -> T:
        try:
            return call()
        finally:
            self.run_soon()

    def carry_out(self, coroutine: Coroutine[Any, Any, T], deadline: float | None = None) -> T:
        """Carry a coroutine of a lower layer out, under the lock, but for what it awaits.

        Raises:
            Late: the deadline has passed; the coroutine was told.
        """
        try:
            return self._carry_on(coroutine, partial(coroutine.send, None), deadline)
        finally:
            # It has not begun in a fork of the process.
            coroutine.close()

    def carry_out_all(self, coroutines: Iterable[Coroutine[Any, Any, object]]) -> None:
        """Carry coroutines of a lower layer out, all at the same time."""
        begun: list[tuple[Coroutine[Any, Any, object], Awaited]] = []

        def begin() -> None:
            for coroutine in coroutines:
                with suppress(StopIteration):
                    begun.append((coroutine, coroutine.send(None)))

        def end() -> None:
            for coroutine, _ in begun:
                coroutine.close()

        try:
            self.make(begin)
            while begun:
                coroutine, awaited = begun.pop()
                self._carry_on(coroutine, self._awaited(coroutine, awaited, None), None)
        finally:
            if begun:
                self.make(end)

    def _carry_on(self, coroutine: Coroutine[Any, Any, T], step: Callable[[], Awaited], deadline: float | None) -> T:
        try:
            while True:
                try:
                    awaited = self.make(step)
                except StopIteration as ended:
                    result: T = ended.value
                    return result
                step = self._awaited(coroutine, awaited, deadline)
        except BaseException:
            # It may have been interrupted, and have something to end.
            self.make(coroutine.close)
            raise
        finally:
            # It holds what it raises, and that this frame.
            del step

    def _awaited(
        self, coroutine: Coroutine[Any, Any, object], awaited: Awaited, deadline: float | None
    ) -> Callable[[], Awaited]:
        """Wait for what a coroutine awaits; return how the coroutine goes on."""
        try:
            return partial(coroutine.send, awaited.wait(self, deadline))
        except BaseException as error:
            return partial(coroutine.throw, error)

    def leave_to_background(self, call: Callable[[], None]) -> None:
        """Leave a call to the background, under the lock."""
        raise NotImplementedError

    def withdraw(self, call: Callable[[], None]) -> None:
        """Leave a call no longer to the background, if it has not made it."""
        raise NotImplementedError

    def attend(self) -> None:
        """Have the background read the transport, unless a thread of the application does."""
        raise NotImplementedError

    def run_soon(self) -> None:
        """Make the calls that `call_soon` was given."""
        raise NotImplementedError

    def is_closing(self) -> bool:
        """Whether the transport is closed, or about to be."""
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the transport.

        Args:
            name: "peername", "sockname", "socket", or, over TLS, "ssl_object", "sslcontext", "peercert" or "cipher".
            default: what to return if it is not known.
        """
        raise NotImplementedError


class _Left(Generic[T]):
    """A call that is left to the background."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._made = threading.Lock()
        self._made.acquire()

    def __call__(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            self._made.release()

    def wait(self) -> None:
        self._made.acquire()

    def result(self) -> T:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._result[0]
        finally:
            # It holds this frame.
            del error


class Awaited:
    """An object that coroutines of lower layers await; the thread that carries them out does so without the lock."""

    def __await__(self) -> Generator[Awaited, Any, Any]:
        return (yield self)

    def wait(self, transport: ThreadTransport, deadline: float | None) -> Any:
        """Wait for it, and return what the coroutine gets.

        Raises:
            Late: the deadline has passed.
        """
        raise NotImplementedError


class Until(Awaited):
    """A condition, for which the threads of a `Parking` wait."""

    def __init__(self, parking: Parking, done: Callable[[], bool]) -> None:
        self._parking = parking
        self._done = done

    def wait(self, transport: ThreadTransport, deadline: float | None) -> None:
        transport.wait(self._parking, self._done, deadline)


class Unlocked(Awaited):
    """A call of the application's code, which may take its time."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def wait(self, transport: ThreadTransport, deadline: float | None) -> Any:
        return self._call()


class Outcome(Awaited, Generic[T]):
    """A result, or an exception, that comes once: a `Waiter`. It is set under the lock of the transport."""

    def __init__(self, parking: Parking) -> None:
        self._parking = parking
        self._result: list[T] = []
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Awaited, Any, T]:
        if not self.done():
            yield self
        return self.result()

    def wait(self, transport: ThreadTransport, deadline: float | None) -> None:
        transport.wait(self._parking, self.done, deadline)

    def done(self) -> bool:
        return bool(self._result) or self._error is not None

    def result(self) -> T:
        """Return the result, or raise the exception."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def set_result(self, result: T, /) -> None:
        self._result.append(result)
        self._parking.wake()

    def set_exception(self, error: BaseException, /) -> None:
        self._error = error
        self._parking.wake()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of a lower layer that awaits nothing but calls which block."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise RuntimeError("the coroutine awaits something")


def check_plain(name: str, hook: object, instead: str) -> None:
    """Raise `TypeError` for a coroutine function: a thread calls its hooks, and awaits nothing.

    Args:
        name: the argument that it was given as.
        hook: what is called.
        instead: what of `mintws.asyncio` awaits it.
    """
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
        raise TypeError(f"{name} is called by a thread, which cannot await {hook!r}: use mintws.asyncio.{instead}")


def plain(name: str, hook: Callable[P, T], instead: str) -> Callable[P, T]:
    """Return a hook that raises `TypeError` where the one that it calls returns a coroutine.

    Args:
        name, hook, instead: as of `check_plain`.

    Raises:
        TypeError: it is a coroutine function.
    """
    check_plain(name, hook, instead)

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result = hook(*args, **kwargs)
        if inspect.iscoroutine(result):
            result.close()
            raise TypeError(
                f"{name} is called by a thread, which cannot await {result!r}: use mintws.asyncio.{instead}"
            )
        return result

    return call
