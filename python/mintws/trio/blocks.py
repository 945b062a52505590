"""Blocks of `async with`: what they have raised, and the nursery that lasts as long as they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


@contextmanager
def raising(error: BaseException | None) -> Iterator[None]:
    """Close what a block has used, which has raised `error`: that goes on, as out of a nursery, even if the closing is cancelled."""
    try:
        yield
    except BaseException as closing:
        if error is None or not _is_cancellation(closing):
            raise


def _is_cancellation(error: BaseException) -> bool:
    """Whether an exception, or each of a group, is trio's for a cancelled scope."""
    # Python 3.10 has no class for groups.
    members = getattr(error, "exceptions", None)
    return isinstance(error, trio.Cancelled) if members is None else all(map(_is_cancellation, members))


class BlockNursery:
    """The nursery of a block. What the block raises is not put in an exception group.

    Raises:
        RuntimeError: trio does not run here.
    """

    def __init__(self) -> None:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "mintws.trio takes trio.run(): under asyncio use mintws.asyncio, and in threads mintws.sync"
            )
        self._manager = trio.open_nursery()

    async def open(self) -> trio.Nursery:
        """Open it."""
        self._nursery = await self._manager.__aenter__()
        return self._nursery

    async def close(self) -> None:
        """End its tasks, and raise their errors, but not that a scope outside is cancelled."""
        self._nursery.cancel_scope.shield = True
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)
