"""The documentation: whole, safe, and by itself."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest
from starlette.requests import Request

from waypost.api.docs import Documentation
from waypost.api.operation import Operation
from waypost.api.shapes import Listing
from waypost.model.project import Scope

REQUEST = Request({"type": "http", "headers": [], "method": "GET"})


class Inner(msgspec.Struct, frozen=True):
    """Inside."""

    number: int


class Thing(msgspec.Struct, frozen=True):
    """A thing of <b>bold</b> claims."""

    name: str
    inner: list[Inner] = []


TABLE = [
    Operation(
        method="POST",
        path="/v1/things/{thing}",
        name="post_thing",
        summary="Keep a <script>thing</script>",
        description="First.\n\nSecond `code`.",
        tag="Things & more",
        scope=Scope.EVENTS_WRITE,
        query=Listing,
        body=Thing,
        result=Thing,
        status=202,
        errors=(404,),
        handler=None,
    )
]


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.links.append(value or "")
            assert name != "style"
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
async def text() -> str:
    return bytes((await Documentation(TABLE).page(REQUEST)).body).decode()


def test_it_is_well_formed_and_its_links_lead_somewhere(text: str) -> None:
    page = Page(text)
    assert page.open == []
    inner = {link[1:] for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)
    assert {"post_thing", "schema-Thing", "schema-Error"} <= inner
    assert [link for link in page.links if not link.startswith("#")] == [
        "/openapi.json",
        *(f"/openapi/{one}.json" for one in ("lithic", "socotra", "buildable", "convoy", "stedi")),
    ]
    assert len(page.ids) == len(set(page.ids))


def test_it_runs_and_loads_nothing(text: str) -> None:
    assert not {"script", "img", "link", "iframe", "form"} & set(Page(text).tags)
    assert "<script>" not in text
    assert "url(" not in text
    assert "&lt;script&gt;thing" in text


async def test_its_policy_allows_its_own_style_alone(text: str) -> None:
    response = await Documentation(TABLE).page(REQUEST)
    policy = response.headers["content-security-policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_it_tells_what_the_table_tells(text: str) -> None:
    for part in (
        "Things &amp; more",
        "/v1/things/{thing}",
        "Second code.",
        "Scope: events.write",
        "page_size",
        "≤ 100",
        "400, 401, 403, 404, 413, 414, 415, 429, 503",
        "list of Inner",
    ):
        assert part in text, part


async def test_the_document_is_served_as_json() -> None:
    response = await Documentation(TABLE).openapi(REQUEST)
    assert msgspec.json.decode(bytes(response.body))["openapi"] == "3.1.0"
    assert response.headers["content-type"] == "application/json"
