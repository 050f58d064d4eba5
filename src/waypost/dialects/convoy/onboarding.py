"""Convoy's bulk onboarding: many endpoints with a subscription each, as JSON or CSV."""

import csv
import io
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from starlette.requests import Request

from waypost.dialects.convoy.answers import FaultOut, OnboardedOut, RowsOut
from waypost.dialects.convoy.endpoints import EndpointIn, EndpointRoutes
from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.projects import Home
from waypost.dialects.convoy.queries import OnboardQuery
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.things import ANY_TYPE, Subscribed
from waypost.model.errors import InvalidInput
from waypost.model.project import Principal, Scope
from waypost.model.record import Record
from waypost.policy.events import is_type
from waypost.web.multipart import file_of
from waypost.web.requests import parse_json

PATH: Final = f"{PROJECT_PATH}/onboard"
ITEMS_MAX: Final = 1_000
COLUMNS: Final = ("name", "url", "event_type", "auth_username", "auth_password")

_FORM: Final = "multipart/form-data"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class ItemIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One endpoint that is asked for."""

    name: str = ""
    url: str = ""
    event_type: str = ""
    auth_username: str = ""
    auth_password: str = ""


class ItemsIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    items: Annotated[list[ItemIn], Meta(max_length=ITEMS_MAX)]


class OnboardingRoutes:
    """The handler of the operation."""

    def __init__(self, shelf: Shelf, endpoints: EndpointRoutes) -> None:
        """Take what endpoints are kept in, and what reads one."""
        self._shelf = shelf
        self._endpoints = endpoints

    def operations(self) -> list[Operation]:
        """Return the row of the table."""
        return [
            Operation(
                "POST",
                PATH,
                Scope.SUBSCRIPTIONS_WRITE,
                self.onboard,
                exact=True,
                form=True,
                status=202,
                query=(OnboardQuery,),
                shape=ItemsIn,
            )
        ]

    async def onboard(self, call: Call) -> Answer[OnboardedOut | RowsOut]:
        """Make many endpoints, each with a subscription: all of them, or none."""
        call.allow("dry_run")
        dry = _boolean(call.one("dry_run"))
        caller = call.principal
        home = await self._shelf.homes.of(caller)
        if home.type == "incoming":
            raise InvalidInput("bulk onboarding is only available for outgoing projects")
        items = _items(call.request, call.body)
        if not items:
            raise InvalidInput("at least one item is required")
        pairs: list[tuple[Record, Record | None]] = []
        faults: list[FaultOut] = []
        for row, item in enumerate(items, 1):
            try:
                pairs.append(self._drafted(caller, item, home))
            except InvalidInput as error:
                faults += [
                    {"row": row, "field": _field(path), "message": why}
                    for path, why in error.details
                ]
        counted: RowsOut = {
            "total_rows": len(items),
            "valid_count": len(pairs),
            "errors": faults,
        }
        if dry:
            return Answer("Bulk onboard dry run completed", counted)
        if faults:
            return Answer("Bulk onboard validation failed", counted, 400)
        await self._shelf.keep_new(caller, pairs)
        data: OnboardedOut = {
            "batch_count": 1,
            "total_items": len(items),
            "message": "all endpoints and subscriptions were created",
        }
        return Answer("Bulk onboard request accepted", data, 202)

    def _drafted(self, caller: Principal, item: ItemIn, home: Home) -> tuple[Record, Record]:
        details = [
            (name, "is required") for name in ("name", "url") if not getattr(item, name).strip()
        ]
        if bool(item.auth_username) is not bool(item.auth_password):
            details.append(("auth_username", "must be given with auth_password, or neither"))
        if item.event_type not in {"", ANY_TYPE} and not is_type(item.event_type):
            details.append(("event_type", "is not an event type"))
        if len(item.name) > 200:
            details.append(("name", "must be at most 200 characters"))
        if details:
            raise InvalidInput(details=details)
        basic = {"username": item.auth_username, "password": item.auth_password}
        authentication = {"type": "basic_auth", "basic_auth": basic} if item.auth_username else None
        body = EndpointIn(url=item.url, name=item.name, authentication=authentication)
        try:
            endpoint = self._endpoints.drafted(caller, body, home)
        except InvalidInput as error:
            if error.details:
                raise
            raise InvalidInput(details=[("url", error.message)]) from error
        wanted = Subscribed(f"{item.name}-subscription", (item.event_type or ANY_TYPE,))
        return endpoint, self._shelf.new_subscription(caller, endpoint, wanted)


def _items(request: Request, body: bytes) -> list[ItemIn]:
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith(_FORM):
        return _rows(file_of(content_type, body, "file"))
    if not body:
        raise InvalidInput("The body is empty; it must be JSON")
    return parse_json(body, ItemsIn).items


def _rows(text: bytes) -> list[ItemIn]:
    try:
        reader = csv.DictReader(io.StringIO(text.decode("utf-8-sig")), strict=True)
        names = reader.fieldnames or []
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not {"name", "url"} <= set(names):
            raise InvalidInput(details=[("file", f"must have the columns {', '.join(COLUMNS)}")])
        rows: list[ItemIn] = []
        for row in reader:
            if None in row or len(rows) == ITEMS_MAX:
                reason = f"must hold at most {ITEMS_MAX} rows, of as many values as columns"
                raise InvalidInput(details=[("file", reason)])
            rows.append(ItemIn(**{name: value or "" for name, value in row.items()}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(details=[("file", f"must be CSV in UTF-8: {error}")]) from error
    return rows


def _field(path: str) -> str:
    known: dict[str, str] = {"authentication.basic_auth": "auth_username"}
    return known.get(path, path)


def _boolean(text: str | None) -> Any:
    if text is None:
        return False
    if text.lower() not in _BOOLEANS:
        raise InvalidInput(details=[("dry_run", "must be true or false")])
    return _BOOLEANS[text.lower()]
