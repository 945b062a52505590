#!/usr/bin/env bash
# Surprise: a WebSocket of Robyn never gets a message that comes in fragments. Neither the handler nor the client hears
# of it: there is no error, no log and no Close, and the next whole message arrives as if nothing had been between. Which
# messages come in fragments is up to the client, or a gateway: websockets sends a message so that is given in parts,
# others do beyond a size. A message of 1 MB in one frame arrives, so no limit is what one would find.
# Versions: Robyn 0.88.0 (on actix), Uvicorn 0.54.0 with the same messages as the control, websockets 17.4 as the client.
# Source: RFC 6455, section 5.4, against it; the WebSocket of actix gives its users fragments one by one, as
# ws::Message::Continuation (the documentation of actix-web-actors and actix-ws), and Robyn's src/websockets/mod.rs has
# no use for them.
set -euo pipefail

folder=$(mktemp -d)
started=
cleanup() {
    for process in $started; do
        kill "$process" 2>/dev/null || true
        timeout 5 tail --pid="$process" -f /dev/null || kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
python3 -m venv venv
timeout 400 venv/bin/pip install --quiet --disable-pip-version-check robyn==0.88.0 uvicorn==0.54.0 websockets==17.4

cat > with_robyn.py <<'PYTHON'
import os

from robyn import Robyn, WebSocketDisconnect

app = Robyn(__file__)


@app.websocket("/")
async def tell(websocket):
    """Answer each message with its size."""
    try:
        while True:
            await websocket.send_text(str(len(await websocket.receive_text())))
    except WebSocketDisconnect:
        pass


app.start(host="127.0.0.1", port=int(os.environ["PORT"]))
PYTHON
cat > with_uvicorn.py <<'PYTHON'
import os

import uvicorn


async def app(scope, receive, send):
    """Answer each message with its size."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(event["text"]))})


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), lifespan="off", log_level="warning")
PYTHON
cat > client.py <<'PYTHON'
import asyncio
import sys

from websockets.asyncio.client import connect


async def main(name, url):
    for attempt in range(100):
        try:
            websocket = await connect(url, compression=None)
        except OSError:
            await asyncio.sleep(0.2)
        else:
            break
    async with websocket:
        print(f"{name}: ", end="")
        for message in ("whole", "x" * 1_000_000, ["in ", "fragments"], "again", ["x"], "end"):
            await websocket.send(message)
        answers = []
        while "3" not in answers:
            answers.append(await asyncio.wait_for(websocket.recv(), 10))
    print(f"messages of 5, 1000000, 12 (in two fragments), 5, 1 (in two) and 3 characters; arrived: {', '.join(answers)}")
    return answers


whole = ["5", "1000000", "5", "3"]
every = ["5", "1000000", "12", "5", "1", "3"]
assert asyncio.run(main("Uvicorn", sys.argv[1])) == every, "the control has failed"
assert asyncio.run(main("Robyn", sys.argv[2])) == whole, "the finding has changed"
PYTHON

venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(robyn|uvicorn|websockets) '
read -r first second <<< "$(python3 -c 'import socket
listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(listener.getsockname()[1] for listener in listeners))')"
PORT=$first venv/bin/python with_uvicorn.py &
started=$!
PORT=$second venv/bin/python with_robyn.py > robyn.log 2>&1 &
started="$started $!"
timeout 90 venv/bin/python client.py "ws://127.0.0.1:$first/" "ws://127.0.0.1:$second/"
told=$(sed '1,/listening on/d' robyn.log)
echo "what Robyn's log says of it: ${told:-nothing}"
grep -q 'listening on' robyn.log && [ -z "$told" ]
