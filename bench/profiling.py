"""Where the server's processor time goes: a closed loop against a sampled server."""

import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.child import ChildError
from bench.load import Load
from bench.rounds import Round, Say, run_round
from bench.server import Running, Waypost

OUTPUT = "profile.json"
WRITTEN_DEADLINE_S = 10.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Profile:
    """Microseconds of processor time per event, highest first."""

    samples: int
    layers_us: dict[str, float]
    functions_us: dict[str, float]
    thread_load: dict[str, float]
    """Share of the wall clock that a thread was on a processor."""


def per_event(figures: dict[str, object], events: int) -> Profile:
    """A profile from the sampler's JSON and the number of events that it covers."""
    raw: dict[str, dict[str, float]] = {
        name: dict(figures[name])  # type: ignore[call-overload] # what the sampler writes
        for name in ("layers", "functions", "threads")
    }
    wall = float(figures["wall_ns"])  # type: ignore[arg-type] # what the sampler writes

    def scaled(name: str, factor: float) -> dict[str, float]:
        ordered = sorted(raw[name].items(), key=lambda item: -item[1])
        return {key: value * factor for key, value in ordered}

    return Profile(
        samples=int(figures["samples"]),  # type: ignore[call-overload] # what the sampler writes
        layers_us=scaled("layers", 1 / (1000 * events)),
        functions_us=scaled("functions", 1 / (1000 * events)),
        thread_load=scaled("threads", 1 / wall),
    )


def profile(program: Waypost, load: Load, parent: Path | None, say: Say) -> tuple[Profile, Round]:
    """Sample the server during one load and its drain."""
    switches = iter((signal.SIGUSR1, signal.SIGUSR2))
    written: list[str] = []

    def switch(server: Running) -> None:
        number = next(switches)
        os.kill(server.pid, number)
        if number == signal.SIGUSR2:
            written.append(_read_when_written(server.child.log.parent / OUTPUT))

    sampled = replace(program, entry=("-m", "bench.profiled", OUTPUT))
    measured = run_round(sampled, load, parent=parent, say=say, around=switch)
    return per_event(json.loads(written[0]), measured.pace.events), measured


def _read_when_written(path: Path) -> str:
    deadline = time.monotonic() + WRITTEN_DEADLINE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise ChildError(f"the sampler wrote no {path.name}")
        time.sleep(POLL_S)
    return path.read_text()
