"""API keys: for administrators."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.api.shapes import Listing, Moment, Named, PageOf, moment, page_of, page_request
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidInput
from waypost.model.project import ApiKey, Environment, Scope
from waypost.operations.keys import Keys, NewKey
from waypost.policy import timestamp

TAG: Final = "API keys"
PATH: Final = "/v1/api_keys"
ONE_PATH: Final = f"{PATH}/{{api_key_token}}"


class KeyIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new key.

    `environment` chooses the account's oldest project of that environment, which is made where
    there is none; `project` names one instead. Without `scopes` it may do all but administration.
    `api` is whose clients it is for: it is spelled as they expect, and good on every surface.
    """

    name: Named
    environment: Environment | None = None
    project: str | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1)] | None = None
    expires_at: Moment | None = None
    api: Api = Api.NATIVE


class KeyOut(msgspec.Struct, frozen=True):
    """A key without its secret."""

    token: str
    name: str
    project: str
    scopes: list[Scope]
    created: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    api: Api


class NewKeyOut(KeyOut, frozen=True):
    """A new key with its secret, which is shown this once, and what a client of its API needs.

    `project_id`, `tenant_locator` and `account` are the project as Convoy, Socotra and Stedi spell
    it; `base_url` is where this server listens.
    """

    key: str
    environment: Environment
    project_id: str
    tenant_locator: str
    account: str
    base_url: str


class KeyRoutes:
    """Handlers over the operations on keys."""

    def __init__(self, keys: Keys, base_url: str) -> None:
        """Take the operations, and where clients find this server."""
        self._keys = keys
        self._base_url = base_url

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about keys."""
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_api_keys",
                summary="List a project's API keys",
                description="Revoked and expired ones too; secrets are never shown again.",
                tag=TAG,
                scope=Scope.ADMIN,
                query=Listing,
                result=PageOf[KeyOut],
                handler=self.list_page,
            ),
            Operation(
                method="POST",
                path=PATH,
                name="create_api_key",
                summary="Make an API key",
                tag=TAG,
                scope=Scope.ADMIN,
                body=KeyIn,
                result=NewKeyOut,
                status=201,
                errors=(404,),
                handler=self.create,
            ),
            Operation(
                method="DELETE",
                path=ONE_PATH,
                name="revoke_api_key",
                summary="Revoke an API key",
                description="In force when the answer comes.",
                tag=TAG,
                scope=Scope.ADMIN,
                status=204,
                errors=(404,),
                handler=self.revoke,
            ),
        ]

    async def list_page(self, call: Call[Listing, None]) -> PageOf[KeyOut]:
        """List keys."""
        page = await self._keys.list_page(call.principal, page_request(call.query, ids.KEY))
        return page_of(page, _shape)

    async def create(self, call: Call[None, KeyIn]) -> NewKeyOut:
        """Make a key."""
        body = call.body
        made = await self._keys.create(
            call.principal,
            NewKey(
                name=body.name,
                environment=body.environment,
                project_id=None if body.project is None else ids.read(ids.PROJECT, body.project),
                scopes=None if body.scopes is None else frozenset(body.scopes),
                expires_at_us=_expiry(body.expires_at),
                api=body.api,
            ),
        )
        project_id = made.project.id
        return NewKeyOut(
            **msgspec.structs.asdict(_shape(made.key)),
            key=made.text,
            environment=made.project.environment,
            project_id=ids.spell_ulid(project_id),
            tenant_locator=ids.spell_uuid(project_id),
            account=ids.spell_uuid(project_id),
            base_url=self._base_url,
        )

    async def revoke(self, call: Call[None, None]) -> None:
        """Revoke a key."""
        await self._keys.revoke(call.principal, ids.read(ids.KEY, call.path["api_key_token"]))


def _expiry(at: datetime | None) -> int | None:
    if at is None:
        return None
    try:
        return timestamp.microseconds(at)
    except ValueError as error:
        raise InvalidInput(details=[("expires_at", str(error))]) from error


def _shape(key: ApiKey) -> KeyOut:
    expires, revoked = key.expires_at_us, key.revoked_at_us
    return KeyOut(
        token=ids.spell(ids.KEY, key.id),
        name=key.name,
        project=ids.spell(ids.PROJECT, key.project_id),
        scopes=sorted(key.scopes),
        created=moment(ids.moment(key.id)),
        expires_at=None if expires is None else moment(expires),
        revoked_at=None if revoked is None else moment(revoked),
        api=key.api,
    )
