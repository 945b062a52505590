"""What a peer can make us do for little (RFC 9113 §10.5), and how much of it is borne."""

from __future__ import annotations

#: Frames that carry nothing (PING, SETTINGS, resets, empty DATA) that one chunk may have, beside one for each 512 bytes.
IDLE_FRAMES = 200
#: Requests that a client may waste, beside half of all: taken back before they are answered, or such that we must reset them.
WASTED_REQUESTS = 200


def carries_nothing(frame: bytes) -> bool:
    """Whether a frame is one of those with which peers are kept busy: empty DATA, PRIORITY, RST_STREAM, SETTINGS, PING."""
    if len(frame) < 9:
        return False
    kind = frame[3]
    return kind in (2, 3, 4, 6) or (kind in (0, 9) and len(frame) == 9) or kind > 9
