"""The dialects: what each brings, made of the operations that all surfaces share."""

from typing import Final, Protocol

from starlette.routing import Route

from waypost.dialects.socotra import formats as socotra
from waypost.dialects.socotra.reading import DivertedHandlers, EventHandlers
from waypost.dialects.socotra.routes import SocotraRoutes
from waypost.dialects.socotra.tokens import Tokens
from waypost.dialects.socotra.webhook_routes import WebhookHandlers
from waypost.operations.access import Access
from waypost.operations.diverted import Diverted
from waypost.operations.events import Events
from waypost.operations.keys import Keys
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.format import NATIVE_FORMATS, Format
from waypost.web.errors import Surfaces

FORMATS: Final[dict[str, Format]] = {**NATIVE_FORMATS, **socotra.FORMATS}
"""Every delivery format, by name."""


class Shared(Protocol):
    """What every dialect is served by."""

    access: Access
    surfaces: Surfaces
    signing_keys: SigningKeys


def socotra_routes(
    shared: Shared,
    events: Events,
    diverted: Diverted,
    subscriptions: Subscriptions,
    keys: Keys,
    unit_s: float,
) -> list[Route]:
    """Return the routes of Socotra's API; `unit_s` is what its retry interval counts in."""
    access, surfaces = shared.access, shared.surfaces
    operations = [
        *EventHandlers(events).operations(),
        *DivertedHandlers(diverted, subscriptions).operations(),
        *WebhookHandlers(subscriptions, shared.signing_keys, unit_s).operations(),
    ]
    tokens = Tokens(access, keys, surfaces)
    return [tokens.route(), *SocotraRoutes(access, surfaces).routes(operations)]
