"""Options made from the table of settings."""

import inspect
from pathlib import Path

import pytest

from waypost.cli.options import with_settings
from waypost.config import SETTINGS, Settings
from waypost.model.errors import ConfigInvalid


def seen_by(*names: str, **given: object) -> Settings:
    seen: list[Settings] = []

    @with_settings(*names)
    def command(*, settings: Settings) -> None:
        seen.append(settings)

    parameters = inspect.signature(command).parameters
    command(**{name: given.get(name) for name in parameters})
    return seen[0]


def test_a_command_has_a_flag_for_each_setting_and_a_file() -> None:
    @with_settings()
    def command(*, settings: Settings) -> None: ...

    assert list(inspect.signature(command).parameters) == [
        "config",
        *(row.name for row in SETTINGS),
    ]


def test_a_command_may_have_flags_for_some_only() -> None:
    @with_settings("listen")
    def command(word: str, *, settings: Settings) -> None: ...

    assert list(inspect.signature(command).parameters) == ["word", "config", "listen"]


def test_what_is_given_is_what_the_command_sees(folder: Path) -> None:
    (folder / "mine.toml").write_text("log_level = 'error'")
    settings = seen_by(listen="a:1", config=folder / "mine.toml")
    assert settings.config.listen.port == 1
    assert settings.config.log_level == "error"


def test_what_is_wrong_is_refused_before_the_command_runs() -> None:
    with pytest.raises(ConfigInvalid, match="--listen"):
        seen_by(listen="nowhere")
