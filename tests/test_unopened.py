"""What is not open yet says how it is opened, where its user takes it for what it opens."""

from __future__ import annotations

import re

import pytest

import mintws.asyncio
import mintws.sync
import mintws.trio
from mintws.asyncio.testing import pair

AWAITED = "`async with {0}(...) as ...` or `await {0}(...)`"
ENTERED = "`async with {0}(...) as ...`"
OPENED = "`with {0}(...) as ...` or `{0}(...).open()`"
LISTENING = "`with {0}(...) as ...` or `{0}(...).listen()`"


@pytest.mark.parametrize(
    ("driver", "call", "attribute", "how"),
    [
        (mintws.asyncio, "connect", "recv", AWAITED),
        (mintws.asyncio, "connect_http2", "open", AWAITED),
        (mintws.asyncio, "serve", "port", AWAITED),
        (mintws.trio, "connect", "recv", ENTERED),
        (mintws.trio, "connect_http2", "open", ENTERED),
        (mintws.trio, "serve", "port", ENTERED),
        (mintws.sync, "connect", "recv", OPENED),
        (mintws.sync, "connect_http2", "request", OPENED),
        (mintws.sync, "serve", "port", LISTENING),
    ],
)
def test_an_opening_says_how_it_is_opened(driver, call, attribute, how):
    def handler(websocket):
        raise NotImplementedError

    made = driver.serve(handler, "127.0.0.1", 0) if call == "serve" else getattr(driver, call)("ws://localhost")
    says = f"{call}() has no attribute '{attribute}' until it is opened: write {how.format(call)}"
    with pytest.raises(AttributeError, match=f"^{re.escape(says)}$") as caught:
        getattr(made, attribute)
    assert (caught.value.name, caught.value.obj) == (attribute, made)
    assert not hasattr(made, "_unknown")


def test_the_target_of_a_pair_is_text():
    with pytest.raises(TypeError, match=r"^target is path and query, a str, not <function"):
        pair(lambda websocket: None)
