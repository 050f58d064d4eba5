import base64
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from waypost.model.errors import InvalidInput
from waypost.model.subscription import Signing, SigningKey
from waypost.policy import signing
from waypost.policy.signing import SignatureInvalid, read_secret, sign, verify

NOW_S = 1_700_000_000
ID = b"evt_018bcfe5-6800-7000-8000-000000000005"
BODY = b'{"amount":1.10}'

NEVER = 2**62


def key(text: str, expires_at_us: int | None = None) -> SigningKey:
    scheme, material = read_secret(text)
    return SigningKey(b"k" * 16, scheme, material, expires_at_us)


def shared(letter: bytes, expires_at_us: int | None = None) -> SigningKey:
    return SigningKey(b"k" * 16, Signing.HMAC, letter * 32, expires_at_us)


def private(letter: bytes, expires_at_us: int | None = None) -> SigningKey:
    return SigningKey(b"k" * 16, Signing.ED25519, letter * 32, expires_at_us)


@pytest.mark.parametrize(
    "secret, webhook_id, timestamp_s, body, signature",
    [
        pytest.param(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            id="standard-webhooks",
        ),
        pytest.param(
            "whsec_aDeFC3Zn55XB3PDD2zF0JP9cyrDHdV/18VOmkTcuyto=",
            "65a9dad4-1b60-4686-83fd-65b25078a4b4",
            1698031907,
            b'{"acquirer_fee":0,"amount":2000,"authorization_amount":2000}',
            b"v1,OGBiqPtc/O2sWacUsuS4pvTdfFBv6dqxYX/4UFzrbGk=",
            id="lithic-guide",
        ),
        pytest.param(
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicM"
            "Fs6Kvg==",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            b"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m"
            b"7TBAg==",
            id="svix-ed25519",
        ),
    ],
)
def test_signs_the_published_vectors(
    secret: str, webhook_id: str, timestamp_s: int, body: bytes, signature: bytes
) -> None:
    assert sign([key(secret)], webhook_id, timestamp_s, body) == signature
    assert sign([key(secret)], webhook_id.encode(), timestamp_s, body) == signature


@given(material=st.binary(min_size=24, max_size=64), body=st.text().map(str.encode))
def test_the_reference_library_makes_and_takes_the_same_signature(
    material: bytes, body: bytes
) -> None:
    now = datetime.now(tz=UTC)
    library = Webhook(base64.b64encode(material).decode())
    value = sign([SigningKey(b"", Signing.HMAC, material)], ID, int(now.timestamp()), body)
    assert value.decode() == library.sign(ID.decode(), now, body.decode())
    library.verify(
        body,
        {
            "webhook-id": ID.decode(),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": value.decode(),
        },
        json_parse=False,
    )


def test_the_present_key_signs_first_then_the_old_ones_by_expiry() -> None:
    present, soon, late = shared(b"a"), shared(b"b", NEVER), shared(b"c", NEVER + 1)
    alone = [sign([shared(letter)], ID, NOW_S, BODY) for letter in (b"a", b"c", b"b")]
    assert sign([soon, late, present], ID, NOW_S, BODY) == b" ".join(alone)


@pytest.mark.parametrize("past_us, signs", [(-1, True), (0, False), (1, False)])
def test_an_old_key_signs_until_it_expires(past_us: int, signs: bool) -> None:
    old = shared(b"b", NOW_S * 1_000_000 - past_us)
    value = sign([shared(b"a"), old], ID, NOW_S, BODY)
    assert (sign([shared(b"b")], ID, NOW_S, BODY) in value) is signs


@pytest.mark.parametrize("keys", [[], [shared(b"a", NOW_S * 1_000_000)]])
def test_nothing_is_signed_without_a_valid_key(keys: list[SigningKey]) -> None:
    with pytest.raises(ValueError, match="no signing key"):
        sign(keys, ID, NOW_S, BODY)


