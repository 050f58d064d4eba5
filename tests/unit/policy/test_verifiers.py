"""Who sends is told by the bytes that came; nothing near to right is let in."""

import base64
import hashlib
import hmac

import pytest

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
from waypost.policy.verifiers import answer_to, secret_headers, verifies

BODY = b'{"a": 1.10}'
SECRET = "It's a Secret to Everybody"
HEX = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
B64 = base64.b64encode(hmac.digest(SECRET.encode(), BODY, "sha256")).decode()
HEX512 = hmac.new(SECRET.encode(), BODY, hashlib.sha512).hexdigest()
B64_512 = base64.b64encode(hmac.digest(SECRET.encode(), BODY, "sha512")).decode()
BASIC = base64.b64encode(b"ada:pass:word").decode()

GENERIC = Hmac("X-Sig", SECRET)
ADA = BasicAuth("ada", "pass:word")
NAMED = ApiKeyHeader("k-1", "X-Key")
BARE = ApiKeyHeader("k-1")


def given(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]


@pytest.mark.parametrize(
    "verifier, headers",
    [
        (Noop(), ()),
        (GENERIC, (("x-sig", HEX),)),
        (Hmac("x-sig", SECRET, encoding=Encoding.BASE64), (("X-Sig", B64),)),
        (Hmac("x-sig", SECRET, HashName.SHA512), (("x-sig", HEX512),)),
        (Hmac("x-sig", SECRET, HashName.SHA512, Encoding.BASE64), (("x-sig", B64_512),)),
        (GitHub(SECRET), (("x-hub-signature-256", f"sha256={HEX}"),)),
        (Shopify(SECRET), (("x-shopify-hmac-sha256", B64),)),
        (Twitter(SECRET), (("x-twitter-webhooks-signature", f"sha256={B64}"),)),
        (ADA, (("authorization", f"Basic {BASIC}"),)),
        (ADA, (("authorization", f"basic  {BASIC}"),)),
        (NAMED, (("x-key", "k-1"),)),
        (BARE, (("authorization", "Bearer k-1"),)),
        (BARE, (("authorization", "Token k-1"),)),
    ],
)
def test_what_is_right_is_let_in(verifier: Verifier, headers: tuple[tuple[str, str], ...]) -> None:
    assert verifies(verifier, given(*headers), BODY)


def test_the_published_example_of_github() -> None:
    wanted = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert verifies(GitHub(SECRET), given(("x-hub-signature-256", wanted)), b"Hello, World!")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        HEX[:-1],
        HEX[:2],
        HEX + "0",
        HEX.upper(),
        B64,
        f"sha256={HEX}",
        f"{HEX} ",
        HEX512,
        HEX.translate(
            HEX.replace(HEX[0], "\u00b9"),
        )
        .encode("utf-8")
        .decode("latin-1"),
        hmac.new(b"another", BODY, hashlib.sha256).hexdigest(),
        hmac.new(SECRET.encode(), b'{"a":1.10}', hashlib.sha256).hexdigest(),
        hmac.new(SECRET.encode(), b"\xef\xbb\xbf" + BODY, hashlib.sha256).hexdigest(),
    ],
)
def test_what_is_nearly_right_is_not(value: str) -> None:
    assert not verifies(GENERIC, given(("x-sig", value)), BODY)


@pytest.mark.parametrize(
    "verifier, headers",
    [
        (GENERIC, ()),
        (GENERIC, (("x-sig", HEX), ("x-sig", HEX))),
        (GENERIC, (("x-sig", "bad"), ("x-sig", HEX))),
        (GENERIC, (("x-signature", HEX),)),
        (Hmac("x-sig", SECRET, HashName.SHA512), (("x-sig", HEX),)),
        (Hmac("x-sig", SECRET, encoding=Encoding.BASE64), (("x-sig", HEX),)),
        (Hmac("x-sig", SECRET, encoding=Encoding.BASE64), (("x-sig", B64.rstrip("=")),)),
        (Hmac("x-sig", ""), (("x-sig", hmac.new(b"", BODY, hashlib.sha256).hexdigest()),)),
        (GitHub(SECRET), (("x-hub-signature-256", HEX),)),
        (GitHub(SECRET), (("x-hub-signature-256", f"sha1={HEX}"),)),
        (GitHub(SECRET), (("x-hub-signature", f"sha256={HEX}"),)),
        (GitHub(SECRET), (("x-hub-signature-256", f"sha256={B64}"),)),
        (Shopify(SECRET), (("x-shopify-hmac-sha256", HEX),)),
        (Shopify(SECRET), (("x-hub-signature-256", f"sha256={HEX}"),)),
        (Twitter(SECRET), (("x-twitter-webhooks-signature", B64),)),
        (ADA, (("authorization", BASIC),)),
        (ADA, (("authorization", f"Bearer {BASIC}"),)),
        (ADA, (("authorization", "Basic !!"),)),
        (ADA, (("authorization", f"Basic {base64.b64encode(b'ada:pass').decode()}"),)),
        (ADA, (("authorization", f"Basic {base64.b64encode(b'ada').decode()}"),)),
        (ADA, (("authorization", f"Basic {BASIC}"), ("authorization", f"Basic {BASIC}"))),
        (NAMED, (("x-key", "k-2"),)),
        (NAMED, (("x-key", "k-"),)),
        (NAMED, (("x-key", "k-1"), ("x-key", "k-1"))),
        (NAMED, (("authorization", "Bearer k-1"),)),
        (BARE, (("authorization", "k-1"),)),
        (BARE, (("authorization", "Bearer k-1 x"),)),
        (ApiKeyHeader("", "X-Key"), (("x-key", ""),)),
    ],
)
def test_what_is_not_right_is_not(verifier: Verifier, headers: tuple[tuple[str, str], ...]) -> None:
    assert not verifies(verifier, given(*headers), BODY)


def test_a_challenge_is_answered_as_its_provider_expects() -> None:
    wanted = "sha256=HXvxTdsfShG6k2zC9NVANwFquJBdOugRYHax2vNiiOo="
    assert answer_to(Twitter("Convoy"), "uzwcfYtzr9") == wanted


@pytest.mark.parametrize("token", ["", '{"a":1}', "a b", "x" * 257, "\u0660", "a\n"])
def test_nothing_but_a_challenge_is_signed(token: str) -> None:
    assert answer_to(Twitter("s"), token) is None


def test_an_answer_to_a_challenge_signs_no_event() -> None:
    # Whoever knows the address may have any token signed.
    verifier, token = Twitter(SECRET), "123"
    signed = answer_to(verifier, token) or ""
    headers = given(("x-twitter-webhooks-signature", signed))
    assert not verifies(verifier, headers, token.encode())


def test_headers_that_hold_a_secret_are_known() -> None:
    assert secret_headers(NAMED) == {"x-key"}
    assert secret_headers(BARE) == secret_headers(GENERIC) == frozenset()
