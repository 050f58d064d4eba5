"""The table that the native API is made of: one row for each method and path.

Routes, keys and scopes, rate limits, the checking of query and body, and the OpenAPI document all
come from these rows, so none of them can forget an operation. A handler is given a checked `Call`
and returns the struct to answer with; every refusal is a `WaypostError` that it lets pass.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from waypost.model.project import Principal, Scope

Q = TypeVar("Q")
B = TypeVar("B")

PATH_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, B]):
    """One checked request.

    Attributes:
        principal: who calls, and in which project; the operation's scope is already granted.
        path: the parameters of the path as they were spelled.
        query: an instance of the operation's `query`; of no use where it has none.
        body: an instance of the operation's `body`; of no use where it has none.
    """

    principal: Principal
    path: dict[str, str]
    query: Q
    body: B


Handler = Callable[[Call[Any, Any]], Awaitable[msgspec.Struct | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path.

    Attributes:
        path: with parameters in braces, as `/v1/events/{event_token}`.
        name: unique, in snake case: the OpenAPI operationId.
        tag: the noun under which the documentation lists it.
        scope: what the key must be allowed to do; None for the few open to everyone.
        query: a struct of what `waypost.web.queries` can read; None where it takes none.
        body: a struct of the JSON body, `forbid_unknown_fields`; None where it takes none.
        body_optional: an empty body stands for a `body` of defaults.
        result: the struct of the answer; None for an empty answer.
        status: of success.
        errors: the statuses of its refusals, beside those that all have (`openapi.ALWAYS`).
        handler: does it; None where a fast route does, and the row only documents it.
        media: the content types that the body may have.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    scope: Scope | None
    handler: Handler | None
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: Any = None
    body_optional: bool = False
    result: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    media: tuple[str, ...] = ("application/json",)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(PATH_PARAMETER.findall(self.path))

    @property
    def reads(self) -> bool:
        """Whether it only reads: it then spends from the key's allowance of reads."""
        return self.method == "GET"
