"""Matching in statements: what both databases can tell of a row, each in its own words."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Integer, and_, func, literal_column, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from waypost.model.event import SYSTEM
from waypost.model.ids import Id
from waypost.policy.routing import ALL, PREFIX
from waypost.storage.schema import events

INDEXED_BY: Final = {"sqlite": "INDEXED BY {}", "postgresql": ""}
"""What SQLite guesses without statistics is a walk through the project: it is told the index."""


class place_of(FunctionElement[int]):  # noqa: N801 - stands in a statement as functions do
    """Where in some bytes others begin, from 1; 0 where they are not in them."""

    type = Integer()
    inherit_cache = True


@compiles(place_of)
def _on_sqlite(element: Any, compiler: Any, **named: Any) -> str:
    return f"instr({compiler.process(element.clauses, **named)})"


@compiles(place_of, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **named: Any) -> str:
    inside, wanted = element.clauses
    return f"position({compiler.process(wanted, **named)} IN {compiler.process(inside, **named)})"


def is_of_types(patterns: tuple[str, ...]) -> ColumnElement[bool]:
    """Return the condition of an event that one of these takes it: types, `card.*`, or `*`."""
    prefixes = [name.removesuffix("*") for name in patterns if name.endswith(PREFIX)]
    conditions = [is_among([name for name in patterns if not name.endswith("*")])]
    conditions += [func.substr(events.c.type, 1, len(one)) == one for one in prefixes]
    if ALL in patterns:
        conditions.append(is_of_producers())
    return or_(*conditions)


def is_among(types: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition of an event that it is of one of these types.

    No index serves it but where it is a single one: the rows of several would have to be sorted,
    however many there are.
    """
    if len(types) == 1:
        # Beside it what holds of every event, in the words of that index.
        return and_(events.c.type == types[0], events.c.type != literal_column("''"))
    return func.coalesce(events.c.type, events.c.type).in_(types)


def is_of_producers() -> ColumnElement[bool]:
    """Return the condition of an event that it is no system event: those are meant if named."""
    return func.substr(events.c.type, 1, len(SYSTEM)) != SYSTEM


def may_be_of_owner(
    owner: str, attributes: ColumnElement[bytes] = events.c.attributes
) -> ColumnElement[bool]:
    """Return a condition that every event of an owner meets, and few others do.

    Attributes are kept as MessagePack: a name, and behind it the value.
    """
    encoded = msgspec.msgpack.encode("owner") + msgspec.msgpack.encode(owner)
    return place_of(attributes, encoded) > 0


def is_of_sources(
    sources: Sequence[Id], attributes: ColumnElement[bytes] = events.c.attributes
) -> ColumnElement[bool]:
    """Return the condition of an event that it came in by one of these sources.

    Of all that attributes hold, no other name is followed by bytes alone, which are no text.
    """
    name = msgspec.msgpack.encode("source")
    encoded = (name + msgspec.msgpack.encode(one) for one in sources)
    return or_(*(place_of(attributes, one) > 0 for one in encoded))
