"""`waypost projects`."""

from tests.unit.cli.conftest import Run


def listed(waypost: Run) -> dict[str, list[str]]:
    _, out, _ = waypost("projects", "list")
    rows = [line.split("\t") for line in out.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_a_project_is_made_changed_and_deleted(waypost: Run) -> None:
    assert [row[0] for row in listed(waypost).values()] == ["Default"]
    options = ("--name", "acme", "--environment", "production", "--strict-types")
    status, out, _ = waypost("projects", "create", *options)
    assert status == 0
    token = out.strip()
    assert listed(waypost)[token][:3] == ["acme", "production", "yes"]
    status, out, _ = waypost("projects", "update", token, "--name", "Acme", "--open-types")
    assert status == 0
    assert listed(waypost)[token][:3] == ["Acme", "production", "no"]
    assert waypost("projects", "delete", token)[0] == 0
    assert token not in listed(waypost)


def test_the_default_project_stays(waypost: Run) -> None:
    (token,) = listed(waypost)
    status, _, err = waypost("projects", "delete", token)
    assert status == 1
    assert "default project" in err
