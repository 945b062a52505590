"""Follow a feed, and come back when the connection ends: `python examples/follow.py URL`."""

import asyncio
import logging
import sys

from mintws.asyncio import Failure, Reconnect, connect


def patient(failure: Failure) -> float | None:
    """Come back for ever: a server that says goodbye is asked again after a minute."""
    return 60.0 if failure.then == "stop" else None


async def follow(url: str) -> None:
    """Print each message. The log says why the connection ended, and when the next attempt comes."""
    async for websocket in connect(url, reconnect=Reconnect(decide=patient)):
        print(f"connected to {url} over HTTP/{websocket.http_version}", flush=True)
        async for message in websocket:
            print(message, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        asyncio.run(follow(sys.argv[1]))
    except IndexError:
        sys.exit(__doc__)
    except KeyboardInterrupt:
        pass
