"""Say what keeps this clone from being released, or how to go on: `python wheels/release.py`.

What is tagged is what was tested: the tree is clean, the changelog has the version, and target/wheels has the source distribution and a
wheel for each Python and system, built from this commit. The page of the package is README.md: what it points to has whole addresses.
"""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from build import ROOT, WHEELS, tags


def version_of(root: Path) -> str:
    """Give the version, which Cargo.toml has."""
    found = re.search(r'^version = "(.+)"$', (root / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("Cargo.toml has no version")
    return found[1]


def git(root: Path, *words: str) -> str:
    """Give what git says."""
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def relative_links(text: str) -> list[str]:
    """Give the links and images of a page of Markdown that lead to files beside it."""
    return [it for it in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?://|mailto:|#", it)]


def obstacles(root: Path, today: dt.date) -> Iterator[str]:
    """Give what is to be done before the release."""
    version = version_of(root)
    if git(root, "status", "--porcelain"):
        yield "the tree has changes: commit them"
    if f"v{version}" in git(root, "tag").splitlines():
        yield f"v{version} is tagged already: raise the version in Cargo.toml"
    heading = f"## {version} ({today:%Y-%m-%d})"
    if heading not in (root / "CHANGELOG.md").read_text(encoding="utf-8").splitlines():
        yield f'CHANGELOG.md has no line "{heading}": it stands in place of "## Unreleased"'
    if "[project.urls]" not in (root / "pyproject.toml").read_text(encoding="utf-8").splitlines():
        yield "pyproject.toml has no [project.urls]: name the repository, or nobody finds the source from the package"
    if links := relative_links((root / "README.md").read_text(encoding="utf-8")):
        yield f"README.md has {len(links)} links that a package page cannot follow, such as {links[0]}: begin them with the repository"
    committed = int(git(root, "log", "-1", "--format=%ct"))
    folder = root / "target" / "wheels"
    if not (folder / f"mintws-{version}.tar.gz").is_file():
        yield f"target/wheels has no mintws-{version}.tar.gz: make wheels WHEELS=sdist"
    for name in WHEELS:
        kind, _, machine = name.partition("-")[2].partition("_")
        files = list(folder.glob(f"mintws-{version}-{tags(name)}-*{kind}*{machine}.whl"))
        if not files:
            yield f"target/wheels has no wheel for {name}: make wheels WHEELS={name}"
        elif any(file.stat().st_mtime < committed for file in files):
            yield f"the wheel for {name} is older than the last commit: make wheels WHEELS={name}"


def main() -> int:
    """Print the list."""
    left = list(obstacles(ROOT, dt.datetime.now(dt.timezone.utc).date()))
    for it in left:
        print("-", it)
    if left:
        return 1
    version = version_of(ROOT)
    print(f"""All is there for {version}. What no file can say:
- .ci/run ends with no failure on this commit
- make check-wheels PYTHONS="..." passes with each Python of this machine
- README.md was walked to the letter by somebody who did not write it
Then: git tag --sign v{version} && git push origin v{version}
The workflow Release builds the wheels anew, runs them on five systems and publishes them.""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
