from bench.syncs import count_by_metric, count_traced

TRACE = """\
17 100.000001 fdatasync(7)       = 0
17 101.000000 fdatasync(7 <unfinished ...>
18 101.500000 fsync(9)           = 0
17 101.600000 <... fdatasync resumed>) = 0
17 103.000000 fsync(9)           = 0
"""


def test_only_calls_that_began_in_the_window_count() -> None:
    assert count_traced(TRACE, 100.5, 102.0) == 2


def test_the_metric_is_summed_over_its_labels() -> None:
    page = b'# TYPE x counter\nwaypost_storage_syncs_total{kind="a"} 3.0\n'

    assert count_by_metric(page + b'waypost_storage_syncs_total{kind="b"} 4.0\n') == 7
    assert count_by_metric(b"waypost_other_total 1\n") is None
