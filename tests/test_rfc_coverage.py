"""`docs/rfc-coverage.md` lists the rules of the RFCs: each has a test that exists, or a reason why it has none."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "rfc-coverage.md"

RFCS = {"5246", "6066", "6455", "7301", "7692", "8441", "8446", "9110", "9112", "9113"}
WORDS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "must", "must not", "should", "recommended", ""}
#: How a reason begins; the page explains each.
REASONS = {"application", "h11", "h2", "OpenSSL", "not built", "not followed", "none needed"}
#: A test of Python, with the class that it is in; or one of Rust.
TEST = re.compile(r"`((?:tests/[\w/.]+\.py|src/[\w/.]+\.rs)::[\w:]+)`")


class Rule(NamedTuple):
    line: int
    rfc: str
    section: str
    word: str
    text: str
    tests: str
    reason: str


def rules() -> list[Rule]:
    found, rfc = [], ""
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if heading := re.match(r"## RFC (\d+)", line):
            rfc = heading[1]
        if line.startswith("| ") and not line.startswith("| § "):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            assert len(cells) == 5, f"{PAGE.name}:{number} has {len(cells)} cells"
            found.append(Rule(number, rfc, *cells))
    return found


RULES = rules()


@cache
def names(path: Path) -> frozenset[str]:
    """The tests of a file, as they stand behind its path."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rs":
        within = ""
        if path.name != "tests.rs":
            within, text = "tests::", text.partition("mod tests {")[2]
        return frozenset(within + name for name in re.findall(r"#\[test\](?:\s*#\[[^\n]*\])*\s*fn (\w+)", text))
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}::{it.name}" for it in node.body if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def named() -> list[tuple[int, str]]:
    """Each test that the page names, in the tests of a rule or in its reason, with the line."""
    return [(rule.line, test) for rule in RULES for test in TEST.findall(rule.tests + rule.reason)]


def test_page_has_rules_of_each_rfc():
    assert {rule.rfc for rule in RULES} == RFCS
    assert min(Counter(rule.rfc for rule in RULES).values()) > 5


def test_each_test_exists():
    missing = []
    for line, test in named():
        path, _, name = test.partition("::")
        if not (ROOT / path).is_file() or name not in names(ROOT / path):
            missing.append(f"{PAGE.name}:{line}: {test}")
    assert missing == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rfc}-{rule.section}-line {rule.line}")
def test_rule_has_a_test_or_a_reason(rule):
    assert re.fullmatch(r"\d+(\.\d+)*", rule.section)
    assert rule.word in WORDS
    assert rule.text
    # Nothing but tests stands where tests are due.
    assert re.sub(r"<br>", "", TEST.sub("", rule.tests)).strip() == ""
    assert rule.tests or rule.reason
    if rule.reason:
        reason = re.match(r"\*\*(.+?)\*\*: \S", rule.reason)
        assert reason is not None, "a reason begins with its kind"
        assert reason[1] in REASONS


def test_each_rule_stands_here_once():
    seen = Counter((rule.rfc, rule.section, rule.text.lower()) for rule in RULES)
    assert [key for key, count in seen.items() if count > 1] == []


def test_rules_stand_in_the_order_of_their_sections():
    for rfc in RFCS:
        sections = [tuple(map(int, rule.section.split("."))) for rule in RULES if rule.rfc == rfc]
        assert sections == sorted(sections)


def test_each_kind_of_reason_is_explained():
    text = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    assert set(re.findall(r"^- \*\*(.+?)\*\*:", text, re.MULTILINE)) == REASONS


def test_no_file_of_tests_is_forgotten():
    # Not each test: many show what is ours to decide, as limits and what the caller may not do.
    known = {test.partition("::")[0] for _, test in named()}
    files = {str(path.relative_to(ROOT).as_posix()) for path in (ROOT / "tests").glob("rfc*/test_*.py")}
    assert sorted(files - known) == []
