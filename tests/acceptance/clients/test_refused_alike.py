"""What goes wrong in the same way is refused by each API in its own envelope and words."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.program import PATIENCE_S
from tests.support.site import Site, Tenant
from waypost.model import ids

PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "five-apis.md"
UNKNOWN: Final = ids.make(1_700_000_000_000_000, 5)
LARGE: Final = b'{"name":"' + b"x" * 3_000_000 + b'"}'


class Api:
    """One API: how a request looks, and what of an answer names the error."""

    def __init__(
        self,
        name: str,
        header: Callable[[str], dict[str, str]],
        named: Callable[[httpx.Response], str],
        *,
        reads: str,
        writes: str,
        wrong: dict[str, Any],
        body: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.header = header
        self.named = named
        self.reads = reads
        self.writes = writes
        self.wrong = wrong
        self.body = body


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


APIS: Final = (
    Api(
        "lithic",
        lambda key: {"authorization": key},
        lambda r: r.json()["message"],
        reads=f"/v1/events/{ids.spell(ids.EVENT, UNKNOWN)}",
        writes="/v1/event_subscriptions",
        wrong={"url": 1},
    ),
    Api(
        "socotra",
        bearer,
        lambda r: r.json()["message"],
        reads=f"/event/{{project}}/events/{ids.spell_ulid(UNKNOWN)}",
        writes="/event/{project}/webhooks",
        wrong={"name": 1},
    ),
    Api(
        "buildable",
        lambda key: {"x-buildable-secret": key},
        lambda r: r.json()["name"],
        reads="/init",
        writes="/init",
        wrong={"key": 1},
        body={"key": UNKNOWN.hex(), "txKey": "t"},
    ),
    Api(
        "convoy",
        bearer,
        lambda r: r.json()["message"],
        reads=f"/api/v1/projects/{{project}}/events/{ids.spell_ulid(UNKNOWN)}",
        writes="/api/v1/projects/{project}/endpoints",
        wrong={"name": 1},
    ),
    Api(
        "stedi",
        lambda key: {"authorization": f"Key {key}"},
        lambda r: r.headers["x-amzn-errortype"],
        reads=f"/events/{ids.spell(ids.EVENT, UNKNOWN)}",
        writes="/destinations",
        wrong={"name": 1},
    ),
)


class Caller:
    """Calls one API in a project, rightly but for what a case is about."""

    def __init__(self, site: Site, tenant: Tenant, api: Api) -> None:
        self._api = api
        native = "native" if api.name == "lithic" else api.name
        body = {"name": "k", "project": tenant.project, "api": native}
        made = site.admin.post("/v1/api_keys", json=body).json()
        self._project = tenant.project.removeprefix("prj_")
        if api.name == "convoy":
            self._project = made["project_id"]
        self.key: str = made["key"]
        other = {**body, "scopes": ["sources.read"]}
        self.poor: str = site.admin.post("/v1/api_keys", json=other).json()["key"]
        self.http = httpx.Client(base_url=site.url, timeout=PATIENCE_S)

    def ask(self, path: str, key: str | None = "", **options: Any) -> str:
        """Ask; return the status of the refusal, and what names it."""
        headers = {} if key is None else self._api.header(key or self.key)
        headers |= options.pop("headers", {})
        writes = path == self._api.writes
        method = options.pop("method", "POST" if writes else "GET")
        if writes and self._api.body is not None and not options:
            options["json"] = self._api.body
        path = path.format(project=self._project)
        response = self.http.request(method, path, headers=headers, **options)
        assert 400 <= response.status_code < 500, response.text
        return f"{response.status_code} {self._api.named(response)}"


Case = Callable[[Caller, Api], str]
CASES: Final[dict[str, Case]] = {
    "no key": lambda c, a: c.ask(a.writes, None),
    "a wrong key": lambda c, a: c.ask(a.writes, "nonsense"),
    "a key without the permission": lambda c, a: c.ask(a.writes, c.poor),
    "nothing has this id": lambda c, a: c.ask(a.reads),
    "the body is not JSON": lambda c, a: c.ask(a.writes, content=b"{"),
    "a field of a wrong type": lambda c, a: c.ask(a.writes, json=a.wrong),
    "another media type": lambda c, a: c.ask(
        a.writes, content=b"x", headers={"content-type": "text/csv"}
    ),
    "another method": lambda c, a: c.ask(a.writes, method="PROPFIND"),
    "a body that is too large": lambda c, a: c.ask(a.writes, content=LARGE),
}


@pytest.fixture
def callers(site: Site, tenant: Tenant) -> Iterator[list[Caller]]:
    made = [Caller(site, tenant, api) for api in APIS]
    yield made
    for one in made:
        one.http.close()


def test_each_refuses_as_the_page_says(callers: list[Caller]) -> None:
    rows = [
        "| " + " | ".join([case, *(does(c, a) for c, a in zip(callers, APIS, strict=True))]) + " |"
        for case, does in CASES.items()
    ]
    page = PAGE.read_text().splitlines()
    assert [row for row in rows if row not in page] == []
