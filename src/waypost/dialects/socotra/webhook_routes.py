"""Socotra's webhooks: made, listed, changed, unsuspended, deleted."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from waypost.dialects.socotra import permissions as may
from waypost.dialects.socotra import webhooks
from waypost.dialects.socotra.routes import TENANT, Call, Operation
from waypost.dialects.socotra.shapes import (
    BacklogOut,
    DeliveriesOut,
    EndpointOut,
    HandlingOut,
    LastFailureOut,
    WebhookChange,
    WebhookIn,
    WebhookOut,
    WebhooksOut,
    WebhooksQuery,
)
from waypost.dialects.socotra.webhooks import Endpoint
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.delivery import DeliveryState
from waypost.model.errors import InvalidInput
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.subscription import SigningKey, Subscription
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import SubscriptionFilter, Subscriptions, Tally
from waypost.policy import signing, timestamp
from waypost.policy.failure import message_of
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settings import Settings
from waypost.policy.terms import Terms, terms_of

MASKED: Final = "***"
EXTENDED_MAX: Final = 100
"""How many webhooks are shown with how they fare: that is counted for each of them."""

_ALL: Final = f"{TENANT}/webhooks"
_ONE: Final = f"{_ALL}/{{webhookLocator}}"

Keys = Mapping[Id, SigningKey]


class WebhookHandlers:
    """What is asked of webhooks."""

    def __init__(self, subscriptions: Subscriptions, keys: SigningKeys, unit_s: float) -> None:
        """Take the operations on subscriptions and on their secrets.

        `unit_s` is what an interval of one between tries is worth, seconds.
        """
        self._unit_s = unit_s
        self._subscriptions = subscriptions
        self._keys = keys

    def operations(self) -> list[Operation]:
        """Return the rows of the table."""
        read, write = (may.WEBHOOKS_READ,), (may.WEBHOOKS_WRITE,)
        listing = (may.WEBHOOKS_READ, may.WEBHOOKS_LIST)
        return [
            Operation(
                "createWebhook", "POST", _ALL, write, self.create, WebhookIn, errors=(404, 409)
            ),
            Operation(
                "fetchWebhooks",
                "GET",
                f"{_ALL}/list",
                listing,
                self.list_slice,
                query=WebhooksQuery,
            ),
            Operation("fetchWebhook", "GET", _ONE, read, self.get),
            Operation(
                "updateWebhook",
                "PATCH",
                _ONE,
                write,
                self.update,
                WebhookChange,
                errors=(404, 409),
            ),
            Operation(
                "unsuspendWebhook", "PATCH", f"{_ONE}/unsuspend", write, self.unsuspend, status=204
            ),
            Operation("deleteWebhook", "DELETE", _ONE, write, self.delete, status=204),
        ]

    async def create(self, call: Call) -> WebhookOut:
        """Make a webhook."""
        wanted = webhooks.made(call.body, self._unit_s)
        try:
            made = await self._subscriptions.create(call.principal, wanted)
        except InvalidInput as error:
            raise webhooks.in_their_words(error) from error
        return await self._shown(call.principal, made)

    async def get(self, call: Call) -> WebhookOut:
        """Return a webhook."""
        found = await self._subscriptions.get(call.principal, call.locators["webhookLocator"])
        return await self._shown(call.principal, found)

    async def list_slice(self, call: Call) -> WebhooksOut:
        """List webhooks, oldest first."""
        asked: WebhooksQuery = call.query
        which = SubscriptionFilter(
            api=Api.SOCOTRA,
            description=asked.name,
            is_enabled=asked.enabled,
            is_suspended=asked.suspended,
            is_active=asked.active,
            event_types=asked.event_types,
        )
        if asked.extended and asked.count > EXTENDED_MAX:
            raise InvalidInput(details=[("count", f"Must be at most {EXTENDED_MAX} with extended")])
        found, has_more = await self._subscriptions.list_slice(
            call.principal, which, asked.offset, asked.count
        )
        keys = await self._secrets(call.principal, found)
        items = [self._shape(one, keys) for one in found]
        if asked.extended:
            tallies = await self._subscriptions.tallies(call.principal, [one.id for one in found])
            items = [
                _with_tally(item, tallies[one.id]) for item, one in zip(items, found, strict=True)
            ]
        return WebhooksOut(not has_more, items)

    async def update(self, call: Call) -> WebhookOut:
        """Change a webhook."""

        def revise(present: Subscription) -> Settings:
            return webhooks.changed(present, self._terms(present), call.body, self._unit_s)

        try:
            changed = await self._subscriptions.revise(
                call.principal, call.locators["webhookLocator"], revise
            )
        except InvalidInput as error:
            raise webhooks.in_their_words(error) from error
        return await self._shown(call.principal, changed)

    async def unsuspend(self, call: Call) -> None:
        """Send to a webhook again."""
        await self._subscriptions.unsuspend(call.principal, call.locators["webhookLocator"])

    async def delete(self, call: Call) -> None:
        """Delete a webhook."""
        await self._subscriptions.delete(call.principal, call.locators["webhookLocator"])

    async def _shown(self, principal: Principal, webhook: Subscription) -> WebhookOut:
        return self._shape(webhook, await self._secrets(principal, [webhook]))

    async def _secrets(self, principal: Principal, found: Iterable[Subscription]) -> Keys | None:
        """Return the secrets of webhooks and of their alert endpoints; None for who may not see."""
        if may.WEBHOOKS_WRITE not in may.permissions_of(principal):
            return None
        wanted: list[Id] = []
        for one in found:
            wanted.append(one.id)
            wanted += [alert.id for alert in self._terms(one).failure_handling.alert_endpoints]
        return await self._keys.present(principal, wanted)

    def _terms(self, webhook: Subscription) -> Terms:
        return terms_of(webhook, self._subscriptions.defaults(webhook.project_id))

    def _shape(self, webhook: Subscription, keys: Keys | None) -> WebhookOut:
        terms = self._terms(webhook)
        handling = webhooks.handling_of(terms, self._unit_s)
        alert, alerts = handling.alert, terms.failure_handling.alert_endpoints
        suspension = webhook.suspension
        return WebhookOut(
            locator=ids.spell_ulid(webhook.id),
            name=webhook.description,
            enabled=webhook.disabled_by is None,
            suspended=suspension is not None,
            suspended_at=None if suspension is None else timestamp.spell(suspension.since_us),
            event_types=webhook.event_types or (),
            endpoint=_endpoint_out(webhooks.endpoint_of(webhook), webhook.id, keys),
            failure_handling=HandlingOut(
                alert_endpoint=None if alert is None else _endpoint_out(alert, alerts[0].id, keys),
                divert=handling.divert,
                retry_strategy=handling.retry,
                suspend=handling.suspend,
                triggers=handling.triggers,
            ),
        )


def _endpoint_out(endpoint: Endpoint, endpoint_id: Id, keys: Keys | None) -> EndpointOut:
    return EndpointOut(
        url=endpoint.url,
        headers=dict(endpoint.headers)
        if keys is not None
        else dict.fromkeys(endpoint.headers, (MASKED,)),
        secure_ssl=endpoint.secure_ssl,
        hmac_enabled=endpoint.hmac_enabled,
        secret=_secret(endpoint, endpoint_id, keys),
        tag=endpoint.tag,
    )


def _secret(endpoint: Endpoint, endpoint_id: Id, keys: Keys | None) -> str | None:
    if not endpoint.has_secret and not endpoint.hmac_enabled:
        return None
    key = None if keys is None else keys.get(endpoint_id)
    if key is None:
        return MASKED
    try:
        return key.material.decode()
    except UnicodeDecodeError:
        # One that the native API has made.
        return signing.spell_secret(key)


def _with_tally(webhook: WebhookOut, tally: Tally) -> WebhookOut:
    ended, last = tally.ended, tally.last_failure
    oldest = tally.backlog.oldest
    return msgspec.structs.replace(
        webhook,
        deliveries=DeliveriesOut(
            delivered=ended.get(DeliveryState.DELIVERED, 0),
            failed=ended.get(DeliveryState.FAILED, 0),
            cancelled=ended.get(DeliveryState.CANCELLED, 0),
            diverted=tally.diverted,
        ),
        last_failure=None
        if last is None
        else LastFailureOut(
            event_locator=ids.spell_ulid(last.event_id),
            failure_message=message_of(
                Outcome(OutcomeKind.FAILED, last.status_code, last.response)
            ),
            failure_timestamp=timestamp.spell(ids.moment(last.id)),
        ),
        backlog=BacklogOut(
            size=tally.backlog.size,
            exact=tally.backlog.exact,
            oldest_timestamp=None if oldest is None else timestamp.spell(ids.moment(oldest)),
        ),
    )
