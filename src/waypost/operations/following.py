"""What follows the changes that other processes have made, kind by kind.

Each class reads what has changed as the database has it now, and applies it to what is in memory by
the calls that a change made here ends in.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from waypost.engine.follower import Place
from waypost.engine.router import Router
from waypost.model.ids import Id
from waypost.model.project import ApiKey, Project
from waypost.model.subscription import Subscription
from waypost.operations.access import Access
from waypost.operations.event_types import Catalogue
from waypost.operations.signing_keys import Keys, SigningKeys
from waypost.storage import event_types, keys, projects, subscriptions
from waypost.storage.connection import Connection


class FoundSubscriptions(msgspec.Struct, frozen=True):
    """Subscriptions as they are now.

    Attributes:
        versions: of the routing of their projects.
        present: with their signing keys, newest first.
        gone: those of which it was asked that are no more.
        is_all: there are no others.
    """

    versions: Mapping[Id, int]
    present: list[tuple[Subscription, Keys]]
    gone: list[Place]
    is_all: bool = False


class SubscriptionMemory:
    """The routing, and the subscriptions and signing keys that are sent by."""

    def __init__(
        self, router: Router, signing_keys: SigningKeys, deleted: Callable[[Id, Id], None]
    ) -> None:
        """Take what follows; `deleted` is told of the project and id of a deleted one."""
        self._router = router
        self._keys = signing_keys
        self._deleted = deleted

    def read(self, connection: Connection, places: Sequence[Place] | None) -> FoundSubscriptions:
        """Read subscriptions with their keys."""
        if places is None:
            own = self._keys.load_all(connection)
            return FoundSubscriptions(
                projects.routing_versions(connection),
                [(one, own.get(one.id, ())) for one in subscriptions.load_all(connection)],
                [],
                is_all=True,
            )
        found = FoundSubscriptions({}, [], [])
        versions = {
            project_id: projects.routing_version(connection, project_id)
            for project_id in dict.fromkeys(project_id for project_id, _ in places)
        }
        for place in places:
            present = subscriptions.find(connection, *place)
            if present is None:
                found.gone.append(place)
            else:
                found.present.append((present, self._keys.list_all(connection, *place)))
        return msgspec.structs.replace(found, versions=versions)

    def apply(self, found: FoundSubscriptions) -> None:
        """Route, sign and address by them from now on."""
        gone = list(found.gone)
        if found.is_all:
            known = {(one.project_id, one.id) for one in self._router.list_all()}
            gone += known - {(one.project_id, one.id) for one, _ in found.present}
        for project_id, subscription_id in gone:
            # A database that went back in time may not even know the project.
            version = found.versions.get(project_id, 0)
            self._router.remove(version, project_id, subscription_id)
            self._keys.publish(subscription_id, ())
            self._deleted(project_id, subscription_id)
        for subscription, own in found.present:
            self._router.apply(found.versions[subscription.project_id], subscription)
            self._keys.tell(subscription, own)
        for project_id, version in found.versions.items():
            self._router.routes(project_id).version = version


class FoundProjects(msgspec.Struct, frozen=True):
    """Projects as they are now, and those that are no more."""

    present: list[Project]
    gone: list[Id]


class ProjectMemory:
    """The projects that callers may name, and what is kept in memory of each."""

    def __init__(self, access: Access, changed: Callable[[Project], None]) -> None:
        """Take what follows; `changed` is told of each as it is now."""
        self._access = access
        self._changed = changed

    def read(self, connection: Connection, places: Sequence[Place] | None) -> FoundProjects:
        """Read projects."""
        if places is None:
            present = projects.list_all(connection)
            known = {project.id for project in present}
            versions = projects.routing_versions(connection)
            return FoundProjects(present, [one for one in versions if one not in known])
        found = {project_id: projects.find(connection, project_id) for project_id, _ in places}
        return FoundProjects(
            [project for project in found.values() if project is not None],
            [project_id for project_id, project in found.items() if project is None],
        )

    def apply(self, found: FoundProjects) -> None:
        """Let callers name them, and those that are gone not; their keys are good for nothing."""
        for project_id in found.gone:
            self._access.remove_project(project_id)
        for project in found.present:
            self._access.add_project(project.id)
            self._changed(project)


class KeyMemory:
    """The keys by which callers are known."""

    def __init__(self, access: Access) -> None:
        """Take what follows."""
        self._access = access

    def read(
        self, connection: Connection, places: Sequence[Place] | None
    ) -> list[tuple[bytes, ApiKey]]:
        """Read keys with their digests."""
        if places is None:
            return keys.list_all(connection)
        found = (keys.find(connection, *place) for place in places)
        return [one for one in found if one is not None]

    def apply(self, found: list[tuple[bytes, ApiKey]]) -> None:
        """Let them in, or not any more."""
        for digest, key in found:
            self._access.add(digest, key)


class CatalogueMemory:
    """The event types that strict projects take."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Take what follows."""
        self._catalogue = catalogue

    def read(
        self, connection: Connection, places: Sequence[Place] | None
    ) -> Mapping[Id, frozenset[str]]:
        """Read the names in catalogues; there are none in one that was emptied."""
        if places is None:
            named = event_types.load_names(connection)
            every = projects.routing_versions(connection)
            return {project_id: named.get(project_id, frozenset()) for project_id in every}
        return {
            project_id: frozenset(one.name for one in event_types.list_all(connection, project_id))
            for project_id, _ in places
        }

    def apply(self, found: Mapping[Id, frozenset[str]]) -> None:
        """Take them in place of those there were."""
        for project_id, names in found.items():
            self._catalogue.put(project_id, names)
