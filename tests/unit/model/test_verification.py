"""Verifications, as they are kept."""

import msgspec

from waypost.model.verification import Verification, VerificationMode, VerificationState


def test_one_comes_back_as_it_was_kept() -> None:
    one = Verification(VerificationMode.CLOUDEVENTS, 2, VerificationState.FAILED, "no", 7, 5)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Verification) == one
