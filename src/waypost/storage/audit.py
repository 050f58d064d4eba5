"""The audit trail: who did what could not be undone."""

from sqlalchemy import Connection, insert

from waypost.model import ids
from waypost.model.project import Principal
from waypost.storage.schema import audit


def record(
    connection: Connection, principal: Principal, record_id: ids.Id, action: str, subject: str
) -> None:
    """Keep that `principal` did `action` to `subject`; the moment is that of `record_id`.

    The key's name is kept as it is now.
    """
    connection.execute(
        insert(audit).values(
            project_id=principal.project_id,
            id=record_id,
            key_id=principal.key_id,
            key_name=principal.key_name,
            action=action,
            subject=subject,
        )
    )
