"""Charts and the table of targets: `python benches/charts.py` writes docs/charts/*.svg and the marked part of docs/performance.md.

Both come from `results/`, which `make bench` writes.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

import measure
from targets import Results, rows

CHARTS = measure.ROOT / "docs" / "charts"
PAGE = measure.ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- made by benches/charts.py -->", "<!-- end of what benches/charts.py makes -->"

WIDTH, LABEL, BAR, STEP = 720, 190, 18, 26
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .note { fill: #57606a; font-size: 12px }
.bar { fill: #9aa5b1 } .ours { fill: #c4501b } .floor { fill: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #5b6672 } .ours { fill: #f0883e } .floor { fill: #30363d }
}
"""


def chart(title: str, note: str, bars: dict[str, float], unit: str) -> str:
    """Draw bars from the left, the shortest first."""
    ordered = sorted(bars.items(), key=lambda bar: bar[1])
    longest = ordered[-1][1]
    room = WIDTH - LABEL - 90
    height = 58 + STEP * len(ordered)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
        f'<text class="note" x="0" y="38">{escape(note)}</text>',
    ]
    for place, (name, value) in enumerate(ordered):
        top = 52 + place * STEP
        limit = name.startswith(("floor", "bare", "a copy"))
        kind = "ours" if name.startswith("mintws") else "floor" if limit else "bar"
        size = max(round(value / longest * room, 1), 1)
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
        out += [
            f'<text x="{LABEL - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{size}" height="{BAR}" rx="2"/>',
            f'<text x="{LABEL + size + 6}" y="{top + 13}">{shown} {escape(unit)}</text>',
        ]
    return "\n".join([*out, "</svg>", ""])


def charts(results: Results) -> dict[str, str]:
    """Draw all charts, by the names of their files."""
    receive = results.core(part="receive", role="server", kind="ascii", size=16, batch=64)
    large = results.core(part="receive", role="server", kind="ascii", size=1 << 20, batch=1)
    send = results.core(part="send", role="client", kind="ascii", size=125, batch=1)
    large = {("a copy of the bytes" if name == "copy" else name): ns / 1000 for name, ns in large.items()}
    for small in (receive, send):
        small.pop("copy")
    best = "of CPU time of the server for each message"
    flight, pong = (results.echo("servers", f"32 B, {how}") for how in ("64 in flight", "ping-pong"))
    streams = results.echo("http2", "32 B, 50 streams, ping-pong")
    kept = results.kept["memory"]
    assert kept is not None
    idle = {row["server"]: row["kib"] for row in kept["rows"] if row.get("connections") == 1000 and not row["deflate"]}
    return {
        "receive": chart("Receive: 16 B of text, 64 messages in a chunk", "nanoseconds a message", receive, "ns"),
        "receive-large": chart("Receive: 1 MiB of text", "microseconds a message", large, "us"),
        "send": chart("Send: 125 B of text as a client", "nanoseconds a message", send, "ns"),
        "echo": chart("Echo server: 32 B, 64 messages in flight", f"microseconds {best}", _plain(flight), "us"),
        "ping-pong": chart("Echo server: 32 B, ping-pong", f"microseconds {best}", _plain(pong), "us"),
        "http2": chart(
            "HTTP/2 echo server: 32 B, ping-pong on 50 streams", f"microseconds {best}", _plain(streams), "us"
        ),
        "memory": chart("Memory of an idle connection, no compression", "KiB after one message", _plain(idle), "KiB"),
    }


def _plain(bars: dict[str, float]) -> dict[str, float]:
    return {name.replace("floor", "bare asyncio,").replace(", asyncio", ""): value for name, value in bars.items()}


def targets(results: Results) -> str:
    """Write the table of targets."""
    lines = ["| what | aimed at | measured | |", "| --- | --- | --- | --- |"]
    for row in rows(results):
        measured = ", ".join(text if enough else f"**{text}**" for text, enough in row.checks)
        lines.append(f"| {row.what} | {row.target} | {measured} | {'met' if row.met else 'missed'} |")
    where = next(kept["machine"] for kept in results.kept.values() if kept)
    return "\n".join([*lines, "", f"Measured on {measure.describe(where)}.", ""])


def page(path: Path, made: str) -> None:
    """Put what was made between the page's markers."""
    text = path.read_text()
    head, found, rest = text.partition(BEGIN)
    if not found or END not in rest:
        raise SystemExit(f"{path} lacks the lines {BEGIN!r} and {END!r}")
    path.write_text(f"{head}{BEGIN}\n\n{made}\n{END}{rest.partition(END)[2]}")


def main() -> None:
    results = Results()
    CHARTS.mkdir(parents=True, exist_ok=True)
    for name, drawn in charts(results).items():
        (CHARTS / f"{name}.svg").write_text(drawn)
    page(PAGE, targets(results))
    for row in rows(results):
        checks = ", ".join(text + ("" if enough else " (!)") for text, enough in row.checks)
        print(f"{'met   ' if row.met else 'MISSED'} {row.what}: {checks}")


if __name__ == "__main__":
    sys.exit(main())
