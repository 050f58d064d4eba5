"""Stedi's side of its API: a client as its own sends requests, and what answers are held against.

The client's lines are those of the vendor's own for Python: the version stands before every path,
the key behind the word `Key`, and the status always goes along when a destination is made. Its
exceptions are found by the header `x-amzn-errortype`, and each operation knows only some of them.
"""

import re
from typing import Annotated, Any, Final, Literal

import httpx
import msgspec
from msgspec import UNSET, Meta, UnsetType

from tests.support.documents import hold
from tests.support.program import PATIENCE_S

VERSION: Final = "/2026-02-01"

Token = Annotated[
    str,
    Meta(pattern=r"\A[a-z]{3,5}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"),
]
Second = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
Millisecond = Annotated[str, Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]
Kind = Annotated[str, Meta(min_length=1, max_length=255)]
Url = Annotated[str, Meta(pattern=r"\Ahttps?://.+\Z")]
"""The vendor's are https alone; ours may be http where the server's settings allow the host."""
Secret = Annotated[str, Meta(pattern=r"\Awhsec_[A-Za-z0-9+/=]+\Z", min_length=30, max_length=255)]
PageToken = Annotated[str, Meta(min_length=1, max_length=1024)] | UnsetType


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Holds nothing that the vendor does not list."""


class Resource(Strict):
    """What an event is about."""

    id: str
    type: str


class Thin(Strict):
    """What is delivered."""

    account: Annotated[str, Meta(pattern=r"\A[0-9a-f-]{36}\Z")]
    created: Millisecond
    environment: Literal["TEST", "PRODUCTION"]
    object: Literal["v1.event"]
    resource: Resource
    id: Token | UnsetType = UNSET
    type: str | UnsetType = UNSET
    related_resources: Annotated[list[Resource], Meta(min_length=1)] | UnsetType = UNSET


class Payload(Strict):
    """It, under the name of its kind."""

    v1_event: Thin


class Summary(Strict):
    """An event of a list."""

    id: Token
    created_at: Second
    event_type: Kind
    status: Literal["PENDING", "DELIVERED", "FAILED"]


class Event(Summary):
    """An event."""

    event_payload: Payload


class Events(Strict):
    """A page of them."""

    items: list[Summary]
    next_page_token: PageToken = UNSET


class Destination(Strict, kw_only=True):
    """A destination."""

    id: Token
    name: Annotated[str, Meta(min_length=1, max_length=255)]
    description: Annotated[str, Meta(max_length=1024)]
    destination_url: Url
    event_types: Annotated[list[Kind], Meta(min_length=1)]
    status: Literal["ENABLED", "DISABLED"]
    created_at: Second
    updated_at: Second
    last_delivery_time: Second | UnsetType = UNSET
    concurrency_limit: Annotated[float, Meta(ge=1)] | UnsetType = UNSET


class NewDestination(Destination, kw_only=True):
    """One that was just made."""

    signing_secret: Secret


class Destinations(Strict):
    """A page of destinations."""

    items: list[Destination]
    next_page_token: PageToken = UNSET


class Held(Strict):
    """A secret that was asked for."""

    signing_secret: Secret
    previous_secret_expires_at: Second | UnsetType = UNSET


class Rotated(Strict):
    """A secret that has replaced another."""

    signing_secret: Secret
    previous_secret_expires_at: Second


class Failure(Strict):
    """What is wrong with one part of a request."""

    message: str
    path: Annotated[str, Meta(pattern=r"\A(/.*)?\Z")] | UnsetType = UNSET


class Refusal(Strict):
    """Every error."""

    message: Annotated[str, Meta(min_length=1)]
    errors: list[Failure] | UnsetType = UNSET


READ: Final = {400, 401, 403, 500}
ONE: Final = READ | {404, 429}
OPERATIONS: Final[dict[tuple[str, str], tuple[int, Any, set[int]]]] = {
    ("GET", "/events"): (200, Events, READ),
    ("GET", "/events/{}"): (200, Event, READ | {404}),
    ("POST", "/destinations"): (201, NewDestination, READ | {409, 413, 429}),
    ("GET", "/destinations"): (200, Destinations, READ | {429}),
    ("GET", "/destinations/{}"): (200, Destination, ONE),
    ("POST", "/destinations/{}"): (200, Destination, ONE | {409, 413}),
    ("DELETE", "/destinations/{}"): (204, None, ONE | {409}),
    ("GET", "/destinations/{}/secret"): (200, Held, ONE),
    ("POST", "/destinations/{}/secret/rotate"): (200, Rotated, ONE | {409}),
}
"""By method and path: the status of success, its body, and the refusals that are listed."""

OURS: Final = {413, 429, 503}
"""May come from any of them."""

NAMES: Final = {
    400: {"InvalidRequestException"},
    401: {"AuthenticationFailedException"},
    403: {"ForbiddenException", "EventDestinationsLimitExceededException"},
    404: {"NotFoundException"},
    405: {"InvalidRequestException"},
    409: {"ConflictException"},
    413: {"ContentTooLargeException"},
    429: {"TooManyRequestsException"},
    500: {"InternalServerException"},
    503: {"InternalServerException"},
}
_PATTERNS: Final = {
    key: re.compile(re.escape(key[1]).replace(r"\{\}", "[^/]+")) for key in OPERATIONS
}


def operation(method: str, path: str) -> tuple[str, str] | None:
    """Return which operation a request is for, if it is for one."""
    bare = path.removeprefix(VERSION)
    return next((k for k, p in _PATTERNS.items() if k[0] == method and p.fullmatch(bare)), None)


def check(response: httpx.Response) -> None:
    """Hold an answer against the vendor's contract."""
    hold("stedi", response)
    request, body = response.request, response.read()
    where = f"{request.method} {request.url}: {response.status_code} {body[:300]!r}"
    known, status = operation(request.method, request.url.path), response.status_code
    if status >= 400:
        refusal = msgspec.json.decode(body, type=Refusal)
        assert response.headers["x-amzn-errortype"] in NAMES[status], where
        assert refusal.errors is UNSET or status == 400, where
        assert known is None or status in OPERATIONS[known][2] | OURS, where
        return
    assert known is not None, where
    success, form, _ = OPERATIONS[known]
    assert status == success, where
    if form is None:
        assert body == b"", where
        return
    assert response.headers["content-type"] == "application/json", where
    try:
        msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise AssertionError(f"{where}: {error}") from error


