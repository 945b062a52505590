"""`broadcast`, and `send_nowait` for one WebSocket, for threads: any of them sends, at once or not at all, and waits for no peer."""

from __future__ import annotations

import contextlib
import threading

import pytest
from sync.conftest import SOON, by_hand, listening, until, url

from mintws import (
    Agreed,
    Binary,
    Close,
    ConnectionClosed,
    Extension,
    LocalProtocolError,
    Offer,
    PerMessageDeflate,
    Ping,
    PreparedMessage,
    SendBufferFull,
    Text,
    Transform,
)
from mintws.sync import broadcast, connect, connect_http2

MIB = 1 << 20
KINDS = [
    ("text", "text"),
    (b"", b""),
    (bytearray(b"bytearray"), b"bytearray"),
    (Text(b"event"), "event"),
    (Binary(b"event"), b"event"),
    (PreparedMessage(Text("prepared")), "prepared"),
    (b"x" * 100_000, b"x" * 100_000),
    ("mint tea " * 50, "mint tea " * 50),
]
WRONG = [5, None, {"a": 1}, ["in", "fragments"], Ping(b""), Close(1000), Text("a", fin=False), "\ud800", Text(b"\xff")]


@contextlib.contextmanager
def room(http="1.1", count=3, *, tls_contexts=(None, None), extensions=None, **options):
    """Serve clients; give the server, its WebSockets and the clients."""
    members = []
    theirs, ours = tls_contexts

    def handler(websocket):
        members.append(websocket)
        websocket.wait_closed()

    named = {} if extensions is None else {"extensions": extensions}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listening(handler, ssl=theirs, **named, **options))
        address = f"wss://localhost:{server.port}" if ours else url(server)
        clients = []
        for number in range(count):
            clients.append(stack.enter_context(connect(address, http=http, ssl=ours, host="127.0.0.1", **named)))
            until(lambda number=number: len(members) > number)
        yield server, members, clients


def taken(clients):
    return [client.recv(SOON) for client in clients]


