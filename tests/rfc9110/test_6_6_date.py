"""Date (RFC 9110 §6.6.1), and what else each response has: whoever drives the server gives it, who has a clock."""

import h2.events
import hpack
import pytest
from wire import CONNECT, END_HEADERS, GET, HEADERS, REQUEST, H2Peer, h2_frame, header_of

from mintws import Http1, Http2, LocalProtocolError, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.events import Response

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
GIVEN = {"Date": DATE, "Server": "tea"}
OWN = {"date": "Mon, 07 Nov 1994 08:49:37 GMT", "SERVER": "coffee"}


def http1(data: bytes, answer=None, **options) -> bytes:
    """Give what an HTTP/1.1 server writes, `answer` said to what it is asked."""
    http = Http1(Role.SERVER, response_headers=lambda: GIVEN, **options)
    events, reply = http.receive(data)
    for conn, event in events:
        if isinstance(event, UpgradeRequest):
            reply += conn.send(answer)
        elif conn is None and (request := http.collect(event)):
            reply += http.respond(request, answer)
    return reply + http.shutdown()


def http2(fields, answer=None, end: bool = False) -> dict[str, str]:
    """Give the headers that an HTTP/2 server writes."""
    peer = H2Peer(Role.SERVER, response_headers=lambda: GIVEN)
    peer.ask(fields, end=end)
    for conn, event in peer.deliver():
        if isinstance(event, UpgradeRequest):
            peer.hear(conn.send(answer))
        elif conn is None and (request := peer.http.collect(event)):
            peer.hear(peer.http.respond(request, answer))
    (response,) = peer.of(h2.events.ResponseReceived)
    return dict(response.headers)


PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OVER_HTTP1 = {
    "101": (REQUEST + b"\r\n", UpgradeAccept()),
    "403": (REQUEST + b"\r\n", UpgradeReject(403)),
    "426": (REQUEST.replace(b"13", b"8") + b"\r\n", None),
    "431": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, None),
    "501": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", None),
    "505": (b"GET / HTTP/3.0\r\n\r\n", None),
    "400": (b"\0\r\n\r\n", None),
    "408": (b"GET / HT", None),
    "200": (PLAIN, Response(200, body=b"a")),
    "204": (PLAIN, Response(204)),
    "304": (PLAIN, Response(304)),
    "500": (PLAIN, Response(500)),
    "404": (PLAIN.replace(b"GET", b"HEAD"), Response(404, body=b"no")),
}
OVER_HTTP2 = {
    "200": (CONNECT, UpgradeAccept()),
    "403": (CONNECT, UpgradeReject(403, body=b"no")),
    "400": ([*CONNECT, ("sec-websocket-version", "8")], None),
    "501": ([(name, value.replace("websocket", "tea")) for name, value in CONNECT], None),
    "404": (GET, Response(404)),
    "304": (GET, Response(304)),
}


@pytest.mark.parametrize("status", OVER_HTTP1)
def test_each_response_over_http1_has_what_the_driver_gives(status):
    written = http1(*OVER_HTTP1[status])
    assert written.startswith(f"HTTP/1.1 {status} ".encode())
    assert (header_of(written, "Date"), header_of(written, "Server")) == (DATE, "tea")
    assert written.count(b"\r\nDate: ") == 1


@pytest.mark.parametrize("status", OVER_HTTP2)
def test_each_response_over_http2_has_what_the_driver_gives(status):
    fields, answer = OVER_HTTP2[status]
    headers = http2(fields, answer, end=fields is GET)
    assert (headers[":status"], headers["date"], headers["server"]) == (status, DATE, "tea")


@pytest.mark.parametrize("answer", [UpgradeAccept(headers=OWN), UpgradeReject(403, headers=OWN), Response(200, OWN)])
def test_response_that_has_its_own_keeps_it(answer):
    plain = isinstance(answer, Response)
    written = http1(PLAIN if plain else REQUEST + b"\r\n", answer)
    assert (header_of(written, "date"), header_of(written, "server")) == (OWN["date"], "coffee")
    assert written.lower().count(b"\r\ndate: ") == written.lower().count(b"\r\nserver: ") == 1
    headers = http2(GET if plain else CONNECT, answer, end=plain)
    assert (headers["date"], headers["server"]) == (OWN["date"], "coffee")


@pytest.mark.parametrize("carrier", [Http1, Http2])
def test_without_a_clock_there_is_no_date(carrier):
    if carrier is Http1:
        http = Http1(Role.SERVER)
        ((conn, _),), _ = http.receive(REQUEST + b"\r\n")
        written = conn.send(UpgradeAccept())
        assert (header_of(written, "Date"), header_of(written, "Server")) == (None, None)
    else:
        peer = H2Peer(Role.SERVER)
        peer.open()
        (response,) = peer.of(h2.events.ResponseReceived)
        assert [name for name, _ in response.headers] == [":status"]


def test_100_continue_has_none():
    data = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    assert Http1(Role.SERVER, response_headers=lambda: GIVEN).receive(data)[1] == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_names_are_in_lower_case_where_that_was_asked_for():
    assert b"\r\ndate: " in http1(REQUEST + b"\r\n", UpgradeAccept(), header_case="lower")


@pytest.mark.parametrize("wrong", [[("Date", "a\r\nb: c")], [("D\n", "a")]])
@pytest.mark.parametrize("carrier", [Http1, Http2])
def test_malformed_header_of_the_driver_sends_nothing(carrier, wrong):
    given = [wrong, GIVEN]
    http = carrier(Role.SERVER, response_headers=lambda: given[0])
    http.start()
    if carrier is Http1:
        data = REQUEST + b"\r\n"
    else:
        block = hpack.Encoder().encode(CONNECT)
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0) + h2_frame(HEADERS, END_HEADERS, 1, block)
    ((conn, _),), _ = http.receive(data)
    with pytest.raises(LocalProtocolError):
        conn.send(UpgradeAccept())
    assert conn.state is State.REQUESTED
    del given[0]
    assert conn.send(UpgradeAccept())
    assert conn.state is State.OPEN
