"""Projects: for administrators."""

from typing import Final

import msgspec

from waypost.api.failure_handling import FailureHandlingOut, handling_out
from waypost.api.operation import Call, Operation
from waypost.api.shapes import Listing, Moment, Named, PageOf, moment, page_of, page_request
from waypost.model import ids
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.project import Environment, Project, Scope
from waypost.model.subscription import Inheritable, OnOrderFailure, Ordering
from waypost.model.verification import VerificationMode
from waypost.operations.projects import Projects
from waypost.policy.settings import DefaultSettings, schedule_name

TAG: Final = "Projects"
PATH: Final = "/v1/projects"
ONE_PATH: Final = f"{PATH}/{{project_token}}"


class DefaultsOut(msgspec.Struct, frozen=True):
    """What a project's subscriptions go by where they set nothing; null: what is built in."""

    timeout_s: float | None
    concurrency: int | None
    retry_schedule: str | tuple[float, ...] | None
    rate_limit: RateLimit | None
    breaker: Breaker | None
    sending_hours: SendingHours | None
    priority: Priority | None
    deliver_before_s: int | None
    failure_handling: FailureHandlingOut | None
    ordering: Ordering | None
    on_order_failure: OnOrderFailure | None
    verification: VerificationMode | None


class DefaultsIn(DefaultSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of subscriptions: what is absent stays, null is what is built in."""


class ProjectOut(msgspec.Struct, frozen=True):
    """A tenant in one environment; `account` groups projects."""

    token: str
    account: str
    name: str
    environment: Environment
    strict_types: bool
    defaults: DefaultsOut
    created: Moment


class ProjectIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new project.

    `strict_types`: events of types outside its catalogue are refused. `defaults`: what its
    subscriptions go by where they set nothing themselves.
    """

    name: Named
    environment: Environment
    strict_types: bool = False
    defaults: DefaultsIn = DefaultsIn()


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change; what is absent stays."""

    name: Named | None = None
    strict_types: bool | None = None
    defaults: DefaultsIn = DefaultsIn()


class ProjectRoutes:
    """Handlers over the operations on projects."""

    def __init__(self, projects: Projects) -> None:
        """Take the operations."""
        self._projects = projects

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about projects."""
        return [*self._of_all(), *self._of_one()]

    def _of_all(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_projects",
                summary="List projects",
                tag=TAG,
                scope=Scope.ADMIN,
                query=Listing,
                result=PageOf[ProjectOut],
                handler=self.list_page,
            ),
            Operation(
                method="POST",
                path=PATH,
                name="create_project",
                summary="Make a project",
                tag=TAG,
                scope=Scope.ADMIN,
                body=ProjectIn,
                result=ProjectOut,
                status=201,
                handler=self.create,
            ),
        ]

    def _of_one(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=ONE_PATH,
                name="get_project",
                summary="Get a project",
                tag=TAG,
                scope=Scope.ADMIN,
                result=ProjectOut,
                errors=(404,),
                handler=self.get,
            ),
            Operation(
                method="PATCH",
                path=ONE_PATH,
                name="update_project",
                summary="Change a project",
                tag=TAG,
                scope=Scope.ADMIN,
                body=ProjectChange,
                result=ProjectOut,
                errors=(404,),
                handler=self.update,
            ),
            Operation(
                method="DELETE",
                path=ONE_PATH,
                name="delete_project",
                summary="Delete a project",
                description=(
                    "Its keys are revoked at once; its events stay until retention takes them."
                    " Refused while it has event subscriptions: deleting those cancels what they"
                    " are owed, visibly. The default project cannot be deleted."
                ),
                tag=TAG,
                scope=Scope.ADMIN,
                status=204,
                errors=(404, 422),
                handler=self.delete,
            ),
        ]

    async def list_page(self, call: Call[Listing, None]) -> PageOf[ProjectOut]:
        """List projects."""
        page = await self._projects.list_page(page_request(call.query, ids.PROJECT))
        return page_of(page, _shape)

    async def create(self, call: Call[None, ProjectIn]) -> ProjectOut:
        """Make a project."""
        body = call.body
        made = await self._projects.create(
            call.principal,
            body.name,
            body.environment,
            strict_types=body.strict_types,
            defaults=body.defaults,
        )
        return _shape(made)

    async def get(self, call: Call[None, None]) -> ProjectOut:
        """Get a project."""
        return _shape(await self._projects.get(_id(call.path)))

    async def update(self, call: Call[None, ProjectChange]) -> ProjectOut:
        """Change a project."""
        changed = await self._projects.update(
            _id(call.path),
            name=call.body.name,
            strict_types=call.body.strict_types,
            defaults=call.body.defaults,
        )
        return _shape(changed)

    async def delete(self, call: Call[None, None]) -> None:
        """Delete a project."""
        await self._projects.delete(call.principal, _id(call.path))


def _id(path: dict[str, str]) -> ids.Id:
    return ids.read(ids.PROJECT, path["project_token"])


def _shape(project: Project) -> ProjectOut:
    return ProjectOut(
        token=ids.spell(ids.PROJECT, project.id),
        account=ids.spell("acc", project.account_id),
        name=project.name,
        environment=project.environment,
        strict_types=project.strict_types,
        defaults=_defaults(project.defaults),
        created=moment(ids.moment(project.id)),
    )


def _defaults(defaults: Inheritable) -> DefaultsOut:
    schedule_s, handling = defaults.retry_schedule_s, defaults.failure_handling
    return DefaultsOut(
        timeout_s=defaults.timeout_s,
        concurrency=defaults.concurrency,
        retry_schedule=schedule_name(schedule_s) or schedule_s,
        rate_limit=defaults.rate_limit,
        breaker=defaults.breaker,
        sending_hours=defaults.sending_hours,
        priority=defaults.priority,
        deliver_before_s=defaults.deliver_before_s,
        failure_handling=None if handling is None else handling_out(handling, masked=False),
        ordering=defaults.ordering,
        on_order_failure=defaults.on_order_failure,
        verification=defaults.verify,
    )
