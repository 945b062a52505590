"""Extensions of the caller's own: alone, and before and behind permessage-deflate."""

import gc
import random
import zlib

import pytest
from wire import Pair, Wire, closing, echo, fault, frames_of, h2_frame, h2_frames, opened

from mintws import (
    Agreed,
    Binary,
    Close,
    Extension,
    Http1,
    Http2,
    LocalProtocolError,
    Offer,
    PerMessageDeflate,
    Ping,
    Pong,
    PreparedMessage,
    RemoteProtocolError,
    State,
    Text,
    Transform,
    UpgradeAccept,
    UpgradeRequest,
)
from mintws.extensions import Chain


class Rot(Transform):
    """Adds a number to each byte, and marks the message with a bit."""

    def __init__(self, step: int, bit: int) -> None:
        self.step, self.bit = step, bit
        #: How many messages are sent before one raises.
        self.good = 1000

    def send(self, data, *, text):
        self.good -= 1
        if self.good < 0:
            raise ValueError("not this one")
        return bytes((byte + self.step) % 256 for byte in data), self.bit

    def receive(self, data, rsv, *, text):
        if rsv != self.bit:
            raise RemoteProtocolError("the bit is missing", code=1002)
        return bytes((byte - self.step) % 256 for byte in data)


class RotExtension(Extension):
    def __init__(self, name: str = "x-rot", step: int = 1, bit: int = 0x20, transform: Transform | None = None) -> None:
        self.name, self.step, self.bit, self.transform = name, step, bit, transform

    def offer(self):
        return (("step", str(self.step)),)

    def accept(self, offer):
        return Agreed(Offer(self.name, offer), self.transform or Rot(self.step, self.bit), self.bit)

    agree = accept


PMD = PerMessageDeflate(threshold=0)
CHAINS = {
    "alone": [RotExtension()],
    "two": [RotExtension(), RotExtension("x-rot2", 7, 0x10)],
    "before deflate": [RotExtension(), PMD],
    "behind deflate": [PMD, RotExtension()],
    "around deflate": [RotExtension(), PMD, RotExtension("x-rot2", 7, 0x10)],
    "without a bit": [RotExtension(bit=0)],
}


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


@pytest.fixture(params=CHAINS)
def pair(request, carrier):
    chain = CHAINS[request.param]
    return opened(carrier, chain, chain)


def test_messages_pass_the_chain_both_ways(pair):
    for event in [
        Text(""),
        Text("caf\u00e9 " * 50),
        Binary(b""),
        Binary(bytes(range(256)) * 20),
        Text("x"),
        Text("caf\u00e9 " * 50),
    ]:
        assert pair.to_server(event) == [event]
        assert pair.to_client(event) == [event]


def test_wire_has_the_changed_bytes():
    pair = opened(Http1, [RotExtension()], [RotExtension()])
    assert pair.server.send(Text("abc")) == b"\xa1\x03bcd"
    pair = opened(Http1, CHAINS["two"], CHAINS["two"])
    assert pair.server.send(Text("abc")) == b"\xb1\x03" + bytes(byte + 8 for byte in b"abc")


def test_first_of_the_header_is_the_first_to_change():
    # RFC 6455 §9.1: the order of the header is the order of what is done.
    pair = opened(Http1, CHAINS["before deflate"], CHAINS["before deflate"])
    ((_, rsv, _, payload),) = frames_of(pair.server.send(Binary(bytes(1000))))
    assert rsv == 0x60
    assert len(payload) < 50
    pair = opened(Http1, CHAINS["behind deflate"], CHAINS["behind deflate"])
    ((_, rsv, _, behind),) = frames_of(pair.server.send(Binary(bytes(1000))))
    assert rsv == 0x60
    assert len(behind) < 50
    assert payload != behind


def test_fragments_of_the_peer_come_whole(pair):
    # A transform sees whole messages; fragments are joined before.
    if [it.answer.name for it in pair.client.extensions] != ["x-rot"] or pair.client.extensions[0].rsv == 0:
        return
    whole = bytes(byte + 1 for byte in b"abcdef")
    if type(pair.wire.server) is Http2:
        return
    data = b"\x21\x83\0\0\0\0" + whole[:3] + b"\x80\x83\0\0\0\0" + whole[3:]
    assert pair.wire.to_server(data) == [Text("abcdef")]


