"""Every wrong call raises `LocalProtocolError`, sends nothing and leaves the state as it was."""

import array
import contextlib
import gc
import http

import pytest
from wire import Pair, Wire, closing, echo, opened

from mintws import (
    Binary,
    Close,
    Failed,
    Http1,
    Http2,
    LocalProtocolError,
    PerMessageDeflate,
    Ping,
    Pong,
    RemoteProtocolError,
    Role,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
    _core,
)
from mintws.events import Request, Response

EVENTS = {
    "UpgradeRequest": UpgradeRequest("example.com"),
    "UpgradeAccept": UpgradeAccept(),
    "UpgradeReject": UpgradeReject(403),
    "Message": Text("x"),
    "Ping": Ping(b""),
    "Pong": Pong(b""),
    "Close": Close(1000),
    "Failed": Failed(RemoteProtocolError("x")),
}


@pytest.fixture(params=[Http1, Http2])
def carrier(request):
    return request.param


def ready(carrier, role: str, state: str):
    """A connection in a state, and the wire that it is on."""
    wire = Wire(carrier)
    if state == "CONNECTING":
        return (wire.client.open() if role == "CLIENT" else None), wire
    if state == "REQUESTED":
        conn = wire.client.open()
        wire.to_server(conn.send(UpgradeRequest("example.com")))
        return (conn if role == "CLIENT" else wire.server_said[-1][0]), wire
    pair = Pair(wire)
    conn, other = (pair.client, pair.server) if role == "CLIENT" else (pair.server, pair.client)
    if state == "CLOSING":
        conn.send(Close(1000))
    elif state == "REMOTE_CLOSING":
        (pair.to_server if role == "SERVER" else pair.to_client)(Close(1000))
        assert other.state is State.CLOSING
    elif state == "CLOSED":
        closing(pair)
    return conn, wire


ALLOWED = {(role, state, kind): after for role, state, way, kind, after in _core.transitions() if way == "send"}


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("state", [state.name for state in State])
@pytest.mark.parametrize("role", ["CLIENT", "SERVER"])
def test_table_says_what_may_be_sent(carrier, role, state, kind):
    conn, _ = ready(carrier, role, state)
    if conn is None:
        return
    assert conn.state is State[state]
    if (role, state, kind) in ALLOWED:
        conn.send(EVENTS[kind])
        assert conn.state is State[ALLOWED[role, state, kind]]
    else:
        with pytest.raises(LocalProtocolError):
            conn.send(EVENTS[kind])
        assert conn.state is State[state]


@pytest.mark.parametrize(
    "wrong",
    [
        Ping(b"x" * 126),
        Pong(b"x" * 126),
        Close(1005),
        Close(999),
        Close(None, "x"),
        Close(1000, "x" * 124),
        Text("\ud800"),
        Text(b"\xff"),
    ],
    ids=repr,
)
def test_wrong_event_leaves_the_connection_as_it_was(carrier, wrong):
    pair = opened(carrier)
    for conn in (pair.client, pair.server):
        for send in (conn.send, lambda event, conn=conn: conn.send_many([event]), conn.send_vectored):
            with pytest.raises(LocalProtocolError):
                send(wrong)
        assert conn.state is State.OPEN
    echo(pair)
    closing(pair)


def test_message_of_an_error_says_what_to_do(carrier):
    pair = opened(carrier)
    pair.client.send(Close(1000))
    with pytest.raises(LocalProtocolError, match="client cannot send a message when CLOSING: a Close was sent"):
        pair.client.send(Text("x"))


@pytest.mark.parametrize(
    "request_",
    [
        UpgradeRequest(""),
        UpgradeRequest("a b"),
        UpgradeRequest("a", "b"),
        UpgradeRequest("a", headers={"TE": "b"}),
        UpgradeRequest("a", subprotocols=["a", "a"]),
    ],
)
def test_wrong_request_leaves_the_connection_as_it_was(carrier, request_):
    wire = Wire(carrier)
    conn = wire.client.open()
    with pytest.raises(LocalProtocolError):
        conn.send(request_)
    assert conn.state is State.CONNECTING
    assert conn.request is None
    assert type(wire.to_server(conn.send(UpgradeRequest("example.com")))[0]) is UpgradeRequest