def fill(websocket, size=64 * 1024, most=64 * MIB):
    """Send on a WebSocket whose peer does not read until bytes wait in this process."""
    for _ in range(most // size):
        websocket.send_nowait(b"x" * size, max_unsent=most)
        if websocket.unsent > MIB:
            return
    raise AssertionError("the system takes all")


@pytest.mark.parametrize("tls", [False, True])
def test_all_get_each_message_once_and_in_order(http, tls, tls_contexts):
    with room(http, tls_contexts=tls_contexts if tls else (None, None)) as (_, members, clients):
        for message, _ in KINDS:
            result = broadcast([*members, *members], message)
            assert (result.sent, result.skipped, result.closed, result.gone) == (members, [], [], [])
        for _, expected in KINDS:
            assert taken(clients) == [expected] * len(clients)
        for message, expected in KINDS:
            for sending, receiving in ((members[0], clients[0]), (clients[0], members[0])):
                assert sending.send_nowait(message) is None
                assert receiving.recv(SOON) == expected
        assert members[1].counters.messages_sent == len(KINDS)


def test_threads_broadcast_and_send_at_the_same_time(http, works):
    """Compressed messages refer to earlier ones: bytes out of order would be corrupt."""
    text = "mint tea for everyone, " * 20

    def tell(name):
        for number in range(40):
            broadcast(members, f"{name} {number} {text}")
            for member in members:
                member.send_nowait(f"{name} nowait {number} {text}")
                member.send(f"{name} own {number} {text}")

    with room(http) as (_, members, clients):
        for name in "abcd":
            works.begin(tell, name)
        expected = [f"{kind}{number} {text}" for number in range(40) for kind in ("", "nowait ", "own ")]
        for client in clients:
            messages = [client.recv(SOON) for _ in range(4 * len(expected))]
            for name in "abcd":
                assert [it[2:] for it in messages if it[0] == name] == expected


def test_a_reader_that_stops_delays_no_other(http):
    with room(http, extensions=()) as (server, members, clients), by_hand(server, http):
        until(lambda: len(members) == 4)
        slow, message, skipped = members[-1], b"x" * 100_000, 0
        for _ in range(200):
            result = broadcast(server.websockets, message, max_unsent=MIB)
            assert set(result.sent) | set(result.skipped) == set(members) and set(result.skipped) <= {slow}
            skipped += len(result.skipped)
            assert taken(clients) == [message] * 3
        # The system takes some MiB for it.
        assert skipped > 100


def test_who_is_slow_is_skipped_told_of_or_closed(http):
    with room(http, extensions=(), close_timeout=0.2) as (server, members, clients), by_hand(server, http):
        until(lambda: len(members) == 4)
        slow = members[-1]
        fill(slow)
        sent, told = slow.counters.messages_sent, []
        assert broadcast(members, "news").skipped == [slow]
        assert broadcast(members, "more", slow=told.append).skipped == told == [slow]
        with pytest.raises(SendBufferFull, match=r"bytes wait.*more than 5") as full:
            slow.send_nowait("one", max_unsent=5)
        assert full.value.max_unsent == 5
        assert slow.counters.messages_sent == sent

        def broken(websocket):
            raise RuntimeError("what slow does")

        with pytest.raises(RuntimeError, match="what slow does"):
            broadcast(members, "even more", slow=broken)
        result = broadcast(members, "last", slow=Close(4001, "later"))
        assert (result.sent, result.skipped, result.closed, result.gone) == (members[:3], [], [slow], [])
        assert slow.ending.sent == Close(4001, "later")
        assert broadcast([slow], "late").gone == [slow]
        with pytest.raises(ConnectionClosed):
            slow.send_nowait("late")
        # It takes nothing, the Close neither.
        slow.wait_closed(SOON)
        for message in ("news", "more", "even more", "last"):
            assert taken(clients) == [message] * 3


def test_those_that_have_ended_are_gone(http):
    with room(http, 4) as (_, members, clients):
        ours, theirs, lost, open_ = members
        ours.close()
        clients[1].close()
        theirs.wait_closed(SOON)
        lost.transport.cut()
        result = broadcast(members, "news")
        assert (result.sent, result.skipped, result.closed, result.gone) == ([open_], [], [], [ours, theirs, lost])
        assert clients[3].recv(SOON) == "news"
        for gone in result.gone:
            with pytest.raises(ConnectionClosed):
                gone.send_nowait("news")


def test_one_within_a_message_in_fragments_is_skipped(http, works):
    begun, more = threading.Event(), threading.Event()

    def fragments():
        yield "a"
        begun.set()
        more.wait(SOON)
        yield "b"

    with room(http) as (_, members, clients):
        busy = members[1]
        sending = works.begin(busy.send, fragments())
        assert begun.wait(SOON)
        for slow in ("skip", "close"):
            result = broadcast(members, "news", slow=slow)
            assert (result.sent, result.skipped) == ([members[0], members[2]], [busy])
            assert (result.closed, result.gone) == ([], [])
        with pytest.raises(LocalProtocolError, match=r"send\(\), which waits"):
            busy.send_nowait("news")
        more.set()
        sending.join(SOON)
        busy.send_nowait("after")
        assert [clients[1].recv(SOON) for _ in range(2)] == ["ab", "after"]


def test_messages_keep_their_order_in_a_batch(http):
    with room(http) as (_, members, clients):
        member = members[0]
        before = member.transport.written
        with member.batch():
            member.send("1")
            assert broadcast(members, "2").sent == members
            member.send_nowait("3")
            member.send("4")
            assert member.transport.written == before
            with pytest.raises(SendBufferFull):
                member.send_nowait("5", max_unsent=3)
        assert member.transport.written > before
        assert [clients[0].recv(SOON) for _ in range(4)] == ["1", "2", "3", "4"]
        assert clients[1].recv(SOON) == "2"


def test_streams_of_one_connection_are_written_together():
    with room(count=0) as (server, members, _), connect_http2(url(server)) as client:
        streams = [client.open() for _ in range(50)]
        until(lambda: len(members) == 50)
        assert streams[0].ping(timeout=SOON) > 0
        heard = streams[0].transport.heard
        with members[7].batch():
            assert broadcast(members, "together").sent == members
            assert taken(streams[:7] + streams[8:]) == ["together"] * 49
        assert streams[7].recv(SOON) == "together"
        assert streams[0].transport.heard == heard + 2


def test_a_stream_without_credit_keeps_nothing_from_the_others():
    with room(count=0, extensions=()) as (server, members, _), connect_http2(url(server)) as client:
        slow, quick = client.open(), client.open()
        until(lambda: len(members) == 2)
        members.sort(key=lambda member: member.connection.carrier.number)
        message, skipped = b"x" * 50_000, 0
        for _ in range(100):
            result = broadcast(members, message, max_unsent=MIB)
            assert result.sent[-1] is members[1]
            skipped += result.skipped == members[:1]
            assert quick.recv(SOON) == message
        assert skipped > 20
        assert [slow.recv(SOON) for _ in range(100 - skipped)] == [message] * (100 - skipped)


def test_wrong_arguments_raise_and_nothing_is_sent(http):
    with room(http, 2) as (_, members, clients):
        for wrong in WRONG:
            for send in (lambda it: broadcast(members, it), lambda it: broadcast([], it), members[0].send_nowait):
                with pytest.raises((TypeError, LocalProtocolError)):
                    send(wrong)
        for name, wrong in (("slow", "drop"), ("slow", Close(1005)), ("max_unsent", -1), ("compress", "yes")):
            with pytest.raises((TypeError, LocalProtocolError)):
                broadcast(members, "news", **{name: wrong})
        for strangers in ([*members, object()], ["a", *members], [*members, None], 5):
            with pytest.raises(TypeError):
                broadcast(strangers, "news")
        assert [member.counters.messages_sent for member in members] == [0, 0]
        broadcast(members, "right")
        assert taken(clients) == ["right"] * 2


class Marked(Transform):
    """Sends each message with a mark at its end, unless it is told to fail."""

    broken = False

    def send(self, data, *, text):
        if self.broken:
            raise ValueError("the extension is broken")
        return data + b"!", 0x20

    def receive(self, data, rsv, *, text):
        return data.removesuffix(b"!")


class Marking(Extension):
    name = "x-mark"

    def __init__(self):
        self.made = []

    def offer(self):
        return ()

    def accept(self, offer):
        self.made.append(Marked())
        return Agreed(Offer(self.name, offer), self.made[-1], 0x20)

    agree = accept


@pytest.mark.parametrize("prepared", [False, True])
def test_extensions_of_your_own_see_the_message_and_keep_it_from_no_other(http, prepared):
    ours, theirs = Marking(), Marking()
    members = []

    def handler(websocket):
        members.append(websocket)
        websocket.wait_closed()

    with listening(handler, extensions=(ours, PerMessageDeflate())) as server, contextlib.ExitStack() as stack:
        clients = []
        for number in range(3):
            opening = connect(url(server), http=http, extensions=(theirs, PerMessageDeflate()))
            clients.append(stack.enter_context(opening))
            until(lambda number=number: len(members) > number)
        message = "for everyone, " * 10
        assert broadcast(members, PreparedMessage(Text(message)) if prepared else message).sent == members
        assert taken(clients) == [message] * 3
        ours.made[0].broken = True
        with pytest.raises(ValueError, match="the extension is broken"):
            broadcast(members, "news")
        ours.made[0].broken = False
        assert broadcast(members, "more").sent == members
        assert [clients[1].recv(SOON), clients[2].recv(SOON)] == ["news"] * 2
        assert taken(clients) == ["more"] * 3


def test_handlers_in_their_threads_pass_messages_on(http):
    def chat(websocket):
        for message in websocket:
            broadcast(server.websockets, message)

    with listening(chat) as server, contextlib.ExitStack() as stack:
        guests = [stack.enter_context(connect(url(server), http=http)) for _ in range(4)]
        until(lambda: len(server.websockets) == 4)
        for number, guest in enumerate(guests):
            guest.send_many(f"{number} {count}" for count in range(50))
        for guest in guests:
            got = [guest.recv(SOON) for _ in range(200)]
            for number in range(4):
                assert [it for it in got if it[0] == str(number)] == [f"{number} {count}" for count in range(50)]
