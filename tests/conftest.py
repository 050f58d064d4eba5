"""What holds for every test: how hard properties are tried, and that CI skips nothing."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import database, postgres, proofs
from tests.support.database import Place

IN_CI = bool(os.environ.get("CI"))

# No deadlines: how fast the machine is today says nothing about the code. In CI the examples are
# the same in every run, so that a red run is about the change; `make fuzz` is for finding new ones.
settings.register_profile("quick", deadline=None, derandomize=IN_CI, print_blob=True)
settings.register_profile("few", settings.get_profile("quick"), max_examples=10)
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=20_000,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Close the databases that a test has left open, before anybody collects them as garbage."""
    yield
    database.close_all()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return where a database of the test's own is; the test runs once on each kind."""
    if request.param == "sqlite":
        yield tmp_path / "w.db"
    else:
        with postgres.fresh(database.fill) as url:
            yield url


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end no worker is busy alone, for want of short tests."""
    items.sort(key=lambda item: "acceptance" not in item.path.parts)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Hold a test to what it says that it proves."""
    claims = proofs.claims_of(item)
    if not claims:
        return (yield)
    with proofs.noting() as answered:
        result = yield
    assert proofs.unproved(claims, answered) == [], "marked for what it was not answered"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure in CI: there, what a test needs has to be installed."""
    report = yield
    expected: Any = getattr(report, "wasxfail", None)
    if IN_CI and report.skipped and expected is None:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI must not: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what tests have found out, by the fixture `record_property`."""
    for report in terminalreporter.getreports("passed"):
        for name, found in report.user_properties:
            terminalreporter.write_line(f"{name}: {found}")
