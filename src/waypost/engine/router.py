"""The router: the compiled subscriptions of every project, in memory, and the projects' defaults.

Changed only from the completion of the commit that changed the database, on the loop: what it
holds is never older than an answer that anybody has got.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from waypost.engine.job import Job
from waypost.model.flow import LaneState
from waypost.model.ids import Id
from waypost.model.subscription import NOTHING_SET, Inheritable, Ordering, Subscription
from waypost.policy.routing import Routes
from waypost.policy.terms import terms_of

_AT_ONCE: Final = 20
"""How many filters are compiled without a pause; about a millisecond."""


class Router:
    """Finds who wants an event.

    Attributes:
        job: compiles filters behind a start.
        lane_states: how lanes fared that this process is to go on with, by subscription.
    """

    def __init__(self) -> None:
        """Start with no project."""
        self._projects: dict[Id, Routes] = {}
        self._defaults: dict[Id, Inheritable] = {}
        self._reordered: set[Id] = set()
        self._cold: list[Routes] = []
        self.lane_states: dict[Id, LaneState] = {}
        self.job = Job("filters", self.run_once)

    def load(self, versions: Mapping[Id, int], subscriptions: Iterable[Subscription]) -> None:
        """Take everything that the database holds, at start."""
        self._projects = {project: Routes(version) for project, version in versions.items()}
        for project_id, defaults in self._defaults.items():
            self.routes(project_id).order_by(terms_of(NOTHING_SET, defaults).ordering)
        for subscription in subscriptions:
            self.routes(subscription.project_id).put(subscription)
        self._cold = list(self._projects.values())

    async def run_once(self) -> bool:
        """Compile some filters ahead of the first events after a start; False: there are no more.

        An event that comes before them has those compiled that are asked about it.
        """
        while self._cold:
            if self._cold[-1].compile_some(_AT_ONCE):
                await asyncio.sleep(0)
                return True
            self._cold.pop()
        return False

    def routes(self, project_id: Id) -> Routes:
        """Return a project's routes; an unknown project has none, at the first version."""
        found = self._projects.get(project_id)
        if found is None:
            found = self._projects[project_id] = Routes(1)
        return found

    def apply(self, version: int, subscription: Subscription) -> None:
        """Take a new or changed subscription; its project's routing now has this version."""
        routes = self.routes(subscription.project_id)
        routes.put(subscription)
        routes.version = version

    def refresh(self, subscription: Subscription) -> None:
        """Take what has changed of a subscription without changing who hears of what."""
        self.routes(subscription.project_id).put(subscription)

    def fare(self, failing_since_us: Mapping[Id, int], lane_states: Mapping[Id, LaneState]) -> None:
        """Take how subscriptions fared that another process may have sent to.

        Args:
            failing_since_us: since when they have had nothing but failures, of those that have.
            lane_states: how their lanes were.
        """
        self.lane_states = dict(lane_states)
        for subscription in self.list_all():
            since_us = failing_since_us.get(subscription.id)
            if subscription.failing_since_us != since_us:
                self.refresh(replace(subscription, failing_since_us=since_us))

    def remove(self, version: int, project_id: Id, subscription_id: Id) -> None:
        """Forget a deleted subscription; its project's routing now has this version."""
        routes = self.routes(project_id)
        routes.drop(subscription_id)
        routes.version = version

    def set_defaults(self, project_id: Id, defaults: Inheritable, version: int) -> bool:
        """Take a project's defaults; tell whether they are others than before.

        `version`: of its routing, which has changed where the order of events has.
        """
        present = self._defaults.get(project_id, NOTHING_SET)
        before = terms_of(NOTHING_SET, present).ordering
        ordering = terms_of(NOTHING_SET, defaults).ordering
        if ordering is not before:
            routes = self.routes(project_id)
            routes.order_by(ordering)
            routes.version = version
            if before is not Ordering.NONE:
                self._reordered.add(project_id)
        if defaults == NOTHING_SET:
            self._defaults.pop(project_id, None)
        else:
            self._defaults[project_id] = defaults
        return defaults != present

    def defaults(self, project_id: Id) -> Inheritable:
        """Return what a project's subscriptions go by where they set nothing."""
        return self._defaults.get(project_id, NOTHING_SET)

    def unparks(self, subscription: Subscription) -> bool:
        """Tell whether some of what a subscription is owed may be parked by an order of before."""
        by_default = subscription.ordering is None and subscription.project_id in self._reordered
        return subscription.unparking or by_default

    def list_all(self) -> list[Subscription]:
        """Return every subscription of every project."""
        return [found for routes in self._projects.values() for found in routes]

    def find(self, project_id: Id, subscription_id: Id) -> Subscription | None:
        """Return a subscription as it is now, or None."""
        routes = self._projects.get(project_id)
        return None if routes is None else routes.find(subscription_id)
