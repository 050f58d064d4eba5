"""Templates: what a place becomes, and that nothing an event holds makes one fail."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.sandbox import frames, template
from waypost.sandbox.frames import Answer, Request
from waypost.sandbox.template import UNTOUCHED, BadTemplate, Template

PAYLOAD: dict[str, Any] = {
    "id": 1,
    "user": {"name": "ada", "tags": ["a", "b"]},
    "lines": [{"n": 2, "price": 1.5}, {"n": 1, "price": 2}],
    "big": 12345678901234567890,
}
EVENT = {"event_type": "card.created", "owner": None}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def made(document: Any, payload: Any = PAYLOAD) -> Any:
    return Template(json.dumps(document)).render(payload, EVENT).payload


@pytest.mark.parametrize(
    "document, payload",
    [
        ("{{ payload.user.name }}", "ada"),
        ("{{payload.user}}", PAYLOAD["user"]),
        ("{{ payload }}", PAYLOAD),
        ("Hello {{ payload.user.name }}!", "Hello ada!"),
        ("{{ payload.id }}{{ payload.id }}", "11"),
        ("{{ payload.user.tags }} of {{ payload.none }}.", '["a","b"] of .'),
        (" {{ payload.id }}", " 1"),
        ("{{ event.event_type }}", "card.created"),
        ("{{ payload.big }}", 12345678901234567890),
        ("{{ payload.lines[*].price }}", [1.5, 2]),
        ("{{ payload.lines[?n > `1`] | [0].price }}", 1.5),
        ("{{ {a: {b: payload.id}} }}", {"a": {"b": 1}}),
        ("{{ {a: {b: payload.id}}}}", {"a": {"b": 1}}),
        ("{{ '{{ }}' }}", "{{ }}"),
        ("{{ '}}' }} and {{ '{{' }}", "}} and {{"),
        ("{{ join(', ', payload.user.tags) }}", "a, b"),
        (
            {"a": ["{{ payload.id }}", 1.5, None, True], "b": {}},
            {"a": [1, 1.5, None, True], "b": {}},
        ),
        ({"{{ payload.id }}": "a name is no place"}, {"{{ payload.id }}": "a name is no place"}),
        ("} } { {", "} } { {"),
        ("}}", "}}"),
        ("", ""),
        ({}, {}),
        (5, 5),
        ({"payload": 1, "other": 2}, {"payload": 1, "other": 2}),
        ({"payload": {"payload": "{{ payload.id }}"}}, {"payload": 1}),
    ],
)
def test_a_place_becomes_what_stands_there(document: Any, payload: Any) -> None:
    assert made(document) == payload


@pytest.mark.parametrize(
    "expression",
    [
        "payload.none.name",
        "payload.id.name",
        "payload.lines[9]",
        "length(payload.none)",
        "sum(payload.user.tags)",
        "sort_by(payload.lines, &none)",
        "max_by(payload.user.tags, &n)",
        "join(', ', payload.lines)",
        "to_number('x')",
        "keys(payload.id)",
        "merge(payload.id, payload.user)",
        "&payload",
    ],
)
def test_what_can_not_be_had_is_null(expression: str) -> None:
    text = "{{ " + expression + " }}"
    assert json.loads(template.dump(made([text]))) == [None]


@pytest.mark.parametrize(
    "document, headers",
    [
        (
            {"headers": {"x-a": "{{ payload.id }}", "x-b": "b {{ payload.user.name }}"}},
            {"x-a": "1", "x-b": "b ada"},
        ),
        ({"headers": {"x-a": "{{ payload.none }}", "x-b": None}}, {}),
        (
            {"headers": {"x-a": "{{ payload.user }}", "x-b": True}},
            {"x-a": '{"name":"ada","tags":["a","b"]}', "x-b": "true"},
        ),
        ({"headers": "{{ {a: payload.user.name} }}"}, {"a": "ada"}),
        ({"headers": "{{ payload.id }}"}, {}),
        ({"headers": None}, {}),
    ],
)
def test_headers_are_texts(document: Any, headers: dict[str, str]) -> None:
    rendered = Template(json.dumps(document)).render(PAYLOAD, EVENT)
    assert (rendered.payload, rendered.headers) == (UNTOUCHED, headers)


@pytest.mark.parametrize(
    "skip, skipped",
    [
        (True, True),
        (False, False),
        (None, False),
        ("{{ payload.id == `1` }}", True),
        ("{{ payload.id == `2` }}", False),
        ("{{ payload.none }}", False),
        ("{{ payload.id }}", False),
    ],
)
def test_skip_is_true_or_it_is_not(skip: Any, skipped: bool) -> None:
    document = json.dumps({"skip": skip})
    assert Template(document).render(PAYLOAD, EVENT).skip is skipped


DEEP = "[" * 40 + '"{{ payload }}"' + "]" * 40


@pytest.mark.parametrize(
    "text, place, message",
    [
        ("{", "$", "is not JSON"),
        ("", "$", "is not JSON"),
        ("[" * 100_000, "$", ""),
        (DEEP, "$" + "[0]" * 33, "must not be nested deeper than 32"),
        ('{"a": [1, "{{ payload. }}"]}', "$.a[1]", "has a place that is no JMESPath expression"),
        ('{"a": {"b": "{{ payload"}}', "$.a.b", "has a {{ without its }}"),
        ('"{{ }}"', "$", "has a place that is no JMESPath expression"),
        ('"{{ no_such_function( }}"', "$", "has a place that is no JMESPath expression"),
        ('"{{ %s }}"' % ("a" * 2001), "$", "longer than 2000"),
        ('"{{ %s }}"' % ("[" * 900 + "a" + "]" * 900), "$", "has a place that is no"),
        (json.dumps(["{{ a }}"] * 501), "$[500]", "must not hold more than 500 places in all"),
        ('{"headers": ["a"]}', "$.headers", "must be an object of names and texts"),
        ('{"headers": "a"}', "$.headers", "must be an object of names and texts"),
        ('{"skip": "yes"}', "$.skip", "must be true, false or a place"),
        ('{"skip": 1}', "$.skip", "must be true, false or a place"),
        ('{"payload": {"a": "{{ }}"}}', "$.payload.a", "has a place that is no"),
    ],
)
def test_what_is_no_template_is_told_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(BadTemplate) as refusal:
        Template(text)
    assert refusal.value.place == place
    assert message in refusal.value.message


def run(document: Any, payload: bytes, flags: int = 0) -> Answer:
    source = json.dumps(document).encode()
    return template.run(Request(frames.TEMPLATE, flags, source, payload, b'{"owner": "o"}'))


@pytest.mark.parametrize(
    "document, kind",
    [
        ("{{ payload }}", frames.UNTOUCHED),
        ({"payload": "{{ payload }}"}, frames.UNTOUCHED),
        ({"id": "{{ payload.id }}", "b": "{{ payload.b }}"}, frames.UNTOUCHED),
        ({"headers": {"a": "b"}}, frames.UNTOUCHED),
        ({"b": "{{ payload.b }}", "id": "{{ payload.id }}"}, frames.PAYLOAD),
        ({"id": "{{ payload.id }}", "b": 1}, frames.PAYLOAD),
        ({"skip": True}, frames.SKIP),
    ],
)
def test_what_is_not_touched_stays_the_very_bytes(document: Any, kind: bytes) -> None:
    assert run(document, b'{ "id": 1.0,  "b": true }').kind == kind


@pytest.mark.parametrize(
    "document, kind, payload",
    [
        ("{{ payload }}", frames.UNTOUCHED, b""),
        ("{{ payload }}!", frames.AS_TEXT, "é!".encode()),
        ({"text": "{{ payload }}"}, frames.PAYLOAD, '{"text":"é"}'.encode()),
        ({"payload": "{{ event.owner }}"}, frames.AS_TEXT, b"o"),
    ],
)
def test_text_may_stay_text(document: Any, kind: bytes, payload: bytes) -> None:
    answer = run(document, "é".encode(), frames.TEXT)
    assert (answer.kind, answer.payload) == (kind, payload)


def test_a_template_that_is_good_is_told_so() -> None:
    assert run("{{ payload.none }}", b"", frames.CHECK).kind == frames.GOOD


@pytest.mark.parametrize(
    "payload, spelled",
    [
        (b"1e400", b"[null]"),
        (b"-1e400", b"[null]"),
        (b"[1e400, 1]", b"[[null,1]]"),
        (b'{"a": 1e400}', b'[{"a":null}]'),
        (b'"\\ud800\\u00e9"', '["\\ud800é"]'.encode()),
        (b"9" * 4300, b"[" + b"9" * 4300 + b"]"),
        (b"9" * 5000, b"[null]"),
        (b"0.10", b"[0.1]"),
    ],
)
def test_what_is_hard_to_spell_is_spelled(payload: bytes, spelled: bytes) -> None:
    assert run(["{{ payload }}"], payload).payload == spelled


def test_a_sum_too_long_to_spell_is_null() -> None:
    payload = json.dumps([int("9" * 4300)] * 2).encode()
    assert run(["{{ sum(payload) }}"], payload).payload == b"[null]"


EXPRESSIONS = [
    "payload",
    "payload.a",
    "payload[0]",
    "payload[*].a",
    "payload.*",
    "payload[]",
    "payload[?a > `1`]",
    "sort(payload)",
    "sort_by(payload, &a)",
    "length(payload)",
    "keys(payload)",
    "to_string(payload)",
    "to_number(payload)",
    "sum(payload)",
    "avg(payload)",
    "max(payload)",
    "reverse(payload)",
    "merge(payload, payload)",
    "map(&a, payload)",
    "contains(payload, 'a')",
    "payload || event",
    "!payload",
    "payload == payload.a",
    "payload < `5`",
    "[payload, payload][]",
    "{a: payload}",
    "type(payload)",
]
PLACES = st.sampled_from([f"{{{{ {one} }}}}" for one in EXPRESSIONS])
DOCUMENTS = st.recursive(
    JSON | PLACES | st.tuples(st.text(alphabet="ab "), PLACES).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "headers", "payload", "skip"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(DOCUMENTS, JSON, st.booleans())
def test_a_template_never_fails_for_what_an_event_holds(
    document: Any, payload: Any, as_text: bool
) -> None:
    source, body = json.dumps(document), json.dumps(payload).encode()
    try:
        Template(source)
    except BadTemplate:
        return
    answer = run(document, body, frames.TEXT if as_text else 0)
    json.loads(answer.beside)
    if answer.kind == frames.PAYLOAD:
        json.loads(answer.payload, parse_constant=pytest.fail)
    answer.payload.decode()


@given(st.text(alphabet="{} a'`[]()|&.*?:,@\"\\"))
def test_any_text_is_a_template_or_is_refused(text: str) -> None:
    try:
        compiled = Template(json.dumps(text))
    except BadTemplate:
        return
    compiled.render(PAYLOAD, EVENT)
