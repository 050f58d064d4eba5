"""Signatures of Standard Webhooks 1.0.0: made for what goes out, verified where it comes in.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`: by HMAC-SHA256 (`v1`), or by ed25519
(`v1a`). Secrets are spelled with a prefix and base64: `whsec_` for the shared one of `v1`, `whsk_`
and `whpk_` for the private and the public half of `v1a`.
"""

import base64
import hashlib
import hmac
import re
from binascii import b2a_base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from waypost.model.errors import InvalidInput
from waypost.model.subscription import Signing, SigningKey

SHARED: Final = "whsec_"
PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"

MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64
SEED_BYTES: Final = 32
"""The part of an ed25519 private key that is secret; the rest follows from it."""

TOLERANCE_S: Final = 300
"""How far `webhook-timestamp` may be from the receiver's clock: as in the reference libraries."""

_HMAC: Final = Signing.HMAC
_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_MAX_SIGNATURES: Final = 32
_ID = re.compile(rb"[!-\-/-~]{1,256}")  # visible ASCII without the full stop that divides
_TIMESTAMP = re.compile(rb"[0-9]{1,11}")


class SignatureInvalid(Exception):
    """A request does not carry a good signature of any of the secrets."""


def sign(
    keys: Sequence[SigningKey], webhook_id: str | bytes, timestamp_s: int, body: bytes
) -> bytes:
    """Return the value of `webhook-signature`: one signature a key, parted by spaces.

    Args:
        keys: the present key and old ones, in any order; those that have expired by `timestamp_s`
            do not sign. The present one comes first, then the one that expires last.
        webhook_id: the value of `webhook-id`; it must hold no full stop.
        timestamp_s: the value of `webhook-timestamp`, UTC seconds since 1970.
        body: exactly the bytes that are sent.

    Raises:
        ValueError: no key is left to sign with.
    """
    if isinstance(webhook_id, str):
        webhook_id = webhook_id.encode("ascii")
    content = b"%b.%d.%b" % (webhook_id, timestamp_s, body)
    if len(keys) == 1 and keys[0].expires_at_us is None:
        return _signature(keys[0], content)
    valid = [key for key in keys if _expiry(key) > timestamp_s * 1_000_000]
    if not valid:
        raise ValueError("no signing key is valid")
    valid.sort(key=_expiry, reverse=True)
    return b" ".join([_signature(key, content) for key in valid])


def _expiry(key: SigningKey) -> float:
    return float("inf") if key.expires_at_us is None else key.expires_at_us


@lru_cache(maxsize=4096)
def _keyed(secret: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
    """Begin both hashes of HMAC (RFC 2104, section 4): all that a secret alone decides."""
    if len(secret) > _BLOCK:
        secret = hashlib.sha256(secret).digest()
    block = secret.ljust(_BLOCK, b"\0")
    return hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))


def _signature(key: SigningKey, content: bytes) -> bytes:
    if key.scheme is _HMAC:
        inner, outer = _keyed(key.material)
        within, around = inner.copy(), outer.copy()
        within.update(content)
        around.update(within.digest())
        return b"v1," + b2a_base64(around.digest(), newline=False)
    return b"v1a," + b2a_base64(_private_key(key.material).sign(content), newline=False)


@lru_cache(maxsize=1024)
def _private_key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public_bytes(seed: bytes) -> bytes:
    return _private_key(seed).public_key().public_bytes_raw()


def spell_secret(key: SigningKey) -> str:
    """Spell the secret of a key: `whsec_…`, or `whsk_…` (seed and public key) for ed25519."""
    if key.scheme is Signing.HMAC:
        return SHARED + base64.b64encode(key.material).decode()
    return PRIVATE + base64.b64encode(key.material + _public_bytes(key.material)).decode()


def spell_public_key(key: SigningKey) -> str:
    """Spell the public half of an ed25519 key: `whpk_…`."""
    return PUBLIC + base64.b64encode(_public_bytes(key.material)).decode()


