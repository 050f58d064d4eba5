import pytest

from waypost.model.delivery import Timings
from waypost.model.exchange import FailureKind, Reply, TransportFailure
from waypost.policy.outcome import Outcome, OutcomeKind, classify

NOW_US = 1_700_000_000_000_000
LONG = bytes(range(256)) * 40


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_is_judged(status: int) -> None:
    success = 200 <= status < 300
    assert classify(Reply(status, LONG, Timings(), retry_after="7"), NOW_US) == Outcome(
        kind=OutcomeKind.DELIVERED if success else OutcomeKind.FAILED,
        status_code=status,
        response=LONG[:256] if success else LONG[:4096],
        slow_down=status in {429, 502, 503, 504},
        gone=status == 410,
        timeout=False,
        retry_after_s=None if success else 7.0,
    )


@pytest.mark.parametrize("kind", FailureKind)
def test_every_failure_of_the_transport_is_judged(kind: FailureKind) -> None:
    text = f"{kind}: no answer"
    assert classify(TransportFailure(kind, text, Timings()), NOW_US) == Outcome(
        kind=OutcomeKind.FAILED,
        status_code=0,
        response=text.encode(),
        timeout=kind is FailureKind.TIMEOUT,
        failure=kind,
    )


@pytest.mark.parametrize("retry_after", [None, "", "soon", "-1"])
def test_a_reply_that_names_no_good_time_asks_for_none(retry_after: str | None) -> None:
    reply = Reply(503, b"", Timings(), retry_after=retry_after)
    assert classify(reply, NOW_US).retry_after_s is None


def test_a_date_is_measured_from_now() -> None:
    reply = Reply(503, b"", Timings(), retry_after="Tue, 14 Nov 2023 22:14:20 GMT")
    assert classify(reply, NOW_US).retry_after_s == 60


@pytest.mark.parametrize("text, kept", [("x" * 5000, b"x" * 4096), ("no \udcff", b"no ?")])
def test_the_text_of_a_failure_is_kept_as_bounded_bytes(text: str, kept: bytes) -> None:
    failure = TransportFailure(FailureKind.CONNECT, text, Timings())
    assert classify(failure, NOW_US).response == kept
