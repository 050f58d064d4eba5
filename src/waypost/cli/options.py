"""Options that commands share: made from the table of settings, so that none can be forgotten."""

import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from waypost import config
from waypost.config import SETTINGS, Setting

PANEL: Final = "Settings (also WAYPOST_… variables and waypost.toml; see `waypost config`)"

Command = Callable[..., None]


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command `--config` and a flag for each named setting; call it with `settings`.

    Args:
        *names: which settings have flags; none: all of them.
    """
    rows = [row for row in SETTINGS if not names or row.name in names]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            flags = {row.name: given.pop(row.name) for row in rows}
            command(settings=config.load(flags, file=given.pop("config")), **given)

        own = inspect.signature(command).parameters.values()
        parameters = [one for one in own if one.name != "settings"] + list(_parameters(rows))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # Typer reads it
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _parameters(rows: Iterable[Setting]) -> Iterable[inspect.Parameter]:
    file = typer.Option("--config", metavar="FILE", help="A TOML file.", rich_help_panel=PANEL)
    yield _parameter("config", Path, file)
    for row in rows:
        default = f" [default: {row.default}]" if row.default else ""
        option = typer.Option(
            row.flag,
            metavar=row.unit.upper() if row.unit in {"bytes", "seconds"} else "VALUE",
            help=row.doc.replace("`", "") + default,
            rich_help_panel=PANEL,
        )
        yield _parameter(row.name, str, option)


def _parameter(name: str, kind: type, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )
