"""Queries: a struct says which parameters an operation takes, and this reads them into it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect
from starlette.requests import Request

from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.web.requests import Query

T = TypeVar("T", bound=msgspec.Struct)

_Read = Callable[[Query, str], Any]
_MANY = 2**31


class Queries(Generic[T]):
    """Reads the queries of one operation.

    A field is a number, a boolean, text, one of an enumeration, a moment (`MicrosInQuery`), or a
    tuple of texts, which come joined by commas or in several parameters.
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
            return lambda query, name: query.text(name)
        case inspect.EnumType():
            return partial(_enumerated, bare.cls)
        case inspect.VarTupleType():
            most = bare.max_length or 100
            return lambda query, name: query.texts(name, most=most) or None
    raise TypeError(f"no parameter of a query can be {bare}")


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


def subscription_named(token: str | None, path: str = "event_subscription_token") -> ids.Id | None:
    """Read the token of an event subscription at a path; None where it was not given.

    Raises:
        InvalidInput: it is not the token of an event subscription.
    """
    if token is None:
        return None
    found = ids.find(ids.SUBSCRIPTION, token)
    if found is None:
        reason = f"must be a token that begins with {ids.SUBSCRIPTION}_"
        raise InvalidInput(details=[(path, reason)])
    return found
