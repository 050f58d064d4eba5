"""Changes of event subscriptions: what is asked of them, and what they have made."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from waypost.model.api import Api
from waypost.model.errors import Conflict
from waypost.model.ids import Id
from waypost.model.subscription import NO_NOTICES, Notices, Subscription
from waypost.operations.alerts import NOTHING_CHANGED, Changed
from waypost.operations.signing_keys import Also, Keys, nothing_else
from waypost.policy import verification
from waypost.policy.settings import Settings


class Within(msgspec.Struct, frozen=True):
    """What else holds for a change.

    Attributes:
        api: the API that the subscription is made by, or must have been; None: the native one, or
            any.
        most: how many subscriptions made by that API the project may have.
        also: done in the same transaction.
    """

    api: Api | None = None
    most: int | None = None
    also: Also = nothing_else


ANYHOW = Within()


class Change(msgspec.Struct, frozen=True):
    """What a committed change has made of a subscription."""

    version: int
    subscription: Subscription
    keys: Keys
    alerts: Changed = NOTHING_CHANGED


class Wish(msgspec.Struct, frozen=True):
    """A subscription as another surface wants it.

    Attributes:
        id: it is made under this id where it is not there yet.
        wanted: its settings.
        format_settings: what its format goes by.
        endpoint_id: the address that it shares with others.
        keys: its secrets; None leaves those that it has, of which there must be some.
        api: the API that it is made by.
        notices: who is told of it.
    """

    id: Id
    wanted: Settings
    format_settings: str | None = None
    endpoint_id: Id | None = None
    keys: Keys | None = None
    api: Api = Api.NATIVE
    notices: Notices = NO_NOTICES


class Overtaken(Exception):
    """What was to be changed has been changed by somebody else."""


def merged_if(
    present: Subscription,
    *,
    same_as: Subscription,
    merge: Callable[[Subscription], Subscription],
) -> Subscription:
    """Merge settings into a subscription that is still the same.

    Raises:
        Overtaken: it is another one by now.
    """
    if present != same_as:
        raise Overtaken
    return merge(present)


def unsuspended(present: Subscription) -> Subscription:
    """Return a subscription that is not suspended any more."""
    if present.suspension is None:
        return present
    return replace(present, suspension=None, failing_since_us=None)


def unverified(present: Subscription) -> Subscription:
    """Return a subscription whose URL is to be verified anew.

    Raises:
        Conflict: it needs no verification.
    """
    if present.verification is None:
        raise Conflict("The event subscription needs no verification.")
    return replace(present, verification=verification.again(present.verification))
