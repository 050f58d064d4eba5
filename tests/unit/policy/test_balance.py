"""Balance: every shard gets an owner, nobody keeps more than its share, and then nothing moves."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from waypost.model.ids import Id
from waypost.model.shards import SHARDS
from waypost.policy.balance import Plan, plan, share


def worker(number: int) -> Id:
    return number.to_bytes(16, "big")


class Cluster:
    """Workers that act one after the other, each by what it sees.

    Attributes:
        owners: who owns each shard.
        leaving: the shards that are given up, and not yet free.
        moves: how often a shard was claimed or given up.
    """

    def __init__(self) -> None:
        self.alive: list[Id] = []
        self.owners: dict[int, Id | None] = dict.fromkeys(range(SHARDS))
        self.leaving: set[int] = set()
        self.moves = 0

    def owned(self, me: Id) -> set[int]:
        return {shard for shard, owner in self.owners.items() if owner == me}

    def free(self) -> list[int]:
        return [shard for shard, owner in self.owners.items() if owner is None]

    def die(self, me: Id) -> None:
        self.alive.remove(me)
        for shard in self.owned(me):
            self.owners[shard] = None
            self.leaving.discard(shard)

    def act(self, me: Id, seen: Sequence[Id]) -> None:
        decided = plan(
            seen, me, self.owned(me), self.leaving & self.owned(me), free=len(self.free())
        )
        for shard in self.free()[: decided.claim]:
            self.owners[shard] = me
            self.moves += 1
        self.leaving |= set(decided.release)
        self.moves += len(decided.release)

    def land(self) -> None:
        for shard in self.leaving:
            self.owners[shard] = None
        self.leaving.clear()

    def settle(self) -> None:
        for _ in range(3):
            for me in self.alive:
                self.act(me, self.alive)
            self.land()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 300)),
        st.tuples(st.just("die"), st.integers(0, 300)),
        st.tuples(st.just("act"), st.integers(0, 300)),
        st.tuples(st.just("act blind"), st.integers(0, 300)),
        st.tuples(st.just("land"), st.just(0)),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 300))
def test_whatever_came_before_it_comes_to_rest_with_an_owner_for_every_shard(
    history: list[tuple[str, int]], last: int
) -> None:
    cluster = Cluster()
    for step, number in history:
        if step == "join" and worker(number) not in cluster.alive:
            cluster.alive.append(worker(number))
        elif step == "land":
            cluster.land()
        elif cluster.alive:
            me = cluster.alive[number % len(cluster.alive)]
            if step == "die":
                cluster.die(me)
            else:
                # Blind: it has not seen yet who came last, and sees one that is gone.
                stale = [*cluster.alive[:-1], worker(999)]
                cluster.act(me, cluster.alive if step == "act" else stale)
    if not cluster.alive:
        cluster.alive.append(worker(last))
    cluster.settle()
    sizes = [len(cluster.owned(me)) for me in cluster.alive]
    assert sum(sizes) == SHARDS
    assert max(sizes) - min(sizes) <= 1
    moves = cluster.moves
    cluster.settle()
    assert cluster.moves == moves


@given(st.integers(1, 300))
def test_shares_add_up_to_all_shards(count: int) -> None:
    workers = [worker(number) for number in range(count)]
    shares = [share(workers, me) for me in workers]
    assert sum(shares) == SHARDS
    assert max(shares) - min(shares) <= 1
    assert shares == [share(workers[::-1], me) for me in workers]


@given(st.integers(1, 40))
def test_one_that_comes_takes_no_more_than_its_share_from_the_others(count: int) -> None:
    cluster = Cluster()
    cluster.alive = [worker(number) for number in range(count)]
    cluster.settle()
    cluster.moves = 0
    cluster.alive.append(worker(count))
    cluster.settle()
    assert cluster.moves == 2 * len(cluster.owned(worker(count)))


def test_one_that_is_not_alive_any_more_gives_up_everything() -> None:
    assert plan([worker(1)], worker(2), range(5), (), free=9) == Plan(0, (0, 1, 2, 3, 4))


def test_what_is_given_up_already_counts_for_nothing() -> None:
    workers = [worker(1), worker(2)]
    assert plan(workers, worker(1), range(200), range(128, 200), free=0) == Plan(0, ())
    assert plan(workers, worker(1), range(128), range(28), free=100) == Plan(28, ())
