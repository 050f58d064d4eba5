"""What a worker answers, read with distrust: it may be a program that speaks."""

from typing import Final

import msgspec

from waypost.model.transform import Fault, FaultKind, Made, Result, Skipped
from waypost.sandbox import frames
from waypost.sandbox.frames import Answer, Limits

_MESSAGE_MAX: Final = 1_000
_MIB: Final = 1024 * 1024


class _Error(msgspec.Struct, frozen=True):
    kind: FaultKind
    message: str
    line: int | None = None
    column: int | None = None
    place: str | None = None


class _Beside(msgspec.Struct, frozen=True):
    headers: dict[str, str] = {}
    log: tuple[str, ...] = ()
    error: _Error | None = None


_NOTHING: Final = _Beside()
_beside: Final = msgspec.json.Decoder(_Beside).decode


def read(answer: Answer, limits: Limits) -> Result | None:
    """Return what an answer says; None where it is none.

    Args:
        answer: the answer.
        limits: that the call had.
    """
    try:
        beside = _NOTHING if answer.beside == b"{}" else _beside(answer.beside)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    match answer.kind:
        case frames.UNTOUCHED | frames.GOOD:
            return Made(headers=beside.headers, log=beside.log)
        case frames.PAYLOAD | frames.AS_TEXT:
            is_text = answer.kind == frames.AS_TEXT
            return Made(answer.payload, is_text, beside.headers, beside.log)
        case frames.SKIP:
            return Skipped(beside.log)
    return None if beside.error is None else _fault(beside.error, beside.log, limits)


def overtime(limits: Limits) -> str:
    """Return how to tell that a call has used up its time."""
    return f"it took more than {limits.cpu_s * 1000:g} ms of the processor's time"


def _fault(error: _Error, log: tuple[str, ...], limits: Limits) -> Fault:
    message = error.message[:_MESSAGE_MAX]
    if error.kind is FaultKind.TIMEOUT:
        message = overtime(limits)
    elif error.kind is FaultKind.MEMORY:
        message = f"it took more than {limits.memory_bytes / _MIB:g} MiB of memory"
    return Fault(error.kind, message, error.line, error.column, error.place, log)
