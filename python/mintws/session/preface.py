"""The first bytes of a client without TLS."""

from __future__ import annotations

#: The connection preface of a client that speaks HTTP/2 with prior knowledge (RFC 9113 §3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Preface:
    """The choice of the HTTP version by the client's first bytes, if neither ALPN nor an argument makes it (RFC 9113 §3.4).

    Attributes:
        http2: whether they are those of HTTP/2.
    """

    __slots__ = ("_start", "http2")

    def __init__(self) -> None:
        self._start = b""
        self.http2 = False

    def receive(self, data: bytes | bytearray | memoryview) -> bytes | None:
        """Take the next bytes; empty if the client has ended its half.

        Returns:
            All received bytes once the version is known; `None` until then.
        """
        self._start += data
        if data and len(self._start) < len(PREFACE) and PREFACE.startswith(self._start):
            return None
        self.http2 = self._start.startswith(PREFACE)
        return self._start
