"""What dialects bring to the engine."""

from waypost.model import ids
from waypost.model.project import Environment, Project
from waypost.policy.format import NATIVE_FORMATS
from waypost.server.dialects import Environments, formats


def test_formats_are_found_by_their_own_names() -> None:
    found = formats(Environments())
    assert set(NATIVE_FORMATS) | {"stedi", "stedi_attempt_time"} <= set(found)
    assert {name: form.name for name, form in found.items()} == {name: name for name in found}


def test_a_projects_notices_are_in_its_environment() -> None:
    project = Project(ids.make(1, 1), ids.make(2, 2), "p", Environment.PRODUCTION)
    known = Environments()
    known.add(project)
    assert known[project.id] is known[ids.alerts_of(project.id)] is Environment.PRODUCTION
