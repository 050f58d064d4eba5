"""Dynamic events: a URL is made an endpoint with a subscription when first an event is for it."""

import base64
from typing import Final

import msgspec

from waypost.dialects.convoy import things
from waypost.dialects.convoy.drafts import DynamicIn
from waypost.dialects.convoy.projects import Home
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.things import (
    ANY_TYPE,
    Endpoint,
    Secret,
    Subscribed,
    endpoint_of,
    subscribed_of,
)
from waypost.model.errors import InvalidInput
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.record import Record
from waypost.policy.settings import Settings

SECRET_MAX: Final = 256
TYPES_MAX: Final = 500


class Dynamic:
    """Finds or makes the endpoints of dynamic events."""

    def __init__(self, shelf: Shelf) -> None:
        """Take what they are kept in."""
        self._shelf = shelf

    async def endpoint(self, caller: Principal, posted: DynamicIn, home: Home) -> Id:
        """Return the endpoint of a dynamic event, made or changed as the event says.

        Raises:
            InvalidInput: the URL, the secret or a type can't be had.
        """
        _check(posted)
        records = await self._shelf.records.all(caller, things.ENDPOINT)
        for record in records:
            if endpoint_of(record).url == posted.url:
                return await self._follow(caller, posted, record)
        if not home.config.allow_unmatched_dynamic_urls:
            raise InvalidInput("no endpoint has this url")
        return await self._make(caller, posted, home)

    async def _make(self, caller: Principal, posted: DynamicIn, home: Home) -> Id:
        self._shelf.subscriptions.check_settings(Settings(url=posted.url))
        if home.config.ssl.enforce_secure_endpoints and not posted.url.startswith("https://"):
            raise InvalidInput("only https endpoints allowed")
        endpoint = Endpoint(f"endpoint-{posted.url}"[:256], posted.url, (self._secret(posted),))
        record = self._shelf.new_endpoint(caller, endpoint)
        wanted = Subscribed(
            f"{endpoint.name[:240]}-subscription", posted.event_types or (ANY_TYPE,)
        )
        subscription = self._shelf.new_subscription(caller, record, wanted)
        await self._shelf.keep_new(caller, [(record, subscription)])
        return record.id

    async def _follow(self, caller: Principal, posted: DynamicIn, record: Record) -> Id:
        """Let an endpoint have the secret, and its subscription the types, that an event names."""
        present = endpoint_of(record)
        if posted.secret and posted.secret not in {one.value for one in present.secrets}:
            kept = msgspec.structs.replace(present, secrets=(self._secret(posted),))
            record = self._shelf.records.changed(record, msgspec.json.encode(kept))
            await self._shelf.keep_endpoint(caller, record)
        parts = await self._shelf.at(caller, record.id)
        if not parts:
            wanted = Subscribed(
                f"{present.name[:240]}-subscription", posted.event_types or (ANY_TYPE,)
            )
            subscription = self._shelf.new_subscription(caller, record, wanted)
            await self._shelf.keep_subscription(caller, record, subscription, ())
        elif posted.event_types:
            await self._take_types(caller, record, parts[0], posted.event_types)
        return record.id

    async def _take_types(
        self, caller: Principal, endpoint: Record, record: Record, types: tuple[str, ...]
    ) -> None:
        present = subscribed_of(record)
        if present.event_types == types:
            return
        kept = msgspec.structs.replace(present, event_types=types)
        changed = self._shelf.records.changed(record, msgspec.json.encode(kept))
        filters = (await self._shelf.filters(caller, record.id))[record.id]
        read = [things.filter_of(one) for one in filters]
        await self._shelf.keep_subscription(caller, endpoint, changed, read)

    def _secret(self, posted: DynamicIn) -> Secret:
        made = self._shelf.make_key()
        text = base64.urlsafe_b64encode(made.material).decode().rstrip("=")
        return Secret(made.id, posted.secret or text)


def _check(posted: DynamicIn) -> None:
    if posted.secret is not None and len(posted.secret) > SECRET_MAX:
        raise InvalidInput(details=[("secret", f"must be at most {SECRET_MAX} characters")])
    if len(posted.event_types or ()) > TYPES_MAX:
        raise InvalidInput(details=[("event_types", f"must be at most {TYPES_MAX}")])
