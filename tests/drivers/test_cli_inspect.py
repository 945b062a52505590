"""`mintws inspect`: frames with their offsets, and the rules that captured bytes break."""

from __future__ import annotations

import contextlib
import io
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import hpack
import pytest
from drivers.capture import capture, packets
from drivers.command import BOUND, MINTWS
from hyperframe.frame import HeadersFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.packet import Padding
from scapy.utils import PcapNgWriter

from mintws import (
    Binary,
    Close,
    Http1,
    Http2,
    PerMessageDeflate,
    Ping,
    Role,
    Text,
    UpgradeAccept,
    UpgradeReject,
    UpgradeRequest,
)
from mintws.cli import main
from mintws.cli.inspection import hexdump
from mintws.cli.inspection.handshakes import ASSUMED
from mintws.cli.inspection.http1 import Http1Conversation
from mintws.cli.inspection.http2 import PREFACE, Http2Conversation
from mintws.events import Request, Response

pytestmark = pytest.mark.usefixtures("signals")

TEXT = "mint tea " * 20


class Wire:
    """A client and a server, and what each of them has sent."""

    def __init__(self, http: str) -> None:
        make = Http1 if http == "1.1" else Http2
        self.client, self.server = make(Role.CLIENT), make(Role.SERVER)
        self.sent = {Role.CLIENT: b"", Role.SERVER: b""}
        self.events: list[tuple[Any, Any]] = []
        begun = self.client.start(), self.server.start()
        if http == "2":
            self.sent[Role.CLIENT] += begun[0]
            self.carry(Role.SERVER, begun[1] + self.server.receive(begun[0])[1])

    def carry(self, sender: Role, data: bytes) -> None:
        """Carry bytes to the other side, and back what it answers by itself; keep the server's events."""
        while data:
            self.sent[sender] += data
            receiver = self.server if sender is Role.CLIENT else self.client
            events, data = receiver.receive(data)
            sender = Role(1 - sender)
            if receiver is self.server:
                self.events += events

    def take(self, kind: type) -> tuple[Any, Any]:
        """Take the server's next event of a kind."""
        found = next(it for it in self.events if isinstance(it[1], kind))
        self.events.remove(found)
        return found


def record(http: str, *, deflate: bool = False) -> tuple[bytes, bytes]:
    """What a client and a server say to each other, each as the bytes of one side."""
    wire = Wire(http)
    if http == "2":
        wire.carry(Role.CLIENT, wire.client.request(Request("GET", "/page", (("host", "example.com"),)))[1])
        request = next(filter(None, (wire.server.collect(event) for _, event in wire.events)))
        wire.carry(Role.SERVER, wire.server.respond(request, Response(200, body=b"a page")))
    extensions = (PerMessageDeflate(threshold=0, server_max_window_bits=10),) if deflate else ()
    ours = wire.client.open()
    wire.carry(
        Role.CLIENT, ours.send(UpgradeRequest("example.com", "/chat", subprotocols=["tea"], extensions=extensions))
    )
    theirs, _ = wire.take(UpgradeRequest)
    wire.carry(Role.SERVER, theirs.send(UpgradeAccept(subprotocol="tea", extensions=extensions)))
    for event in (Text(TEXT), Text("a", fin=False), Ping(b"?"), Text("b"), Binary(bytes(300)), Close(1000, "done")):
        wire.carry(Role.CLIENT, ours.send(event))
    for event in (Text(TEXT), Text("a", fin=False), Text("b"), Binary(bytes(300)), Close(1000, "done")):
        wire.carry(Role.SERVER, theirs.send(event))
    return wire.sent[Role.CLIENT], wire.sent[Role.SERVER]


