"""The background thread of the process: it reads and writes what no thread of the application does, and keeps the time."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mintws import _core

logger = logging.getLogger("mintws.sync")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

#: Seconds in which a thread that was started runs, on a machine with much to do.
START_WAIT = 2.0


class Member(Protocol):
    """A socket with what handles it.

    Attributes:
        interest: the events to wait for, `READ` and `WRITE`.
        attended: seconds until this is to be asked again, if a thread of the application has begun to read the socket itself since it last
            was; `None` if the background is to read it, or will be told when that thread has.
        expires_at: when to call `expire`; infinity if never.
        ended: whether the socket is to be closed.
    """

    expires_at: float

    @property
    def interest(self) -> int: ...
    @property
    def attended(self) -> float | None: ...
    @property
    def ended(self) -> bool: ...

    def fileno(self) -> int: ...

    def process(self, events: int) -> None:
        """Do what is to do, and read and write, where `events` has that, as far as it does not block."""

    def expire(self) -> None:
        """Carry out what is due."""

    def close_socket(self) -> bool:
        """Close the socket; return whether that was possible: not while another thread reads it."""

    def cut(self) -> None:
        """End at once, after an exception."""


class Background:
    """An event loop in a daemon thread, which starts with the first member and ends with the last.

    All methods may be called from any thread, and never block.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._members: set[Member] = set()
        #: Members whose interest has changed.
        self._changed: set[Member] = set()
        #: What is to be called.
        self._calls: deque[Callable[[], None]] = deque()
        #: Deadlines of members; those that have moved are stale.
        self._timers: list[tuple[float, int, Member]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._wakes_at = 0.0
        self._woken = False
        self._waker: socket.socket
        # Only of the thread.
        self._selector: selectors.BaseSelector
        self._registered: dict[Member, int] = {}
        #: Members that threads of the application read themselves, and when to ask each whether they still do.
        self._attended: set[Member] = set()
        self._checks: list[tuple[float, int, Member]] = []

    def add(self, member: Member) -> None:
        """Begin to serve a member."""
        with self._lock:
            self._members.add(member)
            if self._thread is None:
                self._start()
        self.watch(member)

    def watch(self, member: Member) -> None:
        """Call `process` of a member, whose interest has changed, or which has something to do."""
        with self._lock:
            if self._thread is None:
                # The member has been removed, or was never served.
                if member.ended:
                    member.close_socket()
                return
            self._changed.add(member)
            self._wake()

    def call(self, call: Callable[[], None]) -> None:
        """Make a call in the thread, if it runs. No lock is taken, so that a finalizer may do this anywhere."""
        self._calls.append(call)
        thread = self._thread
        if thread is not None:
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")

    def schedule(self, member: Member) -> None:
        """Call `expire` of a member at its `expires_at`, which has become earlier."""
        with self._lock:
            if self._thread is None:
                return
            heapq.heappush(self._timers, (member.expires_at, next(self._numbers), member))
            if member.expires_at < self._wakes_at:
                self._wake()

    def join(self) -> None:
        """Wait for the end of the thread if it has nothing to serve any more."""
        with self._lock:
            thread = self._thread
            ends = not any(not member.ended for member in self._members)
        if ends and thread is not None and thread is not threading.current_thread():
            thread.join(1.0)

    def _start(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._waker, woken = socket.socketpair()
        for sock in (self._waker, woken):
            sock.setblocking(False)
        self._selector.register(woken, READ)
        self._woken = False
        self._wakes_at = 0.0
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(woken, begun), name="mintws", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            # A signal may have raised before the thread was started, or after.
            if not begun.wait(START_WAIT):
                self._members.clear()
                self._end()
                woken.close()
            raise

    def _end(self) -> None:
        self._thread = None
        self._timers.clear()
        self._attended.clear()
        self._checks.clear()
        self._selector.close()
        self._waker.close()

    def _wake(self) -> None:
        if not self._woken and self._thread is not threading.current_thread():
            self._woken = True
            self._waker.send(b"\0")

    def _run(self, woken: socket.socket, begun: threading.Event) -> None:
        begun.set()
        with self._lock:
            if self._thread is not threading.current_thread():
                # It has begun too late.
                return
        while self._plan():
            for key, events in self._selector.select(max(0.0, self._wakes_at - time.monotonic())):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(64)
                else:
                    self._handle(key.data, events)
            while self._calls:
                self._calls.popleft()()
            self._expire(time.monotonic())
        woken.close()

    def _plan(self) -> bool:
        """See to the members that have changed, and set the time of the next turn; return whether there is one."""
        now = time.monotonic()
        while self._checks and self._checks[0][0] <= now:
            _, _, member = heapq.heappop(self._checks)
            self._attended.discard(member)
            if not member.ended:
                self._register(member)
        while True:
            with self._lock:
                self._woken = False
                changed, self._changed = self._changed, set()
                if not changed:
                    if not self._members:
                        self._end()
                        return False
                    due = self._timers[0][0] if self._timers else now + 3600.0
                    self._wakes_at = min(due, self._checks[0][0]) if self._checks else due
                    return True
            for member in changed:
                self._handle(member, 0)

    def _register(self, member: Member) -> None:
        """Wait for what a member is interested in."""
        if member.ended:
            self._unregister(member)
            if member.close_socket():
                with self._lock:
                    self._members.discard(member)
            return
        if member not in self._attended and (seconds := member.attended) is not None:
            self._attended.add(member)
            heapq.heappush(self._checks, (time.monotonic() + seconds, next(self._numbers), member))
        interest, before = member.interest, self._registered.get(member, 0)
        if interest == before:
            return
        if not interest:
            self._unregister(member)
        elif before:
            self._selector.modify(member, interest, member)
        else:
            self._selector.register(member, interest, member)
        if interest:
            self._registered[member] = interest

    def _unregister(self, member: Member) -> None:
        if self._registered.pop(member, 0):
            self._selector.unregister(member)

    def _handle(self, member: Member, events: int) -> None:
        try:
            member.process(events)
        except BaseException:
            # What an extension raises that is no Exception must not end all other connections.
            logger.exception("a connection failed")
            member.cut()
        self._register(member)

    def _expire(self, now: float) -> None:
        while True:
            with self._lock:
                if not self._timers or self._timers[0][0] > now:
                    return
                at, _, member = heapq.heappop(self._timers)
            if at != member.expires_at or member.ended:
                continue
            try:
                member.expire()
            except BaseException:
                logger.exception("a connection failed")
                member.cut()


#: That of this process.
_background = Background()


def background() -> Background:
    """Return the background thread of this process."""
    return _background


def _forget_parent() -> None:
    """Leave the connections of the parent, whose thread a fork does not have, to the parent."""
    global _background  # noqa: PLW0603
    _core.Lock._leave_to_parent()
    _background = Background()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
