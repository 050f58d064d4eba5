"""Convoy's API on a real server, by its own client and by every operation."""

from collections.abc import Iterator

import pytest

from tests.support.convoy import Convoy
from tests.support.site import Site, Tenant


@pytest.fixture
def convoy(site: Site, tenant: Tenant) -> Iterator[Convoy]:
    """Have a project with a key of Convoy's form."""
    made = Convoy(site, tenant)
    yield made
    made.close()


def test_projects_are_made_shown_changed_and_deleted(site: Site, convoy: Convoy) -> None:
    admin = convoy.administrator()
    made = admin.ask(201, "POST", "/projects", json={"name": "Mine", "type": "outgoing"})
    project, key = made["project"], made["api_key"]["key"]
    assert key.startswith("CO.")
    own = convoy.at(project["uid"], key)
    assert own.ask(200, "GET", "")["config"]["strategy"] == {
        "type": "linear",
        "duration": 100,
        "retry_count": 10,
    }
    changed = own.ask(202, "PUT", "", json={"name": "Yours", "config": {"SSL": {}}})
    assert changed["name"] == "Yours"
    listed = admin.ask(200, "GET", "/projects")
    assert project["uid"] in [one["uid"] for one in listed]
    admin.ask(200, "DELETE", f"/projects/{project['uid']}")
    assert own.refused(401, "GET", "") == "authorization failed"
