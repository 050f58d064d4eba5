"""Convoy's trial of what an endpoint is authenticated by: whether there is a token to be had."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from waypost.clock import Clock
from waypost.dialects.convoy import authentication
from waypost.dialects.convoy.answers import ProofOut
from waypost.dialects.convoy.authentication import OAuth2In
from waypost.dialects.convoy.envelope import Answer, spelled
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.model.authentication import MASKED, OAuth2
from waypost.model.ids import Id
from waypost.model.project import Scope
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.authentication import Token
from waypost.policy.settings import Settings

PATH: Final = f"{PROJECT_PATH}/endpoints/oauth2/test"

_MICROS: Final = 1_000_000
_NOTHING: Final = "0001-01-01T00:00:00Z"
"""What Convoy shows where there is no moment."""

Probe = Callable[[Id, OAuth2], Awaitable[Token | str]]
"""Asks for a token; returns it, or why there is none."""


class ProofIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a token is asked for by."""

    oauth2: OAuth2In


class ProofRoutes:
    """The handler of the one operation."""

    def __init__(self, subscriptions: Subscriptions, probe: Probe, clock: Clock) -> None:
        """Take what says what may be asked, and what asks."""
        self._subscriptions = subscriptions
        self._probe = probe
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the row of the table."""
        return [Operation("POST", PATH, Scope.SUBSCRIPTIONS_WRITE, self.test, ProofIn)]

    async def test(self, call: Call) -> Answer[ProofOut]:
        """Ask for a token, as a delivery would, and tell what came of it: never the token."""
        body: ProofIn = call.body
        given = {"type": "oauth2", "oauth2": msgspec.to_builtins(body.oauth2)}
        wanted = authentication.native(authentication.read(given))
        self._subscriptions.check_settings(Settings(authentication=wanted))
        assert isinstance(wanted, OAuth2)  # noqa: S101 - its type was said above
        found = await self._probe(call.principal.project_id, wanted)
        said = "OAuth2 connection tested"
        if isinstance(found, str):
            data: ProofOut = {
                "success": False,
                "expires_at": _NOTHING,
                "error": found,
                "message": found,
            }
            return Answer(said, data)
        until_us = self._clock.now_us() + int(found.for_s * _MICROS)
        return Answer(
            said,
            {
                "success": True,
                "access_token": MASKED,
                "token_type": found.value.partition(b" ")[0].decode(),
                "expires_at": spelled(until_us),
                "message": "a token was given",
            },
        )
