"""Socotra's permissions: a group and what may be done in it, and what they are among our scopes."""

from collections.abc import Collection
from typing import Final

from waypost.model.errors import NotPermitted
from waypost.model.project import Principal, Scope

DIVERTED_READ: Final = "diverted-events.read"
DIVERTED_LIST: Final = "diverted-events.list"
DIVERTED_RESEND: Final = "diverted-events.resend"
DIVERTED_DELETE: Final = "diverted-events.delete"
WEBHOOKS_READ: Final = "webhooks.read"
WEBHOOKS_LIST: Final = "webhooks.list"
WEBHOOKS_WRITE: Final = "webhooks.write"
EVENTS_READ: Final = "events.read"
EVENTS_LIST: Final = "events.list"
EVENTS_WRITE: Final = "events.write"

PERMISSIONS: Final = (
    *(DIVERTED_READ, DIVERTED_LIST, DIVERTED_RESEND, DIVERTED_DELETE),
    *(WEBHOOKS_READ, WEBHOOKS_LIST, WEBHOOKS_WRITE),
    *(EVENTS_READ, EVENTS_LIST, EVENTS_WRITE),
)
"""All that there are here; to write events takes the native API."""

_SCOPES: Final = {
    Scope.EVENTS_WRITE: frozenset({EVENTS_WRITE}),
    Scope.EVENTS_READ: frozenset({EVENTS_READ, EVENTS_LIST, DIVERTED_READ, DIVERTED_LIST}),
    Scope.SUBSCRIPTIONS_READ: frozenset({WEBHOOKS_READ, WEBHOOKS_LIST}),
    Scope.SUBSCRIPTIONS_WRITE: frozenset({WEBHOOKS_WRITE, DIVERTED_RESEND, DIVERTED_DELETE}),
}
"""What each scope allows here."""


def permissions_of(principal: Principal) -> frozenset[str]:
    """Return what a caller may do here: what its token says, else what its scopes allow."""
    if principal.permissions is not None:
        return principal.permissions
    return frozenset().union(*(_SCOPES.get(scope, frozenset()) for scope in principal.scopes))


def scopes_of(permissions: Collection[str]) -> frozenset[Scope]:
    """Return the scopes of a token with some permissions: those that allow it nothing more."""
    return frozenset(scope for scope, allowed in _SCOPES.items() if allowed <= set(permissions))


def require(principal: Principal, needed: Collection[str]) -> None:
    """Make sure that a caller has some permissions.

    Raises:
        NotPermitted: it lacks one; says which.
    """
    lacking = sorted(set(needed) - permissions_of(principal))
    if lacking:
        raise NotPermitted(f"The token lacks {' and '.join(lacking)}.")
