"""Slack and Teams: what their channels are told of an endpoint.

Each is a hidden subscription that watches the endpoint's subscriptions: an incoming webhook, which
is posted one sentence when nothing is sent any more, after hours of failures, and when it is again.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from waypost.dialects.convoy.things import Endpoint
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.event import Event
from waypost.model.flow import RateLimit
from waypost.model.ids import Id
from waypost.model.record import Record
from waypost.model.subscription import SigningKey, Subscription
from waypost.operations.alerts import SCHEDULE_S, SILENT
from waypost.policy.format import Format, Outgoing, Rendered
from waypost.policy.system_events import (
    SubscriptionDisabled,
    SubscriptionFailing,
    SubscriptionSuspended,
    name_of,
)

SLACK: Final = "convoy.slack"
TEAMS: Final = "convoy.teams"
TIMEOUT_S: Final = 10.0
RATE: Final = RateLimit(60, per_s=60, burst=1)
"""Slack takes one message a second."""

_HEAD: Final = b"content-type: application/json\r\n"
_NUMBERS: Final = {SLACK: 1, TEAMS: 2}
_HOUR_S: Final = 3_600
_WHY: Final = {
    "gone": "it answered 410: it wants nothing more",
    "failing": "it went on failing",
}


def watchers(endpoint_id: Id, to: Endpoint) -> tuple[Id, ...]:
    """Return the hidden subscriptions that watch an endpoint."""
    return tuple(_id(endpoint_id, name) for name in _urls(to))


def all_of(endpoint_id: Id) -> tuple[Id, ...]:
    """Return the hidden subscriptions that may watch an endpoint."""
    return tuple(_id(endpoint_id, name) for name in _NUMBERS)


def hooks(
    record: Record, to: Endpoint, make_key: Callable[[], SigningKey]
) -> list[tuple[Subscription, SigningKey]]:
    """Return the hidden subscriptions that are to watch an endpoint, each with a secret."""
    return [
        (
            Subscription(
                ids.alerts_of(record.project_id),
                _id(record.id, name),
                url,
                format=name,
                timeout_s=TIMEOUT_S,
                retry_schedule_s=SCHEDULE_S,
                failure_handling=SILENT,
                rate_limit=RATE,
                api=Api.CONVOY,
            ),
            make_key(),
        )
        for name, url in _urls(to).items()
    ]


def about(to: Endpoint) -> str:
    """Return what an endpoint is called in notices."""
    return f"{to.name} ({to.url})"


class Slack:
    """A message of Slack's incoming webhooks."""

    name: Final = SLACK
    signature_header: Final = "x-none"

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        text = sentence(outgoing.event)
        for raw, spelled in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(raw, spelled)
        return Rendered(_HEAD, msgspec.json.encode({"text": text}))


class Teams:
    """A message of Teams' incoming webhooks: an adaptive card."""

    name: Final = TEAMS
    signature_header: Final = "x-none"

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [{"type": "TextBlock", "text": sentence(outgoing.event), "wrap": True}],
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        body = {"type": "message", "attachments": [attachment]}
        return Rendered(_HEAD, msgspec.json.encode(body))


FORMATS: Final[dict[str, Format]] = {form.name: form for form in (Slack(), Teams())}


def sentence(event: Event) -> str:
    """Return in a sentence what happened to an endpoint."""
    fields: dict[str, Any] = msgspec.json.decode(event.payload)
    what = f"Endpoint {fields['about']}"
    kind = event.type
    if kind == name_of(SubscriptionDisabled):
        why = _WHY[fields["disabled_by"]]
        return f"{what} is inactive since {fields['timestamp']}: {why}. Nothing is sent to it."
    if kind == name_of(SubscriptionSuspended):
        return f"{what} is suspended: {fields['failure_message']}. Nothing is sent to it."
    if kind == name_of(SubscriptionFailing):
        hours = fields["failing_for_s"] // _HOUR_S
        return f"{what} has had nothing but failures for {hours} hours."
    return f"{what} is sent to again since {fields['timestamp']}."


def _urls(to: Endpoint) -> dict[str, str]:
    found = {SLACK: to.slack_webhook_url, TEAMS: to.teams_webhook_url}
    return {name: url for name, url in found.items() if url}


def _id(endpoint_id: Id, name: str) -> Id:
    return ids.apart(endpoint_id, _NUMBERS[name])
