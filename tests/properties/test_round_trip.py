"""What `send` writes, the other role receives."""

from hypothesis import given
from hypothesis import strategies as st
from strategies import cut, deflates, payloads, texts
from wire import CLOSE, CONTINUATION, DATA, frames_of, h2_frames, opened

from mintws import Binary, Http1, Http2, Ping, Pong, PreparedMessage, Text

messages = st.one_of(st.builds(Text, texts), st.builds(Binary, payloads))
controls = st.one_of(st.builds(Ping, st.binary(max_size=125)), st.builds(Pong, st.binary(max_size=125)))


@st.composite
def plans(draw):
    """Events to send, with the `compress` of each, and what then arrives."""
    sent, arrives = [], []
    for _ in range(draw(st.integers(1, 8))):
        compress = draw(st.sampled_from([None, True, False]))
        kind = draw(st.sampled_from(["whole", "control", "fragments", "prepared"]))
        if kind == "control":
            event = draw(controls)
            sent.append((event, compress))
            arrives.append(event)
            continue
        message = draw(messages)
        if kind == "whole":
            sent.append((message, compress))
        elif kind == "prepared":
            sent.append((PreparedMessage(message), compress))
        else:
            data = message.data
            edges = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=3))), len(data)]
            for i in range(len(edges) - 1):
                sent.append((type(message)(data[edges[i] : edges[i + 1]], fin=i == len(edges) - 2), compress))
                if i < len(edges) - 2 and draw(st.booleans()):
                    event = draw(controls)
                    sent.append((event, None))
                    arrives.append(event)
        arrives.append(message)
    return sent, arrives


@st.composite
def pairs(draw):
    cls = draw(st.sampled_from([Http1, Http2]))
    offer, accept = draw(st.lists(deflates, max_size=2)), draw(st.lists(deflates, max_size=2))
    return opened(cls, offer, accept, max_frame=draw(st.sampled_from([None, 1, 10, 125, 126, 1000])))


@given(pairs(), plans(), plans())
def test_messages_arrive_whole_and_in_their_order(pair, up, down):
    for (sent, arrives), conn, carry in [
        (up, pair.client, pair.wire.to_server),
        (down, pair.server, pair.wire.to_client),
    ]:
        assert carry(b"".join(conn.send(event, compress=compress) for event, compress in sent)) == arrives


@given(pairs(), plans())
def test_send_many_and_cork_write_what_arrives(pair, plan):
    sent, arrives = plan
    events = [event for event, _ in sent]
    assert pair.wire.to_server(pair.client.send_many(events)) == arrives
    pair.server.cork()
    for event in events:
        pair.server.send(event)
    assert pair.wire.to_client(pair.server.uncork()) == arrives


@given(
    st.sampled_from([Http1, Http2]),
    st.lists(deflates, max_size=1),
    st.integers(1, 200),
    plans(),
    st.sampled_from(["client", "server"]),
)
def test_no_frame_of_a_message_is_longer_than_max_frame(cls, extensions, max_frame, plan, role):
    pair = opened(cls, extensions, extensions, max_frame=max_frame)
    sent, _ = plan
    data = b"".join(getattr(pair, role).send(event, compress=compress) for event, compress in sent)
    if cls is Http2:
        data = b"".join(payload for kind, _, _, payload in h2_frames(data) if kind == DATA)
    within = False
    for fin, rsv, opcode, payload in frames_of(data):
        if opcode >= CLOSE:
            assert fin
            continue
        assert len(payload) <= max_frame
        assert (opcode == CONTINUATION) == within
        assert not (within and rsv)
        within = not fin
    assert not within


@given(st.data(), st.sampled_from([[], ["deflate"]]), plans())
def test_parts_are_the_messages(data, extensions, plan):
    from mintws import PerMessageDeflate

    offer = [PerMessageDeflate(threshold=0)] if extensions else []
    pair = opened(Http1, offer, offer, parts=True)
    sent, arrives = plan
    stream = b"".join(pair.client.send(event, compress=compress) for event, compress in sent)
    got, controls_, open_ = [], [], None
    for chunk in data.draw(cut(stream)):
        for _, event in pair.wire.server.receive(chunk)[0]:
            if isinstance(event, (Ping, Pong)):
                controls_.append(event)
                continue
            open_ = event.data if open_ is None else open_ + event.data
            if event.fin:
                got.append(type(event)(open_))
                open_ = None
    assert got == [event for event in arrives if isinstance(event, (Text, Binary))]
    assert controls_ == [event for event in arrives if isinstance(event, (Ping, Pong))]
