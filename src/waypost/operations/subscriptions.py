"""Event subscriptions: who wants to hear of what.

A change is one transaction that also counts up the version of the project's routing. What is in
memory follows right after its commit: every event that is accepted, and every attempt that starts
from then on goes by the new settings.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from waypost.clock import IdSource
from waypost.engine.configuration import Configuration
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.subscription import Subscription
from waypost.operations.event_types import Catalogue
from waypost.operations.signing_keys import Keys, SigningKeys
from waypost.operations.transforms import Transforms
from waypost.policy import settings, transforms
from waypost.policy.routing import ALL, PREFIX
from waypost.policy.settings import Settings, SubscriptionRules
from waypost.storage import audit, blocked_keys, chains, projects, signing_keys, subscriptions
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection

_PAUSED: Final = Settings(paused=True)
_RESUMED: Final = Settings(paused=False)


class _Change(msgspec.Struct, frozen=True):
    """What a committed change has made of a subscription."""

    version: int
    subscription: Subscription
    keys: Keys


class Subscriptions:
    """What people ask of event subscriptions."""

    def __init__(
        self,
        configuration: Configuration,
        router: Router,
        keys: SigningKeys,
        catalogue: Catalogue,
        programs: Transforms,
        rules: SubscriptionRules,
        deleted: Callable[[Id, Id], None],
        source: IdSource,
    ) -> None:
        """Take what subscriptions are kept in and what follows them.

        Args:
            configuration: what changes go through.
            router: told of every change, on the loop.
            keys: their signing keys; it also tells the dispatcher of every change.
            catalogue: the event types that strict projects take.
            programs: tells whether a transform compiles.
            rules: what settings are held to.
            deleted: told of the project and the id of a deleted subscription, on the loop.
            source: of ids.
        """
        self._configuration = configuration
        self._store = configuration.store
        self._router = router
        self._keys = keys
        self._catalogue = catalogue
        self._programs = programs
        self._rules = rules
        self._deleted = deleted
        self._ids = source

    async def create(self, principal: Principal, wanted: Settings) -> Subscription:
        """Make a subscription, with a secret of its own.

        Raises:
            InvalidInput: a setting is not allowed, or there is no URL.
            Unavailable: a transform can't be compiled now.
        """
        if wanted.url is UNSET:
            raise InvalidInput(details=[("url", "is required")])
        await self._check(principal, wanted)
        bare = Subscription(principal.project_id, self._ids.next(), "")
        subscription = settings.merge(bare, wanted)
        settings.demand_consistent(subscription)
        key = self._keys.make(subscription.signing)

        def write(connection: Connection) -> _Change:
            subscriptions.insert(connection, subscription)
            keys = self._keys.insert(connection, subscription, key)
            record(connection, Kind.SUBSCRIPTION, subscription.project_id, subscription.id)
            version = projects.bump_routing(connection, subscription.project_id)
            return _Change(version, subscription, keys)

        return (await self._configuration.change(write, self._follow)).subscription

    async def get(self, principal: Principal, subscription_id: Id) -> Subscription:
        """Return a subscription.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._store.read(
            lambda c: subscriptions.get(c, principal.project_id, subscription_id)
        )

    async def list_page(self, principal: Principal, request: PageRequest) -> Page[Subscription]:
        """Return one page of the project's subscriptions."""
        return await self._store.read(
            lambda c: subscriptions.list_page(c, principal.project_id, request)
        )

    async def update(
        self, principal: Principal, subscription_id: Id, wanted: Settings
    ) -> Subscription:
        """Merge settings into a subscription. Another signature scheme rotates its secret.

        Raises:
            NotFound: the project has none with this id.
            InvalidInput: a setting is not allowed.
            LimitReached: its secret can't be rotated now.
            Unavailable: a transform can't be compiled now.
        """
        await self._check(principal, wanted)
        return await self._change(principal, subscription_id, wanted)

    async def pause(self, principal: Principal, subscription_id: Id) -> Subscription:
        """Stop sending to a subscription; what it is owed is kept.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._change(principal, subscription_id, _PAUSED)

    async def resume(self, principal: Principal, subscription_id: Id) -> Subscription:
        """Go on sending to a paused subscription.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._change(principal, subscription_id, _RESUMED)

    async def delete(self, principal: Principal, subscription_id: Id) -> None:
        """Delete a subscription with its secrets; what it is owed is cancelled.

        Raises:
            NotFound: the project has none with this id.
        """
        project_id = principal.project_id
        record_id, now_us = self._ids.next_at()

        def write(connection: Connection) -> int:
            subscriptions.delete(connection, project_id, subscription_id, now_us)
            blocked_keys.delete_all(connection, project_id, subscription_id)
            signing_keys.delete_all(connection, project_id, subscription_id)
            subject = ids.spell(ids.SUBSCRIPTION, subscription_id)
            audit.record(connection, principal, record_id, "subscription.delete", subject)
            record(connection, Kind.SUBSCRIPTION, project_id, subscription_id)
            return projects.bump_routing(connection, project_id)

        def after(version: int) -> None:
            self._router.remove(version, project_id, subscription_id)
            self._keys.publish(subscription_id, ())
            self._deleted(project_id, subscription_id)

        await self._configuration.change(write, after)

    async def _change(
        self, principal: Principal, subscription_id: Id, wanted: Settings
    ) -> Subscription:
        new_key = None if wanted.signing is UNSET else self._keys.make(wanted.signing)
        now_us = ids.moment(self._ids.next())

        def write(connection: Connection) -> _Change:
            place = (principal.project_id, subscription_id)
            present = subscriptions.get(connection, *place)
            changed = settings.merge(present, wanted)
            settings.demand_consistent(changed)
            subscriptions.update(connection, changed)
            if changed.ordering is not present.ordering:
                # What had to wait is found, and put in its place, by the new order.
                chains.unpark_all(connection, *place)
                blocked_keys.delete_all(connection, *place)
            if new_key is None or changed.signing is present.signing:
                keys = self._keys.list_all(connection, *place)
            else:
                keys = self._keys.replace(connection, changed, new_key, now_us)
            record(connection, Kind.SUBSCRIPTION, *place)
            return _Change(projects.bump_routing(connection, place[0]), changed, keys)

        return (await self._configuration.change(write, self._follow)).subscription

    def _follow(self, change: _Change) -> None:
        self._router.apply(change.version, change.subscription)
        self._keys.tell(change.subscription, change.keys)

    async def _check(self, principal: Principal, wanted: Settings) -> None:
        settings.check(wanted, self._rules)
        for index, name in enumerate(wanted.event_types or ()):
            if name != ALL and not name.endswith(PREFIX):
                path = f"event_types[{index}]"
                self._catalogue.require(principal.project_id, name, path)
        if wanted.transform is not UNSET and wanted.transform is not None:
            program = transforms.read(wanted.transform)
            await self._programs.require(principal.project_id, program)
