"""The public keys of what is signed by ed25519, for everybody."""

from typing import Annotated

import msgspec

from waypost.api.operation import Call, Operation
from waypost.api.shapes import subscription_named
from waypost.operations.signing_keys import PUBLISHED_MAX, SigningKeys


class JwksQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose keys."""

    event_subscription_token: Annotated[
        str | None, msgspec.Meta(description="Only the keys of this subscription.")
    ] = None


class JwksOut(msgspec.Struct, frozen=True):
    """A JSON Web Key Set (RFC 7517) of Ed25519 keys (RFC 8037)."""

    keys: list[dict[str, str]]


class JwksRoutes:
    """The handler of the one operation on public keys."""

    def __init__(self, keys: SigningKeys) -> None:
        """Take what it calls."""
        self._keys = keys

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="GET",
                path="/v1/jwks.json",
                name="get_jwks",
                summary="Get the public keys of subscriptions with the scheme v1a",
                description=f"At most {PUBLISHED_MAX} keys; name a subscription to see its own.",
                tag="Event subscriptions",
                scope=None,
                handler=self._list,
                query=JwksQuery,
                result=JwksOut,
                errors=(400,),
            )
        ]

    async def _list(self, call: Call[JwksQuery, None]) -> JwksOut:
        return JwksOut(
            self._keys.published(subscription_named(call.query.event_subscription_token))
        )
