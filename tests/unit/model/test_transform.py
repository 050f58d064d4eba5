"""Transforms: how a fault reads."""

import pytest

from waypost.model.transform import Fault, FaultKind


@pytest.mark.parametrize(
    "fault, text",
    [
        (Fault(FaultKind.CRASH, "gone"), "gone"),
        (Fault(FaultKind.EXCEPTION, "bad", line=3, column=1), "line 3: bad"),
        (Fault(FaultKind.COMPILE, "bad", place="$.a[0]"), "$.a[0]: bad"),
    ],
)
def test_a_fault_says_where(fault: Fault, text: str) -> None:
    assert str(fault) == text
