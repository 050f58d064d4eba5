"""Slack and Teams: who is told, in which form, and in which words."""

from typing import Any

import msgspec
import pytest

from waypost.dialects.convoy import chat, things
from waypost.dialects.convoy.chat import Slack, Teams
from waypost.dialects.convoy.things import Endpoint
from waypost.model import ids
from waypost.model.event import NO_ATTRIBUTES, Event
from waypost.model.record import Record
from waypost.model.subscription import Signing, SigningKey
from waypost.policy.format import Outgoing
from waypost.policy.system_events import system_types

PROJECT, ENDPOINT = ids.make(1, 1), ids.make(2, 2)
KEY = SigningKey(ids.make(9, 9), Signing.HMAC, b"k")


def outgoing(name: str, about: str = "Shop (https://x)", **more: Any) -> Outgoing:
    example = next(one.example for one in system_types() if one.name == f"waypost.{name}")
    payload = msgspec.json.encode({**msgspec.json.decode(example), "about": about, **more})
    event = Event(ids.alerts_of(PROJECT), ENDPOINT, f"waypost.{name}", payload, NO_ATTRIBUTES, 1)
    return Outgoing(event, "evt_1", ENDPOINT, ENDPOINT, 1, 1, (KEY,))


def test_those_channels_are_told_that_are_named() -> None:
    to = Endpoint("e", "http://x", (), slack_webhook_url="http://s", teams_webhook_url="http://t")
    record = Record(PROJECT, things.ENDPOINT, ENDPOINT, b"")
    made = chat.hooks(record, to, lambda: KEY)
    assert [(one.url, one.format) for one, _ in made] == [
        ("http://s", chat.SLACK),
        ("http://t", chat.TEAMS),
    ]
    assert {one.project_id for one, _ in made} == {ids.alerts_of(PROJECT)}
    assert tuple(one.id for one, _ in made) == chat.watchers(ENDPOINT, to) == chat.all_of(ENDPOINT)
    assert chat.hooks(record, Endpoint("e", "http://x", ()), lambda: KEY) == []


@pytest.mark.parametrize(
    "name, more, said",
    [
        ("subscription.disabled", {"disabled_by": "gone"}, " is inactive since 2026-01-31T23"),
        ("subscription.disabled", {"disabled_by": "failing"}, ": it went on failing. Nothing is"),
        ("subscription.suspended", {}, " is suspended: status 503: down for repairs. Nothing is"),
        ("subscription.failing", {}, " has had nothing but failures for 2 hours."),
        ("subscription.recovered", {}, " is sent to again since 2026-01-31T23:59:59.000001Z."),
    ],
)
def test_a_channel_reads_a_sentence(name: str, more: dict[str, Any], said: str) -> None:
    sentence = chat.sentence(outgoing(name, **more).event)
    assert sentence.startswith("Endpoint Shop (https://x) ")
    assert said in sentence


def test_each_has_the_form_of_its_product() -> None:
    told = outgoing("subscription.failing", "<b>&")
    text = msgspec.json.decode(Slack().render(told).body)["text"]
    assert text.startswith("Endpoint &lt;b&gt;&amp; has had")
    message = msgspec.json.decode(Teams().render(told).body)
    (attachment,) = message["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["body"][0]["text"].startswith("Endpoint <b>& has had")
