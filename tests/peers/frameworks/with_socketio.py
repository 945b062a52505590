"""An application of python-socketio that answers an event with another."""

import socketio

server = socketio.AsyncServer(async_mode="asgi")


@server.event
async def say(sid, text):
    """Send a text back to whoever said it."""
    await server.emit("said", text, to=sid)


app = socketio.ASGIApp(server)
