"""Socotra's tokens: made by an administrator, shown once, good for several tenants."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.dialects.socotra import permissions as may
from waypost.dialects.socotra import wire
from waypost.dialects.socotra.routes import MAX_BODY_BYTES
from waypost.dialects.socotra.wire import TokenIn, TokenOut
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidInput, WaypostError
from waypost.model.project import Scope
from waypost.operations.access import Access
from waypost.operations.keys import Keys, NewKey
from waypost.policy import timestamp
from waypost.web.errors import Surfaces
from waypost.web.requests import Query, read_json

PATH: Final = "/auth/users/tokens"


class Tokens:
    """Makes tokens."""

    def __init__(self, access: Access, keys: Keys, surfaces: Surfaces) -> None:
        """Take what says who may, what makes keys, and what renders errors."""
        self._access = access
        self._keys = keys
        self._surfaces = surfaces
        surfaces.add(PATH, wire.render)

    def route(self) -> Route:
        """Return the route."""
        return Route(PATH, self._serve, methods=["POST"])

    async def _serve(self, request: Request) -> Response:
        try:
            made = await self._create(request)
        except WaypostError as error:
            return self._surfaces.response(request.url.path, self._surfaces.problem(error))
        return Response(msgspec.json.encode(made), media_type="application/json")

    async def _create(self, request: Request) -> TokenOut:
        authorization = request.headers.get("authorization")
        caller = self._access.authenticate(
            None if authorization is None else authorization.encode("latin-1")
        )
        self._access.spend(caller, reads=False)
        principal = self._access.authorize(caller, Scope.ADMIN, None)
        with Query(request):
            pass
        body = await read_json(request, TokenIn, MAX_BODY_BYTES)
        tenants = _tenants(body, self._access)
        granted = _permissions(body)
        new = NewKey(
            name=body.name,
            project_id=tenants[0],
            scopes=may.scopes_of(granted),
            expires_at_us=_expiry(body),
            api=Api.SOCOTRA,
            permissions=frozenset(granted),
            tenants=tuple(tenants[1:]),
        )
        try:
            made = await self._keys.create(principal, new)
        except InvalidInput as error:
            # What is wrong with it but for that was told above.
            raise InvalidInput(details=[("expiresAt", error.details[0][1])]) from error
        return TokenOut(
            name=body.name,
            expires_at=body.expires_at,
            permissions=granted,
            tenants=[ids.spell_uuid(one) for one in tenants],
            token=made.text,
        )


def _tenants(body: TokenIn, access: Access) -> list[ids.Id]:
    found: dict[ids.Id, None] = {}
    for index, text in enumerate(body.tenants):
        tenant_id = ids.find_uuid(text)
        if tenant_id is None or not access.knows(tenant_id):
            reason = "Must be a UUID" if tenant_id is None else "Is no tenant"
            raise InvalidInput(details=[(f"tenants[{index}]", reason)])
        found[tenant_id] = None
    return list(found)


def _permissions(body: TokenIn) -> list[str]:
    for index, one in enumerate(body.permissions):
        if one not in may.PERMISSIONS:
            reason = f"Must be one of {', '.join(may.PERMISSIONS)}"
            raise InvalidInput(details=[(f"permissions[{index}]", reason)])
    return list(dict.fromkeys(body.permissions))


def _expiry(body: TokenIn) -> int | None:
    if body.expires_at is None:
        return None
    try:
        return timestamp.microseconds(body.expires_at)
    except ValueError as error:
        raise InvalidInput(details=[("expiresAt", str(error))]) from error
