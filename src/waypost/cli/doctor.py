"""`waypost doctor`: what could go wrong here, before it does."""

import time
from collections.abc import Iterator
from typing import Final

import typer
from rich.console import Console

from waypost.cli import doctor_file, doctor_server
from waypost.cli.findings import Finding
from waypost.cli.options import with_settings
from waypost.clock import SystemClock
from waypost.config import Config, Settings
from waypost.storage.location import SqliteFile

_EARLIEST_US: Final = 1_767_225_600_000_000  # 2026-01-01: no clock that is right says less

_MARKS: Final = {True: "[green]ok[/]  ", None: "[yellow]note[/]", False: "[red]bad[/] "}


@with_settings()
def doctor(*, settings: Settings) -> None:
    """Look for what could go wrong: database, disk, clock, rights, egress, secret key.

    It changes nothing, and may be run beside a running server. The exit status is 1 where
    something is bad.
    """
    console = Console(soft_wrap=True, highlight=False)
    findings = list(examine(settings))
    for finding in findings:
        console.print(f"{_MARKS[finding.good]} [bold]{finding.subject}[/]: ", end="")
        console.print(finding.text, markup=False)
    if any(finding.good is False for finding in findings):
        raise typer.Exit(1)


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield everything that there is to say."""
    config = settings.config
    if isinstance(config.database, SqliteFile):
        yield from doctor_file.examine(config, config.database.path)
    else:
        yield from doctor_server.examine(config, config.database)
    yield _egress(config)
    yield _admin_key(config)
    yield _clock()
    for name in settings.unknown:
        yield Finding(None, "settings", f"{name} is set, but it is no setting")


def _egress(config: Config) -> Finding:
    rules = config.egress_allow
    opened = ", ".join([*map(str, rules.allow), *rules.names])
    if not opened:
        return Finding(True, "egress", "only public addresses, ports 80 and 443")
    return Finding(
        None, "egress", f"public addresses, and what WAYPOST_EGRESS_ALLOW opens: {opened}"
    )


def _admin_key(config: Config) -> Finding:
    if config.admin_key is None:
        return Finding(True, "admin key", "not set; `waypost keys create` works on this machine")
    return Finding(None, "admin key", "set: whoever has it may do everything")


def _clock() -> Finding:
    clock = SystemClock()
    now_us = clock.now_us()
    if now_us < _EARLIEST_US:
        return Finding(False, "clock", f"it says {time.ctime(now_us / 1e6)}: signatures would fail")
    return Finding(True, "clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_us / 1e6)))
