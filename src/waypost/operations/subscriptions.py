"""Event subscriptions: who wants to hear of what.

A change is one transaction that also counts up the version of the project's routing. What is in
memory follows right after its commit: every event that is accepted, and every attempt that starts
from then on goes by the new settings.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from waypost.clock import IdSource
from waypost.engine.announcer import Announcer
from waypost.engine.configuration import Configuration
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import Conflict, InvalidInput, LimitReached
from waypost.model.event import SYSTEM
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.subscription import Inheritable, Subscription
from waypost.operations import changing
from waypost.operations.alerts import Alerts, Asked, Changed
from waypost.operations.changing import ANYHOW, Change, Overtaken, Wish, Within
from waypost.operations.event_types import Catalogue
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.transforms import Transforms
from waypost.policy import settings, transforms
from waypost.policy.routing import ALL, PREFIX
from waypost.policy.settings import Settings, SubscriptionRules
from waypost.policy.system_events import require_some
from waypost.storage import (
    audit,
    blocked_keys,
    former_routes,
    health,
    lane_states,
    projects,
    signing_keys,
    subscriptions,
    told,
)
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection, Write, write_all
from waypost.storage.health import Tally
from waypost.storage.subscriptions import SubscriptionFilter

__all__ = ["SubscriptionFilter", "Subscriptions", "Tally"]

_PAUSED: Final = Settings(paused=True)
_RESUMED: Final = Settings(paused=False)
_UNCHANGED: Final = Settings()
_NO_ALERTS: Final = Settings(failure_handling=None)
_Gone = tuple[Id, int, Changed]
_REVISIONS: Final = 10
"""So often a change is made anew that others have overtaken."""


class Subscriptions:
    """What people ask of event subscriptions."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it is wired to
        self,
        configuration: Configuration,
        router: Router,
        keys: SigningKeys,
        alerts: Alerts,
        catalogue: Catalogue,
        programs: Transforms,
        rules: SubscriptionRules,
        deleted: Callable[[Id, Id], None],
        source: IdSource,
        announcer: Announcer,
    ) -> None:
        """Take what subscriptions are kept in and what follows them.

        Args:
            configuration: what changes go through.
            router: told of every change, on the loop.
            keys: their signing keys; it also tells the dispatcher of every change.
            alerts: keeps their alert endpoints.
            catalogue: the event types that strict projects take.
            programs: tells whether a transform compiles.
            rules: what settings are held to.
            deleted: told of the project and the id of a deleted subscription, on the loop.
            source: of ids.
            announcer: tells of subscriptions that are disabled, or sent to again.
        """
        self._announcer = announcer
        self._configuration = configuration
        self._store = configuration.store
        self._router = router
        self._keys = keys
        self._alerts = alerts
        self._catalogue = catalogue
        self._programs = programs
        self._rules = rules
        self._deleted = deleted
        self._ids = source

    async def create(
        self,
        principal: Principal,
        wanted: Settings,
        within: Within = ANYHOW,
    ) -> Subscription:
        """Make a subscription, with a secret of its own.

        Raises:
            InvalidInput: a setting is not allowed, or there is no URL.
            InvalidSetting: settings contradict each other.
            LimitReached: the project has as many as it may have.
            Unavailable: a transform can't be compiled now.
        """
        if wanted.url is UNSET:
            raise InvalidInput(details=[("url", "is required")])
        await self._check(principal, wanted)
        api, most = within.api or Api.NATIVE, within.most
        bare = Subscription(principal.project_id, self._ids.next(), "", api=api)
        defaults = self._router.defaults(principal.project_id)
        merged = self._keys.merged(bare, wanted, defaults)
        settings.check_together(merged, defaults=defaults)
        key = self._keys.brought(wanted) or self._keys.make(merged.signing)
        asked = self._alerts.ask(wanted)

        def write(connection: Connection) -> Change:
            subscription, alerts = self._with_alerts(connection, bare, merged, asked)
            subscriptions.insert(connection, subscription)
            keys = self._keys.insert(connection, subscription, key)
            record(connection, Kind.SUBSCRIPTION, subscription.project_id, subscription.id)
            version = projects.bump_routing(connection, subscription.project_id)
            former_routes.begin(connection, subscription.project_id, subscription.id, version)
            if most is not None and subscriptions.count(connection, bare.project_id, api) > most:
                raise LimitReached(f"There may be no more than {most} of these.")
            within.also(connection, subscription, keys)
            return Change(version, subscription, keys, alerts)

        return (await self._configuration.change(write, self._follow)).subscription

    async def get(
        self, principal: Principal, subscription_id: Id, *, api: Api | None = None
    ) -> Subscription:
        """Return a subscription.

        Raises:
            NotFound: the project has none with this id; or it was not made by `api`.
        """
        return await self._store.read(
            lambda c: subscriptions.get(c, principal.project_id, subscription_id, api)
        )

    def check_settings(self, wanted: Settings) -> None:
        """Refuse settings that no subscription may have, by raising InvalidInput."""
        settings.check(wanted, self._rules)

    def at(self, project_id: Id, endpoint_id: Id) -> tuple[Subscription, ...]:
        """Return the subscriptions that share an address, as they are in memory."""
        return self._router.routes(project_id).at(endpoint_id)

    def known(self, project_id: Id) -> list[Id]:
        """Return the ids of a project's subscriptions, whichever surface made them."""
        return [one.id for one in self._router.routes(project_id)]

    def defaults(self, project_id: Id) -> Inheritable:
        """Return what a project's subscriptions go by where they set nothing."""
        return self._router.defaults(project_id)

    async def list_page(
        self, principal: Principal, request: PageRequest, *, api: Api | None = None
    ) -> Page[Subscription]:
        """Return one page of the project's subscriptions, or of those that were made by `api`."""
        project_id = principal.project_id
        return await self._store.read(
            lambda c: subscriptions.list_page(c, project_id, request, api)
        )

    async def update(
        self,
        principal: Principal,
        subscription_id: Id,
        wanted: Settings,
        within: Within = ANYHOW,
    ) -> Subscription:
        """Merge settings into a subscription. Another signature scheme rotates its secret.

        Raises:
            NotFound: the project has none with this id, made by the API that it must be.
            InvalidInput: a setting is not allowed.
            LimitReached: its secret can't be rotated now.
            Unavailable: a transform can't be compiled now.
        """
        await self._check(principal, wanted)
        return await self._change(principal, subscription_id, wanted, within)

    async def revise(
        self,
        principal: Principal,
        subscription_id: Id,
        revise: Callable[[Subscription], Settings],
    ) -> Subscription:
        """Merge settings into a subscription that depend on what it is now.

        Args:
            principal: who asks.
            subscription_id: of which.
            revise: tells what is to be set; asked again where it has changed meanwhile.

        Raises:
            Conflict: it changes all the time.
            WaypostError: as `update` does.
        """
        for _ in range(_REVISIONS):
            present = await self.get(principal, subscription_id)
            wanted = revise(present)
            await self._check(principal, wanted)
            merged = partial(
                changing.merged_if,
                same_as=present,
                merge=self._merge(principal, wanted),
            )
            try:
                return await self._alter(principal, subscription_id, merged, wanted)
            except Overtaken:
                continue
        raise Conflict("The event subscription is being changed by others.")

    async def list_slice(
        self, principal: Principal, which: SubscriptionFilter, skip: int, size: int
    ) -> tuple[list[Subscription], bool]:
        """Return some of the project's subscriptions, oldest first, and whether there are more."""
        return await self._store.read(
            lambda c: subscriptions.list_slice(c, principal.project_id, which, skip, size)
        )

    async def tallies(
        self, principal: Principal, subscription_ids: Sequence[Id]
    ) -> dict[Id, Tally]:
        """Return how each of these subscriptions of the project has fared."""
        return await self._store.read(
            lambda c: {
                one: health.read_tally(c, principal.project_id, one) for one in subscription_ids
            }
        )

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

    async def unsuspend(self, principal: Principal, subscription_id: Id) -> Subscription:
        """Go on sending to a suspended subscription: one try at first, then more and more.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._alter(principal, subscription_id, changing.unsuspended)

    async def verify(self, principal: Principal, subscription_id: Id) -> Subscription:
        """Verify the URL of a subscription anew; nothing is sent until it is.

        Raises:
            NotFound: the project has none with this id.
            Conflict: it needs no verification.
        """
        return await self._alter(principal, subscription_id, changing.unverified)

    async def delete(
        self,
        principal: Principal,
        subscription_id: Id,
        within: Within = ANYHOW,
    ) -> None:
        """Delete a subscription with its secrets; what it is owed is cancelled.

        Raises:
            NotFound: the project has none with this id, made by the API that it must be.
        """

        def first(connection: Connection) -> None:
            place = (principal.project_id, subscription_id)
            within.also(connection, subscriptions.get(connection, *place, within.api), ())

        await self.delete_all(principal, (subscription_id,), first)

    async def put_all(
        self, principal: Principal, wishes: Sequence[Wish], *writes: Write
    ) -> list[Subscription]:
        """Make or change subscriptions, and write what goes with them: all of it, or nothing.

        Raises:
            InvalidInput: a setting is not allowed.
            InvalidSetting: settings contradict each other.
            Unavailable: a transform can't be compiled now.
        """
        for wish in wishes:
            await self._check(principal, wish.wanted)
        asked = [self._alerts.ask(wish.wanted) for wish in wishes]
        made = [self._announcer.new_id() for _ in wishes]

        def write(connection: Connection) -> tuple[list[Change], Callable[[], None]]:
            follow = write_all(connection, writes)
            return [
                self._put(connection, principal.project_id, *each)
                for each in zip(wishes, asked, made, strict=True)
            ], follow

        def after(result: tuple[list[Change], Callable[[], None]]) -> None:
            for change in result[0]:
                self._follow(change)
            result[1]()

        changes, _ = await self._configuration.change(write, after)
        return [change.subscription for change in changes]

    async def delete_all(
        self, principal: Principal, subscription_ids: Sequence[Id], *writes: Write
    ) -> None:
        """Delete subscriptions, and write what goes with that: all of it, or nothing.

        Raises:
            NotFound: the project does not have one of them.
        """
        project_id = principal.project_id
        asked = self._alerts.ask(_NO_ALERTS)
        stamps = [(one, *self._ids.next_at()) for one in subscription_ids]

        def write(connection: Connection) -> tuple[list[_Gone], Callable[[], None]]:
            follow = write_all(connection, writes)
            gone = [(at[0], *self._remove(connection, principal, asked, at)) for at in stamps]
            return gone, follow

        def after(result: tuple[list[_Gone], Callable[[], None]]) -> None:
            for subscription_id, version, changed in result[0]:
                self._router.remove(version, project_id, subscription_id)
                self._alerts.follow(changed)
                self._keys.publish(subscription_id, ())
                self._deleted(project_id, subscription_id)
            result[1]()

        await self._configuration.change(write, after)

    async def was_deleted(self, principal: Principal, subscription_id: Id, api: Api) -> bool:
        """Tell whether the project had this subscription, made by `api`, and has it no more."""
        return await self._store.read(
            lambda c: subscriptions.was_deleted(c, principal.project_id, subscription_id, api)
        )

    def _remove(
        self, connection: Connection, principal: Principal, asked: Asked, at: tuple[Id, Id, int]
    ) -> tuple[int, Changed]:
        """Delete one; `at` is its id, that of the audit's record, and the present."""
        subscription_id, record_id, now_us = at
        project_id = principal.project_id
        present = subscriptions.get(connection, project_id, subscription_id)
        _, gone = self._with_alerts(connection, present, present, asked)
        subscriptions.delete(connection, project_id, subscription_id, now_us)
        blocked_keys.delete_all(connection, project_id, subscription_id)
        signing_keys.delete_all(connection, project_id, subscription_id)
        lane_states.save(connection, project_id, subscription_id, None)
        told.forget_all(connection, project_id, subscription_id)
        subject = ids.spell(ids.SUBSCRIPTION, subscription_id)
        audit.record(connection, principal, record_id, "subscription.delete", subject)
        record(connection, Kind.SUBSCRIPTION, project_id, subscription_id)
        version = projects.bump_routing(connection, project_id)
        former_routes.end(connection, present, version, now_us)
        return version, gone

    def _put(
        self, connection: Connection, project_id: Id, wish: Wish, asked: Asked, event_id: Id
    ) -> Change:
        """Make or change one; `event_id` is of the event that may tell of it, made now."""
        place, now_us = (project_id, wish.id), ids.moment(event_id)
        present = subscriptions.find(connection, *place)
        before = present or Subscription(*place, "", api=wish.api)
        defaults = projects.defaults(connection, project_id)
        merged = replace(
            self._keys.merged(before, wish.wanted, defaults),
            format_settings=wish.format_settings,
            notices=wish.notices,
            endpoint_id=wish.endpoint_id,
            changed_us=None if present is None else now_us,
        )
        settings.check_together(merged, defaults=defaults)
        after, alerts = self._with_alerts(connection, before, merged, asked)
        if present is None:
            subscriptions.insert(connection, after)
        else:
            subscriptions.update(connection, after)
        keys = wish.keys
        if keys is None:
            keys = self._keys.list_all(connection, *place)
        else:
            self._keys.put(connection, after, keys)
        record(connection, Kind.SUBSCRIPTION, *place)
        version = projects.bump_routing(connection, project_id)
        self._announcer.announce_change(connection, present or after, after, event_id, now_us)
        if present is None:
            former_routes.begin(connection, *place, version)
        elif former_routes.taken(after) != former_routes.taken(present):
            former_routes.end(connection, present, version, now_us)
        return Change(version, after, keys, alerts)

    async def _change(
        self,
        principal: Principal,
        subscription_id: Id,
        wanted: Settings,
        within: Within = ANYHOW,
    ) -> Subscription:
        merge = self._merge(principal, wanted)
        return await self._alter(principal, subscription_id, merge, wanted, within)

    def _merge(
        self, principal: Principal, wanted: Settings
    ) -> Callable[[Subscription], Subscription]:
        defaults = self._router.defaults(principal.project_id)
        return partial(self._keys.merged, wanted=wanted, defaults=defaults)

    async def _alter(
        self,
        principal: Principal,
        subscription_id: Id,
        alter: Callable[[Subscription], Subscription],
        wanted: Settings = _UNCHANGED,
        within: Within = ANYHOW,
    ) -> Subscription:
        asked = self._alerts.ask(wanted)
        new_key = None if wanted.signing is UNSET else self._keys.make(wanted.signing)
        brought_key = self._keys.brought(wanted)
        event_id, rotation_id = self._announcer.new_id(), self._announcer.new_id()
        now_us = ids.moment(event_id)

        def write(connection: Connection) -> Change:
            place = (principal.project_id, subscription_id)
            present = subscriptions.get(connection, *place, within.api)
            defaults = projects.defaults(connection, principal.project_id)
            merged, frees = settings.reordered(present, alter(present), defaults)
            altered = replace(merged, changed_us=now_us)
            changed, alerts = self._with_alerts(connection, present, altered, asked)
            settings.check_together(changed, defaults=defaults)
            subscriptions.update(connection, changed)
            if frees:
                blocked_keys.free_all(connection, *place)
            if brought_key is not None:
                keys = self._keys.put(connection, changed, (brought_key,))
            elif new_key is None or changed.signing is present.signing:
                keys = self._keys.list_all(connection, *place)
            else:
                keys = self._keys.replace(connection, changed, new_key, now_us, rotation_id)
            record(connection, Kind.SUBSCRIPTION, *place)
            version = projects.bump_routing(connection, place[0])
            if former_routes.taken(changed) != former_routes.taken(present):
                former_routes.end(connection, present, version, now_us)
            self._announcer.announce_change(connection, present, changed, event_id, now_us)
            within.also(connection, changed, keys)
            return Change(version, changed, keys, alerts)

        return (await self._configuration.change(write, self._follow)).subscription

    def _with_alerts(
        self, connection: Connection, present: Subscription, merged: Subscription, asked: Asked
    ) -> tuple[Subscription, Changed]:
        before, after = present.failure_handling, merged.failure_handling
        handling, changed = self._alerts.keep(connection, merged.project_id, before, after, asked)
        return replace(merged, failure_handling=handling), changed

    def _follow(self, change: Change) -> None:
        self._announcer.follow()
        self._alerts.follow(change.alerts)
        self._router.apply(change.version, change.subscription)
        self._keys.tell(change.subscription, change.keys)

    async def _check(self, principal: Principal, wanted: Settings) -> None:
        settings.check(wanted, self._rules)
        for index, name in enumerate(wanted.event_types or ()):
            path = f"event_types[{index}]"
            if name.startswith(SYSTEM):
                require_some(name, path)
            elif name != ALL and not name.endswith(PREFIX):
                self._catalogue.require(principal.project_id, name, path)
        if wanted.transform is not UNSET and wanted.transform is not None:
            program = transforms.read(wanted.transform)
            await self._programs.require(principal.project_id, program)
