import pytest

from bench.plans import Explained, entries, explained, scanned, written

LOG = """\
2026-01-01 00:00:00.001 UTC [7] LOG:  database system is ready to accept connections
2026-01-01 00:00:01.001 UTC [9] LOG:  duration: 1.250 ms  plan:
\tQuery Text: INSERT INTO events
\t  SELECT $1
\tInsert on events  (cost=0.00..0.01 rows=0 width=0) (actual time=0.1..0.1 rows=0 loops=1)
\t  Buffers: shared hit=3
2026-01-01 00:00:01.002 UTC [9] ERROR:  something else
2026-01-01 00:00:01.003 UTC [9] LOG:  duration: 4.500 ms  plan:
\tQuery Text: DELETE FROM queue
\tDelete on queue  (cost=0.00..9.00 rows=0 width=0) (actual time=4.0..4.0 rows=0 loops=1)
\t  ->  Seq Scan on queue  (cost=0.00..9.00 rows=1 width=6) (actual time=4.0..4.0 rows=1 loops=1)
2026-01-01 00:00:01.004 UTC [9] LOG:  duration: 0.500 ms  plan:
\tQuery Text: INSERT INTO events SELECT $1
\tInsert on events  (cost=0.00..0.02 rows=0 width=0) (actual time=0.1..0.1 rows=0 loops=1)
"""


def test_plans_are_found_in_a_log() -> None:
    found = list(entries(LOG))

    assert [(text, took_ms) for text, took_ms, _ in found] == [
        ("INSERT INTO events SELECT $1", 1.25),
        ("DELETE FROM queue", 4.5),
        ("INSERT INTO events SELECT $1", 0.5),
    ]
    assert found[0][2].splitlines()[1] == "  Buffers: shared hit=3"


def test_executions_of_a_statement_are_added_up() -> None:
    found = explained(LOG)

    assert list(found) == ["DELETE FROM queue", "INSERT INTO events SELECT $1"]
    insert = found["INSERT INTO events SELECT $1"]
    assert (insert.calls, insert.total_ms, insert.worst_ms, insert.scans) == (2, 1.75, 1.25, 0)
    assert "Buffers" in insert.worst_plan
    assert found["DELETE FROM queue"].scans == 1


@pytest.mark.parametrize(
    "line, tables",
    [
        ("Seq Scan on events_p20260101 events_3  (cost=0.00..1.00)", ["events_p20260101"]),
        (
            "  ->  Parallel Seq Scan on deliveries_filled_20000 d  (cost=",
            ["deliveries_filled_20000"],
        ),
        ("Seq Scan on public.queue q  (cost=0.00..1.00)", ["queue"]),
        ("Seq Scan on events events_1  (cost=0.00..1.00) (never executed)", []),
        ("Seq Scan on event_types  (cost=0.00..1.00)", []),
        ("Seq Scan on shards  (cost=0.00..1.00)", []),
        ("Index Scan using queue_pkey on queue  (cost=0.00..1.00)", []),
    ],
)
def test_only_scans_of_tables_that_grow_count(line: str, tables: list[str]) -> None:
    assert list(scanned(line)) == tables


def test_the_file_has_the_slowest_plan_of_each() -> None:
    text = written({"SELECT 1": Explained(2, 3.0, 2.5, "Result", 1)})

    assert text == (
        "=== 2 calls, 3.0 ms, slowest 2.50 ms, 1 with sequential scans of growing tables\n"
        "SELECT 1\nResult"
    )
