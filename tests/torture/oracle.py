"""The oracle: do the senders' ledger, the receivers' ledger and the database tell one story?

Pure: it judges what was written down. A *repeat* is a receipt of a delivery that its receiver had
taken already. One is allowed where the server could not know, and only there: the receipt before
it belongs to a life of the server that ended by a kill, and at that moment its attempt was open or
had arrived or been answered within the last second. Of one kill there are no more repeats than
attempts could be in flight. A receipt that was answered with an error, or that the server broke
off, asks for the next one: that is no repeat.

*Order* is that of acceptance, by the numbers that the database holds, and it is judged by receipts.
Of a chain, which is an ordering key or all that a strict subscription gets, no event arrives first
behind one of a higher number (an *inversion*), nor before one of a lower number that is taken
later: the next one waits until the one before it is delivered or given up (*overtaken*). The
numbers themselves must not contradict the producers: what was posted after another one of its key
was acknowledged has the higher number (else it is *misnumbered*).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from tests.torture.audit import DELIVERED, FAILED, Kept
from tests.torture.cast import Role
from tests.torture.ledger import Answered, Ended, Line, Posted, Received, Replied

ACCEPTED = 202
FRESH_S = 1.0
"""An answer that arrived this shortly before a kill need not have been settled."""

Repeat = tuple["Receipt", "Receipt"]


class Violation(msgspec.Struct, frozen=True):
    """Something that must not be."""

    kind: str
    detail: str


class Receipt(msgspec.Struct):
    """One try as its receiver saw it.

    Attributes:
        life: in which life of the server it arrived, from 0.
        status: what was answered; HANGS: nothing, on purpose; 0: the sender broke off before that.
        ended_at: when it was answered or broken off.
    """

    received: Received
    life: int
    status: int | None = None
    ended_at: float | None = None

    @property
    def taken(self) -> bool:
        """Tell whether the receiver said that it took the event."""
        return self.status is not None and 200 <= self.status <= 299

    def open_at(self, moment: float) -> bool:
        """Tell whether its attempt had not ended at a moment."""
        return self.ended_at is None or self.ended_at >= moment


class Shown(msgspec.Struct, frozen=True):
    """What the API shows after the drain: events and subscriptions of what was not delivered."""

    pending: set[tuple[str, str]]
    failed: set[tuple[str, str]]
    diverted: set[tuple[str, str]]


class Story(msgspec.Struct):
    """Everything that was written down.

    Attributes:
        roles: by the token of their subscriptions.
        lives: how each life of the server ended, in order.
        ceiling: how many attempts could be in flight at once.
    """

    roles: Mapping[str, Role]
    posts: Sequence[Posted]
    answers: Sequence[Answered]
    receipts: Sequence[Receipt]
    lives: Sequence[Ended]
    kept: Kept
    shown: Shown
    ceiling: int


class Verdict(msgspec.Struct):
    """What the oracle says.

    Attributes:
        repeats: how many receipts repeat one that was taken already.
        worst: the most repeats of one kill.
    """

    violations: list[Violation]
    kills: int = 0
    posted: int = 0
    acked: int = 0
    received: int = 0
    repeats: int = 0
    allowed: int = 0
    worst: int = 0

    @property
    def kinds(self) -> set[str]:
        """Return what sorts of violations there are."""
        return {violation.kind for violation in self.violations}

    def count(self, *kinds: str) -> int:
        """Return how many violations of some sorts there are."""
        return sum(violation.kind in kinds for violation in self.violations)


def tell(
    sent: Iterable[Line],
    arrived: Iterable[Line],
    roles: Mapping[str, Role],
    kept: Kept,
    shown: Shown,
    ceiling: int,
) -> Story:
    """Put the ledgers' lines together."""
    posts: list[Posted] = []
    answers: list[Answered] = []
    lives: list[Ended] = []
    receipts: dict[int, Receipt] = {}
    for line in sent:
        if isinstance(line, Posted):
            posts.append(line)
        elif isinstance(line, Answered):
            answers.append(line)
    for line in arrived:
        if isinstance(line, Received):
            receipts[line.seq] = Receipt(line, len(lives))
        elif isinstance(line, Replied):
            receipts[line.seq].status = line.status
            receipts[line.seq].ended_at = line.at
        elif isinstance(line, Ended):
            lives.append(line)
    return Story(roles, posts, answers, list(receipts.values()), lives, kept, shown, ceiling)


def judge(story: Story) -> Verdict:
    """Check everything."""
    tries = tries_of(story)
    repeats = list(_repeats(story, tries))
    accepted = acknowledged(story)
    per_kill = Counter(before.life for before, _ in repeats)
    violations = [*check(story, tries), *_check_repeats(story, repeats, per_kill)]
    return Verdict(
        violations,
        kills=sum(life.killed for life in story.lives),
        posted=len({post.n for post in story.posts}),
        acked=len(accepted),
        received=len(story.receipts),
        repeats=len(repeats),
        allowed=sum(_is_allowed(story, before, after) for before, after in repeats),
        worst=max(per_kill.values(), default=0),
    )


