"""Convoy's sources on the wire: what comes is read whole and checked, what is kept is shown."""

import base64
import re
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec
from msgspec import Meta

from waypost.dialects.convoy.answers import ApiKeyOut, BasicAuthOut, HmacOut, SourceOut, VerifierOut
from waypost.dialects.convoy.envelope import born, spelled
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

MASKED: Final = "***"
NOT_YET: Final = "sources of type {} are not supported yet"
FUNCTIONS_NOT_YET: Final = "functions of sources are not supported yet"

Text = Annotated[str, Meta(max_length=4_096)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Kind = Literal["http", "rest_api", "pub_sub", "db_change_stream"]
Provider = Literal["", "github", "twitter", "shopify"]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may hold nothing unknown."""


class HmacIn(_Strict, frozen=True, kw_only=True):
    """A header with a signature; a provider knows all but the secret."""

    header: Text = ""
    hash: Literal["SHA256", "SHA512", ""] = ""
    secret: Text = ""
    encoding: Literal["hex", "base64", ""] = ""


class BasicAuthIn(_Strict, frozen=True, kw_only=True):
    """Name and password."""

    username: Text = ""
    password: Text = ""


class ApiKeyIn(_Strict, frozen=True, kw_only=True):
    """A key in a header."""

    header_name: Text = ""
    header_value: Text = ""


class VerifierIn(_Strict, frozen=True, kw_only=True):
    """How senders prove who they are; the parts of other types may be there, and empty."""

    type: Literal["", "noop", "hmac", "basic_auth", "api_key"] = ""
    hmac: HmacIn | None = None
    basic_auth: BasicAuthIn | None = None
    api_key: ApiKeyIn | None = None


class ResponseIn(_Strict, frozen=True, kw_only=True):
    """What senders are answered; empty: the usual."""

    body: Annotated[str, Meta(max_length=65_536)] | None = None
    content_type: Text | None = None


class SqsIn(_Strict, frozen=True, kw_only=True):
    """A queue of Amazon's."""

    access_key_id: Text = ""
    secret_key: Text = ""
    default_region: Text = ""
    queue_name: Text = ""
    endpoint: Text | None = None


class GoogleIn(_Strict, frozen=True, kw_only=True):
    """A subscription of Google's."""

    subscription_id: Text = ""
    service_account: Annotated[str, Meta(max_length=65_536)] = ""
    project_id: Text = ""


class KafkaAuthIn(_Strict, frozen=True, kw_only=True):
    """How a broker of Kafka's is told who comes."""

    type: Literal["plain", "scram"]
    hash: Text = ""
    username: Text = ""
    password: Text = ""
    tls: bool = False


class KafkaIn(_Strict, frozen=True, kw_only=True):
    """A topic of Kafka's."""

    brokers: Annotated[tuple[Text, ...], Meta(max_length=100)] = ()
    consumer_group_id: Text = ""
    topic_name: Text = ""
    auth: KafkaAuthIn | None = None


class AmqpAuthIn(_Strict, frozen=True, kw_only=True):
    """Name and password at an AMQP broker."""

    user: Text
    password: Text


class ExchangeIn(_Strict, frozen=True, kw_only=True, rename={"routing_key": "routingKey"}):
    """What a queue is bound to."""

    exchange: Text | None = None
    routing_key: Text | None = None


class AmqpIn(
    _Strict,
    frozen=True,
    kw_only=True,
    rename={
        "bind_exchange": "bindExchange",
        "bound_exchange": "bindedExchange",
        "routing_key": "routingKey",
        "dead_letter_exchange": "deadLetterExchange",
    },
):
    """A queue of AMQP's; it is shown in another way than it is set, and may be sent as shown."""

    schema: Text = ""
    host: Text = ""
    port: Text = ""
    queue: Text = ""
    auth: AmqpAuthIn | None = None
    vhost: Text | None = None
    bind_exchange: ExchangeIn | None = None
    bound_exchange: Text | None = None
    routing_key: Text | None = None
    dead_letter_exchange: Text | None = None


class PubSubIn(_Strict, frozen=True, kw_only=True):
    """A broker that events are taken from."""

    type: Literal["sqs", "google", "kafka", "amqp"]
    workers: Annotated[int, Meta(ge=0, le=1_000)] = 0
    sqs: SqsIn | None = None
    google: GoogleIn | None = None
    kafka: KafkaIn | None = None
    amqp: AmqpIn | None = None


class SourceIn(_Strict, frozen=True, kw_only=True):
    """A source that is asked for, or the whole of one that is changed."""

    name: Name
    type: Kind
    provider: Provider | None = None
    is_disabled: bool | None = None
    verifier: VerifierIn | None = None
    custom_response: ResponseIn | None = None
    pub_sub: PubSubIn | None = None
    idempotency_keys: Annotated[tuple[Text, ...], Meta(max_length=8)] | None = None
    event_type_location: Text | None = None
    forward_headers: Annotated[tuple[Text, ...], Meta(max_length=64)] | None = None
    body_function: Annotated[str, Meta(max_length=65_536)] | None = None
    header_function: Annotated[str, Meta(max_length=65_536)] | None = None


class Told(msgspec.Struct, frozen=True):
    """What is told of a source beside other things, as its record keeps it: no secrets."""

    name: str
    type: str
    mask_id: str
    provider: str = ""
    is_disabled: bool = False


_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PARTS: Final = {"hmac": HmacIn, "basic_auth": BasicAuthIn, "api_key": ApiKeyIn}
_PROVIDERS: Final[dict[str, Any]] = {"github": GitHub, "shopify": Shopify, "twitter": Twitter}
_SIGNED: Final = {
    "github": ("X-Hub-Signature-256", Encoding.HEX),
    "shopify": ("X-Shopify-Hmac-SHA256", Encoding.BASE64),
    "twitter": ("X-Twitter-Webhooks-Signature", Encoding.BASE64),
}
_REQUIRED: Final = {
    "sqs": ("access_key_id", "secret_key", "default_region", "queue_name"),
    "google": ("subscription_id", "service_account", "project_id"),
    "kafka": ("brokers", "topic_name"),
    "amqp": ("schema", "host", "port", "queue"),
}


def check(body: SourceIn) -> None:
    """Refuse what is not here yet, once the whole of it was found to be in order.

    Raises:
        InvalidInput: it is not in order, says where; or it is not supported yet.
    """
    if body.type != "pub_sub" and body.pub_sub is not None:
        _refuse("pub_sub", "is for sources of type pub_sub")
    if body.type == "pub_sub":
        _check_pub_sub(body.pub_sub)
    if body.provider and body.type != "http":
        _refuse("provider", "is for sources of type http")
    if body.type in {"pub_sub", "db_change_stream"}:
        read_verifier(body, "")
        raise InvalidInput(NOT_YET.format(body.type))
    if body.body_function or body.header_function:
        raise InvalidInput(FUNCTIONS_NOT_YET)


def read_verifier(body: SourceIn, provider: str) -> Verifier:
    """Return in our words how senders prove who they are.

    Raises:
        InvalidInput: it is not said, or in two ways.
    """
    given = body.verifier or VerifierIn()
    named = "hmac" if provider else given.type
    for name, form in _PARTS.items():
        part = getattr(given, name)
        if name != named and part is not None and part != form():
            _refuse(f"verifier.{name}", f"must not be given with the type {named or 'noop'}")
    if provider:
        if given.type not in {"", "hmac"}:
            _refuse("verifier.type", f"must be hmac for {provider}")
        if given.hmac is None or not given.hmac.secret:
            raise InvalidInput(f"hmac secret is required for {provider} source")
        _check_signed(given.hmac, provider)
        made: Verifier = _PROVIDERS[provider](given.hmac.secret)
        return made
    if given.type in {"", "noop"}:
        return Noop()
    part = getattr(given, given.type)
    if part is None:
        raise InvalidInput(f"invalid verifier config for {given.type.replace('_', ' ')}")
    if isinstance(part, BasicAuthIn):
        return BasicAuth(part.username, part.password)
    if isinstance(part, ApiKeyIn):
        return ApiKeyHeader(part.header_value, part.header_name)
    name, encoding = HashName(part.hash or "SHA256"), Encoding(part.encoding or "hex")
    return Hmac(part.header, part.secret, name, encoding)


def provider_of(verifier: Verifier) -> str:
    """Return the name of a provider; empty where it is nobody in particular."""
    return next((name for name, kind in _PROVIDERS.items() if isinstance(verifier, kind)), "")


def read_response(
    given: ResponseIn | None, present: CustomResponse | None
) -> CustomResponse | None:
    """Return what senders are answered; what is not said stays."""
    if given is None:
        return present
    before = present or CustomResponse("", "")
    body = before.body if given.body is None else given.body
    kind = before.content_type if given.content_type is None else given.content_type
    if not body and given.content_type:
        _refuse("custom_response.body", "is required beside a content type")
    return CustomResponse(body, kind or "text/plain") if body else None


def told(source: Source) -> Told:
    """Return what its record keeps of a source."""
    provider = provider_of(source.verifier)
    return Told(source.name, source.type.value, source.mask, provider, source.disabled)


def source_out(source: Source, record: Record, base_url: str, *, masked: bool) -> SourceOut:
    """Return a source as Convoy shows it; `masked`: without secrets."""
    provider, response = provider_of(source.verifier), source.custom_response
    noted = source.challenged_us
    shown_keys = list(source.idempotency_keys) or None
    return {
        "uid": ids.spell_ulid(source.id),
        "project_id": ids.spell_ulid(source.project_id),
        "mask_id": source.mask,
        "name": source.name,
        "url": f"{base_url}/ingest/{source.mask}",
        "type": source.type.value,
        "provider": provider,
        "is_disabled": source.disabled,
        "verifier": verifier_out(source.verifier, masked=masked),
        "custom_response": {
            "body": response.body if response else "",
            "content_type": response.content_type if response else "",
        },
        "provider_config": {"twitter": {"crc_verified_at": spelled(noted)}}
        if provider == "twitter"
        else None,
        "forward_headers": source.forward_headers,
        "pub_sub": None,
        "idempotency_keys": shown_keys,
        "event_type_location": source.event_type_location or "",
        "body_function": None,
        "header_function": None,
        "created_at": born(source.id),
        "updated_at": spelled(record.changed_us),
        "deleted_at": spelled(record.deleted_us),
    }


def verifier_out(verifier: Verifier, *, masked: bool) -> VerifierOut:
    """Return how senders prove who they are, as Convoy shows it."""

    def secret(text: str) -> str:
        return MASKED if masked else text

    shown: VerifierOut = {"type": "noop", "hmac": None, "basic_auth": None, "api_key": None}
    match verifier:
        case Noop():
            pass
        case BasicAuth(username, password):
            basic: BasicAuthOut = {"username": username, "password": secret(password)}
            shown |= {"type": "basic_auth", "basic_auth": basic}
        case ApiKeyHeader(value, name):
            key: ApiKeyOut = {"header_name": name, "header_value": secret(value)}
            shown |= {"type": "api_key", "api_key": key}
        case Hmac(header, text, hash_name, encoding):
            shown |= {"type": "hmac", "hmac": _hmac(header, hash_name, secret(text), encoding)}
        case _:
            header, encoding = _SIGNED[provider_of(verifier)]
            part = _hmac(header, HashName.SHA256, secret(verifier.secret), encoding)
            shown |= {"type": "hmac", "hmac": part}
    return shown


def _hmac(header: str, name: HashName, secret: str, encoding: Encoding) -> HmacOut:
    return {"header": header, "hash": name.value, "secret": secret, "encoding": encoding.value}


def _check_signed(given: HmacIn, provider: str) -> None:
    """Refuse what a provider does in another way."""
    header, encoding = _SIGNED[provider]
    wanted = {"header": header.lower(), "hash": "SHA256", "encoding": encoding.value}
    said = {"header": given.header.lower(), "hash": given.hash, "encoding": given.encoding}
    for name, value in said.items():
        if value and value != wanted[name]:
            _refuse(f"verifier.hmac.{name}", f"is another one for {provider}; leave it out")


def _check_pub_sub(given: PubSubIn | None) -> None:
    if given is None:
        raise InvalidInput("please provide a pub_sub config")
    named = getattr(given, given.type)
    if named is None:
        _refuse(f"pub_sub.{given.type}", "is required")
    for name in _REQUIRED[given.type]:
        if not getattr(named, name):
            _refuse(f"pub_sub.{given.type}.{name}", "is required")
    if isinstance(named, GoogleIn):
        _check_account(named.service_account)
    if isinstance(named, AmqpIn):
        _check_amqp(named)
    for name in sorted(_REQUIRED.keys() - {given.type}):
        part = getattr(given, name)
        if part is not None and part != type(part)():
            _refuse(f"pub_sub.{name}", f"must not be given with the type {given.type}")


def _check_account(text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        _refuse("pub_sub.google.service_account", "must be base64")


def _check_amqp(given: AmqpIn) -> None:
    if given.schema not in {"amqp", "amqps"}:
        _refuse("pub_sub.amqp.schema", "must be amqp or amqps")
    if _PORT.fullmatch(given.port) is None or int(given.port) > 0xFFFF:
        _refuse("pub_sub.amqp.port", "must be a port from 1 to 65535")


def _refuse(path: str, reason: str) -> NoReturn:
    raise InvalidInput(details=[(path, reason)])
