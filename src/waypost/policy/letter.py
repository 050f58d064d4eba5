"""Letters: what operators read of system events by e-mail; one letter tells of many."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from waypost.model import ids
from waypost.model.event import SYSTEM
from waypost.model.ids import Id, is_of_alerts

SCHEDULE_S: Final = (60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""A letter that can't be sent is tried again after so long each; then it is given up."""

_VALUE_MAX: Final = 300
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_FIRST: Final = ("type", "timestamp", "description", "subscription")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Letter(msgspec.Struct, frozen=True):
    """An e-mail that is to be sent; `key` is the same where the same is told again.

    `to` is the address that it goes to; None: to the operators.
    """

    key: str
    subject: str
    text: str
    to: str | None = None


def write(told: Sequence[tuple[Id, Id, bytes]], to: str | None = None) -> Letter:
    """Return the letter that tells of some events: projects, ids and payloads, at least one."""
    read = [(project_id, _decode(payload)) for project_id, _, payload in told]
    subject = f"Waypost: {_title(read[0][1])}"
    if len(read) > 1:
        subject += f", and {len(read) - 1} more"
    text = "\n\n".join(_part(project_id, fields) for project_id, fields in read)
    return Letter(ids.spell_uuid(told[0][1]), subject, f"{text}\n", to)


def _title(fields: dict[str, Any]) -> str:
    what = str(fields["type"]).removeprefix(SYSTEM)
    name = _line(fields.get("about") or fields.get("description") or fields.get("subscription", ""))
    return f"{what} ({name[:80]})" if name else what


def _part(project_id: Id, fields: dict[str, Any]) -> str:
    names = [*_FIRST, *(name for name in fields if name not in _FIRST)]
    shown = [f"  {name}: {_line(fields[name])}" for name in names if fields.get(name) is not None]
    project = [f"  project: {ids.spell(ids.PROJECT, project_id)}"]
    # Who watches a subscription knows of no hidden project.
    return "\n".join([_title(fields), *([] if is_of_alerts(project_id) else project), *shown])


def _line(value: object) -> str:
    """Return a value on one line: what receivers answer can't look like something else."""
    return _CONTROLS.sub(" ", str(value))[:_VALUE_MAX]
