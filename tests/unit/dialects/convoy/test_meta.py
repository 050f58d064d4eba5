"""Meta events: to whom, when they are tried, and what they look like."""

import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from waypost.dialects.convoy import config, meta
from waypost.dialects.convoy.config import MetaKind, ProjectConfig, StrategyConfig
from waypost.dialects.convoy.meta import MetaFormat
from waypost.model import ids
from waypost.model.event import NO_ATTRIBUTES, Event
from waypost.model.subscription import End, Signing, SigningKey
from waypost.policy import notice
from waypost.policy.format import Outgoing, format_of
from waypost.policy.notice import Tried
from waypost.policy.outcome import Outcome, OutcomeKind

PROJECT, ONE, TWO, THREE = (ids.make(n, n) for n in range(1, 5))
KEY = SigningKey(ids.make(9, 9), Signing.HMAC, b"made up")


def home(*types: str, **more: Any) -> ProjectConfig:
    wanted = {"is_enabled": True, "url": "http://x", "event_type": list(types)}
    return config.merged(config.DEFAULT, {"meta_event": {**wanted, **more}})


def rendered(event: Event, settings: str, secret: bytes) -> tuple[dict[str, str], bytes]:
    form = format_of({meta.NAME: MetaFormat()}, meta.NAME, settings)
    assert form is not None
    key = msgspec.structs.replace(KEY, material=secret)
    made = form.render(Outgoing(event, "evt_1", ONE, TWO, 1, 9, (key,)))
    lines = made.head.decode().splitlines()
    return dict(line.split(": ", 1) for line in lines), made.body


def test_the_webhook_is_there_or_off() -> None:
    assert meta.hook(config.DEFAULT, PROJECT, lambda: KEY).off == (meta.hook_id(PROJECT),)
    ((to, key),) = meta.hook(home("project.updated"), PROJECT, lambda: KEY).present
    assert (to.project_id, to.id) == (ids.alerts_of(PROJECT), meta.hook_id(PROJECT))
    assert (to.url, key) == ("http://x", KEY)
    ((_, key),) = meta.hook(home("project.updated", secret="s"), PROJECT, lambda: KEY).present
    assert key.material == b"s"


@pytest.mark.parametrize(
    "strategy, gaps",
    [
        (StrategyConfig(type="linear", duration=7, retry_count=3), (7, 7)),
        (StrategyConfig(type="exponential", duration=3000, retry_count=4), (3000, 6000, 7200)),
        (StrategyConfig(type="exponential", duration=9000, retry_count=3), (9000, 9000)),
        (StrategyConfig(retry_count=1), ()),
    ],
)
def test_it_is_tried_by_the_strategy(strategy: StrategyConfig, gaps: tuple[int, ...]) -> None:
    assert meta.gaps(strategy) == gaps
    assert len(meta.gaps(StrategyConfig(type="exponential", retry_count=1000))) == 999


def test_what_is_not_asked_for_is_not_told() -> None:
    asked = home("endpoint.created", "eventdelivery.failed")
    (told,) = meta.told(asked, PROJECT, MetaKind.ENDPOINT_CREATED, {"a": 1})
    assert (told.to, told.type, told.payload) == (
        meta.hook_id(PROJECT),
        "endpoint.created",
        b'{"a":1}',
    )
    assert meta.told(asked, PROJECT, MetaKind.ENDPOINT_DELETED, {}) == ()
    assert meta.reports(asked) == {End.FAILED: "eventdelivery.failed"}
    assert meta.reports(home("endpoint.created")) == {}
    off = home("endpoint.created", "eventdelivery.failed", is_enabled=False)
    assert meta.told(off, PROJECT, MetaKind.ENDPOINT_CREATED, {}) == ()
    assert meta.reports(off) == {}


def test_it_is_signed_by_its_secret_or_not_at_all() -> None:
    event = Event(ids.alerts_of(PROJECT), THREE, "endpoint.created", b'{"a":1}', NO_ATTRIBUTES, 1)
    head, body = rendered(event, "signed", b"s")
    assert body == b'{"event_type":"endpoint.created","data":{"a":1}}'
    assert head["X-Convoy-Signature"] == hmac.new(b"s", body, hashlib.sha256).hexdigest()
    assert head["x-convoy-idempotency-key"] == ids.spell_ulid(THREE)
    head, _ = rendered(event, "plain", b"s")
    assert "X-Convoy-Signature" not in head


@pytest.mark.parametrize(
    "end, code, status",
    [(End.DELIVERED, 200, "Success"), (End.FAILED, 0, "Failure"), (End.RETRIED, 500, "Retry")],
)
def test_a_try_is_told_as_a_delivery(end: End, code: int, status: str) -> None:
    outcome = Outcome(OutcomeKind.FAILED, code, b"text")
    reason = "exhausted" if end is End.FAILED else None
    tried = Tried(
        end, PROJECT, ONE, None, TWO, THREE, ONE, 3, "http://x", outcome, 1, 2, None, reason
    )
    of = Event(PROJECT, TWO, "a.b", b"{}", NO_ATTRIBUTES, 1)
    kind = next(kind for kind, known in meta.REPORTS.items() if known is end)
    told = Event(ids.alerts_of(PROJECT), ONE, kind, notice.render_try(tried, of), NO_ATTRIBUTES, 1)
    data = msgspec.json.decode(meta.body_of(told))["data"]
    assert (data["uid"], data["status"]) == (ids.spell_ulid(THREE), status)
    assert data["endpoint_id"] == data["subscription_id"] == ids.spell_ulid(ONE)
    attempt = data["attempt"]
    assert ("error" in attempt, "http_status" in attempt) == (code == 0, code > 0)
    assert (attempt["responded_at"] is None) is (code == 0)
    assert attempt.get("status") is (True if end is End.DELIVERED else None)
    assert data["description"] == (reason or "")