def test_fragments_are_refused_locally(pair):
    with pytest.raises(LocalProtocolError):
        pair.client.send(Text("a", fin=False))
    echo(pair)


def test_prepared_message_is_refused_locally(pair):
    if [it.answer.name for it in pair.client.extensions] == ["permessage-deflate"]:
        return
    with pytest.raises(LocalProtocolError):
        pair.client.send(PreparedMessage(Text("a")))
    echo(pair)


def test_control_frames_pass_untouched(pair):
    assert pair.to_server(Ping(b"abc")) == [Ping(b"abc")]
    assert pair.to_server(Close(1000, "abc")) == [Close(1000, "abc")]


def rot(conn) -> Rot:
    """The last transform of the caller's own."""
    return [it.transform for it in conn.extensions if isinstance(it.transform, Rot)][-1]


def test_exception_of_the_callers_send_is_raised_and_nothing_sent(pair):
    # The deflate contexts are as the peer knows them, or begin anew.
    message = Text("some text that comes again and again " * 5)
    conn = pair.client
    for send in (conn.send, lambda event: conn.send_many([event]), conn.send_vectored):
        assert pair.to_server(message) == [message]
        rot(conn).good = 0
        with pytest.raises(ValueError, match="not this one"):
            send(Text("lost, and not to be found again " * 5))
        rot(conn).good = 1000
        assert conn.state is State.OPEN
        for again in (Text("lost, and not to be found again " * 5), message):
            assert pair.to_server(again) == [again]


def test_exception_within_send_many_sends_nothing(pair):
    message = Text("some text that comes again and again " * 5)
    conn = pair.client
    for _ in range(2):
        assert pair.to_server(message) == [message]
        rot(conn).good = 1
        with pytest.raises(ValueError, match="not this one"):
            conn.send_many([Text("lost, and not to be found again " * 5), Text("this one raises")])
        rot(conn).good = 1000
        for again in (Text("lost, and not to be found again " * 5), message):
            assert pair.to_server(again) == [again]


def test_exception_while_corked_leaves_what_was_corked(pair):
    conn = pair.client
    conn.cork()
    conn.send(Text("corked " * 20))
    rot(conn).good = 0
    with pytest.raises(ValueError, match="not this one"):
        conn.send(Text("lost " * 20))
    rot(conn).good = 1000
    conn.send(Text("lost " * 20))
    assert pair.wire.to_server(conn.uncork()) == [Text("corked " * 20), Text("lost " * 20)]


@pytest.mark.parametrize("result", [None, b"bytes", ("str", 0), (b"", "x")])
def test_result_of_the_callers_send_that_is_wrong_raises_and_sends_nothing(carrier, result):
    class Wrong(Rot):
        def send(self, data, *, text):
            return result if wrong else super().send(data, text=text)

    wrong = []
    extensions = [PMD, RotExtension(transform=Wrong(1, 0x20))]
    pair = opened(carrier, extensions, [PMD, RotExtension()])
    echo(pair, "some text " * 20)
    wrong.append(1)
    with pytest.raises((TypeError, ValueError)):
        pair.client.send(Text("some other text " * 20))
    wrong.clear()
    echo(pair, "some other text " * 20)


class Odd(Rot):
    """Gives what it should not."""

    def __init__(self, result) -> None:
        super().__init__(1, 0x20)
        self.result = result

    def send(self, data, *, text):
        return data, 0x20

    def receive(self, data, rsv, *, text):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def broken(carrier, result, limit=1000):
    pair = opened(carrier, [RotExtension(transform=Odd(result))], [RotExtension(transform=Odd(result))], limit=limit)
    (failed,) = pair.to_server(Text("x"))
    assert pair.server.state is State.REMOTE_CLOSING
    return failed.error


def test_remote_error_of_a_transform_fails_with_its_code(carrier):
    assert broken(carrier, RemoteProtocolError("no", code=1003)).code == 1003


def test_any_other_error_of_a_transform_fails_with_1011(carrier):
    cause = ZeroDivisionError("oops")
    error = broken(carrier, cause)
    assert error.code == 1011
    assert error.__cause__ is cause
    assert "ZeroDivisionError('oops')" in str(error)


