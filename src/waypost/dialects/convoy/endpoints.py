"""Convoy's endpoints: where events go, with secrets; subscriptions say which events."""

import base64
import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.clock import Clock
from waypost.dialects.convoy import authentication, paging, things
from waypost.dialects.convoy.answers import EndpointOut, EndpointStatus, PageOut
from waypost.dialects.convoy.authentication import GivenAuthentication
from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.format import FORM, JSON
from waypost.dialects.convoy.projects import Home
from waypost.dialects.convoy.queries import EndpointsQuery, Paged, SpanQuery
from waypost.dialects.convoy.shapes import endpoint_out
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.things import Endpoint, Secret, endpoint_of
from waypost.model import ids
from waypost.model.errors import Conflict, InvalidInput
from waypost.model.flow import BreakerState
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.record import Record
from waypost.operations.deliveries import Deliveries, Tally
from waypost.policy.settings import Settings

PATH: Final = f"{PROJECT_PATH}/endpoints"
ONE_PATH: Final = f"{PATH}/{{endpoint_id}}"
KIND: Final = "endpoint"
SECRETS_MAX: Final = 10
OVERLAP_MAX_H: Final = 24 * 365
RATE_WINDOW_US: Final = 3_600 * 1_000_000
"""The failure rate is that of the last hour."""

_HOUR_US: Final = 3_600 * 1_000_000
_BREAKERS: Final[dict[BreakerState, Literal["closed", "half-open", "open"]]] = {
    BreakerState.CLOSED: "closed",
    BreakerState.HALF_OPEN: "half-open",
    BreakerState.OPEN: "open",
}
_NO_TALLY: Final = Tally()
_NOT_SUPPORTED: Final = "mutual TLS is not supported yet"
_ADDRESS: Final = re.compile(r"[^@\s<>\",;]+@[^@\s<>\",;]+")

Text = Annotated[str, Meta(max_length=1_024)]
Short = Annotated[str, Meta(max_length=256)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]


class EndpointIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An endpoint that is asked for, or the whole of one that is changed."""

    url: Annotated[str, Meta(min_length=1, max_length=2_048)]
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    secret: Short | None = None
    owner_id: Short | None = None
    description: Text | None = None
    advanced_signatures: bool | None = None
    support_email: Short | None = None
    is_disabled: bool | None = None
    slack_webhook_url: Text | None = None
    teams_webhook_url: Text | None = None
    http_timeout: Annotated[int, Meta(ge=0, le=120)] | None = None
    rate_limit: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    rate_limit_duration: Seconds | None = None
    content_type: Literal["application/json", "application/x-www-form-urlencoded", ""] | None = None
    authentication: GivenAuthentication | None = None
    mtls_client_cert: (
        Annotated[dict[str, Any], Meta(extra_json_schema={"maxProperties": 0})] | None
    ) = None


class ExpireIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new secret, and for how many hours the present one is good beside it."""

    expiration: Annotated[int, Meta(ge=0, le=OVERLAP_MAX_H)] = 0
    secret: Short | None = None