@pytest.mark.parametrize(
    "answer",
    [
        UpgradeAccept(subprotocol="x"),
        UpgradeAccept(headers={"Keep-Alive": "x"}),
        UpgradeReject(101),
        UpgradeReject(99),
        UpgradeReject(-1),
        UpgradeReject(70_000),
        UpgradeReject(10**30),
        UpgradeReject(403, headers={"Upgrade": "y"}),
        UpgradeReject(304, body=b"x"),
    ],
)
def test_wrong_answer_leaves_the_connection_as_it_was(carrier, answer):
    wire = Wire(carrier)
    client = wire.client.open()
    wire.to_server(client.send(UpgradeRequest("example.com")))
    conn = wire.server_said[-1][0]
    with pytest.raises(LocalProtocolError):
        conn.send(answer)
    assert conn.state is State.REQUESTED
    assert conn.response is None
    assert wire.to_client(conn.send(UpgradeAccept())) == [UpgradeAccept()]
    assert (client.state, conn.state) == (State.OPEN, State.OPEN)


def test_accept_that_fails_leaves_the_connection_as_it_was(carrier):
    broken = PerMessageDeflate()
    object.__setattr__(broken, "pool", "no pool")

    class Raising(PerMessageDeflate):
        def accept(self, offer):
            raise ZeroDivisionError

    wire = Wire(carrier)
    client = wire.client.open()
    wire.to_server(client.send(UpgradeRequest("example.com", extensions=[PerMessageDeflate()])))
    conn = wire.server_said[-1][0]
    for extension, error in [(broken, TypeError), (Raising(), ZeroDivisionError)]:
        with pytest.raises(error):
            conn.send(UpgradeAccept(extensions=[extension]))
        assert (conn.state, conn.response, conn.extensions) == (State.REQUESTED, None, ())
    wire.to_client(conn.send(UpgradeAccept(extensions=[PerMessageDeflate()])))
    assert client.state is conn.state is State.OPEN
    assert wire.to_client(conn.send(Text("x" * 100))) == [Text("x" * 100)]


@pytest.mark.parametrize("entropy", [lambda n: b"x", lambda n: "x" * n, lambda n: None])
def test_entropy_that_gives_none_is_refused_locally(carrier, entropy):
    wire = Wire(carrier, client={"entropy": entropy})
    conn = wire.client.open()
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeRequest("example.com"))
    assert conn.state is State.CONNECTING


def test_headers_of_the_wrong_type_are_a_type_error(carrier):
    for wrong in [
        [("a", 1)],
        [(b"a", "b")],
        {"a": None},
        "abcd",
        ["ab", "cd"],
        [("a", "b", "c")],
        [("a",)],
        [("Authorization", b"secret")],
        [None],
        None,
        5,
    ]:
        for make in [
            lambda headers: UpgradeRequest("example.com", headers=headers),
            lambda headers: UpgradeAccept(headers=headers),
            lambda headers: UpgradeReject(403, headers=headers),
            lambda headers: Request("GET", "/", headers),
            lambda headers: Response(200, headers),
        ]:
            with pytest.raises(TypeError) as caught:
                make(wrong)
            assert "secret" not in str(caught.value)
    assert UpgradeAccept(headers=[["a", "b"]]).headers == (("a", "b"),)
    with pytest.raises(TypeError):
        UpgradeRequest("example.com", subprotocols="chat")


