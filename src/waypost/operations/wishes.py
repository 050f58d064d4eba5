"""What is wished for subscriptions, and what has become of it."""

import msgspec

from waypost.model.api import Api
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.operations.alerts import NOTHING_CHANGED, Changed
from waypost.operations.signing_keys import Keys
from waypost.policy.settings import Settings


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
    """

    id: Id
    wanted: Settings
    format_settings: str | None = None
    endpoint_id: Id | None = None
    keys: Keys | None = None
    api: Api = Api.NATIVE
