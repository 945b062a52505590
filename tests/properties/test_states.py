"""Any walk through the table of what may be sent agrees with the table of what is received on the other side."""

from hypothesis import given
from hypothesis import strategies as st
from wire import Wire

from mintws import (
    Close,
    Failed,
    Http1,
    Http2,
    Ping,
    Pong,
    State,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
    _core,
)

EVENTS = {
    "UpgradeRequest": UpgradeRequest("example.com"),
    "UpgradeAccept": UpgradeAccept(),
    "UpgradeReject": UpgradeReject(403),
    "Message": Text("x"),
    "Ping": Ping(b"p"),
    "Pong": Pong(b"q"),
    "Close": Close(1000),
}
KINDS = {type(event): kind for kind, event in EVENTS.items()} | {Failed: "Failed"}
SENT, RECEIVED = (
    {(role, state, kind): after for role, state, which, kind, after in _core.transitions() if which == way}
    for way in ("send", "receive")
)


class End:
    """One end, what its tables say of it, and the bytes on their way to it."""

    def __init__(self, role: str, http, conn=None) -> None:
        self.role, self.http, self.conn = role, http, conn
        self.state = "CONNECTING"
        self.coming: list[bytes] = []

    def send(self, kind: str) -> bytes:
        self.state = SENT[self.role, self.state, kind]
        return self.conn.send(EVENTS[kind])

    def take(self) -> bytes:
        events, reply = self.http.receive(self.coming.pop(0))
        for conn, event in events:
            if conn is None:
                continue
            self.conn = conn
            # Behind a Close the rest is dropped, so every event that comes is in the table.
            self.state = RECEIVED[self.role, self.state, KINDS[type(event)]]
        return reply

    def check(self) -> None:
        if self.conn is not None:
            # That the peer is gone is nothing to whoever sends.
            assert self.conn.state is State["CLOSED" if self.state == "GONE" else self.state]


@given(st.data(), st.sampled_from([Http1, Http2]))
def test_any_walk_agrees_on_both_sides(data, cls):
    wire = Wire(cls)
    client, server = End("CLIENT", wire.client, wire.client.open()), End("SERVER", wire.server)
    for _ in range(data.draw(st.integers(1, 25))):
        moves = [(end, "take") for end in (client, server) if end.coming]
        moves += [
            (end, kind)
            for end in (client, server)
            if end.conn
            for kind in EVENTS
            if (end.role, end.state, kind) in SENT
        ]
        if not moves:
            break
        end, move = data.draw(st.sampled_from(moves))
        other = server if end is client else client
        out = end.take() if move == "take" else end.send(move)
        if out:
            other.coming.append(out)
        end.check()
    for _ in range(100):
        for end, other in [(client, server), (server, client)]:
            if end.coming:
                out = end.take()
                if out:
                    other.coming.append(out)
                end.check()
    # Both know the same of the closing handshake once all has arrived.
    closed = {client.state, server.state}
    if "CLOSED" in closed and "CONNECTING" not in closed:
        assert closed in ({"CLOSED"}, {"CLOSED", "REMOTE_CLOSING"}, {"CLOSED", "CLOSING"})


def test_every_event_that_is_sent_can_be_received():
    # A state that sends and its counterpart.
    senders = {(role, kind) for role, _, kind in SENT}
    receivers = {(role, kind) for role, _, kind in RECEIVED}
    for role, kind in senders:
        assert (("SERVER" if role == "CLIENT" else "CLIENT"), kind) in receivers
