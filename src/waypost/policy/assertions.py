"""Client assertions: what a client signs to be given a token, in place of a secret.

Sources: RFC 7515, RFC 7518 and RFC 7523.
"""

import base64
import re
from typing import Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from waypost.model.authentication import AssertionAlgorithm, OAuth2, SigningKey

LASTS_S: Final = 300
RSA_BITS: Final = (2048, 4096)
_DIGITS_MAX: Final = 2_048

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: Final[dict[AssertionAlgorithm, tuple[str, ec.EllipticCurve]]] = {
    AssertionAlgorithm.ES256: ("P-256", ec.SECP256R1()),
    AssertionAlgorithm.ES384: ("P-384", ec.SECP384R1()),
    AssertionAlgorithm.ES512: ("P-521", ec.SECP521R1()),
}
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


def fault(given: OAuth2) -> str | None:
    """Return why its key can't sign by its algorithm; None where it can."""
    try:
        _signature(given, b"")
    except (ValueError, ArithmeticError, UnsupportedAlgorithm):
        algorithm = given.signing_algorithm.value
        return f"must be a private JSON Web Key for {algorithm}, of RSA with its primes"
    return None


def assertion(given: OAuth2, now_s: int, assertion_id: str) -> str:
    """Return a signed assertion that is good for five minutes.

    Args:
        given: who asserts, and what signs it: a key without a fault.
        now_s: the present, UTC seconds.
        assertion_id: never used before.
    """
    head: dict[str, Any] = {"alg": given.signing_algorithm.value, "typ": "JWT"}
    if given.signing_key is not None and given.signing_key.kid:
        head["kid"] = given.signing_key.kid
    claims = {
        "iss": given.issuer or given.client_id,
        "sub": given.subject or given.client_id,
        "aud": given.url,
        "iat": now_s,
        "exp": now_s + LASTS_S,
        "jti": assertion_id,
    }
    signed = b".".join(_spell(msgspec.json.encode(part)) for part in (head, claims))
    return b".".join((signed, _spell(_signature(given, signed)))).decode("ascii")


def _signature(given: OAuth2, text: bytes) -> bytes:
    key, algorithm = given.signing_key, given.signing_algorithm
    if key is None:
        raise ValueError("no key")
    digest = _HASHES[algorithm.value[2:]]
    if algorithm not in _CURVES:
        return _rsa(key).sign(text, padding.PKCS1v15(), digest)
    name, curve = _CURVES[algorithm]
    if key.kty != "EC" or key.crv != name:
        raise ValueError("another curve")
    public = ec.EllipticCurvePublicNumbers(_number(key.x), _number(key.y), curve)
    private = ec.EllipticCurvePrivateNumbers(_number(key.d), public).private_key()
    size = (curve.key_size + 7) // 8
    numbers = decode_dss_signature(private.sign(text, ec.ECDSA(digest)))
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def _rsa(key: SigningKey) -> rsa.RSAPrivateKey:
    if key.kty != "RSA":
        raise ValueError("another kind of key")
    n, e, d, p, q = (_number(part) for part in (key.n, key.e, key.d, key.p, key.q))
    # To find the primes of a number that has none would take long.
    if p * q != n or not RSA_BITS[0] <= n.bit_length() <= RSA_BITS[1]:
        raise ValueError("too short, too long, or of other primes")
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, p),
        dmq1=rsa.rsa_crt_dmq1(d, q),
        iqmp=rsa.rsa_crt_iqmp(p, q),
        public_numbers=rsa.RSAPublicNumbers(e, n),
    )
    return numbers.private_key()


def _number(text: str) -> int:
    if len(text) > _DIGITS_MAX or _BASE64URL.fullmatch(text) is None:
        raise ValueError("not base64url")
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _spell(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")
