"""How an event stands on the wire."""

import msgspec
import pytest

from waypost.api.events import EventDetails, EventRoutes, EventsQuery
from waypost.api.operation import Call
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event, Receipt, Resource
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.operations.events import Events

PROJECT, KEY = ids.make(1, 1), ids.make(1, 2)
EVENT_ID = ids.make(1_800_000_000_123_456, 7)
TOKEN = ids.spell(ids.EVENT, EVENT_ID)
CALLER = Principal(KEY, "app", PROJECT, frozenset())
PAYLOAD = b'{"a": 1.10, "a":"\\ud800"}'


class Fake(Events):
    """One event, and what was asked for."""

    def __init__(self, attributes: Attributes, receipts: list[Receipt]) -> None:
        self.event = Event(PROJECT, EVENT_ID, "a.b", PAYLOAD, attributes)
        self.receipts = receipts
        self.asked: list[object] = []

    async def get(self, principal: Principal, event_id: ids.Id) -> tuple[Event, list[Receipt]]:
        self.asked += [principal, event_id]
        return self.event, self.receipts

    async def list_page(
        self,
        principal: Principal,
        request: PageRequest,
        *,
        types: tuple[str, ...] = (),
        with_payload: bool = True,
    ) -> Page[Event]:
        self.asked += [principal, request, types, with_payload]
        return Page([self.event], has_more=True)


async def shown(attributes: Attributes = NO_ATTRIBUTES, *receipts: Receipt) -> bytes:
    api = EventRoutes(Fake(attributes, list(receipts)))
    details = await api.get(Call(CALLER, {"event_token": TOKEN}, None, None))
    assert isinstance(details, EventDetails)
    return msgspec.json.encode(details)


async def test_a_bare_event_is_what_lithics_client_asks_for() -> None:
    assert await shown() == (
        b'{"token":"%b","created":"2027-01-15T08:00:00.123456Z","event_type":"a.b","payload":%b}'
        % (TOKEN.encode(), PAYLOAD)
    )


async def test_everything_that_it_was_given_is_shown() -> None:
    target = ids.make(5, 5)
    attributes = Attributes(
        idempotency_key="k",
        ordering_key="o",
        occurred_at_us=1_000_000,
        owner="w",
        user="u",
        request_id="r",
        platform="p",
        label="l",
        resource=Resource("card", "c"),
        related_resources=(Resource("account", "a"),),
        metadata={"m": "n"},
        targets=(target,),
        example=True,
    )
    body = msgspec.json.decode((await shown(attributes)).replace(b"\\ud800", b""))
    assert {name: body[name] for name in list(body)[4:]} == {
        "idempotency_key": "k",
        "ordering_key": "o",
        "occurred_at": "1970-01-01T00:00:01Z",
        "owner": "w",
        "user": "u",
        "request_id": "r",
        "platform": "p",
        "label": "l",
        "resource": {"type": "card", "id": "c"},
        "related_resources": [{"type": "account", "id": "a"}],
        "metadata": {"m": "n"},
        "targets": [ids.spell(ids.SUBSCRIPTION, target)],
        "example": True,
    }


async def test_a_payload_that_is_no_json_is_in_base64() -> None:
    attributes = Attributes(content_type="text/plain", cloudevent={"id": "1"})
    body = msgspec.json.decode(await shown(attributes))
    assert body["payload_encoding"] == "base64"
    assert body["content_type"] == "text/plain"
    assert body["cloudevent"] == {"id": "1"}
    assert isinstance(body["payload"], str)


async def test_receipts_are_shown_with_the_event() -> None:
    body = await shown(NO_ATTRIBUTES, Receipt(1_000_000, KEY, False))
    receipts = msgspec.json.decode(body.replace(b"\\ud800", b""))["receipts"]
    assert receipts == [
        {
            "created": "1970-01-01T00:00:01Z",
            "api_key": ids.spell(ids.KEY, KEY),
            "same_body": False,
        }
    ]


@pytest.mark.parametrize("token", ["event_token", "", TOKEN[:-1], ids.spell(ids.KEY, EVENT_ID)])
async def test_what_is_no_token_is_not_found(token: str) -> None:
    api = EventRoutes(Fake(NO_ATTRIBUTES, []))
    with pytest.raises(NotFound, match="event not found"):
        await api.get(Call(CALLER, {"event_token": token}, None, None))


async def test_the_list_asks_for_what_the_query_says() -> None:
    fake = Fake(NO_ATTRIBUTES, [])
    query = EventsQuery(page_size=7, event_types=("a", "b"), with_content=False, begin=1)
    page = await EventRoutes(fake).list_page(Call(CALLER, {}, query, None))
    assert fake.asked == [CALLER, PageRequest(7, begin_us=1), ("a", "b"), False]
    assert (page.has_more, [one.token for one in page.data]) == (True, [TOKEN])
