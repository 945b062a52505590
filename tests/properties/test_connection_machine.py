"""Both ends of a connection as a machine: whatever they do, and however what they write is cut, nothing raises and nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import h11
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from strategies import payloads, texts
from wire import H2_PING, frame, h2_frame

from mintws import (
    Binary,
    Close,
    Connection,
    Failed,
    Http1,
    Http2,
    LocalProtocolError,
    Ping,
    Pong,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.connection import closing
from mintws.events import Request, Response
from mintws.extensions import PerMessageDeflate

#: What a turn of an end that is asked for turns has time for, and how many events, of which none can be divided, fit at most.
TURN = 50_000
MOST_EVENTS = TURN // 512 + 1

SENDING = (State.OPEN, State.REMOTE_CLOSING)
#: Of a Pong that answers nothing.
OWN = b"own"
BULKS = {"empty": Text(""), "large": Binary(bytes(20_000)), "ping": Ping(b"x")}
SIDES = st.sampled_from(["client", "server"])
fragments = st.one_of(st.lists(texts, min_size=1, max_size=3), st.lists(payloads, min_size=1, max_size=3))


class End:
    """One end of one WebSocket: what it was told to send, what it has given, and what the application owes."""

    def __init__(self, side: Side, talk: Talk) -> None:
        self.side = side
        self.talk = talk
        self.connection: Connection | None = None
        self.sent: list[Any] = []
        self.seen: list[Any] = []
        self.pongs: list[bytes] = []
        self.owed: Close | Failed | None = None

    @property
    def state(self) -> State | None:
        return None if self.connection is None else self.connection.state

    def note(self, event: Any) -> None:
        """Check and keep an event."""
        assert not (self.seen and isinstance(self.seen[-1], (Close, Failed, UpgradeReject))), "an end is the last event"
        if isinstance(event, Pong) and not event.data.startswith(OWN):
            self.pongs.append(event.data)
            return
        if isinstance(event, Failed):
            assert self.talk.cut, event.error
            assert event.error.code == 1006 or self.side.garbled
            if self.connection.carrier.unprocessed:
                assert self.talk.server.connection is None or self.talk.refused
        if isinstance(event, (Close, Failed)):
            self.owed = event
        if isinstance(event, UpgradeReject):
            event = UpgradeReject(event.status, body=event.body)
        self.seen.append(event)

    def send(self, *events: Any, compress: bool | None = None) -> None:
        assert self.connection is not None
        for event in events:
            self.side.write(self.connection.send(event, compress=compress))
            self.sent.append(event)


class Talk:
    """One WebSocket; `cut` says that it may end without a closing handshake, `refused` that the server has refused to process it."""

    def __init__(self, client: Side, server: Side, number: int) -> None:
        self.target = f"/{number}"
        self.cut = self.refused = False
        self.client, self.server = End(client, self), End(server, self)
        self.ends = ((self.client, self.server), (self.server, self.client))


class Side:
    """One end of the transport: the bytes on their way to it, and whether its own half, the peer's half, and its connection have ended."""

    peer: Side

    def __init__(self, http: Http1 | Http2) -> None:
        self.http = http
        self.unread = bytearray()
        self.closed = False
        self.ended = False
        self.done = False
        self.garbled = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.peer.unread += data

    @property
    def usable(self) -> bool:
        """Whether requests may be made."""
        return not (self.closed or self.http.done or self.http.leaving)


def joined(events: Sequence[Any]) -> list[Any]:
    """Make whole messages of fragments and of parts; the last may have only begun, and is left out."""
    whole, parts = [], []
    for event in events:
        if not isinstance(event, (Text, Binary)):
            whole.append(event)
            continue
        parts.append(event.data)
        if event.fin:
            whole.append(type(event)(parts[0][:0].join(parts)))
            parts.clear()
    return whole


def size(event: Text | Binary) -> int:
    return len(event.data.encode() if isinstance(event, Text) else event.data)


