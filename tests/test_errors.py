"""The exceptions are values like any other: they can be copied, and sent to another process."""

from __future__ import annotations

import copy
import pickle

import pytest

from mintws import (
    ConnectionClosed,
    ExtendedConnectDisabled,
    LocalProtocolError,
    RemoteProtocolError,
    ResponseTooLarge,
    UpgradeError,
)

ERRORS = [
    LocalProtocolError("what to do"),
    ExtendedConnectDisabled("what to do"),
    RemoteProtocolError("what broke", code=1007, section="RFC 6455 §8.1", status=400),
    UpgradeError(403, (("x-why", "because"),), b"no"),
    ResponseTooLarge(200, 1 << 20),
    ConnectionClosed(1001, "bye", clean=False),
    ConnectionClosed(1000),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_that_is_copied_or_pickled_says_the_same(error, again):
    other = again(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
