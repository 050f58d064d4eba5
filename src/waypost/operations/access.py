"""Access: who is calling, what they may do, and how often.

Every key of every project is held in memory under the digest of its secret, so that asking costs
one hash and one look-up. What changes a key changes it here right after its commit. Where another
process may have changed one, nobody is let in while that can't be known.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

from waypost.clock import Clock
from waypost.model import ids
from waypost.model.errors import (
    NotAuthenticated,
    NotFound,
    NotPermitted,
    TooManyRequests,
    Unavailable,
)
from waypost.model.project import ApiKey, Principal, Scope
from waypost.policy.credentials import digest
from waypost.policy.rate import FULL, Allowance, spend

NO_KEY: Final = "Please provide API key in Authorization header"
BAD_FORM: Final = "Please provide API key in the form Authorization: [api-key]"
UNKNOWN_KEY: Final = "Could not find API key"
INACTIVE_KEY: Final = "API key is not active"

BOOTSTRAP_ID: Final = ids.FIRST
"""The id of the admin key that the configuration gives: it has no row in the database."""
BOOTSTRAP_NAME: Final = "bootstrap"
_ALL: Final = frozenset(Scope)


class AccessConfig(msgspec.Struct, frozen=True):
    """How often a key may ask, per process.

    Attributes:
        reads: for GET requests.
        writes: for everything else; a batch of events is one request.
    """

    reads: Allowance = Allowance(per_s=1_000, burst=2_000)
    writes: Allowance = Allowance(per_s=25_000, burst=50_000)


class _Holder:
    """A key in memory, and what is left of its allowances."""

    __slots__ = ("expires_at_us", "principal", "reads_full_at", "revoked", "writes_full_at")

    def __init__(self, key: ApiKey) -> None:
        self.principal = Principal(
            key.id,
            key.name,
            key.project_id,
            _ALL if Scope.ADMIN in key.scopes else key.scopes,
            key.permissions,
            key.tenants,
        )
        self.expires_at_us = key.expires_at_us
        self.revoked = key.revoked_at_us is not None
        self.reads_full_at = FULL
        self.writes_full_at = FULL


def digest_of(authorization: bytes | None) -> bytes:
    """Return the digest of the key in the value of an `Authorization` header.

    Raises:
        NotAuthenticated: there is none in it.
    """
    if not authorization:
        raise NotAuthenticated(NO_KEY)
    key = authorization
    if key[:7].lower() == b"bearer ":
        key = key[7:].strip()
    if not key or b" " in key:
        raise NotAuthenticated(BAD_FORM)
    return digest(key)


class Access:
    """Tells who calls. For the event loop's thread alone; none of it waits for anything.

    Attributes:
        confirmed_until: nobody is let in later, by the monotonic clock in seconds.
    """

    def __init__(self, clock: Clock, config: AccessConfig) -> None:
        """Start with no key: nobody may do anything."""
        self._clock = clock
        self._config = config
        self._by_digest: dict[bytes, _Holder] = {}
        self._by_id: dict[ids.Id, _Holder] = {}
        self._projects: set[ids.Id] = set()
        self.confirmed_until = math.inf

    def load(self, projects: Iterable[ids.Id], keys: Iterable[tuple[bytes, ApiKey]]) -> None:
        """Take everything that the database holds: projects, and keys by digest.

        Other keys stay as they are: no key that was ever good is deleted.
        """
        self._projects = set(projects)
        for key_digest, key in keys:
            self.add(key_digest, key)

    def bootstrap(self, admin_key: str, project_id: ids.Id) -> None:
        """Take the admin key of the configuration; its default project is `project_id`."""
        key = ApiKey(BOOTSTRAP_ID, project_id, BOOTSTRAP_NAME, frozenset({Scope.ADMIN}))
        self.add(digest(admin_key.encode()), key)

    def add(self, key_digest: bytes, key: ApiKey) -> None:
        """Take a key, new or changed; what is left of its allowances stays."""
        holder = _Holder(key)
        known = self._by_id.get(key.id)
        if known is not None:
            holder.reads_full_at, holder.writes_full_at = known.reads_full_at, known.writes_full_at
        self._by_digest[key_digest] = self._by_id[key.id] = holder

    def revoke(self, key_id: ids.Id) -> None:
        """Let a key be good for nothing from now on."""
        holder = self._by_id.get(key_id)
        if holder is not None:
            holder.revoked = True

    def add_project(self, project_id: ids.Id) -> None:
        """Take a new project."""
        self._projects.add(project_id)

    def remove_project(self, project_id: ids.Id) -> None:
        """Forget a deleted project, and let its keys be good for nothing."""
        self._projects.discard(project_id)
        for holder in self._by_id.values():
            if holder.principal.project_id == project_id:
                holder.revoked = True

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Tell who calls, in the key's own project.

        Args:
            authorization: the value of the header of that name: `<key>` or `Bearer <key>`.

        Raises:
            NotAuthenticated: no key, or not a good one; in the words of lithic's API.
            Unavailable: it can't be known whether the key is still good.
        """
        return self.recognise(digest_of(authorization))

    def recognise(self, key_digest: bytes) -> Principal:
        """Tell whose key it is that has this digest, as `authenticate` does.

        Raises:
            NotAuthenticated: nobody's, or not a good one.
            Unavailable: it can't be known whether the key is still good.
        """
        if self._clock.monotonic() > self.confirmed_until:
            raise Unavailable("the database does not answer")
        holder = self._by_digest.get(key_digest)
        if holder is None:
            raise NotAuthenticated(UNKNOWN_KEY)
        expires = holder.expires_at_us
        if holder.revoked or (expires is not None and expires <= self._clock.now_us()):
            raise NotAuthenticated(INACTIVE_KEY)
        return holder.principal

    def spend(self, principal: Principal, *, reads: bool) -> int:
        """Count one request against the key's allowance; return how many are left.

        Raises:
            TooManyRequests: none was left.
        """
        holder = self._by_id[principal.key_id]
        now = self._clock.monotonic()
        if reads:
            spent = spend(self._config.reads, holder.reads_full_at, now)
            holder.reads_full_at = spent.full_at
        else:
            spent = spend(self._config.writes, holder.writes_full_at, now)
            holder.writes_full_at = spent.full_at
        if spent.wait_s:
            raise TooManyRequests(retry_after_s=spent.wait_s)
        return spent.remaining

    def admit(self, project_id: ids.Id, full_at: float) -> float:
        """Let in a sender that needs no key, and count its request as a write.

        Args:
            project_id: where to.
            full_at: what is left of its own allowance, as `waypost.policy.rate` has it.

        Returns:
            What is left of it from now on.

        Raises:
            NotFound: there is no such project (any more).
            Unavailable: it can't be known whether what is in memory still holds.
            TooManyRequests: nothing was left of the allowance.
        """
        now = self._clock.monotonic()
        if now > self.confirmed_until:
            raise Unavailable("the database does not answer")
        if project_id not in self._projects:
            raise NotFound(ids.KINDS[ids.PROJECT])
        spent = spend(self._config.writes, full_at, now)
        if spent.wait_s:
            raise TooManyRequests(retry_after_s=spent.wait_s)
        return spent.full_at

    def authorize(self, principal: Principal, scope: Scope, project: bytes | None) -> Principal:
        """Make sure that a caller may do what it asks for; return it in the project it names.

        Args:
            principal: who calls.
            scope: what the call needs.
            project: the value of the header `waypost-project`: an admin key may name any project,
                another key only its own.

        Raises:
            NotPermitted: the key lacks the scope.
            NotFound: the project that is named is not there, or not the key's.
        """
        if scope not in principal.scopes:
            raise NotPermitted(f"The API key lacks the scope {scope.value}.")
        if project is None:
            return principal
        return self.enter(principal, ids.read(ids.PROJECT, project.decode("latin-1")))

    def knows(self, project_id: ids.Id) -> bool:
        """Tell whether there is such a project."""
        return project_id in self._projects

    def enter(self, principal: Principal, project_id: ids.Id) -> Principal:
        """Return a caller in the project that it names.

        Raises:
            NotFound: the project is not there, or not the key's.
        """
        if project_id == principal.project_id:
            return principal
        holds = Scope.ADMIN in principal.scopes or project_id in principal.tenants
        if not holds or project_id not in self._projects:
            raise NotFound(ids.KINDS[ids.PROJECT])
        return msgspec.structs.replace(principal, project_id=project_id)
