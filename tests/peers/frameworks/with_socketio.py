"""An application of python-socketio that answers an event with another."""

import socketio

server = socketio.AsyncServer(async_mode="asgi")


@server.event
async def say(sid, text):
    """Send a text back to whoever said it."""
    await server.emit("said", text, to=sid)


sockets = socketio.ASGIApp(server)


async def app(scope, receive, send):
    """Serve Socket.IO; below /added, with the headers that it wants and HTTP/2 does not have."""
    path = scope.get("path", "")
    if path.startswith("/added"):
        headers = [*scope["headers"], (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        scope = {**scope, "headers": headers, "path": path.removeprefix("/added")}
    await sockets(scope, receive, send)
