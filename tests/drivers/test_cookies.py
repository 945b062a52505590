"""Cookies of a client, kept in a jar (RFC 6265), and Basic credentials that a server asks for."""

from __future__ import annotations

from http.cookiejar import CookieJar

import pytest
from drivers.conftest import listening, url

from mintws import UpgradeAccept, UpgradeError, UpgradeReject
from mintws.asyncio import Reconnect, basic_auth, connect


def noting(sent, *answers):
    """Make a hook that notes the cookies of requests, and gives these answers."""
    left = list(answers)

    def upgrade(connection, request):
        sent.append(request.cookies)
        return left.pop(0) if left else None

    return upgrade


async def opened(opening):
    async with opening:
        pass


@pytest.fixture(params=["accepted", "refused"])
def answer(request):
    """An answer that sets two cookies."""
    headers = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/other; HttpOnly")]
    return UpgradeAccept(headers=headers) if request.param == "accepted" else UpgradeReject(401, headers=headers)


def test_cookies_are_kept_and_sent(run, http, answer):
    sent, jar = [], CookieJar()

    async def work():
        async with listening(upgrade=noting(sent, answer)) as server:
            if isinstance(answer, UpgradeAccept):
                await opened(connect(url(server), http=http, cookies=jar))
            else:
                with pytest.raises(UpgradeError):
                    await connect(url(server), http=http, cookies=jar)
            await opened(connect(url(server, "/chat"), http=http, cookies=jar))
            await opened(connect(url(server, "/other"), http=http, cookies=jar))
            await opened(connect(url(server), http=http))

    run(work())
    assert sent == [{}, {"a": "1"}, {"a": "1", "b": "2"}, {}]
    assert {cookie.name for cookie in jar} == {"a", "b"}


def test_a_redirect_sets_cookies_for_the_next_request(run, http):
    sent = []
    redirect = UpgradeReject(302, headers=[("Location", "/new"), ("Set-Cookie", "session=1; Path=/")])

    async def work():
        async with listening(upgrade=noting(sent, redirect)) as server:
            await opened(connect(url(server), http=http, cookies=CookieJar()))

    run(work())
    assert sent == [{}, {"session": "1"}]


def test_another_host_gets_no_cookie_of_the_first(run, http):
    sent = []
    setting = UpgradeAccept(headers={"Set-Cookie": "a=1; Path=/"})

    async def work():
        jar = CookieJar()
        async with listening(upgrade=noting(sent, setting)) as server:
            at = {"host": "127.0.0.1", "port": server.port, "http": http, "cookies": jar}
            for host in ("one.example", "two.example", "one.example"):
                await opened(connect(f"ws://{host}/", **at))

    run(work())
    assert sent == [{}, {}, {"a": "1"}]


def test_a_secure_cookie_is_not_sent_without_tls(run, http):
    sent = []
    setting = UpgradeAccept(headers={"Set-Cookie": "a=1; Path=/; Secure"})

    async def work():
        jar = CookieJar()
        async with listening(upgrade=noting(sent, setting)) as server:
            for _ in range(2):
                await opened(connect(url(server), http=http, cookies=jar))

    run(work())
    assert sent == [{}, {}]


def test_a_cookie_among_the_headers_is_sent_instead(run, http):
    sent = []
    setting = UpgradeAccept(headers={"Set-Cookie": "a=1; Path=/"})

    async def work():
        jar = CookieJar()
        async with listening(upgrade=noting(sent, setting)) as server:
            for headers in ({}, {"Cookie": "own=2"}):
                await opened(connect(url(server), http=http, cookies=jar, headers=headers))

    run(work())
    assert sent == [{}, {"own": "2"}]


def test_a_client_that_connects_again_sends_what_it_was_given(run, http):
    sent = []
    setting = UpgradeAccept(headers={"Set-Cookie": "a=1; Path=/"})

    async def work():
        async def handler(websocket):
            await websocket.close(1012 if len(sent) == 1 else 1000)

        async with listening(handler, upgrade=noting(sent, setting)) as server:
            async for websocket in connect(
                url(server), http=http, cookies=CookieJar(), reconnect=Reconnect(first=0.01)
            ):
                await websocket.wait_closed()

    run(work())
    assert sent == [{}, {"a": "1"}]


def test_basic_credentials_are_asked_for(run, http):
    names = []

    async def work():
        async def handler(websocket):
            names.append(websocket.app)

        async with listening(handler, upgrade=basic_auth({"ann": "s3cret"}, realm="tea")) as server:
            await opened(connect(url(server).replace("//", "//ann:s3cret@"), http=http))
            for wrong in (url(server), url(server).replace("//", "//ann:wrong@")):
                with pytest.raises(UpgradeError) as told:
                    await connect(wrong, http=http)
                assert told.value.status == 401
                assert told.value.headers["WWW-Authenticate"] == 'Basic realm="tea", charset="UTF-8"'

    run(work())
    assert names == ["ann"]
