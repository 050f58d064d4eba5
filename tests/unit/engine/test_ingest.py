"""Ingest without a database: what is handed to the committer, and what becomes of its answer."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.support.manual import ManualClock, SeededEntropy
from waypost.clock import IdSource
from waypost.engine import ingest as subject
from waypost.engine.ingest import Accepted, Ingest, IngestConfig
from waypost.engine.router import Router
from waypost.model.errors import IdempotencyMismatch, StorageFull, Unavailable, WaypostError
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event
from waypost.model.ids import Id, moment
from waypost.model.project import PROJECT_SCOPES, Principal
from waypost.model.subscription import Subscription
from waypost.policy.events import Draft
from waypost.policy.origin import Origin
from waypost.storage.changes import Acceptance, Outcome

PROJECT = b"p" * 16
PRINCIPAL = Principal(b"k" * 16, "test", PROJECT, PROJECT_SCOPES)
PLAIN = Draft("card.created", b"{}")


def subscription(number: int, **settings: Any) -> Subscription:
    return Subscription(PROJECT, number.to_bytes(16), "https://x.example/", **settings)


class Intake:
    """An ingest whose committer is the test.

    Attributes:
        handed: what was handed to the committer.
        owed: what was handed to the lanes: to whom, which delivery, due when, the event.
        order: what happened, in order.
    """

    def __init__(self, *subscriptions: Subscription, **config: int) -> None:
        self.clock = ManualClock()
        self.router = Router()
        self.router.load({PROJECT: 3}, subscriptions)
        self.handed: list[Acceptance] = []
        self.owed: list[tuple[Id, Id, int, Event]] = []
        self.order: list[str] = []
        store: Any = self
        self.ingest = Ingest(
            store,
            self.router,
            self,
            self.clock,
            IdSource(self.clock, SeededEntropy()),
            IngestConfig(**config),
            lambda: self.order.append("fanned out"),
        )

    def accept(self, acceptance: Acceptance) -> None:
        self.handed.append(acceptance)

    def committed(self, subscription_id: Id, delivery_id: Id, due_us: int, event: Event) -> None:
        self.order.append("owed")
        self.owed.append((subscription_id, delivery_id, due_us, event))

    def submit(
        self, *drafts: Draft, done: Callable[[Any], None] | None = None
    ) -> list[list[Accepted] | WaypostError]:
        answers: list[list[Accepted] | WaypostError] = []

        def answered(answer: list[Accepted] | WaypostError) -> None:
            self.order.append("answered")
            answers.append(answer)

        self.ingest.accept(PRINCIPAL, drafts, done or answered)
        return answers

    def end(self, outcome: Outcome, error: Exception | None = None) -> None:
        acceptance = self.handed[-1]
        acceptance.outcome = outcome
        acceptance.error = error
        acceptance.done(acceptance)


def test_rows_hold_the_event_and_one_delivery_for_each_match() -> None:
    intake = Intake(subscription(1), subscription(2, event_types=("book.*",)), subscription(3))
    attributes = Attributes(owner="o", idempotency_key="k")
    intake.submit(PLAIN, Draft("a", b"[1]", attributes, b"f" * 16))
    (handed,) = intake.handed
    assert (handed.project_id, handed.key_id, handed.routing_version) == (PROJECT, b"k" * 16, 3)
    assert handed.now_us == intake.clock.now_us()
    assert handed.keys_expire_us - handed.now_us == 7 * 24 * 3600 * 1_000_000
    assert handed.keyed
    first, second = handed.entries
    assert first.row == (PROJECT, first.event_id, "card.created", b"{}", None, 3)
    assert (first.key, first.fingerprint) == (None, b"")
    assert (second.key, second.fingerprint) == ("k", b"f" * 16)
    assert msgspec.msgpack.decode(second.row[4], type=Attributes) == attributes
    assert [row[3] for row in first.owed] == [subscription(1).id, subscription(3).id]
    for project_id, delivery_id, event_id, _, kind, due_us, attempts in first.owed:
        assert (project_id, event_id, kind, attempts) == (PROJECT, first.event_id, 0, 0)
        assert delivery_id > event_id
        assert due_us <= moment(delivery_id)


def test_only_those_whose_filters_match_are_owed() -> None:
    intake = Intake(
        subscription(1, filter='{"body":{"n":1}}'),
        subscription(2, filter='{"body":{"n":2}}'),
        subscription(3, filter='{"metadata":{"m":"x"}}'),
        subscription(4),
    )
    intake.submit(
        Draft("a", b'{"n":1}'),
        Draft("a", b'{"n":2}', Attributes(metadata={"m": "x"})),
        Draft("a", b'{"n":3}', Attributes(targets=(subscription(1).id,))),
    )
    owed = [{row[3][-1] for row in entry.owed} for entry in intake.handed[0].entries]
    assert owed == [{1, 4}, {2, 3, 4}, {1}]


ORIGIN = Origin([(b"x-a", b"b"), (b"x-c", b"d"), (b"cookie", b"s3cret")], "/v1/events")


def test_what_filters_read_of_the_request_is_kept_and_nothing_else() -> None:
    wanted = subscription(1, filter='{"headers":{"X-A":"b"},"path":"/v1/events"}')
    intake = Intake(wanted, subscription(2, filter='{"headers":{"X-A":{"$neq":"b"}}}'))
    drafts = [PLAIN, Draft("a", b"{}", Attributes(owner="o", idempotency_key="k"), b"f" * 16)]
    intake.ingest.accept(PRINCIPAL, drafts, lambda _: None, ORIGIN)
    kept = {"headers": {"x-a": "b"}, "path": "/v1/events"}
    for entry, more in zip(
        intake.handed[0].entries, ({}, {"owner": "o", "idempotency_key": "k"}), strict=True
    ):
        assert [row[3] for row in entry.owed] == [wanted.id]
        assert msgspec.msgpack.decode(entry.row[4]) == kept | more
    assert intake.handed[0].entries[1].fingerprint == b"f" * 16
    intake.end(Outcome.COMMITTED)
    assert [event.attributes.headers for _, _, _, event in intake.owed] == [{"x-a": "b"}] * 2


def test_without_a_filter_that_reads_it_nothing_is_kept_of_the_request() -> None:
    intake = Intake(subscription(1, filter='{"body":{"a":{"$exist":false}}}'))
    intake.ingest.accept(PRINCIPAL, [PLAIN], lambda _: None, ORIGIN)
    assert intake.handed[0].entries[0].row[4] is None
    assert len(intake.handed[0].entries[0].owed) == 1


def test_what_is_routed_again_is_read_again() -> None:
    intake = Intake(subscription(1, filter='{"headers":{"x-a":"b"},"path":"/"}'))
    intake.ingest.accept(PRINCIPAL, [PLAIN], lambda _: None, ORIGIN)
    intake.router.apply(4, subscription(1, filter='{"headers":{"x-c":"d"}}'))
    intake.end(Outcome.STALE)
    (entry,) = intake.handed[1].entries
    assert msgspec.msgpack.decode(entry.row[4]) == {"headers": {"x-c": "d"}}
    assert len(entry.owed) == 1


def test_without_keys_nobody_looks_for_one() -> None:
    intake = Intake()
    intake.submit(PLAIN)
    assert not intake.handed[0].keyed


def test_the_answer_comes_after_the_commit_and_before_the_sending() -> None:
    intake = Intake(subscription(1))
    answers = intake.submit(PLAIN, PLAIN)
    assert answers == []
    assert intake.ingest.waiting == 2
    intake.end(Outcome.COMMITTED)
    assert intake.order == ["answered", "owed", "owed"]
    ids = [entry.event_id for entry in intake.handed[0].entries]
    assert answers == [[Accepted(one, "card.created", b"{}", duplicate=False) for one in ids]]
    assert [event.id for *_, event in intake.owed] == ids
    assert [event.routing_version for *_, event in intake.owed] == [3, 3]
    assert intake.owed[0][:3] == (
        subscription(1).id,
        intake.handed[0].entries[0].owed[0][1],
        intake.handed[0].entries[0].owed[0][5],
    )
    assert (intake.ingest.waiting, intake.ingest.accepted) == (0, 2)


def test_a_repetition_is_answered_with_the_first_and_owed_to_nobody() -> None:
    intake = Intake(subscription(1))
    answers = intake.submit(PLAIN)
    intake.handed[0].entries[0].duplicate_of = b"first".ljust(16)
    intake.end(Outcome.COMMITTED)
    expected = Accepted(b"first".ljust(16), "card.created", b"{}", duplicate=True)
    assert answers == [[expected]]
    assert intake.owed == []
    assert (intake.ingest.accepted, intake.ingest.duplicates) == (0, 1)


def test_what_was_routed_by_an_old_version_is_routed_anew() -> None:
    intake = Intake(subscription(1))
    answers = intake.submit(PLAIN)
    intake.router.apply(4, subscription(2))
    intake.end(Outcome.STALE)
    assert answers == []
    first, second = intake.handed
    assert second.routing_version == 4
    assert second.entries[0].event_id != first.entries[0].event_id
    assert len(second.entries[0].owed) == 2
    intake.end(Outcome.COMMITTED)
    assert len(answers) == 1
    assert len(intake.owed) == 2
    assert intake.ingest.waiting == 0


def test_it_is_not_routed_anew_for_ever() -> None:
    intake = Intake()
    answers = intake.submit(PLAIN)
    with capture_logs() as logs:
        while not answers:
            assert len(intake.handed) <= subject._ROUNDS_MAX
            intake.end(Outcome.STALE)
    assert isinstance(answers[0], Unavailable)
    assert [entry["event"] for entry in logs] == ["accept_failed"]
    assert intake.ingest.waiting == 0


@pytest.mark.parametrize(
    "error, told", [(StorageFull(), StorageFull), (OSError("secret"), Unavailable)]
)
def test_why_it_failed_is_told_as_far_as_it_concerns_anybody(
    error: Exception, told: type[WaypostError]
) -> None:
    intake = Intake(subscription(1))
    answers = intake.submit(PLAIN)
    with capture_logs():
        intake.end(Outcome.FAILED, error)
    assert type(answers[0]) is told
    assert "secret" not in str(answers[0])
    assert intake.owed == []


def test_a_key_of_another_body_is_told_with_its_place() -> None:
    intake = Intake()
    answers = intake.submit(PLAIN, PLAIN)
    intake.handed[0].at_index = 1
    intake.end(Outcome.MISMATCH)
    assert isinstance(answers[0], IdempotencyMismatch)
    assert answers[0].at_index == 1


def test_an_answer_that_fails_keeps_nothing_from_the_lanes() -> None:
    intake = Intake(subscription(1))

    def broken(_: object) -> None:
        raise ConnectionResetError

    intake.submit(PLAIN, done=broken)
    with pytest.raises(ConnectionResetError):
        intake.end(Outcome.COMMITTED)
    assert len(intake.owed) == 1


def test_a_great_fan_out_is_a_marker_with_everybody_in_it() -> None:
    everybody = [subscription(n) for n in range(subject.GREAT_FAN_OUT + 1)]
    intake = Intake(*everybody)
    intake.submit(PLAIN)
    (entry,) = intake.handed[0].entries
    assert entry.owed == []
    assert entry.fan_out == (PROJECT, entry.event_id, b"".join(s.id for s in everybody), 0)
    intake.end(Outcome.COMMITTED)
    assert intake.order == ["answered", "fanned out"]


def test_a_request_has_no_more_rows_than_a_commit_takes() -> None:
    intake = Intake(*[subscription(n) for n in range(300)])
    intake.submit(*[PLAIN] * 20)
    entries = intake.handed[0].entries
    rows = [len(entry.owed) for entry in entries]
    assert sum(rows) <= subject.MAX_OWED_ROWS < sum(rows) + 300
    assert [bool(row) for row in rows] == [entry.fan_out is None for entry in entries]


@pytest.mark.parametrize("waiting, fits", [(2, True), (3, False)])
def test_what_is_too_much_is_refused_at_once(waiting: int, fits: bool) -> None:
    intake = Intake(max_waiting=4)
    intake.submit(*[PLAIN] * waiting)
    answers = intake.submit(PLAIN, PLAIN)
    assert [type(answer) for answer in answers] == ([] if fits else [Unavailable])
    assert len(intake.handed) == 1 + fits


def test_one_request_that_is_alone_is_taken_however_large() -> None:
    intake = Intake(max_waiting=1)
    assert intake.submit(PLAIN, PLAIN, PLAIN) == []


def test_a_closed_intake_says_why_and_may_open_again() -> None:
    intake = Intake()
    intake.ingest.close(full=True)
    assert isinstance(intake.submit(PLAIN)[0], StorageFull)
    intake.ingest.open()
    assert intake.submit(PLAIN) == []
    assert len(intake.handed) == 1


def test_an_intake_that_closes_for_good_stays_closed_whatever_the_disk_does() -> None:
    intake = Intake()
    intake.ingest.close(full=False)
    for change in (intake.ingest.open, lambda: intake.ingest.close(full=True)):
        change()
        assert isinstance(intake.submit(PLAIN)[0], Unavailable)


def test_an_event_without_attributes_has_none_made_for_it() -> None:
    intake = Intake(subscription(1))
    intake.submit(PLAIN)
    intake.end(Outcome.COMMITTED)
    assert intake.owed[0][3].attributes is NO_ATTRIBUTES


@pytest.mark.parametrize("targets, found", [([2], [2]), ([2, 1, 2], [2, 1]), ([9], [])])
def test_targets_alone_are_owed(targets: Sequence[int], found: list[int]) -> None:
    intake = Intake(subscription(1), subscription(2, event_types=("book.*",)))
    aimed = tuple(number.to_bytes(16) for number in targets)
    intake.submit(Draft("card.created", b"{}", Attributes(targets=aimed)))
    owed = [int.from_bytes(row[3]) for row in intake.handed[0].entries[0].owed]
    assert owed == found


def test_an_owner_s_event_is_owed_to_that_owner() -> None:
    intake = Intake(subscription(1, owner="o"), subscription(2, owner="p"), subscription(3))
    intake.submit(Draft("a", b"{}", Attributes(owner="o")), PLAIN)
    owed = [[int.from_bytes(row[3]) for row in entry.owed] for entry in intake.handed[0].entries]
    assert owed == [[1, 3], [3]]


def test_who_waits_for_events_is_told_behind_the_answer() -> None:
    intake = Intake()
    told: list[tuple[Id, list[str]]] = []

    def arrived(project_id: Id, types: Sequence[str]) -> None:
        intake.order.append("arrived")
        told.append((project_id, list(types)))

    intake.ingest.arrived = arrived
    intake.submit(PLAIN, Draft("a", b"[1]"))
    intake.end(Outcome.COMMITTED)
    assert told == [(PROJECT, ["card.created", "a"])]
    assert intake.order == ["answered", "arrived"]
    intake.submit(PLAIN)
    intake.end(Outcome.FAILED, Unavailable())
    assert len(told) == 1
