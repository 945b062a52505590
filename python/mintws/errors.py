"""The exceptions of mintws: the caller's mistakes are raised, the peer's are carried by `Failed` and raised by drivers."""

from __future__ import annotations

from typing import Any


class MintWSError(Exception):
    """What all errors of mintws are."""


class LocalProtocolError(MintWSError):
    """The caller broke a rule: nothing was sent, the state is as before. The message says what to do."""


class ExtendedConnectDisabled(LocalProtocolError):
    """The HTTP/2 server does not take WebSockets: its SETTINGS do not enable extended CONNECT (RFC 8441 §3).

    The connection is as good as before for ordinary requests; for a WebSocket, connect again with HTTP/1.1.
    """


class RemoteProtocolError(MintWSError):
    """The peer broke a rule, or left without a Close.

    Attributes:
        code: the status code to close with (RFC 6455 §7.4.1); 1006 says that the peer left without a Close.
        section: where the rule stands, such as "RFC 6455 §5.2".
        status: the HTTP status that refused a broken opening handshake, or `None`.
    """

    def __init__(self, message: str, *, code: int = 1002, section: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.section = section
        self.status = status

    def __str__(self) -> str:
        message = super().__str__()
        if self.__cause__ is not None:
            message = f"{message}: {self.__cause__!r}"
        return f"{message} ({self.section})" if self.section else message


class UpgradeError(MintWSError):
    """The server refused the WebSocket (RFC 6455 §4.2.2).

    Attributes:
        status: the HTTP status of its answer.
        headers: the headers of the answer, names in lower case.
        body: the body of the answer, cut at 64 KiB.
    """

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> None:
        super().__init__(f"the server answered {status} and opened no WebSocket")
        self.status = status
        self.headers = headers
        self.body = body

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made anew from its `args`, which are the message.
        return type(self), (self.status, self.headers, self.body), self.__dict__


class ResponseTooLarge(MintWSError):
    """The body of a response to an ordinary request is longer than the limit that was given for it.

    Attributes:
        status: the HTTP status of the response.
        limit: the most bytes that were allowed.
    """

    def __init__(self, status: int, limit: int) -> None:
        super().__init__(
            f"the body of the response, a {status}, has more than {limit} bytes: give request() a larger limit, or None"
        )
        self.status = status
        self.limit = limit

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.limit), self.__dict__


class ConnectionClosed(MintWSError):
    """The WebSocket is closed: nothing more comes and nothing more can be sent.

    Attributes:
        code: the status code that the peer closed with; 1005 if its Close had none, 1006 if no Close came (RFC 6455 §7.1.5).
        reason: the reason in the peer's Close, or why none came.
        clean: both sides sent a Close.
    """

    def __init__(self, code: int, reason: str = "", *, clean: bool = True) -> None:
        super().__init__(f"the WebSocket is closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason
        self.clean = clean

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.reason), self.__dict__
