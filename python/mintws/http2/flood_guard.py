"""Limits on the work that a peer can cause for little (RFC 9113 §10.5).

There is no clock here, so what is for nothing is weighed against what is of use. Two budgets are spent by the one and filled again by
the other, never beyond where they began. So a connection that is of some use lives on, and one that is of none ends, in however small
chunks it is none. Only as much as peers need that keep a connection open is forgiven by whoever has a clock: `Http2.refill`.
"""

from __future__ import annotations

from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PushPromiseFrame, RstStreamFrame

from mintws import _core
from mintws.http2.frames import END_STREAM, Frame

#: How many idle frames are borne, and how many of them a refill forgives: one in a second, which is more than any keepalive has.
IDLE_FRAMES = 10_000
FORGIVEN_FRAMES = 60
#: An answered request makes up for as many as so many bytes of DATA.
PER_ANSWER = 100
#: How many requests a client may waste, and each that is answered makes up for one: those that it takes back before their answer, and
#: those that are reset or refused for its fault. Twice as many as it may have at a time: a page that is left takes back all it has.
WASTED_REQUESTS = 512
#: How many of them a refill forgives: a client may take back a long poll every six seconds.
FORGIVEN_REQUESTS = 10


class FloodGuard:
    """The budgets of one connection.

    Attributes:
        useful: bytes of DATA, of either side, since idle frames were last counted: each makes up for an idle frame, and at most
            `useful_bytes` of a frame count. Of our frames those do not count that a little credit has cut short.
        flood: what there is too much of; empty if nothing is.
    """

    __slots__ = ("_idle", "_waste", "flood", "useful")

    def __init__(self) -> None:
        self.useful = 0
        self._idle = IDLE_FRAMES
        self._waste = WASTED_REQUESTS
        self.flood = ""

    def refill(self) -> None:
        """Forgive a few idle frames, and a few requests that were made for nothing; a flood stays one."""
        self._idle = min(self._idle + FORGIVEN_FRAMES, IDLE_FRAMES)
        self._waste = min(self._waste + FORGIVEN_REQUESTS, WASTED_REQUESTS)

    def idle(self) -> None:
        """Count an idle frame."""
        self._idle = min(self._idle + self.useful, IDLE_FRAMES) - 1
        self.useful = 0
        if self._idle < 0:
            self.flood = "a flood of frames that do nothing"

    def waste(self) -> None:
        """Count a request that was made for nothing."""
        self._waste -= 1
        if self._waste < 0:
            self.flood = "a flood of requests that come to nothing"

    def answer(self) -> None:
        """Count a request that was answered."""
        self.useful += PER_ANSWER
        self._waste = min(self._waste + 1, WASTED_REQUESTS)


def useful_bytes(size: int) -> int:
    """How many bytes of a DATA frame that carries so many count as useful."""
    return min(size, _core.USEFUL_BYTES)


def is_idle(frame: Frame, *, late: bool) -> bool:
    """Whether a frame does nothing of use; `late` says that it is for a stream that has closed.

    Those that end a stream which is open are of use. DATA that came late costs next to nothing.
    """
    if frame.type == DataFrame.type:
        return frame.is_empty and (late or not frame.flags & END_STREAM)
    if frame.type in (HeadersFrame.type, RstStreamFrame.type):
        return late
    if frame.type == ContinuationFrame.type:
        return frame.is_empty
    # PRIORITY, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, and types that are unknown.
    return bool(frame.type != PushPromiseFrame.type)
