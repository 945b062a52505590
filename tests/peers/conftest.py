"""Real peers on real sockets: a certificate for all, and the table of results, which `--write-table` writes to docs/interop.md."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import known
import process
import pytest
import table
from conversation import Certificate


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-table", action="store_true", help="write docs/interop.md from the results of this run")
    parser.addoption("--recorded", action="store_true", help="have gateways take part that CI does not have")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--recorded", default=False) and not config.getoption("--write-table", default=False):
        config.hook.pytest_deselected(items=[it for it in items if _is_recorded(it)])
        items[:] = [it for it in items if not _is_recorded(it)]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            # What a peer forgets to close is its own affair.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


def _is_recorded(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return getattr(parameters.get("gateway"), "recorded", False)


@pytest.fixture(scope="module", autouse=True)
def _own_affairs() -> Iterator[None]:
    """Let go of what peers forgot here, where it is ignored: later it would fail the next test, or the run behind its last."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return process.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def row(record_property: Any) -> Iterator[table.Row]:
    """The line of the table that the test speaks for."""
    filled = table.Row()
    yield filled
    # As a worker process can hand it on.
    record_property("peers.row", dataclasses.asdict(filled))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and "peers" in Path(report.nodeid.split("::")[0]).parts:
        table.SKIPPED.append(report.nodeid)
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "peers.row":
                table.ROWS.append(table.Row(**value | {"known": value["known"] and known.Known(**value["known"])}))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and "row" in getattr(item, "funcargs", {}):
        item.funcargs["row"].outcome = report.outcome  # type: ignore[attr-defined]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if not session.config.getoption("--write-table", default=False) or not table.ROWS:
        return
    if table.SKIPPED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\n{len(table.SKIPPED)} tests were left out, so that docs/interop.md would lack them: it stays as it is")
        return
    table.write(Path(__file__).parents[2] / "docs" / "interop.md", table.ROWS)
