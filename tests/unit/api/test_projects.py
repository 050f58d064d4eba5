"""How projects stand on the wire."""

import msgspec
import pytest

from waypost.api.operation import Call
from waypost.api.projects import DefaultsIn, ProjectChange, ProjectIn, ProjectRoutes
from waypost.api.shapes import Listing
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.flow import RateLimit
from waypost.model.page import Page, PageRequest
from waypost.model.project import Environment, Principal, Project
from waypost.model.subscription import Inheritable, OnOrderFailure, Ordering
from waypost.model.verification import VerificationMode
from waypost.operations.projects import Projects
from waypost.policy.retry import LITHIC
from waypost.policy.settings import DefaultSettings

ACCOUNT, PROJECT_ID = ids.make(1, 1), ids.make(2, 2)
DEFAULTS = Inheritable(
    timeout_s=7.5,
    retry_schedule_s=LITHIC,
    rate_limit=RateLimit(5),
    ordering=Ordering.KEY,
    on_order_failure=OnOrderFailure.BLOCK,
    verify=VerificationMode.CHALLENGE,
)
PROJECT = Project(
    PROJECT_ID, ACCOUNT, "Shop", Environment.PRODUCTION, strict_types=True, defaults=DEFAULTS
)
CALLER = Principal(ids.FIRST, "admin", PROJECT_ID, frozenset())
UNSET = DefaultSettings()
LATE, FEW = DefaultsIn(timeout_s=5.0), DefaultsIn(concurrency=3)
PATH = {"project_token": ids.spell(ids.PROJECT, PROJECT_ID)}


class Fake(Projects):
    """One project, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def get(self, project_id: ids.Id) -> Project:
        self.asked.append(project_id)
        return PROJECT

    async def list_page(self, request: PageRequest) -> Page[Project]:
        self.asked.append(request)
        return Page([PROJECT], has_more=False)

    async def create(
        self,
        principal: Principal,
        name: str,
        environment: Environment,
        *,
        strict_types: bool,
        defaults: DefaultSettings = UNSET,
    ) -> Project:
        self.asked += [principal, name, environment, strict_types, defaults.timeout_s]
        return PROJECT

    async def update(
        self,
        project_id: ids.Id,
        *,
        name: str | None,
        strict_types: bool | None,
        defaults: DefaultSettings = UNSET,
    ) -> Project:
        self.asked += [project_id, name, strict_types, defaults.concurrency]
        return PROJECT

    async def delete(self, principal: Principal, project_id: ids.Id) -> None:
        self.asked += [principal, project_id]


@pytest.fixture
def fake() -> Fake:
    return Fake()


async def test_a_project_is_shown_whole(fake: Fake) -> None:
    shown = await ProjectRoutes(fake).get(Call(CALLER, PATH, None, None))
    account = str(ids.spell(ids.PROJECT, ACCOUNT)).removeprefix("prj_")
    assert msgspec.json.decode(msgspec.json.encode(shown)) == {
        "token": PATH["project_token"],
        "account": f"acc_{account}",
        "name": "Shop",
        "environment": "production",
        "strict_types": True,
        "defaults": {
            "timeout_s": 7.5,
            "concurrency": None,
            "retry_schedule": "lithic",
            "rate_limit": {"count": 5, "per_s": 1, "burst": None},
            "breaker": None,
            "sending_hours": None,
            "priority": None,
            "deliver_before_s": None,
            "failure_handling": None,
            "ordering": "key",
            "on_order_failure": "block",
            "verification": "challenge",
        },
        "created": "1970-01-01T00:00:00.000002Z",
    }


async def test_each_handler_asks_for_what_the_call_says(fake: Fake) -> None:
    routes = ProjectRoutes(fake)
    await routes.list_page(Call(CALLER, {}, Listing(page_size=3), None))
    await routes.create(Call(CALLER, {}, None, ProjectIn("Shop", Environment.TEST, True, LATE)))
    await routes.update(Call(CALLER, PATH, None, ProjectChange("x", None, FEW)))
    await routes.delete(Call(CALLER, PATH, None, None))
    assert fake.asked == [
        PageRequest(3),
        *(CALLER, "Shop", Environment.TEST, True, 5.0),
        *(PROJECT_ID, "x", None, 3),
        *(CALLER, PROJECT_ID),
    ]


async def test_what_is_no_token_is_not_found(fake: Fake) -> None:
    routes = ProjectRoutes(fake)
    with pytest.raises(NotFound, match="project not found"):
        await routes.delete(Call(CALLER, {"project_token": "prj_x"}, None, None))
    assert fake.asked == []


@pytest.mark.parametrize("name", ["", "a\nb", "\x00", "x" * 129])
def test_a_name_is_for_people(name: str) -> None:
    body = msgspec.json.encode({"name": name, "environment": "test"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=ProjectIn)
