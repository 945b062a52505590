"""`receive` raises nothing, whatever the bytes; and what it says can be answered."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Caller, cut, h2_frames_at_random, mutated, streams
from strategies import requests as http1_requests
from wire import ANSWER, CONNECT, GET, REQUEST, H2Peer, client, h2_frame, server

from mintws import Http1, Http2, PerMessageDeflate, Role, UpgradeAccept, UpgradeRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0)
ORDINARY = (
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.0\r\n\r\n"
)
heads = mutated(
    st.sampled_from(
        [
            REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\r\n",
            ANSWER + b"\r\n",
            ORDINARY,
            b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER + b"\r\n",
        ]
    )
)


def fresh(cls, role: Role, **options) -> Caller:
    http = cls(role, **options)
    caller = Caller(http, UpgradeAccept(extensions=[PerMessageDeflate()]), echo=True)
    http.start()
    if role is Role.CLIENT:
        http.open().send(UpgradeRequest("example.com", subprotocols=["a"], extensions=[PerMessageDeflate()]))
    return caller


def feed(caller: Caller, chunks: list[bytes]) -> None:
    for chunk in [*chunks, b"", b"late"]:
        caller.receive(chunk)


@pytest.mark.parametrize("cls", [Http1, Http2])
@pytest.mark.parametrize("role", Role)
@given(data=st.data(), noise=st.binary(max_size=200))
def test_noise_before_the_handshake(cls, role, data, noise):
    feed(fresh(cls, role), data.draw(cut(noise)))


@pytest.mark.parametrize("role", Role)
@given(data=st.data(), head=heads)
def test_broken_heads(role, data, head):
    feed(fresh(Http1, role), data.draw(cut(head)))


@given(data=st.data(), opened=st.booleans(), stream=st.one_of(st.binary(max_size=200), heads))
def test_bytes_that_come_before_a_client_of_http1_has_asked(data, opened, stream):
    http = Http1(Role.CLIENT)
    if opened:
        http.open()
    feed(Caller(http), data.draw(cut(stream)))
    assert http.done
    assert not http.can_open


@given(data=st.data(), stream=st.one_of(http1_requests(), mutated(http1_requests())))
def test_requests_of_http1_that_are_answered_sooner_or_later(data, stream):
    caller = Caller(Http1(Role.SERVER), prompt=False)
    for chunk in [*data.draw(cut(stream)), b"", b"late"]:
        caller.receive(chunk)
        while caller.owed and data.draw(st.booleans()):
            caller.answer()
    while caller.owed:
        caller.answer()
    assert caller.http.done


@pytest.mark.parametrize("make", [server, client])
@pytest.mark.parametrize(
    "options", [{}, {"parts": True}, {"text_as_bytes": True, "parts": True}, {"limit": 20}], ids=str
)
@given(data=st.data(), noise=st.binary(max_size=200))
def test_noise_as_frames(make, options, data, noise):
    feed(Caller(make("permessage-deflate", **options).http, echo=True), data.draw(cut(noise)))


@pytest.mark.parametrize("make", [server, client])
@pytest.mark.parametrize("options", [{}, {"parts": True}, {"text_as_bytes": True, "limit": 20}], ids=str)
@given(data=st.data())
def test_broken_frames(make, options, data):
    frames = data.draw(mutated(streams(masked=make is server, deflate=True)))
    feed(Caller(make("permessage-deflate", **options).http, echo=True), data.draw(cut(frames)))


@pytest.mark.parametrize("role", Role)
@given(data=st.data(), frames=st.lists(h2_frames_at_random, max_size=12))
def test_frames_of_http2_at_random(role, data, frames):
    stream = (PREFACE if role is Role.SERVER else h2_frame(4, 0, 0, b"\x00\x08\x00\x00\x00\x01")) + b"".join(frames)
    feed(fresh(Http2, role), data.draw(cut(stream)))


@pytest.mark.parametrize("role", Role)
@given(data=st.data(), frames=st.lists(h2_frames_at_random, max_size=12))
def test_frames_of_http2_at_random_on_open_websockets(role, data, frames):
    peer = H2Peer(role)
    for _ in range(2):
        peer.open() if role is Role.SERVER else peer.answer()
    peer.h2.data_to_send()
    feed(Caller(peer.http, echo=True), data.draw(cut(b"".join(frames))))


@st.composite
def requests(draw) -> bytes:
    """HEADERS that are nearly right, with DATA behind."""
    encoder = hpack.Encoder()
    made = PREFACE
    for number in range(1, 2 * draw(st.integers(1, 4)), 2):
        headers = list(draw(st.sampled_from([CONNECT, GET])))
        for _ in range(draw(st.integers(0, 2))):
            place = draw(st.integers(0, len(headers)))
            odd = st.one_of(
                st.sampled_from(
                    [
                        b":path",
                        b":protocol",
                        b":method",
                        b"host",
                        b"cookie",
                        b"te",
                        b"content-length",
                        b"Upper",
                        b"",
                        b"sec-websocket-protocol",
                        b"sec-websocket-extensions",
                    ]
                ),
                st.binary(max_size=8),
            )
            headers.insert(
                place,
                (draw(odd), draw(st.one_of(st.sampled_from([b"", b"1", b"websocket", b"/"]), st.binary(max_size=8)))),
            )
        if draw(st.booleans()):
            del headers[draw(st.integers(0, len(headers) - 1))]
        made += h2_frame(1, 4 | draw(st.integers(0, 1)), number, encoder.encode(headers))
        made += h2_frame(0, draw(st.integers(0, 1)), number, draw(streams())[:16384])
    return made


@given(data=st.data(), stream=requests())
def test_requests_of_http2_that_are_nearly_right(data, stream):
    feed(fresh(Http2, Role.SERVER), data.draw(cut(stream)))


@given(data=st.data(), stream=mutated(requests()))
def test_requests_of_http2_that_are_mutated(data, stream):
    feed(fresh(Http2, Role.SERVER), data.draw(cut(stream)))


@given(
    data=st.data(),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                [b":status", b"sec-websocket-protocol", b"sec-websocket-extensions", b"x", b"X", b"connection"]
            ),
            st.sampled_from([b"200", b"100", b"403", b"a", b"permessage-deflate", b"", b"\xff", b"2"]),
        ),
        max_size=4,
    ),
    end=st.booleans(),
)
def test_answers_of_http2_that_are_nearly_right(data, headers, end):
    block = hpack.Encoder().encode([*([(b":status", b"200")] if data.draw(st.booleans()) else []), *headers])
    stream = h2_frame(4, 0, 0, b"\x00\x08\x00\x00\x00\x01") + h2_frame(1, 5 if end else 4, 1, block)
    feed(fresh(Http2, Role.CLIENT), data.draw(cut(stream + h2_frame(0, 0, 1, b"\x81\x00"))))
