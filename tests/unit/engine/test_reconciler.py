"""The reconciler: what was committed and told to nobody is sent all the same."""

from pathlib import Path

from tests.support import database
from tests.support.engine import works
from waypost.engine.reconciler import Reconciler, look
from waypost.engine.router import Router
from waypost.storage import subscriptions


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


async def test_where_others_commit_too_a_busy_lane_learns_of_what_it_was_not_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.db"
    records = database.make(path)
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.receivers.reach(1)
        lanes, engine.ingest._lanes = engine.ingest._lanes, Deaf()
        await engine.accept()
        await engine.quiet()
        (_, missed) = [row.id for row in sorted(await engine.rows("queue"), key=lambda r: r.id)]
        told = [(one.project_id, one.id, missed)]
        reconciler = Reconciler(engine.store, engine.dispatcher, lambda _: told)
        await reconciler.run_once()
        await engine.receivers.reach(2)
        engine.ingest._lanes = lanes
        await reconciler.run_once()
        await engine.quiet()
        assert len(engine.sent) == 2
        for post in engine.receivers.open:
            post.answer()
        await engine.quiet()
        engine.nothing_leaks()


async def test_what_was_not_told_is_found_although_what_came_behind_it_is_known(
    tmp_path: Path,
) -> None:
    path = tmp_path / "w.db"
    records = database.make(path)
    one = records.subscription()
    async with works(records, path) as engine:
        lanes, engine.ingest._lanes = engine.ingest._lanes, Deaf()
        await engine.accept()
        engine.ingest._lanes = lanes
        await engine.accept()
        await engine.receivers.reach(1)
        (_, known) = [row.id for row in sorted(await engine.rows("queue"), key=lambda r: r.id)]
        told = [(one.project_id, one.id, known)]
        reconciler = Reconciler(engine.store, engine.dispatcher, lambda _: told)
        for _ in range(9):
            await reconciler.run_once()
            await engine.quiet()
        assert len(engine.sent) == 1
        await reconciler.run_once()
        await engine.receivers.reach(2)
        await reconciler.run_once()
        for post in engine.receivers.open:
            post.answer()
        await engine.quiet()
        assert len(engine.sent) == 2
        engine.nothing_leaks()


async def test_who_comes_to_own_a_lane_learns_how_its_receiver_fared(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    records = database.make(path)
    one = records.subscription()
    records.pending(records.event(), one)
    async with database.opened(path) as store:
        await store.write(lambda c: subscriptions.set_failing_since(c, one.project_id, one.id, 5))
        router = Router()
        router.apply(1, one)
        assert await look(store, router) == [(one.project_id, one.id)]
        present = router.find(one.project_id, one.id)
        assert present is not None
        assert present.failing_since_us == 5
