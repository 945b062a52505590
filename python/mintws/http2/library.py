"""The HTTP/2 library as it is used here: `h2`, with what it would do to all streams done to the one that is concerned."""

from __future__ import annotations

from collections.abc import Callable

import h2.config
import h2.connection
import h2.stream
from h2.connection import AllowedStreamIDs
from h2.stream import StreamInputs, StreamState


class Library(h2.connection.H2Connection):
    """`H2Connection`, which knows at any time how many streams are open.

    `h2` looks through all streams for each that is opened, and forgets those that have closed only then.

    Args:
        config: that of `h2`.
        closed: is called with each stream when it closes.
    """

    def __init__(self, config: h2.config.H2Configuration, closed: Callable[[Stream], None]) -> None:
        super().__init__(config)
        self._closed = closed
        #: How many streams are open of those that a server has opened, and of those that a client has.
        self._open = [0, 0]

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> Stream:
        plain = super()._begin_new_stream(stream_id, allowed_ids)
        stream = Stream(
            stream_id, self.config, plain.inbound_flow_control_window, plain.outbound_flow_control_window, self._forget
        )
        stream.max_outbound_frame_size = plain.max_outbound_frame_size
        self.streams[stream_id] = stream
        self._open[stream_id % 2] += 1
        return stream

    def _open_streams(self, remainder: int) -> int:
        return self._open[remainder]

    def _forget(self, stream: Stream) -> None:
        del self.streams[stream.stream_id]
        self._closed_streams[stream.stream_id] = stream.closed_by
        self._open[stream.stream_id % 2] -= 1
        self._closed(stream)


class Stream(h2.stream.H2Stream):
    """`H2Stream`, which says when it has closed."""

    def __init__(
        self,
        stream_id: int,
        config: h2.config.H2Configuration,
        inbound_window_size: int,
        outbound_window_size: int,
        closed: Callable[[Stream], None],
    ) -> None:
        super().__init__(stream_id, config, inbound_window_size, outbound_window_size)
        self.state_machine = _States(stream_id, lambda: closed(self))


class _States(h2.stream.H2StreamStateMachine):
    """The states of a stream; `closed` is called when it has closed."""

    def __init__(self, stream_id: int, closed: Callable[[], None]) -> None:
        super().__init__(stream_id)
        self._closed: Callable[[], None] | None = closed

    def process_input(self, input_: StreamInputs) -> list[h2.events.Event]:
        try:
            return super().process_input(input_)
        finally:
            if self.state is StreamState.CLOSED and self._closed is not None:
                closed, self._closed = self._closed, None
                closed()
