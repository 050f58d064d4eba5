"""Does a transform compile, and what would it make of an event?"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.sandbox import Run
from tests.support.subscribing import Office, office
from waypost.model import ids
from waypost.model.errors import InvalidSetting, NotFound, NotPermitted, Unavailable
from waypost.model.event import Attributes
from waypost.model.project import Scope
from waypost.model.transform import (
    Deferred,
    Fault,
    FaultKind,
    Language,
    Made,
    Result,
    Skipped,
    Transform,
)
from waypost.operations.transforms import Trial
from waypost.policy.events import Draft
from waypost.sandbox import frames

PROGRAM = Transform(Language.JAVASCRIPT, "function transform() {}")
DRAFT = Draft("card.created", b'{"a": 1.10}', Attributes(owner="o"))
BAD = Fault(FaultKind.COMPILE, "SyntaxError: x", line=2)


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


def play(at: Office, result: Result, *, compiles: bool = True) -> None:
    """Have programs come to this; to check one is to run it with a flag."""

    def script(run: Run) -> Result:
        is_check = run.request().flags & frames.CHECK
        return Made() if is_check and compiles else result

    at.runs.script = script


async def test_one_that_compiles_passes(at: Office) -> None:
    await at.programs.require(at.records.project, PROGRAM)
    (run,) = at.runs.all
    assert run.project_id == at.records.project
    assert (run.request().flags, run.request().source) == (frames.CHECK, PROGRAM.source.encode())


async def test_one_that_does_not_is_refused_with_its_place(at: Office) -> None:
    play(at, BAD, compiles=False)
    with pytest.raises(InvalidSetting) as refusal:
        await at.programs.require(at.records.project, PROGRAM, "x.transform")
    assert refusal.value.details == (("x.transform.javascript", "line 2: SyntaxError: x"),)
    with pytest.raises(InvalidSetting):
        await at.programs.try_on(at.records.principal(), PROGRAM, DRAFT)
    assert len(at.runs.all) == 2


async def test_where_nothing_can_be_compiled_it_is_not_let_through(at: Office) -> None:
    play(at, Deferred("busy"), compiles=False)
    with pytest.raises(Unavailable):
        await at.programs.require(at.records.project, PROGRAM)


async def test_a_trial_tells_what_would_be_sent(at: Office) -> None:
    play(at, Made(b"[1]", headers={"x-a": "b"}, log=("hello",)))
    trial = await at.programs.try_on(at.records.principal(), PROGRAM, DRAFT)
    assert trial.event is not None
    assert (trial.event.payload, trial.headers, trial.log) == (b"[1]", {"x-a": "b"}, ("hello",))
    request = at.runs.all[-1].request()
    assert (request.flags, request.payload) == (frames.LOG, DRAFT.payload)
    assert b'"owner":"o"' in request.event
    assert b'"event_type":"card.created"' in request.event


@pytest.mark.parametrize(
    "result, trial",
    [
        (Skipped(("x",)), Trial(None, log=("x",))),
        (
            Fault(FaultKind.TIMEOUT, "long", log=("x",)),
            Trial(None, fault=Fault(FaultKind.TIMEOUT, "long", log=("x",)), log=("x",)),
        ),
    ],
)
async def test_a_trial_tells_why_nothing_would_be(at: Office, result: Result, trial: Trial) -> None:
    play(at, result)
    assert await at.programs.try_on(at.records.principal(), PROGRAM, DRAFT) == trial


async def test_a_trial_refuses_the_headers_that_a_delivery_would(at: Office) -> None:
    play(at, Made(headers={"host": "x"}, log=("x",)))
    trial = await at.programs.try_on(at.records.principal(), PROGRAM, DRAFT)
    assert trial.fault is not None
    assert (trial.event, trial.fault.kind, trial.log) == (None, FaultKind.RESULT, ("x",))


async def test_a_trial_may_be_on_an_event_that_there_is(at: Office) -> None:
    event_id = at.records.event("book.read", Attributes(owner="o"))
    trial = await at.programs.try_on(at.records.principal(), PROGRAM, event_id)
    assert trial.event is not None
    assert (trial.event.id, trial.event.type) == (event_id, "book.read")
    assert trial.event.attributes == Attributes(owner="o")


async def test_nobody_reads_events_that_way_who_may_not(at: Office) -> None:
    event_id = at.records.event()
    writer = replace(at.records.principal(), scopes=frozenset({Scope.SUBSCRIPTIONS_WRITE}))
    with pytest.raises(NotPermitted):
        await at.programs.try_on(writer, PROGRAM, event_id)
    stranger = at.records.principal(project_id=at.records.other)
    with pytest.raises(NotFound):
        await at.programs.try_on(stranger, PROGRAM, event_id)
    with pytest.raises(NotFound):
        await at.programs.try_on(at.records.principal(), PROGRAM, ids.LAST)
