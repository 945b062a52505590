"""wsproto says the same of the same frames, save what is listed."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import mutated, streams
from wire import frames_of, opened, server
from wsproto.connection import Connection as Theirs
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as TheirPing
from wsproto.events import Pong as TheirPong
from wsproto.extensions import PerMessageDeflate as TheirDeflate
from wsproto.utilities import RemoteProtocolError as TheirError

from mintws import Binary, Close, Failed, Http1, PerMessageDeflate, Ping, Pong, Text

#: Where we differ, and why.
DIFFERENT = {
    "close codes": "wsproto takes any code and hands it on, we hold to RFC 6455 §7.4 and the registry",
    "early": "we fail a broken frame or text by its first wrong byte, wsproto when more of it is there",
    "code": "wsproto says 1002 or 1007 of what is broken in two ways; which comes first is nobody's rule",
}


def ours(data: bytes) -> tuple[list, bool]:
    """What we say, and whether the peer broke a rule."""
    events = server().receive(data) if data else []
    failed = bool(events) and isinstance(events[-1], Failed)
    said = [(type(event).__name__, event.data) for event in events if not isinstance(event, (Close, Failed))]
    return said, failed or any(isinstance(event, Close) for event in events)


def theirs(data: bytes) -> tuple[list, bool]:
    """What wsproto says."""
    conn = Theirs(ConnectionType.SERVER)
    said, parts = [], []
    try:
        conn.receive_data(data)
        for event in conn.events():
            match event:
                case TextMessage() | BytesMessage():
                    parts.append(event.data)
                    if event.message_finished:
                        empty = "" if isinstance(event, TextMessage) else b""
                        said.append(("Text" if isinstance(event, TextMessage) else "Binary", empty.join(parts)))
                        parts = []
                case TheirPing():
                    said.append(("Ping", bytes(event.payload)))
                case TheirPong():
                    said.append(("Pong", bytes(event.payload)))
                case CloseConnection():
                    return said, True
    except TheirError:
        return said, True
    return said, False


@given(streams())
def test_right_frames_say_the_same(data):
    said, ended = ours(data)
    expected, their_end = theirs(data)
    assert said == expected
    assert ended == their_end


@given(mutated(streams()))
def test_broken_frames_say_the_same_up_to_the_fault(data):
    said, ended = ours(data)
    expected, their_end = theirs(data)
    # "early": where they wait for more, we may have failed; a message before that is in both.
    shorter = min(len(said), len(expected))
    assert said[:shorter] == expected[:shorter]
    if their_end:
        assert ended
    if not ended:
        assert said == expected


@given(
    st.lists(
        st.one_of(
            st.builds(Text, st.text(max_size=50)),
            st.builds(Binary, st.binary(max_size=200)),
            st.builds(Ping, st.binary(max_size=125)),
            st.builds(Pong, st.binary(max_size=125)),
        ),
        max_size=6,
    )
)
def test_wsproto_understands_what_we_send(events):
    conn = opened(Http1).client
    said, ended = theirs(b"".join(conn.send(event) for event in events))
    assert said == [(type(event).__name__, event.data) for event in events]
    assert not ended


@given(
    st.lists(st.one_of(st.text(max_size=100), st.binary(max_size=300)), min_size=1, max_size=6),
    st.integers(9, 15),
    st.booleans(),
)
def test_wsproto_inflates_what_we_deflate_and_we_what_it_deflates(messages, bits, takeover):
    # A window of 8 bits is more than wsproto can do.
    params = f"; client_max_window_bits={bits}" + (
        "" if takeover else "; client_no_context_takeover; server_no_context_takeover"
    )
    pmd = PerMessageDeflate(
        client_max_window_bits=bits,
        client_no_context_takeover=not takeover,
        server_no_context_takeover=not takeover,
        threshold=0,
    )
    conn = opened(Http1, [pmd], [pmd]).client
    extension = TheirDeflate(
        client_no_context_takeover=not takeover, server_no_context_takeover=not takeover, client_max_window_bits=bits
    )
    extension._enabled = True
    them = Theirs(ConnectionType.SERVER, extensions=[extension])
    us = server(f"permessage-deflate{params}")
    packer = TheirDeflate(
        client_no_context_takeover=not takeover, server_no_context_takeover=not takeover, client_max_window_bits=bits
    )
    packer._enabled = True
    client = Theirs(ConnectionType.CLIENT, extensions=[packer])
    for message in messages:
        event = Text(message) if isinstance(message, str) else Binary(message)
        them.receive_data(conn.send(event))
        got = list(them.events())
        assert type(got[0].data)().join(it.data for it in got) == message
        sent = client.send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))
        assert frames_of(sent)[0][1] == 0x40
        assert us.receive(sent) == [event]
