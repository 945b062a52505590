"""The list of what keeps a clone from being released finds each thing that does."""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TODAY = dt.date(2026, 1, 2)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "wheels"))
    spec = importlib.util.spec_from_file_location("release", ROOT / "wheels" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("build", None)


@pytest.fixture
def clone(tmp_path: Path, release: Any) -> Path:
    """Make a repository that can be released."""
    (tmp_path / "Cargo.toml").write_text('[package]\nversion = "1.2.3"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.3 (2026-01-02)\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nSource = "https://example.com"\n', encoding="utf-8")
    (tmp_path / "README.md").write_text("[a guide](https://example.com/guide.md), [below](#below)\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/target\n", encoding="utf-8")
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    wheels = tmp_path / "target" / "wheels"
    wheels.mkdir(parents=True)
    (wheels / "mintws-1.2.3.tar.gz").touch()
    for name in release.WHEELS:
        platform = name.partition("-")[2]
        # As maturin writes them: with the version of the system between its name and the machine.
        kind, _, machine = platform.partition("_")
        between = {"manylinux": "2014", "musllinux": "_1_2", "macosx": "_11_0", "win": ""}[kind]
        (wheels / f"mintws-1.2.3-{release.tags(name)}-{kind}{between}_{machine}.whl").touch()
    return tmp_path


def test_nothing_is_left_to_do(release: Any, clone: Path) -> None:
    assert list(release.obstacles(clone, TODAY)) == []


def test_changes_that_are_not_committed_are_found(release: Any, clone: Path) -> None:
    (clone / "new.txt").touch()
    assert list(release.obstacles(clone, TODAY)) == ["the tree has changes: commit them"]


def test_a_version_that_is_tagged_is_found(release: Any, clone: Path) -> None:
    subprocess.run(["git", "tag", "v1.2.3"], cwd=clone, check=True)
    [found] = release.obstacles(clone, TODAY)
    assert found.startswith("v1.2.3 is tagged already")


def test_a_changelog_of_another_day_is_found(release: Any, clone: Path) -> None:
    [found] = release.obstacles(clone, dt.date(2026, 1, 3))
    assert '"## 1.2.3 (2026-01-03)"' in found


def commit(clone: Path, name: str, text: str) -> None:
    (clone / name).write_text(text, encoding="utf-8")
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
    subprocess.run(["git", *who, "commit", "--quiet", "--all", "-m", "changed"], cwd=clone, check=True)
    for wheel in (clone / "target" / "wheels").iterdir():
        wheel.touch()


def test_a_package_without_an_address_is_found(release: Any, clone: Path) -> None:
    commit(clone, "pyproject.toml", "[project]\n")
    [found] = release.obstacles(clone, TODAY)
    assert found.startswith("pyproject.toml has no [project.urls]")


def test_links_that_a_package_page_cannot_follow_are_found(release: Any, clone: Path) -> None:
    commit(clone, "README.md", "[a](docs/guide.md) ![b](docs/charts/echo.svg) [c](https://example.com/) [d](#here)\n")
    [found] = release.obstacles(clone, TODAY)
    assert found.startswith("README.md has 2 links that a package page cannot follow, such as docs/guide.md")


def test_a_wheel_that_is_missing_or_old_is_found(release: Any, clone: Path) -> None:
    wheels = clone / "target" / "wheels"
    [missing] = wheels.glob("*cp310*win*.whl")
    [old] = wheels.glob("*cp313*macosx*arm64.whl")
    missing.unlink()
    os.utime(old, (0, 0))
    (wheels / "mintws-1.2.3.tar.gz").unlink()
    assert list(release.obstacles(clone, TODAY)) == [
        "target/wheels has no mintws-1.2.3.tar.gz: make wheels WHEELS=sdist",
        "the wheel for cp313-macosx_arm64 is older than the last commit: make wheels WHEELS=cp313-macosx_arm64",
        "target/wheels has no wheel for cp310-win_amd64: make wheels WHEELS=cp310-win_amd64",
    ]
