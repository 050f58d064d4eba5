"""Stedi's own client, in every operation; run by a Python of its own, which needs nothing of ours.

Arguments: the server's URL, a key, the URL of a receiver, and the id of an event that failed.
"""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

from stedi import Config, RetryStrategyOptions, Stedi  # type: ignore[import-not-found] # it stands in an environment of its own
from stedi import models as m

UNKNOWN = "01920000-0000-7000-8000-000000000000"


async def refused(call: Any, kind: type[Exception]) -> Any:
    """Call what must be refused by the client's exception of this kind; return it."""
    try:
        await call
    except kind as error:
        return error
    raise AssertionError(kind)


async def destinations(client: Any, receiver: str) -> str:
    """Make, read, list, change and rotate; return the id of a destination that is left."""
    made = await client.create_event_destination(
        m.CreateEventDestinationInput(
            name="Mine",
            destination_url=receiver,
            event_types=["card.created"],
            description="D",
            concurrency_limit=3,
            idempotency_key="k",
        )
    )
    again = await client.create_event_destination(
        m.CreateEventDestinationInput(
            name="Mine",
            destination_url=receiver,
            event_types=["card.created"],
            description="D",
            concurrency_limit=3,
            idempotency_key="k",
        )
    )
    assert (again.id, again.signing_secret) == (made.id, made.signing_secret)
    assert made.status == m.EventDestinationsDestinationStatus.ENABLED
    assert isinstance(made.created_at, datetime)
    read = await client.get_event_destination(m.GetEventDestinationInput(destination_id=made.id))
    assert (read.name, read.description, read.concurrency_limit) == ("Mine", "D", 3)
    changed = await client.update_event_destination(
        m.UpdateEventDestinationInput(destination_id=made.id, name="Ours", event_types=["a", "b"])
    )
    assert (changed.name, changed.event_types, changed.description) == ("Ours", ["a", "b"], "D")
    listed = await client.list_event_destinations(m.ListEventDestinationsInput(event_type="a"))
    assert [one.name for one in listed.items] == ["Ours"]
    held = await client.get_event_destination_secret(
        m.GetEventDestinationSecretInput(destination_id=made.id)
    )
    assert held.signing_secret == made.signing_secret
    assert held.previous_secret_expires_at is None
    rotation = m.RotateEventDestinationSecretInput(
        destination_id=made.id, previous_secret_expiry_hours=1
    )
    rotated = await client.rotate_event_destination_secret(rotation)
    assert rotated.signing_secret != made.signing_secret
    assert rotated.previous_secret_expires_at > datetime.now(UTC)
    await refused(client.rotate_event_destination_secret(rotation), m.ConflictException)
    return str(made.id)


async def events(client: Any, failed: str) -> None:
    """Read and list."""
    found = await client.get_event_destination_event(
        m.GetEventDestinationEventInput(event_id=failed)
    )
    assert found.status == m.EventDestinationsEventStatus.FAILED
    thin = found.event_payload.value
    assert (thin.id, thin.type, thin.resource.type) == (failed, "card.created", "event")
    seen: list[str] = []
    token = None
    while True:
        page = await client.list_event_destination_events(
            m.ListEventDestinationEventsInput(
                page_size=1,
                page_token=token,
                status=[
                    m.EventDestinationsEventStatus.FAILED,
                    m.EventDestinationsEventStatus.DELIVERED,
                ],
                event_type="card.created",
                created=["gt:2020-01-01T00:00:00Z", "lt:2100-01-01T00:00:00Z"],
            )
        )
        seen += [one.id for one in page.items]
        token = page.next_page_token
        if token is None:
            break
    assert len(seen) == 3
    assert failed in seen
    one = await client.list_event_destination_events(
        m.ListEventDestinationEventsInput(event_id=failed)
    )
    assert [item.id for item in one.items] == [failed]


async def errors(client: Any, url: str, made: str) -> None:
    """Be refused in each way."""
    unknown = m.GetEventDestinationInput(destination_id=f"dst_{UNKNOWN}")
    await refused(client.get_event_destination(unknown), m.NotFoundException)
    unknown = m.GetEventDestinationEventInput(event_id=f"evt_{UNKNOWN}")
    await refused(client.get_event_destination_event(unknown), m.NotFoundException)
    bad = m.UpdateEventDestinationInput(destination_id=made, event_types=["a", "b c"])
    error = await refused(client.update_event_destination(bad), m.InvalidRequestException)
    assert [one.path for one in error.errors] == ["/eventTypes/1"]
    await client.delete_event_destination(m.DeleteEventDestinationInput(destination_id=made))
    await client.delete_event_destination(m.DeleteEventDestinationInput(destination_id=made))
    for number in range(17):
        new = m.CreateEventDestinationInput(
            name=str(number), destination_url="https://a.example/", event_types=["z"]
        )
        if number == 16:
            limit = m.EventDestinationsLimitExceededException
            await refused(client.create_event_destination(new), limit)
        else:
            await client.create_event_destination(new)
    async with Stedi(config(url, "nonsense")) as stranger:
        call = stranger.list_event_destinations(m.ListEventDestinationsInput())
        await refused(call, m.AuthenticationFailedException)


def config(url: str, key: str) -> Any:
    """Return how the client finds the server."""
    once = RetryStrategyOptions(max_attempts=1)
    return Config(api_key=key, endpoint_uri=url, retry_strategy=once)


async def main(url: str, key: str, receiver: str, failed: str) -> None:
    """Ask for everything."""
    async with Stedi(config(url, key)) as client:
        made = await destinations(client, receiver)
        await events(client, failed)
        await errors(client, url, made)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    print("all nine operations")
