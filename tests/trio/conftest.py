"""What tests of the driver for trio share: a bound on every test, both versions of HTTP, and TLS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from drivers.conftest import tls_contexts  # noqa: F401  (fixtures)

BOUND = 20.0


@pytest.fixture
def run() -> Callable[..., Any]:
    """Run a coroutine function on trio, for at most 20 seconds."""

    def run(work: Callable[[], Awaitable[Any]], **how: Any) -> Any:
        async def bounded() -> Any:
            with trio.fail_after(BOUND):
                return await work()

        return trio.run(bounded, **how)

    return run


@pytest.fixture(params=["1.1", "2"])
def http(request: pytest.FixtureRequest) -> str:
    return str(request.param)