@pytest.mark.parametrize(
    ("message", "code", "close"),
    [
        ("no", 1006, Close(1011, "no")),
        ("no", 0, Close(1011, "no")),
        ("no", 70_000, Close(1011, "no")),
        ("no", None, Close(1011, "no")),
        ("no", "1002", Close(1011, "no")),
        ("x" * 200, 1002, Close(1002, "x" * 123)),
        ("\u20ac" * 50, 1002, Close(1002, "\u20ac" * 41)),
        (b"bytes", 1002, Close(1002)),
        (None, 4000, Close(4000)),
    ],
)
def test_error_that_an_extension_made_is_said_as_far_as_it_can_be(carrier, message, code, close):
    result = RemoteProtocolError(message, code=code)
    pair = opened(carrier, [RotExtension()], [RotExtension(transform=Odd(result))])
    (failed,) = pair.to_server(Text("x"))
    assert failed.error is result
    assert pair.to_client(failed) == [close]
    assert pair.server.state is State.CLOSED


def test_error_with_surrogates_is_said_without_them(carrier):
    pair = opened(carrier, [RotExtension()], [RotExtension(transform=Odd(RemoteProtocolError("a\ud800b", code=1002)))])
    (failed,) = pair.to_server(Text("x"))
    (close,) = pair.to_client(failed)
    assert (close.code, close.reason[0], close.reason[-1]) == (1002, "a", "b")


def test_peer_is_told_nothing_of_an_exception_of_the_callers_own(carrier):
    pair = opened(carrier, [RotExtension()], [RotExtension(transform=Odd(KeyError("a secret")))])
    (failed,) = pair.to_server(Text("x"))
    assert "a secret" in str(failed.error)
    assert pair.to_client(failed) == [Close(1011, "an extension failed")]


def test_result_over_the_limit_fails_with_1009(carrier):
    assert broken(carrier, b"x" * 1001).code == 1009


def test_text_that_is_no_utf8_behind_a_transform_fails_with_1007(carrier):
    assert broken(carrier, b"\xff").code == 1007


@pytest.mark.parametrize("result", ["a str", None, 5])
def test_result_that_is_not_bytes_fails_with_1011_and_raises_nothing(carrier, result):
    assert broken(carrier, result).code == 1011


class Interrupted(Rot):
    """Is interrupted by the user, at the second message."""

    def receive(self, data, rsv, *, text):
        self.good -= 1
        if self.good == 998:
            raise KeyboardInterrupt
        return super().receive(data, rsv, text=text)


@pytest.mark.parametrize("last", ["message", "close"])
def test_interruption_within_receive_loses_nothing(carrier, last):
    # It is raised, the connection fails, and what came before comes with the next call.
    pair = opened(carrier, [RotExtension()], [RotExtension(transform=Interrupted(1, 0x20))])
    others = Pair(pair.wire) if carrier is Http2 else None
    data = b"".join(pair.client.send(Text(text)) for text in ("first", "second", "third"))
    if last == "close":
        data += pair.client.send(Close(1000))
    if others:
        data += others.client.send(Text("of another stream")) + others.client.send(Ping(b"p"))
    with pytest.raises(KeyboardInterrupt):
        pair.wire.server.receive(data)
    assert (pair.server.state, pair.server.failed) == (State.REMOTE_CLOSING, True)
    assert pair.server.undelivered_bytes == 0
    events, reply = pair.wire.server.receive(h2_frame(6, 0, 0, bytes(8)) if others else b"late")
    ours = [event for conn, event in events if conn is pair.server]
    assert ours[:-1] == [Text("first")]
    error = fault(ours)
    assert (error.code, type(error.__cause__)) == (1011, KeyboardInterrupt)
    if others:
        assert [event for conn, event in events if conn is others.server] == [Text("of another stream"), Ping(b"p")]
        pair.wire.to_client(reply)
        assert (others.client, Pong(b"p")) in pair.wire.client_said
        echo(others)
    if last == "message":
        (close,) = pair.to_client(ours[-1])
        assert (close.code, "Interrupt" in close.reason) == (1011, False)


def test_what_is_sent_after_an_interruption_follows_what_has_waited():
    """A message waits in part; the window for its rest opens with the chunk that is interrupted."""
    pair = opened(Http2, [RotExtension()], [RotExtension(transform=Interrupted(1, 0x20))])
    others = Pair(pair.wire)
    written = others.server.send(Binary(bytes(2_000_000)))
    stream = others.client.carrier.number
    credit = b"".join(h2_frame(8, 0, number, (1 << 24).to_bytes(4, "big")) for number in (0, stream))
    with pytest.raises(KeyboardInterrupt):
        pair.wire.server.receive(credit + pair.client.send(Text("first")) + pair.client.send(Text("second")))
    written += others.server.send(Text("last"))
    payloads = [payload for kind, _, number, payload in h2_frames(written) if (kind, number) == (0, stream)]
    sent = b"".join(payloads)
    assert (len(sent), sent[-6:]) == (2_000_000 + 10 + 6, b"\x81\x04last")


