"""The commands, gathered."""

import pytest

from tests.unit.cli.conftest import Run
from waypost import __version__


def test_the_version_is_the_package_s(waypost: Run) -> None:
    assert waypost("--version") == (0, f"waypost {__version__}\n", "")


def test_help_names_every_command_and_what_to_begin_with(waypost: Run) -> None:
    status, out, _ = waypost("--help")
    assert status == 0
    for command in (
        *("serve", "dev", "migrate", "keys", "projects", "event-types"),
        *("config", "doctor", "backup", "restore"),
    ):
        assert f" {command} " in out
    assert "waypost dev" in out


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["dev"],
        ["migrate"],
        ["config"],
        ["doctor"],
        ["backup"],
        ["restore"],
        ["keys", "create"],
        ["keys", "list"],
        ["keys", "revoke"],
        ["projects", "create"],
        ["event-types", "load"],
    ],
)
def test_every_command_has_help(waypost: Run, command: list[str]) -> None:
    status, out, _ = waypost(*command, "--help")
    assert status == 0
    assert "Usage: waypost " + " ".join(command) in out


def test_a_refusal_is_one_line_and_a_status(waypost: Run) -> None:
    status, out, err = waypost("config", "--listen", "nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("waypost: --listen is not host:port")
