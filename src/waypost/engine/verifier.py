"""The verifier: asks whoever answers at a URL whether it wants what is to be sent there.

What is to be verified is read from the database: a verification that a crash has broken off is
begun again. A subscription is asked once; whether it is verified or has failed, it stays so until
somebody asks for it anew, or sets another URL. One process does it for all.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from msgspec.structs import replace

from waypost.clock import Clock, Entropy
from waypost.engine.configuration import Configuration
from waypost.engine.job import Job, log_failed
from waypost.engine.router import Router
from waypost.engine.sender import Address
from waypost.model.delivery import Timings
from waypost.model.errors import Unavailable
from waypost.model.exchange import Exchange, FailureKind, TransportFailure
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy import verification
from waypost.storage import configuration, projects, subscriptions
from waypost.storage.configuration import Kind
from waypost.storage.connection import Connection

_log = structlog.get_logger(__name__)

AT_ONCE: Final = 64
"""How many are asked at once."""

EVERY_S: Final = 30.0
"""How often it is looked for what could not be asked, or not be written down."""

_SECRET_BITS: Final = 192


class Verifier:
    """Asks. For the loop's thread alone."""

    def __init__(
        self,
        changes: Configuration,
        router: Router,
        address: Callable[[Subscription], Address],
        changed: Callable[[Subscription], None],
        clock: Clock,
        entropy: Entropy,
        origin: str | None = None,
    ) -> None:
        """Take what it works with.

        Args:
            changes: what changes of subscriptions go through.
            router: told of what has changed.
            address: tells where and how a subscription is sent to.
            changed: told of what has changed.
            clock: of the database.
            entropy: makes challenges that can't be guessed.
            origin: the name by which this server introduces itself.
        """
        self._changes = changes
        self._router = router
        self._address = address
        self._changed = changed
        self._clock = clock
        self._entropy = entropy
        self._origin = origin
        self._asked: dict[Id, asyncio.Task[None]] = {}
        self._ended: set[Id] = set()
        self.job = Job("verifier", self.run_once, every_s=EVERY_S)

    def look(self, subscription: Subscription) -> None:
        """Take note of a subscription as it is now: it may want to be verified."""
        known = subscription.verification
        if known is not None and known.state is VerificationState.PENDING:
            self.job.wake()

    async def run_once(self) -> bool:
        """Begin with what is pending, as far as there is room; False: the rest comes by itself."""
        # Those that are being asked are pending as well; so are, to a read that began before, those
        # of which it is known by the end of it.
        self._ended.clear()
        found = await self._changes.store.read(
            partial(subscriptions.list_unverified, limit=2 * AT_ONCE)
        )
        loop = asyncio.get_running_loop()
        for subscription in found:
            if len(self._asked) >= AT_ONCE:
                break
            if subscription.id not in self._asked and subscription.id not in self._ended:
                self._asked[subscription.id] = loop.create_task(self._verify(subscription))
        return False

    async def stop(self) -> None:
        """Break off; what is pending stays so."""
        await self.job.stop()
        tasks = tuple(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _verify(self, subscription: Subscription) -> None:
        known = subscription.verification
        try:
            if known is not None:
                await self._conclude(subscription, await self._ask(subscription, known))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look asks again
            log_failed("verification_failed", error, subscription=subscription.id.hex())
        else:
            self.job.wake()  # there is room for another one
        finally:
            del self._asked[subscription.id]
            self._ended.add(subscription.id)

    async def _ask(self, subscription: Subscription, known: Verification) -> Verification:
        address = self._address(subscription)
        secret = f"{self._entropy.bits(_SECRET_BITS):048x}"
        if known.mode is VerificationMode.CLOUDEVENTS:
            head, body = b"OPTIONS" + address.start.removeprefix(b"POST") + b"\r\n", b""
        elif not address.keys:
            raise Unavailable  # it is so new that its keys are not known here
        else:
            now_s = self._clock.now_us() // 1_000_000
            head, body = verification.challenge(secret, address.keys, now_s)
            head = address.start + head
        exchange = await _exchange(address, head, body)
        return verification.judge(known, exchange, secret, self._origin, self._clock.now_us())

    async def _conclude(self, subscription: Subscription, judged: Verification) -> None:
        place = (subscription.project_id, subscription.id)

        def write(connection: Connection) -> tuple[int, Subscription] | None:
            present = subscriptions.find(connection, *place)
            asked = (subscription.url, subscription.verification)
            if present is None or (present.url, present.verification) != asked:
                return None  # it was changed meanwhile, and is asked anew
            found = replace(present, verification=judged)
            subscriptions.update(connection, found)
            configuration.record(connection, Kind.SUBSCRIPTION, *place)
            return projects.bump_routing(connection, place[0]), found

        def after(result: tuple[int, Subscription] | None) -> None:
            if result is not None:
                self._router.apply(*result)
                self._changed(result[1])

        await self._changes.change(write, after)
        _log.info(
            "subscription_verified",
            subscription=subscription.id.hex(),
            state=judged.state.value,
            reason=judged.reason,
        )


async def _exchange(address: Address, head: bytes, body: bytes) -> Exchange:
    """Send one request, and return what came back."""
    if address.post is None:
        return TransportFailure(FailureKind.DENIED, address.refusal or "", Timings())
    answer: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()

    def done(exchange: Exchange) -> None:
        if not answer.done():
            answer.set_result(exchange)

    timeout_s = min(address.timeout_s, verification.TIMEOUT_S)
    call = address.post(head, body, timeout_s, done)
    try:
        return await answer
    finally:
        call.abort()
