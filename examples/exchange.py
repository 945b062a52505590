"""An exchange with made-up prices, for market_data.py. `python examples/exchange.py [PORT] [--lose 0.01] [--restart 30]`.

It does on purpose what an exchange does by accident: it loses some updates, and closes all WebSockets every so often.
"""

import argparse
import asyncio
import json
import random
import sys
from typing import Any

from mintws import LocalProtocolError
from mintws.asyncio import Server, WebSocket, broadcast, serve


class Market:
    """The orders of one symbol: sizes by price, of bids and of asks. Each change has the next sequence number."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sequence = 0
        self.bids: dict[int, int] = {price: random.randint(1, 9) for price in range(990, 1000)}
        self.asks: dict[int, int] = {price: random.randint(1, 9) for price in range(1001, 1011)}
        self.subscribers: set[WebSocket] = set()

    def subscribe(self, websocket: WebSocket) -> None:
        """Send all orders, and changes from now on. Nothing is awaited in between, so that no change is missed."""
        orders = {"bids": list(self.bids.items()), "asks": list(self.asks.items())}
        websocket.send_nowait(self._message("snapshot", **orders))
        self.subscribers.add(websocket)

    def change(self, *, lost: bool) -> None:
        """Change one order, and tell the subscribers, unless that is lost."""
        side, orders = random.choice([("bids", self.bids), ("asks", self.asks)])
        price = random.choice(range(990, 1000) if side == "bids" else range(1001, 1011))
        size = random.randint(0, 9)
        if size:
            orders[price] = size
        else:
            orders.pop(price, None)
        self.sequence += 1
        if not lost:
            # A subscriber who is too slow is closed with 1013, and asks for a snapshot when it comes back.
            broadcast(self.subscribers, self._message("update", side=side, price=price, size=size), slow="close")

    def _message(self, kind: str, **content: object) -> str:
        return json.dumps({"type": kind, "symbol": self.symbol, "sequence": self.sequence, **content})


class Exchange:
    """The markets of all symbols."""

    def __init__(self, symbols: list[str]) -> None:
        self.markets = {symbol: Market(symbol) for symbol in symbols}

    async def handle(self, websocket: WebSocket) -> None:
        """Subscribe and unsubscribe one client as it asks for it."""
        try:
            async for message in websocket:
                asked: dict[str, Any] = json.loads(message)
                for symbol in asked["symbols"]:
                    if symbol not in self.markets:
                        await websocket.close(4404, f"there is no {symbol}"[:100])
                        return
                    if asked["op"] == "subscribe":
                        self.markets[symbol].subscribe(websocket)
                    else:
                        self.markets[symbol].subscribers.discard(websocket)
        except (ValueError, KeyError, TypeError):
            await websocket.close(4400, 'send {"op": "subscribe", "symbols": [...]}')
        finally:
            for market in self.markets.values():
                market.subscribers.discard(websocket)

    async def trade(self, pause: float, lose: float) -> None:
        """Change orders for ever."""
        while True:
            await asyncio.sleep(pause)
            for market in self.markets.values():
                market.change(lost=random.random() < lose)


async def restart(server: Server, every: float) -> None:
    """Close all WebSockets every so often, as a restart does."""
    while True:
        await asyncio.sleep(every)
        await asyncio.gather(*(websocket.close(1012, "the exchange restarts") for websocket in server.websockets))


async def main(port: int, lose: float, every: float) -> None:
    """Serve until Ctrl-C."""
    exchange = Exchange(["MINT", "SAGE"])
    async with serve(exchange.handle, "localhost", port) as server:
        print(f"ws://localhost:{server.port}/", flush=True)
        await asyncio.gather(exchange.trade(0.02, lose), restart(server, every))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=8765)
    parser.add_argument("--lose", type=float, default=0.01, help="the share of updates that are lost")
    parser.add_argument("--restart", type=float, default=30.0, help="the seconds between two restarts")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.port, given.lose, given.restart))
    except (OSError, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
