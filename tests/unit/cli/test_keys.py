"""`waypost keys`, where no server runs."""

import pytest

from tests.unit.cli.conftest import Run
from waypost.policy import credentials


def listed(waypost: Run) -> list[list[str]]:
    _, out, _ = waypost("keys", "list")
    return [line.split("\t") for line in out.splitlines()]


def test_a_key_is_alone_on_standard_output(waypost: Run) -> None:
    status, out, err = waypost("keys", "create", "--name", "billing")
    assert status == 0
    assert credentials.is_key(out.removesuffix("\n"))
    assert out.startswith("wp_test_")
    assert "events.read, events.write, sources.read, sources.write, subscriptions.read" in err
    ((token, name, *_),) = listed(waypost)
    assert name == "billing"
    assert token in err


def test_a_key_may_be_narrow_and_short_lived(waypost: Run) -> None:
    options = ("--environment", "production", "--scope", "events.write")
    status, out, _ = waypost(
        *("keys", "create", "--name", "shop", "--expires", "2099-01-01T00:00:00Z", *options)
    )
    assert status == 0
    assert out.startswith("wp_live_")
    ((_, _, api, _, scopes, _, expires, revoked),) = listed(waypost)
    assert (api, scopes) == ("native", "events.write")
    assert expires.startswith("2099-01-01")
    assert revoked == "-"


def test_a_key_for_another_apis_client_has_its_form(waypost: Run) -> None:
    status, out, err = waypost("keys", "create", "--name", "worker", "--api", "buildable")
    assert (status, out[:10]) == (0, "sk_test_1_")
    assert "base_url: http://" in err
    assert [row[2] for row in listed(waypost)] == ["buildable"]


def test_a_revoked_key_stays_in_the_list(waypost: Run) -> None:
    waypost("keys", "create", "--name", "a")
    waypost("keys", "create", "--name", "b", "--environment", "production")
    for token, *_ in listed(waypost):
        assert waypost("keys", "revoke", token) == (0, f"{token} is revoked.\n", "")
    assert len(listed(waypost)) == 2
    assert all(row[7] != "-" for row in listed(waypost))


@pytest.mark.parametrize(
    "arguments,reason",
    [
        (("revoke", "key_nonsense"), "API key not found"),
        (("create", "--name", "a", "--project", "prj_nonsense"), "project not found"),
        (("create", "--name", "a", "--expires", "2001-01-01T00:00:00Z"), "must be in the future"),
        (("create", "--name", "a", "--expires", "tomorrow"), "expires_at"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    waypost: Run, arguments: tuple[str, ...], reason: str
) -> None:
    status, out, err = waypost("keys", *arguments)
    assert (status, out) == (1, "")
    assert reason in err
    made, refusal = err.splitlines()
    assert made == "No database at .waypost/waypost.db yet: making it."
    assert refusal.startswith("waypost: ")
