"""Limits on a peer's data, and the check of numeric arguments."""

from __future__ import annotations

from mintws.errors import LocalProtocolError

#: The most bytes kept of the body of a response that rejects a WebSocket.
REJECTION_LIMIT = 64 * 1024

#: The bytes that the peer may send on one HTTP/2 stream before it waits for credit, unless another window is given; and the smallest
#: window allowed, which is the initial one of a connection (RFC 9113 §6.9.2).
STREAM_WINDOW = 256 * 1024
DEFAULT_WINDOW = 65535
#: SETTINGS_MAX_CONCURRENT_STREAMS. Many clients open all WebSockets of a host on one connection and queue those for which there is no
#: stream. Chromium opens at most 256 streams, Firefox 200 WebSockets. Other servers allow 100 to 250, or set no limit.
MAX_CONCURRENT_STREAMS = 256

#: The range of `max_header_size`: a smaller one than the least is none that browsers can open a WebSocket within.
LEAST_HEADER_SIZE = 1024
MOST_HEADER_SIZE = 1024 * 1024

#: The largest numbers of HTTP/2 (RFC 9113 §6.5.2, §6.9.1) and of a payload length (RFC 6455 §5.2).
INT31 = (1 << 31) - 1
INT63 = (1 << 63) - 1


def check_int(name: str, value: object, least: int, most: int, of: str = "") -> None:
    """Check an integer argument.

    Args:
        name: the name of the argument.
        value: its value.
        least, most: its range, inclusive.
        of: the unit of the number, such as " bytes", and the values allowed instead.

    Raises:
        LocalProtocolError: the value is out of range.
        TypeError: the value is not an `int`.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is an int{of and ': a number of'}{of}, not {value!r}")
    if not least <= value <= most:
        shown = f"2^{most.bit_length()}-1" if most in (INT31, INT63) else most
        raise LocalProtocolError(f"{name} must be {least} to {shown}{of}, not {value}")


def check_streams(window: object, max_concurrent_streams: object) -> None:
    """Check these arguments of `Http2` early, so that none fails when the first client connects.

    Raises:
        LocalProtocolError, TypeError: as from `Http2`.
    """
    check_int("window", window, DEFAULT_WINDOW, INT31, " bytes")
    if max_concurrent_streams is not None:
        check_int("max_concurrent_streams", max_concurrent_streams, 0, INT31)


def check_header_size(max_header_size: object) -> None:
    """Check this argument of `Http1` and `Http2`, where `None` is the default of each.

    Raises:
        LocalProtocolError, TypeError: as from these.
    """
    if max_header_size is not None:
        check_int("max_header_size", max_header_size, LEAST_HEADER_SIZE, MOST_HEADER_SIZE, " bytes")
