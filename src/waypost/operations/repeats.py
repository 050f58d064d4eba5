"""Repeats: a change that is asked for twice under one idempotency key is made once.

What it was answered with is kept in the transaction that makes it, and said again to whoever
repeats the request.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from waypost.clock import Clock
from waypost.model.errors import IdempotencyMismatch
from waypost.model.project import Principal
from waypost.model.subscription import Subscription
from waypost.operations.signing_keys import Also, Keys
from waypost.storage import answers
from waypost.storage.answers import Kept
from waypost.storage.connection import Connection
from waypost.storage.store import Store
from waypost.storage.vault import Vault

KEPT_US: Final = 24 * 3600 * 1_000_000
"""How long an answer is kept, microseconds."""

Answer = Callable[[Subscription, Keys], bytes]
"""Makes the answer to a change of what it has made."""

Change = Callable[[Also], Awaitable[object]]


class Request(msgspec.Struct, frozen=True):
    """A request that asks for a change.

    Attributes:
        key: its idempotency key; None where it has none.
        content: all of it that another request under the same key must have as well.
    """

    key: str | None
    content: bytes

    @property
    def fingerprint(self) -> bytes:
        """What tells it from another request."""
        return hashlib.sha256(self.content).digest()


class Repeats:
    """What was answered to whom."""

    def __init__(self, store: Store, vault: Vault, clock: Clock) -> None:
        """Take where answers are kept, and what encrypts them."""
        self._store = store
        self._vault = vault
        self._clock = clock

    async def once(
        self, principal: Principal, request: Request, answer: Answer, change: Change
    ) -> bytes:
        """Make a change, unless the same request has made it before; return the answer.

        Args:
            principal: who asks.
            request: what is asked.
            answer: makes the answer, in the transaction of the change.
            change: makes the change; what it is given has to be done in its transaction.

        Raises:
            IdempotencyMismatch: the key was used for another request.
            Conflict: a request under this key was answered meanwhile; nothing is changed.
            Exception: what `change` and `answer` raised; nothing is kept.
        """
        found = await self._find(principal, request)
        if found is not None:
            return found
        said: list[bytes] = []
        now_us = self._clock.now_us()

        def say(connection: Connection, subscription: Subscription, keys: Keys) -> None:
            said[:] = [answer(subscription, keys)]
            if request.key is not None:
                answers.keep(
                    connection,
                    self._vault,
                    principal.project_id,
                    request.key,
                    Kept(request.fingerprint, said[0]),
                    now_us=now_us,
                    expires_at_us=now_us + KEPT_US,
                )

        await change(say)
        return said[0]

    async def _find(self, principal: Principal, request: Request) -> bytes | None:
        key, now_us = request.key, self._clock.now_us()
        if key is None:
            return None
        found = await self._store.read(
            lambda c: answers.find(c, self._vault, principal.project_id, key, now_us)
        )
        if found is None:
            return None
        if found.fingerprint != request.fingerprint:
            raise IdempotencyMismatch
        return found.body
