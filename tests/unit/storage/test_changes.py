"""Changes are records: they start with nothing decided."""

from waypost.storage.changes import Acceptance, Entry, Settlement


def test_nothing_is_decided_before_the_commit() -> None:
    entry = Entry(b"e" * 16, (), [], "key", b"f" * 16)
    assert (entry.duplicate_of, entry.fan_out) == (None, None)
    told: list[object] = []
    acceptance = Acceptance(b"p" * 16, b"k" * 16, 1, [entry], 5, 6, told.append, keyed=True)
    assert (acceptance.outcome, acceptance.error, acceptance.at_index) == (None, None, 0)
    settlement = Settlement(b"p" * 16, b"e" * 16, b"d" * 16, 0, (), told.append, retry_at_us=7)
    assert (settlement.late, settlement.delivery, settlement.diverted) == (False, None, None)
    for change in (acceptance, settlement):
        change.done(change)  # type: ignore[arg-type] # each kind has its own
    assert told == [acceptance, settlement]
