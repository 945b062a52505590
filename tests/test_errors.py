"""The exceptions are values like any other: they can be copied, and sent to another process."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest

from mintws import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    ExtendedConnectDisabled,
    LocalProtocolError,
    MintWSError,
    PoolClosed,
    ProxyError,
    RemoteProtocolError,
    ResponseTooLarge,
    SendBufferFull,
    UpgradeError,
)
from mintws.asyncio.connector import _ConnectTimeout

ERRORS = [
    LocalProtocolError("what to do"),
    ExtendedConnectDisabled("what to do"),
    PoolClosed("closed"),
    RemoteProtocolError("what broke", code=1007, section="RFC 6455 §8.1", status=400),
    RemoteProtocolError("too much", code=1009, hint="raise it"),
    ConnectError("where to, and why not", errno=111),
    ConnectError("where to, and why not"),
    ConnectTimeout("what was waited for", errno=110),
    _ConnectTimeout("what was waited for"),
    UpgradeError(403, (("x-why", "because"),), b"no"),
    ProxyError("why", status=407, headers=(("proxy-authenticate", "Basic"),), body=b"no"),
    ProxyError.of_http(502, (), b"no"),
    ProxyError.of_socks("refused", 5).about("cannot connect"),
    ResponseTooLarge(200, 1 << 20),
    SendBufferFull(2_000_000, 1 << 20),
    UpgradeError(503, (("retry-after", "5"), ("location", "/")), b"busy"),
    ConnectionClosed(1001, "bye", clean=False),
    ConnectionClosed(1009, "too much", clean=False, ended_by="us"),
    ConnectionClosed(1000),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_that_is_copied_or_pickled_says_the_same(error, again):
    other = again(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
    assert getattr(other, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (ConnectError(""), {MintWSError, OSError}),
        (ConnectTimeout(""), {ConnectError, TimeoutError}),
        (_ConnectTimeout(""), {ConnectTimeout, asyncio.TimeoutError}),
        (UpgradeError(403), {ConnectError}),
        (ProxyError(""), {ConnectError}),
        (ExtendedConnectDisabled(""), {ConnectError, LocalProtocolError}),
        (PoolClosed(""), {ConnectError, LocalProtocolError}),
    ],
    ids=lambda it: "",
)
def test_what_fails_to_open_a_websocket_is_caught_as(error, kinds):
    assert all(isinstance(error, kind) for kind in kinds)
    assert not isinstance(error, ConnectionClosed)


@pytest.mark.parametrize(
    ("closed", "says"),
    [
        (ConnectionClosed(1000), "the connection ended with 1000"),
        (ConnectionClosed(1000, "bye", ended_by="us"), "we closed with 1000: bye"),
        (ConnectionClosed(1009, "too much", ended_by="peer"), "the peer closed with 1009: too much"),
        (ConnectionClosed(1006, "silence", ended_by="us"), "we ended the connection with 1006: silence"),
        (ConnectionClosed(1006, "reset", clean=False), "the connection ended with 1006: reset"),
    ],
    ids=lambda it: "",
)
def test_the_end_of_a_websocket_says_who_ended_it(closed, says):
    assert str(closed) == says
