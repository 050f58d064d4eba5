"""`waypost explain`: what is told of an event, line by line."""

import io
from typing import Any

import pytest
from rich.console import Console

from tests.unit.cli.conftest import Run
from waypost.cli import explain

AT = "2027-01-15T08:00:00Z"
ATTEMPT = {"started": AT, "number": 1, "cause": "the receiver refused it: 503"}


def told(name: str, **more: Any) -> dict[str, Any]:
    return {
        "event_subscription_token": name,
        "url": f"https://{name}.example",
        "deleted": None,
        "matched": True,
        "failed": None,
        "judged_by": "then",
        "state": "delivered",
        "summary": f"all of {name}",
        "owner": "me:1",
        "deliveries": [],
        **more,
    }


def found(*subscriptions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "event_token": "evt_1",
        "event_type": "card.created",
        "accepted": AT,
        "owner": None,
        "event_subscriptions": list(subscriptions),
        "has_more": False,
        **more,
    }


def printed(of: dict[str, Any], *, everyone: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(explain.screen(of, everyone=everyone))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_each_subscription_is_told_with_its_attempts() -> None:
    pending = told("b", state="pending", deliveries=[{"attempts": [ATTEMPT]}])
    assert printed(found(told("a"), pending, owner="acme")) == [
        f"evt_1  card.created, accepted {AT}, of acme",
        "✓ a  https://a.example",
        "  all of a",
        "… b  https://b.example",
        "  all of b",
        f"    {AT}  attempt 1: the receiver refused it: 503",
        "    sent by me:1",
    ]


def test_those_that_did_not_match_are_told_where_they_are_asked_for() -> None:
    failed = {"condition": "owner"}
    other = told("b", matched=False, state=None, failed=failed, judged_by="now", deleted=AT)
    few = printed(found(told("a"), other))
    assert few[-1] == "1 others did not match (--all tells why)"
    assert not any("b.example" in line for line in few)
    assert printed(found(other), everyone=True)[1:] == [
        f"· b  https://b.example  (deleted {AT})",
        "  all of b",
        "  (judged by its present settings)",
    ]


def test_what_is_not_told_is_said() -> None:
    assert printed(found())[-1] == "the project has no event subscription"
    last = printed(found(told("a"), has_more=True))[-1]
    assert last == "there are more than 1 (--to tells of one)"


class Pages:
    """Answers page by page."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self.pages = list(pages)
        self.asked: list[str] = []

    def send(self, _method: str, path: str, *, project: str | None = None) -> Any:
        self.asked.append(f"{project} {path}")
        return self.pages.pop(0)


def test_all_pages_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: Any = Pages(found(told("a"), has_more=True), found(told("b")))
    whole = explain._ask(pages, "evt/1", "prj_1", None)
    assert [one["event_subscription_token"] for one in whole["event_subscriptions"]] == ["a", "b"]
    assert pages.asked == [
        "prj_1 /v1/events/evt%2F1/explain?page_size=100",
        "prj_1 /v1/events/evt%2F1/explain?page_size=100&starting_after=a",
    ]
    monkeypatch.setattr(explain, "_LISTED", 1)
    pages = Pages(found(told("a"), has_more=True))
    assert explain._ask(pages, "e", None, "ep_1")["has_more"]
    assert pages.asked[0].endswith("&event_subscription_token=ep_1")


def test_an_event_that_is_not_there_is_refused(waypost: Run) -> None:
    status, out, err = waypost("explain", "evt_x")
    assert (status, out) == (1, "")
    assert err.endswith("waypost: event not found\n")
