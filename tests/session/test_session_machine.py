"""A driver with a fake clock as a machine: whatever peer and application do, and whenever, what is due is done, and all comes to its end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from session.test_session_drive import MANY, Held, Line
from wire import frame, opened

from mintws import Close, Failed, Http1, Http2, Ping, Role, State, Text
from mintws.events import Request, Response
from mintws.session import GRACE, Step, Timeouts
from mintws.session.linger import LINGER, QUIET

TIMEOUTS = st.builds(
    Timeouts,
    open_timeout=st.sampled_from([None, 0, 10]),
    close_timeout=st.sampled_from([0, 0.5, 5]),
    ping_interval=st.sampled_from([None, 20]),
    ping_timeout=st.sampled_from([None, 10]),
    idle_timeout=st.sampled_from([None, 0, 30]),
    half_closed_timeout=st.sampled_from([None, 0, 0.2]),
)
#: Calls of `expire` at one time, after which nothing may be due any more.
CALLS = 10
SENDING = (State.OPEN, State.REMOTE_CLOSING)


class Driver(Line):
    """A transport with what drivers do beside: a server answers requests, and a client parts from its only WebSocket."""

    def __init__(self, role, http, timeouts, half_closes):
        super().__init__(role, http, timeouts)
        self.half_closes = half_closes
        self.serves = role is Role.SERVER
        self.requests = []

    @property
    def shared(self):
        return self.multiplexed and self.serves

    @property
    def hears(self):
        return not self.lost and Step.CLOSE not in [it for _, it in self.steps]

    def write(self, data):
        if not (self.closing or self.lost):
            super().write(data)

    def handle(self, events):
        super().handle(events)
        if self.serves and self._session.awaits_requests:
            self.limit()

    def limit(self):
        """Set the time limits of requests, and of streams that the client has not ended."""
        if self.serves:
            self.obey(self._session.limit_half_closed(self.time, self))
            self.obey(self._session.limit_requests(self.time, self))

    def receive_ordinary(self, event):
        message = self.http.collect(event)
        if isinstance(message, Request):
            self.requests.append(message)

    def check_done(self, websocket):
        super().check_done(websocket)
        self.part(websocket)

    def abort(self, websocket):
        super().abort(websocket)
        self.part(websocket)

    def part(self, websocket):
        if not self.serves and websocket.connection.state is State.CLOSED:
            self.obey(self._session.part(self.time, self))

    def let_go(self, websocket):
        super().let_go(websocket)
        self.limit()

    def take_step(self, step):
        assert not self.lost, "nothing is due any more"
        assert step not in [it for _, it in self.steps], "each is taken once"
        if step is not Step.LET_GO:
            super().take_step(step)
        for websocket in list(self.websockets) if step is Step.LET_GO else ():
            self.let_go(websocket)

    def be_lost(self):
        self.lost = True
        self.lose()


class SessionMachine(RuleBasedStateMachine):
    """A transport, its WebSocket, and a peer of which no more comes than is told; subclasses say of which version and role."""

    carrier: type
    role: Role

    @initialize(timeouts=TIMEOUTS, half_closes=st.booleans())
    def begin(self, timeouts, half_closes):
        pair = opened(self.carrier)
        ours, self.theirs = (pair.server, pair.client) if self.role is Role.SERVER else (pair.client, pair.server)
        http, self.peer = pair.wire.server, pair.wire.client
        if self.role is Role.CLIENT:
            http, self.peer = self.peer, http
        self.line = Driver(self.role, http, timeouts, half_closes)
        self.websocket = Held(self.line, ours)
        self.session = self.websocket._session
        self.line.add(self.websocket)
        #: What the peer has written, and is not heard yet.
        self.coming = bytearray()
        self.peer_ended = False
        self.waiting = self.closers = 0
        self.status = {}

    # The clock.

    @rule(seconds=st.sampled_from([0, 0.01, 0.1, 0.5, 1, 3, 10, 60]))
    def wait(self, seconds):
        """Let the time pass; a timer that fires early does nothing."""
        end = self.line.time + seconds
        while (deadline := self.line._session.deadline) is not None and deadline <= end:
            self.line.time = max(self.line.time, deadline - 0.001)
            if self.line.time < deadline:
                known = self.known
                self.line.expire()
                assert self.known == known
            self.line.time = max(self.line.time, deadline)
            self.expire()
        self.line.time = end

    @rule(seconds=st.sampled_from([1, 10, 1000]))
    def oversleep(self, seconds):
        """Let the time pass with nobody to see to it, as when a machine sleeps."""
        self.line.time += seconds
        self.expire()

    def expire(self):
        """Do what is due, after which nothing is."""
        for _ in range(CALLS):
            deadline = self.line._session.deadline
            if deadline is None or deadline > self.line.time:
                return
            self.line.expire()
        raise AssertionError("something is still due")

    @property
    def known(self):
        """What an order changes."""
        return self.line.written, self.line.steps[:], self.session.deadline, self.websocket.connection.state

    # The peer.

    @rule()
    def peer_reads(self):
        """Have the peer read all, which answers Pings."""
        self.line._session.taken()
        self.line.unsent = 0
        events, reply = self.peer.receive(self.line.take_output())
        self.coming += reply
        self.owed = next((event for _, event in events if isinstance(event, (Close, Failed))), None)
        if self.owed is not None and self.theirs.state is State.REMOTE_CLOSING:
            self.coming += self.theirs.send(self.owed)

    @precondition(lambda self: self.theirs.state in SENDING)
    @rule(
        event=st.sampled_from([Text("hello"), Ping(b"ping"), Close(1001, "bye")]), times=st.sampled_from([1, 1, MANY])
    )
    def peer_says(self, event, times):
        for _ in range(1 if isinstance(event, Close) else times):
            self.coming += self.theirs.send(event)

    @precondition(lambda self: self.theirs.state in SENDING and self.carrier is Http1)
    @rule()
    def peer_breaks_a_rule(self):
        self.coming += frame(3)

    @precondition(
        lambda self: self.role is Role.SERVER and self.carrier is Http2 and self.peer.has_room and not self.peer.leaving
    )
    @rule()
    def peer_asks(self):
        self.coming += self.peer.request(Request("POST", "/", (("host", "a.example"),), bytes(100)))[1]

    @precondition(lambda self: self.coming and self.line.hears and not self.peer_ended)
    @rule(data=st.data())
    def hear(self, data):
        """Receive some of what the peer has written."""
        size = data.draw(st.integers(1, len(self.coming)))
        piece = bytes(self.coming[:size])
        del self.coming[:size]
        self.line.hear(piece)

    @precondition(lambda self: self.line.hears and not self.peer_ended)
    @rule()
    def peer_ends(self):
        """End the peer's half of the transport, of which the rest is lost unless it is still to be written."""
        self.peer_ended = True
        stays = self.line._session.receive_eof(self.line)
        self.line.hear(b"")
        if not (stays or self.line.lost):
            self.line.be_lost()

    @precondition(lambda self: not self.line.lost)
    @rule()
    def lose(self):
        self.line.be_lost()

    @precondition(lambda self: not self.line.lost)
    @rule(unsent=st.sampled_from([1000, 100_000]))
    def stop_reading(self, unsent):
        """Have the peer read no more of what was written."""
        self.line.unsent = unsent

    # The application.

    @rule(code=st.sampled_from([1000, 4000]), waits=st.booleans())
    def close(self, code, waits):
        self.websocket._begin_close(code)
        if waits:
            self.closers += 1
            self.session.begin_close(self.line.time, self.websocket)
            self.websocket._obey(None)

    @precondition(lambda self: self.closers)
    @rule()
    def stop_closing(self):
        self.closers -= 1
        self.session.end_close()
        self.websocket._obey(None)

    @rule()
    def await_end(self):
        self.waiting += 1
        self.websocket._obey(self.session.begin_wait(self.line.time, self.websocket))

    @precondition(lambda self: self.waiting)
    @rule()
    def stop_awaiting_end(self):
        self.waiting -= 1
        self.websocket._obey(self.session.end_wait())

    @rule(most=st.sampled_from([1, MANY]))
    def take(self, most):
        """Take messages, and wait for more if there is none."""
        for _ in range(most):
            paused = self.websocket._paused
            if self.websocket._pop() is None:
                self.websocket._awaited = True
                self.websocket._answer()
                return
            self.websocket._awaited, self.websocket._owes_answer = False, True
            if paused and not self.websocket._paused:
                self.websocket._resume()

    @precondition(lambda self: self.websocket.state in SENDING)
    @rule(ping=st.booleans())
    def say(self, ping):
        if ping:
            self.websocket._send_ping()
        else:
            self.websocket._owes_answer = False
            self.websocket.connection.send(Text("answer"))
            self.websocket._flush()

    @precondition(lambda self: self.line.requests)
    @rule()
    def respond(self):
        request = self.line.requests.pop()
        self.line.write(self.line.http.respond(request, Response(200, body=b"a page")))
        if self.line.unsent:
            self.line.obey(self.line._session.await_room(self.line.time, self.line))
        self.line.proceed()
        self.line.limit()

    @rule(way=st.sampled_from(["leave the WebSocket", "abort", "leave", "close"]))
    def end(self, way):
        if way == "leave the WebSocket":
            self.websocket._leave()
        elif way != "abort":
            getattr(self.line, way)()
        elif not self.line.left(self.websocket):
            self.line.abort(self.websocket)

    # What holds.

    @invariant()
    def close_status_is_set_once(self):
        if not hasattr(self, "line"):
            return
        ending = self.websocket.ending
        now = {"sent": ending.sent, "received": ending.received, "error": ending.error}
        if self.session.is_over:
            now["code"] = self.websocket.close_code
            assert now["code"] is not None
        for name, value in self.status.items():
            assert now[name] is value or (name == "code" and now[name] == value), name
        self.status = {name: value for name, value in now.items() if value is not None}

    @invariant()
    def timer_is_not_late(self):
        """The timer of the transport fires at the first deadline of its WebSocket, or before."""
        if hasattr(self, "line") and self.session.deadline is not None:
            assert self.line._session.deadline <= self.session.deadline

    @invariant()
    def nothing_is_due_after_the_end(self):
        if hasattr(self, "line") and self.session.is_over:
            assert self.session.deadline is None
            assert self.session.expire(self.line.time + 1000, self.websocket) is None

    def teardown(self):
        """The peer is silent for ever: the keepalive ends the WebSocket, and where the application leaves, all comes to its end."""
        if not hasattr(self, "line"):
            return
        line, timeouts = self.line, self.line._session.timeouts
        self.expire()
        if (
            None not in (timeouts.ping_interval, timeouts.ping_timeout)
            and not self.websocket._waiting
            and not line.requests
        ):
            self.wait(timeouts.ping_interval + 4 * timeouts.ping_timeout + timeouts.close_timeout + LINGER)
            assert not line.websockets
        if timeouts.half_closed_timeout is not None:
            self.wait(2 * timeouts.half_closed_timeout)
            assert line.closing or not line.http.half_closed
        line.requests.clear()
        self.websocket._leave()
        line.leave()
        while self.waiting:
            self.stop_awaiting_end()
        self.wait(3 * (timeouts.close_timeout + GRACE) + LINGER + QUIET)
        assert line.lost or not line.http.done, "what is done is left"
        line.close()
        self.wait(timeouts.close_timeout + LINGER + QUIET)
        assert line.lost
        assert not line.websockets
        assert self.session.is_over
        assert line._session.deadline is None
        self.close_status_is_set_once()
        self.nothing_is_due_after_the_end()


BOUNDS = settings(stateful_step_count=25)
for carrier in (Http1, Http2):
    for role in Role:
        name = f"{carrier.__name__}{role.name.title()}Machine"
        machine = type(name, (SessionMachine,), {"carrier": carrier, "role": role})
        globals()[name] = machine
        globals()[f"Test{name}"] = machine.TestCase
        machine.TestCase.settings = BOUNDS
