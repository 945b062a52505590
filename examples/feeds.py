"""Follow several feeds at once on trio; the first that ends, ends all. `python examples/feeds.py URL...`."""

import sys

import trio

from mintws import ConnectError, ConnectionClosed
from mintws.trio import connect


async def follow(url: str, found: trio.MemorySendChannel[str]) -> None:
    """Pass on each message of one feed."""
    async with found, connect(url) as websocket:
        async for message in websocket:
            await found.send(f"{url}: {message!r}")


async def main(urls: list[str]) -> None:
    """Print the messages of all feeds in the order in which they come."""
    sending, receiving = trio.open_memory_channel[str](100)
    async with trio.open_nursery() as nursery:

        async def follow_until_the_end(url: str) -> None:
            try:
                await follow(url, sending.clone())
            except (ConnectError, ConnectionClosed) as error:
                print(f"{url}: {error}", file=sys.stderr, flush=True)
            nursery.cancel_scope.cancel()

        for url in urls:
            nursery.start_soon(follow_until_the_end, url)
        async for line in receiving:
            print(line, flush=True)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1:])
    except KeyboardInterrupt:
        pass
