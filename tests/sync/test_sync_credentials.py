"""Credentials of clients for threads: cookies in a jar (RFC 6265), Basic credentials that a server asks for (RFC 7617), made headers."""

from __future__ import annotations

import time
from http.cookiejar import CookieJar

import pytest
from sync.conftest import listening, url

from mintws import ConnectTimeout, UpgradeAccept, UpgradeError, UpgradeReject
from mintws.sync import Pool, Reconnect, basic_auth, connect


def noting(sent, *answers):
    """Make a hook that notes the cookies of requests, and gives these answers."""
    left = list(answers)

    def upgrade(connection, request):
        sent.append(request.cookies)
        return left.pop(0) if left else None

    return upgrade


def opened(opening):
    with opening:
        pass


SET = {"Set-Cookie": "a=1; Path=/"}


@pytest.mark.parametrize("answer", [UpgradeAccept(headers=SET), UpgradeReject(401, headers=SET)])
def test_cookies_of_an_answer_are_kept_and_sent(http, answer):
    sent, jar = [], CookieJar()
    with listening(upgrade=noting(sent, answer)) as server:
        if isinstance(answer, UpgradeAccept):
            opened(connect(url(server), http=http, cookies=jar))
        else:
            with pytest.raises(UpgradeError):
                connect(url(server), http=http, cookies=jar).open()
        opened(connect(url(server, "/chat"), http=http, cookies=jar))
        opened(connect(url(server), http=http, cookies=jar, headers={"Cookie": "own=2"}))
        opened(connect(url(server), http=http))
    assert sent == [{}, {"a": "1"}, {"own": "2"}, {}]
    assert {cookie.name for cookie in jar} == {"a"}


def test_a_redirect_sets_cookies_for_the_next_request(http):
    sent = []
    redirect = UpgradeReject(302, headers=[("Location", "/new"), *SET.items()])
    with listening(upgrade=noting(sent, redirect)) as server:
        opened(connect(url(server), http=http, cookies=CookieJar()))
    assert sent == [{}, {"a": "1"}]


def test_another_host_gets_no_cookie_of_the_first(http):
    sent, jar = [], CookieJar()
    with listening(upgrade=noting(sent, UpgradeAccept(headers=SET))) as server:
        for host in ("one.example", "two.example", "one.example"):
            opened(connect(f"ws://{host}/", host="127.0.0.1", port=server.port, http=http, cookies=jar))
    assert sent == [{}, {}, {"a": "1"}]


def test_a_client_that_connects_again_sends_the_cookies_it_was_given(http):
    sent = []

    def handler(websocket):
        websocket.close(1012 if len(sent) == 1 else 1000)

    with listening(handler, upgrade=noting(sent, UpgradeAccept(headers=SET))) as server:
        reconnect = Reconnect(first=0.01)
        for websocket in connect(url(server), http=http, cookies=CookieJar(), reconnect=reconnect):
            websocket.wait_closed()
    assert sent == [{}, {"a": "1"}]


def test_threads_share_a_jar(http, works):
    sent, jar = [], CookieJar()

    def upgrade(connection, request):
        sent.append(request.cookies)
        return UpgradeAccept(headers=[("Set-Cookie", f"c{request.path[1:]}=1; Path=/")])

    with listening(upgrade=upgrade) as server:
        for number in range(16):
            works.begin(lambda number: opened(connect(url(server, f"/{number}"), http=http, cookies=jar)), number)
        works.end()
        opened(connect(url(server, "/last"), http=http, cookies=jar))
    assert sent[-1] == {f"c{number}": "1" for number in range(16)}


def test_basic_credentials_are_asked_for(http):
    names = []
    hook = basic_auth({"ann": "s3cret"}, realm="tea")
    with listening(lambda websocket: names.append(websocket.app), upgrade=hook) as server:
        opened(connect(url(server).replace("//", "//ann:s3cret@"), http=http))
        for wrong in (url(server), url(server).replace("//", "//ann:wrong@")):
            with pytest.raises(UpgradeError) as told:
                connect(wrong, http=http).open()
            assert told.value.status == 401
            assert told.value.headers["WWW-Authenticate"] == 'Basic realm="tea", charset="UTF-8"'
    assert names == ["ann"]


def test_a_timeout_of_a_headers_function_is_its_own(http):
    def headers():
        raise TimeoutError("the token did not come")

    with listening() as server:
        with pytest.raises(TimeoutError, match="the token did not come") as raised:
            connect(url(server), http=http, headers=headers).open()
    assert not isinstance(raised.value, ConnectTimeout)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_headers_function_that_takes_the_open_timeout_is_told_of(http, pooled):
    def headers():
        time.sleep(0.1)
        return {}

    with Pool() as pool, listening() as server:
        opening = (pool.connect if pooled else connect)(url(server), http=http, headers=headers, open_timeout=0.05)
        with pytest.raises(ConnectTimeout, match=r": what `headers` returns did not come within 0\.05 s"):
            opening.open()
