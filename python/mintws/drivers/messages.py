"""The values that are sent as a message, and how much of them is sent at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mintws.events import Binary, Close, Ping, Pong, PreparedMessage, Text

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    # What `typing.get_type_hints` gives: before Python 3.12 there is no class for it.
    Buffer = bytes | bytearray | memoryview

#: A message that is not given in fragments.
WholeMessage: TypeAlias = str | Buffer | Text | Binary | PreparedMessage

#: A message of more bytes is written without being copied to others.
LARGE = 64 * 1024
#: Bytes of a message in fragments after which other tasks get a turn.
TURN_SIZE = 256 * 1024


def event_of(message: Any) -> Text | Binary | PreparedMessage | None:
    """Give the event that a message is sent as; `None` if it may be an iterable of fragments."""
    if isinstance(message, str):
        return Text(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return Binary(message)
    return message if isinstance(message, (Text, Binary, PreparedMessage)) else None


def check_several(messages: object) -> None:
    """Raise `TypeError` for one message where several are taken, and for a mapping: no characters and no keys are ever meant."""
    if isinstance(messages, str):
        raise TypeError("send_many() takes an iterable of messages, and this is one: send() sends it")
    if isinstance(messages, Mapping):
        raise TypeError(f"send_many() takes an iterable of messages, not {type(messages).__name__}")


def no_message(message: object) -> TypeError:
    """Make the error for what can be sent neither as a message nor as its fragments."""
    kind = type(message).__name__
    instead = {
        Ping: ": ping() sends one and waits for its Pong",
        Pong: ": Pings are answered by themselves",
        Close: ": close() sends one and waits for the peer's",
    }.get(type(message), "")
    return TypeError(f"send() takes str, bytes, Text, Binary, a prepared message or an iterable, not {kind}{instead}")


class Fragments:
    """The fragments of one message, made of what an iterable gives."""

    def __init__(self) -> None:
        self._kind: type[Text | Binary] | None = None
        #: Bytes since the last turn for others.
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether the peer has seen some of it."""
        return self._kind is not None

    @property
    def due(self) -> bool:
        """Whether others are to get a turn now."""
        if self._size < TURN_SIZE:
            return False
        self._size = 0
        return True

    def next(self, fragment: Any) -> Text | Binary:
        """Make the next fragment.

        Raises:
            TypeError: it is neither text nor bytes, or not what those before it are.
        """
        event = event_of(fragment)
        if not isinstance(event, (Text, Binary)) or not isinstance(event, self._kind or object):
            raise TypeError(f"a message in fragments is of str or of bytes, not {type(fragment).__name__}")
        self._kind = type(event)
        self._size += len(event.data)
        return _made(self._kind, event.data, False)

    def last(self) -> Text | Binary:
        """Make the last fragment, which is empty.

        Raises:
            TypeError: there was none before it.
        """
        if self._kind is None:
            raise TypeError("an iterable without an element is no message: it would be neither text nor binary")
        return _made(self._kind, b"", True)


def _made(kind: type[Text | Binary], data: Any, fin: bool) -> Text | Binary:
    return kind(data, fin)
