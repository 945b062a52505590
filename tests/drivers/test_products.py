"""Date, Server and User-Agent: what the drivers add to the headers of responses and requests."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

import pytest
from drivers.conftest import listening, url
from drivers.raw import raw_client
from wire import REQUEST, header_of

from mintws import LocalProtocolError, UpgradeAccept, UpgradeError, UpgradeReject, __version__
from mintws.asyncio import Server, connect, connect_http2, serve
from mintws.events import Response
from mintws.session import date

PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NAME = f"mintws/{__version__}"


def is_now(told: str | None) -> bool:
    """Whether a Date is of now, and as RFC 9110 §5.6.7 has it."""
    assert told is not None
    assert told.endswith(" GMT")
    return abs(parsedate_to_datetime(told).timestamp() - time.time()) < 60


async def refuse(_connection, request):
    if request.target == "/raise":
        raise ValueError("oops")
    if request.target == "/own":
        return UpgradeAccept(headers={"date": "Sun, 06 Nov 1994 08:49:37 GMT", "server": "coffee"})
    return UpgradeReject(404) if request.target == "/no" else None


async def respond(request):
    if request.target == "/raise":
        raise ValueError("oops")
    return Response(200, {"Server": "coffee"} if request.target == "/own" else {}, b"a page")


ASKED = {
    "101": REQUEST + b"\r\n",
    "200": PLAIN,
    "400": b"GET / HTTP/1.1\r\n\r\n",
    "403": REQUEST + b"Origin: https://evil.example\r\nCookie: a=b\r\n\r\n",
    "404": REQUEST.replace(b"/chat", b"/no") + b"\r\n",
    "408": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
    "413": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 1_100_000,
    "426": REQUEST.replace(b"13", b"8") + b"\r\n",
    "431": b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000,
    "500": PLAIN.replace(b"/ ", b"/raise "),
}


@pytest.mark.parametrize("status", ASKED)
def test_each_response_over_http1_has_date_and_server(run, status, caplog):
    async def work():
        async with listening(upgrade=refuse, respond=respond, open_timeout=0.5 if status == "408" else 10) as server:
            reader, writer = await raw_client(server, head=b"")
            writer.write(ASKED[status])
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {status} ".encode())
            assert is_now(header_of(head, "Date"))
            assert header_of(head, "Server") == NAME
            writer.close()

    run(work())


def test_half_a_head_that_takes_too_long_gets_a_408_with_date(run):
    async def work():
        async with listening(open_timeout=0.2) as server:
            reader, writer = await raw_client(server, head=b"GET / HT")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")
            assert is_now(header_of(head, "Date"))
            writer.close()

    run(work())


def test_response_of_a_server_without_pages_has_date(run):
    async def work():
        async with listening() as server:
            reader, writer = await raw_client(server, head=PLAIN)
            assert is_now(header_of(await reader.readuntil(b"\r\n\r\n"), "Date"))
            writer.close()
            async with connect_http2(url(server)) as client:
                response = await client.request("GET", "/")
                assert response.status == 404
                assert is_now(dict(response.headers)["date"])

    run(work())


def test_each_response_over_http2_has_date_and_server(run, caplog):
    async def work():
        async with (
            listening(upgrade=refuse, respond=respond) as server,
            connect_http2(url(server)) as client,
        ):
            websocket = await client.open("/")
            heads = [websocket.response.headers]
            for target, more in (
                ("/no", {}),
                ("/raise", {}),
                ("/", {"Cookie": "a=b", "Origin": "https://evil.example"}),
            ):
                with pytest.raises(UpgradeError) as refused:
                    await client.open(target, headers=more)
                heads.append(refused.value.headers)
            for method, target, body in (("GET", "/", b""), ("GET", "/raise", b""), ("POST", "/", b"a" * 1_100_000)):
                heads.append((await client.request(method, target, body=body)).headers)
            for headers in heads:
                assert is_now(dict(headers)["date"])
                assert dict(headers)["server"] == NAME

    run(work())


def test_what_the_application_gives_itself_wins(run, http):
    seen = []

    async def note(websocket):
        seen.append(dict(websocket.request.headers)["user-agent"])

    async def work():
        async with listening(note, upgrade=refuse, respond=respond) as server:
            async with connect(url(server, "/own"), http=http, headers={"user-agent": "tea"}) as websocket:
                assert websocket.response.headers == (
                    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                    ("server", "coffee"),
                )
            async with connect_http2(url(server)) as client:
                assert dict((await client.request("GET", "/own")).headers)["server"] == "coffee"
        assert seen == ["tea"]

    run(work())


@pytest.mark.parametrize(
    ("given", "sent"), [({}, NAME), ({"user_agent_header": "tea/1"}, "tea/1"), ({"user_agent_header": None}, None)]
)
def test_a_client_says_what_it_is_unless_told_otherwise(run, http, given, sent):
    seen = []

    async def note(websocket):
        seen.append(dict(websocket.request.headers).get("user-agent"))

    def page(request):
        seen.append(dict(request.headers).get("user-agent"))
        return Response(204)

    async def work():
        async with listening(note, respond=page) as server:
            async with connect(url(server), http=http, **given):
                pass
            async with connect_http2(url(server), **given) as client:
                await client.open("/")
                await client.request("GET", "/")
                await client.request("GET", "/", headers={"User-Agent": "coffee"})
        assert seen == [sent, sent, sent, "coffee"]

    run(work())


@pytest.mark.parametrize(("given", "sent"), [({"server_header": "tea/1"}, "tea/1"), ({"server_header": None}, None)])
def test_a_server_says_what_it_is_told_to(run, http, given, sent):
    async def work():
        async with listening(**given) as server:
            async with connect(url(server), http=http) as websocket:
                assert dict(websocket.response.headers).get("server") == sent
                assert is_now(dict(websocket.response.headers)["date"])

    run(work())


@pytest.mark.parametrize(
    "call",
    [
        lambda it: serve(print, "127.0.0.1", 0, server_header=it),
        lambda it: connect("ws://a", user_agent_header=it),
        lambda it: connect_http2("ws://a", user_agent_header=it),
    ],
)
@pytest.mark.parametrize(
    ("wrong", "error"), [(True, TypeError), (b"tea", TypeError), ("", LocalProtocolError), ("a\nb", LocalProtocolError)]
)
def test_a_wrong_name_is_refused_by_the_call(call, wrong, error):
    with pytest.raises(error, match=r"Server|User-Agent"):
        call(wrong)


def test_a_date_is_written_once_for_all_responses_of_a_second():
    assert date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert date(784111777) is date(784111777)
    assert date(784111778) == "Sun, 06 Nov 1994 08:49:38 GMT"


def test_no_message_asks_for_the_time(run, http, monkeypatch):
    given, asked = Server._response_headers, []

    def count(server):
        asked.append(server)
        return given(server)

    async def work():
        monkeypatch.setattr(Server, "_response_headers", count)
        async with listening() as server, connect(url(server), http=http) as websocket:
            for _ in range(10):
                await websocket.send("a")
                await websocket.recv()
        assert asked == [server]

    run(work())
