"""Programs in processes of their own: whatever one does costs nothing but its own call."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sandbox import LINE, PROJECT, Programs, Watched, children, ended
from tests.support.waiting import until
from waypost.model.transform import Deferred, Fault, FaultKind, Made, Skipped
from waypost.sandbox import frames, pool

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux shows them")

OTHER = b"o" * 16
MADE = Made(b'{"n":2}')
ADD = "return {n: payload.n + 1}"
DOUBLED = '"{{ ' + " | ".join(["[@, @]"] * 40) + ' }}"'
TOO_LONG = Fault(FaultKind.TIMEOUT, "it took more than 100 ms of the processor's time")

# What the engine itself does not stop: its process is the price.
UNSTOPPABLE = [
    "return new Array(2 ** 29).join('')",
    "return (7n ** 300000n).toString()",
    "return 'a'.repeat(4e6).indexOf('a'.repeat(2e6) + 'b')",
]


async def test_nothing_is_started_before_the_first_program(programs: Programs) -> None:
    assert programs.pool._keeper.pid is None
    assert programs.pool.worker_count == 0
    assert await programs.run(ADD) == MADE
    assert programs.pool.worker_count == 1


async def test_programs_are_run(programs: Programs) -> None:
    assert await programs.run("return payload") == Made()
    assert await programs.run("return {skip: true}") == Skipped()
    made = await programs.run('{"m": "{{ payload.n }}"}', language=frames.TEMPLATE)
    assert made == Made(b'{"m":1}')
    fault = await programs.run("return payload.a.b")
    message = "TypeError: cannot read property 'b' of undefined"
    assert fault == Fault(FaultKind.EXCEPTION, message, 1, 38)
    assert programs.pool.worker_count == 1
    assert programs.pool.counts == {"made": 2, "skipped": 1, "failed": 1, "deferred": 0}


@pytest.mark.parametrize("programs", [{"payload_bytes": 1024 * 1024}], indirect=True)
async def test_large_payloads_go_in_and_out(programs: Programs) -> None:
    payload = b'{"n": "%b"}' % (b"x" * 1_000_000)
    made = await programs.run("return [payload.n]", payload=payload)
    assert isinstance(made, Made)
    assert made.payload == b'["%b"]' % (b"x" * 1_000_000)
    too_large = await programs.run("return [payload.n, payload.n]", payload=payload)
    assert too_large == Fault(FaultKind.RESULT, "the payload is larger than 1048576 bytes")


@pytest.mark.parametrize(
    "text, fault",
    [
        ("while (true) {}", TOO_LONG),
        *((text, TOO_LONG) for text in UNSTOPPABLE),
        (DOUBLED, None),
        ("const a = []; while (true) a.push(new Array(1e4).fill(a))", None),
        ("return 'x'.repeat(2 ** 29)", None),
    ],
)
async def test_a_program_without_measure_is_ended_and_the_next_one_runs(
    programs: Programs, text: str, fault: Fault | None
) -> None:
    language = frames.TEMPLATE if text.startswith('"') else frames.JAVASCRIPT
    found = await programs.run(text, language=language)
    assert isinstance(found, Fault)
    assert found.kind in {FaultKind.TIMEOUT, FaultKind.MEMORY}
    if fault is not None:
        assert found.message == fault.message
    assert await programs.run(ADD) == MADE


@pytest.mark.parametrize("text", ["while (true) {}", *UNSTOPPABLE])
async def test_neighbours_do_not_wait_behind_it(programs: Programs, text: str) -> None:
    assert await programs.run(ADD, project=OTHER, line=b"quick") == MADE
    hogs = [programs.start(text) for _ in range(20)]
    for _ in range(10):
        assert await programs.run(ADD, project=OTHER, line=b"quick") == MADE
    # With a turn for each they would have waited for one after the other.
    assert sum(hog.done() for hog in hogs) < 4
    for job in programs.jobs:
        job.abort()


@linux
@pytest.mark.parametrize(
    "number, kind",
    [
        (signal.SIGSEGV, FaultKind.CRASH),
        (signal.SIGABRT, FaultKind.CRASH),
        (signal.SIGKILL, FaultKind.MEMORY),
    ],
)
async def test_a_worker_may_die_at_its_work(
    programs: Programs, number: int, kind: FaultKind
) -> None:
    assert await programs.run(ADD) == MADE
    (pid,) = programs.workers()
    # Stopped, so that it is surely at it when it dies.
    os.kill(pid, signal.SIGSTOP)
    dying = programs.start("while (true) {}")
    neighbour = programs.start(ADD, project=OTHER, line=b"other")
    assert await ended(neighbour) == MADE
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    found = await ended(dying)
    assert isinstance(found, Fault)
    assert found.kind is kind
    assert await programs.run(ADD) == MADE


@linux
async def test_a_worker_may_die_idle(programs: Programs) -> None:
    assert await programs.run(ADD) == MADE
    watched = [(pid, Watched(pid)) for pid in programs.workers()]
    for pid, watch in watched:
        os.kill(pid, signal.SIGKILL)
        assert watch.ends()
    await until(lambda: not programs.pool._idle)
    assert await programs.run(ADD) == MADE


@linux
async def test_a_project_has_workers_of_its_own(programs: Programs) -> None:
    async def workers_after(project: bytes) -> set[int]:
        assert await programs.run(ADD, project=project) == MADE
        return set(programs.workers())

    first = await workers_after(PROJECT)
    both = await workers_after(OTHER)
    assert (len(first), len(both)) == (1, 2)
    assert await workers_after(PROJECT) == both


async def test_idle_workers_are_few(programs: Programs) -> None:
    for number in range(2 * pool.IDLE_MAX):
        assert await programs.run(ADD, project=number.to_bytes(16)) == MADE
        assert len(programs.pool._idle) <= pool.IDLE_MAX
    await until(lambda: programs.pool.worker_count <= pool.IDLE_MAX)


@linux
async def test_workers_may_only_compute(programs: Programs) -> None:
    assert await programs.run(ADD) == MADE
    (pid,) = programs.workers()
    of = Path("/proc", str(pid))
    assert len(list((of / "fd").iterdir())) == 1
    lines = dict(line.split(":\t", 1) for line in (of / "status").read_text().splitlines())
    assert lines["Seccomp"] == "2"
    assert lines["NoNewPrivs"] == "1"
    environment = (of / "environ").read_text().rstrip("\0").split("\0")
    assert environment == ["LC_ALL=C.UTF-8", "TZ=UTC0"]


@linux
async def test_the_nursery_may_be_lost(programs: Programs) -> None:
    assert await programs.run(ADD) == MADE
    workers = [(pid, Watched(pid)) for pid in programs.workers()]
    for pid, _ in workers:
        os.kill(pid, signal.SIGSTOP)
    running = programs.start(ADD)
    os.kill(programs.nursery, signal.SIGKILL)
    assert await ended(running) == Deferred("the process that runs transforms was lost")
    assert await programs.run(ADD) == MADE
    for pid, watched in workers:
        os.kill(pid, signal.SIGCONT)
        assert watched.ends()


@linux
async def test_a_nursery_that_hangs_is_replaced(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await programs.run(ADD) == MADE
    nursery = Watched(programs.nursery)
    os.kill(programs.nursery, signal.SIGSTOP)
    monkeypatch.setattr("waypost.sandbox.keeper.PATIENCE_S", 0.0)
    assert isinstance(await programs.run(UNSTOPPABLE[0]), Deferred)
    monkeypatch.undo()
    assert nursery.ends()
    assert await programs.run(ADD) == MADE


@linux
async def test_what_is_told_to_all_processes_is_for_the_server_alone(programs: Programs) -> None:
    assert await programs.run(ADD) == MADE
    workers = programs.workers()
    for pid in (programs.nursery, *workers):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert await programs.run(ADD) == MADE
    assert programs.workers() == workers


async def test_a_request_that_can_not_be_made_stops_nobody(programs: Programs) -> None:
    def request() -> frames.Request:
        raise ZeroDivisionError

    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    programs.pool.submit(PROJECT, LINE, request, done.set_result)
    assert isinstance(await ended(done), Deferred)
    assert await programs.run(ADD) == MADE


@linux
async def test_the_end_is_the_end_of_all_processes(programs: Programs) -> None:
    assert await programs.run(ADD) == MADE
    running = [programs.start("while (true) {}") for _ in range(5)]
    watched = [Watched(pid) for pid in (programs.nursery, *programs.workers())]
    await programs.pool.close()
    assert all(one.ends() for one in watched)
    results = [await ended(one) for one in running]
    assert all(isinstance(one, Deferred) for one in results)
    assert isinstance(await programs.run(ADD), Deferred)


SERVER = """
import asyncio, sys
sys.path[:] = {path!r}
from tests.support.waiting import until
from tests.support.sandbox import Programs
from waypost.sandbox.pool import Pool, PoolConfig

