"""Runs `waypost` in this process under a sampler of processor time, without privileges.

A timer of consumed processor time (ITIMER_PROF) interrupts the main thread; each sample charges
every thread's processor time since the last one (read from its own clock) to the layer and the
function that the thread is in. Time that passes in C shows at the next bytecode of Python; when
that is the entry of a function, the caller was running, and the caller is charged.

Usage: `python -m bench.profiled OUTPUT_FILE serve …`. SIGUSR1 starts sampling, SIGUSR2 stops it
and writes the figures as JSON.
"""

import json
import os
import runpy
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from opcode import opmap
from pathlib import Path
from types import FrameType

from bench.layers import LOOP, layer_of

INTERVAL_S = 0.001
_RESUME = opmap["RESUME"]


@dataclass(slots=True)
class Sampler:
    """Nanoseconds of processor time by layer, function and thread."""

    output: Path
    layers: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    threads: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    started_ns: int = 0
    _seen_ns: dict[int, int] = field(default_factory=dict)

    def install(self) -> None:
        """Listen for the signals that start and stop it."""
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)
        signal.signal(signal.SIGPROF, self._sample)

    def _start(self, _number: int, _frame: FrameType | None) -> None:
        self.started_ns = time.perf_counter_ns()
        self._seen_ns = {ident: _thread_ns(ident) for ident in sys._current_frames()}  # noqa: SLF001 - the one way to them
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        figures = {
            "wall_ns": time.perf_counter_ns() - self.started_ns,
            "samples": self.samples,
            "layers": dict(self.layers),
            "functions": self.functions.most_common(40),
            "threads": dict(self.threads),
        }
        partial = self.output.with_suffix(".partial")
        partial.write_text(json.dumps(figures))
        partial.replace(self.output)

    def _sample(self, _number: int, interrupted: FrameType | None) -> None:
        self.samples += 1
        main = threading.main_thread().ident
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, current in sys._current_frames().items():  # noqa: SLF001 - the one way to them
            now = _thread_ns(ident)
            spent = now - self._seen_ns.get(ident, now)
            self._seen_ns[ident] = now
            if spent > 0:
                frame = interrupted if ident == main else current
                self._charge(frame, spent, names.get(ident, "unnamed"))
        # What this handler took itself is nobody's.
        if main is not None:
            self._seen_ns[main] = _thread_ns(main)

    def _charge(self, frame: FrameType | None, spent: int, thread: str) -> None:
        if frame and frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _RESUME:
            frame = frame.f_back
        function = f"{_module(frame)}.{frame.f_code.co_qualname}" if frame else LOOP
        modules: list[str] = []
        while frame:
            modules.append(_module(frame))
            frame = frame.f_back
        self.layers[layer_of(modules)] += spent
        self.functions[function] += spent
        self.threads[thread] += spent


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _thread_ns(ident: int) -> int:
    return time.clock_gettime_ns(time.pthread_getcpuclockid(ident))


def main() -> None:
    """Run the program's command line in this process."""
    output, *arguments = sys.argv[1:]
    Sampler(Path(output).absolute()).install()
    sys.argv = ["waypost", *arguments]
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `python -m waypost` would have it
    runpy.run_module("waypost", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
