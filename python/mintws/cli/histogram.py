"""A histogram of times, as text and as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mintws.cli.latencies import Latencies, shown

PERCENTILES = (50.0, 75.0, 90.0, 99.0, 99.9)

#: The characters and the pixels of the longest bar.
_TEXT_WIDTH, _SVG_WIDTH = 40, 420
_ROW = 22
_EIGHTHS = " ▏▎▍▌▋▊▉"

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px } .note { fill: #57606a } .bar { fill: #0a7a55 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9198a1 } .bar { fill: #5fd6a8 } }
"""


def as_text(latencies: Latencies) -> list[str]:
    """Draw a histogram of at most 80 columns."""
    bars = latencies.bars()
    most = max((bar.times for bar in bars), default=0)
    lines = []
    for bar in bars:
        eighths = round(bar.times / most * _TEXT_WIDTH * 8)
        # What is there is seen.
        eighths = max(eighths, 1) if bar.times else 0
        drawn = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        lines.append(f"{shown(bar.low):>8} - {shown(bar.high):<8} {drawn:<{_TEXT_WIDTH}} {bar.times:>10,}".rstrip())
    return lines


def as_svg(latencies: Latencies, title: str, notes: Sequence[str]) -> str:
    """Draw a histogram, with a title and notes, as a file that loads nothing."""
    bars = latencies.bars()
    most = max((bar.times for bar in bars), default=0)
    percentiles = ", ".join(f"{percent:g} %: {shown(latencies.percentile(percent))}" for percent in PERCENTILES)
    lines = [*notes, percentiles, f"longest: {shown(latencies.most)}"]
    top = 34 + 18 * len(lines)
    height = top + _ROW * len(bars) + 12
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
    ]
    for i, line in enumerate(lines):
        out.append(f'<text class="note" x="8" y="{44 + 18 * i}">{escape(line)}</text>')
    for i, bar in enumerate(bars):
        y, width = top + _ROW * i, bar.times / most * _SVG_WIDTH
        out += [
            f'<text x="150" y="{y + 14}" text-anchor="end">{shown(bar.low)} - {shown(bar.high)}</text>',
            f'<rect class="bar" x="160" y="{y}" width="{width:.1f}" height="{_ROW - 4}" rx="2"/>',
            f'<text x="{166 + width:.1f}" y="{y + 14}">{bar.times:,}</text>',
        ]
    return "\n".join([*out, "</svg>", ""])
