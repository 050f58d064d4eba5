"""`waypost event-types`."""

import json
from pathlib import Path

from tests.unit.cli.conftest import Run

CATALOGUE = {"event_types": [{"name": "card.created", "description": "A card", "example": {}}]}


def test_a_catalogue_is_loaded_and_replaced(waypost: Run, folder: Path) -> None:
    file = folder / "types.json"
    file.write_text(json.dumps(CATALOGUE))
    assert waypost("event-types", "load", str(file))[:2] == (0, "1 event types\n")
    assert waypost("event-types", "list")[1] == "card.created\tA card\n"
    file.write_text('{"event_types": []}')
    assert waypost("event-types", "load", str(file))[0] == 0
    assert waypost("event-types", "list")[1] == ""


def test_a_wrong_catalogue_changes_nothing_and_says_where(waypost: Run, folder: Path) -> None:
    file = folder / "types.json"
    file.write_text('{"event_types": [{"name": "no spaces allowed"}]}')
    status, _, err = waypost("event-types", "load", str(file))
    assert status == 1
    assert "event_types[0].name" in err
    file.write_text("{")
    assert waypost("event-types", "load", str(file))[0] == 1


def test_each_project_has_its_own(waypost: Run, folder: Path) -> None:
    _, out, _ = waypost("projects", "create", "--name", "acme")
    project = ("--project", out.strip())
    file = folder / "types.json"
    file.write_text(json.dumps(CATALOGUE))
    waypost("event-types", "load", str(file), *project)
    assert waypost("event-types", "list", *project)[1] == "card.created\tA card\n"
    assert waypost("event-types", "list")[1] == ""


def test_a_vendors_catalogue_is_loaded_by_its_name(waypost: Run, folder: Path) -> None:
    assert waypost("event-types", "load", "--of", "lithic")[:2] == (0, "62 event types\n")
    assert "card_transaction.updated\t" in waypost("event-types", "list")[1]
    assert waypost("event-types", "load", "--of", "stedi")[:2] == (0, "10 event types\n")
    assert waypost("event-types", "load")[0] == 2
    file = folder / "types.json"
    file.write_text(json.dumps(CATALOGUE))
    assert waypost("event-types", "load", str(file), "--of", "stedi")[0] == 2
