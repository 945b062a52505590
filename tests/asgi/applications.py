"""Applications, and the events that they send."""

from __future__ import annotations

import weakref


def start(status=200, *headers, **more):
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def sending(*messages):
    """Make an application that sends messages and returns."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


async def send_on(send):
    """Send parts of a body that does not end, for as long as that is not refused."""
    for _ in range(1000):
        await send(body(b"more", more=True))


async def content(receive):
    """Take the whole body of a request, in the parts in which it comes."""
    parts = []
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        parts.append(message["body"])
        if not message["more_body"]:
            return parts


def with_lifespan(app, states, **kept):
    """Make an application that keeps something for its scopes when it starts, and notes the state of each."""

    async def whole(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"].update(kept)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        states.append(scope["state"])
        scope["state"]["mine"] = len(states)
        await app(scope, receive, send)

    return whole


def noting(app, scopes):
    """Make an application that keeps the scopes that it gets."""

    async def noted(scope, receive, send):
        scopes.append(scope)
        await app(scope, receive, send)

    return noted


def probed(app, kept):
    """Make an application whose scopes hold something that is referred to weakly by `kept`: whatever holds a scope holds that."""

    class Probe:
        pass

    async def with_probe(scope, receive, send):
        scope["probe"] = Probe()
        kept.append(weakref.ref(scope["probe"]))
        await app(scope, receive, send)

    return with_probe
