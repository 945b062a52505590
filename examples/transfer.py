"""Files of any size, up and down, in little memory: each is one message in fragments.

    python examples/transfer.py serve FOLDER [--port 8765]
    python examples/transfer.py put FILE ws://localhost:8765
    python examples/transfer.py get FILE ws://localhost:8765

Files block, and so may threads: this is `mintws.sync`. A file gets its name when it is whole, and none is overwritten.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from mintws import Binary, Connection, ConnectionClosed, LocalProtocolError, UpgradeReject, UpgradeRequest
from mintws.sync import WebSocket, connect, serve

#: Bytes that are read and sent at a time.
PIECE = 128 * 1024


class Folder:
    """The files of a server: `/put/NAME` takes one, `/get/NAME` gives one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, connection: Connection, request: UpgradeRequest) -> UpgradeReject | None:
        """Refuse what cannot be done."""
        asked = re.fullmatch(r"/(put|get)/(\w[\w.-]*)", request.path, re.ASCII)
        if asked is None:
            return UpgradeReject(400, body=b"ask for /put/NAME or /get/NAME\n")
        path = self.path / asked[2]
        if asked[1] == "put" and path.exists():
            return UpgradeReject(409, body=b"there is such a file\n")
        if asked[1] == "get" and not path.is_file():
            return UpgradeReject(404, body=b"there is no such file\n")
        connection.app = asked[1], path
        return None

    def handle(self, websocket: WebSocket) -> None:
        """Take or give a file. When this returns, the WebSocket is closed with 1000: the file is whole on the other side."""
        operation, path = websocket.app
        if operation == "put":
            receive(websocket, path)
        else:
            send(websocket, path)


def send(websocket: WebSocket, path: Path) -> None:
    """Send a file."""

    def pieces(file: BinaryIO) -> Iterator[bytes]:
        # An empty file is an empty piece: a message has at least one.
        yield (piece := file.read(PIECE))
        while piece := file.read(PIECE):
            yield piece

    with path.open("rb") as file:
        websocket.send(pieces(file))


def receive(websocket: WebSocket, path: Path) -> None:
    """Receive a file.

    Raises:
        ConnectionClosed: the peer has left before the file was whole, which is then removed.
        FileExistsError: there is one of that name.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as file:
        whole = False
        while not whole:
            part = websocket.recv_event()
            if isinstance(part, Binary):
                file.write(part.data)
                whole = part.fin
            else:
                websocket.close(1003, "a file is a binary message")
        file.flush()
        os.link(file.name, path)


def run_client(operation: str, path: Path, url: str, http: Literal["1.1", "2", "auto"]) -> None:
    """Have a server take a file, or give one, and print how fast it was."""
    if operation == "get" and path.exists():
        raise FileExistsError(f"there is a file {path}")
    begun = time.perf_counter()
    where = f"{url.rstrip('/')}/{operation}/{path.name}"
    # Most large files are compressed already.
    with connect(where, http=http, parts=True, limit=None, extensions=()) as websocket:
        (send if operation == "put" else receive)(websocket, path)
        websocket.wait_closed()
    if websocket.close_code != 1000:
        raise OSError(f"the server closed with {websocket.close_code}: {websocket.close_reason}")
    size, seconds = path.stat().st_size, time.perf_counter() - begun
    print(f"{size / 1e6:.1f} MB in {seconds:.2f} s over HTTP/{websocket.http_version}", flush=True)


def run_server(folder: Path, port: int) -> None:
    """Serve until Ctrl-C."""
    files = Folder(folder)
    serving = serve(files.handle, "127.0.0.1", port, upgrade=files.check, parts=True, limit=None, extensions=())
    with serving as server:
        print(f"ws://127.0.0.1:{server.port}", flush=True)
        server.serve_forever()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="operation", required=True)
    server = commands.add_parser("serve", help="serve the files of a folder")
    server.add_argument("folder", type=Path)
    server.add_argument("--port", type=int, default=8765)
    for operation in ("put", "get"):
        client = commands.add_parser(operation, help=f"{operation} a file")
        client.add_argument("file", type=Path)
        client.add_argument("url")
        client.add_argument("--http", choices=["1.1", "2", "auto"], default="auto")
    given = parser.parse_args()
    if given.operation == "serve" and not given.folder.is_dir():
        parser.error(f"there is no folder {given.folder}")
    return given


if __name__ == "__main__":
    given = parse()
    try:
        if given.operation == "serve":
            run_server(given.folder, given.port)
        else:
            run_client(given.operation, given.file, given.url, given.http)
    except (OSError, ConnectionClosed, LocalProtocolError) as error:
        sys.exit(f"{given.operation}: {error}")
    except KeyboardInterrupt:
        pass
