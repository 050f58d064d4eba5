"""Transforms as they are set, told of an event, and applied to it."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from waypost.model import ids
from waypost.model.errors import InvalidSetting
from waypost.model.event import Attributes, Event, Resource
from waypost.model.transform import Fault, FaultKind, Language, Made, Transform
from waypost.policy import transforms
from waypost.policy.outcome import OutcomeKind
from waypost.policy.transforms import SOURCE_MAX, TransformIn

EVENT = Event(b"p" * 16, ids.make(1_000_000, 1), "card.created", b'{"a": 1.10}')


def given(body: bytes) -> TransformIn:
    return msgspec.json.decode(body, type=TransformIn)


@pytest.mark.parametrize(
    "body, language, source",
    [
        (b'{"javascript": "\\u00e9"}', Language.JAVASCRIPT, "é"),
        (b'{"javascript": ""}', Language.JAVASCRIPT, ""),
        (b'{"template":  {"a":  1.10} }', Language.TEMPLATE, '{"a":  1.10}'),
        (b'{"template": "{{ payload }}"}', Language.TEMPLATE, '"{{ payload }}"'),
        (b'{"template": false}', Language.TEMPLATE, "false"),
    ],
)
def test_one_program_is_read_and_shown_as_it_was(
    body: bytes, language: Language, source: str
) -> None:
    read = transforms.read(given(body))
    assert read == Transform(language, source)
    shown = msgspec.json.encode(transforms.shown(read))
    assert transforms.read(given(shown)) == read


@pytest.mark.parametrize(
    "body, path",
    [
        (b"{}", "transform"),
        (b'{"javascript": "x", "template": {}}', "transform"),
        (b'{"template": null}', "transform"),
        (b'{"template": "\xff"}', "transform.template"),
        (b'{"javascript": "%b"}' % (b"x" * (SOURCE_MAX + 1)), "transform.javascript"),
        (b'{"javascript": "%b"}' % ("é".encode() * (SOURCE_MAX // 2 + 1)), "transform.javascript"),
        (b'{"template": "%b"}' % (b"x" * SOURCE_MAX), "transform.template"),
    ],
)
def test_what_is_no_program_is_named(body: bytes, path: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        transforms.read(given(body))
    assert [detail[0] for detail in refusal.value.details] == [path]


def test_half_a_character_is_no_program() -> None:
    with pytest.raises(InvalidSetting, match="half"):
        transforms.read(TransformIn(javascript="'\ud800'"))


def test_the_largest_program_is_one() -> None:
    transforms.read(TransformIn(javascript="x" * SOURCE_MAX))


@pytest.mark.parametrize(
    "language, fault, detail",
    [
        (
            Language.JAVASCRIPT,
            Fault(FaultKind.COMPILE, "SyntaxError: x", line=2, column=7),
            ("transform.javascript", "line 2: SyntaxError: x"),
        ),
        (
            Language.JAVASCRIPT,
            Fault(FaultKind.TIMEOUT, "too long"),
            ("transform.javascript", "too long"),
        ),
        (
            Language.TEMPLATE,
            Fault(FaultKind.COMPILE, "no", place="$.items[2].name"),
            ("transform.template.items[2].name", "no"),
        ),
        (
            Language.TEMPLATE,
            Fault(FaultKind.COMPILE, "no", place="$"),
            ("transform.template", "no"),
        ),
        (Language.TEMPLATE, Fault(FaultKind.CRASH, "no"), ("transform.template", "no")),
    ],
)
def test_a_fault_is_refused_with_its_place(
    language: Language, fault: Fault, detail: tuple[str, str]
) -> None:
    refusal = transforms.refusal(Transform(language, ""), fault)
    assert refusal.details == (detail,)


ADDRESSES = {"targets", "endpoints", "source"}
TIMES = {"deliver_at_us", "deliver_in_s", "deliver_before_us"}


def test_a_program_is_told_what_the_event_has_and_nothing_else() -> None:
    token, created = ids.spell(ids.EVENT, EVENT.id), "1970-01-01T00:00:01.000000Z"
    bare = {"token": token, "created": created, "event_type": "card.created"}
    assert msgspec.json.decode(transforms.about(EVENT)) == bare
    known = Attributes(
        idempotency_key="i",
        ordering_key="o",
        occurred_at_us=2_000_000,
        owner="w",
        user="u",
        request_id="r",
        platform="p",
        label="l",
        resource=Resource("card", "1"),
        related_resources=(Resource("card", "2"),),
        metadata={"a": "b"},
        headers={"x-a": "b"},
        query={"q": ["1", "2"]},
        path="/in",
        targets=(bytes(16),),
        cloudevent={"id": "1"},
        content_type="text/plain",
        example=True,
    )
    about: dict[str, Any] = msgspec.json.decode(transforms.about(replace(EVENT, attributes=known)))
    assert about.pop("occurred_at") == "1970-01-01T00:00:02.000000Z"
    assert about.pop("resource") == {"type": "card", "id": "1"}
    assert about.pop("related_resources") == [{"type": "card", "id": "2"}]
    rest = {
        name: getattr(known, name)
        for name in Attributes.__struct_fields__
        if name not in {"occurred_at_us", "resource", "related_resources", *ADDRESSES, *TIMES}
    }
    assert about == {**bare, **rest}


def test_an_untouched_payload_is_the_very_event() -> None:
    assert transforms.applied(EVENT, Made(headers={"x-a": "b"})) is EVENT


def test_a_new_payload_takes_the_place_of_the_old_one() -> None:
    assert transforms.applied(EVENT, Made(b"[]")) == replace(EVENT, payload=b"[]")


def test_what_was_text_and_is_json_is_said_to_be_json() -> None:
    cloudevent: dict[str, str | int | bool] = {"id": "1", "datacontenttype": "text/xml"}
    attributes = Attributes(content_type="text/xml", cloudevent=cloudevent, owner="w")
    event = replace(EVENT, payload=b"<a/>", attributes=attributes)
    made = transforms.applied(event, Made(b"[]"))
    assert made.attributes == Attributes(
        cloudevent={"id": "1", "datacontenttype": "application/json"}, owner="w"
    )
    assert transforms.applied(event, Made(b"<b/>", is_text=True)).attributes == attributes
    bare = replace(event, attributes=Attributes(content_type="text/xml"))
    assert transforms.applied(bare, Made(b"[]")).attributes == Attributes()


@pytest.mark.parametrize(
    "name", ["host", "Content-Length", "webhook-id", "waypost-x", "x y", "x-forwarded-for", ""]
)
def test_headers_that_may_not_leave_are_a_fault(name: str) -> None:
    fault = transforms.check_headers(Made(headers={"x-good": "1", name: "1"}))
    assert fault is not None
    assert (fault.kind, name in fault.message) == (FaultKind.RESULT, True)


def test_other_headers_are_none() -> None:
    assert transforms.check_headers(Made(headers={"x-a": "b"})) is None


def test_a_fault_is_an_attempt_that_tells_of_it() -> None:
    outcome = transforms.outcome_of(Fault(FaultKind.EXCEPTION, "é\ud800", line=2))
    assert outcome.kind is OutcomeKind.FAILED
    assert (outcome.status_code, outcome.timeout) == (0, False)
    assert outcome.response == "the transform failed: line 2: é?".encode()
    assert transforms.outcome_of(Fault(FaultKind.TIMEOUT, "x" * 9000)).timeout
    assert len(transforms.outcome_of(Fault(FaultKind.TIMEOUT, "x" * 9000)).response) == 4096
