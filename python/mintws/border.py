"""The methods that the core calls by name on objects of the classes here, and no others: `src/py/border.rs` has the calls.

What is used the other way, of the classes of the core, stands in `_core.pyi`. tests/test_border.py compares both with the sources.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from mintws.connection import Connection
from mintws.errors import RemoteProtocolError


class Transport(Protocol):
    """A driver's transport, built on `_core.Exchange`."""

    def receive(self, data: memoryview, begun: Any = None) -> None:
        """Take bytes of the peer that are not one WebSocket's alone; over HTTP/2 the core may have begun to take them."""

    def handle(self, events: list[tuple[Connection | None, Any]]) -> None:
        """Bring events to those whom they concern, before readers are woken."""

    def end_chunk(self, crowded: Sequence[Any], replied: int, look: bool) -> None:
        """See to what a chunk has left to do, when readers have run: not called for what are mere messages.

        Args:
            crowded: the WebSockets that have more messages than their applications take.
            replied: how many bytes the peer made us write.
            look: whether the transport is to be read may have changed.
        """

    def catch_up(self) -> None:
        """Take what has waited for a turn of the loop, over HTTP/2."""

    def cut(self) -> None:
        """End the transport at once: to decode what came has raised."""


class Channel(Protocol):
    """TLS of a driver, built on `_core.TlsChannel`."""

    def _receive(self, ciphertext: memoryview) -> None:
        """Take a chunk while no plaintext passes: before and after."""

    def _wait(self, ciphertext: memoryview) -> None:
        """Keep records for a later turn of the loop: those of a chunk that has many."""

    def _end(self, error: Any) -> None:
        """Take the end of what the peer sends, by what OpenSSL raised."""

    def abort(self) -> None:
        """End the transport at once: to decrypt or encrypt was interrupted."""


class WebSocket(Protocol):
    """A driver's WebSocket, built on `_core.WebSocket`."""

    def _resume(self) -> None:
        """Decode what has waited for the application, and let the peer go on."""

    def _send(self, message: Any, compress: bool | None) -> Coroutine[Any, Any, None]:
        """Send what takes more than to encode it and let it be written."""

    def _drained(self) -> Coroutine[Any, Any, None]:
        """Wait until what was sent has mostly gone."""

    def _is_held_back(self) -> bool:
        """Whether the peer's flow control lets no more pass, over HTTP/2."""

    def _ended(self, iterating: bool) -> Exception | None:
        """Give what a reader is told who finds that nothing more comes; `None` ends an iteration."""


class Endpoint(Protocol):
    """A connection, built on `_core.Endpoint`."""

    def _send_other(self, event: object) -> bytes:
        """Send what is no frame."""


class Carrier(Protocol):
    """What carries a connection's frames."""

    def send_data(self, data: bytes) -> bytes:
        """Write frames."""

    def send_end(self) -> bytes:
        """Write the end, behind both Closes."""


class Transforms(Protocol):
    """What extensions in Python do to whole messages."""

    def send(self, text: bool, data: bytes, compress: bool | None) -> tuple[bytes, int]:
        """Change a message that is sent; give the RSV bits to set with it."""

    def forget(self, messages: int) -> None:
        """Take back the last messages that passed `send`: they are not sent after all."""

    def receive(self, text: bool, rsv: int, data: bytes) -> tuple[bytes | None, RemoteProtocolError | None]:
        """Undo what the peer's twin did; or give what is wrong with the message."""
