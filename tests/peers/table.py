"""The table of what was tried with whom, `docs/interop.md`."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import known
from gateways import GATEWAYS

#: The results of this run.
ROWS: list[Row] = []
#: Tests that were left out: the table would not show what they are for.
SKIPPED: list[str] = []


@dataclass
class Row:
    """What one test tried: many make one line.

    Attributes:
        peer, version: who.
        direction: what the peer is to us.
        http, tls, deflate: of the connection.
        check: what was tried.
        known: the peer's defect that it met.
        remark: what else is to be said.
        outcome: "passed", "failed" or "skipped".
    """

    peer: str = ""
    version: str = ""
    direction: str = ""
    http: str = ""
    tls: bool = False
    deflate: bool = False
    check: str = ""
    known: known.Known | None = None
    remark: str = ""
    outcome: str = ""

    @property
    def line(self) -> tuple[str, ...]:
        yes = {True: "yes", False: "no"}
        return (self.peer, self.version, self.direction, self.http, yes[self.tls], yes[self.deflate])


@dataclass
class _Line:
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    known: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


HEAD = """\
# Interoperation with real peers

Written by `pytest tests/peers --write-table` from a run of the tests in `tests/peers`. Each line is a kind of connection, on a real
socket of the loopback interface, with its conversations. [Gateways](gateways.md) has the configurations of gateways, with notes.

- **messages**: text and binary, empty, 1, 125, 126, 65535, 65536 bytes and 1 MiB, echoed; then 100 sent before any is read.
- **fragments**: fragmented messages in both directions, with an empty fragment, if the peer can send them.
- **pings**: a Ping and its Pong, and Pings between the fragments of a message.
- **client closes**, **server closes**: each end begins the closing handshake. Code and reason must arrive, the code must be echoed, and the
  transport, or the stream over HTTP/2, must end within 2 s.
- **refusal**: a runtime reports an error when it is answered with 403.

"""

#: What `test_known_defects.py` shows.
MORE = """
Further defects, in `tests/peers/test_known_defects.py`:

- **hypercorn**, over HTTP/2: when it closes one WebSocket, our END_STREAM ends its whole connection, with all other WebSockets on it.
- **wsproto** sends the status codes 0, 999 and 1016, which may not be sent (RFC 6455 §7.4): we fail the connection with 1002.
- **wsproto** answers a Close with 1014, which is registered, with 1002.
- **nghttpx**, towards an HTTP/2 server, never ends a stream that the server has ended (RFC 9113 §5.1): ours resets it after
  `half_closed_timeout`.
- **Envoy**, between an HTTP/1.1 client and an HTTP/2 server, leaves the Sec-WebSocket-Accept to the server, which need not give one
  (RFC 8441 §5): the client has to refuse the 101.
- **wsproto**, as a client, takes an interim response (103) for a refusal (RFC 9110 §15.2).
"""


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write the page."""
    lines: dict[tuple[str, ...], _Line] = {}
    met: dict[known.Known, int] = {}
    for row in rows:
        if row.outcome not in ("passed", "failed") or not row.peer:
            continue
        line = lines.setdefault(row.line, _Line())
        if row.outcome == "failed":
            line.failed.append(row.check)
        elif row.known is not None:
            number = met.setdefault(row.known, len(met) + 1)
            line.known.setdefault(f"[{number}]", []).append(row.check)
        else:
            line.passed.append(row.check)
        if row.remark and row.remark not in line.remarks:
            line.remarks.append(row.remark)
    peers = list(dict.fromkeys(line[0] for line in sorted(lines, key=lambda it: _ORDER.get(it[0], 0))))
    lines = {key: lines[key] for key in sorted(lines, key=lambda it: (peers.index(it[0]), it[3], it[2], it[4], it[5]))}
    total = sum(len(it.passed) + len(it.failed) + sum(map(len, it.known.values())) for it in lines.values())
    said = f"{total} conversations on {len(lines)} kinds of connection, with Python {platform.python_version()}.\n\n"
    columns = ("peer", "version", "it is", "HTTP", "TLS", "deflate", "result", "remarks")
    out = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    out += [f"| {' | '.join((*key, *_judge(line)))} |" for key, line in lines.items()]
    page = HEAD + said + "\n".join(out) + "\n"
    if met:
        page += "\n## Defects of peers\n\nEach is asserted by the tests that meet it: where one is mended, they fail until it leaves this list.\n\n"
        for it, number in met.items():
            seen = it.fails.replace("\\", "").replace("|", "` or `")
            page += f"{number}. **{it.peer}**: {it.reason} Seen as `{seen}`.\n"
        page += MORE
    path.write_text(page)


#: Gateways come last.
_ORDER = {gateway.name: place for place, gateway in enumerate(GATEWAYS, 1)}


def _judge(line: _Line) -> tuple[str, str]:
    if line.failed:
        result = f"**failed**: {', '.join(line.failed)}"
    elif line.known:
        result = f"{len(line.passed)} ok, {sum(map(len, line.known.values()))} by the peer's fault"
    else:
        result = f"{len(line.passed)} ok"
    remarks = [f"{number} {', '.join(dict.fromkeys(checks))}" for number, checks in line.known.items()]
    return result, "; ".join([*remarks, *line.remarks])
