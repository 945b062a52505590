"""Keep order books up to date, through gaps and restarts: `python examples/market_data.py URL SYMBOL...` (exchange.py is a server).

It subscribes again whenever it is connected again, and asks for a new snapshot of a book when a sequence number is missing.
"""

import argparse
import asyncio
import json
import logging
import sys
from typing import Any, Literal

from mintws import ConnectError, ConnectionClosed, LocalProtocolError
from mintws.asyncio import Failure, Reconnect, WebSocket, connect

logger = logging.getLogger("market_data")


class Book:
    """The orders of one symbol: sizes by price.

    Attributes:
        sequence: the number of the last change; `None` until a snapshot has come.
    """

    def __init__(self) -> None:
        self.sequence: int | None = None
        self.sides: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}

    def take(self, message: dict[str, Any]) -> bool:
        """Take a snapshot or an update; return whether the book is whole after it, which it is not after a gap."""
        sequence = int(message["sequence"])
        if message["type"] == "snapshot":
            self.sequence = sequence
            self.sides = {side: {int(price): int(size) for price, size in message[side]} for side in self.sides}
        elif self.sequence is not None and sequence == self.sequence + 1:
            self.sequence = sequence
            orders = self.sides[message["side"]]
            if message["size"]:
                orders[message["price"]] = message["size"]
            else:
                orders.pop(message["price"], None)
        elif self.sequence is not None and sequence > self.sequence:
            self.sequence = None
            return False
        # Any other update is older than the snapshot, or comes before it.
        return True

    def __str__(self) -> str:
        bids, asks = self.sides["bids"], self.sides["asks"]
        bid, ask = max(bids, default=None), min(asks, default=None)
        return f"#{self.sequence} bid {bid} x {bids.get(bid or 0, 0)} ask {ask} x {asks.get(ask or 0, 0)}"


class Client:
    """The books of several symbols."""

    def __init__(self, symbols: list[str]) -> None:
        self.books = {symbol: Book() for symbol in symbols}

    async def follow(self, url: str) -> None:
        """Keep the books up to date until the exchange refuses what is asked for.

        Raises:
            ConnectError, ConnectionClosed: it does.
        """
        async for websocket in connect(url, reconnect=Reconnect(decide=decide)):
            async with websocket:
                logger.info("connected to %s over HTTP/%s", url, websocket.http_version)
                for book in self.books.values():
                    book.sequence = None
                await self._ask(websocket, "subscribe", *self.books)
                async for message in websocket:
                    await self._take(websocket, json.loads(message))

    async def print(self, every: float) -> None:
        """Print the books that have changed, every so many seconds, however many changes there were."""
        printed: dict[str, int] = {}
        while True:
            await asyncio.sleep(every)
            for symbol, book in self.books.items():
                if book.sequence is not None and printed.get(symbol) != book.sequence:
                    printed[symbol] = book.sequence
                    print(symbol, book, flush=True)

    async def _take(self, websocket: WebSocket, message: dict[str, Any]) -> None:
        symbol = message["symbol"]
        if not self.books[symbol].take(message):
            logger.warning("%s: a gap before #%s", symbol, message["sequence"])
            await self._ask(websocket, "unsubscribe", symbol)
            await self._ask(websocket, "subscribe", symbol)

    async def _ask(self, websocket: WebSocket, operation: str, *symbols: str) -> None:
        await websocket.send(json.dumps({"op": operation, "symbols": symbols}))


def decide(failure: Failure) -> float | Literal["raise"] | None:
    """Come back even after a goodbye, but raise what the exchange says against what is asked for."""
    if isinstance(failure.error, ConnectionClosed) and 4000 <= failure.error.code <= 4999:
        return "raise"
    return 1.0 if failure.then == "stop" else None


async def main(url: str, symbols: list[str], every: float) -> None:
    """Follow and print until Ctrl-C."""
    client = Client(symbols)
    await asyncio.gather(client.follow(url), client.print(every))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("symbols", nargs="+", metavar="symbol")
    parser.add_argument("--every", type=float, default=1.0, help="the seconds between two prints")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        asyncio.run(main(given.url, given.symbols, given.every))
    except (ConnectError, ConnectionClosed, LocalProtocolError) as error:
        sys.exit(f"{given.url}: {error}")
    except KeyboardInterrupt:
        pass
