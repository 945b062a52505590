"""A server over a library that blocks: SQL comes in, rows go out, and each client has a thread. `python examples/sql.py [PORT]`."""

import argparse
import json
import sqlite3
import sys

from mintws import LocalProtocolError
from mintws.sync import WebSocket, serve


def answer(websocket: WebSocket) -> None:
    """Run the statements of one client on a database of its own."""
    database = sqlite3.connect(":memory:")
    for statement in websocket:
        try:
            rows = database.execute(str(statement)).fetchall()
        except sqlite3.Error as error:
            websocket.send(json.dumps({"error": str(error)}))
        else:
            websocket.send(json.dumps({"rows": rows}))
    database.close()


def main(port: int) -> None:
    """Serve until Ctrl-C."""
    with serve(answer, "127.0.0.1", port) as server:
        print(f"ws://127.0.0.1:{server.port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=8765)
    given = parser.parse_args()
    try:
        main(given.port)
    except (OSError, LocalProtocolError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
