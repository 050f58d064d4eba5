"""What an endpoint and a subscription come to, above all their filters."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from waypost.dialects.convoy import config, meta, things
from waypost.dialects.convoy.config import ProjectConfig, StrategyConfig
from waypost.dialects.convoy.things import Endpoint, EventFilter, Scopes, Secret, Subscribed
from waypost.dialects.convoy.wishes import filter_text, translated, wish
from waypost.model import ids
from waypost.model.errors import InvalidSetting
from waypost.model.event import Attributes
from waypost.model.record import Record
from waypost.model.subscription import End, Notices
from waypost.operations.changing import Wish
from waypost.policy import filters
from waypost.policy.content import Content

PROJECT, ENDPOINT, OWN, SOURCE = (ids.make(n, n) for n in range(1, 5))


def wished(
    home: ProjectConfig = config.DEFAULT,
    endpoint: dict[str, Any] | None = None,
    *,
    revive: bool = False,
    **subscribed: Any,
) -> Wish:
    to = Endpoint("e", "http://x", (Secret(ids.make(9, 9), "s", 5),), **(endpoint or {}))
    record = Record(PROJECT, things.ENDPOINT, ENDPOINT, msgspec.json.encode(to))
    wanted = msgspec.json.encode(Subscribed("n", **subscribed))
    own = Record(PROJECT, things.SUBSCRIPTION, OWN, wanted, ENDPOINT)
    return wish(home, record, own, (), revive=revive)


def test_it_is_called_as_the_endpoint_says() -> None:
    found = wished(endpoint={"status": "paused", "http_timeout": 3, "content_type": "x"})
    assert (found.id, found.endpoint_id) == (OWN, ENDPOINT)
    assert (found.wanted.url, found.wanted.paused, found.wanted.timeout_s) == ("http://x", True, 3)
    assert found.keys is not None
    assert [(one.material, one.expires_at_us) for one in found.keys] == [(b"s", 5)]
    assert wished(endpoint={"status": "inactive"}).wanted.disabled is True
    assert wished().wanted.disabled is UNSET
    assert wished(revive=True).wanted.disabled is False
    assert wished().wanted.timeout_s == 10


def test_limits_and_strategies_are_the_nearest() -> None:
    home = config.merged(config.DEFAULT, {"ratelimit": {"count": 9, "duration": 9}})
    at = {"rate_limit": 5, "rate_limit_duration": 5}
    own = {"count": 1, "duration": 1}
    counts = [
        limit.count
        for limit in (
            wished(home).wanted.rate_limit,
            wished(home, at).wanted.rate_limit,
            wished(home, at, rate_limit=own).wanted.rate_limit,
        )
        if limit
    ]
    assert counts == [9, 5, 1]
    handling = wished(retry=StrategyConfig(retry_count=4)).wanted.failure_handling
    assert handling
    assert handling.retry
    assert handling.retry.retries == 3


def test_types_and_functions_are_ours() -> None:
    assert wished().wanted.event_types is None
    assert wished(event_types=("a", "b.*")).wanted.event_types == ("a", "b.*")
    assert wished().wanted.transform is None
    assert wished(function="f").wanted.transform


def matches(text: bytes | None, kind: str, body: Any = None, **attributes: Any) -> bool:
    if text is None:
        return True
    content = Content(msgspec.json.encode(body or {}), Attributes(**attributes), kind)
    return filters.compiled(text.decode()).matches(content)


def test_an_event_goes_by_the_filter_of_its_type_else_by_that_of_all() -> None:
    some = [
        EventFilter("a", Scopes(body={"n": 1}), 1),
        EventFilter("b", Scopes(), 1),
        EventFilter("c", Scopes(body={"n": 1}), None),
        EventFilter("*", Scopes(headers={"H": "x"}), 1),
    ]
    text = filter_text(Subscribed("s", filter=Scopes(body={"ok": True})), some)
    for kind, body, headers, expected in (
        ("a", {"n": 1, "ok": True}, {}, True),
        ("a", {"n": 2, "ok": True}, {"h": "x"}, False),
        ("a", {"n": 1}, {}, False),
        ("b", {"ok": True}, {}, True),
        ("c", {"ok": True}, {"h": "x"}, True),
        ("c", {"ok": True, "n": 1}, {}, False),
    ):
        assert matches(text, kind, body, headers=headers) is expected, (kind, body, headers)


def test_nothing_asked_is_no_filter() -> None:
    assert filter_text(Subscribed("s"), ()) is None
    assert filter_text(Subscribed("s"), [EventFilter("*", Scopes(), 1)]) is None


def test_a_source_is_asked_for() -> None:
    text = filter_text(Subscribed("s", source_id=SOURCE), ())
    assert matches(text, "a", source=SOURCE)
    assert not matches(text, "a", source=OWN)
    assert not matches(text, "a")


def test_paths_are_texts_here() -> None:
    either = Scopes(path={"$or": [{"path": "/a"}, {"path": {"$regex": "^/b"}}]})
    text = msgspec.json.encode(translated(either))
    for path, expected in (("/a", True), ("/bc", True), ("/c", False)):
        assert matches(text, "x", path=path) is expected


@pytest.mark.parametrize("path", [{"x": 1}, {"$or": []}, {"$or": [1]}, {"$and": {"path": "x"}}])
def test_other_paths_are_refused(path: Any) -> None:
    with pytest.raises(InvalidSetting, match="path"):
        translated(Scopes(path=path))


def test_those_are_told_of_it_that_endpoint_and_project_name() -> None:
    assert wished().notices == Notices()
    kinds = ["eventdelivery.success", "endpoint.created"]
    hook = {"is_enabled": True, "url": "http://x", "event_type": kinds}
    home = config.merged(config.DEFAULT, {"meta_event": hook})
    told = {"support_email": "a@b.example", "slack_webhook_url": "http://s"}
    found = wished(home, told).notices
    assert (found.about, found.email) == ("e (http://x)", "a@b.example")
    assert found.watchers == (ids.apart(ENDPOINT, 1),)
    assert found.reporter == meta.hook_id(PROJECT)
    assert found.reports == {End.DELIVERED: "eventdelivery.success"}
