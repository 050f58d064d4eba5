"""How deliveries are authenticated: what may be set, what is sent, and what a token's answer says.

Sources: RFC 6749, sections 2.3.1, 4.4 and 5; RFC 7617.
"""

import base64
import math
import re
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from waypost.model.authentication import (
    MASKED,
    Authentication,
    Basic,
    ExpiryUnit,
    HeaderKey,
    OAuth2,
    SigningKey,
)
from waypost.model.errors import InvalidInput
from waypost.model.exchange import Exchange, Reply
from waypost.policy import assertions, headers, urlencoded, urls
from waypost.policy.egress import EgressRules
from waypost.policy.urls import Destination

SECRET_MAX: Final = 4_096
NAME_MAX: Final = 256
TOKEN_MAX: Final = 16 * 1024
KEPT_S: Final = 300.0
"""How long a token is used whose answer does not say how long it is good."""
KEPT_MAX_S: Final = 24 * 3600.0
EARLY_S: Final = 30.0
"""So long before its end a token is renewed; or a tenth of its time, where that is less."""
AUTHORIZATION: Final = "Authorization"

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FORM: Final = b"application/x-www-form-urlencoded"
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_CODE: Final = re.compile(r"[a-z_]{1,64}")
_UNIT_S: Final = {
    ExpiryUnit.SECONDS: 1.0,
    ExpiryUnit.MILLISECONDS: 0.001,
    ExpiryUnit.MINUTES: 60.0,
    ExpiryUnit.HOURS: 3600.0,
}
_SECRETS: Final = {"header_value", "password", "client_secret"}
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode

Faults = list[tuple[str, str]]


class Token(msgspec.Struct, frozen=True):
    """A token: the value of `Authorization`, and for how many seconds it is to be used."""

    value: bytes
    for_s: float


def faults(given: Authentication, rules: EgressRules, at: str = "authentication") -> Faults:
    """Return what is wrong with an authentication: paths, from `at` on, and reasons."""
    match given:
        case HeaderKey(name, value):
            found = _name_faults(name)
            if len(value) > SECRET_MAX or not _VALUE.fullmatch(value):
                found.append(("header_value", "must be visible ASCII characters, and not empty"))
        case Basic(username, password):
            found = _text_faults({"username": username, "password": password}, SECRET_MAX)
            if ":" in username:
                found.append(("username", "must not hold a colon"))
        case OAuth2():
            found = _oauth2_faults(given, rules)
    return [(f"{at}.{path}", reason) for path, reason in found]


def masked(given: Authentication) -> Authentication:
    """Return an authentication without its secrets."""
    present = (name for name in _SECRETS & set(given.__struct_fields__) if getattr(given, name))
    changes: dict[str, Any] = dict.fromkeys(present, MASKED)
    if isinstance(given, OAuth2) and given.signing_key is not None:
        key = given.signing_key
        changes["signing_key"] = SigningKey(kty=key.kty, kid=key.kid, crv=key.crv, d=MASKED)
    return replace(given, **changes)


def header_name(given: Authentication) -> str:
    """Return the name of the header that it is sent in."""
    return given.header_name if isinstance(given, HeaderKey) else AUTHORIZATION


def fixed_value(given: HeaderKey | Basic) -> bytes:
    """Return the value of the header that is sent with every delivery."""
    if isinstance(given, HeaderKey):
        return given.header_value.encode("ascii")
    return b"Basic " + base64.b64encode(f"{given.username}:{given.password}".encode())


def with_header(head: bytes, name: str, value: bytes) -> bytes:
    """Return the head of a request with a header in place of what had its name.

    Args:
        head: the whole of it, the empty line at its end included.
        name: of the header.
        value: of the header.
    """
    mark = name.lower().encode("ascii") + b":"
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(mark)]
    return b"\r\n".join([first, *kept, b"%b: %b" % (name.encode("ascii"), value), b"", b""])