def read_secret(text: str) -> tuple[Signing, bytes]:
    """Read a secret: `whsec_` with 24 to 64 bytes, or `whsk_` with a seed and maybe its public key.

    Returns:
        The scheme, and the material of a `SigningKey`; that of ed25519 is the 32-byte seed.

    Raises:
        InvalidInput: it is not spelled so, or its parts do not belong together.
    """
    if text.startswith(SHARED):
        material = _base64_of(text[len(SHARED) :])
        if not MIN_SECRET_BYTES <= len(material) <= MAX_SECRET_BYTES:
            raise _bad_secret(f"must be {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
        return Signing.HMAC, material
    if text.startswith(PRIVATE):
        material = _base64_of(text[len(PRIVATE) :])
        seed, public = material[:SEED_BYTES], material[SEED_BYTES:]
        if len(seed) < SEED_BYTES or (public and public != _public_bytes(seed)):
            raise _bad_secret("must be an ed25519 seed, or a seed and its public key")
        return Signing.ED25519, seed
    raise _bad_secret(f"must start with {SHARED} or {PRIVATE}")


def _base64_of(text: str) -> bytes:
    """Decode base64, padded or not, and nothing that merely looks like it."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise _bad_secret("must be base64 after its prefix") from error


def _bad_secret(reason: str) -> InvalidInput:
    return InvalidInput(details=[("secret", reason)])


def public_jwk(key: SigningKey) -> dict[str, str]:
    """Return the public half of an ed25519 key as a JSON Web Key (RFC 8037).

    Its `kid` is the key's thumbprint (RFC 7638): it says nothing that the key does not.
    """
    x = _base64url(_public_bytes(key.material))
    thumbprint = hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % x.encode()).digest()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": _base64url(thumbprint),
        "x": x,
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verify(
    secrets: Sequence[str],
    webhook_id: bytes,
    timestamp: bytes,
    signatures: bytes,
    body: bytes,
    *,
    now_s: float,
) -> None:
    """Verify a request as its receiver: it passes if one signature is good for one secret.

    Args:
        secrets: what the receiver trusts, each `whsec_…`, `whpk_…` or `whsk_…`.
        webhook_id: the value of `webhook-id`, as are the next two of theirs.
        timestamp: UTC seconds since 1970, in digits.
        signatures: entries `version,base64`, parted by spaces; what is malformed or of an unknown
            version is passed over.
        body: the bytes that came.
        now_s: the receiver's clock, UTC seconds since 1970.

    Raises:
        SignatureInvalid: whatever is wrong with the request.
        InvalidInput: one of the secrets is none.
    """
    verifiers = [_Verifier(secret) for secret in secrets]
    if _ID.fullmatch(webhook_id) is None or _TIMESTAMP.fullmatch(timestamp) is None:
        raise SignatureInvalid("webhook-id or webhook-timestamp is malformed")
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        raise SignatureInvalid("webhook-timestamp is too far from now")
    content = b"%b.%b.%b" % (webhook_id, timestamp, body)
    for entry in signatures.split(b" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]:
        version, _, text = entry.partition(b",")
        try:
            signature = base64.b64decode(text, validate=True)
        except ValueError:
            continue
        for verifier in verifiers:
            if verifier.version == version and verifier.accepts(signature, content):
                return
    raise SignatureInvalid("no signature is good")


class _Verifier:
    """One secret as its receiver uses it."""

    def __init__(self, secret: str) -> None:
        if secret.startswith(PUBLIC):
            scheme, public = Signing.ED25519, _base64_of(secret[len(PUBLIC) :])
            if len(public) != SEED_BYTES:
                raise _bad_secret("must be an ed25519 public key of 32 bytes")
        else:
            scheme, self._shared = read_secret(secret)
            public = _public_bytes(self._shared) if scheme is Signing.ED25519 else b""
        self.version = scheme.encode()
        self._public = Ed25519PublicKey.from_public_bytes(public) if public else None

    def accepts(self, signature: bytes, content: bytes) -> bool:
        if self._public is None:
            return hmac.compare_digest(hmac.digest(self._shared, content, "sha256"), signature)
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True
