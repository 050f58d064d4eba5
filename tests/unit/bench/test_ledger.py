from pathlib import Path

import pytest

from bench import wire
from bench.ledger import ALTERED, Ledger, Verdict, read_ledger

A, B = b"evt_a", b"evt_b"


def checked(received: list[tuple[bytes, bytes, int]]) -> Verdict:
    ledger = Ledger()
    ledger.add_posted([(A, 1, 0, 0, 5), (B, 2, 0, 0, 6)])
    ledger.add_received(received)
    return ledger.verdict()


def test_each_received_once_is_ok() -> None:
    verdict = checked([(B, b"000000000002", 7), (A, b"000000000001", 8)])

    assert verdict == Verdict(acknowledged=2, received=2)
    assert verdict.ok


@pytest.mark.parametrize(
    "received, fault, token",
    [
        ([(A, b"1", 7)], "lost", "evt_b"),
        ([(A, b"1", 7), (B, b"2", 8), (B, b"2", 9)], "doubled", "evt_b"),
        ([(A, b"1", 7), (B, b"2", 8), (b"evt_c", b"3", 9)], "unknown", "evt_c"),
        ([(A, b"2", 7), (B, b"2", 8)], "altered", "evt_a"),
        ([(A, ALTERED, 7), (B, b"2", 8)], "altered", "evt_a"),
    ],
)
def test_every_kind_of_fault_is_counted_and_named(
    received: list[tuple[bytes, bytes, int]], fault: str, token: str
) -> None:
    verdict = checked(received)

    assert not verdict.ok
    kinds = ("lost", "doubled", "unknown", "altered")
    assert {kind: getattr(verdict, kind) for kind in kinds} == {
        kind: int(kind == fault) for kind in kinds
    }
    assert verdict.examples == {fault: [token]}
    assert f"1 {fault}" in str(verdict)


def test_a_doubled_event_keeps_the_time_of_its_first_receipt() -> None:
    ledger = Ledger()
    ledger.add_posted([(A, 1, 0, 0, 5)])
    ledger.add_received([(A, b"1", 7), (A, b"1", 9)])

    assert ledger.first_receipts == {A: 7}


def test_a_token_given_to_two_events_is_a_fault() -> None:
    ledger = Ledger()
    ledger.add_posted([(A, 1, 0, 0, 5), (A, 2, 0, 0, 6)])
    ledger.add_received([(A, b"2", 7)])

    assert ledger.verdict().unknown == 1


def test_files_of_several_loads_make_one_ledger(tmp_path: Path) -> None:
    first, second, received = (tmp_path / name for name in ("first", "second", "received"))
    first.write_bytes(wire.POSTED.pack(A, 1, 10, 11, 12))
    second.write_bytes(wire.POSTED.pack(B, 2, 20, 21, 22))
    received.write_bytes(
        wire.RECEIVED.pack(A, b"000000000001", 13) + wire.RECEIVED.pack(B, b"000000000002", 23)
    )

    ledger = read_ledger([first, second], received)

    assert ledger.verdict() == Verdict(acknowledged=2, received=2)
    assert ledger.posted[B].intended_ns == 20
    assert ledger.first_receipts == {A: 13, B: 23}
