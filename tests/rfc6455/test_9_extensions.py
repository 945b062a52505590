"""Extensions: the header's grammar, what may be agreed on, extensions of the caller's own (RFC 6455 §9)."""

import pytest
from wire import ANSWER, REQUEST, Wire, accept_of, client, cost, fault, header_of, said, server

from mintws import (
    Agreed,
    Extension,
    Http1,
    Http2,
    LocalProtocolError,
    Offer,
    PerMessageDeflate,
    RemoteProtocolError,
    Role,
    State,
    Transform,
    UpgradeAccept,
    UpgradeRequest,
)


def offered(*values: str):
    """What a server reads of these Sec-WebSocket-Extensions."""
    http = Http1(Role.SERVER)
    lines = "".join(f"Sec-WebSocket-Extensions: {value}\r\n" for value in values)
    events, reply = http.receive(REQUEST + lines.encode("latin-1") + b"\r\n")
    return events[-1][1], reply


def answered(value: str, *offers):
    """What a client says of this answer."""
    http = Http1(Role.CLIENT)
    conn = http.open()
    head = conn.send(UpgradeRequest("example.com", "/chat", extensions=offers))
    right = accept_of(header_of(head, "Sec-WebSocket-Key")).encode()
    data = ANSWER.replace(header_of(ANSWER, "Sec-WebSocket-Accept").encode(), right)
    return said(http.receive(data + b"Sec-WebSocket-Extensions: " + value.encode("latin-1") + b"\r\n\r\n"))[-1], conn


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("foo", [("foo", ())]),
        ("foo, bar; baz=2", [("foo", ()), ("bar", (("baz", "2"),))]),
        ("deflate-stream", [("deflate-stream", ())]),
        (
            "mux; max-channels=4; flow-control, deflate-stream",
            [("mux", (("max-channels", "4"), ("flow-control", None))), ("deflate-stream", ())],
        ),
        ('private; x="a"', [("private", (("x", "a"),))]),
        ('x; y="a\\bc"', [("x", (("y", "abc"),))]),
        ("  a ;b = c ,,\td", [("a", (("b", "c"),)), ("d", ())]),
        ("a;b;b", [("a", (("b", None), ("b", None)))]),
    ],
)
def test_header_is_a_list_of_extensions(value, expected):
    event, _ = offered(value)
    assert [tuple(it) for it in event.extensions] == expected


def test_many_lines_are_one_list():
    event, _ = offered("a", "b; c", "d, e")
    assert [it.name for it in event.extensions] == ["a", "b", "d", "e"]


@pytest.mark.parametrize(
    "value",
    [
        ";",
        "a;",
        "a; ;b",
        "=",
        "a; =b",
        "a; b=",
        "a b",
        'a; b="',
        'a; b=""',
        'a; b="c d"',
        'a; b="c\\',
        "a; b=c d",
        "a/b",
        "\x80\xff",
        "a; b=\xff",
        '"a"',
        "a; b;;c",
        "a=b",
    ],
)
def test_header_that_is_no_list_of_extensions_is_refused(value):
    event, reply = offered(value)
    assert fault([event]).status == 400
    assert reply.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("count", "ok"), [(1, True), (16, True), (5000, False)])
def test_extensions_without_end_are_refused(count, ok):
    event, _ = offered(", ".join(["a"] * count))
    assert (type(event) is UpgradeRequest) is ok


def test_parameters_without_end_are_refused():
    event, _ = offered("a" + "; b" * 9000)
    assert fault([event]).status == 400


