"""Convoy's sources on the wire."""

from typing import Any

import msgspec
import pytest

from waypost.dialects.convoy.source_shapes import (
    ResponseIn,
    SourceIn,
    check,
    provider_of,
    read_response,
    read_verifier,
    source_out,
    told,
    verifier_out,
)
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.record import Record
from waypost.model.source import (
    ApiKeyHeader,
    BasicAuth,
    CustomResponse,
    Encoding,
    GitHub,
    HashName,
    Hmac,
    Noop,
    Shopify,
    Source,
    Twitter,
    Verifier,
)


def body(**fields: Any) -> SourceIn:
    given = {"name": "s", "type": "http", **fields}
    return msgspec.json.decode(msgspec.json.encode(given), type=SourceIn)


SECRET = {"hmac": {"secret": "s"}}
VERIFIERS: list[tuple[dict[str, Any] | None, str, Verifier]] = [
    (None, "", Noop()),
    ({}, "", Noop()),
    ({"type": "noop", "hmac": {}, "api_key": None}, "", Noop()),
    ({"type": "hmac", "hmac": {"header": "h", "secret": "s"}}, "", Hmac("h", "s")),
    (
        {
            "type": "hmac",
            "hmac": {"header": "h", "secret": "s", "hash": "SHA512", "encoding": "base64"},
        },
        "",
        Hmac("h", "s", HashName.SHA512, Encoding.BASE64),
    ),
    (
        {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}},
        "",
        BasicAuth("u", "p"),
    ),
    (
        {"type": "api_key", "api_key": {"header_name": "n", "header_value": "v"}},
        "",
        ApiKeyHeader("v", "n"),
    ),
    (SECRET, "github", GitHub("s")),
    (SECRET | {"type": "hmac"}, "shopify", Shopify("s")),
    (SECRET, "twitter", Twitter("s")),
]


@pytest.mark.parametrize("given, provider, wanted", VERIFIERS)
def test_a_verifier_comes_and_goes(
    given: dict[str, Any] | None, provider: str, wanted: Verifier
) -> None:
    assert read_verifier(body(verifier=given), provider) == wanted
    assert provider_of(wanted) == provider
    shown = verifier_out(wanted, masked=False)
    assert set(shown) == {"type", "hmac", "basic_auth", "api_key"}
    # What is shown may be sent back.
    assert read_verifier(body(verifier=shown), provider) == wanted
    hidden = msgspec.json.encode(verifier_out(wanted, masked=True)).decode()
    if not isinstance(wanted, Noop):
        assert '"***"' in hidden


@pytest.mark.parametrize(
    "given, provider, told_of",
    [
        ({"type": "hmac", "hmac": {}, "api_key": {"header_name": "x"}}, "", "verifier.api_key"),
        ({"hmac": {"secret": "s"}}, "", "verifier.hmac"),
        ({"type": "basic_auth"}, "", "invalid verifier config for basic auth"),
        ({"type": "noop"}, "github", "verifier.type"),
        ({"hmac": {}}, "github", "hmac secret is required for github source"),
        ({"hmac": {"secret": "s", "hash": "SHA512"}}, "github", "verifier.hmac.hash"),
        ({"hmac": {"secret": "s", "encoding": "hex"}}, "shopify", "verifier.hmac.encoding"),
    ],
)
def test_what_is_said_in_two_ways_is_refused(
    given: dict[str, Any], provider: str, told_of: str
) -> None:
    with pytest.raises(InvalidInput, match=told_of):
        read_verifier(body(verifier=given), provider)


@pytest.mark.parametrize(
    "given, present, wanted",
    [
        (None, None, None),
        (None, CustomResponse("a", "b/c"), CustomResponse("a", "b/c")),
        (ResponseIn(), CustomResponse("a", "b/c"), CustomResponse("a", "b/c")),
        (ResponseIn(body="a"), None, CustomResponse("a", "text/plain")),
        (ResponseIn(body="d"), CustomResponse("a", "b/c"), CustomResponse("d", "b/c")),
        (ResponseIn(content_type="d/e"), CustomResponse("a", "b/c"), CustomResponse("a", "d/e")),
        (ResponseIn(body=""), CustomResponse("a", "b/c"), None),
        (ResponseIn(body="", content_type=""), None, None),
    ],
)
def test_what_senders_are_answered(
    given: ResponseIn | None, present: CustomResponse | None, wanted: CustomResponse | None
) -> None:
    assert read_response(given, present) == wanted


AMQP = {"schema": "amqp", "host": "h", "port": "5672", "queue": "q"}


@pytest.mark.parametrize(
    "fields, told_of",
    [
        ({"pub_sub": {"type": "amqp", "amqp": AMQP}}, "pub_sub: is for sources"),
        ({"type": "pub_sub"}, "please provide a pub_sub config"),
        ({"type": "pub_sub", "pub_sub": {"type": "amqp"}}, "pub_sub.amqp: is required"),
        (
            {"type": "pub_sub", "pub_sub": {"type": "amqp", "amqp": AMQP | {"port": "0"}}},
            "pub_sub.amqp.port",
        ),
        (
            {"type": "pub_sub", "pub_sub": {"type": "amqp", "amqp": AMQP | {"port": "65536"}}},
            "pub_sub.amqp.port",
        ),
        (
            {"type": "pub_sub", "pub_sub": {"type": "amqp", "amqp": AMQP | {"schema": "http"}}},
            "pub_sub.amqp.schema",
        ),
        (
            {
                "type": "pub_sub",
                "pub_sub": {
                    "type": "google",
                    "google": {"subscription_id": "s", "project_id": "p", "service_account": "!"},
                },
            },
            "pub_sub.google.service_account",
        ),
        (
            {
                "type": "pub_sub",
                "pub_sub": {"type": "amqp", "amqp": AMQP, "sqs": {"queue_name": "q"}},
            },
            "pub_sub.sqs",
        ),
        (
            {
                "type": "pub_sub",
                "pub_sub": {
                    "type": "amqp",
                    "amqp": AMQP | {"bindedExchange": "e", "routingKey": "r", "vhost": "v"},
                },
            },
            "type pub_sub are not supported yet",
        ),
        ({"type": "db_change_stream", "provider": "github"}, "provider"),
        ({"type": "db_change_stream", "verifier": SECRET}, "verifier.hmac"),
        ({"type": "db_change_stream"}, "type db_change_stream are not supported yet"),
        ({"header_function": "f"}, "functions of sources are not supported yet"),
    ],
)
def test_what_is_not_here_is_refused_once_the_rest_is_in_order(
    fields: dict[str, Any], told_of: str
) -> None:
    with pytest.raises(InvalidInput, match=told_of):
        check(body(**fields))


def test_a_source_is_shown_with_every_key() -> None:
    source = Source(project_id=ids.FIRST, id=ids.make(0, 1), mask="m", name="s")
    record = Record(ids.FIRST, "convoy.source", source.id, b"{}", None, 0)
    shown = source_out(source, record, "http://w", masked=False)
    assert (shown["url"], shown["uid"]) == ("http://w/ingest/m", ids.spell_ulid(source.id))
    assert len(shown) == 20
    twitter = msgspec.structs.replace(source, verifier=Twitter("s"), challenged_us=0)
    noted = source_out(twitter, record, "", masked=True)["provider_config"]
    assert noted == {"twitter": {"crc_verified_at": "1970-01-01T00:00:00.000000Z"}}
    assert (told(twitter).provider, told(twitter).mask_id) == ("twitter", "m")
