"""Fan-outs: read part by part, moved on by compare and set."""

from sqlalchemy import insert

from tests.support.database import Records
from waypost.model import ids
from waypost.storage import fan_outs, schema


def keep(records: Records, count: int, project_id: bytes | None = None) -> tuple[bytes, ...]:
    wanted = tuple(ids.make(7, n) for n in range(count))
    records.connection.execute(
        insert(schema.fan_outs).values(
            project_id=project_id or records.project,
            event_id=records.ids.next(),
            subscriptions=b"".join(wanted),
            position=0,
        )
    )
    return wanted


def test_without_a_fan_out_there_is_no_part(records: Records) -> None:
    assert fan_outs.find_next(records.connection) is None


def test_parts_hold_every_subscription_once_in_order(records: Records) -> None:
    for count in (1, 499, 500, 501, 1_000, 1_200):
        wanted = keep(records, count)
        made: list[bytes] = []
        while (part := fan_outs.find_next(records.connection)) is not None:
            assert part.position == len(made)
            assert len(part.subscriptions) <= fan_outs.CHUNK
            assert part.ended == (len(made) + len(part.subscriptions) == count)
            assert fan_outs.advance(records.connection, part)
            made += part.subscriptions
        assert tuple(made) == wanted


def test_a_part_that_was_made_already_is_not_made_again(records: Records) -> None:
    keep(records, 1_200)
    for _ in range(3):
        part = fan_outs.find_next(records.connection)
        assert part is not None
        assert fan_outs.advance(records.connection, part)
        assert not fan_outs.advance(records.connection, part)


def test_the_oldest_goes_first_and_projects_do_not_mix(records: Records) -> None:
    first = keep(records, 2)
    keep(records, 3)
    keep(records, 4, records.other)
    seen = []
    while (part := fan_outs.find_next(records.connection)) is not None:
        seen.append((part.project_id, len(part.subscriptions)))
        fan_outs.advance(records.connection, part)
    mine = [n for project_id, n in seen if project_id == records.project]
    assert mine == [len(first), 3]
    assert (records.other, 4) in seen
