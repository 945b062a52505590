"""The streams of one side of HTTP/2, and the rules that its frames break by their states and values (RFC 9113 §5.1, §6.5)."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

from hyperframe import frame as frames

from mintws.events import Role

_ENABLE_PUSH = frames.SettingsFrame.ENABLE_PUSH
_ENABLE_CONNECT_PROTOCOL = frames.SettingsFrame.ENABLE_CONNECT_PROTOCOL
#: The least and the greatest value of each setting that has them, and the section with the rule.
_VALUES = {
    _ENABLE_PUSH: (0, 1, "RFC 9113 §6.5.2"),
    frames.SettingsFrame.INITIAL_WINDOW_SIZE: (0, (1 << 31) - 1, "RFC 9113 §6.5.2"),
    frames.SettingsFrame.MAX_FRAME_SIZE: (1 << 14, (1 << 24) - 1, "RFC 9113 §6.5.2"),
    _ENABLE_CONNECT_PROTOCOL: (0, 1, "RFC 8441 §3"),
}


class _State(enum.Enum):
    """What a side has done with a stream that it may send on."""

    RESERVED, OPEN, ENDED, RESET = range(4)


class SentStreams:
    """Judges the frames of one side in their order, by what that side has sent before.

    Args:
        sender: the side.
        peer_last: the highest stream that the other side has opened, or as a server has promised, or `None` if that is unknown.

    Attributes:
        last: the highest stream that this side has opened, or as a server has promised; 0 before any.
    """

    def __init__(self, sender: Role, peer_last: int | None = None) -> None:
        self.last = 0
        self._sender = sender
        self._peer_last = peer_last
        self._states: dict[int, _State] = {}
        self._extends_connect = False

    def judge(self, frame: Any) -> list[str]:
        """Take the next frame; return the rules that it breaks, each with its section."""
        if isinstance(frame, frames.SettingsFrame):
            return list(self._judge_settings(frame.settings))
        if isinstance(frame, frames.PushPromiseFrame):
            return list(self._judge_promise(frame.promised_stream_id))
        if not frame.stream_id:
            return []
        if isinstance(frame, frames.HeadersFrame):
            broken = self._judge_headers(frame.stream_id)
        elif isinstance(frame, frames.DataFrame):
            broken = self._judge_data(frame.stream_id)
        elif isinstance(frame, (frames.RstStreamFrame, frames.WindowUpdateFrame)):
            broken = self._judge_control(frame)
        else:
            return []
        if isinstance(frame, frames.RstStreamFrame):
            self._states[frame.stream_id] = _State.RESET
        elif "END_STREAM" in frame.flags and self._states.get(frame.stream_id) is not _State.RESET:
            self._states[frame.stream_id] = _State.ENDED
        return [] if broken is None else [broken]

    def _judge_settings(self, settings: dict[int, int]) -> Iterator[str]:
        names = {value: name for name, value in vars(frames.SettingsFrame).items() if isinstance(value, int)}
        for key, (least, most, section) in _VALUES.items():
            if not least <= settings.get(key, least) <= most:
                yield f"{names[key]} must be from {least} to {most} ({section})"
        if self._sender is Role.SERVER and settings.get(_ENABLE_PUSH) == 1:
            yield "a server must not set ENABLE_PUSH to 1 (RFC 9113 §6.5.2)"
        if self._extends_connect and settings.get(_ENABLE_CONNECT_PROTOCOL) == 0:
            yield "ENABLE_CONNECT_PROTOCOL must not become 0 after it was 1 (RFC 8441 §3)"
        self._extends_connect |= settings.get(_ENABLE_CONNECT_PROTOCOL) == 1

    def _judge_promise(self, promised: int) -> Iterator[str]:
        if self._sender is Role.CLIENT:
            yield "a client must not send PUSH_PROMISE (RFC 9113 §8.4)"
        elif promised <= self.last:
            yield f"stream {promised} is promised after stream {self.last} (RFC 9113 §5.1.1)"
        else:
            self.last = promised
            self._states[promised] = _State.RESERVED

    def _judge_headers(self, number: int) -> str | None:
        state = self._states.get(number)
        if state in (_State.ENDED, _State.RESET):
            return _after(state, "HEADERS")
        if state is None:
            if self._sender is Role.SERVER:
                if self._is_idle(number):
                    return _idle("HEADERS", number)
            elif not number % 2:
                return "the streams of a client must have odd numbers (RFC 9113 §5.1.1)"
            elif number <= self.last:
                return f"stream {number} is opened after stream {self.last} (RFC 9113 §5.1.1)"
            else:
                self.last = number
        self._states[number] = _State.OPEN
        return None

    def _judge_data(self, number: int) -> str | None:
        state = self._states.get(number)
        if state in (_State.ENDED, _State.RESET):
            return _after(state, "DATA")
        if state is _State.OPEN:
            return None
        if self._is_idle(number):
            return _idle("DATA", number)
        if self._sender is Role.CLIENT:
            return f"DATA on stream {number}, which this side has not opened (RFC 9113 §5.1)"
        return "DATA before the HEADERS of its stream (RFC 9113 §8.1)"

    def _judge_control(self, frame: Any) -> str | None:
        """Judge RST_STREAM, which may be sent again (RFC 9113 §5.4.2), or WINDOW_UPDATE."""
        name = "RST_STREAM" if isinstance(frame, frames.RstStreamFrame) else "WINDOW_UPDATE"
        state = self._states.get(frame.stream_id)
        if state is None and self._is_idle(frame.stream_id):
            return _idle(name, frame.stream_id)
        if state is _State.RESET and name == "WINDOW_UPDATE":
            return _after(state, name)
        return None

    def _is_idle(self, number: int) -> bool:
        """Check whether a stream is surely idle: what the other side has opened may be unknown."""
        if number % 2 == (self._sender is Role.CLIENT):
            return number > self.last
        return self._peer_last is not None and number > self._peer_last


def highest_promise(server: bytes) -> int | None:
    """Return the highest stream that a server has promised, 0 before any, or `None` if its frames do not reach the end of its bytes."""
    highest = at = 0
    while at < len(server):
        kind, flags = server[at + 3 : at + 4], server[at + 4 : at + 5]
        payload = at + 9
        at = payload + int.from_bytes(server[at : at + 3], "big")
        if at > len(server):
            return None
        if kind[0] == frames.PushPromiseFrame.type:
            promised = payload + (flags[0] >> 3 & 1)
            highest = max(highest, int.from_bytes(server[promised : promised + 4], "big") & 0x7FFFFFFF)
    return highest


def _idle(name: str, number: int) -> str:
    return f"{name} on stream {number}, which is idle (RFC 9113 §5.1)"


def _after(state: _State | None, name: str) -> str:
    return f"{name} after {'END_STREAM' if state is _State.ENDED else 'RST_STREAM'} (RFC 9113 §5.1)"
