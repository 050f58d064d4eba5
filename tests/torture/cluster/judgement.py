"""The oracle of a cluster: the checks of one server's, but for the repeats, and who owned what.

Pure. A *repeat* is a receipt of a delivery that its receiver had taken already. One is allowed
where a fault kept its outcome from being written down: one of the two tries was under way, or had
ended within the last second, when the fault began, or it began before the fault's cause was gone.
What is in the sockets then still arrives, a moment later.
For each worker that a fault befell there are no more of them than it could have in flight.

*Owned once*: whoever sends for a subscription does so in an epoch of its shard, and epochs only
grow. Somebody who sends in an old epoch after another began to send in a newer one has gone on
beyond its lease. A frozen worker may let one write out as it is thawed.

*Healed*: after a worker's end its subscriptions are sent for by another one in time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from tests.torture import oracle
from tests.torture.cluster.faults import Fault, Kind
from tests.torture.cluster.sends import Send
from tests.torture.oracle import FRESH_S, Receipt, Story, Verdict, Violation

HEAL_S = 2.0
"""A dead worker's subscriptions are sent for again so long after the lease has run out."""

SETTLE_S = 0.5
"""So long a receiver may take to read what a dead worker has sent, and a thawed worker, or one
whose database is back, to see what has changed."""


class Judgement(msgspec.Struct):
    """What the oracle says.

    Attributes:
        verdict: as of one server; `kills` counts all faults, `worst` is of one fault.
        handovers: how often a shard was seen to change its owner.
        healed_s: how long it took, after each kill, until all of the worker's subscriptions that
            had work were sent for again.
    """

    verdict: Verdict
    handovers: int
    healed_s: list[float]


def judge(
    story: Story, faults: Sequence[Fault], sends: Sequence[Send], *, workers: int, lease_s: float
) -> Judgement:
    """Check everything.

    Args:
        story: what the ledgers and the database tell; its ceiling is of one worker.
        faults: in order of time.
        sends: in order of time.
        workers: how many there are.
        lease_s: how long a lease lasts.
    """
    tries = oracle.tries_of(story)
    repeats = list(_repeats(tries))
    causes = [_cause(before, after, faults) for before, after in repeats]
    of_fault = Counter(cause for cause in causes if cause is not None)
    healed = list(_healings(faults, sends))
    violations = [
        *oracle.check(story, tries),
        *_check_repeats(repeats, causes),
        *_check_ceiling(of_fault, faults, workers * story.ceiling, story.ceiling),
        *_check_owners(sends, faults),
        *_check_healed(healed, lease_s + HEAL_S),
    ]
    verdict = Verdict(
        violations,
        kills=len(faults),
        posted=len({post.n for post in story.posts}),
        acked=len(oracle.acknowledged(story)),
        received=len(story.receipts),
        repeats=len(repeats),
        allowed=sum(cause is not None for cause in causes),
        worst=max(of_fault.values(), default=0),
    )
    return Judgement(verdict, _handovers(sends), healed)


# Repeats.


def _repeats(
    tries: Mapping[tuple[str, str], Sequence[Receipt]],
) -> Iterator[tuple[Receipt, Receipt]]:
    """Return each receipt that comes after one that took the event, with that one."""
    for receipts in tries.values():
        for before, after in pairwise(receipts):
            if before.taken or before.status is None:
                yield before, after


def _cause(before: Receipt, after: Receipt, faults: Sequence[Fault]) -> int | None:
    """Return the number of the fault that explains a repeat."""
    for number, fault in enumerate(faults):
        until = fault.ended + SETTLE_S
        if any(_touches(receipt, fault.began, until) for receipt in (before, after)):
            return number
    return None


def _touches(receipt: Receipt, began: float, until: float) -> bool:
    ended_at = receipt.ended_at
    open_at_begin = ended_at is None or ended_at >= began - FRESH_S
    return open_at_begin and receipt.received.at <= until


def _check_repeats(
    repeats: Sequence[tuple[Receipt, Receipt]], causes: Sequence[int | None]
) -> Iterator[Violation]:
    for (_, after), cause in zip(repeats, causes, strict=True):
        if cause is None:
            got = after.received
            yield Violation("doubled", f"event {got.n} arrived at {got.role} again")


def _check_ceiling(
    of_fault: Mapping[int, int], faults: Sequence[Fault], of_all: int, of_one: int
) -> Iterator[Violation]:
    for number, count in of_fault.items():
        fault = faults[number]
        if count > (of_all if fault.worker is None else of_one):
            yield Violation("too many repeats", f"{count} after {fault.kind.value} {number + 1}")


# Owners.


def _check_owners(sends: Sequence[Send], faults: Sequence[Fault]) -> Iterator[Violation]:
    """Epochs of a shard only grow, and an epoch has one worker."""
    latest: dict[int, Send] = {}
    owners: dict[tuple[int, int], int] = {}
    excused: Counter[tuple[int, str]] = Counter()
    for send in sends:
        owner = owners.setdefault((send.shard, send.epoch), send.worker)
        if owner != send.worker:
            yield Violation("two owners", f"shard {send.shard}, epoch {send.epoch}")
        newest = latest.get(send.shard)
        if newest is None or send.epoch >= newest.epoch:
            latest[send.shard] = send
            continue
        thawed = _thawed(send, faults)
        if thawed is not None:
            excused[thawed, send.subscription] += 1
            if excused[thawed, send.subscription] == 1:
                continue
        yield Violation(
            "two owners",
            f"shard {send.shard}: epoch {send.epoch} was sent in after epoch {newest.epoch}",
        )


def _thawed(send: Send, faults: Sequence[Fault]) -> int | None:
    """Return the number of the freeze that a worker has just been thawed from."""
    for number, fault in enumerate(faults):
        mine = fault.kind is Kind.FROZEN and fault.worker == send.worker
        if mine and fault.began <= send.at <= fault.ended + SETTLE_S:
            return number
    return None


def _handovers(sends: Sequence[Send]) -> int:
    epochs: dict[int, set[int]] = defaultdict(set)
    for send in sends:
        epochs[send.shard].add(send.epoch)
    return sum(len(known) - 1 for known in epochs.values())


# Healing.


def _healings(faults: Sequence[Fault], sends: Sequence[Send]) -> Iterator[float]:
    """Return how long each killed worker's subscriptions waited, where nothing else was wrong.

    A subscription counts where it had just been sent for, and is sent for again.
    """
    for number, fault in enumerate(faults):
        if fault.kind is not Kind.KILLED:
            continue
        after = faults[number + 1].began if number + 1 < len(faults) else float("inf")
        left = _last_owners(sends, fault)
        firsts: dict[str, float] = {}
        for send in sends:
            known = left.get(send.subscription)
            if known is not None and send.at > fault.began and send.epoch > known:
                firsts.setdefault(send.subscription, send.at - fault.began)
        within = [wait for wait in firsts.values() if fault.began + wait < after]
        if within:
            yield max(within)


def _last_owners(sends: Sequence[Send], fault: Fault) -> dict[str, int]:
    """Return the epochs of the subscriptions that a worker was the last to send for, of late."""
    last: dict[str, Send] = {}
    for send in sends:
        if send.at <= fault.began:
            last[send.subscription] = send
    return {
        subscription: send.epoch
        for subscription, send in last.items()
        if send.worker == fault.worker and send.at > fault.began - FRESH_S
    }


def _check_healed(healed: Sequence[float], limit_s: float) -> Iterator[Violation]:
    for wait in healed:
        if wait > limit_s:
            yield Violation("not healed", f"a dead worker's subscription waited {wait:.1f} s")
