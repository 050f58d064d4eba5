"""Verification: when it is wanted, what is asked, and what an answer means."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from waypost.model.delivery import Timings
from waypost.model.exchange import Consent, FailureKind, Reply, TransportFailure
from waypost.model.flow import RateLimit
from waypost.model.subscription import Signing, SigningKey, Subscription
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy import verification
from waypost.policy.signing import spell_secret, verify

NONE, CHALLENGE, CLOUDEVENTS = VerificationMode
BARE = Subscription(bytes(16), bytes(16), "https://a.example/")
DONE = Verification(CHALLENGE, 4, VerificationState.VERIFIED, None, 7)
ASKED = replace(BARE, verification=DONE)
KEY = SigningKey(bytes(16), Signing.HMAC, bytes(range(32)))
SECRET = "ab12"


@pytest.mark.parametrize(
    "present, mode, expected",
    [
        (BARE, NONE, None),
        (BARE, CHALLENGE, Verification(CHALLENGE)),
        (ASKED, CHALLENGE, DONE),
        (ASKED, CLOUDEVENTS, Verification(CLOUDEVENTS, 5)),
        (ASKED, NONE, None),
    ],
)
def test_it_begins_where_the_way_is_new(
    present: Subscription, mode: VerificationMode, expected: Verification | None
) -> None:
    assert verification.renewed(present, present.url, mode) == expected


def test_it_begins_anew_where_the_url_is_another() -> None:
    renewed = verification.renewed(ASKED, "https://b.example/", CHALLENGE)
    assert renewed == Verification(CHALLENGE, 5)
    assert not replace(ASKED, verification=renewed).is_verified
    assert ASKED.is_verified
    assert BARE.is_verified


@pytest.mark.parametrize(
    "limit, per_minute, expected",
    [
        (None, None, None),
        (RateLimit(7), None, RateLimit(7)),
        (None, 90, RateLimit(90, 60, 1)),
        (RateLimit(2, 1, 5), 90, RateLimit(90, 60, 1)),
        (RateLimit(1, 1, 5), 90, RateLimit(1, 1, 1)),
    ],
)
def test_the_slower_of_what_is_set_and_what_is_allowed_holds(
    limit: RateLimit | None, per_minute: int | None, expected: RateLimit | None
) -> None:
    assert verification.allowed(limit, replace(DONE, per_minute=per_minute)) == expected
    assert verification.allowed(limit, None) == limit


def test_a_challenge_is_signed_as_a_delivery_is() -> None:
    head, body = verification.challenge(SECRET, (KEY,), 1_000)
    assert json.loads(body) == {"type": "waypost.challenge", "challenge": SECRET}
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if line)
    assert lines[b"content-length"] == b"%d" % len(body)
    signed = (lines[b"webhook-id"], lines[b"webhook-timestamp"], lines[b"webhook-signature"])
    verify([spell_secret(KEY)], *signed, body, now_s=1_000)


def reply(status: int = 200, body: bytes = b"", **consent: Any) -> Reply:
    return Reply(status, body, Timings(), consent=Consent(**consent) if consent else None)


FAILED: list[tuple[VerificationMode, Any, str]] = [
    (CHALLENGE, reply(404, b"ab12"), "it answered with status 404"),
    (CHALLENGE, reply(302, b"ab12"), "it answered with status 302"),
    *(
        (CHALLENGE, reply(200, body), "its answer is not the challenge")
        for body in (b"", b"ab1", b"xab12", b'{"challenge": "ab13"}', b'["ab12"]', b"[" * 99_999)
    ),
    (CLOUDEVENTS, reply(200), "its answer has no WebHook-Allowed-Origin"),
    (CLOUDEVENTS, reply(200, rate="5"), "its answer has no WebHook-Allowed-Origin"),
    (CLOUDEVENTS, reply(405, origin="*"), "it answered with status 405"),
    *(
        (CLOUDEVENTS, reply(200, origin=name), "its WebHook-Allowed-Origin is another name")
        for name in ("b.example", "", "**", "sub.us.example")
    ),
    *(
        (
            CLOUDEVENTS,
            reply(200, origin="*", rate=rate),
            "its WebHook-Allowed-Rate is neither a number above 0 nor *",
        )
        for rate in ("0", "-1", "1.5", "", "many", "9" * 30)
    ),
    (CHALLENGE, TransportFailure(FailureKind.TIMEOUT, "no answer", Timings()), "no answer"),
]


@pytest.mark.parametrize("mode, exchange, reason", FAILED)
def test_what_is_no_consent_has_a_reason(
    mode: VerificationMode, exchange: Any, reason: str
) -> None:
    judged = verification.judge(Verification(mode, 3), exchange, SECRET, "us.example", 9)
    assert judged == Verification(mode, 3, VerificationState.FAILED, reason, 9)


@pytest.mark.parametrize(
    "mode, exchange, per_minute",
    [
        (CHALLENGE, reply(200, b" ab12\n"), None),
        (CHALLENGE, reply(201, b'{"challenge": "ab12", "more": 1}'), None),
        (CLOUDEVENTS, reply(204, origin="*"), None),
        (CLOUDEVENTS, reply(200, origin="US.example", rate="*"), None),
        (CLOUDEVENTS, reply(200, origin="us.example", rate="120"), 120),
    ],
)
def test_what_is_consent_is_taken(
    mode: VerificationMode, exchange: Reply, per_minute: int | None
) -> None:
    judged = verification.judge(Verification(mode, 3), exchange, SECRET, "us.example", 9)
    assert judged == Verification(mode, 3, VerificationState.VERIFIED, None, 9, per_minute)
