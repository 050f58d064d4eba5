"""Webhooks: what is asked in Socotra's words is set in ours, and comes back in Socotra's."""

from typing import Any

import msgspec
import pytest

from waypost.dialects.socotra import webhooks
from waypost.dialects.socotra.shapes import RetryOut, WebhookChange, WebhookIn
from waypost.dialects.socotra.webhooks import Endpoint, Handling
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidInput
from waypost.model.failure import (
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Retry,
    Strategy,
    WhileSuspended,
)
from waypost.model.subscription import NOTHING_SET, Subscription
from waypost.policy import settings
from waypost.policy.egress import EgressRules
from waypost.policy.failure import gaps_s
from waypost.policy.failure_settings import BroughtAlertEndpoint
from waypost.policy.settings import Brought, SubscriptionRules
from waypost.policy.terms import terms_of

URL = "https://hook.example/"
RULES = SubscriptionRules(EgressRules(), frozenset({"socotra", "socotra-signed"}))
BARE = Subscription(ids.make(1, 1), ids.make(2, 2), "")


def made(**wanted: Any) -> Brought:
    body = {"name": "n", "enabled": True, "eventTypes": ["a"], "endpoint": {"url": URL}, **wanted}
    return webhooks.made(msgspec.convert(body, WebhookIn))


def kept(wanted: Brought, present: Subscription = BARE) -> Subscription:
    settings.check(wanted, RULES)
    merged = settings.merge(present, wanted)
    settings.check_together(merged)
    return merged


def changed(present: Subscription, **wanted: Any) -> Subscription:
    body = msgspec.convert(wanted, WebhookChange)
    terms = terms_of(present, NOTHING_SET)
    return kept(webhooks.changed(present, terms, body), present)


def handling_of(webhook: Subscription) -> Handling:
    return webhooks.handling_of(terms_of(webhook, NOTHING_SET))


def test_a_bare_webhook_behaves_with_indifference() -> None:
    webhook = kept(made())
    assert (webhook.api, webhook.description, webhook.format) == (Api.SOCOTRA, "n", "socotra")
    assert (webhook.insecure_tls, webhook.particulars, webhook.disabled_by) == (False, {}, None)
    handling = webhook.failure_handling
    assert handling is not None
    assert handling.triggers == ("4xx", "5xx", "timeout", "connection", "tls")
    assert handling.otherwise is Otherwise.IGNORE
    assert (handling.on_giving_up, handling.never_disable) == ((), True)
    assert terms_of(webhook, NOTHING_SET).retry_schedule_s == ()
    assert handling_of(webhook) == Handling()


def test_everything_that_is_asked_comes_back() -> None:
    wanted = made(
        enabled=False,
        endpoint={
            "url": URL,
            "headers": {"x-a": ["1", "2"], "x-b": ["3"]},
            "secureSsl": False,
            "hmacEnabled": True,
            "secret": "geheim",
            "tag": "t",
        },
        failureHandling={
            "alertEndpoint": {"url": "https://a.example/", "secret": "s", "tag": "u"},
            "divert": True,
            "suspend": True,
            "retryStrategy": {"type": "exponential", "interval": 60, "attempts": 4},
            "triggers": ["503", "timeout", "503"],
        },
    )
    assert wanted.secret == b"geheim"
    webhook = kept(wanted)
    assert webhook.headers == {"x-a": "1, 2", "x-b": "3"}
    assert (webhook.format, webhook.insecure_tls) == ("socotra-signed", True)
    assert webhooks.endpoint_of(webhook) == Endpoint(
        URL,
        {"x-a": ("1", "2"), "x-b": ("3",)},
        secure_ssl=False,
        hmac_enabled=True,
        has_secret=True,
        tag="t",
        former_url=URL,
    )
    handling = webhook.failure_handling
    assert handling is not None
    assert set(handling.on_giving_up) == {
        OnGivingUp.DIVERT,
        OnGivingUp.SUSPEND,
        OnGivingUp.ALERT,
    }
    assert handling.suspended == WhileSuspended(Pending.DIVERT, Incoming.DIVERT)
    assert handling.retry is not None
    assert (gaps_s(handling.retry), handling.retry.jitter) == ((60, 120, 240, 480), 0)
    shown = handling_of(webhook)
    assert (shown.divert, shown.suspend, shown.triggers) == (True, True, ("503", "timeout"))
    assert shown.retry == RetryOut("exponential", 60, 4)
    assert shown.alert is not None
    assert (shown.alert.tag, shown.alert.has_secret) == ("u", True)
    assert wanted.failure_handling
    (alert,) = wanted.failure_handling.alert_endpoints
    assert isinstance(alert, BroughtAlertEndpoint)
    assert (alert.key, alert.follows) == (b"s", None)


