"""A result, or an exception, that a task waits for; it comes once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar

import trio

T = TypeVar("T")


class Waiter(Generic[T]):
    """A result that tasks wait for by `await`."""

    __slots__ = ("_come", "_error", "_result")

    def __init__(self) -> None:
        self._come = trio.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether there is a result, or an exception."""
        return self._come.is_set()

    def set_result(self, result: T, /) -> None:
        """Give the result."""
        self._result = result
        self._come.set()

    def set_exception(self, error: BaseException, /) -> None:
        """Give an exception, which `await` raises."""
        self._error = error
        self._come.set()

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        await self._come.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                # This frame is in its traceback.
                del self
        return self._result  # type: ignore[return-value]
