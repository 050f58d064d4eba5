"""Socotra's document has its operations under the vendor's names."""

from unittest.mock import MagicMock

from waypost.dialects.socotra.openapi import document
from waypost.dialects.socotra.reading import DivertedHandlers, EventHandlers
from waypost.dialects.socotra.webhook_routes import WebhookHandlers

UNUSED = MagicMock()
DOCUMENT = document(
    [
        *EventHandlers(UNUSED).operations(),
        *DivertedHandlers(UNUSED, UNUSED).operations(),
        *WebhookHandlers(UNUSED, UNUSED, 1.0).operations(),
    ]
)
OPERATIONS = {
    one["operationId"]: one for path in DOCUMENT["paths"].values() for one in path.values()
}


def test_the_vendors_names_are_there() -> None:
    assert set(OPERATIONS) == {
        "fetchMultipleEvents",
        "fetchEventsForARequest",
        "fetchEvent",
        "fetchMultipleDivertedEvents",
        "fetchDivertedEvent",
        "deleteDivertedEvent",
        "resendDivertedEvent",
        "createWebhook",
        "fetchWebhooks",
        "fetchWebhook",
        "updateWebhook",
        "unsuspendWebhook",
        "deleteWebhook",
        "createToken",
    }


def test_lists_tell_their_parameters() -> None:
    names = [one["name"] for one in OPERATIONS["fetchWebhooks"]["parameters"]]
    assert names == [
        *("tenantLocator", "offset", "count", "name", "enabled", "suspended", "active"),
        *("eventTypes", "extended"),
    ]


def test_what_has_no_answer_has_none() -> None:
    assert "content" not in OPERATIONS["deleteWebhook"]["responses"]["204"]
    assert {"400", "401", "403", "404"} <= OPERATIONS["deleteWebhook"]["responses"].keys()
