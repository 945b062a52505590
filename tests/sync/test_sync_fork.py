"""A fork of the process: connections and servers stay with the parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sync.conftest import SOON

PROGRAM = """
import os
from mintws import LocalProtocolError
from mintws.sync import broadcast, connect, connect_http2, serve

def echo(websocket):
    for message in websocket:
        websocket.send(message)

def new():
    with connect(url, http=http) as another:
        another.send("child")
        print(another.recv(5))

http, use = {http!r}, {use!r}
with serve(echo, "127.0.0.1", 0, respond=lambda request: None) as server:
    url = f"ws://127.0.0.1:{{server.port}}"
    with connect(url, http=http) as websocket, connect_http2(url) as client:
        websocket.send("before")
        assert websocket.recv(5) == "before"
        child = os.fork()
        if not child:
            try:
                eval(use)
            except LocalProtocolError as error:
                print("refused:", error)
            except BaseException as error:
                print(repr(error))
            os.sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        websocket.send("after")
        assert websocket.recv(5) == "after"
        assert websocket.counters.messages_received == 2
        print("parent")
"""

REFUSED = "refused: connections and servers belong to the process that opened them, of which this one is a fork: open others here"


def run(http: str, use: str) -> list[str]:
    # Some releases of Python warn of a fork of a process with threads.
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-W", "ignore::ResourceWarning", "-c"]
    done = subprocess.run(
        [*program, PROGRAM.format(http=http, use=use)], check=False, capture_output=True, text=True, timeout=3 * SOON
    )
    assert not done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    "use",
    [
        "websocket.send('child')",
        "websocket.send('child', timeout=5)",
        "websocket.send(iter(['child']))",
        "websocket.send_nowait('child')",
        "broadcast([websocket], 'child')",
        "websocket.recv()",
        "websocket.recv(timeout=5)",
        "websocket.ping()",
        "websocket.close()",
        "websocket.wait_closed()",
        "client.open()",
        "client.request('GET', '/')",
        "client.close()",
        "server.close()",
        "server.drain(5)",
        "server.serve_forever()",
    ],
)
def test_what_the_parent_has_opened_is_refused_in_a_fork(http, use):
    assert run(http, use) == [REFUSED, "parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("use", ["new()", "(websocket._leave(), new())"])
def test_a_fork_opens_connections_of_its_own(http, use):
    assert run(http, use) == ["child", "parent"]
