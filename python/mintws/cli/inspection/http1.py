"""WebSockets over HTTP/1.1: heads, then frames."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Sequence
from typing import Any

from mintws import Connection, Http1, Role, State, UpgradeAccept, UpgradeReject, UpgradeRequest
from mintws.cli.inspection.findings import Finding, counted, fault
from mintws.cli.inspection.frames import FrameReader
from mintws.cli.inspection.handshakes import ANY_SIZE, accept, ask, ask_for, failed
from mintws.extensions import Offer

_END = b"\r\n\r\n"
_ACCEPT = re.compile(rb"(?im)^(sec-websocket-accept:[ \t]*)([^\r\n]*)")
# Tokens alone: what is none cannot be asked for.
_PROTOCOL = re.compile(rb"(?im)^sec-websocket-protocol:[ \t]*([-!#$%&'*+.^_`|~0-9a-z]+)[ \t]*\r$")
_EXTENSIONS = re.compile(rb"(?im)^sec-websocket-extensions:[ \t]*([-!#$%&'*+.^_`|~0-9a-z]+)[ \t]*[;,\r]")
#: RFC 6455 §1.3.
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Http1Conversation:
    """One connection over HTTP/1.1, of which one side may be missing.

    Args:
        client, server: the bytes of each side, or `None` if they are not there.
        answers: the extensions that are agreed on where the server's answer is not there.
    """

    def __init__(self, client: bytes | None, server: bytes | None, answers: Sequence[Offer]) -> None:
        self._answers = answers
        self._request: UpgradeRequest | None = None
        self._key = b""
        self.client: list[Finding] = []
        self.server: list[Finding] = []
        opened = None if client is None else self._read_request(client)
        accepted = None if server is None else self._read_answer(server)
        if opened is not None and client is not None:
            self._read_frames(client, *opened, accepted, refused=server is not None and accepted is None)

    def _read_request(self, data: bytes) -> tuple[Http1, Connection, int] | None:
        end = _end_of_head(data)
        http = Http1(Role.SERVER, **ANY_SIZE)
        events, _ = http.receive(data[:end])
        line = data.split(b"\r\n", 1)[0].decode("latin-1")
        self.client.append(Finding(0, f"{line}: {counted(end)}"))
        broken = failed(events)
        for connection, event in events:
            if isinstance(event, UpgradeRequest):
                self._request = event
                self._key = dict(event.raw_headers)[b"sec-websocket-key"]
                return http, connection, end
        if broken is not None:
            self.client.append(fault(0, broken.error))
        elif events:
            self.client.append(Finding(0, "an ordinary request, which asks for no WebSocket"))
        else:
            self.client.append(Finding(0, "the head is not whole"))
        return None

    def _read_answer(self, data: bytes) -> UpgradeAccept | None:
        """Read the server's side; return its acceptance."""
        http, connection = self._client(data)
        offset = 0
        while offset < len(data):
            end = offset + _end_of_head(data[offset:])
            head = data[offset:end]
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            self.server.append(Finding(offset, f"{line}: {counted(len(head))}"))
            events, _ = http.receive(head if self._request is not None else _answering(head, self._key))
            broken = failed(events)
            if broken is not None:
                self.server.append(fault(offset, broken.error))
                return None
            if connection.state is State.OPEN:
                self._read_rest(self.server, connection, data, end)
                return next(event for _, event in events if isinstance(event, UpgradeAccept))
            offset = end
            if not head.startswith(b"HTTP/1.1 1"):
                break
        events, _ = http.receive(data[offset:])
        if not any(isinstance(event, UpgradeReject) for _, event in events):
            http.receive(b"")
        refused = connection.response
        status = refused.status if isinstance(refused, UpgradeReject) else "the answer is not whole"
        self.server.append(Finding(0, f"refused: {status}"))
        return None

    def _client(self, data: bytes) -> tuple[Http1, Connection]:
        """Return a client that waits for the answer."""
        if self._request is None:
            self._key = base64.b64encode(os.urandom(16))
        key = _decoded(self._key)

        def entropy(count: int) -> bytes:
            return key if count == len(key) else os.urandom(count)

        http = Http1(Role.CLIENT, entropy=entropy, **ANY_SIZE)
        connection = http.open()
        if self._request is not None:
            request = ask(self._request)
        else:
            self.server.append(Finding(0, "the request is not there, so Sec-WebSocket-Accept cannot be checked"))
            head = data[: _end_of_head(data)]
            names = [it.decode("latin-1") for it in _EXTENSIONS.findall(head)]
            subprotocols = [it.decode("latin-1") for it in _PROTOCOL.findall(head)[:1]]
            request = ask_for([Offer(it) for it in names], subprotocols)
        connection.send(request)
        return http, connection

    def _read_frames(
        self,
        data: bytes,
        http: Http1,
        connection: Connection,
        end: int,
        accepted: UpgradeAccept | None,
        *,
        refused: bool,
    ) -> None:
        if refused:
            if end < len(data):
                self.client.append(Finding(end, f"{counted(len(data) - end)} after a request that was not accepted"))
            return
        if accepted is None:
            request = self._request
            asked = {it.name for it in request.extensions if isinstance(it, Offer)} if request is not None else set()
            answers = [it for it in self._answers if it.name in asked]
            if answers and end < len(data):
                agreed = ", ".join(map(str, answers))
                self.client.append(Finding(end, f"the answer is not there: {agreed} is assumed, as it was offered"))
            accepted = UpgradeAccept(extensions=answers)
        connection.send(accept([it for it in accepted.extensions if isinstance(it, Offer)], accepted.subprotocol))
        self._read_rest(self.client, connection, data, end)
        # The connection refers to its carrier weakly.
        del http

    def _read_rest(self, findings: list[Finding], connection: Connection, data: bytes, start: int) -> None:
        reader = FrameReader(connection)
        findings += reader.feed(data[start:], start)
        findings += reader.finish()


def _end_of_head(data: bytes) -> int:
    end = data.find(_END)
    return len(data) if end < 0 else end + len(_END)


def _decoded(key: Any) -> bytes:
    try:
        return base64.b64decode(key)
    except binascii.Error:
        return bytes(16)


def _answering(head: bytes, key: bytes) -> bytes:
    """Return a head with the Sec-WebSocket-Accept that answers a key (RFC 6455 §4.2.2)."""
    digest = hashlib.sha1(key + _GUID.encode(), usedforsecurity=False).digest()
    return _ACCEPT.sub(lambda found: found[1] + base64.b64encode(digest), head, count=1)
