"""`waypost explain`: where an event is, subscription by subscription, for a terminal."""

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from waypost.cli.administration import Client, administer
from waypost.cli.options import with_settings
from waypost.config import Settings

_PAGE: Final = 100
_WIDE: Final = 2_000
_LISTED: Final = 1_000
"""So many event subscriptions are told at most."""

_MARKS: Final = {
    "pending": ("…", "yellow"),
    "delivered": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("⊘", "red"),
    None: ("·", "dim"),
}


@with_settings("database_url", "secret_key")
def explain(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The token of the event.")],
    *,
    settings: Settings,
    project: Annotated[
        str | None,
        typer.Option("--project", help="By token; else the default project.", metavar="PRJ"),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="This event subscription alone.", metavar="EP"),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option("--all", help="Tell of each event subscription that did not match, too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the API answers.")] = False,
) -> None:
    """Tell where an event is: who was to get it, what became of it, and what it waits for.

    For each event subscription of the project it says whether the event matched, and which
    condition failed, by the settings of that time; how the delivery stands; and what happened.

    **Example:** `waypost explain evt_01920000-0000-7000-8000-000000000001`
    """
    found = administer(settings.config, lambda client: _ask(client, event, project, to))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    # To programs no line is broken.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    console.print(screen(found, everyone=everyone or to is not None))


def _ask(client: Client, event: str, project: str | None, to: str | None) -> dict[str, Any]:
    path = f"/v1/events/{quote(event, safe='')}/explain"
    query = {"page_size": str(_PAGE)} | ({} if to is None else {"event_subscription_token": to})
    found: dict[str, Any] = client.send("GET", f"{path}?{urlencode(query)}", project=project)
    told = found["event_subscriptions"]
    while found["has_more"] and len(told) < _LISTED:
        query["starting_after"] = told[-1]["event_subscription_token"]
        page = client.send("GET", f"{path}?{urlencode(query)}", project=project)
        told += page["event_subscriptions"]
        found["has_more"] = page["has_more"]
    return found


def screen(found: dict[str, Any], *, everyone: bool) -> RenderableType:
    """Return what the terminal shows; those that did not match only where `everyone` is told of."""
    told = found["event_subscriptions"]
    shown = [one for one in told if everyone or one["matched"] or one["state"] is not None]
    parts: list[RenderableType] = [_heading(found)]
    for one in shown:
        parts += ["", *_subscription(one)]
    left = len(told) - len(shown)
    if left:
        parts += ["", Text(f"{left} others did not match (--all tells why)", style="dim")]
    if not told:
        parts += ["", Text("the project has no event subscription", style="dim")]
    if found["has_more"]:
        parts += ["", Text(f"there are more than {len(told)} (--to tells of one)", style="dim")]
    return Group(*parts)


def _heading(found: dict[str, Any]) -> Text:
    heading = Text()
    heading.append(found["event_token"], style="bold")
    heading.append(f"  {found['event_type']}, accepted {found['accepted']}")
    if found["owner"] is not None:
        heading.append(f", of {found['owner']}")
    return heading


def _subscription(one: dict[str, Any]) -> Iterator[RenderableType]:
    mark, style = _MARKS[one["state"]]
    heading = Text(f"{mark} ", style=style)
    heading.append(one["event_subscription_token"], style="bold")
    heading.append(f"  {one['url']}", style="default")
    if one["deleted"] is not None:
        heading.append(f"  (deleted {one['deleted']})", style="dim")
    yield heading
    yield _indented(Text(one["summary"], style=style), 2)
    if one["judged_by"] == "now" and one["failed"] and not _is_later(one["failed"]):
        yield _indented(Text("(judged by its present settings)", style="dim"), 2)
    for delivery in one["deliveries"]:
        yield from _delivery(delivery)
    if one["state"] == "pending" and one["owner"] is not None:
        yield _indented(Text(f"sent by {one['owner']}", style="dim"), 4)


def _is_later(failed: dict[str, Any]) -> bool:
    return bool(failed["condition"] == "created_later")


def _indented(line: Text, by: int) -> Padding:
    return Padding(line, (0, 0, 0, by), expand=False)


def _delivery(delivery: dict[str, Any]) -> Iterator[RenderableType]:
    for attempt in delivery["attempts"]:
        line = Text(f"{attempt['started']}  attempt {attempt['number']}: ", style="dim")
        line.append(attempt["cause"], style="default")
        yield _indented(line, 4)