@pytest.mark.parametrize(
    "make",
    [
        lambda: UpgradeReject("403"),
        lambda: UpgradeReject(403.0),
        lambda: UpgradeReject(True),
        lambda: UpgradeReject(403, body="no"),
        lambda: UpgradeReject(403, body=None),
        lambda: UpgradeReject(403, body=5),
        lambda: Response("200"),
        lambda: Response(200, body="a page"),
        lambda: Response(200, body=[1, 2]),
        lambda: Response(200, headers=[("a", 1)]),
        lambda: Request(b"GET", "/"),
        lambda: Request("GET", None),
        lambda: Request("GET", "/", headers=[(b"host", "a")]),
        lambda: Request("GET", "/", body="x"),
        lambda: UpgradeAccept(extensions=["permessage-deflate"]),
        lambda: UpgradeAccept(extensions="permessage-deflate"),
        lambda: UpgradeAccept(extensions=[PerMessageDeflate]),
        lambda: UpgradeRequest("example.com", extensions=[None]),
        lambda: UpgradeRequest(None),
        lambda: UpgradeRequest(b"example.com"),
        lambda: UpgradeRequest("example.com", None),
        lambda: UpgradeAccept(subprotocol=b"chat"),
        lambda: UpgradeRequest("example.com", extensions=[PerMessageDeflate, PerMessageDeflate()]),
    ],
)
def test_what_an_event_is_made_of_has_its_type(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("like", [bytearray, memoryview])
def test_body_may_be_any_bytes_and_is_kept_as_bytes(like):
    for event in [
        UpgradeReject(403, body=like(b"no")),
        Response(200, body=like(b"no")),
        Request("GET", "/", (), like(b"no")),
    ]:
        assert (type(event.body), event.body) == (bytes, b"no")


def test_event_of_a_subclass_or_a_stranger_is_a_type_error(carrier):
    pair = opened(carrier)
    for wrong in [object(), Text, "text", 5, None, (1, 2), b"x", bytearray(b"x")]:
        with pytest.raises(TypeError):
            pair.client.send(wrong)
    echo(pair)


def test_role_that_may_not_open_is_refused_locally(carrier):
    with pytest.raises(LocalProtocolError):
        carrier(Role.SERVER).open()


@pytest.mark.parametrize("kind", [Binary, Ping, Pong, Text])
@pytest.mark.parametrize(
    "wrong", [[1, 2], {1}, {1: 2}, (1, 2), range(3), iter([1]), 5, None, 1.0], ids=lambda wrong: type(wrong).__name__
)
def test_data_that_is_not_bytes_is_a_type_error(kind, wrong):
    with pytest.raises(TypeError, match="data must be"):
        kind(wrong)


@pytest.mark.parametrize("kind", [Binary, Ping])
def test_data_is_copied_from_whatever_lends_its_bytes(kind):
    class Bytes(bytes):
        pass

    lenders = [b"abcd", Bytes(b"abcd"), bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"a b c d ")[::2]]
    lenders.append(array.array("H", b"abcd"))
    for lender in lenders:
        assert kind(lender).data == b"abcd"
        assert type(kind(lender).data) is bytes
    view = memoryview(b"abcd")
    view.release()
    with pytest.raises(ValueError, match="released"):
        kind(view)


def test_text_of_a_subclass_is_taken_as_str():
    # The collector does not look into events: they may hold nothing that refers to anything.
    class Str(str):
        pass

    text, reason = Str("caf\u00e9"), Str("bye")
    assert (type(Text(text).data), Text(text)) == (str, Text("caf\u00e9"))
    assert (type(Close(1000, reason).reason), Close(1000, reason)) == (str, Close(1000, "bye"))
    assert type(Close(http.HTTPStatus.OK).code) is int


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Text(object()),
        lambda: Binary([1]),
        lambda: Close("1000"),
        lambda: Close(70_000),
        lambda: Text("a", fin=1),
        lambda: Text("a", what=1),
        lambda: Text(),
        lambda: Text.__new__(Text, 5),
        lambda: Text("a") < Text("b"),
    ],
)
def test_wrong_call_leaves_nothing_behind(wrong):
    def count() -> int:
        return sum(isinstance(it, TypeError | LocalProtocolError) for it in gc.get_objects())

    gc.collect()
    before = count()
    for _ in range(100):
        with contextlib.suppress(TypeError, LocalProtocolError):
            wrong()
    assert count() <= before + 1


def test_events_are_values():
    assert Text("a") == Text("a", fin=True) != Text("a", fin=False)
    assert Binary(b"a") == Binary(bytearray(b"a")) == Binary(memoryview(b"a"))
    assert hash(Close(1000)) == hash(Close())
    assert Text("a") != Binary(b"a")
    assert Ping(b"") != Pong(b"")
    with pytest.raises((AttributeError, TypeError)):
        Text("a").data = "b"
