"""Files that engines and services read which are not here: they have the schemas of these, and name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.compose-spec", "compose.yaml"),
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.github-workflows", ".github/workflows/release.yml"),
    ],
)
def test_the_file_has_its_schema(schema: str, path: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / path)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_compose_builds_and_mounts_is_there() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = re.findall(r"^      target: (\S+)$", compose, re.MULTILINE)
    assert targets
    assert set(targets) <= set(stages)
    mounted = re.findall(r"^      - \./(\S+?):", compose, re.MULTILINE)
    assert mounted
    assert all((ROOT / path).exists() for path in mounted)


def test_workflows_run_goals_that_there_are() -> None:
    goals = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        called = re.findall(r"run: make ([\w-]+)", path.read_text(encoding="utf-8"))
        assert called
        assert set(called) <= goals, path.name
