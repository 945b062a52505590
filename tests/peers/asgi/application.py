"""An ASGI application that does what its path names, and writes what it is told to the file that EVENTS names, a line of JSON each."""

import json
import os

ACCEPT = {"type": "websocket.accept"}


def tell(what):
    """Write down what happened."""
    with open(os.environ["EVENTS"], "a", encoding="ascii") as file:
        file.write(json.dumps(what) + "\n")


async def lifespan(receive, send):
    """Say that all is well."""
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


async def refuse(send):
    """Refuse in parts."""
    headers = [(b"content-type", b"text/plain"), (b"x-tea", b"mint")]
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"tea", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"pot"})


async def listen(receive, send):
    """Send back what comes; tell how it ended, and what a send after the end comes to."""
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    try:
        await send({"type": "websocket.send", "text": "too late"})
        after = "nothing"
    except OSError:
        after = "OSError"
    except Exception as error:
        after = type(error).__name__
    tell([message["type"], message.get("code"), message.get("reason"), after])


async def accept_again(send):
    """Tell what a second accept comes to."""
    try:
        await send(ACCEPT)
        tell(["nothing"])
    except Exception:
        tell(["an exception"])


async def take_keys(receive):
    """Tell under which key each of two messages has come."""
    messages = [await receive() for _ in range(2)]
    tell([key for it in messages for key in ("text", "bytes") if it.get(key) is not None])


async def respond(scope, send):
    """Send the version of HTTP back."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["http_version"].encode()})


async def app(scope, receive, send):
    """Do what the path says."""
    if scope["type"] == "http":
        await respond(scope, send)
        return
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    do = scope["path"].strip("/")
    if do == "raise-before":
        raise ValueError("before the answer")
    await receive()
    if do == "close-before":
        await send({"type": "websocket.close", "code": 4001, "reason": "no"})
    elif do == "refuse":
        await refuse(send)
    elif do == "scope":
        headers = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        addresses = [type(scope[it][1]).__name__ for it in ("client", "server")]
        tell([headers, addresses, scope["asgi"].get("spec_version"), scope["subprotocols"], scope.get("http_version")])
    elif do == "path/r\xe4ume":
        tell(
            [
                scope["path"],
                (scope.get("raw_path") or b"").decode(),
                "state" in scope,
                sorted(scope.get("extensions") or ()),
            ]
        )
    if do in ("return-before", "close-before", "refuse", "scope", "path/r\xe4ume"):
        return
    headers = [(b"x-tea", b"mint"), (b"x-tea", b"green")]
    await send({**ACCEPT, "subprotocol": (scope["subprotocols"] or [None])[-1], "headers": headers})
    if do == "accept-twice":
        await accept_again(send)
    if do == "keys":
        await take_keys(receive)
    if do == "raise-after":
        raise ValueError("after the answer")
    if do == "close-after":
        await send({"type": "websocket.close", "code": 4002, "reason": "enough"})
    if do == "echo":
        await listen(receive, send)
