"""Client assertions, verified by the public half of their keys."""

import base64
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from msgspec.structs import replace

from waypost.model.authentication import AssertionAlgorithm, OAuth2, SigningKey
from waypost.policy.assertions import assertion, fault

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def spell(number: int) -> str:
    text = number.to_bytes((number.bit_length() + 7) // 8 or 1, "big")
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def ec_jwk(key: ec.EllipticCurvePrivateKey, name: str) -> SigningKey:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    x, y, d = (spell(n) for n in (public.x, public.y, numbers.private_value))
    return SigningKey(kty="EC", crv=name, x=x, y=y, d=d, kid="k1")


def rsa_jwk() -> SigningKey:
    numbers = RSA_KEY.private_numbers()
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    spelled = {"n": n, "e": e, "d": numbers.d, "p": numbers.p, "q": numbers.q}
    return SigningKey(kty="RSA", **{name: spell(value) for name, value in spelled.items()})


BY_EC = OAuth2(url="https://id.example/t", client_id="c", signing_key=ec_jwk(EC_KEY, "P-256"))
BY_RSA = replace(BY_EC, signing_key=rsa_jwk(), signing_algorithm=AssertionAlgorithm.RS256)


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    head, claims, signature = text.split(".")
    raw = [base64.urlsafe_b64decode(part + "==") for part in (head, claims, signature)]
    signed = f"{head}.{claims}".encode()
    return msgspec.json.decode(raw[0]), msgspec.json.decode(raw[1]), raw[2], signed


def test_an_assertion_of_an_elliptic_key() -> None:
    head, claims, signature, signed = parts(assertion(BY_EC, 1_000, "u"))
    assert head == {"alg": "ES256", "typ": "JWT", "kid": "k1"}
    assert claims == {
        "iss": "c",
        "sub": "c",
        "aud": "https://id.example/t",
        "iat": 1_000,
        "exp": 1_300,
        "jti": "u",
    }
    assert len(signature) == 64
    halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    EC_KEY.public_key().verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))


def test_an_assertion_of_an_rsa_key() -> None:
    named = replace(BY_RSA, issuer="i", subject="s")
    head, claims, signature, signed = parts(assertion(named, 1_000, "u"))
    assert head == {"alg": "RS256", "typ": "JWT"}
    assert (claims["iss"], claims["sub"]) == ("i", "s")
    RSA_KEY.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    "curve, name, algorithm, size",
    [(ec.SECP384R1(), "P-384", "ES384", 96), (ec.SECP521R1(), "P-521", "ES512", 132)],
)
def test_longer_curves(curve: ec.EllipticCurve, name: str, algorithm: str, size: int) -> None:
    key = ec_jwk(ec.generate_private_key(curve), name)
    given = replace(BY_EC, signing_key=key, signing_algorithm=AssertionAlgorithm(algorithm))
    assert fault(given) is None
    assert len(parts(assertion(given, 1, "u"))[2]) == size


@pytest.mark.parametrize(
    "given",
    [
        replace(BY_EC, signing_key=None),
        replace(BY_EC, signing_algorithm=AssertionAlgorithm.ES384),
        replace(BY_EC, signing_algorithm=AssertionAlgorithm.RS256),
        replace(BY_RSA, signing_algorithm=AssertionAlgorithm.ES256),
        *(
            replace(BY_EC, signing_key=replace(ec_jwk(EC_KEY, "P-256"), **changes))
            for changes in ({"d": ""}, {"d": "!"}, {"d": "AQ"}, {"x": "AQ"}, {"crv": "P-384"})
        ),
        *(
            replace(BY_RSA, signing_key=replace(rsa_jwk(), **changes))
            for changes in (
                {"p": ""},
                {"p": "AQ", "q": rsa_jwk().n},
                {"n": "AQ", "p": "AQ", "q": "AQ"},
                {"d": "AQ"},
                {"n": "A" * 2_049},
                {"e": "AA"},
            )
        ),
    ],
)
def test_a_key_that_can_not_sign_is_told(given: OAuth2) -> None:
    assert "must be a private JSON Web Key" in (fault(given) or "")
    assert fault(BY_EC) is None
    assert fault(BY_RSA) is None