class Client:
    """Asks as the vendor's own client does."""

    def __init__(self, url: str, key: str, *, scheme: str = "Key ", base: str = VERSION) -> None:
        self.http = httpx.Client(
            base_url=f"{url}{base}",
            headers={"authorization": f"{scheme}{key}"},
            event_hooks={"response": [check]},
            timeout=PATIENCE_S,
        )

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """Ask for something; return the JSON of the answer, which must have this status."""
        response = self.http.request(method, path, **options)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    def refused(self, method: str, path: str, status: int, **options: Any) -> tuple[str, list[str]]:
        """Ask for something that is refused; return the exception and the paths to blame."""
        response = self.http.request(method, path, **options)
        assert response.status_code == status, response.text
        places = [one.get("path", "") for one in response.json().get("errors", [])]
        return response.headers["x-amzn-errortype"], places

    def create(self, url: str, *types: str, key: str | None = None, **more: Any) -> Any:
        """Make a destination."""
        body = {
            "name": "Mine",
            "destinationUrl": url,
            "eventTypes": list(types) or ["card.created"],
        }
        headers = {} if key is None else {"idempotency-key": key}
        body |= {"status": "ENABLED", **more}
        return self.ask("POST", "/destinations", 201, json=body, headers=headers)

    def list_all(self, path: str, **params: Any) -> list[Any]:
        """Return all items of a list, page by page."""
        items: list[Any] = []
        while True:
            page = self.ask("GET", path, params=params)
            items += page["items"]
            if "nextPageToken" not in page:
                return items
            params["pageToken"] = page["nextPageToken"]

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()
