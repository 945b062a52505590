"""Through a real h2 peer, with any order of messages, windows and pauses: each message arrives once and in order."""

import h2.events
from hypothesis import given
from hypothesis import strategies as st
from wire import H2Peer, frame, frames_of, masked

from mintws import Binary, Role

STREAM, CONNECTION = 65535, 16 * 1024 * 1024
#: How wide a stream's window may be by then: four times as wide whenever half of it was used up and taken.
WIDTHS = frozenset(min(STREAM * 4**times, 1 << 22) for times in range(5))


class Traffic:
    """Some WebSockets on one connection, and what was sent on each way of each."""

    def __init__(self, role: Role, window: int, count: int) -> None:
        self.role = role
        self.peer = H2Peer(role, {4: window}, window=STREAM)
        opened = [self.peer.open() if role is Role.SERVER else self.peer.answer() for _ in range(count)]
        self.conns = dict(opened)
        self.start = {stream: len(self.peer.data(stream)) for stream in self.conns}
        self.sent = {stream: [] for stream in self.conns}
        self.received = {stream: [] for stream in self.conns}
        self.given = {stream: [] for stream in self.conns}
        self.waiting = dict.fromkeys(self.conns, b"")
        self.numbers = 0

    def message(self, size: int) -> bytes:
        """A message like no other."""
        self.numbers += 1
        return self.numbers.to_bytes(4, "big") + bytes(size)

    def ours(self, stream: int, size: int) -> None:
        data = self.message(size)
        self.sent[stream].append(data)
        self.peer.hear(self.conns[stream].send(Binary(data)))

    def theirs(self, stream: int, size: int) -> None:
        data = self.message(size)
        self.given[stream].append(data)
        self.waiting[stream] += (masked if self.role is Role.SERVER else frame)(2, data)
        self.push(stream)

    def push(self, stream: int, padding: int | None = None) -> None:
        """Send what the peer's windows let pass."""
        while self.waiting[stream]:
            room = (
                min(self.peer.h2.local_flow_control_window(stream), self.peer.h2.max_outbound_frame_size)
                - (padding or 0)
                - 1
            )
            if room <= 0:
                return
            part, self.waiting[stream] = self.waiting[stream][:room], self.waiting[stream][room:]
            self.peer.h2.send_data(stream, part, pad_length=padding)
            self.take(self.peer.deliver())

    def take(self, pairs) -> None:
        for conn, event in pairs:
            if conn is not None:
                self.received[conn.carrier.number].append(event.data)

    def credit(self, stream: int) -> int:
        """What the peer may send, as it counts itself, and what we still owe it; 0 is the connection."""
        its = self.peer.h2.streams[stream] if stream else self.peer.h2
        left, owed = self.peer.http._data_receiver.window(stream)
        assert its.outbound_flow_control_window == left
        return left + owed

    def heard(self, stream: int) -> list[bytes]:
        return [payload for _, _, _, payload in frames_of(self.peer.data(stream)[self.start[stream] :])]


@given(st.data(), st.sampled_from(list(Role)), st.sampled_from([0, 1, 1000, 65535]), st.integers(1, 3))
def test_each_message_arrives_once_and_in_order(data, role, window, count):
    traffic = Traffic(role, window, count)
    peer, streams = traffic.peer, list(traffic.conns)
    for _ in range(data.draw(st.integers(1, 30))):
        stream = data.draw(st.sampled_from(streams))
        match data.draw(
            st.sampled_from(
                ["ours", "ours", "theirs", "theirs", "credit", "shared", "setting", "pause", "resume", "push"]
            )
        ):
            case "ours":
                traffic.ours(stream, data.draw(st.sampled_from([0, 5, 500, 20_000])))
            case "theirs":
                traffic.theirs(stream, data.draw(st.sampled_from([0, 5, 500, 20_000])))
            case "credit":
                peer.h2.increment_flow_control_window(data.draw(st.integers(1, 40_000)), stream)
                traffic.take(peer.deliver())
            case "shared":
                peer.h2.increment_flow_control_window(data.draw(st.integers(1, 40_000)))
                traffic.take(peer.deliver())
            case "setting":
                peer.h2.update_settings({4: data.draw(st.sampled_from([0, 1, 700, 65535, 100_000]))})
                traffic.take(peer.deliver())
            case "pause":
                traffic.conns[stream].pause()
            case "resume":
                peer.hear(traffic.conns[stream].resume())
            case "push":
                traffic.push(stream, data.draw(st.sampled_from([None, 0, 17, 255])))
    # Open all windows, and all that waits must come.
    peer.h2.update_settings({4: 1 << 20})
    traffic.take(peer.deliver())
    peer.h2.increment_flow_control_window(1 << 24)
    for stream in streams:
        peer.h2.increment_flow_control_window(1 << 20, stream)
        traffic.take(peer.deliver())
        peer.hear(traffic.conns[stream].resume())
        traffic.push(stream)
    for stream in streams:
        assert traffic.conns[stream].buffered == 0
        assert traffic.heard(stream) == traffic.sent[stream]
        assert traffic.received[stream] == traffic.given[stream]
        assert traffic.credit(stream) in WIDTHS
    assert traffic.credit(0) == CONNECTION


def test_thousands_of_messages_lose_no_credit():
    traffic = Traffic(Role.SERVER, 65535, 3)
    peer, streams = traffic.peer, list(traffic.conns)
    for i in range(3000):
        stream = streams[i % 3]
        traffic.theirs(stream, i * 37 % 3000)
        traffic.ours(stream, i * 53 % 200)
        if i % 7 == 0:
            traffic.conns[stream].pause()
        if i % 7 == 5:
            for each in streams:
                peer.hear(traffic.conns[each].resume())
                traffic.push(each)
        if i % 20 == 0:
            peer.h2.increment_flow_control_window(30_000)
            for each in streams:
                peer.h2.increment_flow_control_window(10_000, each)
            traffic.take(peer.deliver())
    for each in streams:
        peer.hear(traffic.conns[each].resume())
        traffic.push(each)
    for each in streams:
        assert traffic.received[each] == traffic.given[each]
        assert traffic.heard(each) == traffic.sent[each]
        assert traffic.credit(each) in WIDTHS
    assert traffic.credit(0) == CONNECTION
    assert len(peer.of(h2.events.WindowUpdated)) < 2000
