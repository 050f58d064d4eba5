"""Stedi's own client for Python, which needs a newer one than the oldest that Waypost runs on."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import elsewhere
from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant
from tests.support.stedi import Client

HERE = Path(__file__).parent / "elsewhere"
NOWHERE = "http://127.0.0.1:9/closed"
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def python(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Have a Python with the client."""
    folder = tmp_path_factory.mktemp("elsewhere")
    return elsewhere.client(pytestconfig, elsewhere.STEDI, elsewhere.STEDI_NEEDS, folder)


def test_the_vendors_client_does_everything(
    site: Site, tenant: Tenant, received: Receiver, python: Path | None, record_property: Record
) -> None:
    if python is None:
        record_property("stedi's own client", "NOT RUN: no Python of 3.12")
        return
    delivered = [tenant.post() for _ in range(2)]
    tenant.post("dispute.updated")
    tenant.subscribe(NOWHERE, event_types=["card.created"], retry_schedule=[])
    failed = tenant.post()
    tenant.settled(failed, "failed")
    key = site.key(tenant.project, api="stedi")
    by = Client(site.url, key)
    assert by.ask("GET", f"/events/{delivered[0]}")["status"] == "DELIVERED"
    by.close()
    done = subprocess.run(
        [str(python), "-I", HERE / "stedi_client.py", site.url, key, received.url, failed],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record_property("stedi's own client", done.stdout.strip())
