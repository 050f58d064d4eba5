"""The shelf: what is kept of endpoints and subscriptions, and how a change of them is carried out.

Each change writes the records and what they come to in one transaction.
"""

from collections.abc import Sequence

import msgspec

from waypost.dialects.convoy import chat, meta, things
from waypost.dialects.convoy.answers import ProjectOut
from waypost.dialects.convoy.config import MetaKind, ProjectConfig
from waypost.dialects.convoy.projects import Home, Homes, home_of
from waypost.dialects.convoy.shapes import endpoint_out
from waypost.dialects.convoy.things import Endpoint, EventFilter, Subscribed
from waypost.dialects.convoy.wishes import wish
from waypost.model.errors import InvalidInput
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.record import Record
from waypost.model.subscription import Signing, SigningKey
from waypost.operations.changing import Wish
from waypost.operations.notices import Hidden, Notices, Told
from waypost.operations.records import Records, Write
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.settings import Settings


class Shelf:
    """What the handlers share."""

    def __init__(
        self,
        records: Records,
        homes: Homes,
        subscriptions: Subscriptions,
        keys: SigningKeys,
        notices: Notices,
    ) -> None:
        """Take what things are kept in, what they come to, what makes secrets, and what tells."""
        self._keys = keys
        self._notices = notices
        self.records = records
        self.homes = homes
        self.subscriptions = subscriptions

    async def endpoint(self, caller: Principal, endpoint_id: Id) -> Record:
        """Return an endpoint's record; NotFound where there is none."""
        return await self.records.get(caller, things.ENDPOINT, endpoint_id)

    async def subscription(self, caller: Principal, subscription_id: Id) -> Record:
        """Return a subscription's record; NotFound where there is none."""
        return await self.records.get(caller, things.SUBSCRIPTION, subscription_id)

    async def at(self, caller: Principal, *endpoint_ids: Id) -> list[Record]:
        """Return the subscriptions of some endpoints, oldest first."""
        return await self.records.parts(caller, things.SUBSCRIPTION, *endpoint_ids)

    async def filters(self, caller: Principal, *subscription_ids: Id) -> dict[Id, list[Record]]:
        """Return the filters of some subscriptions, by theirs."""
        found: dict[Id, list[Record]] = {one: [] for one in subscription_ids}
        for record in await self.records.parts(caller, things.FILTER, *subscription_ids):
            if record.parent is not None:
                found[record.parent].append(record)
        return found

    async def keep_endpoint(
        self, caller: Principal, record: Record, *, revive: bool = False
    ) -> None:
        """Keep an endpoint that was changed, and have its subscriptions follow.

        `revive`: they are sent to again where failures had them disabled.
        """
        home = await self.homes.of(caller)
        wishes = await self._wishes(caller, home.config, [record], revive=revive)
        to = things.endpoint_of(record)
        watching = chat.watchers(record.id, to)
        hidden = Hidden(
            present=tuple(chat.hooks(record, to, self.make_key)),
            off=tuple(one for one in chat.all_of(record.id) if one not in watching),
            told=_told(home.config, MetaKind.ENDPOINT_UPDATED, record),
        )
        await self.subscriptions.put_all(
            caller, wishes, self.records.saving(record), self._notices.writing(caller, hidden)
        )

    async def keep_subscription(
        self,
        caller: Principal,
        endpoint: Record,
        record: Record,
        filters: Sequence[EventFilter],
        *writes: Write,
    ) -> None:
        """Keep a subscription, new or changed, with its filters."""
        home = await self.homes.of(caller)
        wanted = wish(home.config, endpoint, record, filters)
        await self.subscriptions.put_all(caller, [wanted], self.records.saving(record), *writes)

    async def keep_new(
        self, caller: Principal, pairs: Sequence[tuple[Record, Record | None]]
    ) -> None:
        """Keep new endpoints, each with a first subscription or none: all of them, or nothing."""
        home = await self.homes.of(caller)
        writes = [self.records.saving(one) for pair in pairs for one in pair if one is not None]
        wishes = [
            wish(home.config, endpoint, record, ())
            for endpoint, record in pairs
            if record is not None
        ]
        kind, endpoints = MetaKind.ENDPOINT_CREATED, [endpoint for endpoint, _ in pairs]
        hidden = Hidden(
            present=tuple(
                hook
                for one in endpoints
                for hook in chat.hooks(one, things.endpoint_of(one), self.make_key)
            ),
            told=tuple(told for one in endpoints for told in _told(home.config, kind, one)),
        )
        await self.subscriptions.put_all(
            caller, wishes, *writes, self._notices.writing(caller, hidden)
        )

    async def delete_endpoint(self, caller: Principal, record: Record) -> None:
        """Delete an endpoint with its subscriptions; what they are owed is cancelled."""
        home = await self.homes.of(caller)
        parts = await self.at(caller, record.id)
        deleting = [self.records.deleting(one) for one in (record, *parts)]
        told = _told(home.config, MetaKind.ENDPOINT_DELETED, record)
        hidden = Hidden(gone=chat.all_of(record.id), told=told)
        telling = self._notices.writing(caller, hidden)
        gone = [one.id for one in parts]
        await self.subscriptions.delete_all(caller, gone, *deleting, telling)

    async def delete_subscription(self, caller: Principal, record: Record) -> None:
        """Delete a subscription; what it is owed is cancelled."""
        await self.subscriptions.delete_all(caller, [record.id], self.records.deleting(record))

    def check(self, home: Home) -> None:
        """Refuse a project's configuration that can't be obeyed, by raising InvalidInput."""
        self.check_url(home.config.meta_event.url or None, "config.meta_event.url")

    def check_url(self, url: str | None, path: str) -> None:
        """Refuse a URL that nothing may be sent to; `path` is the field to blame.

        Raises:
            InvalidInput: it is one; says why.
        """
        if url is None:
            return
        try:
            self.subscriptions.check_settings(Settings(url=url))
        except InvalidInput as error:
            raise InvalidInput(details=[(path, why) for _, why in error.details]) from error

    async def keep_home(
        self, caller: Principal, record: Record, shown: ProjectOut | None, *, follow: bool
    ) -> None:
        """Keep a project's configuration.

        Args:
            caller: in which project.
            record: the configuration.
            shown: the project as Convoy shows it, to be told; None for a new one.
            follow: have all subscriptions go by it.
        """
        home = home_of(record)
        endpoints = await self.records.all(caller, things.ENDPOINT) if follow else []
        wishes = await self._wishes(caller, home.config, endpoints)
        hook = meta.hook(home.config, caller.project_id, self.make_key)
        told: tuple[Told, ...] = ()
        if shown is not None:
            told = meta.told(home.config, caller.project_id, MetaKind.PROJECT_UPDATED, shown)
        hidden = msgspec.structs.replace(hook, told=told)
        await self.subscriptions.put_all(
            caller, wishes, self.records.saving(record), self._notices.writing(caller, hidden)
        )

    async def catch_all(self, caller: Principal, endpoint: Record) -> None:
        """Have an endpoint that has no subscription take everything, as Convoy does."""
        if await self.at(caller, endpoint.id):
            return
        name = f"{things.endpoint_of(endpoint).name}-subscription"
        await self.keep_subscription(
            caller, endpoint, self.new_subscription(caller, endpoint, Subscribed(name)), ()
        )

    def make_key(self) -> SigningKey:
        """Return a new secret."""
        return self._keys.make(Signing.HMAC)

    def new_endpoint(self, caller: Principal, endpoint: Endpoint) -> Record:
        """Return the record of a new endpoint."""
        return self.records.new(caller, things.ENDPOINT, msgspec.json.encode(endpoint))

    def new_subscription(self, caller: Principal, endpoint: Record, wanted: Subscribed) -> Record:
        """Return the record of a new subscription."""
        body = msgspec.json.encode(wanted)
        return self.records.new(caller, things.SUBSCRIPTION, body, endpoint.id)

    async def _wishes(
        self,
        caller: Principal,
        config: ProjectConfig,
        endpoints: Sequence[Record],
        *,
        revive: bool = False,
    ) -> list[Wish]:
        by_id = {one.id: one for one in endpoints}
        parts = await self.at(caller, *by_id)
        filters = await self.filters(caller, *(one.id for one in parts))
        return [
            wish(
                config,
                by_id[one.parent],
                one,
                [things.filter_of(record) for record in filters[one.id]],
                revive=revive,
            )
            for one in parts
            if one.parent is not None
        ]


def _told(config: ProjectConfig, kind: MetaKind, record: Record) -> tuple[Told, ...]:
    """Return the meta event of a change of an endpoint, where it is asked for."""
    to = things.endpoint_of(record)
    shown = endpoint_out(record, to, to.status, masked=True)
    return meta.told(config, record.project_id, kind, shown)
