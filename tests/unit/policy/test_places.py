"""A place names one value of a request."""

from typing import Any

import pytest

from waypost.model.errors import InvalidSetting
from waypost.policy.places import Parts, read, value_at

PARTS = Parts(
    headers={"x-event": "push", "x-empty": ""},
    query={"type": "a", "many": ["b", "c"], "empty": ""},
    body={"a": {"b": ["x", {"c": 7}]}, "yes": True, "none": None, "f": 1.5, "s": "", "0": "zero"},
)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("request.header.X-Event", "push"),
        ("req.Headers.x-event", "push"),
        ("request.header.x-empty", None),
        ("request.header.absent", None),
        ("request.query.type", "a"),
        ("req.QueryParam.many", "b"),
        ("request.query.empty", None),
        ("request.query.absent", None),
        ("request.body.a.b.0", "x"),
        ("request.body.a.b.1.c", "7"),
        ("request.Body.yes", "true"),
        ("request.body.f", "1.5"),
        ("request.body.0", "zero"),
        ("request.body.none", None),
        ("request.body.s", None),
        ("request.body.a", None),
        ("request.body.a.b", None),
        ("request.body.a.b.2", None),
        ("request.body.a.b.-1", None),
        ("request.body.a.b.01", None),
        ("request.body.a.b.0.x", None),
    ],
)
def test_the_value_at_a_place(text: str, wanted: str | None) -> None:
    assert value_at(read(text, "p"), PARTS) == wanted


@pytest.mark.parametrize("body", [None, [], 3, "text"])
def test_there_is_nothing_in_what_has_no_names(body: Any) -> None:
    assert value_at(read("request.body.a", "p"), Parts({}, {}, body)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "header.x",
        "request",
        "request.header",
        "request.header.",
        "request.header.a b",
        "request.cookie.a",
        "request.body.a..b",
        "request.body.",
        "request.body." + ".".join("a" * 17),
        "request.query.\n",
        "request.body." + "a" * 300,
        "REQUEST.body.a",
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        read(text, "here")
    assert [path for path, _ in refusal.value.details] == ["here"]
