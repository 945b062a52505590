"""Any cut of the same bytes gives the same events and the same reply."""

from collections import defaultdict

import hpack
from hypothesis import given
from hypothesis import strategies as st
from strategies import Caller, cut, mutated, requests, streams
from wire import ANSWER, CONNECT, GET, REQUEST, accept_of, frame, h2_frame, h2_frames, header_of, server

from mintws import Binary, Failed, Http1, Http2, PerMessageDeflate, Role, Text, UpgradeAccept, UpgradeRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EXTENSION = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
OPTIONS = st.fixed_dictionaries(
    {"limit": st.sampled_from([None, 10, 100, 1000]), "text_as_bytes": st.booleans(), "auto_pong": st.booleans()}
)


def http1_server(options) -> Caller:
    return Caller(Http1(Role.SERVER, **options), UpgradeAccept(extensions=[PerMessageDeflate()]))


def http1_client(options) -> Caller:
    http = Http1(Role.CLIENT, entropy=bytes, **options)
    caller = Caller(http)
    caller.wrote = http.open().send(UpgradeRequest("example.com", extensions=[PerMessageDeflate()]))
    return caller


def by_connection(said: list) -> dict:
    """What each connection says, in its order: between two of them there is none."""
    grouped = defaultdict(list)
    for number, *rest in said:
        grouped[number].append(rest)
    return grouped


def status_line(reply: bytes) -> bytes:
    return reply.split(b"\r\n")[0]


def same(make, data: bytes, chunks: list[bytes], replies=bytes) -> None:
    whole, pieces = make(), make()
    if data:
        whole.receive(data)
    for chunk in chunks:
        pieces.receive(chunk)
    whole.receive(b"")
    pieces.receive(b"")
    assert by_connection(pieces.said) == by_connection(whole.said)
    assert replies(pieces.wrote) == replies(whole.wrote)
    assert pieces.http.done == whole.http.done


@given(st.data(), streams(deflate=True), OPTIONS)
def test_http1_server(data, frames, options):
    stream = REQUEST + EXTENSION + b"\r\n" + frames
    same(lambda: http1_server(options), stream, data.draw(cut(stream)))


@given(st.data(), streams(masked=False, deflate=True), OPTIONS)
def test_http1_client(data, frames, options):
    accept = accept_of(header_of(http1_client({}).wrote, "Sec-WebSocket-Key")).encode()
    answer = ANSWER.replace(header_of(ANSWER, "Sec-WebSocket-Accept").encode(), accept)
    stream = answer + EXTENSION + b"\r\n" + frames
    same(lambda: http1_client(options), stream, data.draw(cut(stream)))


def joined(said: list) -> list:
    """What was said with the parts of a message joined, as far as nothing else stands between them."""
    whole: list = []
    for event in said:
        before = whole[-1] if whole else None
        if type(before) is type(event) and isinstance(event, Text | Binary) and not before.fin:
            whole[-1] = type(event)(before.data + event.data, event.fin)
        else:
            whole.append(event)
    return whole


@given(st.data(), streams(deflate=True), OPTIONS)
def test_parts_are_the_same_joined(data, frames, options):
    def parts(chunks: list[bytes]) -> list:
        end = server("permessage-deflate", parts=True, **options)
        return joined([event for chunk in chunks for event in end.receive(chunk)])

    whole, pieces = parts([frames] if frames else []), parts(data.draw(cut(frames)))
    if whole and isinstance(whole[-1], Failed):
        # Of a message that breaks a rule less may come than there is.
        assert repr(pieces.pop()) == repr(whole.pop())
        for events in (whole, pieces):
            if events and isinstance(events[-1], Text | Binary) and not events[-1].fin:
                events.pop()
    assert pieces == whole


@given(st.data(), mutated(streams(deflate=True)), OPTIONS)
def test_http1_server_with_broken_frames(data, frames, options):
    stream = REQUEST + EXTENSION + b"\r\n" + frames
    same(lambda: http1_server(options), stream, data.draw(cut(stream)))


