"""A chat with rooms: what one says goes to all in the room. `python examples/chat.py [PORT]`, then open the page that it names.

The path is the room, and the query the name: `mintws connect 'ws://localhost:8765/tea?name=Ada'` takes part too.
"""

import argparse
import asyncio
import sys

from mintws import Connection, LocalProtocolError, UpgradeReject, UpgradeRequest
from mintws.asyncio import WebSocket, broadcast, serve
from mintws.events import Request, Response

PAGE = b"""<!doctype html><meta charset="utf-8"><title>Chat</title>
<form><input autofocus autocomplete="off"></form><ul></ul>
<script>
const name = prompt("Your name?")
const socket = new WebSocket(location.href.replace(/^http/, "ws").split("?")[0] + "?name=" + encodeURIComponent(name))
const tell = text => document.querySelector("ul").appendChild(document.createElement("li")).append(text)
socket.onmessage = ({data}) => tell(data)
socket.onclose = () => tell("You are not connected: reload the page.")
document.forms[0].onsubmit = event => {
  event.preventDefault()
  socket.send(document.querySelector("input").value)
  event.target.reset()
}
</script>
"""


class Chat:
    """The rooms, and who is in each, by name."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[str, WebSocket]] = {}

    def check(self, connection: Connection, request: UpgradeRequest) -> UpgradeReject | None:
        """Refuse those without a name, or with one that is taken."""
        name = request.query.get("name", [""])[0]
        if not 1 <= len(name) <= 30 or not name.isprintable():
            return UpgradeReject(400, body=b"a name has 1 to 30 characters: ?name=Ada\n")
        if name in self.rooms.get(request.path, {}):
            return UpgradeReject(409, body=b"that name is taken\n")
        connection.app = (request.path, name)
        return None

    async def handle(self, websocket: WebSocket) -> None:
        """Let one take part until it leaves."""
        path, name = websocket.app
        room = self.rooms.setdefault(path, {})
        if name in room:  # two have asked at the same time
            await websocket.close(4409, "that name is taken")
            return
        room[name] = websocket
        self.tell(path, f"* {name} is here: {', '.join(room)}")
        try:
            async for said in websocket:
                if isinstance(said, str) and said.strip():
                    self.tell(path, f"{name}: {said}")
        finally:
            del room[name]
            self.tell(path, f"* {name} has left")
            if not room:
                del self.rooms[path]

    def tell(self, path: str, text: str) -> None:
        """Tell all in a room. Nobody waits for one who takes nothing: that one is closed, and asked to come back later."""
        broadcast(self.rooms[path].values(), text, slow="close")


def respond(request: Request) -> Response:
    """Give the page, which is the same for all rooms."""
    return Response(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE)


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    chat = Chat()
    async with serve(chat.handle, "localhost", port, upgrade=chat.check, respond=respond, limit=4096) as server:
        print(f"http://localhost:{server.port}/tea", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=8765)
    given = parser.parse_args()
    try:
        asyncio.run(main(given.port))
    except (OSError, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("closed")
