"""Probes over HTTP: a test event that is sent now, and what came of it."""

from typing import Final

import msgspec

from waypost.api.deliveries import AttemptOut, DeliveryOut, attempt_out, delivery_out
from waypost.api.operation import Call, Operation
from waypost.api.replays import ExampleIn
from waypost.api.subscriptions import ONE, TAG, subscription_id
from waypost.model.project import Scope
from waypost.operations.probes import Probes

_SEND: Final = """\
An example, as `send_example` sends it, to this subscription alone. It goes before what else is
owed, under the same limits; in its turn where the order is strict, or where another process sends.
Answers when its first attempt has ended, or five seconds after the subscription's deadline: then
the attempt is still pending. What fails is tried again as everything is."""


class ProbeOut(msgspec.Struct, frozen=True):
    """What came of it; `attempt` is null where a transform has skipped the event."""

    event_token: str
    delivery: DeliveryOut
    attempt: AttemptOut | None


class ProbeRoutes:
    """The handler of test events."""

    def __init__(self, probes: Probes) -> None:
        """Take what sends them."""
        self._probes = probes

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="POST",
                path=f"{ONE}/test",
                name="test_event_subscription",
                summary="Send a test event, and see what comes of it",
                description=_SEND,
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._send,
                body=ExampleIn,
                body_optional=True,
                result=ProbeOut,
                errors=(404, 422),
            )
        ]

    async def _send(self, call: Call[None, ExampleIn]) -> ProbeOut:
        probe = await self._probes.send(call.principal, subscription_id(call), call.body.event_type)
        delivery = delivery_out(probe.delivery)
        attempt = None if probe.attempt is None else attempt_out(probe.attempt)
        return ProbeOut(delivery.event_token, delivery, attempt)