def token_request(
    given: OAuth2, destination: Destination, now_s: int, assertion_id: str
) -> tuple[bytes, bytes]:
    """Return head and body of a request for a token, but for the header `user-agent`.

    Args:
        given: what is asked by.
        destination: its URL.
        now_s: the present, UTC seconds.
        assertion_id: of an assertion, never used before.
    """
    fields = {"grant_type": "client_credentials", "client_id": given.client_id}
    if given.signing_key is None:
        fields["client_secret"] = given.client_secret
    else:
        fields["client_assertion_type"] = _ASSERTION_TYPE
        fields["client_assertion"] = assertions.assertion(given, now_s, assertion_id)
    fields |= {
        name: value
        for name, value in (("scope", given.scope), ("audience", given.audience))
        if value
    }
    body = urlencoded.spell(fields)
    head = (
        b"POST %b HTTP/1.1\r\nhost: %b\r\naccept: application/json\r\ncontent-type: %b\r\n"
        b"content-length: %d\r\n\r\n"
    )
    return head % (destination.target, destination.authority, _FORM, len(body)), body


def read_token(given: OAuth2, exchange: Exchange) -> Token | str:
    """Return the token in an answer, or why there is none: a sentence without secrets."""
    if not isinstance(exchange, Reply):
        return f"no token: {exchange.text}"
    try:
        answer = _decode(exchange.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = {}
    if not 200 <= exchange.status < 300:
        code = answer.get("error")
        told = f" ({code})" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        return f"no token: its endpoint answered with status {exchange.status}{told}"
    names = given.field_names
    token = answer.get(names.access_token or "access_token")
    if not isinstance(token, str) or len(token) > TOKEN_MAX or not _TOKEN.fullmatch(token):
        return "no token: there is none in the answer of its endpoint"
    kind = answer.get(names.token_type or "token_type") or "Bearer"
    if not isinstance(kind, str) or not headers.is_name(kind):
        return "no token: its endpoint names a type that is none"
    scheme = "Bearer" if kind.lower() == "bearer" else kind
    lasts_s = _lasts_s(answer.get(names.expires_in or "expires_in"), given.expiry_unit)
    return Token(f"{scheme} {token}".encode("ascii"), lasts_s)


def _lasts_s(given: Any, unit: ExpiryUnit) -> float:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 16:
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        return KEPT_S
    good_s = min(max(given * _UNIT_S[unit], 0.0), KEPT_MAX_S)
    return good_s - min(EARLY_S, good_s / 10)


def _oauth2_faults(given: OAuth2, rules: EgressRules) -> Faults:
    found: Faults = []
    try:
        urls.check(given.url, rules)
    except InvalidInput as error:
        found += error.details
    found += _text_faults({"client_id": given.client_id}, NAME_MAX)
    if bool(given.client_secret) is (given.signing_key is not None):
        found.append(("client_secret", "must be given, or a signing_key, and not both"))
    elif given.signing_key is None:
        found += _text_faults({"client_secret": given.client_secret}, SECRET_MAX)
    else:
        reason = assertions.fault(given)
        if len(given.signing_key.kid) > NAME_MAX:
            reason = f"must have a kid of at most {NAME_MAX} characters"
        if reason is not None:
            found.append(("signing_key", reason))
    names = msgspec.structs.asdict(given.field_names)
    if any(len(name) > NAME_MAX for name in names.values()):
        found.append(("field_names", f"must be names of at most {NAME_MAX} characters"))
    beside = {
        name: getattr(given, name)
        for name in ("issuer", "subject", "scope", "audience")
        if getattr(given, name)
    }
    return found + _text_faults(beside, 2_048)


def _text_faults(fields: dict[str, str], most: int) -> Faults:
    reason = f"must be 1 to {most} characters, no control characters"
    return [
        (name, reason)
        for name, value in fields.items()
        if not value.strip() or len(value) > most or _CONTROLS.search(value)
    ]


def _name_faults(name: str) -> Faults:
    if not headers.is_name(name):
        return [("header_name", "is not a header name of 1 to 64 characters")]
    return [("header_name", "is a reserved header")] if headers.is_reserved(name) else []
