"""How often a header of the handshake may stand (RFC 6455 §11.3)."""

from wire import ANSWER, KEY, REQUEST, accept_of, header_of, said

from mintws import Agreed, Extension, Http1, Offer, PerMessageDeflate, Role, Transform, UpgradeAccept, UpgradeRequest


class Plain(Transform):
    def send(self, data, *, text):
        return data, 0

    def receive(self, data, rsv, *, text):
        return data


class PlainExtension(Extension):
    """Changes nothing."""

    name = "x-plain"

    def offer(self):
        return ()

    def accept(self, offer):
        return Agreed(Offer(self.name), Plain())

    def agree(self, answer):
        return Agreed(Offer(self.name, answer), Plain())


BOTH = [PerMessageDeflate(), PlainExtension()]


def count(head: bytes, name: str) -> int:
    return head.lower().count(f"\r\n{name.lower()}:".encode())


def test_request_has_each_header_once():
    request = UpgradeRequest("example.com", subprotocols=["a", "b"], extensions=BOTH)
    head = Http1(Role.CLIENT).open().send(request)
    for name in ["Key", "Version", "Protocol", "Extensions"]:
        assert count(head, f"Sec-WebSocket-{name}") == 1


def test_answer_has_each_header_once():
    # Extensions: a request may have several lines, a response must not.
    http = Http1(Role.SERVER)
    lines = b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-plain\r\nSec-WebSocket-Protocol: a, b\r\n"
    ((conn, _),), _ = http.receive(REQUEST + lines + b"\r\n")
    head = conn.send(UpgradeAccept(subprotocol="b", extensions=BOTH))
    for name in ["Accept", "Protocol", "Extensions"]:
        assert count(head, f"Sec-WebSocket-{name}") == 1
    assert header_of(head, "Sec-WebSocket-Extensions") == "permessage-deflate, x-plain"
    assert header_of(head, "Sec-WebSocket-Accept") == accept_of(KEY)


def test_extensions_of_the_answer_on_two_lines_are_one_list():
    # §11.3.2 forbids it to the server, §4.2.2 and §9.1 allow it.
    http = Http1(Role.CLIENT, entropy=lambda n: b"the sample nonce"[:n] if n == 16 else bytes(n))
    conn = http.open()
    conn.send(UpgradeRequest("example.com", "/chat", extensions=BOTH))
    data = ANSWER + b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x-plain\r\n\r\n"
    (event,) = said(http.receive(data))
    assert type(event) is UpgradeAccept
    assert [it.answer.name for it in conn.extensions] == ["permessage-deflate", "x-plain"]


def test_answer_without_extensions_and_subprotocol_names_neither():
    # §4.2.2: an empty header is not the same as none.
    http = Http1(Role.SERVER)
    lines = b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: a, b\r\n"
    ((conn, _),), _ = http.receive(REQUEST + lines + b"\r\n")
    head = conn.send(UpgradeAccept())
    assert count(head, "Sec-WebSocket-Protocol") == count(head, "Sec-WebSocket-Extensions") == 0
