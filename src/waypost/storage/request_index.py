"""The index of events by the request that has brought them: an expression over their attributes.

It is partial, so it costs nothing where no request is told, and no column that all would have.
"""

from typing import Final, NamedTuple

from sqlalchemy import Index, text


class _Request(NamedTuple):
    """How a database finds the id of a request in the attributes of an event, MessagePack.

    Attributes:
        where: what holds of events that have one; and of a few others, which look like it.
        value: where it stands, with the length that is written before it.
    """

    where: str
    value: str


_REQUEST_NAME: Final = b"\xaarequest_id".hex()
_REQUEST_BYTES: Final = 38
"""What the longest spelling takes, a UUID's."""

REQUEST_INDEX: Final = {
    "sqlite": _Request(
        f"instr(attributes, x'{_REQUEST_NAME}') > 0",
        f"substr(attributes, instr(attributes, x'{_REQUEST_NAME}') + 11, {_REQUEST_BYTES})",
    ),
    "postgresql": _Request(
        f"position('\\x{_REQUEST_NAME}'::bytea IN attributes) > 0",
        f"substring(attributes FROM position('\\x{_REQUEST_NAME}'::bytea IN attributes) + 11"
        f" FOR {_REQUEST_BYTES})",
    ),
}


def request_indexes() -> list[Index]:
    """Return what finds the events of a request: it costs those nothing that have none."""
    sqlite, postgresql = REQUEST_INDEX["sqlite"], REQUEST_INDEX["postgresql"]
    name = "ix_events_request"
    return [
        Index(name, "project_id", text(sqlite.value), sqlite_where=text(sqlite.where)).ddl_if(
            dialect="sqlite"
        ),
        Index(name, text(postgresql.value), postgresql_where=text(postgresql.where)).ddl_if(
            dialect="postgresql"
        ),
    ]
