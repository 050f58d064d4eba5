"""How deliveries and attempts stand on the wire."""

import msgspec
import pytest

from waypost.api.deliveries import (
    AttemptsQuery,
    DeliveriesOfEventQuery,
    DeliveriesQuery,
    DeliveryRoutes,
    State,
    attempt_out,
)
from waypost.api.operation import Call
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason, Timings
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.operations.deliveries import Deliveries, DeliveryFilter

PROJECT, EVENT, SUBSCRIPTION, DELIVERY, ATTEMPT = (ids.make(n, n) for n in range(1, 6))
CALLER = Principal(ids.FIRST, "app", PROJECT, frozenset())
PENDING = Delivery(
    PROJECT, DELIVERY, EVENT, SUBSCRIPTION, "a.b", DeliveryState.PENDING, 2, due_us=1_000_000
)
FAILED = Delivery(
    PROJECT,
    DELIVERY,
    EVENT,
    SUBSCRIPTION,
    "a.b",
    DeliveryState.FAILED,
    3,
    finished_us=2_000_000,
    reason=Reason.EXHAUSTED,
    diverted=True,
)
TRIED = ShownAttempt(
    PROJECT,
    ATTEMPT,
    EVENT,
    DELIVERY,
    SUBSCRIPTION,
    2,
    AttemptStatus.FAILED,
    "https://a.example/",
    503,
    b"no\xff\x00",
    Timings(1000, 2000, 0, 4500, 5000),
    True,
)
TO_COME = ShownAttempt(
    PROJECT, ATTEMPT, EVENT, DELIVERY, SUBSCRIPTION, 3, AttemptStatus.PENDING, "https://a.example/"
)


class Fake(Deliveries):
    """Answers with what it was made with; remembers what was asked for."""

    def __init__(self, *deliveries: Delivery, attempt: ShownAttempt = TRIED) -> None:
        self.deliveries = list(deliveries)
        self.shown = attempt
        self.asked: list[object] = []

    async def list_page(
        self, principal: Principal, request: PageRequest, which: DeliveryFilter
    ) -> Page[Delivery]:
        self.asked += [principal, request, which]
        return Page(self.deliveries, has_more=True)

    async def attempts_of_event(
        self,
        principal: Principal,
        event_id: ids.Id,
        request: PageRequest,
        status: AttemptStatus | None = None,
    ) -> Page[ShownAttempt]:
        self.asked += [principal, event_id, request, status]
        return Page([self.shown], has_more=False)

    async def attempt(
        self, principal: Principal, event_id: ids.Id, attempt_id: ids.Id
    ) -> tuple[ShownAttempt, dict[str, str] | None]:
        self.asked += [principal, event_id, attempt_id]
        return self.shown, {"host": "a.example"}


EVENT_PATH = {"event_token": ids.spell(ids.EVENT, EVENT)}
ATTEMPT_PATH = EVENT_PATH | {"attempt_token": ids.spell(ids.ATTEMPT, ATTEMPT)}


async def listed(fake: Fake, query: DeliveriesQuery) -> dict[str, object]:
    page = await DeliveryRoutes(fake).list_page(Call(CALLER, {}, query, None))
    body: dict[str, object] = msgspec.json.decode(msgspec.json.encode(page))
    return body


async def test_each_delivery_tells_where_it_stands() -> None:
    page = await DeliveryRoutes(Fake(PENDING, FAILED)).list_page(
        Call(CALLER, {}, DeliveriesQuery(), None)
    )
    pending, failed = msgspec.json.decode(msgspec.json.encode(page.data))
    tokens = {
        "token": ids.spell(ids.DELIVERY, DELIVERY),
        "event_token": ids.spell(ids.EVENT, EVENT),
        "event_type": "a.b",
        "event_subscription_token": ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION),
        "created": "1970-01-01T00:00:00.000004Z",
    }
    assert pending == tokens | {
        "state": "pending",
        "reason": None,
        "attempts": 2,
        "due": "1970-01-01T00:00:01Z",
        "finished": None,
        "diverted": False,
    }
    assert failed == tokens | {
        "state": "failed",
        "reason": "retries_exhausted",
        "attempts": 3,
        "due": None,
        "finished": "1970-01-01T00:00:02Z",
        "diverted": True,
    }


def test_the_states_are_those_of_the_model() -> None:
    assert [(state.name, state.value) for state in State] == [
        (state.name, state.name.lower()) for state in DeliveryState
    ]