def check(story: Story, tries: Mapping[tuple[str, str], Sequence[Receipt]]) -> Iterator[Violation]:
    """Check everything but the repeats."""
    yield from _check_database(story)
    yield from _check_answers(story)
    yield from _check_keys(story)
    yield from _check_groups(story)
    yield from _check_receipts(story)
    yield from _check_owed(story, tries)
    yield from _check_numbers(story)
    for role in story.roles.values():
        if role.ordering != "none":
            yield from _check_order(story, role)


def acknowledged(story: Story) -> set[int]:
    """Return the numbers of the events that were answered as accepted."""
    return {answer.n for answer in story.answers if answer.status == ACCEPTED}


def tries_of(story: Story) -> dict[tuple[str, str], list[Receipt]]:
    """Return the receipts of each event at each role, in the order in which they arrived."""
    tries: dict[tuple[str, str], list[Receipt]] = defaultdict(list)
    for receipt in story.receipts:
        tries[receipt.received.token, receipt.received.role].append(receipt)
    return tries


def _check_database(story: Story) -> Iterator[Violation]:
    kept = story.kept
    yield from (Violation("corrupt", fault) for fault in kept.sound)
    if kept.pending:
        yield Violation("pending", f"{kept.pending} deliveries are owed after the drain")
    if kept.jobs:
        yield Violation("pending", f"{kept.jobs} replays are running after the drain")
    if story.shown.pending:
        yield Violation("pending", f"the API shows {len(story.shown.pending)} deliveries as owed")
    failed = {key for key, states in kept.finals.items() if FAILED in states}
    for key in (failed ^ story.shown.failed) | (kept.diverted ^ story.shown.diverted):
        yield Violation("hidden", f"what the API shows of {key} is not what is kept")


def _check_answers(story: Story) -> Iterator[Violation]:
    """An acknowledged event is there; refusals are for a server that is going down."""
    for answer in story.answers:
        if answer.status == ACCEPTED:
            if story.kept.events.get(answer.token) != answer.n:
                yield Violation("lost", f"event {answer.n} was acknowledged and is not kept")
        elif answer.status != 503:
            yield Violation("refused", f"event {answer.n} was answered {answer.status}")


def _check_keys(story: Story) -> Iterator[Violation]:
    """One post is one event, however often it was sent under its key."""
    tokens: dict[int, set[str]] = defaultdict(set)
    for token, n in story.kept.events.items():
        tokens[n].add(token)
    for answer in story.answers:
        if answer.status == ACCEPTED:
            tokens[answer.n].add(answer.token)
    keyed = {post.n for post in story.posts if post.key is not None}
    for n, found in tokens.items():
        if len(found) > 1:
            how = "under one key" if n in keyed else "from one post"
            yield Violation("split", f"event {n} became {len(found)} events {how}")
    firsts = Counter(a.n for a in story.answers if a.status == ACCEPTED and not a.duplicate)
    for n, count in firsts.items():
        if count > 1:
            yield Violation("split", f"event {n} was answered as new {count} times")


def _check_groups(story: Story) -> Iterator[Violation]:
    """A batch is there as a whole, or not at all."""
    kept = set(story.kept.events.values())
    groups: dict[int, set[int]] = defaultdict(set)
    for post in story.posts:
        if post.group is not None:
            groups[post.group].add(post.n)
    for group, members in groups.items():
        if 0 < len(members & kept) < len(members):
            yield Violation("torn", f"of batch {group} only a part is kept")


def _check_receipts(story: Story) -> Iterator[Violation]:
    """Nothing arrives that was not posted, for this subscription, as it was posted and signed."""
    types = {post.n: post.type for post in story.posts}
    wanting = {role.name: role for role in story.roles.values()}
    for receipt in story.receipts:
        got = receipt.received
        if got.n not in types or story.kept.events.get(got.token) != got.n:
            yield Violation("invented", f"{got.token} (event {got.n}) arrived and is not kept")
        elif got.role not in wanting or not wanting[got.role].wants(types[got.n]):
            yield Violation("misrouted", f"event {got.n} arrived at {got.role}")
        if not got.intact:
            yield Violation("altered", f"{got.token} arrived with another body")
        if not got.signed:
            yield Violation("unsigned", f"{got.token} arrived with a wrong signature")


