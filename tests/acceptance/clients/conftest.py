"""A server that the tests of one worker share; each test has a project of its own."""

from collections.abc import Iterator

import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver, receiver
from tests.support.site import Site, Tenant, running
from tests.support.socotra import Client as Socotra


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Have a server; whatever the tests did to it, nothing may have been an error of its own."""
    folder = tmp_path_factory.mktemp("site")
    with running(folder, WAYPOST_ORIGIN="hooks.example.com") as (program, shared):
        yield shared
        counts = shared.admin.get("/metrics").text
        assert 'waypost_requests_refused_total{status="500"' not in counts, counts
    assert [line for line in program.lines if '"level": "error"' in line] == []


@pytest.fixture
def tenant(site: Site) -> Iterator[Tenant]:
    """Have a project."""
    made = site.tenant()
    yield made
    made.close()


@pytest.fixture
def stranger(site: Site) -> Iterator[Tenant]:
    """Have another project."""
    made = site.tenant()
    yield made
    made.close()


@pytest.fixture
def received() -> Iterator[Receiver]:
    """Have a receiver."""
    with receiver() as listening:
        yield listening


@pytest.fixture
def convoy(site: Site, tenant: Tenant) -> Iterator[Convoy]:
    """Have a project with a key of Convoy's form."""
    made = Convoy(site, tenant)
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Receiver]:
    """Have a second receiver."""
    with receiver() as listening:
        yield listening


@pytest.fixture
def socotra(site: Site, tenant: Tenant) -> Iterator[Socotra]:
    """Have a client of Socotra's in the project."""
    key = site.key(tenant.project, api="socotra")
    made = Socotra(site.url, key, tenant.project.removeprefix("prj_"))
    yield made
    made.close()