async def test_the_query_narrows_the_list() -> None:
    fake = Fake()
    token = ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION)
    query = DeliveriesQuery(
        page_size=3,
        state=State.FAILED,
        event_subscription_token=token,
        event_types=("a",),
        begin=1,
        end=2,
    )
    await listed(fake, query)
    which = DeliveryFilter(DeliveryState.FAILED, None, SUBSCRIPTION, ("a",))
    assert fake.asked == [CALLER, PageRequest(3, begin_us=1, end_us=2), which]


async def test_a_pages_ends_are_positions_for_the_next_query() -> None:
    fake = Fake(PENDING, FAILED)
    page = await listed(fake, DeliveriesQuery())
    query = DeliveriesQuery(starting_after=str(page["older"]), ending_before=str(page["newer"]))
    await listed(fake, query)
    assert fake.asked[4] == PageRequest(50, EVENT + DELIVERY, EVENT + DELIVERY)
    empty = await listed(Fake(), DeliveriesQuery())
    assert (empty["older"], empty["newer"]) == (None, None)


@pytest.mark.parametrize("text", ["", "x", "é", "====", "AAAA", ids.spell(ids.DELIVERY, DELIVERY)])
@pytest.mark.parametrize("field", ["starting_after", "ending_before"])
async def test_what_is_no_position_is_refused(field: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await listed(Fake(), DeliveriesQuery(**{field: text}))  # type: ignore[arg-type] # fields by name
    assert [path for path, _ in refused.value.details] == [field]


async def test_what_is_no_token_of_a_subscription_is_refused() -> None:
    with pytest.raises(InvalidInput, match="event_subscription_token"):
        await listed(Fake(), DeliveriesQuery(event_subscription_token="ep_x"))


async def test_an_events_deliveries_are_asked_for() -> None:
    fake = Fake(PENDING)
    query = DeliveriesOfEventQuery(state=State.PENDING)
    await DeliveryRoutes(fake).list_of_event(Call(CALLER, EVENT_PATH, query, None))
    assert fake.asked[2] == DeliveryFilter(DeliveryState.PENDING, EVENT)


async def test_an_events_attempts_are_asked_for() -> None:
    fake = Fake()
    query = AttemptsQuery(status=AttemptStatus.FAILED, page_size=2)
    page = await DeliveryRoutes(fake).list_attempts(Call(CALLER, EVENT_PATH, query, None))
    assert fake.asked == [CALLER, EVENT, PageRequest(2), AttemptStatus.FAILED]
    assert page.data == [attempt_out(TRIED)]


def test_an_attempt_is_what_lithics_client_asks_for() -> None:
    assert msgspec.json.decode(msgspec.json.encode(attempt_out(TRIED))) == {
        "token": ids.spell(ids.ATTEMPT, ATTEMPT),
        "created": "1970-01-01T00:00:00.000005Z",
        "event_subscription_token": ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION),
        "event_token": ids.spell(ids.EVENT, EVENT),
        "response": "no\ufffd\x00",
        "response_status_code": 503,
        "status": "FAILED",
        "url": "https://a.example/",
    }


def test_an_attempt_to_come_has_an_empty_response_and_no_code() -> None:
    shown = attempt_out(TO_COME)
    assert (shown.response, shown.response_status_code, shown.status) == ("", 0, "PENDING")


async def test_an_attempts_details_tell_its_circumstances() -> None:
    details = await DeliveryRoutes(Fake()).get_attempt(Call(CALLER, ATTEMPT_PATH, None, None))
    body = msgspec.json.decode(msgspec.json.encode(details))
    assert {name: body[name] for name in list(body)[8:]} == {
        "delivery_token": ids.spell(ids.DELIVERY, DELIVERY),
        "attempt_number": 2,
        "timings": {
            "resolve_ms": 1.0,
            "connect_ms": 2.0,
            "tls_ms": 0.0,
            "first_byte_ms": 4.5,
            "total_ms": 5.0,
        },
        "possibly_repeated": True,
        "request_headers": {"host": "a.example"},
    }


async def test_an_attempt_to_come_has_no_timings() -> None:
    routes = DeliveryRoutes(Fake(attempt=TO_COME))
    details = await routes.get_attempt(Call(CALLER, ATTEMPT_PATH, None, None))
    assert details.timings is None


@pytest.mark.parametrize("name", ["event_token", "attempt_token"])
async def test_what_is_no_token_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        await DeliveryRoutes(Fake()).get_attempt(
            Call(CALLER, ATTEMPT_PATH | {name: "x"}, None, None)
        )