@pytest.mark.parametrize("unit", ["a", "a;", '"', ", ", '"\\', " ", "a;b=c,"])
@pytest.mark.parametrize("start", ["", 'a; b="'])
def test_header_of_30_kb_is_read_in_linear_time(start, unit):
    def read(size: int) -> None:
        for _ in range(10):
            offered(start + unit * (size // len(unit)))

    # Ten times as much costs ten times as much, give or take; it would cost a hundred times if it were looked at anew each time.
    assert cost(lambda: read(30_000)) < 3 * 10 * cost(lambda: read(3_000))


def test_unknown_offers_are_passed_over():
    end = server("x-webkit-deflate-frame, foo; bar, permessage-deflate")
    assert header_of(end.head, "Sec-WebSocket-Extensions") == "permessage-deflate"


@pytest.mark.parametrize(
    "value",
    [
        "foo",
        "permessage-deflate2",
        "Permessage-Deflate",
        "permessage-deflate, foo",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; foo",
        ";",
        "x y",
    ],
)
def test_answer_that_was_not_offered_fails(value):
    event, conn = answered(value, PerMessageDeflate())
    assert fault([event]).code == 1002
    assert conn.state is State.CLOSED


def test_empty_list_of_extensions_fails():
    # The grammar is 1#extension.
    event, _ = answered("", PerMessageDeflate())
    assert fault([event]).code == 1002


def test_answer_without_the_header_agrees_on_nothing():
    http = Http1(Role.CLIENT)
    conn = http.open()
    head = conn.send(UpgradeRequest("example.com", "/chat", extensions=[PerMessageDeflate()]))
    right = accept_of(header_of(head, "Sec-WebSocket-Key")).encode()
    data = ANSWER.replace(header_of(ANSWER, "Sec-WebSocket-Accept").encode(), right)
    assert said(http.receive(data + b"\r\n")) == [UpgradeAccept()]
    assert conn.extensions == ()


def test_offer_without_meaning_may_be_made_but_not_accepted():
    # An Offer is what stands in a header: to repeat it is no promise to do what it says.
    event, _ = answered("foo", Offer("foo"))
    assert fault([event]).code == 1002


class Flip(Transform):
    """Inverts each byte of a binary message."""

    def send(self, data, *, text):
        return (data, 0) if text else (bytes(255 - byte for byte in data), 0x20)

    def receive(self, data, rsv, *, text):
        return bytes(255 - byte for byte in data) if rsv else data


class FlipExtension(Extension):
    name = "x-flip"

    def __init__(self, rsv: int = 0x20, wanted: tuple = (("hard", None),)) -> None:
        self.rsv = rsv
        self.wanted = wanted

    def offer(self):
        return self.wanted

    def accept(self, offer):
        return Agreed(Offer(self.name, offer), Flip(), self.rsv) if offer == self.wanted else None

    def agree(self, answer):
        return Agreed(Offer(self.name, answer), Flip(), self.rsv) if answer == self.wanted else None


def test_own_extension_is_offered_and_agreed_on():
    end = client("x-flip; hard", [FlipExtension()])
    assert header_of(end.head, "Sec-WebSocket-Extensions") == "x-flip; hard"
    assert [it.answer for it in end.conn.extensions] == [Offer("x-flip", (("hard", None),))]


def test_answer_that_the_own_extension_does_not_agree_to_fails():
    event, _ = answered("x-flip", FlipExtension())
    assert fault([event]).code == 1002


@pytest.mark.parametrize("cause", [ValueError("not a number"), RemoteProtocolError("no", code=1002)], ids=repr)
@pytest.mark.parametrize("cls", [Http1, Http2])
def test_answer_on_which_the_own_extension_raises_fails_the_connection(cls, cause):
    class Raising(FlipExtension):
        def agree(self, answer):
            raise cause

    wire = Wire(cls)
    conn = wire.client.open()
    wire.to_server(conn.send(UpgradeRequest("example.com", extensions=[Raising()])))
    theirs, _ = wire.server_said[-1]
    events = wire.to_client(theirs.send(UpgradeAccept(extensions=[FlipExtension()])))
    error = fault(events)
    if isinstance(cause, RemoteProtocolError):
        assert error is cause
    else:
        assert (error.code, error.__cause__) == (1011, cause)
    assert conn.state is State.CLOSED
    assert conn.response is None
    assert conn.send(events[-1]) == b""
    assert wire.client.done is (cls is Http1)


def test_extension_whose_rsv_bit_is_taken_is_declined():
    end = server("permessage-deflate, x-flip; hard", [PerMessageDeflate(), FlipExtension(rsv=0x40)])
    assert header_of(end.head, "Sec-WebSocket-Extensions") == "permessage-deflate"


def test_answer_whose_rsv_bit_is_taken_fails():
    event, _ = answered("permessage-deflate, x-flip; hard", PerMessageDeflate(), FlipExtension(rsv=0x40))
    assert fault([event]).code == 1002


def test_rsv_bit_of_an_agreed_extension_is_its_own():
    end = server("x-flip; hard", [FlipExtension()])
    (event,) = end.receive(b"\xa2\x81\x00\x00\x00\x00\xfe")
    assert event.data == b"\x01"
    assert end.conn.send(type(event)(b"\x01")) == b"\xa2\x01\xfe"
    assert end.fails(b"\xc2\x81\x00\x00\x00\x00\xfe") == 1002


@pytest.mark.parametrize("value", [0x10, 0x40])
def test_rsv_bit_that_another_extension_owns_fails(value):
    end = server("x-flip; hard", [FlipExtension()])
    assert end.fails(bytes([0x82 | value]) + b"\x80\x00\x00\x00\x00") == 1002


WRONG = ["caf\u00e9", "a\r\nX: y", "a\x00", "", " ", "a b", "a, b", "a; b", "a=b", '"a"']


@pytest.mark.parametrize("bad", WRONG)
@pytest.mark.parametrize("make", [Offer, lambda bad: Offer("x", ((bad, None),)), lambda bad: Offer("x", (("a", bad),))])
def test_offer_that_is_not_of_tokens_is_refused_locally(make, bad):
    conn = Http1(Role.CLIENT).open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com", extensions=[make(bad)]))
    assert conn.state is State.CONNECTING


@pytest.mark.parametrize("bad", WRONG)
def test_answer_that_is_not_of_tokens_is_refused_locally(bad):
    class Bad(FlipExtension):
        def accept(self, offer):
            return Agreed(Offer("x-flip", ((bad, None),)), Flip(), self.rsv)

    http = Http1(Role.SERVER)
    ((conn, _),), _ = http.receive(REQUEST + b"Sec-WebSocket-Extensions: x-flip\r\n\r\n")
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeAccept(extensions=[Bad()]))
    assert conn.state is State.REQUESTED
    conn.send(UpgradeAccept())
    assert conn.extensions == ()


def test_rsv_bits_are_those_of_the_frame():
    assert [Agreed(Offer("x"), Flip(), rsv).rsv for rsv in (0, 0x10, 0x70)] == [0, 0x10, 0x70]
    for rsv in (0x80, 0x08, 1, -1, 0x170):
        with pytest.raises(LocalProtocolError):
            Agreed(Offer("x"), Flip(), rsv)
    for rsv in ("x", None, True, 16.0):
        with pytest.raises(TypeError):
            Agreed(Offer("x"), Flip(), rsv)