class EndpointRoutes:
    """Handlers over the operations on endpoints."""

    def __init__(self, shelf: Shelf, deliveries: Deliveries, clock: Clock) -> None:
        """Take what they are kept in, and what counts deliveries."""
        self._shelf = shelf
        self._deliveries = deliveries
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about endpoints."""
        reads, writes = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
        return [
            Operation("POST", PATH, writes, self.create, EndpointIn, status=201),
            Operation("GET", PATH, reads, self.list_page, query=(Paged, EndpointsQuery)),
            Operation(
                "GET", f"{PATH}/period-failure-rates", reads, self.failure_rates, query=(SpanQuery,)
            ),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", ONE_PATH, writes, self.update, EndpointIn, status=202),
            Operation("DELETE", ONE_PATH, writes, self.delete),
            Operation("PUT", f"{ONE_PATH}/expire_secret", writes, self.expire, ExpireIn),
            Operation("PUT", f"{ONE_PATH}/pause", writes, self.pause, status=202),
            Operation("POST", f"{ONE_PATH}/activate", writes, self.activate, status=202),
        ]

    async def create(self, call: Call) -> Answer[EndpointOut]:
        """Make an endpoint; nothing is owed to it before it has a subscription or is named."""
        home = await self._shelf.homes.of(call.principal)
        record = self.drafted(call.principal, call.body, home)
        await self._shelf.keep_new(call.principal, [(record, None)])
        return Answer("Endpoint created successfully", self._shape(call.principal, record), 201)

    def drafted(self, caller: Principal, body: EndpointIn, home: Home) -> Record:
        """Return the record of an endpoint that is asked for; nothing is kept yet.

        Raises:
            InvalidInput: something of it can't be obeyed; says what.
        """
        secret = Secret(*self._secret(body.secret))
        advanced = True if home.type == "incoming" else body.advanced_signatures
        bare = Endpoint(body.name, body.url, (secret,), advanced_signatures=advanced is not False)
        return self._shelf.new_endpoint(caller, self._merged(bare, body, home))

    async def list_page(self, call: Call) -> Answer[PageOut[EndpointOut]]:
        """List endpoints."""
        call.allow("q", "ownerId", *paging.PARAMETERS)
        words, owner = (call.one("q") or "").lower(), call.one("ownerId")
        listing = paging.read(call)

        def keep(record: Record) -> bool:
            one = endpoint_of(record)
            return words in one.name.lower() and owner in {None, one.owner_id}

        async def fetch(request: PageRequest) -> Any:
            return await self._shelf.records.list_page(call.principal, things.ENDPOINT, request)

        found = await paging.sift(fetch, listing, keep, lambda one: one.id)
        tallies = await self._tallies(call.principal, *found.page.items)
        data = paging.page_out(
            listing,
            found.page,
            lambda one: one.id,
            lambda one: self._shape(call.principal, one, tallies.get(one.id, _NO_TALLY)),
            found.stopped,
        )
        return Answer("Endpoints fetched successfully", data)

    async def get(self, call: Call) -> Answer[EndpointOut]:
        """Return an endpoint."""
        record = await self._find(call)
        return Answer("Endpoint fetched successfully", await self.shown(call.principal, record))

    async def update(self, call: Call) -> Answer[EndpointOut]:
        """Replace an endpoint's settings; its secret is changed by expire_secret."""
        body: EndpointIn = call.body
        record = await self._find(call)
        present = endpoint_of(record)
        home = await self._shelf.homes.of(call.principal)
        kept = self._merged(
            Endpoint(
                present.name,
                present.url,
                present.secrets,
                advanced_signatures=present.advanced_signatures
                if body.advanced_signatures is None
                else body.advanced_signatures,
                status=present.status,
            ),
            body,
            home,
        )
        if body.secret is not None and body.secret != present.secrets[-1].value:
            kept = msgspec.structs.replace(kept, secrets=(Secret(*self._secret(body.secret)),))
        changed = await self._keep(call, record, kept)
        data = await self.shown(call.principal, changed)
        return Answer("Endpoint updated successfully", data, 202)

    async def delete(self, call: Call) -> Answer[None]:
        """Delete an endpoint with its subscriptions."""
        await self._shelf.delete_endpoint(call.principal, await self._find(call))
        return Answer("Endpoint deleted successfully")

    async def expire(self, call: Call) -> Answer[EndpointOut]:
        """Put a new secret in place of the present one, which signs on for some hours."""
        body: ExpireIn = call.body
        record = await self._find(call)
        present = endpoint_of(record)
        now_us = self._clock.now_us()
        until_us = now_us + body.expiration * _HOUR_US
        kept = [
            one if one.expires_us is not None else msgspec.structs.replace(one, expires_us=until_us)
            for one in present.secrets
        ]
        good = [one for one in kept if one.expires_us is None or one.expires_us > now_us]
        if len(good) >= SECRETS_MAX:
            raise Conflict(f"no more than {SECRETS_MAX} secrets may be valid at once")
        secrets = (*good, Secret(*self._secret(body.secret)))
        changed = await self._keep(call, record, msgspec.structs.replace(present, secrets=secrets))
        data = await self.shown(call.principal, changed)
        return Answer("endpoint secret expired successfully", data)

    async def pause(self, call: Call) -> Answer[EndpointOut]:
        """Pause an active endpoint, or resume a paused one; what it is owed is kept."""
        record = await self._find(call)
        present = endpoint_of(record)
        status = self._status(call.principal, record, present)
        if status == "inactive":
            raise Conflict(
                "current endpoint status - inactive, does not support pausing or unpausing"
            )
        entered: Literal["active", "paused"] = "active" if present.status == "paused" else "paused"
        return await self._enter(call, record, entered)

    async def activate(self, call: Call) -> Answer[EndpointOut]:
        """Have an endpoint that is paused or inactive sent to again."""
        record = await self._find(call)
        if self._status(call.principal, record, endpoint_of(record)) == "active":
            raise Conflict("the endpoint is already active")
        return await self._enter(call, record, "active")

    async def failure_rates(self, call: Call) -> Answer[dict[str, float]]:
        """Return the share of each endpoint's attempts in a range of time that failed, percent."""
        call.allow(*paging.DATES)
        begin_us, end_us = paging.read_window(call, self._clock.now_us())
        records = await self._shelf.records.all(call.principal, things.ENDPOINT)
        tallies = await self._tallies(call.principal, *records, span=(begin_us, end_us))
        data: dict[str, float] = {
            ids.spell_ulid(one): tally.failure_rate for one, tally in tallies.items()
        }
        return Answer("Endpoint failure rates fetched successfully", data)

    async def shown(
        self, caller: Principal, record: Record, *, secrets: bool = True
    ) -> EndpointOut:
        """Return an endpoint as Convoy shows it; `secrets`: with them, to who may change it."""
        tallies = await self._tallies(caller, record)
        tally = tallies.get(record.id, _NO_TALLY)
        return self._shape(caller, record, tally, secrets=secrets)

    def _merged(self, bare: Endpoint, body: EndpointIn, home: Home) -> Endpoint:
        if body.mtls_client_cert:
            raise InvalidInput(details=[("mtls_client_cert", _NOT_SUPPORTED)])
        self._shelf.subscriptions.check_settings(Settings(url=body.url))
        for name in ("slack_webhook_url", "teams_webhook_url"):
            self._shelf.check_url(getattr(body, name) or None, name)
        if body.support_email and _ADDRESS.fullmatch(body.support_email) is None:
            raise InvalidInput(details=[("support_email", "must be an e-mail address")])
        if home.config.ssl.enforce_secure_endpoints and not body.url.startswith("https://"):
            raise InvalidInput("only https endpoints allowed")
        limit, duration = body.rate_limit or 0, body.rate_limit_duration or 0
        if bool(limit) is not bool(duration):
            reason = "must be given with rate_limit_duration, or neither"
            raise InvalidInput(details=[("rate_limit", reason)])
        proof = authentication.read(body.authentication)
        if proof is not None:
            wanted = Settings(authentication=authentication.native(proof))
            self._shelf.subscriptions.check_settings(wanted)
        disabled = {None: bare.status, True: "inactive", False: bare.status}[body.is_disabled]
        return msgspec.structs.replace(
            bare,
            name=body.name,
            url=body.url,
            owner_id=body.owner_id or "",
            description=body.description or "",
            support_email=body.support_email or "",
            slack_webhook_url=body.slack_webhook_url or "",
            teams_webhook_url=body.teams_webhook_url or "",
            http_timeout=body.http_timeout or 0,
            rate_limit=limit,
            rate_limit_duration=duration,
            content_type=FORM if body.content_type == FORM else JSON,
            authentication=proof,
            status=disabled,
        )

    def _secret(self, given: str | None) -> tuple[Id, str]:
        made = self._shelf.make_key()
        return made.id, given or base64.urlsafe_b64encode(made.material).decode().rstrip("=")

    async def _find(self, call: Call) -> Record:
        return await self._shelf.endpoint(call.principal, call.id("endpoint_id", KIND))

    async def _keep(
        self, call: Call, record: Record, endpoint: Endpoint, *, revive: bool = False
    ) -> Record:
        changed = self._shelf.records.changed(record, msgspec.json.encode(endpoint))
        await self._shelf.keep_endpoint(call.principal, changed, revive=revive)
        return changed

    async def _enter(
        self, call: Call, record: Record, status: Literal["active", "paused"]
    ) -> Answer[EndpointOut]:
        kept = msgspec.structs.replace(endpoint_of(record), status=status)
        changed = await self._keep(call, record, kept, revive=status == "active")
        data = await self.shown(call.principal, changed)
        return Answer("endpoint status updated successfully", data, 202)

    async def _tallies(
        self, caller: Principal, *records: Record, span: tuple[int, int] | None = None
    ) -> dict[Id, Tally]:
        """Return what became of the deliveries to endpoints, by their ids.

        Attempts count within a span, UTC microseconds; None: of the last hour.
        """
        since_us, until_us = span or (self._clock.now_us() - RATE_WINDOW_US, None)
        parts = {
            one.id: [s.id for s in self._shelf.subscriptions.at(caller.project_id, one.id)]
            for one in records
        }
        wanted = [subscription_id for some in parts.values() for subscription_id in some]
        counted = await self._deliveries.tallies(caller, wanted, since_us, until_us)
        return {
            one: sum((counted[part] for part in some if part in counted), _NO_TALLY)
            for one, some in parts.items()
        }

    def _status(self, caller: Principal, record: Record, endpoint: Endpoint) -> EndpointStatus:
        parts = self._shelf.subscriptions.at(caller.project_id, record.id)
        if any(one.disabled_by for one in parts):
            return "inactive"
        return endpoint.status if all(one.is_verified for one in parts) else "pending"

    def _shape(
        self, caller: Principal, record: Record, tally: Tally = _NO_TALLY, *, secrets: bool = True
    ) -> EndpointOut:
        one = endpoint_of(record)
        may = secrets and Scope.SUBSCRIPTIONS_WRITE in caller.scopes
        shown = endpoint_out(record, one, self._status(caller, record, one), masked=not may)
        shown |= {
            "events": tally.deliveries,
            "failure_rate": tally.failure_rate,
            "period_failure_rate": tally.failure_rate,
            "success_count": tally.succeeded,
            "failure_count": tally.failed,
            "cb_state": _BREAKERS[tally.breaker],
        }
        return shown