def test_interruption_behind_the_end_of_a_stream_loses_nothing():
    pair = opened(Http2, [RotExtension()], [RotExtension(transform=Interrupted(1, 0x20))])
    others = Pair(pair.wire)
    data = pair.client.send(Text("first")) + pair.client.send(Text("second"))
    data += h2_frame(0, 1, pair.client.carrier.number) + others.client.send(Text("of another stream"))
    with pytest.raises(KeyboardInterrupt):
        pair.wire.server.receive(data)
    events, _ = pair.wire.server.receive(b"")
    said = [event for conn, event in events if conn is pair.server]
    assert said[:-1] == [Text("first")]
    assert fault(said).code == 1011
    assert (others.server, Text("of another stream")) in events


def test_interruption_of_frames_behind_the_answer_loses_nothing():
    chain = [RotExtension()]
    wire = Wire(Http1)
    client = wire.client.open()
    wire.to_server(
        client.send(UpgradeRequest("example.com", extensions=[RotExtension(transform=Interrupted(1, 0x20))]))
    )
    server, _ = wire.server_said[-1]
    data = server.send(UpgradeAccept(extensions=chain)) + server.send(Text("first")) + server.send(Text("second"))
    with pytest.raises(KeyboardInterrupt):
        wire.client.receive(data)
    events, _ = wire.client.receive(b"")
    accepted, first, failed = [event for _, event in events]
    assert (type(accepted), first, failed.error.code) == (UpgradeAccept, Text("first"), 1011)


class Crc(Transform):
    """Ends each message with its CRC-32."""

    def send(self, data, *, text):
        return data + zlib.crc32(data).to_bytes(4, "big"), 0

    def receive(self, data, rsv, *, text):
        return data[:-4]


class CrcExtension(RotExtension):
    def __init__(self, name: str = "x-crc") -> None:
        super().__init__(name)

    def accept(self, offer):
        return Agreed(Offer(self.name, offer), Crc())

    agree = accept


LIMITED = {
    "crc": [CrcExtension()],
    "crc, deflate": [CrcExtension(), PMD],
    "deflate, crc": [PMD, CrcExtension()],
    "crc, deflate, crc": [CrcExtension(), PMD, CrcExtension("x-crc2")],
}


@pytest.mark.parametrize("chain", LIMITED)
@pytest.mark.parametrize("limit", [0, 10, 1000, 100_000])
@pytest.mark.parametrize("make", [bytes, random.Random(1).randbytes], ids=["zeros", "noise"])
def test_limit_is_exact_whatever_extensions_add(carrier, chain, limit, make):
    pair = opened(carrier, LIMITED[chain], LIMITED[chain], server={"limit": limit})
    for event in (Binary(make(max(0, limit - 1))), Binary(make(limit))):
        assert pair.to_server(event) == [event]
    (failed,) = pair.to_server(Binary(make(limit + 1)))
    assert failed.error.code == 1009


@pytest.mark.parametrize("chain", LIMITED)
def test_bomb_is_stopped_on_its_way_through_a_chain(carrier, chain):
    # Twice the limit and 64 KiB is the most that may be there before the last extension has had its turn.
    seen = []

    class Watching(Crc):
        def receive(self, data, rsv, *, text):
            seen.append(len(data))
            return super().receive(data, rsv, text=text)

    class Watched(CrcExtension):
        def accept(self, offer):
            return Agreed(Offer(self.name, offer), Watching())

    watched = [Watched(it.name) if isinstance(it, CrcExtension) else it for it in LIMITED[chain]]
    pair = opened(carrier, LIMITED[chain], watched, server={"limit": 1000})
    (failed,) = pair.to_server(Binary(bytes(1 << 24)))
    assert failed.error.code == 1009
    assert max(seen, default=0) <= 2 * 1000 + 64 * 1024


