"""Draws the states of one WebSocket, from the tables in the core that move it.

`python docs/states.py` prints them; with `--update` it writes them into docs/architecture.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mintws import _core

PAGE = Path(__file__).with_name("architecture.md")
BLOCK = re.compile(r"(?<=<!-- states -->\n```text\n).*?(?=```\n)", re.DOTALL)


def draw() -> str:
    """Give a line for each way from one state to another, and for what leaves a state as it is."""
    ways: dict[tuple[str, str, str, str], list[str]] = {}
    both = {role: {it[1:] for it in _core.transitions() if it[0] == role} for role in ("CLIENT", "SERVER")}
    for role, state, way, kind, after in _core.transitions():
        common = (state, way, kind, after) in both["CLIENT"] & both["SERVER"]
        if common and role == "SERVER":
            continue
        who = "either" if common else role.lower()
        ways.setdefault((state, who, f"{way}s", after), []).append(kind)
    order = list(dict.fromkeys(state for state, *_ in ways))
    lines = []
    for state in order:
        name = state
        for (start, who, way, after), kinds in ways.items():
            if start == state:
                lines.append(f"{name:<15} {who:<6} {way:<8} {', '.join(kinds):<35} -> {after}")
                name = ""
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the states, or write them into the page."""
    drawn = draw()
    if "--update" not in sys.argv:
        sys.stdout.write(drawn)
        return
    text = PAGE.read_text()
    if not BLOCK.search(text):
        sys.exit(f"{PAGE.name} has no block headed <!-- states -->")
    PAGE.write_text(BLOCK.sub(lambda _: drawn, text))


if __name__ == "__main__":
    main()