def test_during_a_rotation_holders_of_either_secret_are_served() -> None:
    old, new = shared(b"o", NEVER), private(b"n")
    value = sign([old, new], ID, NOW_S, BODY)
    assert re.fullmatch(rb"v1a,[A-Za-z0-9+/]{86}== v1,[A-Za-z0-9+/]{43}=", value)
    for secret in (signing.spell_secret(old), signing.spell_public_key(new)):
        verify([secret], ID, b"%d" % NOW_S, value, BODY, now_s=NOW_S)


@given(material=st.binary(min_size=24, max_size=64))
def test_a_shared_secret_reads_as_it_is_spelled(material: bytes) -> None:
    text = signing.spell_secret(SigningKey(b"", Signing.HMAC, material))
    assert text.startswith("whsec_")
    assert read_secret(text) == (Signing.HMAC, material)
    assert read_secret(text.rstrip("=")) == (Signing.HMAC, material)


@given(seed=st.binary(min_size=32, max_size=32))
def test_a_private_key_reads_as_it_is_spelled(seed: bytes) -> None:
    text = signing.spell_secret(SigningKey(b"", Signing.ED25519, seed))
    assert read_secret(text) == (Signing.ED25519, seed)
    assert read_secret("whsk_" + base64.b64encode(seed).decode()) == (Signing.ED25519, seed)
    public = signing.spell_public_key(SigningKey(b"", Signing.ED25519, seed))
    assert base64.b64decode(text[5:])[32:] == base64.b64decode(public.removeprefix("whpk_"))


def encoded(size: int) -> str:
    return base64.b64encode(b"s" * size).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        encoded(32),
        "WHSEC_" + encoded(32),
        " whsec_" + encoded(32),
        "whsec_" + encoded(23),
        "whsec_" + encoded(65),
        "whsec_" + encoded(32) + "\n",
        "whsec_" + "!" * 40,
        "whsec_" + "é" * 40,
        "whsec_" + "-_" * 20,
        "whsec_" + "A" * 41,
        "whsk_" + encoded(31),
        "whsk_" + encoded(33),
        "whsk_" + encoded(64),
        "whpk_" + encoded(32),
    ],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_secret(text)
    assert refusal.value.details[0][0] == "secret"


def test_a_jwk_has_the_thumbprint_of_rfc_8037() -> None:
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert signing.public_jwk(SigningKey(b"", Signing.ED25519, seed)) == {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }


GOOD = sign([shared(b"a")], ID, NOW_S, BODY)
SECRET = signing.spell_secret(shared(b"a"))


def check(
    *,
    secrets: tuple[str, ...] = (SECRET,),
    webhook_id: bytes = ID,
    timestamp: bytes = b"%d" % NOW_S,
    signatures: bytes = GOOD,
    body: bytes = BODY,
    now_s: float = NOW_S,
) -> None:
    verify(secrets, webhook_id, timestamp, signatures, body, now_s=now_s)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"now_s": NOW_S + 300},
        {"now_s": NOW_S - 300},
        {"secrets": ("whsec_" + encoded(24), SECRET)},
        {"signatures": b"v1," + encoded(32).encode() + b" " + GOOD},
        {"signatures": b"junk v1 v1,!! v9,AAAA  , v1,\xff " + GOOD + b" v1,"},
    ],
)
def test_a_good_request_passes(change: dict[str, Any]) -> None:
    check(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"now_s": NOW_S + 301},
        {"now_s": NOW_S - 301},
        {"body": BODY + b" "},
        {"body": b""},
        {"webhook_id": b"evt_other"},
        {"webhook_id": b""},
        {"webhook_id": b"a.1700000000"},
        {"webhook_id": b"a b"},
        {"webhook_id": b"\xff"},
        {"webhook_id": ID + b"\n"},
        {"timestamp": b""},
        {"timestamp": b"%d\n" % NOW_S},
        {"timestamp": b" %d" % NOW_S},
        {"timestamp": b"+%d" % NOW_S},
        {"timestamp": b"%d.0" % NOW_S},
        {"timestamp": b"1_700_000_000"},
        {"timestamp": "\u0661".encode() * 10},
        {"timestamp": b"9" * 12},
        {"timestamp": b"inf"},
        {"signatures": b""},
        {"signatures": b" "},
        {"signatures": b"v1"},
        {"signatures": b"v1,"},
        {"signatures": GOOD.removeprefix(b"v1,")},
        {"signatures": b"v1a" + GOOD[2:]},
        {"signatures": b"V1" + GOOD[2:]},
        {"signatures": GOOD[:-1]},
        {"signatures": GOOD + b"="},
        {"signatures": GOOD.replace(b"v1,", b"v1,\t")},
        {"signatures": GOOD + b",x"},
        {"signatures": b"v1,AAAA " * 32 + GOOD},
        {"secrets": ()},
        {"secrets": ("whsec_" + encoded(32),)},
        {"secrets": (signing.spell_public_key(private(b"a")),)},
    ],
)
def test_anything_else_is_one_kind_of_refusal(change: dict[str, Any]) -> None:
    with pytest.raises(SignatureInvalid):
        check(**change)


