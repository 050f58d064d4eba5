"""Queries: a struct says which parameters an operation takes, and this reads them into it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, inspect
from starlette.requests import Request

from waypost.web.requests import Query

T = TypeVar("T", bound=msgspec.Struct)

MicrosInQuery = Annotated[int, Meta(extra_json_schema={"type": "string", "format": "date-time"})]
"""A moment in a query: RFC 3339 on the wire, UTC microseconds once it is read."""

_Read = Callable[[Query, str], Any]
_MANY: Final = 2**31


class Nothing(msgspec.Struct, frozen=True):
    """No parameter at all."""


class Queries(Generic[T]):
    """Reads the queries of one operation.

    A field is a number, a boolean, text, one of an enumeration or of literals, a moment
    (`MicrosInQuery`), or a tuple of texts, which come joined by commas or in several parameters.
    """

    def __init__(self, form: type[T]) -> None:
        """Prepare the reading of each field of a struct.

        Raises:
            TypeError: a field is of a type that no parameter can have.
        """
        described = inspect.type_info(form)
        assert isinstance(described, inspect.StructType)  # noqa: S101 - bound of T
        self._form = form
        self._fields = [
            (field.name, field.encode_name, _reader(field.type)) for field in described.fields
        ]

    def read(self, request: Request) -> T:
        """Read the query of a request; a parameter that is absent leaves its field's default.

        Raises:
            InvalidInput: parameters are unknown, repeated or not what they should be.
        """
        with Query(request) as query:
            values = {name: read(query, spelled) for name, spelled, read in self._fields}
        return self._form(**{name: value for name, value in values.items() if value is not None})


def _reader(field: inspect.Type) -> _Read:
    bare, extra = _bare(field)
    if extra.get("format") == "date-time":
        return lambda query, name: query.time_us(name)
    match bare:
        case inspect.IntType():
            least = -_MANY if bare.ge is None else int(bare.ge)
            most = _MANY if bare.le is None else int(bare.le)
            return lambda query, name: query.integer(name, least, most)
        case inspect.BoolType():
            return lambda query, name: query.boolean(name)
        case inspect.StrType():
            return partial(_text, bare.min_length or 0, bare.max_length)
        case inspect.LiteralType():
            return partial(_chosen, list(map(str, bare.values)))
        case inspect.EnumType():
            return partial(_enumerated, bare.cls)
        case inspect.VarTupleType():
            most = bare.max_length or 100
            choices = _choices(bare.item_type)
            return lambda query, name: query.texts(name, choices, most) or None
    raise TypeError(f"no parameter of a query can be {bare}")


def _text(least: int, most: int | None, query: Query, name: str) -> str | None:
    value = query.text(name)
    if value is not None and most is not None and not least <= len(value) <= most:
        query.blame(name, f"Must be {least} to {most} characters")
    return value


def _chosen(choices: Sequence[str], query: Query, name: str) -> str | None:
    return query.text(name, choices)


def _choices(item: inspect.Type) -> Sequence[str]:
    return list(map(str, item.values)) if isinstance(item, inspect.LiteralType) else ()


def _enumerated(kind: Callable[[str], Any], query: Query, name: str) -> Any:
    choices = [member.value for member in kind]  # type: ignore[attr-defined] # an Enum class
    value = query.text(name, choices)
    return None if value is None else kind(value)


def _bare(field: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """Return a field's type without its annotations and without None."""
    extra: dict[str, Any] = {}
    while True:
        if isinstance(field, inspect.Metadata):
            extra |= field.extra_json_schema or {}
            field = field.type
        elif isinstance(field, inspect.UnionType):
            field = next(t for t in field.types if not isinstance(t, inspect.NoneType))
        else:
            return field, extra
