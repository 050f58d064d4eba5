"""How deliveries prove to a receiver who sends them, beside their signature."""

from enum import StrEnum
from typing import Final

import msgspec

MASKED: Final = "***"
"""Stands where a secret is not shown."""


class AssertionAlgorithm(StrEnum):
    """How a client assertion is signed: RFC 7518, section 3.1."""

    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"


class ExpiryUnit(StrEnum):
    """In what a token's answer says how long it is good."""

    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MINUTES = "minutes"
    HOURS = "hours"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A setting that may hold nothing unknown."""


class HeaderKey(_Part, frozen=True, tag="api_key"):
    """A key in a header."""

    header_name: str
    header_value: str


class Basic(_Part, frozen=True, tag="basic_auth"):
    """Name and password: RFC 7617."""

    username: str
    password: str


class SigningKey(_Part, frozen=True, kw_only=True):
    """The private key of a client assertion, as a JSON Web Key: RFC 7517 and RFC 7518."""

    kty: str
    kid: str = ""
    crv: str = ""
    x: str = ""
    y: str = ""
    d: str = ""
    n: str = ""
    e: str = ""
    p: str = ""
    q: str = ""
    dp: str = ""
    dq: str = ""
    qi: str = ""


class FieldNames(_Part, frozen=True):
    """What the parts of a token's answer are called; empty: as RFC 6749 has it."""

    access_token: str = ""
    token_type: str = ""
    expires_in: str = ""


class OAuth2(_Part, frozen=True, kw_only=True, tag="oauth2"):
    """A token of the grant `client_credentials`: RFC 6749, section 4.4.

    Attributes:
        url: where tokens are asked for.
        client_secret: proves the client; empty where an assertion does.
        signing_key: signs an assertion: RFC 7523, section 2.2; None where a secret proves it.
        issuer: of the assertion; empty: the client. So is `subject`.
        expiry_unit: of the answer's `expires_in`.
    """

    url: str
    client_id: str
    client_secret: str = ""
    signing_key: SigningKey | None = None
    signing_algorithm: AssertionAlgorithm = AssertionAlgorithm.ES256
    issuer: str = ""
    subject: str = ""
    scope: str = ""
    audience: str = ""
    field_names: FieldNames = FieldNames()
    expiry_unit: ExpiryUnit = ExpiryUnit.SECONDS


Authentication = HeaderKey | Basic | OAuth2


class Sealed(msgspec.Struct, frozen=True):
    """An authentication as it is kept.

    Attributes:
        shown: it, with its secrets masked.
        envelope: it as a whole, encrypted.
    """

    shown: Authentication
    envelope: bytes