def inspect(data: bytes, *arguments: str, code: int = 0) -> list[str]:
    """Run the command on bytes; return the lines that it prints, or says if there is nothing to inspect."""
    printed, said = io.StringIO(), io.StringIO()
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            assert main(["inspect", file.name, *arguments]) == code, printed.getvalue() + said.getvalue()
    return (printed if code < 2 else said).getvalue().splitlines()


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
def test_both_sides_of_a_capture_are_shown_as_frames(http: str, deflate: bool) -> None:
    client, server = record(http, deflate=deflate)
    lines = inspect(capture(packets(client, server)))
    assert lines[0] == "127.0.0.1:50000 to 127.0.0.1:80"
    split = lines.index(f"server, HTTP/{http}:")
    assert lines[1] == f"client, HTTP/{http}:"
    for side, data in ((lines[2:split], client), (lines[split + 1 :], server)):
        said = "\n".join(side)
        assert "BROKEN" not in said
        assert repr(TEXT[:100]) in said
        assert "continuation, fin" in said and "; the message: text, 2 bytes: 'ab'" in said
        assert f": {bytes(32).hex(' ')} …" in said
        assert re.search(r"close, fin.*: 1000 'done'", said)
        assert ("rsv1" in said) is deflate
        # Each frame begins where the line says.
        kinds = {"text": 1, "continuation": 0, "binary": 2, "close": 8, "ping": 9, "pong": 10}
        framed = [
            (int(found[1]), kinds[found[2]])
            for it in side
            if (found := re.match(r"\s*(\d+)\s+(\w+), (?:fin|rsv1|masked|\d)", it)) and found[2] in kinds
        ]
        assert len(framed) == 6
        assert all(data[at] & 15 == kind for at, kind in framed)


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("side", [0, 1], ids=["client", "server"])
def test_one_side_alone_is_enough(http: str, deflate: bool, side: int) -> None:
    data = record(http, deflate=deflate)[side]
    lines = inspect(data)
    assert lines[0] == f"{('client', 'server')[side]}, HTTP/{http}:"
    said = "\n".join(lines)
    assert "BROKEN" not in said
    assert repr(TEXT[:100]) in said
    assert ("is assumed" in said) is (side == 0 and deflate and http == "1.1")


def test_the_answer_that_is_assumed_can_be_denied() -> None:
    client, _ = record("1.1", deflate=True)
    said = "\n".join(inspect(client, "--no-deflate", code=1))
    assert (
        "a reserved bit is set that no extension has negotiated for this frame (RFC 6455 §5.2; close code 1002)" in said
    )


def masked(first: int, payload: bytes, second: int = 0x80) -> bytes:
    return bytes([first, second | len(payload)]) + bytes(4) + payload


#: Frames of a client and of a server that break a rule: its section, and the offset.
RULES = [
    ("client", bytes([0x81, 2]) + b"hi", "§5.1", 0),
    ("server", masked(0x81, b"hi"), "§5.1", 0),
    ("client", masked(0x81, b"ok") + masked(0x83, b""), "§5.2", 8),
    ("client", masked(0xA1, b""), "§5.2", 0),
    ("client", masked(0x09, b""), "§5.5", 0),
    ("client", bytes([0x89, 0xFE, 0, 126]), "§5.5", 0),
    ("client", masked(0x80, b""), "§5.4", 0),
    ("client", masked(0x01, b"a") + masked(0x81, b"b"), "§5.4", 7),
    ("client", masked(0x01, b"\xc3") + masked(0x80, b"("), "§8.1", 7),
    ("client", masked(0x88, b"\x03"), "§5.5.1", 0),
    ("client", masked(0x88, struct.pack("!H", 1005)), "§7.4", 0),
    ("client", masked(0x88, b"\x03\xe8") + b"more", "§5.5.1", 8),
    ("client", bytes([0x82, 0xFE, 0, 100]), "§5.2", 0),
    ("client", bytes([0x82, 0xFF, 0x80, *bytes(7)]), "§5.2", 0),
    ("client", masked(0xC1, b"\xff\xff\xff"), "RFC 7692 §7.2.2", 0),
]


@pytest.mark.parametrize(
    ("sender", "data", "section", "offset"), RULES, ids=[f"{it[0]} {it[2]} {it[1].hex()}" for it in RULES]
)
def test_a_broken_rule_is_named_with_its_section_and_offset(
    sender: str, data: bytes, section: str, offset: int
) -> None:
    (broken,) = [it for it in inspect(data, "--from", sender, code=1) if "BROKEN" in it]
    assert int(broken.split()[0]) == offset
    assert section in broken


