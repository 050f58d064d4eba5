"""Verification: whether whoever answers at a URL wants what a subscription sends there."""

from enum import StrEnum

import msgspec


class VerificationMode(StrEnum):
    """How a URL is verified before anything is sent to it."""

    NONE = "none"
    CHALLENGE = "challenge"
    CLOUDEVENTS = "cloudevents"


class VerificationState(StrEnum):
    """How far that is: until it is verified nothing is sent, and what is owed is kept."""

    PENDING = "pending"
    VERIFIED = "verified"
    FAILED = "failed"


class Verification(msgspec.Struct, frozen=True):
    """The verification of a subscription's URL.

    Attributes:
        mode: how; never NONE, of which there is no verification.
        number: counts how often it was asked for: what comes of an earlier one has no say.
        reason: why it failed, a sentence for people.
        at_us: when it was verified or failed, UTC microseconds.
        per_minute: requests a minute that the receiver allows; None where it sets no limit.
    """

    mode: VerificationMode
    number: int = 1
    state: VerificationState = VerificationState.PENDING
    reason: str | None = None
    at_us: int | None = None
    per_minute: int | None = None
