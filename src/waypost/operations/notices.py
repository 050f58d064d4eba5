"""Notices that other surfaces want: to whom, and of what.

Who is told is a hidden subscription, as alert endpoints are. What is told is an event in the same
hidden project, kept in the transaction of the change that it tells of.
"""

from collections.abc import Callable, Sequence

import msgspec

from waypost.clock import IdSource
from waypost.engine.announcer import Announcer
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.subscription import DisabledBy, SigningKey, Subscription
from waypost.operations.alerts import Alerts, Changed, delete
from waypost.operations.signing_keys import Keys, SigningKeys
from waypost.storage import alerts, subscriptions
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection, Write


class Told(msgspec.Struct, frozen=True):
    """Something to tell a hidden subscription: JSON, as an event of this type."""

    to: Id
    type: str
    payload: bytes


class Hidden(msgspec.Struct, frozen=True):
    """What a change wants of a project's hidden subscriptions.

    Attributes:
        present: those to have, each with its secret.
        off: those that are disabled, where they are there.
        gone: those that are deleted for ever, where they are there.
        told: what is told by this change.
    """

    present: tuple[tuple[Subscription, SigningKey], ...] = ()
    off: tuple[Id, ...] = ()
    gone: tuple[Id, ...] = ()
    told: tuple[Told, ...] = ()


class Notices:
    """Writes what other surfaces want to be told. For the loop's thread alone."""

    def __init__(
        self, alerts: Alerts, keys: SigningKeys, announcer: Announcer, source: IdSource
    ) -> None:
        """Take what lets memory follow, what keeps secrets, and who sees to what is told."""
        self._alerts = alerts
        self._keys = keys
        self._announcer = announcer
        self._ids = source

    def writing(self, principal: Principal, wanted: Hidden) -> Write:
        """Return what writes it all, in the transaction of a change in the caller's project."""
        hidden_id = ids.alerts_of(principal.project_id)
        now_us = ids.moment(self._ids.next())
        told = [(self._ids.next(), one) for one in wanted.told]

        def write(connection: Connection) -> Callable[[], None]:
            changed = self._put(connection, hidden_id, wanted, now_us)
            for event_id, one in told:
                alerts.fan_out_notice(
                    connection, hidden_id, event_id, one.type, one.payload, (one.to,)
                )

            def follow() -> None:
                self._alerts.follow(changed)
                self._announcer.follow()

            return follow

        return write

    def _put(self, connection: Connection, hidden_id: Id, wanted: Hidden, now_us: int) -> Changed:
        if wanted.present:
            alerts.make_project(connection, hidden_id)
        present: list[tuple[Subscription, Keys]] = []
        for to, key in wanted.present:
            is_new = subscriptions.find(connection, hidden_id, to.id) is None
            write = subscriptions.insert if is_new else subscriptions.update
            write(connection, to)
            present.append((to, self._keys.put(connection, to, (key,))))
        for known in _found(connection, hidden_id, wanted.off):
            if known.disabled_by is None:
                off = msgspec.structs.replace(known, disabled_by=DisabledBy.PERSON)
                subscriptions.update(connection, off)
                present.append((off, self._keys.list_all(connection, hidden_id, known.id)))
        for to, _ in present:
            record(connection, Kind.SUBSCRIPTION, hidden_id, to.id)
        gone = tuple((hidden_id, one.id) for one in _found(connection, hidden_id, wanted.gone))
        for place in gone:
            delete(connection, place, now_us)
        return Changed(tuple(present), gone)


def _found(connection: Connection, hidden_id: Id, wanted: Sequence[Id]) -> list[Subscription]:
    found = (subscriptions.find(connection, hidden_id, one) for one in wanted)
    return [one for one in found if one is not None]
