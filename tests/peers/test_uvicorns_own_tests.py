"""uvicorn's own tests of its protocol classes, with ours in place of them: docs/uvicorn-tests.md has the table, and this run is held to it.

`UVICORN_TESTS_TABLE=write pytest tests/peers/test_uvicorns_own_tests.py -n 0` writes it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from process import python_package, source_distribution
from uvicorn_tests.differences import WHY

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "uvicorn-tests.md"
BEGIN = "<!-- made by tests/peers/test_uvicorns_own_tests.py -->\n"
END = "<!-- end of what tests/peers/test_uvicorns_own_tests.py makes -->\n"
FILES = {
    "protocols/test_http.py": ("http1", "http2", "own1", "own2"),
    "protocols/test_http2.py": ("http2", "own2"),
    "protocols/test_websocket.py": ("http1",),
    "test_server.py": ("http1", "http2"),
    "test_default_headers.py": ("http1", "http2"),
    "test_ssl.py": ("http1", "http2"),
    "middleware/test_logging.py": ("http1", "http2"),
}
COLUMNS = {"http1": "HTTP/1.1", "http2": "HTTP/2", "own1": "ours, HTTP/1.1", "own2": "ours, HTTP/2"}
#: What an outcome is in the table.
PASSES, FAILS, IS_NOT_RUN = "yes", "no", "-"


def run(classes: str, folder: Path) -> dict[tuple[str, str], str]:
    """Run the tests with some of our classes; give the outcome of each test of each file."""
    tests, report = source_distribution("uvicorn_tests"), folder / "report.xml"
    packages = python_package("uvicorn_tests")
    path = os.pathsep.join([*map(str, (HERE / "uvicorn_tests", packages)), os.environ.get("PYTHONPATH", "")])
    files = [f"tests/{file}" for file, runs in FILES.items() if classes in runs]
    command = [sys.executable, "-m", "pytest", "-p", "in_place_of_theirs", "-c", os.devnull, "--rootdir", str(tests)]
    command += ["-p", "no:cacheprovider", "-q", "--timeout", "20", f"--junitxml={report}", *files]
    environment = {**os.environ, "PYTHONPATH": path, "CLASSES": classes}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]
    outcomes = defaultdict(list)
    for case in ET.parse(report).iter("testcase"):
        file = case.attrib["classname"].removeprefix("tests.").replace(".", "/") + ".py"
        outcomes[file, case.attrib["name"].partition("[")[0]].append({child.tag for child in case})
    return {test: summary(tags) for test, tags in outcomes.items()}


def summary(cases: list[set[str]]) -> str:
    """Say how the cases of a test have ended."""
    failed = sum(bool(tags & {"failure", "error"}) for tags in cases)
    if all("skipped" in tags for tags in cases):
        return IS_NOT_RUN
    return {0: PASSES, len(cases): FAILS}.get(failed, f"{len(cases) - failed} of {len(cases)}")


def names(file: str) -> list[str]:
    """Give the names of the tests of a file."""
    text = (source_distribution("uvicorn_tests") / "tests" / file).read_text(encoding="utf-8")
    return re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)


def table() -> dict[str, dict[tuple[str, str], str]]:
    """Read the page: the outcomes of each column."""
    found: dict[str, dict[tuple[str, str], str]] = {column: {} for column in COLUMNS}
    file, columns = "", []
    text = PAGE.read_text(encoding="utf-8")
    for line in text[text.index(BEGIN) : text.index(END)].splitlines():
        if line.startswith("## "):
            file = line.removeprefix("## `tests/").removesuffix("`")
        elif line.startswith("| `test_"):
            name, *cells, _ = [cell.strip() for cell in line.strip("|").split("|")]
            found |= {it: found[it] | {(file, name.strip("`")): cell} for it, cell in zip(columns, cells, strict=True)}
        elif line.startswith("| test |"):
            columns = list(FILES[file])
    return found


def write(results: dict[str, dict[tuple[str, str], str]]) -> None:
    made = []
    for file, columns in FILES.items():
        head = ["test", *(COLUMNS[it] for it in columns), "why not, and what of ours is about the same"]
        rows = [head, ["---"] * len(head)]
        for name in names(file):
            cells = [results[it].get((file, name), IS_NOT_RUN) for it in columns]
            rows.append([f"`{name}`", *cells, WHY.get(file, {}).get(name, "")])
        made.append(f"## `tests/{file}`\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        text[: text.index(BEGIN) + len(BEGIN)] + "\n" + "\n".join(made) + "\n" + text[text.index(END) :],
        encoding="utf-8",
    )


@pytest.mark.parametrize("classes", COLUMNS)
def test_the_table_says_what_uvicorns_tests_say_of_ours(classes: str, tmp_path: Path) -> None:
    found = run(classes, tmp_path)
    failed = {test for test, outcome in found.items() if outcome not in (PASSES, IS_NOT_RUN)}
    assert failed <= {(file, name) for file, whys in WHY.items() for name in whys}
    RESULTS[classes] = found
    if os.environ.get("UVICORN_TESTS_TABLE") == "write":
        if len(RESULTS) == len(COLUMNS):
            write(RESULTS)
        return
    assert {test: it for test, it in table()[classes].items() if it != IS_NOT_RUN} == {
        test: it for test, it in found.items() if it != IS_NOT_RUN
    }


def test_each_reason_is_for_a_test_that_does_not_pass() -> None:
    outcomes = defaultdict(set)
    for column in table().values():
        for test, outcome in column.items():
            outcomes[test].add(outcome)
    passed = {test for test, of_it in outcomes.items() if of_it == {PASSES}}
    assert {(file, name) for file, whys in WHY.items() for name in whys} <= outcomes.keys() - passed


def test_what_is_said_to_be_about_the_same_is_there() -> None:
    said = {name for whys in WHY.values() for why in whys.values() for name in re.findall(r"`(test_\w+)`", why)}
    ours = "".join(it.read_text(encoding="utf-8") for it in (HERE.parent / "asgi").glob("test_*.py"))
    assert said <= set(re.findall(r"^def (test_\w+)", ours, re.MULTILINE))


RESULTS: dict[str, dict[tuple[str, str], str]] = {}
