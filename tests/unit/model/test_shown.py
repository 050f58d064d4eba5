"""What is shown of a try before it is made."""

from waypost.model.shown import AttemptStatus, ShownAttempt


def test_the_statuses_are_the_words_of_the_wire() -> None:
    assert [status.value for status in AttemptStatus] == ["PENDING", "SENDING", "SUCCESS", "FAILED"]


def test_a_try_to_come_has_no_answer() -> None:
    shown = ShownAttempt(b"p", b"a", b"e", b"d", b"s", 1, AttemptStatus.PENDING)
    assert (shown.status_code, shown.response, shown.timings) == (0, b"", None)
