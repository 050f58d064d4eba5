"""Taking events in: every form of request, and every way in which it can be wrong."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.manual import ManualClock, SeededEntropy
from waypost.api import intake as subject
from waypost.api.intake import BATCH_PATH, EVENTS_PATH, Intake
from waypost.engine.ingest import Done
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.errors import IdempotencyMismatch, StorageFull, Unavailable, WaypostError
from waypost.model.project import ApiKey, Principal, Scope
from waypost.operations.access import Access, AccessConfig
from waypost.operations.event_types import Catalogue
from waypost.operations.events import Accepted, Events
from waypost.policy.credentials import digest
from waypost.policy.events import Draft, EventLimits
from waypost.policy.origin import Origin
from waypost.policy.rate import Allowance
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import FastRequest, FastRoutes, Header, SharedHead

PROJECT = ids.make(1, 1)
EVENT_ID = ids.make(1_800_000_000_123_456, 7)
JSON: Header = (b"content-type", b"application/json")
CE: list[Header] = [
    (b"ce-specversion", b"1.0"),
    (b"ce-id", b"1"),
    (b"ce-source", b"/s"),
    (b"ce-type", b"a.b"),
]
CLOUDEVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b", "data": [1]}
LIMITS = EventLimits(max_event_bytes=1024, max_batch_bytes=64 * 1024)


class Request(FastRequest):
    """A request whose answer is kept."""

    def __init__(self, headers: list[Header], body: bytes, query: bytes = b"") -> None:
        super().__init__(headers, body)
        self.query = query
        self.done = asyncio.Event()
        self.status = 0
        self.text = b""
        self.sent: dict[bytes, bytes] = {}

    def _send(
        self, status: int, body: bytes, headers: Sequence[Header], content_type: bytes
    ) -> None:
        assert content_type == b"application/json"
        self.status, self.text, self.sent = status, body, dict(headers)
        self.done.set()

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def paths(self) -> list[str]:
        """Where the refusal says that something is wrong."""
        assert set(self.json) <= {"message", "debugging_request_id", "errors"}
        return [error["path"] for error in self.json.get("errors", [])]


class World:
    """The two routes over an ingest that takes everything, or answers `refusal`."""

    def __init__(self) -> None:
        config = AccessConfig(writes=Allowance(1, 10))
        self.access = Access(ManualClock(), config)
        reader = ApiKey(ids.make(2, 1), PROJECT, "r", frozenset({Scope.EVENTS_READ}))
        writer = ApiKey(ids.make(2, 2), PROJECT, "w", frozenset({Scope.EVENTS_WRITE}))
        self.access.load([PROJECT], [(digest(b"reader"), reader), (digest(b"writer"), writer)])
        self.taken: list[Sequence[Draft]] = []
        self.origins: list[Origin | None] = []
        self.refusal: WaypostError | None = None
        self.duplicate = False
        self.catalogue = Catalogue()
        self.aside = Aside()
        events = Events(
            None,  # type: ignore[arg-type] # nothing is read
            self,  # type: ignore[arg-type] # a stand-in
            Router(),
            self.catalogue,
            LIMITS,
        )
        self.routes = FastRoutes()
        Intake(self.access, events, Surfaces(SeededEntropy()), self.aside).register(self.routes)

    def accept(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        done: Done,
        origin: Origin | None = None,
    ) -> None:
        assert principal.project_id == PROJECT
        if self.refusal is not None:
            done(self.refusal)
            return
        self.taken.append(drafts)
        self.origins.append(origin)
        done([Accepted(EVENT_ID, one.type, one.payload, self.duplicate) for one in drafts])

    def post(
        self,
        path: str,
        body: object,
        *headers: Header,
        key: bytes = b"writer",
        query: bytes = b"",
    ) -> Request:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request([(b"authorization", key), *headers], encoded, query)
        route = self.routes.lookup(b"POST", path.encode())
        assert route is not None
        route.handler(request)
        return request

    @property
    def last(self) -> Draft:
        return self.taken[-1][-1]


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_is_answered_with_the_bytes_that_came(world: World) -> None:
    payload = b'{"b": 1.10, "b":"\\u0000\\ud800", "n": 123456789012345678901234567890}'
    answer = world.post(EVENTS_PATH, b'{"event_type": "a.b", "payload":  %b }' % payload, JSON)
    assert answer.status == 202
    assert answer.text == (
        b'{"token":"%b","created":"2027-01-15T08:00:00.123456Z","event_type":"a.b",'
        b'"payload":%b,"duplicate":false}' % (ids.spell(ids.EVENT, EVENT_ID).encode(), payload)
    )
    assert world.last.payload == payload
    assert answer.sent == {b"x-requests-remaining": b"9"}


def test_the_request_goes_along_for_filters(world: World) -> None:
    one, event = (b"x-tenant", b"a"), {"event_type": "a", "payload": 1}
    world.post(EVENTS_PATH, event, JSON, one)
    world.post(BATCH_PATH, {"events": [event]}, JSON, one)
    assert [origin and origin.path for origin in world.origins] == [EVENTS_PATH, BATCH_PATH]
    assert all(origin is not None and one in origin.headers for origin in world.origins)


def test_a_duplicate_says_so(world: World) -> None:
    world.duplicate = True
    answer = world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON)
    assert answer.json["duplicate"] is True


@pytest.mark.parametrize(
    "content_type",
    [None, b"application/json", b"Application/JSON", b"application/json; charset=utf-8"],
)
def test_json_may_be_called_so_in_several_ways(world: World, content_type: bytes | None) -> None:
    headers = [] if content_type is None else [(b"content-type", content_type)]
    assert world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, *headers).status == 202


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=utf-16",
        b"application/cloudevents-batch+json",
        b"\xff",
    ],
)
def test_another_content_type_is_refused(world: World, content_type: bytes) -> None:
    answer = world.post(
        EVENTS_PATH, {"event_type": "a", "payload": 1}, (b"content-type", content_type)
    )
    assert answer.status == 415
    assert world.taken == []


def test_the_key_may_come_as_header_or_field(world: World) -> None:
    header = (b"idempotency-key", b"k")
    both = {"event_type": "a", "payload": 1, "idempotency_key": "k"}
    for body, headers in (
        ({"event_type": "a", "payload": 1}, [JSON, header]),
        (both, [JSON]),
        (both, [JSON, header]),
    ):
        assert world.post(EVENTS_PATH, body, *headers).status == 202
        assert world.last.attributes.idempotency_key == "k"


@pytest.mark.parametrize(
    "path, body, headers",
    [
        (EVENTS_PATH, {"event_type": "a", "payload": 1, "idempotency_key": "other"}, [JSON]),
        (EVENTS_PATH, {"event_type": "a", "payload": 1}, [JSON, (b"idempotency-key", b"k")]),
        (BATCH_PATH, {"events": [{"event_type": "a", "payload": 1}]}, [JSON]),
        (EVENTS_PATH, b"1", [*CE, JSON]),
    ],
)
def test_a_key_that_is_not_clear_is_refused(
    world: World, path: str, body: object, headers: list[Header]
) -> None:
    answer = world.post(path, body, *headers, (b"idempotency-key", b"k"))
    assert answer.status == 400
    assert answer.paths[0].lower().replace("_", "-") == "idempotency-key"
    assert world.taken == []


def test_cloudevents_are_taken_in_each_mode(world: World) -> None:
    structured = (b"content-type", b"application/cloudevents+json")
    batched = (b"content-type", b"application/cloudevents-batch+json")
    for path, body, headers, count in (
        (EVENTS_PATH, CLOUDEVENT, [structured], 1),
        (EVENTS_PATH, b"[1]", [*CE, JSON], 1),
        (BATCH_PATH, [CLOUDEVENT, CLOUDEVENT | {"id": "2"}], [batched], 2),
    ):
        answer = world.post(path, body, *headers)
        assert answer.status == 202
        assert len(world.taken[-1]) == count
        assert world.taken[-1][0].attributes.idempotency_key == "/s 1"
        one = answer.json["data"][0] if path == BATCH_PATH else answer.json
        assert (one["event_type"], one["payload"]) == ("a.b", [1])


def test_what_is_no_json_is_shown_in_base64(world: World) -> None:
    answer = world.post(EVENTS_PATH, b"\xff\x00", *CE, (b"content-type", b"image/png"))
    assert (answer.json["payload"], answer.json["payload_encoding"]) == ("/wA=", "base64")
    assert world.last.payload == b"\xff\x00"


@pytest.mark.parametrize(
    "path, body, headers",
    [
        (EVENTS_PATH, [CLOUDEVENT], [(b"content-type", b"application/cloudevents-batch+json")]),
        (BATCH_PATH, CLOUDEVENT, [(b"content-type", b"application/cloudevents+json")]),
        (BATCH_PATH, b"1", [*CE, JSON]),
    ],
)
def test_one_and_many_do_not_go_to_each_others_route(
    world: World, path: str, body: object, headers: list[Header]
) -> None:
    assert world.post(path, body, *headers).status == 415


def test_a_batch_is_answered_in_its_order(world: World) -> None:
    events = [{"event_type": f"t{n}", "payload": n} for n in range(3)]
    answer = world.post(BATCH_PATH, {"events": events}, JSON)
    assert answer.status == 202
    assert [one["event_type"] for one in answer.json["data"]] == ["t0", "t1", "t2"]
    assert len(world.taken) == 1


def test_an_empty_batch_of_cloudevents_is_nothing(world: World) -> None:
    batched = (b"content-type", b"application/cloudevents-batch+json")
    answer = world.post(BATCH_PATH, [], batched)
    assert (answer.status, answer.json, world.taken) == (202, {"data": []}, [])


@pytest.mark.parametrize(
    "body, headers, path",
    [
        (
            {"events": [{"event_type": "a", "payload": 1}, {"event_type": "a"}]},
            [JSON],
            "events[1].payload",
        ),
        ({"events": [{"event_type": "a b", "payload": 1}]}, [JSON], "events[0].event_type"),
        (
            [CLOUDEVENT, CLOUDEVENT | {"id": ""}],
            [(b"content-type", b"application/cloudevents-batch+json")],
            "[1].id",
        ),
    ],
)
def test_one_bad_item_refuses_the_whole_batch_with_its_place(
    world: World, body: object, headers: list[Header], path: str
) -> None:
    answer = world.post(BATCH_PATH, body, *headers)
    assert (answer.status, answer.paths) == (422, [path])
    assert world.taken == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"events": []}', b'{"events": 1}', b'{"x": 1}']
)
def test_a_batch_that_is_none_is_a_bad_request(world: World, body: bytes) -> None:
    assert world.post(BATCH_PATH, body, JSON).status == 400


@pytest.mark.parametrize(
    "body, path",
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'{"event_type": "a"}', "payload"),
        (b'{"event_type": "a", "payload": 1, "more": 1}', "more"),
        (b'{"event_type": 1, "payload": 1}', "event_type"),
        (b'{"event_type": "a", "payload": 1, "metadata": {"a": 1}}', "metadata"),
        (b'{"event_type": "a", "payload": ' + b"[" * 65 + b"]" * 65 + b"}", "payload"),
        (b'{"event_type": "a", "payload": 1, "targets": ["ep_x"]}', "targets[0]"),
    ],
)
def test_a_bad_event_is_refused_with_its_place(world: World, body: bytes, path: str) -> None:
    answer = world.post(EVENTS_PATH, body, JSON)
    assert (answer.status, world.taken) == (400, [])
    assert answer.paths[0].startswith(path)


def test_a_query_is_refused(world: World) -> None:
    answer = world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON, query=b"a=1")
    assert (answer.status, answer.paths) == (400, ["query"])


def test_a_payload_over_the_limit_is_refused(world: World) -> None:
    answer = world.post(EVENTS_PATH, {"event_type": "a", "payload": "x" * 1024}, JSON)
    assert answer.status == 413
    many = {"events": [{"event_type": "a", "payload": "x" * 1024}]}
    assert world.post(BATCH_PATH, many, JSON).status == 413


def test_the_routes_bound_their_bodies(world: World) -> None:
    bounds = {
        path: world.routes.by_path[path.encode()][b"POST"].max_body_bytes
        for path in (EVENTS_PATH, BATCH_PATH)
    }
    assert bounds == {EVENTS_PATH: LIMITS.max_body_bytes, BATCH_PATH: LIMITS.max_batch_bytes}


@pytest.mark.parametrize("key, status", [(b"", 401), (b"nobody", 401), (b"reader", 403)])
def test_who_may_not_is_refused_before_anything_is_read(
    world: World, key: bytes, status: int
) -> None:
    assert world.post(EVENTS_PATH, b"{", JSON, key=key).status == status


def test_another_project_is_not_there(world: World) -> None:
    named = (b"waypost-project", ids.spell(ids.PROJECT, ids.make(9, 9)).encode())
    assert world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON, named).status == 404


def test_who_posts_too_often_is_told_when_to_come_again(world: World) -> None:
    for _ in range(10):
        assert world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON).status == 202
    answer = world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON)
    assert (answer.status, answer.sent) == (
        429,
        {b"x-requests-remaining": b"0", b"retry-after": b"1"},
    )


@pytest.mark.parametrize(
    "refusal, status, more",
    [
        (Unavailable(), 503, {b"retry-after": b"1"}),
        (StorageFull(), 507, {b"retry-after": b"5"}),
        (IdempotencyMismatch(), 422, {}),
    ],
)
def test_what_ingest_refuses_is_told(
    world: World, refusal: WaypostError, status: int, more: dict[bytes, bytes]
) -> None:
    world.refusal = refusal
    answer = world.post(EVENTS_PATH, {"event_type": "a", "payload": 1}, JSON)
    assert answer.status == status
    assert answer.sent == {b"x-requests-remaining": b"9"} | more


def test_a_mismatch_in_a_batch_names_its_item(world: World) -> None:
    world.refusal = mismatch = IdempotencyMismatch()
    mismatch.at_index = 1
    events = [{"event_type": "a", "payload": n, "idempotency_key": f"k{n}"} for n in range(2)]
    answer = world.post(BATCH_PATH, {"events": events}, JSON)
    assert (answer.status, answer.paths) == (422, ["events[1].idempotency_key"])


def test_types_outside_the_catalogue_are_refused_with_their_place(world: World) -> None:
    world.catalogue.put(PROJECT, ["known"])
    world.catalogue.set_strict(PROJECT, True)
    one = {"event_type": "a", "payload": 1}
    answer = world.post(EVENTS_PATH, one, JSON)
    assert (answer.status, answer.paths) == (400, ["event_type"])
    answer = world.post(BATCH_PATH, {"events": [one | {"event_type": "known"}, one]}, JSON)
    assert (answer.status, answer.paths) == (422, ["events[1].event_type"])
    answer = world.post(EVENTS_PATH, b"1", *CE, JSON)
    assert (answer.status, answer.paths) == (400, ["ce-type"])


def large(word: str) -> dict[str, object]:
    """Return a batch that takes long to look through."""
    payload: object = {"a": [[]] * 40}
    return {"events": [{"event_type": word, "payload": payload} for _ in range(150)]}


async def test_what_takes_long_is_parsed_aside_and_in_its_order(world: World) -> None:
    first = world.post(BATCH_PATH, large("first"), JSON)
    second = world.post(EVENTS_PATH, {"event_type": "second", "payload": 1}, JSON)
    refused = world.post(BATCH_PATH, large("not a type"), JSON)
    assert (first.status, second.status) == (0, 0)
    await asyncio.wait_for(refused.done.wait(), 10)
    assert (first.status, second.status, refused.status) == (202, 202, 422)
    assert [drafts[0].type for drafts in world.taken] == ["first", "second"]
    world.aside.close()


async def test_a_defect_found_aside_is_still_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(subject, "parse_batch", fail)
    answer = world.post(BATCH_PATH, large("a"), JSON)
    await asyncio.wait_for(answer.done.wait(), 10)
    assert (answer.status, answer.json["message"]) == (500, "Internal server error")
    world.aside.close()


def test_moments_are_spelled_alike_within_and_across_seconds() -> None:
    moments = subject._Moments()
    for at_us, text in (
        (0, b"1970-01-01T00:00:00.000000Z"),
        (999_999, b"1970-01-01T00:00:00.999999Z"),
        (1_000_000, b"1970-01-01T00:00:01.000000Z"),
        (1_800_000_000_000_001, b"2027-01-15T08:00:00.000001Z"),
        (5, b"1970-01-01T00:00:00.000005Z"),
    ):
        assert moments.spell(at_us) == text


def test_what_a_head_says_is_read_once_but_its_sender_is_known_each_time(world: World) -> None:
    shared = SharedHead()
    body = json.dumps({"event_type": "a", "payload": 1}).encode()
    route = world.routes.lookup(b"POST", EVENTS_PATH.encode())
    assert route is not None
    headers = [(b"authorization", b"writer"), (b"idempotency-key", b"k"), JSON]

    def post() -> Request:
        request = Request(headers, body)
        request.head = shared
        route.handler(request)
        return request

    assert post().status == 202
    context = shared.context
    assert context is not None
    assert (post().status, shared.context) == (202, context)
    assert [one[0].attributes.idempotency_key for one in world.taken] == ["k", "k"]
    assert post().sent == {b"x-requests-remaining": b"7"}
    world.access.revoke(ids.make(2, 2))
    assert post().status == 401


def test_a_head_that_is_refused_is_refused_again(world: World) -> None:
    shared = SharedHead()
    for _ in range(2):
        request = Request([(b"idempotency-key", b"k")] * 2, b"{}")
        request.head = shared
        route = world.routes.lookup(b"POST", EVENTS_PATH.encode())
        assert route is not None
        route.handler(request)
        assert request.status == 400