@pytest.mark.parametrize("secret", ["", "whpk_" + encoded(31), "whpk_!", "whsec_short"])
def test_a_receiver_is_told_of_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(InvalidInput):
        check(secrets=(secret,))


def test_the_full_stop_in_an_id_cannot_move_a_signature_to_another_request() -> None:
    signed = sign([shared(b"a")], b"a", NOW_S, b"1700000001.z")
    with pytest.raises(SignatureInvalid):
        check(webhook_id=b"a.%d" % NOW_S, timestamp=b"1700000001", signatures=signed, body=b"z")


@given(
    webhook_id=st.binary(),
    timestamp=st.binary() | st.integers().map(lambda number: b"%d" % number),
    signatures=st.binary() | st.text("v1a, =AB", max_size=40).map(str.encode),
    body=st.binary(),
)
@example(b"a", b"1700000000", b"v1a," + b"A" * 88, b"")
def test_no_bytes_make_a_verifier_fail_otherwise(
    webhook_id: bytes, timestamp: bytes, signatures: bytes, body: bytes
) -> None:
    secrets = [SECRET, signing.spell_secret(private(b"p"))]
    with pytest.raises(SignatureInvalid):
        verify(secrets, webhook_id, timestamp, signatures, body, now_s=NOW_S)


@given(body=st.binary(), scheme=st.sampled_from(Signing), other=st.binary(max_size=8))
def test_exactly_the_signed_bytes_verify(body: bytes, scheme: Signing, other: bytes) -> None:
    mine = SigningKey(b"", scheme, b"m" * 32)
    value = sign([mine], ID, NOW_S, body)
    secret = signing.spell_secret(mine)
    check(secrets=(secret,), signatures=value, body=body)
    if other:
        with pytest.raises(SignatureInvalid):
            check(secrets=(secret,), signatures=value, body=body + other)


def test_a_receiver_takes_what_the_reference_library_emits() -> None:
    now = datetime.fromtimestamp(NOW_S, UTC) + timedelta(milliseconds=999)
    value = Webhook(SECRET).sign("msg_1", now, BODY.decode())
    check(webhook_id=b"msg_1", signatures=value.encode())


@given(st.binary(max_size=200), st.binary(max_size=300))
@example(b"k" * 64, b"").via("a key of exactly one block")
@example(b"k" * 65, b"").via("a key longer than a block")
def test_the_shared_scheme_is_hmac_of_any_key(material: bytes, body: bytes) -> None:
    expected = hmac.digest(material, b"%b.%d.%b" % (ID, NOW_S, body), "sha256")
    for _ in range(2):
        made = sign([SigningKey(b"k" * 16, Signing.HMAC, material)], ID, NOW_S, body)
        assert base64.b64decode(made.removeprefix(b"v1,")) == expected
