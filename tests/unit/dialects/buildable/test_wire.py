"""Buildable's shapes: every field that its document has, and what is read of what comes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.dialects.buildable import wire as subject
from waypost.dialects.buildable.wire import Home, Named, QueryIn, Selection
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound, PayloadTooLarge
from waypost.model.event import Attributes, Event
from waypost.model.project import Environment, Principal, Project
from waypost.model.transaction import Standing, Transaction, TransactionState
from waypost.policy import transactions
from waypost.policy.events import EventLimits
from waypost.policy.transactions import Who
from waypost.web.errors import Problem

PROJECT, ACCOUNT, KEY = ids.make(1, 1), ids.make(2, 2), ids.make(3, 3)
CALLER = Principal(KEY, "my key", PROJECT, frozenset())
HOME = Home(f"build-{ACCOUNT.hex()}", "test", PROJECT.hex(), "my key")
EVENT = Event(
    PROJECT,
    ids.make(5_000_999, 9),
    "order.created",
    b'{"n": 1}',
    Attributes(user="u", headers={"x-a": "b"}, query={"q": "1"}),
)
LIMITS = EventLimits(max_event_bytes=1_000)

NAMES = st.sampled_from(["a", "order.created", "a.b.c-d_e"])

# The answers in the vendor's document: their fields, and what is in them.
EVENT_FIELDS = {
    "_id": str,
    "key": str,
    "eventName": str,
    "environment": str,
    "payload": str,
    "query": str,
    "headers": str,
    "createdAt": int,
    "state": str,
    "history": list,
    "ttl": int,
    "v": int,
    "ownership": {"buildableId": str, "userId": str, "clientId": str},
    "processing": {
        "hasTransactions": bool,
        "totalTransactions": int,
        "hasFutureTransactions": bool,
        "isCompleted": bool,
    },
}
HISTORY_FIELDS = {"enterState": str, "exitState": str, "timestamp": int, "updatedBy": str}
TRANSACTION_FIELDS = {
    "_id": str,
    "key": str,
    "txn": str,
    "event": {"_id": str, "eventName": str},
    "createdAt": int,
    "ttl": int,
    "state": str,
    "history": list,
    "startedAt": int,
    "txKey": str,
    "endedAt": int,
}


def wire(answer: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(answer))


def has(found: Any, fields: Any) -> None:
    """Hold an answer against the fields of a document."""
    for name, kind in fields.items():
        if isinstance(kind, dict):
            has(found[name], kind)
        else:
            assert type(found[name]) is kind, name


def ended() -> Transaction:
    blank = Transaction(PROJECT, EVENT.id, "t", ids.make(7_000_000, 7), TransactionState.PENDING)
    claimed = transactions.claim(None, blank, Who(KEY, 8_000_999), None)
    return transactions.end(claimed, TransactionState.FINISHED, Who(KEY, 9_000_000), "out")


def shown(event: Event = EVENT, *theirs: Transaction, retention_us: int | None = 1_000) -> Any:
    return wire(subject.event_out(event, theirs, HOME, retention_us, expects_more=True))


def test_an_event_has_every_field_of_the_document() -> None:
    found = shown(EVENT, ended())
    has(found, EVENT_FIELDS)
    for row in found["history"]:
        has(row, HISTORY_FIELDS)
    assert set(found) == set(EVENT_FIELDS)
    assert found["_id"] == found["key"] == EVENT.id.hex()
    assert (json.loads(found["payload"]), json.loads(found["headers"])) == ({"n": 1}, {"x-a": "b"})
    assert json.loads(found["query"]) == {"q": "1"}
    assert (found["createdAt"], found["ttl"], found["state"]) == (5_000, 5_001, "finished")
    assert [(row["exitState"], row["enterState"]) for row in found["history"]] == [
        ("does-not-exist", "pending"),
        ("pending", "processing"),
        ("processing", "finished"),
    ]
    assert found["history"][1]["timestamp"] == 8_000
    assert found["history"][1]["updatedBy"] == KEY.hex()
    assert found["processing"] == {
        "hasTransactions": True,
        "totalTransactions": 1,
        "hasFutureTransactions": True,
        "isCompleted": True,
    }
    assert found["ownership"] == {
        "buildableId": HOME.buildable_id,
        "userId": "u",
        "clientId": PROJECT.hex(),
    }


def test_what_an_event_does_not_have_is_null_and_nothing_is_left_out() -> None:
    bare = Event(PROJECT, EVENT.id, "a", b'"\xc3\xbc"')
    found = shown(bare, retention_us=None)
    assert set(found) == set(EVENT_FIELDS)
    assert (found["query"], found["headers"], found["payload"]) == (None, None, '"ü"')
    assert (found["ttl"], found["ownership"]["userId"]) == (2**53 - 1, PROJECT.hex())
    assert (found["state"], found["processing"]["hasTransactions"]) == ("pending", False)


def test_a_payload_that_is_no_json_is_a_string_in_a_string() -> None:
    event = Event(PROJECT, EVENT.id, "a", b"\x00\xff", Attributes(content_type="image/png"))
    assert json.loads(shown(event)["payload"]) == "AP8="


def test_a_transaction_has_every_field_of_the_document() -> None:
    found = wire(subject.transaction_out(EVENT, ended(), 1_000))
    has(found, TRANSACTION_FIELDS)
    assert set(found) == {*TRANSACTION_FIELDS, "input", "output"}
    assert (found["txKey"], found["state"], found["output"]) == ("t", "finished", "out")
    assert (found["createdAt"], found["startedAt"], found["endedAt"]) == (7_000, 8_000, 9_000)
    assert found["key"] == found["event"]["_id"] == EVENT.id.hex()
    assert found["txn"] == found["_id"]
    assert found["input"] == '{"n": 1}'


@pytest.mark.parametrize(
    "environment, mark", [(Environment.TEST, "test"), (Environment.PRODUCTION, "live")]
)
def test_the_environment_is_the_projects(environment: Environment, mark: str) -> None:
    home = subject.home_of(Project(PROJECT, ACCOUNT, "p", environment), CALLER)
    assert home == Home(HOME.buildable_id, mark, HOME.client_id, "my key")


def test_what_is_emitted_stays_the_bytes_that_came() -> None:
    body = b'{"event": "a.b", "payload":  {"x" : 1.0, "\\ud800": 2}}'
    draft = subject.read_emit(body, LIMITS, CALLER)
    assert (draft.type, draft.payload) == ("a.b", b'{"x" : 1.0, "\\ud800": 2}')
    assert draft.attributes == Attributes(platform="custom", label="my key", user=KEY.hex())


@pytest.mark.parametrize(
    "body, path",
    [
        (b'{"event": "a"}', "payload"),
        (b'{"payload": {}}', "event"),
        (b'{"event": "", "payload": {}}', "event"),
        (b'{"event": "a b", "payload": {}}', "event"),
        (b'{"event": 1, "payload": {}}', "event"),
        (b'{"event": "a", "payload": []}', "payload"),
        (b'{"event": "a", "payload": "x"}', "payload"),
        (b'{"event": "a", "payload": null}', "payload"),
        (b'{"event": "a", "payload": {}, "more": 1}', "more"),
        (b'{"event": "a", "payload": {"a":' + b"[" * 70 + b"]" * 70 + b"}}", "payload"),
        (b"[]", ""),
        (b"{", ""),
    ],
)
def test_what_can_not_be_emitted_is_refused_with_its_place(body: bytes, path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        subject.read_emit(body, LIMITS, CALLER)
    assert [at for at, _ in refused.value.details] == [path]


def test_what_is_too_large_is_refused() -> None:
    body = b'{"event": "a", "payload": {"a": "%b"}}' % (b"x" * 1_000)
    with pytest.raises(PayloadTooLarge):
        subject.read_emit(body, LIMITS, CALLER)


def test_a_name_is_short_or_full() -> None:
    assert subject.read_name("a.b", HOME) == Named("a.b")
    full = subject.full_name(Named("a.b"), HOME, None, None)
    assert full == f"v1/{HOME.buildable_id}.default.test.custom.my-key.a.b"
    assert subject.read_name(full, HOME) == Named("a.b", True, "custom", "my-key")
    live = full.replace(".test.", ".live.")
    assert not subject.read_name(live, HOME).is_here
    assert subject.full_name(subject.read_name(full, HOME), HOME, "", "") == full
    assert subject.full_name(Named("a"), HOME, "str ipe", "my.shop").endswith(".str-ipe.my-shop.a")


@pytest.mark.parametrize("text", ["", "a b", "v1/", "v1/x", "v1/b.default.test.c.l.", "a..b", "é"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        subject.read_name(text, HOME)


@given(st.text(min_size=1), st.text(min_size=1), NAMES)
def test_a_full_name_says_what_it_was_made_of(platform: str, label: str, name: str) -> None:
    full = subject.full_name(Named(name), HOME, platform, label)
    read = subject.read_name(full, HOME)
    assert (read.type, read.is_here) == (name, True)
    event = Event(PROJECT, EVENT.id, name, b"{}", Attributes(platform=platform, label=label))
    assert Selection(read, None, None, "mine").admits(event)
    assert Selection(Named(name), platform, label, "mine").admits(event)


def test_events_are_told_apart_by_platform_and_label() -> None:
    bare = Event(PROJECT, EVENT.id, "a", b"{}")
    stripe = Event(PROJECT, EVENT.id, "a", b"{}", Attributes(platform="stripe", label="shop"))
    for platform, label, expected in (
        (None, None, (True, True)),
        ("", "", (True, True)),
        ("custom", None, (True, False)),
        ("stripe", None, (False, True)),
        (None, "mine", (True, False)),
        (None, "shop", (False, True)),
        ("custom", "shop", (False, False)),
    ):
        chosen = Selection(Named("a"), platform, label, "mine")
        assert (chosen.admits(bare), chosen.admits(stripe)) == expected
        assert chosen.is_any is not bool(platform or label)


def test_a_moment_is_taken_to_the_millisecond() -> None:
    assert [subject.begin_us(since) for since in (None, 0, 1.0, 1.5)] == [0, 0, 1_000, 2_000]


def test_a_key_is_an_events_id() -> None:
    assert subject.read_key(EVENT.id.hex()) == EVENT.id
    for text in ("", "x" * 32, EVENT.id.hex().upper(), EVENT.id.hex() + "0"):
        with pytest.raises(NotFound):
            subject.read_key(text)
    assert json.loads(subject.emitted(EVENT.id)) == {"status": "success", "key": EVENT.id.hex()}


def test_each_state_is_looked_for_as_it_is_named() -> None:
    assert subject.standings_of("does-not-exist") == {Standing.ABSENT, Standing.LAPSED}
    for state in TransactionState:
        assert subject.standings_of(state.value) == {Standing(state.value)}


def test_the_defaults_are_the_documents() -> None:
    read = msgspec.json.decode(b'{"eventName": "a", "txKey": "t"}', type=QueryIn)
    assert (read.tx_state, read.page, read.page_size, read.since) == ("does-not-exist", 1, 10, None)


def test_an_error_has_one_envelope() -> None:
    problem = Problem(422, "invalid_setting", "no", "r", (("a", "wrong"),))
    rendered = subject.render(problem)
    assert rendered.status == 400
    assert json.loads(rendered.body) == {
        "status": "error",
        "name": "invalid-request",
        "message": "no",
        "code": 400,
        "data": {"errors": [{"path": "a", "message": "wrong"}]},
    }
    other = json.loads(subject.render(Problem(409, "transaction_exists", "no", "r")).body)
    assert (other["name"], other["code"], other["data"]) == ("transaction-exists", 409, {})