def test_without_divert_a_suspended_webhook_skips_what_comes() -> None:
    handling = kept(made(failureHandling={"suspend": True})).failure_handling
    assert handling is not None
    assert handling.suspended == WhileSuspended(Pending.KEEP, Incoming.CANCEL)


def test_a_change_leaves_alone_what_it_does_not_name() -> None:
    webhook = kept(made(failureHandling={"divert": True}))
    assert changed(webhook) == webhook
    assert changed(webhook, name=None, failureHandling=None, endpoint=None) == webhook
    assert changed(webhook, failureHandling={}) == webhook
    assert changed(webhook, endpoint={}) == webhook


def test_a_header_that_was_changed_natively_is_shown_as_it_is_sent() -> None:
    webhook = kept(made(endpoint={"url": URL, "headers": {"x-a": ["1", "2"]}}))
    other = msgspec.structs.replace(webhook, headers={"x-a": "3"})
    assert webhooks.endpoint_of(other).headers == {"x-a": ("3",)}


def test_another_secret_takes_the_tag_with_it() -> None:
    webhook = kept(made(endpoint={"url": URL, "secret": "s", "tag": "t"}))
    assert webhooks.endpoint_of(changed(webhook, endpoint={"secret": "u"})).tag is None
    with pytest.raises(InvalidInput):
        changed(webhook, endpoint={"tag": "u"})


@pytest.mark.parametrize(
    "handling, retry, triggers",
    [
        (None, RetryOut("exponential", 5, 9), webhooks.TRIGGERS),
        (FailureHandling(triggers=("tls", "3xx")), RetryOut("exponential", 5, 9), ("3xx",)),
        (FailureHandling(retry=Retry(Strategy.CONSTANT, 2, retries=3)), ("linear", 2, 3), None),
        (FailureHandling(retry=Retry(Strategy.SCHEDULE, schedule_s=())), None, None),
        (FailureHandling(retry=Retry(Strategy.SCHEDULE, schedule_s=(0.2,))), (1, 1), None),
    ],
)
def test_what_was_set_natively_is_shown_as_near_as_can_be(
    handling: FailureHandling | None, retry: Any, triggers: tuple[str, ...] | None
) -> None:
    shown = handling_of(msgspec.structs.replace(BARE, failure_handling=handling))
    if isinstance(retry, tuple):
        retry = RetryOut(*(("exponential", *retry) if len(retry) == 2 else retry))
    assert shown.retry == retry
    assert triggers is None or shown.triggers == triggers
    assert shown.divert


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("url", "endpoint.url"),
        ("headers.x", "endpoint.headers.x"),
        ("event_types[3]", "eventTypes[3]"),
        ("description", "name"),
        ("failure_handling.triggers[0]", "failureHandling.triggers[0]"),
        ("failure_handling.retry.interval_s", "failureHandling.retryStrategy.interval"),
        ("failure_handling.retry.retries", "failureHandling.retryStrategy.attempts"),
        ("failure_handling.alert_endpoints[0].url", "failureHandling.alertEndpoint.url"),
        ("headersome", "headersome"),
    ],
)
def test_a_refusal_has_their_paths(ours: str, theirs: str) -> None:
    error = webhooks.in_their_words(InvalidInput(details=[(ours, "why")]))
    assert error.details == ((theirs, "why"),)


def test_an_interval_counts_in_what_it_is_worth() -> None:
    retry = {"type": "linear", "interval": 90, "attempts": 1}
    body = {
        "name": "n",
        "enabled": True,
        "eventTypes": ["a"],
        "endpoint": {"url": URL},
        "failureHandling": {"retryStrategy": retry},
    }
    wanted = msgspec.convert(body, WebhookIn)
    webhook = kept(webhooks.made(wanted, 0.001))
    terms = terms_of(webhook, NOTHING_SET)
    assert terms.retry_schedule_s == (0.09,)
    shown = webhooks.handling_of(terms, 0.001).retry
    assert shown == RetryOut("linear", 90, 1)
    change = msgspec.convert({"failureHandling": {"divert": True}}, WebhookChange)
    again = kept(webhooks.changed(webhook, terms, change, 0.001), webhook)
    assert terms_of(again, NOTHING_SET).retry_schedule_s == (0.09,)
    with pytest.raises(InvalidInput) as refusal:
        webhooks.made(wanted, 24 * 3600.0)
    place = "failureHandling.retryStrategy.interval"
    assert refusal.value.details == ((place, "Must be at most 30"),)