@given(st.data(), requests())
def test_http1_server_with_ordinary_requests(data, stream):
    same(lambda: http1_server({}), stream, data.draw(cut(stream)))


@given(st.data(), mutated(st.just(REQUEST + EXTENSION + b"\r\n")))
def test_http1_server_with_broken_head(data, stream):
    same(lambda: http1_server({}), stream, data.draw(cut(stream)), status_line)


@given(st.data(), mutated(st.just(ANSWER + b"\r\n")))
def test_http1_client_with_broken_head(data, stream):
    same(lambda: http1_client({}), stream, data.draw(cut(stream)), status_line)


def by_stream(data: bytes):
    """What frames of HTTP/2 say, where their order and their cut means nothing."""
    sent, credit, others = defaultdict(bytes), defaultdict(int), defaultdict(list)
    for kind, flags, number, payload in h2_frames(data):
        if kind == 0:
            sent[number] += payload
            others[number].append(flags) if flags else None
        elif kind == 8:
            credit[number] += int.from_bytes(payload, "big")
        else:
            others[number].append((kind, flags, payload))
    return sent, credit, others


@st.composite
def http2_streams(draw) -> tuple[bytes, bytes]:
    """The start of a connection with two WebSockets; then their DATA in turns, and an ordinary request."""
    encoder = hpack.Encoder()
    start = PREFACE + h2_frame(4, 0, 0)
    start += h2_frame(1, 4, 1, encoder.encode(CONNECT)) + h2_frame(1, 4, 3, encoder.encode(CONNECT))
    made = b""
    if draw(st.booleans()):
        made += h2_frame(1, 5, 5, encoder.encode(GET))
    left = {1: draw(streams()), 3: draw(streams())}
    while any(left.values()):
        number = draw(st.sampled_from([number for number in left if left[number]]))
        size = draw(st.integers(1, 60))
        made += h2_frame(0, 0, number, left[number][:size])
        left[number] = left[number][size:]
        if not draw(st.integers(0, 5)):
            made += draw(
                st.sampled_from(
                    [
                        h2_frame(6, 0, 0, b"12345678"),
                        h2_frame(8, 0, 0, b"\0\0\1\0"),
                        h2_frame(4, 0, 0),
                        h2_frame(0xBB, 0, 0, b"?"),
                    ]
                )
            )
    for number in left:
        made += draw(st.sampled_from([b"", h2_frame(0, 1, number)]))
    return start, made


def http2_server() -> Caller:
    http = Http2(Role.SERVER)
    caller = Caller(http)
    caller.wrote = http.start()
    return caller


@given(st.data(), http2_streams())
def test_http2_server(data, streams_):
    start, stream = streams_

    def make() -> Caller:
        http = Http2(Role.SERVER)
        caller = Caller(http)
        caller.wrote = http.start()
        # What a stream that ends before its answer has said depends on when the caller answers.
        caller.receive(start)
        return caller

    same(make, stream, data.draw(cut(stream)), by_stream)


@given(st.data(), http2_streams())
def test_http2_server_from_the_start(data, streams_):
    start, _ = streams_
    same(http2_server, start, data.draw(cut(start)), by_stream)


@given(st.data(), streams(masked=False))
def test_http2_client(data, frames):
    def make() -> Caller:
        http = Http2(Role.CLIENT, entropy=bytes)
        caller = Caller(http)
        caller.wrote = http.start()[24:]
        http.open().send(UpgradeRequest("example.com"))
        caller.receive(h2_frame(4, 0, 0, b"\x00\x08\x00\x00\x00\x01"))
        return caller

    stream = h2_frame(1, 4, 1, b"\x88")
    stream += b"".join(h2_frame(0, 0, 1, frames[i : i + 50]) for i in range(0, len(frames), 50))
    same(make, stream, data.draw(cut(stream)), by_stream)


def test_streams_say_something():
    # What is compared above is not nothing.
    caller = http1_server({})
    caller.receive(REQUEST + b"\r\n" + frame(1, b"hi", key=bytes(4)))
    assert len(caller.said) == 2
    assert caller.wrote
