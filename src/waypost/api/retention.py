"""Pruning: for administrators."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.api.shapes import Moment
from waypost.model.errors import InvalidInput
from waypost.model.project import Scope
from waypost.operations.retention import Retention
from waypost.policy import timestamp

TAG: Final = "Retention"
PATH: Final = "/v1/prune"

_BEFORE: Final = Meta(description="What is older goes; by the settings, unless told.")
_POSITION: Final = Meta(description="Where the answer before has stopped.", max_length=200)


class PruneIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to prune: events before a moment, and diverted events before another one."""

    before: Annotated[Moment, _BEFORE] | None = None
    diverted_before: Annotated[Moment, _BEFORE] | None = None
    dry_run: bool = False
    position: Annotated[str, _POSITION] | None = None


class PruneOut(msgspec.Struct, frozen=True):
    """What was done; with a `position` there is more to do: send the same again with it."""

    rows: dict[str, int]
    dropped_partitions: list[str]
    kept_partitions: dict[str, str]
    position: str | None


class RetentionRoutes:
    """The handler of the operation that prunes."""

    def __init__(self, retention: Retention) -> None:
        """Take what it calls."""
        self._retention = retention

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="POST",
                path=PATH,
                name="prune",
                summary="Forget what has had its time",
                description=(
                    "The server does it by itself, by its settings. This does it now, in all"
                    " projects, up to other moments if you like, a part in each request; with"
                    " `dry_run` it only counts. What is owed is never deleted."
                ),
                tag=TAG,
                scope=Scope.ADMIN,
                handler=self._prune,
                body=PruneIn,
                body_optional=True,
                result=PruneOut,
            )
        ]

    async def _prune(self, call: Call[None, PruneIn]) -> PruneOut:
        body = call.body
        pruned = await self._retention.prune(
            call.principal,
            _micros("before", body.before),
            _micros("diverted_before", body.diverted_before),
            dry=body.dry_run,
            position=body.position,
        )
        return PruneOut(pruned.rows, pruned.dropped, pruned.kept, pruned.position)


def _micros(name: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    try:
        return max(timestamp.microseconds(moment), 0)
    except ValueError as error:
        raise InvalidInput(details=[(name, str(error))]) from error
