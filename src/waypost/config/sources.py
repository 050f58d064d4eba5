"""Where settings come from: flags, the environment, a file.

This module alone reads the environment.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from waypost.config.table import PREFIX, SETTINGS, Config, Setting
from waypost.model.errors import ConfigInvalid

FILE_VARIABLE: Final = "WAYPOST_CONFIG"
DEFAULT_FILE: Final = Path("waypost.toml")


@dataclass(frozen=True)
class Given:
    """A value that somebody gave: as it was written, and where."""

    text: str
    origin: str


@dataclass(frozen=True)
class Settings:
    """A checked configuration, and where each part of it comes from.

    Attributes:
        given: the settings that are not left to their defaults.
        unknown: variables that look like settings and are none; a platform may have set them.
    """

    config: Config
    given: Mapping[str, Given]
    unknown: tuple[str, ...]

    def text(self, setting: Setting) -> str:
        """Return the value in force as people write it; what is secret in it masked."""
        given = self.given.get(setting.name)
        if given is None:
            return setting.default or ""
        return given.text if setting.shown is None else setting.shown(given.text)

    def origin(self, setting: Setting) -> str:
        """Return where the value in force comes from."""
        given = self.given.get(setting.name)
        return "default" if given is None else given.origin


def load(
    flags: Mapping[str, str | None] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the configuration.

    Args:
        flags: values by setting; None for a flag that was not given.
        file: a TOML file; else the one that `WAYPOST_CONFIG` names, else `waypost.toml` in the
            current folder where there is one.
        environment: variables; else the process's own.

    Raises:
        ConfigInvalid: a value is wrong, or a file holds something that is no setting.
    """
    environment = os.environ if environment is None else environment
    given = {
        **_from_file(_find_file(file, environment)),
        **_from_environment(environment),
        **_from_flags(flags or {}),
    }
    values = {row.name: _value(row, given[row.name]) for row in SETTINGS if row.name in given}
    known = {FILE_VARIABLE, *(row.variable for row in SETTINGS)}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    return Settings(Config(**values), given, tuple(unknown))


def _value(row: Setting, given: Given) -> Any:
    try:
        return row.read(given.text)
    except ValueError as error:
        raise ConfigInvalid(f"{given.origin} {error}") from error


def _from_flags(flags: Mapping[str, str | None]) -> dict[str, Given]:
    return {
        row.name: Given(text, row.flag)
        for row in SETTINGS
        if (text := flags.get(row.name)) is not None
    }


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    return {
        row.name: Given(environment[row.variable], row.variable)
        for row in SETTINGS
        if row.variable in environment
    }


def _find_file(file: Path | None, environment: Mapping[str, str]) -> Path | None:
    if file is not None:
        return file
    if FILE_VARIABLE in environment:
        return Path(environment[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _from_file(file: Path | None) -> dict[str, Given]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"the settings file {file} can't be read: {error}") from error
    names = [row.name for row in SETTINGS]
    for name in content.keys() - set(names):
        near = difflib.get_close_matches(name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigInvalid(f"{file}: {name!r} is no setting{hint}")
    return {
        name: Given(_toml_text(name, value, file), f"{name} in {file}")
        for name, value in content.items()
    }


def _toml_text(name: str, value: Any, file: Path) -> str:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        raise ConfigInvalid(f"{name} in {file} is neither a text nor a number")
    return ", ".join(str(part) for part in parts)
