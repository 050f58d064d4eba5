"""A connection apart: made when it is needed, and made anew when it is lost."""

from functools import partial

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from tests.support import database
from tests.support.database import Place, Records
from waypost.model.errors import Unavailable
from waypost.storage import facts
from waypost.storage.apart import Apart, together
from waypost.storage.postgres.connection import SNAPSHOT


class Connecting:
    """Connects, as often as it is let.

    Attributes:
        made: the connections that there were.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.made: list[Connection] = []
        self.is_away = False

    def __call__(self) -> Connection:
        if self.is_away:
            raise OperationalError("", None, OSError("away"))
        self.made.append(database.connect(self.place))
        return self.made[-1]


def apart(place: Place) -> tuple[Apart, Connecting]:
    connecting = Connecting(place)
    return Apart(connecting, SNAPSHOT if isinstance(place, str) else "BEGIN"), connecting


async def test_each_statement_holds_at_once(place: Place, records: Records) -> None:
    made, connecting = apart(place)
    assert connecting.made == []
    await made.run(lambda c: facts.record(c, "a", "1"))
    assert facts.find(records.connection, "a") == "1"
    assert await made.run(lambda c: facts.find(c, "a")) == "1"
    assert len(connecting.made) == 1
    await made.close()


async def test_a_snapshot_sees_one_state(place: Place, records: Records) -> None:
    facts.record(records.connection, "a", "1")
    made, _ = apart(place)
    if isinstance(place, str):

        def twice(connection: Connection) -> tuple[str | None, str | None]:
            first = facts.find(connection, "a")
            facts.record(records.connection, "a", "2")
            return first, facts.find(connection, "a")

        assert await made.snapshot(twice) == ("1", "1")
        assert await made.run(lambda c: facts.find(c, "a")) == "2"
    else:
        assert await made.snapshot(lambda c: facts.find(c, "a")) == "1"
    await made.close()


async def test_what_belongs_together_holds_together_or_not_at_all(
    place: Place, records: Records
) -> None:
    made, connecting = apart(place)

    def half(connection: Connection) -> None:
        with together(connection):
            facts.record(connection, "a", "1")
            raise KeyError

    with pytest.raises(KeyError):
        await made.run(half)
    assert facts.find(records.connection, "a") is None

    def whole(connection: Connection) -> None:
        with together(connection):
            facts.record(connection, "a", "1")

    await made.run(whole)
    assert facts.find(records.connection, "a") == "1"
    assert len(connecting.made) == 2
    await made.close()


async def test_a_connection_that_is_lost_is_made_anew(place: Place, records: Records) -> None:
    made, connecting = apart(place)
    connecting.is_away = True
    with pytest.raises(Unavailable):
        await made.run(partial(facts.find, name="a"))
    connecting.is_away = False
    assert await made.run(partial(facts.find, name="a")) is None
    with pytest.raises(Unavailable):
        await made.run(lambda c: c.execute(text("SELECT nothing FROM nowhere")))
    assert await made.run(partial(facts.find, name="a")) is None
    assert len(connecting.made) == 2
    await made.close()
    assert connecting.made[-1].closed
