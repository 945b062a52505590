"""A server whose messages take long to compute, on four processes: numbers come in, their prime factors go out, in order.

`python examples/processor.py [PORT] [--processes 4]`. The loop computes nothing, so Pings are answered and other clients served meanwhile.
"""

import argparse
import asyncio
import multiprocessing
import signal
import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any

from mintws import LocalProtocolError
from mintws.asyncio import WebSocket, serve

#: How many numbers of one client are worked on at a time. Nothing more is received from it meanwhile.
AHEAD = 8
#: The largest number: its factors take a second or two.
LARGEST = 10**15


def factorize(text: str) -> str:
    """Give the prime factors of a number: "12" is "2 2 3". This runs in another process."""
    try:
        rest = int(text)
    except ValueError:
        return "that is no number"
    if not 2 <= rest <= LARGEST:
        return f"a number is between 2 and {LARGEST}"
    factors, factor = [], 2
    while factor * factor <= rest:
        if rest % factor:
            factor += 1
        else:
            rest //= factor
            factors.append(factor)
    return " ".join(map(str, [*factors, rest]))


class Processor:
    """The processes, and what they work on."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.pool = self._start()

    async def handle(self, websocket: WebSocket) -> None:
        """Answer one client's messages in their order."""
        answers: asyncio.Queue[asyncio.Task[str] | None] = asyncio.Queue()
        room = asyncio.Semaphore(AHEAD)

        async def receive() -> None:
            try:
                async for message in websocket:
                    # While this waits nothing is received, and then the client has to wait too.
                    await room.acquire()
                    answers.put_nowait(asyncio.create_task(self.work(message if isinstance(message, str) else "")))
            finally:
                answers.put_nowait(None)

        receiving: asyncio.Task[Any] = asyncio.create_task(receive())
        try:
            while (answer := await answers.get()) is not None:
                await websocket.send(await answer)
                room.release()
            await receiving
        finally:
            unsent = [receiving]
            while not answers.empty():
                if (answer := answers.get_nowait()) is not None:
                    unsent.append(answer)
            for task in unsent:
                task.cancel()
            await asyncio.gather(*unsent, return_exceptions=True)

    async def work(self, text: str) -> str:
        """Have a number worked on; once more by new processes, where one of them has died."""
        pool = self.pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, factorize, text)
        except BrokenExecutor:
            if pool is self.pool:
                self.pool = self._start()
            return await asyncio.get_running_loop().run_in_executor(self.pool, factorize, text)

    def _start(self) -> ProcessPoolExecutor:
        # Ctrl-C in a terminal is for all its processes: these leave it to the server.
        return ProcessPoolExecutor(
            self.processes,
            multiprocessing.get_context("spawn"),
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        )


async def main(port: int, processes: int) -> None:
    """Serve until Ctrl-C."""
    processor = Processor(processes)
    try:
        async with serve(processor.handle, "localhost", port, limit=1024) as server:
            print(f"ws://localhost:{server.port}/", flush=True)
            await server.serve_forever()
    finally:
        processor.pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=8765)
    parser.add_argument("--processes", type=int, default=4)
    given = parser.parse_args()
    if given.processes < 1:
        parser.error("--processes must be 1 or more")
    try:
        asyncio.run(main(given.port, given.processes))
    except (OSError, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
