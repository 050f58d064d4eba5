"""A project's configuration: merged, refused, shown, and said in our words."""

from typing import Any

import pytest

from waypost.dialects.convoy import config
from waypost.dialects.convoy.config import BreakerConfig, ProjectConfig, StrategyConfig
from waypost.model.errors import InvalidInput
from waypost.model.failure import OnGivingUp, Otherwise, Strategy
from waypost.model.flow import RateLimit


def test_it_is_kept_as_it_was_given() -> None:
    changed = config.merged(config.DEFAULT, {"ssl": {"enforce_secure_endpoints": True}})
    assert changed.ssl.enforce_secure_endpoints
    assert config.read(config.kept(changed)) == changed
    again = config.merged(changed, {"disable_endpoint": True, "strategy": None})
    assert again.ssl.enforce_secure_endpoints
    assert again.disable_endpoint


def test_it_is_shown_by_the_vendors_names_without_the_secret() -> None:
    given = {"meta_event": {"url": "http://x", "secret": "s"}}
    shown = config.shown(config.merged(config.DEFAULT, given))
    assert shown["ssl"] == {"enforce_secure_endpoints": False}
    assert "SSL" not in shown
    assert shown["meta_event"]["secret"] == config.MASKED


@pytest.mark.parametrize(
    "given, blamed",
    [
        ({"x": 1}, "config"),
        ({"sync_dynamic_event_ack": True}, "config"),
        ({"meta_event": {"is_enabled": True, "url": "x"}}, "config.meta_event.event_type"),
        (
            {"meta_event": {"is_enabled": True, "event_type": ["project.updated"]}},
            "config.meta_event.url",
        ),
        ({"meta_event": {"event_type": ["endpoint.odd"]}}, "config.meta_event.event_type"),
        ({"meta_event": {"type": "pub_sub"}}, "config.meta_event.type"),
        ({"meta_event": {"pub_sub": {}}}, "config.meta_event.type"),
        ({"strategy": {"type": "default"}}, "config"),
        ({"strategy": {"retry_count": 0}}, "config"),
        ({"signature": {"versions": []}}, "config"),
        ({"signature": {"versions": [{"hash": "MD5"}]}}, "config"),
        ({"signature": {"header": "a b"}}, "config"),
        ({"signature": {"header": "Content-Type"}}, "config.signature.header"),
        ({"request_id_header": "Host"}, "config.request_id_header"),
        ({"request_id_header": "x-convoy-signature"}, "config.request_id_header"),
        ({"search_policy": "720h"}, "config.search_policy"),
        ({"ratelimit": {"count": 5}}, "config.ratelimit"),
        ({"circuit_breaker": {"sample_rate": 5}}, "config.circuit_breaker.sample_rate"),
    ],
)
def test_what_can_not_be_obeyed_is_refused(given: dict[str, Any], blamed: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        config.merged(config.DEFAULT, given)
    assert caught.value.message.startswith(f"{blamed}:")


def test_a_header_of_ones_own_asks_for_keys() -> None:
    assert not config.DEFAULT.needs_keys
    assert ProjectConfig(request_id_header="X-Id").needs_keys


def test_strategies_count_all_attempts() -> None:
    linear = config.failure_handling(
        StrategyConfig(duration=20, retry_count=3), disable=False, at_most_once=False
    )
    assert linear.retry is not None
    assert (linear.retry.strategy, linear.retry.interval_s, linear.retry.retries) == (
        Strategy.CONSTANT,
        20.0,
        2,
    )
    assert linear.on_giving_up == (OnGivingUp.DIVERT,)
    growing = config.failure_handling(
        StrategyConfig(type="exponential", duration=20, retry_count=3),
        disable=True,
        at_most_once=True,
    )
    assert growing.retry is not None
    assert (growing.retry.strategy, growing.retry.max_interval_s) == (
        Strategy.EXPONENTIAL,
        config.RETRY_MAX_S,
    )
    assert OnGivingUp.DISABLE in growing.on_giving_up
    assert growing.otherwise is Otherwise.DIVERT


def test_breakers_and_limits_are_ours() -> None:
    found = config.breaker(BreakerConfig(failure_threshold=50, observability_window=2))
    assert (found.failure_ratio, found.window_s, found.open_s) == (0.5, 120, 30)
    assert config.rate_limit(0, 10) is None
    assert config.rate_limit(5, 10) == RateLimit(5, 10, 5)


@pytest.mark.parametrize("secret, kept", [({}, "s"), ({"secret": config.MASKED}, "s")])
def test_a_masked_secret_leaves_the_one_that_there_is(secret: dict[str, str], kept: str) -> None:
    present = config.merged(config.DEFAULT, {"meta_event": {"secret": "s"}})
    after = config.merged(present, {"meta_event": {"url": "http://y", **secret}})
    assert (after.meta_event.url, after.meta_event.secret) == ("http://y", kept)
    assert config.merged(present, {"meta_event": {"secret": ""}}).meta_event.secret == ""
