"""Lithic's own tests, fetched with its source distribution, pass against the running server."""

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support import contract
from tests.support.literal_ids import literal_ids
from tests.support.site import Tenant

ROOT = Path(__file__).parents[3]
PLUGINS = Path(__file__).parent / "plugins"
ABOUT_EVENTS = ("test_events.py", "events", "test_webhooks.py")
FEWEST = 340
FLAGS = ("--quiet", "--require-hashes", "--no-deps", "--no-binary", "lithic")


def fetch(folder: Path) -> Path:
    """Fetch the source distribution that is locked, unless it is there; return its folder."""
    release = version("lithic")
    unpacked = folder / f"lithic-{release}"
    if not unpacked.exists():
        lock = (ROOT / "requirements.lock").read_text()
        pinned = re.search(
            rf"^lithic=={re.escape(release)} (\\\n    --hash=\S+ ?)+", lock, re.MULTILINE
        )
        assert pinned is not None
        requirement = folder / "requirement.txt"
        requirement.write_text(pinned.group() + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *FLAGS, "--dest", folder, "-r", requirement],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        with tarfile.open(folder / f"lithic-{release}.tar.gz") as archive:
            # Python 3.11.2, Debian's, has no filters yet; what is unpacked is pinned by its hash.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)
    return unpacked


@pytest.fixture(scope="module")
def suite(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have lithic's tests; kept beside what else pytest keeps between runs."""
    cache = getattr(pytestconfig, "cache", None)
    return fetch(cache.mkdir("lithic") if cache else tmp_path_factory.mktemp("lithic"))


def run(suite: Path, url: str) -> str:
    """Run the tests about events against a URL; return what pytest said at the end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "unskip", "-p", "no:randomly"]
        + ["-p", "no:cacheprovider", "--tb=short"]
        + [f"tests/api_resources/{part}" for part in ABOUT_EVENTS],
        cwd=suite,
        env=ours | {"PYTHONPATH": str(PLUGINS), "TEST_API_BASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.proves(
    "lithic",
    "GET /v1/events",
    "GET /v1/events/{event_token}",
    "GET /v1/events/{event_token}/attempts",
    "GET /v1/event_subscriptions",
    "POST /v1/event_subscriptions",
    "GET /v1/event_subscriptions/{event_subscription_token}",
    "PATCH /v1/event_subscriptions/{event_subscription_token}",
    "DELETE /v1/event_subscriptions/{event_subscription_token}",
    "GET /v1/event_subscriptions/{event_subscription_token}/attempts",
    "GET /v1/event_subscriptions/{event_subscription_token}/secret",
    "POST /v1/event_subscriptions/{event_subscription_token}/secret/rotate",
    "POST /v1/events/{event_token}/event_subscriptions/{event_subscription_token}/resend",
    "POST /v1/event_subscriptions/{event_subscription_token}/recover",
    "POST /v1/event_subscriptions/{event_subscription_token}/replay_missing",
    "POST /v1/simulate/event_subscriptions/{event_subscription_token}/send_example",
)
def test_lithics_own_tests_pass(
    tenant: Tenant, suite: Path, record_property: Callable[[str, object], None]
) -> None:
    with literal_ids(tenant) as (url, seen):
        last = run(suite, url)
    record_property(f"lithic {version('lithic')}'s own tests", last)
    assert seen.faults == []
    assert set(seen.answered) == set(contract.OPERATIONS), "each operation was asked for"
    passed = re.match(r"(\d+) passed in", last)
    assert passed is not None, last
    assert int(passed.group(1)) >= FEWEST
