"""`mintws inspect`: captured bytes to frames, with the rules that they break."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mintws import Role
from mintws.cli.argument_types import content
from mintws.cli.inspection import captures, hexdump
from mintws.cli.inspection.findings import Finding
from mintws.cli.inspection.frames import FrameReader
from mintws.cli.inspection.handshakes import ASSUMED, open_unseen
from mintws.cli.inspection.http1 import Http1Conversation
from mintws.cli.inspection.http2 import PREFACE, Http2Conversation, begins_with_settings
from mintws.cli.output import put, tell
from mintws.cli.signals import Stop
from mintws.extensions import Offer

#: Exit codes.
WELL, BROKEN, UNREADABLE = 0, 1, 2

_SENDERS = {"client": Role.CLIENT, "server": Role.SERVER}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "inspect",
        help="show captured bytes as frames, with the rules that they break",
        description="Show the frames in captured bytes, each with the offset of its first byte, and the rules that they break, each with "
        "its section of the RFC. The bytes are those of one side of a connection, from its beginning: an opening handshake over HTTP/1.1, "
        "a connection over HTTP/2, or frames alone; or packets, as pcap or pcapng, whose TCP streams are put together, which takes scapy, "
        "by the extra mintws[pcap]. Bytes may be written in hexadecimal, as by xxd, hexdump -C or od.",
        epilog="Exit codes: 0 no rule is broken; 1 one is; 2 wrong usage, or there is nothing to inspect.",
        allow_abbrev=False,
    )
    parser.add_argument("data", type=content, metavar="FILE", help="the file with the bytes; - is standard input")
    parser.add_argument(
        "--from",
        dest="sender",
        choices=tuple(_SENDERS),
        help="who sent the bytes, where frames do not begin with a handshake (the first frame tells: that of a client is masked)",
    )
    parser.add_argument(
        "--no-deflate",
        dest="answers",
        action="store_const",
        const=(),
        default=ASSUMED,
        help="permessage-deflate was not agreed on, where the server's answer is not there",
    )
    parser.set_defaults(run=run, usage_error=parser.error)


async def run(arguments: argparse.Namespace, stop: Stop) -> int:
    """Inspect the bytes; return the exit code."""
    data: bytes = arguments.data
    if not data:
        tell("there are no bytes to inspect")
        return UNREADABLE
    try:
        if captures.is_capture(data):
            return _inspect_capture(captures.read_streams(data), arguments)
        data = hexdump.parse(data) or data
    except (captures.Missing, captures.Unreadable, hexdump.NotWhole) as error:
        tell(str(error))
        return UNREADABLE
    if _is_tls(data):
        tell("these are records of TLS: only what was captured within it, or without it, can be inspected")
        return UNREADABLE
    sender = _SENDERS[arguments.sender] if arguments.sender is not None else _sender(data)
    client, server = (data, None) if sender is Role.CLIENT else (None, data)
    return BROKEN if _inspect(client, server, arguments.answers) else WELL


def _inspect_capture(streams: Sequence[captures.TcpStream], arguments: argparse.Namespace) -> int:
    """Inspect each TCP connection; return the exit code."""
    broken = found = False
    for stream in streams:
        joined = {end: half.join() for end, half in stream.halves.items()}
        if not any(joined.values()):
            continue
        # If their bytes do not tell, the client has sent first.
        client, server = sorted(stream.ends, key=lambda end: not _looks_like_client(joined[end]))
        put(f"{client} to {server}")
        if _is_tls(joined[client]) or _is_tls(joined[server]):
            put("  TLS, which cannot be inspected")
            continue
        found = True
        is_whole = all(half.began and not half.lost for half in stream.halves.values())
        broken |= _inspect(joined[client] or None, joined[server] or None, arguments.answers, whole=is_whole)
        for end in (client, server):
            lost, whole = stream.halves[end].lost, len(joined[end])
            if lost:
                put(f"  {lost} bytes of {end} are missing in the capture after {whole}: what follows is left out")
    if not found:
        tell("there is no TCP connection to inspect")
        return UNREADABLE
    return BROKEN if broken else WELL


def _inspect(client: bytes | None, server: bytes | None, answers: Sequence[Offer], *, whole: bool = True) -> bool:
    """Print the findings of one connection, perhaps without bytes that a capture lacks; return whether a rule is broken."""
    first = client or server or b""
    findings: dict[Role, list[Finding]]
    if _is_http2(client, server):
        http2 = Http2Conversation(client, server, answers, whole=whole)
        version, findings = "HTTP/2", {Role.CLIENT: http2.client, Role.SERVER: http2.server}
    elif _is_http1(first):
        http1 = Http1Conversation(client, server, answers)
        version, findings = "HTTP/1.1", {Role.CLIENT: http1.client, Role.SERVER: http1.server}
    else:
        version = "frames without a handshake"
        findings = {
            role: _bare(data, role, answers) for role, data in ((Role.CLIENT, client), (Role.SERVER, server)) if data
        }
    for role, side in findings.items():
        if side:
            put(f"{role.name.lower()}, {version}:")
            for finding in side:
                put(str(finding))
    return any(finding.broken for side in findings.values() for finding in side)


def _bare(data: bytes, sender: Role, answers: Sequence[Offer]) -> list[Finding]:
    reader = FrameReader(open_unseen(sender, answers))
    return [*reader.feed(data, 0), *reader.finish()]


def _sender(data: bytes) -> Role:
    """Tell who sent these bytes."""
    return Role.CLIENT if _looks_like_client(data) else Role.SERVER


def _looks_like_client(data: bytes) -> bool:
    if data.startswith(b"HTTP/1.") or begins_with_settings(data):
        return False
    return _is_http1(data) or data.startswith(PREFACE) or (len(data) > 1 and bool(data[1] & 0x80))


def _is_http1(data: bytes) -> bool:
    """Check for the first line of a request or of a response."""
    line = data[:8192].split(b"\r\n", 1)[0]
    return line.startswith(b"HTTP/1.") or (not data.startswith(PREFACE) and b" HTTP/" in line)


def _is_http2(client: bytes | None, server: bytes | None) -> bool:
    return (client is not None and client.startswith(PREFACE)) or (
        client is None and server is not None and begins_with_settings(server)
    )


def _is_tls(data: bytes) -> bool:
    """Check for a record of a handshake of TLS (RFC 8446 §5.1)."""
    return data[:2] == b"\x16\x03" and len(data) > 5
