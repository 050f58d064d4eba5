"""Verifiers: whether what comes in at a source is from who says so, told by headers and raw body.

A header that counts must be there once: of two, a proxy may have checked the other. What is given
is compared in a time that does not tell how much of it is right, and as it is spelled: neither case
nor padding may differ. An empty secret signs nothing, since everybody knows it.

Sources: RFC 2104; RFC 7617; the providers' documentation of their webhooks.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from waypost.model.source import (
    ApiKeyHeader,
    BasicAuth,
    Encoding,
    GitHub,
    HashName,
    Hmac,
    Noop,
    Shopify,
    Twitter,
    Verifier,
)

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""

_AUTHORIZATION: Final = "authorization"
_PREFIX: Final = b"sha256="
_SCHEME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ +([\x21-\x7e]+)")
_BASIC: Final = b"basic "
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,256}")


def verifies(verifier: Verifier, headers: Headers, body: bytes) -> bool:
    """Tell whether a request is what its source's verifier demands.

    Args:
        verifier: of the source.
        headers: of the request.
        body: the very bytes that came.
    """
    match verifier:
        case Noop():
            return True
        case Hmac(header, secret, name, encoding):
            return _is(_one(headers, header), signature(secret, body, name, encoding))
        case GitHub(secret):
            given = _one(headers, "x-hub-signature-256")
            return _is(given, _PREFIX + signature(secret, body))
        case Shopify(secret):
            wanted = signature(secret, body, encoding=Encoding.BASE64)
            return _is(_one(headers, "x-shopify-hmac-sha256"), wanted)
        case Twitter(secret):
            # A challenge is signed by the same secret for whoever asks: it must be no body.
            given = _one(headers, "x-twitter-webhooks-signature")
            wanted = _PREFIX + signature(secret, body, encoding=Encoding.BASE64)
            return body.lstrip().startswith(b"{") and _is(given, wanted)
        case BasicAuth(username, password):
            return _is(_basic(headers), f"{username}:{password}".encode())
        case ApiKeyHeader(value, name):
            return _is(_one(headers, name) if name else _credentials(headers), value.encode())


def signature(
    secret: str,
    body: bytes,
    name: HashName = HashName.SHA256,
    encoding: Encoding = Encoding.HEX,
) -> bytes:
    """Return the HMAC of a body as it stands in a header; empty where there is no secret."""
    if not secret:
        return b""
    digest = hmac.digest(secret.encode(), body, name.value.lower())
    return digest.hex().encode() if encoding is Encoding.HEX else base64.b64encode(digest)


def answer_to(verifier: Twitter, token: str) -> str | None:
    """Return the answer to a challenge; None where the token is none that a provider would send."""
    if _TOKEN.fullmatch(token) is None:
        return None
    signed = signature(verifier.secret, token.encode(), encoding=Encoding.BASE64)
    return (_PREFIX + signed).decode()


def secret_headers(verifier: Verifier) -> frozenset[str]:
    """Return the headers, in lower case, whose values are secrets: they are not kept."""
    if isinstance(verifier, ApiKeyHeader) and verifier.header_name:
        return frozenset({verifier.header_name.lower()})
    return frozenset()


def _one(headers: Headers, name: str) -> bytes | None:
    lowered = name.lower().encode("latin-1")
    found = [value for header, value in headers if header == lowered]
    return found[0] if len(found) == 1 else None


def _credentials(headers: Headers) -> bytes | None:
    """Return what follows the scheme in `Authorization`."""
    found = _SCHEME.fullmatch(_one(headers, _AUTHORIZATION) or b"")
    return None if found is None else found[1]


def _basic(headers: Headers) -> bytes | None:
    given = _one(headers, _AUTHORIZATION)
    if given is None or not given.lower().startswith(_BASIC):
        return None
    try:
        return base64.b64decode(given[len(_BASIC) :].strip(), validate=True)
    except ValueError:
        return None


def _is(given: bytes | None, wanted: bytes) -> bool:
    if given is None or not wanted:
        return False
    # Of equal length, so that not even the length of a secret is told by the time.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(wanted).digest())
