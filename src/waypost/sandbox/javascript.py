"""JavaScript in the worker: every call in an engine of its own, which starts empty.

So what one event leaves behind, the next does not see, and a retry runs what the first try ran.
"""

import importlib
import json
import re
from pathlib import Path
from typing import Any, Final

from waypost.sandbox import frames
from waypost.sandbox.frames import Answer

try:
    # The package around it starts a thread as it is imported, which a process that forks must not
    # have.
    _engine: Any = importlib.import_module("_quickjs")
except ImportError:  # there is no wheel for this machine
    _engine = None

AVAILABLE: Final = _engine is not None

STACK_BYTES: Final = 512 * 1024


def _on_one_line(name: str) -> str:
    lines = Path(__file__).with_name(name).read_text("utf-8").splitlines()
    return " ".join(line.strip() for line in lines if not line.lstrip().startswith("//"))


_HARNESS: Final = _on_one_line("harness.js")
_UNUSUAL: Final = f"({_on_one_line('unusual.js')})"

# An integer so long that a number may not hold it, where JSON has numbers and not in its texts.
_LONG_NUMBER = re.compile(rb"(?:^|[\[:,\s])-?\d{16}")
# On the first line stands the harness; the program begins on the second.
_PLACE = re.compile(r"^ +at .*\(<input>:(?!1:)(\d+):(\d+)\)$", re.MULTILINE)
_SYNTAX_PLACE = re.compile(r"^ +at <input>:(\d+):(\d+)", re.MULTILINE)

_HALF: Final = r"\ud"
"""Begins the number by which JSON spells half a character."""

_TIMEOUT: Final = "InternalError: interrupted"
_MEMORY: Final = "InternalError: out of memory"
_NO_MEMORY: Final = "null"
"""What is thrown where there is no memory left even for an error."""
_REPORT_S: Final = 0.02
"""What a program that was stopped may still take to hand over its log."""


def run(request: frames.Request, cpu_s: float, memory_bytes: int) -> Answer:
    """Do one call.

    Args:
        request: what to do.
        cpu_s: how much of the processor's time the program may take, seconds.
        memory_bytes: how much memory.
    """
    if not AVAILABLE:
        return failure("compile", "JavaScript can't be run on this machine: there is no engine")
    mode, text = _given(request)
    if text is None:
        return failure("result", "the payload is neither JSON nor text in UTF-8")
    context, main = _spare.pop() if _spare else _prepared()
    context.set_memory_limit(memory_bytes)
    context.set_time_limit(cpu_s)
    lines = request.source.count(b"\n") + 1
    try:
        found = main(mode, request.source.decode(), text, request.event.decode(), _UNUSUAL)
    except _engine.JSException as error:
        # Only what no program can catch comes here: it was stopped, or has no memory left at all.
        answer = _stopped(str(error), lines)
    else:
        answer = _answer(found, lines)
    if request.flags & frames.LOG:
        answer = _with_log(context, main, answer)
    return answer


def prepare() -> None:
    """Make an engine ahead, while nobody waits for it: that takes longer than most programs."""
    if AVAILABLE and not _spare:
        _spare.append(_prepared())


_spare: Final[list[tuple[Any, Any]]] = []


def _prepared() -> tuple[Any, Any]:
    """Return an engine, and the function in it that does one call."""
    context = _engine.Context()
    context.set_max_stack_size(STACK_BYTES)
    return context, context.eval(_HARNESS)


def failure(kind: str, message: str, **where: Any) -> Answer:
    """Return the answer that tells of a failure; `where` is `line` and `column`, or `place`."""
    # Half a character, which JSON can spell, is nothing that others could read.
    error = {"kind": kind, "message": _mended(message), **where}
    return Answer(frames.ERROR, b"", json.dumps({"error": error}).encode())


def _given(request: frames.Request) -> tuple[str, str | None]:
    """Return how the payload is to be read, and its text."""
    if request.flags & frames.CHECK:
        return "check", "null"
    try:
        text = request.payload.decode()
    except UnicodeDecodeError:
        return "text", None
    if request.flags & frames.TEXT:
        return "text", json.dumps(text)
    # All else than "json" has a log, and takes half as long again.
    if request.flags & frames.LOG or _LONG_NUMBER.search(request.payload):
        return "exact", text
    return "json", text


def _answer(found: str, lines: int) -> Answer:
    kind, _, rest = found.partition("\n")
    beside, _, payload = rest.partition("\n")
    if kind == "E":
        error = json.loads(beside)
        return failure(error["kind"], error["message"], **_place(error, lines))
    if _HALF in beside:
        beside = json.dumps(_whole(json.loads(beside)))
    if kind == "T":
        try:
            return Answer(frames.AS_TEXT, json.loads(payload).encode(), beside.encode())
        except UnicodeEncodeError:
            return failure("result", "the text holds half a character, which UTF-8 can't spell")
    return Answer(kind.encode(), payload.encode(), beside.encode())


def _whole(beside: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return headers with half characters replaced: nothing else than JSON can spell them."""
    return {
        of: {_mended(name): _mended(text) for name, text in texts.items()}
        for of, texts in beside.items()
    }


def _mended(text: str) -> str:
    return text.encode(errors="replace").decode()


def _place(error: dict[str, Any], lines: int) -> dict[str, int]:
    """Return where an error is from, in a program of so many lines."""
    found = _PLACE.search(error["stack"])
    if error["kind"] == "compile":
        found = _SYNTAX_PLACE.search(error["stack"]) or found
    if found is None:
        return {}
    # What is missing at its end is missed behind it.
    return {"line": min(int(found[1]) - 1, lines), "column": int(found[2])}


def _stopped(text: str, lines: int) -> Answer:
    message, _, stack = text.partition("\n")
    kinds = {_TIMEOUT: "timeout", _MEMORY: "memory", _NO_MEMORY: "memory"}
    kind = kinds.get(message, "exception")
    return failure(kind, message, **_place({"kind": kind, "stack": stack}, lines))


def _with_log(context: Any, main: Any, answer: Answer) -> Answer:
    try:
        context.set_time_limit(_REPORT_S)
        lines = json.loads(main("log", "", "", "", _UNUSUAL))
    except (_engine.JSException, ValueError):
        lines = []
    beside = json.loads(answer.beside)
    return answer._replace(beside=json.dumps({**beside, "log": lines}).encode())
