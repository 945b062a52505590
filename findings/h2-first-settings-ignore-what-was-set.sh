#!/usr/bin/env bash
# Surprise: h2 lets one assign to connection.local_settings before initiate_connection(), and then sends the old values:
# a server that sets ENABLE_CONNECT_PROTOCOL to 1 announces 0, so no client opens a WebSocket on it. When the peer
# acknowledges those SETTINGS, h2 takes the values that it never sent as in force, and reads as if it had announced
# them. Only a new Settings object (or update_settings(), a second frame) puts the values on the wire.
# Versions: h2 4.4.1, hyperframe 6.1.0.
# Source: h2's issue 1042 names the way that works (a Settings object in place of the old one) as a means to save a
# frame; neither it nor the documentation of local_settings says that assignments before the first frame are not sent.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
timeout 300 "$folder/venv/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1 hyperframe==6.1.0

timeout 60 "$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, SettingsFrame

ENABLE, STREAMS = SettingCodes.ENABLE_CONNECT_PROTOCOL, SettingCodes.MAX_CONCURRENT_STREAMS


def announced(server):
    data = server.data_to_send()
    frame, length = Frame.parse_frame_header(memoryview(data[:9]))
    frame.parse_body(memoryview(data[9 : 9 + length]))
    assert isinstance(frame, SettingsFrame)
    return frame.settings


def acknowledged(server):
    client = H2Connection()
    client.initiate_connection()
    server.receive_data(client.data_to_send())
    acknowledgement = SettingsFrame(0)
    acknowledgement.flags.add("ACK")
    return server.receive_data(acknowledgement.serialize())


def named(settings):
    return {"ENABLE_CONNECT_PROTOCOL": settings[ENABLE], "MAX_CONCURRENT_STREAMS": settings[STREAMS]}


def server():
    return H2Connection(H2Configuration(client_side=False))


print("h2", importlib.metadata.version("h2"))

assigned = server()
assigned.local_settings[ENABLE] = 1
assigned.local_settings[STREAMS] = 7
assigned.initiate_connection()
wire = announced(assigned)
print("assigned before the start: on the wire", named(wire))
assert wire[ENABLE] == 0 and wire[STREAMS] == 100

events = acknowledged(assigned)
believed = named(assigned.local_settings)
print("after the peer's acknowledgement h2 reads", believed)
print("and reports", events[-1])
assert believed == {"ENABLE_CONNECT_PROTOCOL": 1, "MAX_CONCURRENT_STREAMS": 7}

replaced = server()
replaced.local_settings = Settings(client=False, initial_values={ENABLE: 1, STREAMS: 7})
replaced.initiate_connection()
wire = announced(replaced)
print("a Settings object in place of the old one: on the wire", named(wire))
assert wire[ENABLE] == 1 and wire[STREAMS] == 7
PYTHON
