"""A client of Socotra's Event API, and its contract as facts that answers are held against.

The vendor has no client in any registry. Ours differs from its document in these points: what it
lists as required may be null where there is nothing (`suspendedAt`, `alertEndpoint`,
`retryStrategy`, `secret`, `tag`); the values in `data` may be any JSON; and errors, of which it
publishes no form, have one.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import httpx
import msgspec
from msgspec import Meta

from tests.support.documents import hold
from tests.support.program import ADMIN_KEY, PATIENCE_S
from tests.support.site import Site

Ulid = Annotated[str, Meta(pattern=r"\A[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")]
Moment = Annotated[datetime, Meta(tz=True)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class _Whole(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What has no member beyond those that are listed."""


class Event(_Whole):
    """EventResponse."""

    locator: Ulid
    request_id: Ulid
    user_locator: UUID
    timestamp: Moment
    type: str
    data: dict[str, Any]


class EventStream(_Whole):
    """EventStreamResponse."""

    paging_token: str
    events: list[Event]


class Diverted(_Whole):
    """DivertedEventResponse."""

    event_locator: Ulid
    request_locator: Ulid
    failure_message: str
    failure_timestamp: Moment
    failure_trigger: str


class Endpoint(_Whole):
    """EndpointResponse."""

    url: str
    headers: dict[str, list[str]]
    secure_ssl: bool
    hmac_enabled: bool
    secret: str | None
    tag: str | None


class Retry(_Whole):
    """RetryStrategyResponse."""

    type: Literal["linear", "exponential"]
    interval: int
    attempts: Int32


class Handling(_Whole):
    """FailureHandlingResponse."""

    alert_endpoint: Endpoint | None
    divert: bool
    retry_strategy: Retry | None
    suspend: bool
    triggers: list[str]


class Webhook(_Whole):
    """WebhookResponse; the last three where `extended` was asked for, of which nothing is said."""

    locator: Ulid
    name: str
    enabled: bool
    suspended: bool
    suspended_at: Moment | None
    event_types: list[str]
    endpoint: Endpoint
    failure_handling: Handling
    deliveries: dict[str, int] | None = None
    last_failure: dict[str, str] | None = None
    backlog: dict[str, Any] | None = None


class Webhooks(_Whole):
    """WebhookListResponse."""

    list_completed: bool
    items: list[Webhook]


class Token(_Whole):
    """A token, as it was asked for."""

    name: str
    expires_at: Moment | None
    permissions: list[str]
    tenants: list[UUID]
    token: str


class Nothing(_Whole):
    """`object`."""


class Error(_Whole):
    """What a refusal is."""

    http_status: int
    message: Annotated[str, Meta(min_length=1)]
    request_id: UUID
    errors: list[dict[str, str]] = []


_TENANT: Final = r"/event/[^/]+"
_HOOK: Final = rf"{_TENANT}/webhooks/[^/]+"
_ANSWERS: Final = (
    ("GET", rf"{_TENANT}/events/list", EventStream),
    ("GET", rf"{_TENANT}/events/request/[^/]+", list[Event]),
    ("GET", rf"{_TENANT}/events/[^/]+", Event),
    ("POST", rf"{_TENANT}/webhooks", Webhook),
    ("GET", rf"{_TENANT}/webhooks/list", Webhooks),
    ("GET", _HOOK, Webhook),
    ("PATCH", _HOOK, Webhook),
    ("DELETE", _HOOK, None),
    ("PATCH", rf"{_HOOK}/unsuspend", None),
    ("GET", rf"{_HOOK}/diverted", list[Diverted]),
    ("GET", rf"{_HOOK}/diverted/[^/]+", Diverted),
    ("DELETE", rf"{_HOOK}/diverted/[^/]+", Nothing),
    ("POST", rf"{_HOOK}/diverted/[^/]+/resend", Nothing),
    ("POST", "/auth/users/tokens", Token),
)


def check(response: httpx.Response) -> None:
    """Hold an answer against the contract."""
    hold("socotra", response)
    body, request = response.read(), response.request
    if response.status_code >= 400:
        error = msgspec.json.decode(body, type=Error)
        assert error.http_status == response.status_code
        return
    form = next(
        form
        for method, path, form in _ANSWERS
        if method == request.method and re.fullmatch(path, request.url.path)
    )
    if form is None:
        assert (response.status_code, body) == (204, b"")
        return
    assert response.status_code == 200
    msgspec.json.decode(body, type=form)


class Client:
    """What a program has that uses the API, in one tenant."""

    def __init__(self, url: str, token: str, tenant: str) -> None:
        self.tenant = tenant
        self.http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            event_hooks={"response": [check]},
            timeout=PATIENCE_S,
            verify=False,
        )

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask for something below the tenant."""
        return self.http.request(method, f"/event/{self.tenant}{path}", **options)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """Ask for something that is granted; return the JSON of the answer."""
        response = self.send(method, path, **options)
        assert response.status_code in {200, 204}, response.text
        return response.json() if response.content else None

    def refused(self, status: int, method: str, path: str, **options: Any) -> list[str]:
        """Ask for something that is refused; return the paths of the fields to blame."""
        response = self.send(method, path, **options)
        assert response.status_code == status, response.text
        return [error["path"] for error in response.json().get("errors", [])]

    def webhook(self, url: str, **settings: Any) -> dict[str, Any]:
        """Make a webhook for `card.created`, unless told."""
        endpoint = {"url": url, **settings.pop("endpoint", {})}
        body = {
            "name": "hook",
            "enabled": True,
            "eventTypes": ["card.created"],
            "endpoint": endpoint,
            **settings,
        }
        made: dict[str, Any] = self.ask("POST", "/webhooks", json=body)
        return made

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()


def create_token(site: Site, key: str = ADMIN_KEY, **body: Any) -> httpx.Response:
    """Ask for a token, as an administrator unless told."""
    by = Client(site.url, key, "")
    answer = by.http.post("/auth/users/tokens", json=body)
    by.close()
    return answer
