"""What came of a run: verdicts, how they compare with the recorded ones, a table, and a page."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: From best to worst. The suite has more words for a failure; only these three are none.
RANKS = ("OK", "INFORMATIONAL", "NON-STRICT", "FAILED", "MISSING")

Verdicts = Mapping[str, Mapping[str, "Verdict"]]


@dataclass(frozen=True)
class Verdict:
    """What the suite said of one case.

    Attributes:
        page: the suite's own page of the case.
        duration: in milliseconds.
    """

    case: str
    behavior: str
    behaviorClose: str  # noqa: N815  # the suite's name for it
    remoteCloseCode: int | None  # noqa: N815
    description: str
    result: str
    resultClose: str  # noqa: N815
    page: str
    duration: int

    @property
    def word(self) -> str:
        """The worse of the verdicts on what was answered and on how it was closed."""
        words = [it if it in RANKS else "FAILED" for it in (self.behavior, self.behaviorClose)]
        return max(words, key=RANKS.index)


def word(verdict: Verdict | None) -> str:
    return verdict.word if verdict else "MISSING"


def record(verdicts: Verdicts, cases: Sequence[str]) -> str:
    """Write what is expected from now on: how many cases there are, and what is not OK."""
    columns = {
        column: {case: word(found.get(case)) for case in cases if word(found.get(case)) != "OK"}
        for column, found in verdicts.items()
    }
    return json.dumps({"cases": len(cases), "not OK": columns}, indent=2) + "\n"


def compare(verdicts: Verdicts, cases: Sequence[str], expected: Mapping[str, Any], *, whole: bool) -> list[str]:
    """Say what is worse than recorded."""
    worse = []
    if whole and len(cases) != expected["cases"]:
        worse.append(f"the suite has {len(cases)} cases, not {expected['cases']}")
    for column, found in verdicts.items():
        for case in cases:
            wanted = expected["not OK"][column].get(case, "OK")
            verdict = found.get(case)
            if RANKS.index(word(verdict)) > RANKS.index(wanted):
                why = f": {verdict.result} {verdict.resultClose}" if verdict else ""
                worse.append(f"{column} {case} is {word(verdict)}, not {wanted}{why[:300]}")
    return worse


def table(verdicts: Verdicts, cases: Sequence[str]) -> str:
    """Count the verdicts of each column."""
    lines = [f"{'':12}{'cases':>7}" + "".join(f"{rank.lower():>15}" for rank in RANKS)]
    for column, found in verdicts.items():
        counts = Counter(word(found.get(case)) for case in cases)
        lines.append(f"{column:12}{len(cases):7}" + "".join(f"{counts[rank]:15}" for rank in RANKS))
    return "\n".join(lines)


def write_page(path: Path, verdicts: Verdicts, cases: Sequence[str], worse: Sequence[str]) -> None:
    """Write a page with a row for each case and the columns side by side, each verdict a link to the suite's page."""
    rows = []
    for case in sorted(cases, key=lambda it: [int(part) for part in it.split(".")]):
        cells = [_cell(found.get(case)) for found in verdicts.values()]
        about = next((found[case].description for found in verdicts.values() if case in found), "")
        rows.append(f'<tr><th title="{html.escape(about, quote=True)}">{case}</th>{"".join(cells)}</tr>')
    heads = "".join(f"<th>{html.escape(column)}</th>" for column in verdicts)
    found = "".join(f"<li>{html.escape(line)}</li>" for line in worse) or "<li>nothing is worse than recorded</li>"
    page = PAGE.format(table=html.escape(table(verdicts, cases)), worse=found, heads=heads, rows="\n".join(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return '<td class="missing">missing</td>'
    said = " / ".join(dict.fromkeys([verdict.behavior, verdict.behaviorClose]))
    code = "" if verdict.remoteCloseCode is None else f", {verdict.remoteCloseCode}"
    title = html.escape(f"{verdict.result[:200]} {verdict.resultClose[:200]}", quote=True)
    link = f'<a href="{html.escape(verdict.page, quote=True)}" title="{title}">{said.lower()}</a>'
    return f'<td class="{verdict.word.lower()}">{link}<small>{code}, {verdict.duration} ms</small></td>'


PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Conformance of mintws</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 2em }}
table {{ border-collapse: collapse }}
th, td {{ padding: .15em .7em; border: 1px solid #ccc; text-align: left }}
thead th {{ position: sticky; top: 0; background: #fff }}
small {{ color: #666 }}
.ok {{ background: #dfd }}
.informational {{ background: #ddf }}
.non-strict {{ background: #ffc }}
.failed, .missing {{ background: #fbb }}
</style>
<h1>Conformance of mintws</h1>
<p>Autobahn|Testsuite against the server and the client, over HTTP/1.1 and over HTTP/2. A verdict links to the suite's page of the
case; behind it are the code of the peer's Close and the time. The pointer on a case shows what it does.</p>
<pre>{table}</pre>
<ul>{worse}</ul>
<table>
<thead><tr><th>case</th>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""