def test_broken_handshakes_are_named() -> None:
    client, server = record("1.1")
    said = "\n".join(inspect(client.replace(b"Version: 13", b"Version: 8"), code=1))
    assert "BROKEN: Sec-WebSocket-Version must be 13 (RFC 6455 §4.1; HTTP status 426)" in said
    wrong = re.sub(rb"Sec-WebSocket-Accept: .*", b"Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU=\r", server)
    said = "\n".join(inspect(capture(packets(client, wrong)), code=1))
    assert "BROKEN: Sec-WebSocket-Accept must answer the key (RFC 6455 §4.1" in said


def test_broken_heads_of_streams_are_named() -> None:
    fields = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", "/"),
        (":protocol", "websocket"),
    ]
    for version, code in (("13", 0), ("8", 1)):
        block = hpack.Encoder().encode([*fields, ("sec-websocket-version", version)])
        head = HeadersFrame(1, data=block, flags=["END_HEADERS"]).serialize()
        said = "\n".join(inspect(PREFACE + SettingsFrame(0).serialize() + head, code=code))
        assert "HEADERS, stream 1, END_HEADERS" in said
        assert (f"{33:>10}    BROKEN: Sec-WebSocket-Version must be 13 (RFC 6455 §4.1" in said) is bool(code)


@pytest.mark.parametrize(
    ("frame", "section"),
    [
        (bytes([0, 0, 3, 4, 0, 0, 0, 0, 0, 1, 2, 3]), "§6.5"),
        (bytes([0, 0, 8, 6, 0, 0, 0, 0, 1, *range(8)]), "§6.7"),
        (bytes([0, 0, 1, 1, 4, 0, 0, 0, 1, 0xFF]), "§4.3"),
        (bytes([0, 0, 1, 9, 4, 0, 0, 0, 1, 0x82]), "§6.10"),
    ],
)
def test_broken_frames_of_http2_are_named(frame: bytes, section: str) -> None:
    *_, broken = inspect(PREFACE + SettingsFrame(0).serialize() + frame, code=1)
    assert broken.startswith(f"{33:>10}  BROKEN: ")
    assert f"RFC 9113 {section}" in broken


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def set_to(key: int, value: int) -> bytes:
    return frame(4, 0, 0, struct.pack(">HI", key, value))


#: Blocks of fields that leave the dynamic table as it is: GET / by http, and the status 200.
ASKS, ANSWERS, EMPTY = b"\x82\x86\x84", b"\x88", frame(4, 0, 0)
ASKED = PREFACE + EMPTY + frame(1, 5, 1, ASKS)
PROMISED = EMPTY + frame(5, 4, 1, b"\0\0\0\2" + ASKS)