async def main():
    programs = Programs(Pool(asyncio.get_running_loop(), PoolConfig(cpu_s=5.0)))
    await programs.run("return 5", project=b"o" * 16, line=b"o")
    await programs.run("return 5", project=b"q" * 16, line=b"q")
    programs.start("return new Array(2 ** 29).join('')")
    await programs.run("return 5", project=b"o" * 16, line=b"o")
    await until(lambda: len(programs.workers()) >= 3)
    print("ready", programs.nursery, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@linux
def test_processes_end_with_a_server_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER.format(path=sys.path)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            while not (line := server.stdout.readline()).startswith("ready"):
                assert line, "it ended"
            nursery = int(line.split()[1])
            watched = [Watched(pid) for pid in (nursery, *children(nursery))]
        finally:
            server.kill()
    assert len(watched) == 4
    assert all(one.ends() for one in watched)


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/python"])
async def test_where_none_can_be_started_programs_wait(
    programs: Programs, executable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", executable)
        assert isinstance(await programs.run(ADD), Deferred)
        # It is not tried again for each of them.
        broken.setattr("subprocess.Popen", None)
        assert isinstance(await programs.run(ADD), Deferred)
    programs.pool._down_until_s = 0.0
    assert await programs.run(ADD) == MADE


async def test_who_is_dropped_is_not_run(programs: Programs) -> None:
    calls: list[Any] = []

    def request() -> frames.Request:
        calls.append(1)
        return frames.Request(frames.JAVASCRIPT, 0, b"", b"{}")

    hogs = [programs.start("while (true) {}") for _ in range(2)]
    job = programs.pool.submit(PROJECT, LINE, request, calls.append)
    job.abort()
    for hog in hogs:
        await ended(hog)
    assert await programs.run(ADD) == MADE
    assert calls == []
