"""The catalogue: checked, kept, asked for every event."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.subscribing import Office, office
from waypost.engine.configuration import Configuration
from waypost.model import event_type
from waypost.model.errors import InvalidInput
from waypost.model.event_type import EventType
from waypost.operations import event_types
from waypost.operations.event_types import EventTypeIn, check, example_of, read_catalogue


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


async def test_types_are_open_but_for_a_strict_project_with_a_catalogue(at: Office) -> None:
    caller = at.records.principal()
    project_id = caller.project_id
    assert at.catalogue.known(project_id, "a")
    at.catalogue.set_strict(project_id, True)
    assert at.catalogue.known(project_id, "a")
    await at.event_types.replace(caller, [EventTypeIn("b")])
    assert not at.catalogue.known(project_id, "a")
    assert at.catalogue.known(project_id, "b")
    assert at.catalogue.known(at.records.other, "a")
    with pytest.raises(InvalidInput, match=r"^event_type: a is not in the project's catalogue$"):
        at.catalogue.require(project_id, "a", "event_type")
    at.catalogue.set_strict(project_id, False)
    assert at.catalogue.known(project_id, "a")


async def test_after_a_restart_the_names_are_loaded(at: Office) -> None:
    caller = at.records.principal()
    await at.event_types.replace(caller, [EventTypeIn("b")])
    fresh = event_types.Catalogue()
    fresh.set_strict(caller.project_id, True)
    await event_types.EventTypes(Configuration(at.store), fresh).load()
    assert not fresh.known(caller.project_id, "a")


async def test_a_catalogue_comes_back_by_name_with_examples_as_they_were(at: Office) -> None:
    caller = at.records.principal()
    text = b'{"event_types": [{"name": "b", "example": {"n": 1.10}}, {"name": "a"}]}'
    made = await at.event_types.replace(caller, read_catalogue(text))
    assert [(entry.name, entry.example) for entry in made] == [("a", None), ("b", b'{"n": 1.10}')]
    assert await at.event_types.list_all(caller) == made


@pytest.mark.parametrize(
    "entry, path",
    [
        ({"name": "a b"}, "event_types[1].name"),
        ({"name": ""}, "event_types[1].name"),
        ({"name": "a\n"}, "event_types[1].name"),
        ({"name": "first"}, "event_types[1].name"),
        ({"name": "a", "example": [1]}, "event_types[1].example"),
        ({"name": "a", "example": {"a": "x" * event_type.EXAMPLE_MAX}}, "event_types[1].example"),
        (
            {"name": "a", "example": {"a": msgspec.Raw(b"[" * 64 + b"]" * 64)}},
            "event_types[1].example",
        ),
    ],
)
def test_what_is_wrong_is_named(entry: dict[str, Any], path: str) -> None:
    text = msgspec.json.encode({"event_types": [{"name": "first"}, entry]})
    with pytest.raises(InvalidInput) as refusal:
        check(read_catalogue(text))
    assert [detail[0] for detail in refusal.value.details] == [path]


def test_bytes_that_are_no_text_are_refused() -> None:
    entries = [EventTypeIn("a", "", msgspec.Raw(b'{"a": "\xff"}'))]
    with pytest.raises(InvalidInput, match=r"event_types\[0\]\.example"):
        check(entries)


def test_a_catalogue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_types, "CATALOGUE_MAX", 2)
    entries = [EventTypeIn(name) for name in "abc"]
    assert len(check(entries[:2])) == 2
    with pytest.raises(InvalidInput, match="at most 2"):
        check(entries)


@pytest.mark.parametrize(
    "example, payload",
    [
        (None, b'{"event_type":"a.b"}'),
        (b'{"n": 1.10}', b'{"event_type":"a.b","n":1.10}'),
        (b'{"event_type": "other"}', b'{"event_type":"other"}'),
        (b'{"s": "\\ud800"}', b'{"event_type":"a.b","s":"\\ud800"}'),
    ],
)
def test_an_example_has_its_type_inside(example: bytes | None, payload: bytes) -> None:
    assert example_of("a.b", example) == payload


@pytest.mark.parametrize("text", [b"", b"[]", b'{"event_types": [{}]}', b'{"types": []}'])
def test_a_file_that_is_no_catalogue_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_catalogue(text)


async def test_types_are_put_beside_those_that_are_there(at: Office) -> None:
    caller, written = at.records.principal(), []
    await at.event_types.replace(caller, [EventTypeIn("b", "of b"), EventTypeIn("c")])
    entries = [EventType("c", "of c"), EventType("a")]
    await at.event_types.put(caller, entries, lambda _: written.append(1))
    found = await at.event_types.list_all(caller)
    assert [(one.name, one.description) for one in found] == [
        ("a", ""),
        ("b", "of b"),
        ("c", "of c"),
    ]
    assert written == [1]
    at.catalogue.set_strict(caller.project_id, strict=True)
    assert at.catalogue.known(caller.project_id, "a")
    assert not at.catalogue.known(caller.project_id, "d")


async def test_types_that_are_asked_for_are_entered_where_there_is_room(
    at: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = at.records.principal()
    monkeypatch.setattr(event_types, "CATALOGUE_MAX", 3)
    await at.event_types.put(caller, [EventType("a", "of a")])
    await at.event_types.enter(caller, ["b", "a", "b", "c", "d"])
    found = await at.event_types.list_all(caller)
    assert [(one.name, one.description) for one in found] == [("a", "of a"), ("b", ""), ("c", "")]
    with pytest.raises(InvalidInput, match="must be at most 3"):
        await at.event_types.put(caller, [EventType("d")])
    other = at.records.principal(project_id=at.records.other)
    at.catalogue.set_strict(at.records.other, strict=True)
    await at.event_types.enter(other, ["a"])
    assert await at.event_types.list_all(other) == []
