"""What `HttpCycle` keeps of the body of a request until the application takes it."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc

from mintws.asgi import Application, HttpCycle


class Responder:
    """One that only counts credit."""

    begun = False
    has_room = True
    credit = 0

    def acknowledge(self, credit):
        self.credit += credit


def cycle_of(responder):
    scope = {"asgi": {}, "method": "POST", "headers": []}
    # Nothing runs it.
    application = Application(None, (), logging.getLogger("test"))
    return HttpCycle(responder, scope, application, lambda scope, status: None)


def test_a_body_in_small_parts_takes_no_more_room_than_its_bytes():
    async def work():
        responder = Responder()
        cycle = cycle_of(responder)
        parts = [bytes([number % 256]) for number in range(256)]
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(1024):
                for part in parts:
                    cycle.receive_body(part, 1)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 2 * 256 * 1024
        assert responder.credit == 0
        cycle.receive_end()
        message = await cycle.receive()
        assert message == {"type": "http.request", "body": b"".join(parts) * 1024, "more_body": False}
        assert responder.credit == 256 * 1024

    asyncio.run(work())


def test_credit_for_padding_alone_is_given_at_once():
    async def work():
        responder = Responder()
        cycle = cycle_of(responder)
        cycle.receive_body(b"", 256)
        assert responder.credit == 256
        cycle.receive_body(b"tea", 259)
        assert responder.credit == 256
        assert (await cycle.receive())["body"] == b"tea"
        assert responder.credit == 256 + 259

    asyncio.run(work())
