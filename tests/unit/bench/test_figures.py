import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Percentiles, middle, pace, percentiles_ms, slowest_tenth_per_s
from bench.ledger import Ledger

MS = 1_000_000


def test_percentiles_are_by_nearest_rank() -> None:
    samples = [milliseconds * MS for milliseconds in range(100, 0, -1)]

    assert percentiles_ms(samples) == Percentiles(50, 90, 99, 100)
    assert percentiles_ms([7 * MS]) == Percentiles(7, 7, 7, 7)


def test_percentiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="of nothing"):
        percentiles_ms([])


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_percentiles_are_samples_in_order(samples: list[int]) -> None:
    found = percentiles_ms(samples)

    assert found.p50 <= found.p90 <= found.p99 <= found.worst == max(samples) / MS
    assert {found.p50, found.p90, found.p99} <= {sample / MS for sample in samples}


def test_pace_counts_from_the_intended_time_and_leaves_the_warm_up_out() -> None:
    ledger = Ledger()
    ledger.add_posted(
        [
            (b"warm", 1, 0, 0, 1),
            (b"a", 100, 1_000 * MS, 1_004 * MS, 1_006 * MS),
            (b"b", 101, 1_100 * MS, 1_100 * MS, 2_004 * MS),
        ]
    )
    ledger.add_received(
        [(b"warm", b"1", 9), (b"a", b"100", 1_007 * MS), (b"b", b"101", 3_004 * MS)]
    )

    found = pace(ledger, 100)

    assert found.events == 2
    assert found.ack_ms.p50 == 6
    assert found.receipt_ms.p50 == 7
    assert found.receipt_after_ack_ms.p50 == 1
    assert found.accepted_per_s == 2
    assert found.delivered_per_s == 1


def test_the_middle_is_the_median() -> None:
    assert middle([9, 1, 2]) == 2
    assert middle([]) != middle([])


def test_the_slowest_tenth_is_found_wherever_it_is() -> None:
    steady = [number * MS for number in range(1_000)]
    stalled = [at if at < 500 * MS else at + 900 * MS for at in steady]

    assert slowest_tenth_per_s(steady) == pytest.approx(1_000, rel=0.02)
    assert slowest_tenth_per_s(stalled) == pytest.approx(100, rel=0.02)
    assert slowest_tenth_per_s([0, 1_000 * MS]) == 2
