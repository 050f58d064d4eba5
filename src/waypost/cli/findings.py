"""Findings: what `waypost doctor` has to say."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at. `good` None: worth knowing, not wrong."""

    good: bool | None
    subject: str
    text: str
