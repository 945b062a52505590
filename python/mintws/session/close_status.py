"""The close status of a WebSocket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mintws.errors import ConnectionClosed, RemoteProtocolError
from mintws.events import Close

#: The status codes that end an iteration over messages without an error: normal closure, going away, and none.
CLEAN_CODES = frozenset({1000, 1001, 1005})


@dataclass(slots=True)
class CloseStatus:
    """The close status of a WebSocket that has ended, or is ending.

    Attributes:
        received: the peer's Close.
        sent: our Close: the first one, or the answer to the peer's Close or fault.
        error: the peer's fault. If the peer left, `__cause__` is the error of the transport, if there was one.
        cause: the reason why we ended it without a Close of the peer, for a log.
        discarded: the number of messages discarded after it was closed here.
        loss: the reason why nothing more can be sent, while what tells of the end comes after messages that are unread.
    """

    received: Close | None = None
    sent: Close | None = None
    error: RemoteProtocolError | None = None
    cause: str = ""
    discarded: int = 0
    loss: str = ""

    @property
    def code(self) -> int:
        """The status code of the connection's end (RFC 6455 §7.1.5)."""
        if self.received is not None:
            return 1005 if self.received.code is None else self.received.code
        if self.error is not None and self.error.code != 1006:
            return self.error.code
        if self.error is None and not self.cause and self.sent is not None:
            # The peer's Close has not been received yet.
            return 1005 if self.sent.code is None else self.sent.code
        return 1006

    @property
    def reason(self) -> str:
        if self.received is not None:
            return self.received.reason
        if self.cause or self.error is not None:
            return self.cause or str(self.error)
        return self.sent.reason if self.sent is not None else self.loss

    @property
    def clean(self) -> bool:
        """Whether both sides have sent a Close (§7.1.4)."""
        return self.received is not None and self.sent is not None

    @property
    def _own(self) -> Close | None:
        """Our Close, unless it repeats the peer's, to answer it."""
        return None if self.sent is self.received else self.sent

    @property
    def ended_by(self) -> Literal["us", "peer"] | None:
        """The side that closed first, or failed the connection; `None` if the transport ended by itself."""
        if self.received is not None:
            return "us" if self._own is not None and self._own.code == self.received.code else "peer"
        if self.error is not None and self.error.code == 1006 and not self.cause:
            return None
        return "us" if self.error is not None or self.cause or self.sent is not None else None

    def exception(self) -> ConnectionClosed:
        """Return the exception for this status."""
        closed = ConnectionClosed(self.code, self.reason, clean=self.clean, ended_by=self.ended_by)
        closed.__cause__ = self.error
        closed._status = self
        return closed

    def is_of(self, error: object) -> bool:
        """Whether an exception was made by this status, or is a group of such alone."""
        # Before Python 3.11 a library has the class of groups.
        within = getattr(error, "exceptions", None)
        if isinstance(within, tuple):
            return all(map(self.is_of, within))
        return isinstance(error, ConnectionClosed) and error._status is self
