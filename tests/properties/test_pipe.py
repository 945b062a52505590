"""Both roles joined by a pipe that is cut anywhere, as a machine: whatever they do, nothing raises, nothing is lost, and turns are bounded."""

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import payloads, texts

from mintws import Binary, Close, Failed, Http1, Http2, Ping, Pong, Role, State, Text, UpgradeAccept, UpgradeRequest
from mintws.extensions import PerMessageDeflate

#: What a turn of the side that asks for turns has time for.
TURN = 50_000
#: Of which so much at most is one event that cannot be divided, and so many fit.
MOST_EVENTS = TURN // 512 + 1

messages = st.one_of(st.builds(Text, texts), st.builds(Binary, payloads))
BULKS = {"empty": Text(""), "large": Binary(bytes(20_000)), "ping": Ping(b"x")}


class Side:
    """One end, what it has been sent and not given yet, and what it has seen of each WebSocket."""

    def __init__(self, http):
        self.http = http
        self.unread = bytearray()
        self.seen = defaultdict(list)
        self.handshakes = []

    def receive(self, data):
        """Take bytes; give what is to be written."""
        events, reply = self.http.receive(data)
        return self.note(events) + reply

    def note(self, events):
        for connection, event in events:
            if connection is None:
                continue
            if isinstance(event, UpgradeRequest):
                self.handshakes.append(connection)
            elif not isinstance(event, (UpgradeAccept, Pong)):
                self.seen[connection].append(event)
        return b""


class Pipe(RuleBasedStateMachine):
    """Two ends; subclasses say of which version."""

    carrier: type
    most = 1

    @initialize(deflate=st.booleans(), turns=st.booleans())
    def begin(self, deflate, turns):
        self.client, self.server = Side(self.carrier(Role.CLIENT)), Side(self.carrier(Role.SERVER))
        self.extensions = [PerMessageDeflate()] if deflate else []
        self.bounded = turns and self.carrier is Http2
        #: Pairs of a WebSocket's two ends, the client's first; the server's is `None` until it is answered.
        self.pairs = []
        #: What each end was told to send, behind the handshake.
        self.sent = defaultdict(list)
        for side, other in ((self.client, self.server), (self.server, self.client)):
            other.unread += side.http.start()
        self.carry_all()
        self.open()
        self.carry_all()
        self.accept()
        self.carry_all()

    def other(self, side):
        return self.server if side is self.client else self.client

    def ends(self):
        """Give each open end, with its side."""
        for ours, theirs in self.pairs:
            yield self.client, ours
            if theirs is not None:
                yield self.server, theirs

    @rule(data=st.data())
    def carry(self, data):
        """Bring some of what waits, cut anywhere, to one side."""
        side = data.draw(st.sampled_from([self.client, self.server]))
        size = data.draw(st.integers(1, max(1, len(side.unread))))
        self.bring(side, size)

    @rule()
    def carry_all(self):
        """Bring all that waits, until nothing does."""
        while self.client.unread or self.server.unread:
            for side in (self.client, self.server):
                self.bring(side, len(side.unread))

    def bring(self, side, size):
        piece = bytes(side.unread[:size])
        del side.unread[:size]
        if not piece:
            return
        other = self.other(side)
        if self.bounded:
            side.http._data_receiver.begin_turn(TURN)
        events, reply = side.http.receive(piece)
        self.take(side, events, reply)
        while self.bounded and side.http._data_receiver.behind:
            side.http._data_receiver.begin_turn(TURN)
            self.take(side, *side.http._catch_up())
        events, reply = side.http.proceed()
        side.note(events)
        other.unread += reply

    def take(self, side, events, reply):
        if self.bounded:
            assert len(events) <= MOST_EVENTS
        side.note(events)
        self.other(side).unread += reply

    @precondition(lambda self: len(self.pairs) < self.most)
    @rule()
    def open(self):
        connection = self.client.http.open()
        self.server.unread += connection.send(UpgradeRequest("example.com", extensions=self.extensions))
        self.pairs.append((connection, None))

    @precondition(lambda self: self.server.handshakes)
    @rule()
    def accept(self):
        connection = self.server.handshakes.pop(0)
        self.client.unread += connection.send(UpgradeAccept(extensions=self.extensions))
        index = next(i for i, (_, theirs) in enumerate(self.pairs) if theirs is None)
        self.pairs[index] = (self.pairs[index][0], connection)
        events, reply = self.server.http.proceed()
        self.server.note(events)
        self.client.unread += reply

    @rule(data=st.data(), message=messages, compress=st.sampled_from([None, True, False]))
    def say(self, data, message, compress):
        self.send(data, [message], compress)

    @rule(data=st.data(), one=st.sampled_from(sorted(BULKS)), count=st.integers(1, 400))
    def say_much(self, data, one, count):
        self.send(data, [BULKS[one]] * (count % 8 + 1 if one == "large" else count), None)

    def send(self, data, events, compress):
        able = [(side, it) for side, it in self.ends() if it.state in (State.OPEN, State.REMOTE_CLOSING)]
        if not able:
            return
        side, connection = data.draw(st.sampled_from(able))
        for event in events:
            self.other(side).unread += connection.send(event, compress=compress)
        self.sent[connection] += events

    @rule(data=st.data(), code=st.sampled_from([1000, 1001, 3000]))
    def close(self, data, code):
        able = [(side, it) for side, it in self.ends() if it.state in (State.OPEN, State.REMOTE_CLOSING)]
        if able:
            side, connection = data.draw(st.sampled_from(able))
            event = Close(code, "")
            self.other(side).unread += connection.send(event)
            self.sent[connection].append(event)

    @invariant()
    def nothing_is_lost_or_changed(self):
        """What one end has seen is the beginning of what the other was told to send."""
        for ours, theirs in self.pairs if hasattr(self, "pairs") else ():
            for seen, sent in ((self.client.seen[ours], theirs), (self.server.seen[theirs], ours)):
                told = self.sent[sent] if sent is not None else []
                shown = [event for event in seen if not isinstance(event, Failed)]
                assert [repr(it) for it in shown] == [repr(it) for it in told[: len(shown)]]
                assert all(event.error.code == 1006 for event in seen if isinstance(event, Failed))

    def teardown(self):
        """All that is on its way arrives; then each end has seen all that the other has sent while both could hear."""
        if not hasattr(self, "pairs"):
            return
        while self.server.handshakes:
            self.accept()
        self.carry_all()
        while self.server.handshakes:
            self.accept()
        self.carry_all()
        for ours, theirs in self.pairs:
            if theirs is None or State.CLOSED in (ours.state, theirs.state):
                continue
            assert len(self.client.seen[ours]) == len(self.sent[theirs])
            assert len(self.server.seen[theirs]) == len(self.sent[ours])
            assert ours.undelivered_bytes == theirs.undelivered_bytes == 0
            assert ours.buffered == theirs.buffered == 0


class PipeOfHttp1(Pipe):
    carrier = Http1


class PipeOfHttp2(Pipe):
    carrier = Http2
    most = 5


BOUNDS = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestPipeOfHttp1 = PipeOfHttp1.TestCase
TestPipeOfHttp1.settings = BOUNDS
TestPipeOfHttp2 = PipeOfHttp2.TestCase
TestPipeOfHttp2.settings = BOUNDS
