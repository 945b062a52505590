#!/usr/bin/env bash
# Surprise: with h2, GOAWAY is the end for both sides, not the start of a graceful shutdown. A GOAWAY with NO_ERROR that
# covers an open stream leaves that stream alive by RFC 9113; but h2's connection is CLOSED the moment it sends or
# receives one. The sender can send nothing more, and the receiver raises ProtocolError when the peer goes on with the
# stream that was promised to it. So a gateway that asks its clients to move on ends their WebSockets.
# Versions: h2 4.4.1, hyperframe 6.1.0.
# Source: RFC 9113, section 6.8, says the contrary of streams up to the last stream identifier; h2's issue 1181, open
# since 2019, asks for it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1 hyperframe==6.1.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated
from h2.exceptions import ProtocolError
from hyperframe.frame import DataFrame, GoAwayFrame

REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", "/")]


def pair():
    """Return a client and a server with stream 1 open in both directions."""
    client, server = H2Connection(), H2Connection(H2Configuration(client_side=False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(1, REQUEST)
    server.receive_data(client.data_to_send())
    server.send_headers(1, [(":status", "200")])
    client.receive_data(server.data_to_send())
    server.receive_data(client.data_to_send())
    return client, server


def outcome(call, *arguments):
    try:
        call(*arguments)
    except ProtocolError as error:
        return f"{type(error).__name__}: {error}"
    return "works"


print("h2", importlib.metadata.version("h2"))

client, server = pair()
before = outcome(server.send_data, 1, b"before")
server.close_connection(last_stream_id=1)
after = outcome(server.send_data, 1, b"after")
print("server sends on stream 1 before close_connection(last_stream_id=1):", before)
print("server sends on stream 1 after it:", after)
assert before == "works" and "CLOSED" in after

client, _ = pair()
(event,) = client.receive_data(GoAwayFrame(0, last_stream_id=1, error_code=0).serialize())
assert isinstance(event, ConnectionTerminated)
print("client got", event)
sending = outcome(client.send_data, 1, b"more")
client, _ = pair()
client.receive_data(GoAwayFrame(0, last_stream_id=1, error_code=0).serialize())
receiving = outcome(client.receive_data, DataFrame(1, b"the rest").serialize())
print("client sends on stream 1, which the GOAWAY covers:", sending)
print("client receives DATA on stream 1:", receiving)
assert "CLOSED" in sending and "CLOSED" in receiving
PYTHON