def _check_owed(
    story: Story, tries: Mapping[tuple[str, str], Sequence[Receipt]]
) -> Iterator[Violation]:
    """Every event that is kept has come to each subscription that wants it, or says why not."""
    types = {post.n: post.type for post in story.posts}
    for token, n in story.kept.events.items():
        for subscription, role in story.roles.items():
            states = story.kept.finals.get((token, subscription), [])
            what = f"event {n} for {role.name}"
            if not role.wants(types.get(n, "")):
                if states:
                    yield Violation("misrouted", what)
                continue
            taken = any(receipt.taken for receipt in tries.get((token, role.name), ()))
            diverted = (token, subscription) in story.kept.diverted
            yield from _check_delivery(role, what, states, taken=taken, diverted=diverted)


def _check_delivery(
    role: Role, what: str, states: Sequence[int], *, taken: bool, diverted: bool
) -> Iterator[Violation]:
    delivered, failed = states.count(DELIVERED), states.count(FAILED)
    if not states:
        how = "arrived, and its delivery is nowhere" if taken else "never arrived and is nowhere"
        yield Violation("unsettled" if taken else "lost", f"{what} {how}")
    elif delivered and not taken:
        yield Violation("lost", f"{what} counts as delivered and never arrived")
    elif not delivered and not role.may_fail:
        yield Violation("lost", f"{what} was given up")
    elif not delivered and not (failed and diverted):
        yield Violation("lost", f"{what} was given up without a trace in the dead-letter box")
    if delivered > 1 or failed > 1:
        yield Violation("fan-out", f"{what} has {len(states)} deliveries")


def _check_numbers(story: Story) -> Iterator[Violation]:
    """Events with an ordering key have numbers, which follow what producers have seen."""
    chains = {post.n: post.chain for post in story.posts if post.chain is not None}
    posted: dict[int, float] = {}
    for post in story.posts:
        posted.setdefault(post.n, post.at)
    answered: dict[int, float] = {}
    for answer in story.answers:
        if answer.status == ACCEPTED:
            answered.setdefault(answer.n, answer.at)
    numbered: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for token, n in story.kept.events.items():
        if n in chains and token in story.kept.places:
            numbered[chains[n]].append((story.kept.places[token], n))
        elif n in chains:
            yield Violation("misnumbered", f"event {n} has an ordering key and no number")
    for chain, members in numbered.items():
        latest = 0.0
        for place, n in sorted(members):
            if answered.get(n, latest) < latest:
                yield Violation("misnumbered", f"event {n} is number {place} of {chain}")
            latest = max(latest, posted[n])


def _check_order(story: Story, role: Role) -> Iterator[Violation]:
    """What arrives at a role comes in the order of acceptance, one after the other."""
    keys = {post.n: post.chain for post in story.posts}
    firsts: dict[str | None, dict[str, int]] = defaultdict(dict)
    taken: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for at, receipt in enumerate(story.receipts):
        got = receipt.received
        key = "" if role.ordering == "strict" else keys.get(got.n)
        if got.role != role.name or key is None or got.token not in story.kept.places:
            continue
        numbers[got.token] = got.n
        firsts[key].setdefault(got.token, at)
        if receipt.taken:
            taken.setdefault(got.token, at)
    for chain in firsts.values():
        last = last_taken = -1
        for token in sorted(chain, key=story.kept.places.__getitem__):
            if chain[token] < last:
                yield Violation("inversion", f"event {numbers[token]} at {role.name} came late")
            elif chain[token] < last_taken:
                yield Violation("overtaken", f"event {numbers[token]} at {role.name} came early")
            last = max(last, chain[token])
            last_taken = max(last_taken, taken.get(token, -1))


def _repeats(story: Story, tries: Mapping[tuple[str, str], Sequence[Receipt]]) -> Iterator[Repeat]:
    """Return each receipt that the one before it did not ask for, with that one."""
    for receipts in tries.values():
        for before, after in pairwise(receipts):
            if not _asks_for_more(story, before):
                yield before, after


def _asks_for_more(story: Story, receipt: Receipt) -> bool:
    if receipt.status:
        return not receipt.taken
    return not receipt.open_at(story.lives[receipt.life].at)


def _is_allowed(story: Story, before: Receipt, after: Receipt) -> bool:
    if before.life == after.life:
        return False
    end = story.lives[before.life]
    latest = max(before.received.at, before.ended_at or 0.0)
    return end.killed and (before.open_at(end.at) or latest >= end.at - FRESH_S)


def _check_repeats(
    story: Story, repeats: Sequence[Repeat], per_kill: Mapping[int, int]
) -> Iterator[Violation]:
    for before, after in repeats:
        if not _is_allowed(story, before, after):
            got = after.received
            yield Violation("doubled", f"event {got.n} arrived at {got.role} again")
    for life, count in per_kill.items():
        if count > story.ceiling:
            yield Violation("too many repeats", f"{count} after kill {life + 1}")
