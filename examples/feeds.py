"""Follow several feeds at once on trio; the first that ends, ends all. `python examples/feeds.py URL...`."""

import argparse
import signal
import sys

import trio

from mintws import ConnectError, ConnectionClosed, LocalProtocolError
from mintws.trio import connect


async def follow(url: str, found: trio.MemorySendChannel[str]) -> None:
    """Pass on each message of one feed."""
    async with found, connect(url) as websocket:
        async for message in websocket:
            await found.send(f"{url}: {message!r}")


async def main(urls: list[str]) -> int:
    """Print the messages of all feeds in the order in which they come, until one ends, or Ctrl-C.

    Return the exit code: 1 if a feed ended by an error.
    """
    code = 0
    sending, receiving = trio.open_memory_channel[str](100)
    async with trio.open_nursery() as nursery:

        async def follow_until_the_end(url: str) -> None:
            nonlocal code
            try:
                await follow(url, sending.clone())
            except (ConnectError, ConnectionClosed, LocalProtocolError) as error:
                print(f"{url}: {error}", file=sys.stderr, flush=True)
                code = 1
            nursery.cancel_scope.cancel()

        async def end_at_a_signal(task_status: trio.TaskStatus[None]) -> None:
            # KeyboardInterrupt would be raised in any of the tasks, and leave the nursery in an exception group.
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                task_status.started()
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        await nursery.start(end_at_a_signal)
        for url in urls:
            nursery.start_soon(follow_until_the_end, url)
        async for line in receiving:
            print(line, flush=True)
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+", metavar="url")
    given = parser.parse_args()
    sys.exit(trio.run(main, given.urls))
