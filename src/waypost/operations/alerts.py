"""Alert endpoints: kept as hidden subscriptions, each with a secret of its own.

They stand in a hidden project beside the one they are of. So lanes, the egress guard, signatures
and retries are those of every delivery, and no list leads to them. Their failures alert nobody.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from waypost.clock import IdSource
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.errors import InvalidSetting
from waypost.model.failure import AlertEndpoint, FailureHandling
from waypost.model.ids import Id
from waypost.model.subscription import SigningKey, Subscription
from waypost.operations.signing_keys import Keys, SigningKeys
from waypost.policy import signing
from waypost.policy.failure_settings import AlertEndpointIn, BroughtAlertEndpoint, kept_endpoint
from waypost.policy.settings import DefaultSettings
from waypost.storage import alerts, signing_keys, subscriptions
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection

SCHEDULE_S: Final = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18000.0)
"""A notice is tried for seven hours; beyond that the dead-letter box tells the same."""

SILENT: Final = FailureHandling(on_giving_up=())
"""Nothing follows from a notice that is given up."""


class Asked(msgspec.Struct, frozen=True):
    """What is asked of alert endpoints, made ready on the loop: ids are made there.

    Attributes:
        wanted: None where nothing is asked of them.
        fresh: for each of them a subscription's id and a key, in case that it is new.
    """

    wanted: tuple[AlertEndpointIn, ...] | None
    fresh: tuple[tuple[Id, SigningKey], ...]
    now_us: int


class Changed(msgspec.Struct, frozen=True):
    """The hidden subscriptions that a transaction has changed, and those it has deleted."""

    present: tuple[tuple[Subscription, Keys], ...] = ()
    gone: tuple[tuple[Id, Id], ...] = ()


NOTHING_CHANGED: Final = Changed()


class Alerts:
    """Keeps the hidden subscriptions that failure handling names."""

    def __init__(
        self,
        router: Router,
        keys: SigningKeys,
        deleted: Callable[[Id, Id], None],
        source: IdSource,
    ) -> None:
        """Take what follows; `deleted` is told of the project and id of a deleted subscription."""
        self._router = router
        self._keys = keys
        self._deleted = deleted
        self._ids = source

    def ask(self, settings: DefaultSettings) -> Asked:
        """Make ready what settings ask of alert endpoints. For the loop's thread alone."""
        handling = settings.failure_handling
        now_us = ids.moment(self._ids.next())
        if handling is UNSET:
            return Asked(None, (), now_us)
        wanted = () if handling is None else handling.alert_endpoints
        fresh = tuple((self._ids.next(), self._keys.make_text()) for _ in wanted)
        return Asked(wanted, fresh, now_us)

    def keep(
        self,
        connection: Connection,
        project_id: Id,
        before: FailureHandling | None,
        after: FailureHandling | None,
        asked: Asked,
        path: str = "failure_handling",
    ) -> tuple[FailureHandling | None, Changed]:
        """Keep the alert endpoints that are asked for, in the transaction that changes the rest.

        Args:
            connection: inside a write.
            project_id: whose failure handling it is.
            before: as it was.
            after: as it is to be, its alert endpoints without ids.
            asked: what `ask` has made ready.
            path: of the failure handling in the request, for errors.

        Returns:
            `after` with their ids, and what `follow` is to be told after the commit.

        Raises:
            InvalidSetting: a new one has no secret.
        """
        if asked.wanted is None:
            return after, NOTHING_CHANGED
        hidden_id = ids.alerts_of(project_id)
        old = {one.url: one for one in before.alert_endpoints} if before is not None else {}
        if asked.wanted and not old:
            alerts.make_project(connection, hidden_id)
        made: list[AlertEndpoint] = []
        present: list[tuple[Subscription, Keys]] = []
        for index, (wanted, fresh) in enumerate(zip(asked.wanted, asked.fresh, strict=True)):
            brought = wanted if isinstance(wanted, BroughtAlertEndpoint) else None
            former = None if brought is None else brought.follows
            known = old.pop(former or wanted.url, None)
            if known is None and wanted.secret is UNSET and brought is None:
                details = [(f"{path}.alert_endpoints[{index}].secret", "is required")]
                raise InvalidSetting(details=details)
            hidden = _hidden(hidden_id, fresh[0] if known is None else known.id, wanted)
            present.append((hidden, self._write(connection, hidden, wanted, fresh[1], known)))
            made.append(kept_endpoint(hidden.id, wanted))
        gone = tuple((hidden_id, one.id) for one in old.values())
        for place in gone:
            delete(connection, place, asked.now_us)
        changed = Changed(tuple(present), gone)
        if after is not None:
            after = msgspec.structs.replace(after, alert_endpoints=tuple(made))
        return after, changed

    def delete_all(self, connection: Connection, project_id: Id, now_us: int) -> Changed:
        """Delete all that is hidden behind a project, whoever has put it there.

        Args:
            connection: inside the write that deletes the project.
            project_id: the project.
            now_us: the present, UTC microseconds.

        Returns:
            What `follow` is to be told after the commit.
        """
        hidden_id = ids.alerts_of(project_id)
        gone = tuple((hidden_id, one) for one in subscriptions.list_of(connection, hidden_id))
        for place in gone:
            delete(connection, place, now_us)
        return Changed(gone=gone)

    def _write(
        self,
        connection: Connection,
        hidden: Subscription,
        wanted: AlertEndpointIn,
        fresh: SigningKey,
        known: AlertEndpoint | None,
    ) -> Keys:
        place = (hidden.project_id, hidden.id)
        write = subscriptions.insert if known is None else subscriptions.update
        write(connection, hidden)
        key = _key(wanted, fresh, is_new=known is None)
        if key is not None:
            self._keys.put(connection, hidden, (key,))
        record(connection, Kind.SUBSCRIPTION, *place)
        return self._keys.list_all(connection, *place)

    def follow(self, changed: Changed) -> None:
        """Let what is in memory follow the commit."""
        for hidden, keys in changed.present:
            self._router.refresh(hidden)
            self._keys.tell(hidden, keys)
        for project_id, subscription_id in changed.gone:
            version = self._router.routes(project_id).version
            self._router.remove(version, project_id, subscription_id)
            self._keys.publish(subscription_id, ())
            self._deleted(project_id, subscription_id)


def delete(connection: Connection, place: tuple[Id, Id], now_us: int) -> None:
    """Delete a hidden subscription, by the hidden project's id and its own."""
    subscriptions.delete(connection, *place, now_us)
    signing_keys.delete_all(connection, *place)
    record(connection, Kind.SUBSCRIPTION, *place)


def _key(wanted: AlertEndpointIn, fresh: SigningKey, *, is_new: bool) -> SigningKey | None:
    """Return the key that an alert endpoint is to have; None where it stays what it is."""
    if wanted.secret is not UNSET:
        return SigningKey(fresh.id, *signing.read_secret(wanted.secret))
    if isinstance(wanted, BroughtAlertEndpoint) and wanted.key is not None:
        return SigningKey(fresh.id, fresh.scheme, wanted.key)
    return fresh if is_new else None


def _hidden(project_id: Id, subscription_id: Id, wanted: AlertEndpointIn) -> Subscription:
    return Subscription(
        project_id,
        subscription_id,
        wanted.url,
        headers=wanted.headers,
        format=wanted.format,
        retry_schedule_s=SCHEDULE_S,
        failure_handling=SILENT,
        insecure_tls=wanted.insecure_tls,
    )
