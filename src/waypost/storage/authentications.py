"""How subscriptions authenticate, as it is kept: encrypted, bound to the subscription."""

from typing import Any, Final

import msgspec

from waypost.model.authentication import Authentication, Sealed
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.policy.authentication import masked
from waypost.storage.vault import Vault

_PLACE: Final = b"subscriptions.authentication\0"
_read: Any = msgspec.json.Decoder(Authentication).decode


def seal(vault: Vault, project_id: Id, subscription_id: Id, given: Authentication) -> Sealed:
    """Return an authentication as it is kept with a subscription."""
    text = msgspec.json.encode(given)
    return Sealed(masked(given), vault.seal(text, _place(project_id, subscription_id)))


def opened(vault: Vault, subscription: Subscription) -> Authentication | None:
    """Return how a subscription authenticates; None where it does not.

    Raises:
        ConfigInvalid: it can't be decrypted.
    """
    sealed = subscription.authentication
    if sealed is None:
        return None
    found: Authentication = _read(
        vault.open(sealed.envelope, _place(subscription.project_id, subscription.id))
    )
    return found


def _place(project_id: Id, subscription_id: Id) -> bytes:
    return _PLACE + project_id + subscription_id
