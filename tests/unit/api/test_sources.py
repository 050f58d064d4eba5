"""How sources stand on the wire."""

from typing import Any

import msgspec
import pytest

from waypost.api.sources import SourceChanges, SourceIn, SourceRoutes, masked
from waypost.model import ids
from waypost.model.project import PROJECT_SCOPES, Principal, Scope
from waypost.model.source import (
    ApiKeyHeader,
    BasicAuth,
    GitHub,
    Hmac,
    Noop,
    Source,
    SourceType,
    Verifier,
)
from waypost.policy.events import EventLimits

NOTHING: Any = None
ROUTES = SourceRoutes(NOTHING, EventLimits(), "http://w")
SOURCE = Source(project_id=ids.FIRST, id=ids.make(0, 1), mask="f00d", name="s")
TOKEN = ids.spell(ids.SOURCE, SOURCE.id)


def caller(*scopes: Scope) -> Principal:
    return Principal(ids.FIRST, "k", ids.FIRST, frozenset(scopes) or PROJECT_SCOPES)


def test_a_source_is_shown() -> None:
    shown = msgspec.json.decode(msgspec.json.encode(ROUTES._shape(SOURCE, caller())))
    assert shown == {
        "token": TOKEN,
        "created": "1970-01-01T00:00:00Z",
        "name": "s",
        "type": "http",
        "url": "http://w/ingest/f00d",
        "verifier": {"type": "noop"},
        "custom_response": None,
        "event_type_location": None,
        "idempotency_keys": [],
        "forward_headers": None,
        "max_bytes": None,
        "disabled": False,
        "challenged": None,
    }
    posted = msgspec.structs.replace(SOURCE, type=SourceType.REST_API, challenged_us=60_000_000)
    out = ROUTES._shape(posted, caller())
    assert out.url == f"http://w/v1/sources/{TOKEN}/events"
    assert str(out.challenged) == "1970-01-01 00:01:00+00:00"


@pytest.mark.parametrize(
    "verifier, hidden",
    [
        (Noop(), Noop()),
        (Hmac("h", "s"), Hmac("h", "***")),
        (GitHub("s"), GitHub("***")),
        (BasicAuth("u", "p"), BasicAuth("u", "***")),
        (ApiKeyHeader("v", "n"), ApiKeyHeader("***", "n")),
    ],
)
def test_secrets_are_for_those_who_may_set_them(verifier: Verifier, hidden: Verifier) -> None:
    source = msgspec.structs.replace(SOURCE, verifier=verifier)
    assert ROUTES._shape(source, caller(Scope.SOURCES_WRITE)).verifier == verifier
    assert ROUTES._shape(source, caller(Scope.SOURCES_READ)).verifier == masked(verifier) == hidden


@pytest.mark.parametrize(
    "form, body",
    [
        (SourceIn, b"{}"),
        (SourceIn, b'{"name":""}'),
        (SourceIn, b'{"name":"a","type":"pub_sub"}'),
        (SourceIn, b'{"name":"a","mask":"b"}'),
        (SourceIn, b'{"name":"a","verifier":{"type":"stripe"}}'),
        (SourceIn, b'{"name":"a","verifier":{"type":"github","secret":"s","header":"h"}}'),
        (SourceIn, b'{"name":"a","custom_response":{"body":"x","status":200}}'),
        (SourceIn, b'{"name":"a","verifier":{"type":"hmac","header":"h"}}'),
        (
            SourceIn,
            b'{"name":"a","verifier":{"type":"hmac","header":"h","secret":"s","hash":"MD"}}',
        ),
        (SourceIn, b'{"name":"a","idempotency_keys":["1","2","3","4","5","6","7","8","9"]}'),
        (SourceChanges, b'{"type":"http"}'),
        (SourceChanges, b'{"max_bytes":0}'),
        (SourceChanges, b'{"disabled":null}'),
    ],
)
def test_what_is_no_body(form: Any, body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=form)
