"""How much the property tests try, and what CI makes of tests that are left out.

`HYPOTHESIS_PROFILE` picks: `everyday` if nothing is said, `ci`, `thorough`, which is 330,000 examples over all properties in
about 20 minutes, or `long`, which is for a night: `HYPOTHESIS_PROFILE=long pytest -o timeout=0 tests/properties`.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = {"everyday": 60, "ci": 300, "thorough": 6_000, "long": 300_000}

for name, examples in EXAMPLES.items():
    # The machine's load says nothing about a property, so nothing has a deadline.
    settings.register_profile(
        name, max_examples=examples, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--loop", choices=["asyncio", "uvloop"], default="asyncio", help="the loop of the driver's tests")


def pytest_configure() -> None:
    # Who runs the tests in the background may have SIGINT ignored, which the commands that are tested would inherit, and respect.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail in CI, where everything is there, if a test was left out; the summary says which."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and exitstatus == 0 and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