#: The bytes of a client, and those of the server if they are there; the rule that is broken, and the section that has it.
STATES = [
    (PREFACE + EMPTY + frame(0, 0, 1, b"x"), None, "DATA on stream 1, which is idle", "§5.1)"),
    (ASKED + frame(1, 5, 5, ASKS) + frame(0, 0, 3), None, "stream 3, which this side has not opened", "§5.1)"),
    (PREFACE + EMPTY + frame(0, 0, 2, b"x"), None, "stream 2, which this side has not opened", "§5.1)"),
    (PREFACE + EMPTY + frame(3, 0, 5, bytes(4)), None, "RST_STREAM on stream 5, which is idle", "§5.1)"),
    (PREFACE + EMPTY + frame(8, 0, 5, b"\0\0\0\1"), None, "WINDOW_UPDATE on stream 5, which is idle", "§5.1)"),
    (PREFACE + EMPTY + frame(1, 4, 2, ASKS), None, "odd numbers", "§5.1.1)"),
    (
        PREFACE + EMPTY + frame(1, 5, 3, ASKS) + frame(1, 4, 1, ASKS),
        None,
        "stream 1 is opened after stream 3",
        "§5.1.1)",
    ),
    (ASKED + frame(0, 0, 1, b"x"), None, "DATA after END_STREAM", "§5.1)"),
    (ASKED + frame(1, 5, 1, ASKS), None, "HEADERS after END_STREAM", "§5.1)"),
    (ASKED + frame(3, 0, 1, bytes(4)) + frame(8, 0, 1, b"\0\0\0\1"), None, "WINDOW_UPDATE after RST_STREAM", "§5.1)"),
    (ASKED + frame(1, 0, 3, ASKS) + frame(0, 0, 3), None, "within a block of HEADERS", "§4.3)"),
    (ASKED + frame(1, 0, 3, ASKS) + frame(1, 5, 5, ASKS), None, "within a block of HEADERS", "§4.3)"),
    (ASKED + frame(5, 4, 1, bytes([0, 0, 0, 2]) + ASKS), None, "a client must not send PUSH_PROMISE", "§8.4)"),
    (PREFACE + frame(1, 5, 1, ASKS), None, "the first frame of a side must be its SETTINGS", "§3.4)"),
    (PREFACE + frame(4, 1, 0), None, "the first frame of a side must be its SETTINGS", "§3.4)"),
    (PREFACE + set_to(2, 5), None, "ENABLE_PUSH must be from 0 to 1", "§6.5.2)"),
    (PREFACE + set_to(4, 1 << 31), None, "INITIAL_WINDOW_SIZE must be from 0 to 2147483647", "§6.5.2)"),
    (PREFACE + set_to(5, 100), None, "MAX_FRAME_SIZE must be from 16384 to 16777215", "§6.5.2)"),
    (PREFACE + set_to(8, 2), None, "ENABLE_CONNECT_PROTOCOL must be from 0 to 1", "(RFC 8441 §3)"),
    (None, set_to(8, 1) + set_to(8, 0), "ENABLE_CONNECT_PROTOCOL must not become 0", "(RFC 8441 §3)"),
    (None, set_to(2, 1), "a server must not set ENABLE_PUSH to 1", "§6.5.2)"),
    (None, EMPTY + frame(0, 0, 1, b"x"), "DATA before the HEADERS of its stream", "§8.1)"),
    (None, EMPTY + frame(1, 4, 2, ANSWERS), "HEADERS on stream 2, which is idle", "§5.1)"),
    (None, EMPTY + frame(1, 5, 1, ANSWERS) + frame(0, 0, 1, b"x"), "DATA after END_STREAM", "§5.1)"),
    (ASKED, EMPTY + frame(1, 5, 3, ANSWERS), "HEADERS on stream 3, which is idle", "§5.1)"),
    (ASKED, EMPTY + frame(3, 0, 3, bytes(4)), "RST_STREAM on stream 3, which is idle", "§5.1)"),
    (ASKED + frame(3, 0, 2, bytes(4)), EMPTY, "RST_STREAM on stream 2, which is idle", "§5.1)"),
    (ASKED + frame(8, 0, 4, b"\0\0\0\1"), PROMISED, "WINDOW_UPDATE on stream 4, which is idle", "§5.1)"),
    (ASKED, frame(1, 5, 1, ANSWERS), "the first frame of a side must be its SETTINGS", "§3.4)"),
]


def sent(client: bytes | None, server: bytes | None, *, syn: bool = True) -> bytes:
    if client is None or server is None:
        return client or server or b""
    return capture(packets(client, server)[0 if syn else 2 :])


@pytest.mark.parametrize(("client", "server", "rule", "section"), STATES, ids=[f"{it[2]} {it[3]}" for it in STATES])
def test_frames_that_no_state_of_http2_allows_are_named(
    client: bytes | None, server: bytes | None, rule: str, section: str
) -> None:
    (broken,) = [it for it in inspect(sent(client, server), code=1) if "BROKEN" in it]
    assert rule in broken
    assert broken.endswith(section)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (ASKED + frame(8, 0, 1, b"\0\0\0\1") + frame(3, 0, 1, bytes(4)) * 2 + frame(2, 0, 9, bytes(5)), None),
        # A stream that the server has pushed, or may have pushed, and a block that it has sent for it.
        (ASKED + frame(3, 0, 2, bytes(4)), None),
        (ASKED + frame(3, 0, 2, bytes(4)), PROMISED),
        (ASKED + frame(3, 0, 2, bytes(4)), EMPTY + frame(5, 12, 1, b"\1\0\0\0\2" + ASKS + b"\0")),
        (ASKED + frame(3, 0, 2, bytes(4)), EMPTY + frame(8, 0, 1, b"\0\0\0\1")[:-1]),
        (None, EMPTY + frame(5, 4, 1, b"\0\0\0\2" + ASKS) + frame(1, 4, 2, ANSWERS) + frame(0, 1, 2, b"pushed")),
        (None, EMPTY + frame(5, 0, 1, b"\0\0\0\2" + ASKS[:1]) + frame(9, 4, 1, ASKS[1:]) + frame(1, 5, 1, ANSWERS)),
        # What the client has sent is unknown.
        (None, EMPTY + frame(1, 5, 3, ANSWERS) + frame(3, 0, 5, bytes(4)) + frame(8, 0, 7, b"\0\0\0\1")),
        (ASKED, EMPTY + frame(1, 4, 1, b"\x08\x03103") + frame(1, 4, 1, ANSWERS) + frame(0, 1, 1, b"a page")),
        (None, set_to(8, 1) + set_to(8, 1)),
    ],
)
def test_frames_that_a_state_of_http2_allows_break_no_rule(client: bytes | None, server: bytes | None) -> None:
    assert "BROKEN" not in "\n".join(inspect(sent(client, server)))


