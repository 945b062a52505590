"""The first bytes of a client in clear text."""

from __future__ import annotations

#: What a client that speaks HTTP/2 by prior knowledge begins with (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Preface:
    """The choice of a version of HTTP where neither ALPN nor an argument makes it: by the client's first bytes (RFC 9113 §3.4).

    Attributes:
        http2: they are those of HTTP/2.
    """

    __slots__ = ("_start", "http2")

    def __init__(self) -> None:
        self._start = b""
        self.http2 = False

    def receive(self, data: bytes | memoryview) -> bytes | None:
        """Take the next bytes, none if the client has ended its half.

        Returns:
            All that have come, once the version is known; `None` until then.
        """
        self._start += data
        if data and len(self._start) < len(PREFACE) and PREFACE.startswith(self._start):
            return None
        self.http2 = self._start.startswith(PREFACE)
        return self._start