class ConnectionMachine(RuleBasedStateMachine):
    """A client and a server; subclasses say of which version."""

    carrier: type
    most = 1
    #: What fails the connection.
    garbage: bytes

    @initialize(
        deflate=st.booleans(),
        turns=st.booleans(),
        parts=st.booleans(),
        cuts=st.sampled_from([False, False, True]),
        leaves=st.booleans(),
    )
    def begin(self, deflate, turns, parts, cuts, leaves):
        self.client, self.server = (Side(self.carrier(role, parts=parts)) for role in (Role.CLIENT, Role.SERVER))
        self.client.peer, self.server.peer = self.server, self.client
        self.extensions = [PerMessageDeflate()] if deflate else []
        self.turns = turns and self.carrier is Http2
        #: Whether anything may end without a closing handshake, and whether one side may take no more requests.
        self.cuts, self.leaves = cuts, leaves
        self.numbers = count(1)
        self.talks: list[Talk] = []
        #: WebSockets and requests that the server has not answered.
        self.handshakes: list[Talk] = []
        self.asked: list[Request] = []
        #: The bodies of requests by their numbers, these by their streams, which may yet be answered, and which will be.
        self.bodies: dict[int, bytes] = {}
        self.streams: dict[int, int] = {}
        self.answerable: set[int] = set()
        self.unanswered: set[int] = set()
        for side in (self.client, self.server):
            side.write(side.http.start())
        self.carry_all()
        self.open()
        self.carry_all()
        self.accept()

    # The transport.

    @rule(name=SIDES, data=st.data())
    def carry(self, name, data):
        """Bring some of what is on its way, cut anywhere, to one side."""
        side = getattr(self, name)
        self.bring(side, data.draw(st.integers(1, max(1, len(side.unread)))))

    @rule()
    def carry_all(self):
        """Bring all that is on its way, and what follows from it."""
        while self.bring(self.client, len(self.client.unread)) | self.bring(self.server, len(self.server.unread)):
            pass

    def bring(self, side, most):
        """Bring so many bytes to a side, or their end; give whether there was something to bring."""
        if side.ended or not ((side.http.reading and side.unread) or (side.peer.closed and not side.unread)):
            return False
        piece = bytes(side.unread[:most])
        del side.unread[:most]
        side.ended = not piece
        if self.turns:
            side.http._data_receiver.begin_turn(TURN)
        self.take(side, side.http.receive(piece))
        while self.turns and side.http._data_receiver.behind:
            side.http._data_receiver.begin_turn(TURN)
            self.take(side, side.http._catch_up())
        self.proceed(side)
        return True

    def take(self, side, received):
        events, reply = received
        assert not self.turns or side.ended or len(events) <= MOST_EVENTS
        side.write(reply)
        for connection, event in events:
            if connection is None:
                self.take_ordinary(side, event)
                continue
            if isinstance(event, UpgradeRequest):
                [talk] = [it for it in self.talks if it.target == event.target]
                assert talk.server.connection is None
                talk.server.connection = connection
                self.handshakes.append(talk)
            [end] = [end for talk in self.talks for end, _ in talk.ends if end.connection is connection]
            if not isinstance(event, (UpgradeRequest, UpgradeAccept)):
                end.note(event)

    def take_ordinary(self, side, event):
        message = side.http.collect(event)
        if isinstance(message, Request):
            assert message.body == self.bodies[int(message.target[1:])]
            self.asked.append(message)
        elif isinstance(message, Response):
            number = int(dict(message.headers)["number"])
            assert number in self.answerable, "each request is answered once, unless it was taken back"
            assert message.body == self.bodies[number]
            self.answerable.remove(number)
            self.unanswered.discard(number)

    def proceed(self, side):
        self.take(side, side.http.proceed())

    @precondition(lambda self: self.client.http.done or self.server.http.done)
    @rule()
    def close_when_done(self):
        """End the transport where the connection is done, which cuts nothing."""
        for side in (self.client, self.server):
            side.closed = side.closed or side.http.done

    @precondition(lambda self: self.cuts)
    @rule(name=SIDES)
    def end_half(self, name):
        """End one half of the transport."""
        getattr(self, name).closed = True
        self.cut_all()

    @precondition(lambda self: self.cuts)
    @rule(data=st.data())
    def lose(self, data):
        """End the transport with what is on its way."""
        for side in (self.client, self.server):
            del side.unread[data.draw(st.integers(0, len(side.unread))) :]
            side.closed = True
        self.cut_all()

    @precondition(
        lambda self: self.cuts and self.talks[0].client.state in SENDING and self.talks[0].server.state in SENDING
    )
    @rule(name=SIDES)
    def garble(self, name):
        """Break a rule of framing, behind all that one side has written."""
        side = getattr(self, name)
        if side.closed:
            return
        side.write(self.garbage)
        side.peer.garbled = True
        self.cut_all()

    def cut_all(self):
        for talk in self.talks:
            talk.cut = True
        self.unanswered.clear()

    @property
    def reaches_server(self):
        """Whether a request that is sent now is answered."""
        server = self.server
        return not (server.closed or server.http.leaving or server.garbled or self.client.garbled)

    # The opening handshake.

    @precondition(lambda self: len(self.talks) < self.most and self.client.usable)
    @rule()
    def open(self):
        talk = Talk(self.client, self.server, next(self.numbers))
        talk.client.connection = self.client.http.open()
        talk.cut = not self.reaches_server
        self.client.write(
            talk.client.connection.send(UpgradeRequest("a.example", talk.target, extensions=self.extensions))
        )
        self.talks.append(talk)

    @precondition(lambda self: self.handshakes)
    @rule()
    def accept(self):
        end = self.handshakes.pop(0).server
        self.server.write(end.connection.send(UpgradeAccept(extensions=self.extensions)))
        self.proceed(self.server)

    @precondition(lambda self: self.handshakes)
    @rule(status=st.sampled_from([401, 503]))
    def reject(self, status):
        talk = self.handshakes.pop(0)
        self.server.write(talk.server.connection.send(UpgradeReject(status, body=b"no")))
        talk.server.sent.append(UpgradeReject(status, body=b"no"))
        self.proceed(self.server)

    # Messages.

    def able(self, states=SENDING):
        return [end for talk in self.talks for end, _ in talk.ends if end.state in states]

    @precondition(lambda self: self.able())
    @rule(data=st.data(), contents=fragments, compress=st.sampled_from([None, True, False]), pings=st.booleans())
    def say(self, data, contents, compress, pings):
        """Send a message whole or in fragments, and Pings between them."""
        end = data.draw(st.sampled_from(self.able()))
        kind = Text if isinstance(contents[0], str) else Binary
        for index, content in enumerate(contents):
            fin = index == len(contents) - 1
            end.send(kind(content, fin), compress=compress if len(contents) == 1 else None)
            if pings and not fin:
                end.send(Ping(b"%d" % next(self.numbers)))

    @precondition(lambda self: self.able())
    @rule(data=st.data(), name=st.sampled_from(sorted(BULKS)), times=st.integers(1, 400))
    def say_much(self, data, name, times):
        end = data.draw(st.sampled_from(self.able()))
        end.send(*[BULKS[name]] * (times % 8 + 1 if name == "large" else times))

    @precondition(lambda self: self.able())
    @rule(data=st.data(), pong=st.booleans())
    def ping(self, data, pong):
        end = data.draw(st.sampled_from(self.able()))
        number = b"%d" % next(self.numbers)
        end.send(Pong(OWN + number) if pong else Ping(number))

    @precondition(lambda self: self.able())
    @rule(data=st.data(), code=st.sampled_from([1000, 1001, 3000, None]))
    def close(self, data, code):
        """Close; what was not whole never becomes so."""
        data.draw(st.sampled_from(self.able())).send(Close(code, "" if code is None else "bye"))

    @rule(data=st.data())
    def answer(self, data):
        """Answer a Close, or a fault."""
        owing = [end for talk in self.talks for end, _ in talk.ends if end.owed is not None]
        if not owing:
            return
        end = data.draw(st.sampled_from(owing))
        event, end.owed = end.owed, None
        if isinstance(event, Close) and end.state is State.REMOTE_CLOSING:
            end.send(event)
        elif isinstance(event, Failed):
            # The answers to earlier events come first.
            if end.side is self.server and end.talk in self.handshakes:
                self.handshakes.remove(end.talk)
            if end.state is State.REMOTE_CLOSING:
                end.sent.append(closing(event))
            end.side.write(end.connection.send(event))
            assert end.state is State.CLOSED

    @precondition(lambda self: self.able((State.CLOSING, State.CLOSED)))
    @rule(data=st.data(), event=st.sampled_from([Text("late"), Ping(b"late"), Close(1000)]))
    def say_too_late(self, data, event):
        """Nothing is sent after a Close, or to nobody."""
        end = data.draw(st.sampled_from(self.able((State.CLOSING, State.CLOSED))))
        before = end.connection.counters, end.state
        try:
            written = end.connection.send(event)
        except LocalProtocolError:
            written = b""
        assert (written, (end.connection.counters, end.state)) == (b"", before)

    @precondition(lambda self: self.cuts and self.able((State.REQUESTED, *SENDING, State.CLOSING)))
    @rule(data=st.data(), way=st.sampled_from(["abort", "refuse"]))
    def abort(self, data, way):
        """End a WebSocket without a closing handshake, or take back its request."""
        end = data.draw(st.sampled_from(self.able((State.REQUESTED, *SENDING, State.CLOSING))))
        end.talk.cut = True
        if end.talk in self.handshakes and end is end.talk.server:
            self.handshakes.remove(end.talk)
            end.talk.refused = way == "refuse"
            end.side.write(getattr(end.connection, way)())
        else:
            end.side.write(end.connection.abort())
        assert end.state is State.CLOSED

    @rule(data=st.data(), pauses=st.booleans())
    def pause(self, data, pauses):
        ends = [end for talk in self.talks for end, _ in talk.ends if end.state in (*SENDING, State.CLOSING)]
        if ends:
            end = data.draw(st.sampled_from(ends))
            if pauses:
                end.connection.pause()
            else:
                end.side.write(end.connection.resume())
            assert end.side.http.reading is (not pauses or self.carrier is Http2)

    # Ordinary requests, and the end of all.

    def ask(self, request):
        """Give the number of the stream of a request, and its bytes."""
        raise NotImplementedError

    @property
    def can_ask(self):
        raise NotImplementedError

    @precondition(lambda self: self.client.usable and self.can_ask)
    @rule(body=payloads)
    def request(self, body):
        number = next(self.numbers)
        stream, written = self.ask(Request("POST", f"/{number}", (("Host", "a.example"),), body))
        self.streams[stream] = number
        self.bodies[number] = body
        self.answerable.add(number)
        if self.reaches_server:
            self.unanswered.add(number)
        self.client.write(written)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def respond(self, data):
        self.respond_to(data.draw(st.sampled_from(self.asked)))

    def respond_to(self, request):
        self.asked.remove(request)
        number = request.target[1:]
        headers = (("number", number),)
        self.server.write(self.server.http.respond(request, Response(200, headers, self.bodies[int(number)])))
        self.proceed(self.server)

    @precondition(lambda self: self.leaves)
    @rule(name=SIDES)
    def shut_down(self, name):
        """Accept or make no more requests; what is open goes on."""
        side = getattr(self, name)
        side.write(side.http.shutdown())
        for talk in self.talks:
            talk.cut = talk.cut or talk.client.state is State.REQUESTED or talk.server.state is State.REQUESTED
        self.unanswered.clear()

    # What holds.

    @invariant()
    def nothing_is_lost_or_changed(self):
        """What one end has seen is the beginning of what the other was told to send, and each Pong answers a Ping."""
        for talk in getattr(self, "talks", ()):
            for end, other in talk.ends:
                seen, sent = joined(end.seen), joined(other.sent)
                if seen and isinstance(seen[-1], Failed):
                    seen.pop()
                assert list(map(repr, seen)) == list(map(repr, sent[: len(seen)]))
                pings = iter([event.data for event in end.sent if isinstance(event, Ping)])
                assert all(pong in pings for pong in end.pongs), "a Pong answers a Ping, in their order"

    @invariant()
    def counters_count(self):
        for end in self.able(list(State)) if hasattr(self, "talks") else ():
            seen, sent = ([it for it in events if isinstance(it, (Text, Binary))] for events in (end.seen, end.sent))
            counters = end.connection.counters
            assert counters.messages_sent == sum(event.fin for event in sent)
            assert counters.bytes_sent == sum(map(size, sent))
            assert counters.messages_received == sum(event.fin for event in seen)
            assert counters.bytes_received >= sum(map(size, seen))

    @invariant()
    def what_is_done_stays_so(self):
        for side in (self.client, self.server) if hasattr(self, "talks") else ():
            assert side.http.done or not side.done
            side.done = side.http.done

    def teardown(self):
        """All is answered and arrives; what was not cut is whole on both sides, and nothing is left over."""
        if not hasattr(self, "talks"):
            return
        for end in self.able((*SENDING, State.CLOSING)):
            end.side.write(end.connection.resume())
        self.carry_all()
        while self.handshakes or self.asked:
            while self.handshakes:
                self.accept()
            for request in list(self.asked):
                self.respond_to(request)
            self.carry_all()
        for _ in (self.client, self.server):
            self.close_when_done()
            self.carry_all()
        self.nothing_is_lost_or_changed()
        self.counters_count()
        assert not self.unanswered
        for talk in self.talks:
            assert talk.client.state is not State.REQUESTED, "each handshake has an answer"
            if not talk.cut:
                self.check_whole(talk)
        for side in (self.client, self.server):
            if side.ended:
                assert side.http.done
                states = [end.state for talk in self.talks for end, _ in talk.ends if end.side is side]
                assert not {State.OPEN, State.CLOSING} & {*states}
                assert side.http.receive(b"late") == ([], b"")
                assert side.http.receive(b"") == ([], b"")

    def check_whole(self, talk):
        for end, other in talk.ends:
            assert len(joined(end.seen)) == len(joined(other.sent))
            assert end.connection.undelivered_bytes == end.connection.buffered == 0
            if other.state in SENDING:
                # Behind a Close there may still be Pongs, which nobody reads.
                assert end.connection.counters.frames_received == other.connection.counters.frames_sent
            assert end.connection.counters.bytes_received == other.connection.counters.bytes_sent