def test_what_a_capture_may_lack_is_not_held_against_a_side() -> None:
    assert "BROKEN" not in "\n".join(inspect(sent(ASKED, EMPTY + frame(1, 5, 3, ANSWERS), syn=False)))
    said = "\n".join(inspect(sent(ASKED, frame(1, 5, 1, ANSWERS), syn=False)))
    assert "its first bytes are not there" in said
    # A client whose frames cannot be told to their end.
    said = inspect(sent(ASKED + frame(4, 0, 0, b"x"), EMPTY + frame(1, 5, 3, ANSWERS)), code=1)
    assert ["§6.5" in it for it in said if "BROKEN" in it] == [True]


@pytest.mark.parametrize("block", [b"\xff" * 5, b"\xff" * 20])
def test_a_block_that_cannot_be_decoded_is_told_in_words(block: bytes) -> None:
    *_, broken = inspect(PREFACE + EMPTY + frame(1, 4, 1, block), code=1)
    assert "the block of HEADERS cannot be decoded: " in broken
    assert "integer" in broken
    assert "memory" not in broken


def test_a_refusal_is_told(http: str) -> None:
    wire = Wire(http)
    wire.carry(Role.CLIENT, wire.client.open().send(UpgradeRequest("example.com", "/")))
    wire.carry(Role.SERVER, wire.take(UpgradeRequest)[0].send(UpgradeReject(403, body=b"no\n")))
    said = "\n".join(inspect(capture(packets(wire.sent[Role.CLIENT], wire.sent[Role.SERVER]))))
    assert "403" in said
    assert "BROKEN" not in said


def test_no_bytes_are_lost_that_a_capture_has(http: str) -> None:
    sides = record(http)
    made = packets(*sides)
    expected = inspect(capture(made))
    # Out of order, twice, in larger pieces once more, with the padding of Ethernet, as pcapng.
    assert inspect(capture([*made[:2], *reversed(made[2:])])) == expected
    assert inspect(capture([*made, *made[2:]])) == expected
    # From the first packet with data on, whoever sent that.
    assert inspect(capture(made[2:])) == expected
    assert inspect(capture(made[:1:-1]))[1:] == expected[1:]
    assert inspect(capture([*made[:4], *packets(*sides, size=130)[2:], *made[4:]])) == expected
    assert inspect(capture([it / Padding(b"\x00" * 6) for it in made])) == expected
    assert inspect(capture(made, PcapNgWriter)) == expected
    lines = inspect(capture(packets(*sides, ipv6=True)))
    assert lines[0] == "[::1]:50000 to [::1]:80"
    assert lines[1:] == expected[1:]


def test_bytes_that_a_capture_lacks_are_told() -> None:
    made = packets(*record("1.1"))
    del made[4]
    lines = inspect(capture(made))
    assert "  100 bytes of 127.0.0.1:50000 are missing in the capture after 200: what follows is left out" in lines


def test_what_cannot_be_inspected_is_told(tmp_path: Path) -> None:
    assert inspect(b"", code=2) == ["mintws: there are no bytes to inspect"]
    tls = bytes.fromhex("160301020001 00") * 3
    assert "TLS" in inspect(tls, code=2)[0]
    assert inspect(capture([]), code=2) == ["mintws: there is no TCP connection to inspect"]
    assert "the capture cannot be read" in inspect(capture(packets(b"a", b"b"))[:10], code=2)[0]
    assert "hexdump -v" in inspect(b"00000000  81 05 \n*\n", code=2)[0]
    file = tmp_path / "packets.pcap"
    file.write_bytes(capture(packets(*record("1.1"))))
    script = f"import sys; sys.modules['scapy'] = None; from mintws.cli import main; sys.exit(main(['inspect', {str(file)!r}]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=BOUND, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "mintws: to read captured packets takes the package scapy: install mintws[pcap], or scapy itself\n",
    )


