"""A pair of connected WebSockets in memory, without the I/O of the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mintws.arguments import explained
from mintws.connection import Connection, Options
from mintws.drivers.client import OpenedOnce
from mintws.drivers.memory import url_of
from mintws.extensions import Extension

if TYPE_CHECKING:
    from typing_extensions import Unpack


class pair(OpenedOnce):  # noqa: N801  (errors name it as users know it)
    """A pair of connected WebSockets, the base class of each driver's `pair`.

    A subclass has `_handle`, the handler of the server's side, and its driver's `serve_in_memory` as `_serve`.
    """

    _serve: ClassVar[Callable[..., Any]]
    _handle: Callable[[Any], Any]

    @explained(Connection)
    def __init__(
        self,
        target: str = "/",
        *,
        http: Literal["1.1", "2"] = "1.1",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        extensions: Sequence[Extension] | None = None,
        close_timeout: float = 10.0,
        ping_interval: float | None = 20.0,
        ping_timeout: float | None = 20.0,
        **options: Unpack[Options],
    ) -> None:
        self._serving = self._serve(
            self._handle,
            subprotocols=subprotocols,
            extensions=extensions,
            close_timeout=close_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            **options,
        )
        self._connecting = self._serving._server.connect(
            url_of(target),
            http=http,
            headers=headers,
            subprotocols=subprotocols,
            extensions=extensions,
            close_timeout=close_timeout,
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            **options,
        )
