"""How an endpoint wants to be called, in Convoy's words and in ours.

It is kept as it is shown: `{type, api_key | basic_auth | oauth2}`.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.model.authentication import (
    MASKED,
    AssertionAlgorithm,
    Authentication,
    Basic,
    ExpiryUnit,
    FieldNames,
    HeaderKey,
    OAuth2,
    SigningKey,
)
from waypost.model.errors import InvalidInput
from waypost.policy.authentication import header_name
from waypost.web.openapi import whole

Text = Annotated[str, Meta(max_length=4_096)]

_SECRETS: Final = frozenset({"header_value", "password", "client_secret", "signing_key"})


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may hold nothing unknown."""


class ApiKeyIn(_Strict, frozen=True):
    """A key in a header."""

    header_name: Text = ""
    header_value: Text = ""


class BasicAuthIn(_Strict, frozen=True):
    """Name and password."""

    username: Text = ""
    password: Text = ""


class FieldMappingIn(_Strict, frozen=True):
    """What the parts of a token's answer are called."""

    access_token: Text = ""
    token_type: Text = ""
    expires_in: Text = ""


class OAuth2In(_Strict, frozen=True, kw_only=True):
    """A token of the client's own."""

    url: Text = ""
    client_id: Text = ""
    grant_type: Literal["client_credentials", ""] = "client_credentials"
    scope: Text = ""
    audience: Text = ""
    authentication_type: Literal["shared_secret", "client_assertion"] = "shared_secret"
    client_secret: Text = ""
    signing_key: SigningKey | None = None
    signing_algorithm: Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", ""] = ""
    issuer: Text = ""
    subject: Text = ""
    field_mapping: FieldMappingIn | None = None
    expiry_time_unit: Literal["seconds", "milliseconds", "minutes", "hours", ""] = ""


class AuthenticationIn(_Strict, frozen=True):
    """One of the three; the others may be there, and empty."""

    type: Literal["api_key", "basic_auth", "oauth2", ""] = ""
    api_key: ApiKeyIn | None = None
    basic_auth: BasicAuthIn | None = None
    oauth2: OAuth2In | None = None


GivenAuthentication = Annotated[dict[str, Any], Meta(extra_json_schema=whole(AuthenticationIn))]


def read(given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the authentication of an endpoint as it is kept and shown; None for none.

    Raises:
        InvalidInput: it is not in Convoy's form. Whether it can be obeyed is asked of `native`.
    """
    if not given:
        return None
    try:
        found = msgspec.convert(given, AuthenticationIn)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"authentication: {error}") from error
    parts = {name: getattr(found, name) for name in ("api_key", "basic_auth", "oauth2")}
    others = [name for name, part in parts.items() if name != found.type and _is_said(part)]
    if others:
        reason = f"must not be given with the type {found.type}" if found.type else "needs a type"
        raise InvalidInput(details=[(f"authentication.{name}", reason) for name in others])
    if not found.type:
        return None
    part = parts[found.type]
    if part is None:
        raise InvalidInput(details=[(f"authentication.{found.type}", "is required")])
    if isinstance(part, OAuth2In):
        _check_proof(part)
    return {"type": found.type, found.type: msgspec.to_builtins(part)}


def native(kept: dict[str, Any] | None) -> Authentication | None:
    """Return in our words how an endpoint is authenticated."""
    if kept is None:
        return None
    found = msgspec.convert(kept, AuthenticationIn)
    if found.api_key is not None:
        return HeaderKey(found.api_key.header_name, found.api_key.header_value)
    if found.basic_auth is not None:
        return Basic(found.basic_auth.username, found.basic_auth.password)
    return None if found.oauth2 is None else native_oauth2(found.oauth2)


def native_oauth2(given: OAuth2In) -> OAuth2:
    """Return in our words how a token is asked for."""
    asserts = given.authentication_type == "client_assertion"
    names = given.field_mapping or FieldMappingIn()
    return OAuth2(
        url=given.url,
        client_id=given.client_id,
        client_secret="" if asserts else given.client_secret,
        signing_key=given.signing_key if asserts else None,
        signing_algorithm=AssertionAlgorithm(given.signing_algorithm or "ES256"),
        issuer=given.issuer,
        subject=given.subject,
        scope=given.scope,
        audience=given.audience,
        field_names=FieldNames(names.access_token, names.token_type, names.expires_in),
        expiry_unit=ExpiryUnit(given.expiry_time_unit or "seconds"),
    )


def header_names(kept: dict[str, Any] | None) -> tuple[str, ...]:
    """Return the headers, in lower case, that an authentication is sent in."""
    found = native(kept)
    return () if found is None else (header_name(found).lower(),)


def masked(kept: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an authentication without its secrets."""
    if kept is None:
        return None
    kind = kept["type"]
    part = {
        name: MASKED if name in _SECRETS and value else value for name, value in kept[kind].items()
    }
    return {**kept, kind: part}


def _is_said(part: msgspec.Struct | None) -> bool:
    return part is not None and part != type(part)()


def _check_proof(given: OAuth2In) -> None:
    """Refuse what would be accepted and have no effect."""
    asserts = given.authentication_type == "client_assertion"
    beside = (
        {"client_secret": given.client_secret}
        if asserts
        else {
            "signing_key": given.signing_key,
            "signing_algorithm": given.signing_algorithm,
            "issuer": given.issuer,
            "subject": given.subject,
        }
    )
    wrong = [name for name, value in beside.items() if value]
    if asserts and given.signing_key is None:
        raise InvalidInput(details=[("authentication.oauth2.signing_key", "is required")])
    if wrong:
        reason = f"must not be given with {given.authentication_type}"
        raise InvalidInput(details=[(f"authentication.oauth2.{name}", reason) for name in wrong])
