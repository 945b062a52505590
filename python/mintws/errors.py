"""The exceptions of mintws. The caller's mistakes are raised; the peer's are carried by `Failed`, and drivers raise them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from mintws.headers import HeaderFields

#: The most characters of a refusal's body, and of each of its headers, in the text of an `UpgradeError`.
SHOWN = 200


class MintWSError(Exception):
    """Base class of all mintws exceptions."""


class LocalProtocolError(MintWSError):
    """The caller broke a rule. Nothing was sent, and the state is unchanged. The message says what to do."""


class SendBufferFull(MintWSError):
    """A message was not sent, because more bytes wait to be sent than may: the peer takes them too slowly.

    Attributes:
        unsent: the number of bytes that wait.
        max_unsent: the most that may wait for another message to be sent.
    """

    def __init__(self, unsent: int, max_unsent: int) -> None:
        super().__init__(
            f"{unsent} bytes wait to be sent, more than {max_unsent}: await send(), send less, or raise `max_unsent`"
        )
        self.unsent = unsent
        self.max_unsent = max_unsent

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.unsent, self.max_unsent), self.__dict__


class ConnectError(MintWSError, OSError):
    """The server could not be reached, or did not open the WebSocket. `__cause__` is the underlying error, if there is one.

    Attributes:
        errno: the `errno` of the underlying error, or `None`.
    """

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def __reduce__(self) -> tuple[Any, ...]:
        # An OSError keeps `errno` outside its dict.
        return type(self), self.args, {**self.__dict__, "errno": self.errno}


class ConnectTimeout(ConnectError, TimeoutError):
    """The server could not be reached, or did not answer, in time. The message names the step that timed out."""


class ExtendedConnectDisabled(ConnectError, LocalProtocolError):
    """The HTTP/2 server does not accept WebSockets: its SETTINGS do not enable extended CONNECT (RFC 8441 §3).

    The connection can still carry ordinary requests. For a WebSocket, connect again with HTTP/1.1.
    """


class PoolClosed(ConnectError, LocalProtocolError):
    """The pool is closed, or was closed while the WebSocket was being opened."""


class UpgradeError(ConnectError):
    """The server refused the WebSocket (RFC 6455 §4.2.2).

    Its text has the status and its reason phrase, Location and Retry-After if present, and the beginning of the body.

    Attributes:
        status: the HTTP status of the answer.
        headers: the headers of the answer, with names in lower case.
        body: the body of the answer, truncated to 64 KiB, or the part received if it never ended.
    """

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> None:
        super().__init__(_describe_refusal("the server", status, headers, body, "no WebSocket"))
        self.status = status
        self.headers = HeaderFields(headers)
        self.body = body

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle rebuilds an exception from its `args`, which hold only the message.
        return type(self), (self.status, self.headers, self.body), self.__dict__


class ProxyError(ConnectError):
    """The proxy did not open a tunnel to the server.

    Attributes:
        status: the HTTP status of the proxy's answer, or the reply of a SOCKS proxy (RFC 1928 §6), below 100; `None` if it refused in
            another way.
        headers: the headers of an HTTP proxy's answer, with names in lower case.
        body: the body of an HTTP proxy's answer, truncated to 64 KiB, or the part received if it never ended.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = HeaderFields(headers)
        self.body = body

    @classmethod
    def of_http(cls, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> ProxyError:
        """Make the error of an HTTP proxy's answer."""
        said = _describe_refusal("the proxy", status, headers, body, "no tunnel")
        return cls(said, status=status, headers=headers, body=body)

    @classmethod
    def of_socks(cls, said: str, reply: int | None) -> ProxyError:
        """Make the error of a SOCKS proxy's reply."""
        return cls(f"the proxy opened no tunnel: {said}", status=None if reply is None else int(reply))

    def about(self, what: str) -> ProxyError:
        """Return the error with a message that begins with what it is about."""
        return type(self)(f"{what}: {self}", status=self.status, headers=self.headers, body=self.body)


class RemoteProtocolError(MintWSError):
    """The peer broke a rule, or left without a Close.

    Attributes:
        code: the status code to close with (RFC 6455 §7.4.1); 1006 if the peer left without a Close.
        section: the section that has the rule, such as "RFC 6455 §5.2".
        status: the HTTP status that refused a broken opening handshake, or `None`.
        hint: advice for this side if one of its own limits was exceeded. It is not sent to the peer.
    """

    def __init__(
        self, message: str, *, code: int = 1002, section: str = "", status: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.section = section
        self.status = status
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        if self.__cause__ is not None:
            message = f"{message}: {self.__cause__!r}"
        notes = "; ".join(note for note in (self.hint, self.section) if note)
        return f"{message} ({notes})" if notes else message


class ResponseTooLarge(MintWSError):
    """The body of a response to an ordinary request exceeds the limit given for it.

    Attributes:
        status: the HTTP status of the response.
        limit: the limit, in bytes.
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
    """The WebSocket is closed: nothing more can be received or sent.

    `__cause__` is the `RemoteProtocolError` if the peer broke a rule or left without a Close. The `__cause__` of that error is the error
    of the transport, if there was one.

    Attributes:
        code: the status code of the peer's Close; 1005 if its Close had none, 1006 if no Close was received (RFC 6455 §7.1.5).
        reason: the reason in the peer's Close, or the cause if no Close was received.
        clean: whether both sides sent a Close.
        ended_by: "us", "peer", or `None` if the transport ended by itself.
    """

    def __init__(
        self, code: int, reason: str = "", *, clean: bool = True, ended_by: Literal["us", "peer"] | None = None
    ) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.clean = clean
        self.ended_by = ended_by

    #: The `CloseStatus` that it was made of, by which a WebSocket knows its own.
    _status: object = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {name: it for name, it in self.__dict__.items() if name != "_status"}

    def __str__(self) -> str:
        who = {"us": "we", "peer": "the peer", None: "the connection"}[self.ended_by]
        if self.ended_by is None:
            did = "ended"
        else:
            did = "ended the connection" if self.code == 1006 else "closed"
        return f"{who} {did} with {self.code}" + (f": {self.reason}" if self.reason else "")


def _describe_refusal(who: str, status: int, headers: tuple[tuple[str, str], ...], body: bytes, what: str) -> str:
    """Describe in one line who refused to open what."""
    try:
        said = f"{who} answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"{who} answered {status}"
    fields = {name.lower(): value for name, value in headers}
    notes = [f"{name}: {_line(fields[name.lower()])}" for name in ("Location", "Retry-After") if name.lower() in fields]
    said += f" and opened {what}" + (f" ({', '.join(notes)})" if notes else "")
    # Encoded content is not readable. A character has at most 4 bytes.
    text = "" if "content-encoding" in fields else _line(body[: 4 * SHOWN].decode("utf-8", "replace"))
    return f"{said}: {text}" if text else said


def _line(text: str) -> str:
    """Return the beginning of a text on one line, without characters that could move a terminal's cursor."""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "\ufffd" for character in line[:SHOWN])
    return shown + "…" if len(line) > SHOWN else shown