HELLO = b"\x81\x05Hello\x88\x02\x03\xe8 and sixteen more"
#: As the tools print them: xxd, xxd -p, hexdump -C, od -Ax -tx1, od -Ax -tx1z, Wireshark, C and Python.
DUMPS = [
    "00000000: 8105 4865 6c6c 6f88 0203 e820 616e 6420  ..Hello.... and \n00000010: 7369 7874 6565 6e20 6d6f 7265            sixteen more\n",
    "810548656c6c6f880203e820616e64207369787465656e206d6f7265\n",
    "00000000  81 05 48 65 6c 6c 6f 88  02 03 e8 20 61 6e 64 20  |..Hello.... and |\n00000010  73 69 78 74 65 65 6e 20  6d 6f 72 65              |sixteen more|\n0000001c\n",
    "000000 81 05 48 65 6c 6c 6f 88 02 03 e8 20 61 6e 64 20\n000010 73 69 78 74 65 65 6e 20 6d 6f 72 65\n00001c\n",
    "000000 81 05 48 65 6c 6c 6f 88 02 03 e8 20 61 6e 64 20  >..Hello.... and <\n000010 73 69 78 74 65 65 6e 20 6d 6f 72 65              >sixteen more<\n00001c\n",
    "0000   81 05 48 65 6c 6c 6f 88 02 03 e8 20 61 6e 64 20   ..Hello.... and \n0010   73 69 78 74 65 65 6e 20 6d 6f 72 65               sixteen more\n",
    "0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x88, 0x02, 0x03, 0xe8, 0x20, 0x61, 0x6e,\n0x64, 0x20, 0x73, 0x69, 0x78, 0x74, 0x65, 0x65, 0x6e, 0x20, 0x6d, 0x6f, 0x72, 0x65\n",
    "".join(f"\\x{it:02x}" for it in HELLO),
]


@pytest.mark.parametrize("dump", DUMPS)
def test_hex_dumps_are_read(dump: str) -> None:
    assert hexdump.parse(dump.encode()) == HELLO
    assert hexdump.parse(dump.upper().replace("X", "x").encode()) == HELLO


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x81\x05Hello", b"abc", b"\n", b""])
def test_other_bytes_are_no_dump(data: bytes) -> None:
    assert hexdump.parse(data) is None


RECORDED = [(http, *record(http, deflate=deflate)) for http in ("1.1", "2") for deflate in (False, True)]


@given(st.sampled_from(RECORDED), st.data())
@settings(deadline=None)
def test_no_bytes_make_it_fail(recorded: tuple[str, bytes, bytes], data: st.DataObject) -> None:
    http, *sides = recorded
    changed: list[bytes | None] = []
    for side in sides:
        wrong = bytearray(side)
        for _ in range(data.draw(st.integers(0, 3))):
            wrong[data.draw(st.integers(0, len(side) - 1))] = data.draw(st.integers(0, 255))
        changed.append(data.draw(st.sampled_from([None, bytes(wrong[: data.draw(st.integers(1, len(side)))])])))
    conversation = Http1Conversation if http == "1.1" else Http2Conversation
    found = conversation(*changed, ASSUMED)
    assert all(str(it) for it in [*found.client, *found.server])


@pytest.mark.parametrize("name", ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"])
@pytest.mark.parametrize("value", ["", " ", "a b", "\xe9", ";", "tea; x"])
def test_an_answer_without_its_request_may_have_any_value(name: str, value: str) -> None:
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{name}:{value}\r\n\r\n"
    assert Http1Conversation(None, head.encode("latin-1"), ASSUMED).server


def test_standard_input_is_read() -> None:
    done = subprocess.run(
        [*MINTWS, "inspect", "-"], input=b"\x81\x05Hello", capture_output=True, timeout=BOUND, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "server, frames without a handshake:",
        "         0  text, fin, 5 bytes: 'Hello'",
    ]
