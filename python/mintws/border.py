"""The methods that the core calls by name on Python objects, and no others. `src/py/border.rs` has the calls.

`_core.pyi` has the opposite direction, the members of the core's classes. tests/test_border.py compares both with the sources.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Literal, Protocol

from mintws.connection import Connection
from mintws.errors import RemoteProtocolError


class Transport(Protocol):
    """A driver's transport, built on `_core.ProtocolBase`."""

    def receive(self, data: memoryview, begun: Any = None) -> None:
        """Process bytes of the peer that do not belong to a single WebSocket. Over HTTP/2 the core may have processed some of them."""

    def handle(self, events: list[tuple[Connection | None, Any]]) -> None:
        """Dispatch events, before readers are woken."""

    def end_chunk(self, crowded: Sequence[Any], replied: int, look: bool) -> None:
        """Do the work left by a chunk, after readers have run; not called if there were only messages.

        Args:
            crowded: the WebSockets whose queues are full.
            replied: the number of bytes of replies that the chunk caused.
            look: whether reading may have to be paused or resumed.
        """

    def catch_up(self) -> None:
        """Process bytes deferred to this turn of the loop, over HTTP/2."""

    def cut(self) -> None:
        """Abort the transport: decoding has raised."""


class Channel(Protocol):
    """TLS of a driver, built on `_core.TlsChannel`."""

    def _receive(self, ciphertext: memoryview) -> None:
        """Process a chunk before or after the phase in which plaintext passes."""

    def _wait(self, ciphertext: memoryview) -> None:
        """Keep records for a later turn of the loop: those of a chunk that has many."""

    def _end(self, error: Any) -> None:
        """Handle the end of the peer's data, as raised by OpenSSL."""

    def abort(self) -> None:
        """Abort the transport: decryption or encryption was interrupted."""


class WebSocket(Protocol):
    """A driver's WebSocket, built on `_core.WebSocket`."""

    def _resume(self) -> None:
        """Decode what has waited for the application, and resume the peer."""

    def _send(self, message: Any, compress: bool | None) -> Coroutine[Any, Any, None]:
        """Send a message that needs more than encoding and writing."""

    def _drained(self) -> Coroutine[Any, Any, None]:
        """Wait until most sent bytes have been written."""

    def _is_held_back(self) -> bool:
        """Whether the peer's flow control holds back frames, over HTTP/2."""

    def _trace(self, way: Literal["received", "sent"], event: object) -> None:
        """Log a frame."""

    def _ended(self, iterating: bool) -> Exception | None:
        """Return the exception for a reader of an ended WebSocket; `None` ends an iteration."""


class Burst(Protocol):
    """A WebSocket of a driver whose tasks wait in coroutines, built on `_core.BurstWebSocket`."""

    def _resume(self) -> None:
        """Decode what has waited for the application, and resume the peer."""

    def _receive(self, event: bool, iterating: bool) -> Coroutine[Any, Any, Any]:
        """Wait for the next message, or let other tasks run, and return it as an event or as its data; a clean end ends an iteration."""

    def _send(self, message: Any, compress: bool | None) -> Coroutine[Any, Any, None]:
        """Send a message that needs more than encoding and writing."""

    def _write(self) -> bool:
        """Write all that was collected, and return whether there is room for more."""

    def _sent(self) -> Coroutine[Any, Any, None]:
        """Write all that was collected, and wait for room, or let other tasks run."""

    def _post_later(self) -> None:
        """Have the collected frames written when the task that sends waits, at the latest."""


class AsgiWebSocket(Protocol):
    """A WebSocket of an application of ASGI."""

    def _disconnected(self) -> dict[str, Any]:
        """Return the event that tells the application of the end."""


class AsgiCycle(Protocol):
    """The life of such a WebSocket, built on `_core.AsgiCycle`."""

    def _receive(self) -> Coroutine[Any, Any, Any]:
        """Give an event while the WebSocket is not open."""

    def _send(self, message: Any) -> Coroutine[Any, Any, None]:
        """Take an event that is no message of an open WebSocket."""


class Socket(Protocol):
    """A transport for threads, built on `_core.SocketBase`."""

    def led(self) -> None:
        """Have the background see to what is left after a thread of the application has read; without the lock."""

    def watch(self) -> None:
        """Have the background look again at what is to be read and written."""

    def stop_writing(self, error: Any) -> None:
        """Handle that writing has failed."""

    def fail(self, error: Any) -> None:
        """Handle that encryption has failed, or was interrupted."""


class Blocking(Protocol):
    """A WebSocket for threads, built on `_core.BlockingWebSocket`."""

    def _drain(self) -> None:
        """Wait until the system has what was sent; without the lock."""

    def _receive(self, timeout: float | None) -> None:
        """Wait until there is a message, or part of one, to be taken."""

    def _next(self) -> bool:
        """Wait until there is a message to be taken; return whether there is one, or the iteration ends."""

    def _send(self, message: Any, compress: bool | None, timeout: float | None) -> None:
        """Send a message that needs more than encoding and writing."""


class Endpoint(Protocol):
    """A connection, built on `_core.Endpoint`."""

    def _send_other(self, event: object) -> bytes:
        """Send an event that is not a frame."""


class Carrier(Protocol):
    """The carrier of a connection's frames."""

    def send_data(self, data: bytes) -> bytes:
        """Write frames."""

    def send_end(self) -> bytes:
        """Write the end, after both Closes."""


class Transforms(Protocol):
    """The effect of extensions in Python on complete messages."""

    def send(self, text: bool, data: bytes, compress: bool | None) -> tuple[bytes, int]:
        """Transform a message that is sent; return it with the RSV bits to set."""

    def forget(self, messages: int) -> None:
        """Undo the last calls of `send`: their messages are not sent after all."""

    def receive(self, text: bool, rsv: int, data: bytes) -> tuple[bytes | None, RemoteProtocolError | None]:
        """Reverse the peer's transform; or return the fault of the message."""