class Http1Machine(ConnectionMachine):
    carrier = Http1
    garbage = frame(3)

    @property
    def can_ask(self):
        http = self.client.http
        return not http._switched and {http.h11.our_state, http.h11.their_state} in ({h11.DONE}, {h11.IDLE})

    def ask(self, request):
        http = self.client.http
        if http.h11.our_state is h11.DONE:
            http.h11.start_next_cycle()
        head = h11.Request(
            method="POST",
            target=request.target,
            headers=[*request.headers, ("Content-Length", str(len(request.body)))],
        )
        return 0, b"".join(map(http.h11.send, (head, h11.Data(data=request.body), h11.EndOfMessage())))


class Http2Machine(ConnectionMachine):
    carrier = Http2
    most = 4
    garbage = h2_frame(H2_PING, 0, 0, b"short")

    @property
    def can_ask(self):
        return self.client.http.has_room

    def ask(self, request):
        return self.client.http.request(request)

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def cancel(self, data):
        """Take a request back, whose response may be on its way."""
        number = data.draw(st.sampled_from(sorted(self.unanswered)))
        self.unanswered.remove(number)
        self.answerable.remove(number)
        [stream] = [stream for stream, it in self.streams.items() if it == number]
        self.client.write(self.client.http.cancel(stream))


BOUNDS = settings(stateful_step_count=25)
TestHttp1 = Http1Machine.TestCase
TestHttp1.settings = BOUNDS
TestHttp2 = Http2Machine.TestCase
TestHttp2.settings = BOUNDS