@pytest.mark.parametrize("chain", ["before deflate", "behind deflate", "around deflate"])
def test_compress_decides_wherever_deflate_stands(chain):
    extensions = [PerMessageDeflate(threshold=100) if it is PMD else it for it in CHAINS[chain]]
    pair = opened(Http1, extensions, extensions)
    for size, compress, bit in [(10, None, 0), (10, True, 0x40), (200, None, 0x40), (200, False, 0)]:
        event = Binary(bytes(size))
        for data in (
            pair.server.send(event, compress=compress),
            pair.server.send_many([event], compress=compress),
            b"".join(pair.server.send_vectored(event, compress=compress)),
        ):
            assert frames_of(data)[0][1] & 0x40 == bit
            assert pair.wire.to_client(data) == [event]


def test_contexts_of_a_chain_are_freed_with_it():
    pair = opened(Http1, CHAINS["around deflate"], CHAINS["around deflate"])
    echo(pair)
    gc.collect()
    before = sum(isinstance(it, Chain) for it in gc.get_objects())
    closing(pair)
    assert sum(isinstance(it, Chain) for it in gc.get_objects()) == before - 2
    assert [it.answer.name for it in pair.server.extensions] == ["x-rot", "permessage-deflate", "x-rot2"]


class Counting(Transform):
    """Numbers the messages, so that one that is missing is found out."""

    def __init__(self) -> None:
        self.sent = self.received = 0

    def send(self, data, *, text):
        if data == b"raise":
            raise ValueError("not this one")
        self.sent += 1
        return bytes([self.sent]) + data, 0

    def forget(self, messages):
        self.sent -= messages

    def receive(self, data, rsv, *, text):
        self.received += 1
        if data[0] != self.received:
            raise RemoteProtocolError("a message is missing")
        return data[1:]


class CountingExtension(RotExtension):
    def accept(self, offer):
        return Agreed(Offer(self.name, offer), Counting())

    agree = accept


@pytest.mark.parametrize("place", ["alone", "first", "last", "beside deflate"])
def test_transform_with_a_state_is_told_what_is_not_sent(carrier, place):
    counting, other = CountingExtension("x-count"), RotExtension()
    chain = {
        "alone": [counting],
        "first": [counting, other],
        "last": [other, counting],
        "beside deflate": [counting, PMD, other],
    }[place]
    pair = opened(carrier, chain, chain)
    conn = pair.client
    assert pair.to_server(Text("a")) == [Text("a")]
    for number, wrong in enumerate(
        [[Text("b"), Ping(b"p"), Text("c"), Text("raise")], [Text("raise")], [Text("b"), Text("raise")]]
    ):
        if place in ("first", "last"):
            # Another extension raises, behind it or before.
            rot(conn).good = len([it for it in wrong if type(it) is Text]) - 1
            wrong = [Text("d") if it == Text("raise") else it for it in wrong]
        elif place == "beside deflate" and number == 1:
            rot(conn).good, wrong = 0, [Text("d")]
        with pytest.raises(ValueError, match="not this one"):
            conn.send_many(wrong)
        if place != "alone":
            rot(conn).good = 1000
        for event in (Text("b"), Text("b" * 100)):
            assert pair.to_server(event) == [event]


def test_bomb_behind_a_transform_is_stopped(carrier):
    chain = CHAINS["behind deflate"]
    pair = opened(carrier, chain, chain, server={"limit": 1000})
    assert pair.to_server(Binary(bytes(1000))) == [Binary(bytes(1000))]
    (failed,) = pair.to_server(Binary(bytes(1001)))
    assert failed.error.code == 1009


def test_each_connection_has_its_own_transform(carrier):
    made = []

    class Counting(RotExtension):
        def accept(self, offer):
            made.append(Rot(self.step, self.bit))
            return Agreed(Offer(self.name, offer), made[-1], self.bit)

        agree = accept

    opened(carrier, [Counting()], [Counting()])
    assert len(made) == 2


def test_transform_that_sends_within_itself_is_no_crash(carrier):
    # It is called while its connection works; what it tries then fails as an ordinary exception.
    class Nosy(Rot):
        def send(self, data, *, text):
            box[0].send(Text("within"))
            return super().send(data, text=text)

    box = []
    pair = opened(carrier, [RotExtension(transform=Nosy(1, 0x20))], [RotExtension()])
    box.append(pair.client)
    with pytest.raises(Exception, match=r"borrowed|within"):
        pair.client.send(Text("x"))
    assert pair.client.state is State.OPEN
