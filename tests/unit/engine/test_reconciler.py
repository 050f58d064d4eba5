"""The reconciler: what was committed and told to nobody is sent all the same."""

from pathlib import Path

from tests.support import database
from tests.support.engine import works
from waypost.engine.reconciler import Reconciler


class Deaf:
    """Lanes that hear of nothing."""

    def committed(self, *_: object) -> None:
        """Forget it."""


async def test_what_nobody_was_told_of_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    records = database.make(path)
    records.subscription()
    async with works(records, path) as engine:
        engine.ingest._lanes = Deaf()
        await engine.accept()
        await engine.quiet()
        assert engine.sent == []
        reconciler = Reconciler(engine.store, engine.dispatcher)
        assert await reconciler.run_once() is False
        await engine.receivers.reach(1)


async def test_what_is_known_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    records = database.make(path)
    records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.receivers.reach(1)
        await Reconciler(engine.store, engine.dispatcher).run_once()
        await engine.quiet()
        assert len(engine.sent) == 1
        engine.receivers.posts[0].answer()
        await engine.quiet()
        engine.nothing_leaks()
