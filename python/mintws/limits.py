"""Bounds of what a peer may send, and the check of numbers that a caller gives."""

from __future__ import annotations

from mintws.errors import LocalProtocolError

#: The most bytes kept of the body of a response that rejects a WebSocket.
REJECTION_LIMIT = 64 * 1024

#: What the peer may send on one stream of HTTP/2 before it waits for credit, unless another window is given; and the least that may be,
#: which is what a connection begins with (RFC 9113 §6.9.2).
STREAM_WINDOW = 256 * 1024
DEFAULT_WINDOW = 65535
#: SETTINGS_MAX_CONCURRENT_STREAMS: what clients use. Many put all WebSockets of a host on one connection and let those wait for which
#: there is no stream; Chromium has at most 256 of them, Firefox 200 WebSockets. Servers have 100 to 250, or no limit.
MAX_CONCURRENT_STREAMS = 256

#: The largest numbers of HTTP/2 (RFC 9113 §6.5.2, §6.9.1) and of a payload length (RFC 6455 §5.2).
INT31 = (1 << 31) - 1
INT63 = (1 << 63) - 1


def check_int(name: str, value: object, least: int, most: int, of: str = "") -> None:
    """Check a number where it is given.

    Args:
        name: the argument.
        value: what was given.
        least, most: its range, inclusive.
        of: what the number counts, such as " bytes", and what may be given instead.

    Raises:
        LocalProtocolError: it is out of its range.
        TypeError: it is no int.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is an int{of and ': a number of'}{of}, not {value!r}")
    if not least <= value <= most:
        shown = f"2^{most.bit_length()}-1" if most in (INT31, INT63) else most
        raise LocalProtocolError(f"{name} must be {least} to {shown}{of}, not {value}")


def check_streams(window: object, max_concurrent_streams: object) -> None:
    """Check these arguments of `Http2` where they are given, so that none fails when the first client comes.

    Raises:
        LocalProtocolError, TypeError: as of `Http2`.
    """
    check_int("window", window, DEFAULT_WINDOW, INT31, " bytes")
    if max_concurrent_streams is not None:
        check_int("max_concurrent_streams", max_concurrent_streams, 0, INT31)
