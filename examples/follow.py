"""Follow a feed, and come back when the connection ends: `python examples/follow.py URL`."""

import asyncio
import random
import sys

from mintws import ConnectError, ConnectionClosed
from mintws.asyncio import connect


async def follow(url: str) -> None:
    """Print each message, for ever. The first pause is up to a second, and each further one up to twice as long."""
    pause = 1.0
    while True:
        try:
            async with connect(url) as websocket:
                pause = 1.0
                print(f"connected to {url} over HTTP/{websocket.http_version}", flush=True)
                async for message in websocket:
                    print(message, flush=True)
        except (ConnectError, ConnectionClosed) as error:
            print(error, file=sys.stderr, flush=True)
        # Clients that were cut off together do not come back together.
        await asyncio.sleep(random.uniform(0, pause))
        pause = min(2 * pause, 60.0)


if __name__ == "__main__":
    try:
        asyncio.run(follow(sys.argv[1]))
    except IndexError:
        sys.exit(__doc__)
    except KeyboardInterrupt:
        pass
