"""Event types: the catalogue of a project, which is optional."""

from typing import Final

import msgspec

CATALOGUE_MAX: Final = 2_000
"""How many types a project's catalogue may hold."""

EXAMPLE_MAX: Final = 65_536
"""How long the JSON text of an example may be, in bytes."""


class EventType(msgspec.Struct, frozen=True):
    """One entry of a catalogue. `example`: the JSON text of a payload, an object."""

    name: str
    description: str = ""
    example: bytes | None = None
