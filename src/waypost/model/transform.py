"""Transforms: what a subscription makes of an event before it is signed, and what came of it."""

from enum import StrEnum

import msgspec


class Language(StrEnum):
    """What a transform is written in."""

    JAVASCRIPT = "javascript"
    TEMPLATE = "template"


class Transform(msgspec.Struct, frozen=True):
    """A program of a subscription. `source` is JavaScript, or the JSON text of a template."""

    language: Language
    source: str


class Made(msgspec.Struct, frozen=True):
    """What is to be sent.

    Attributes:
        payload: the new payload; None where it is the event's own, byte for byte.
        is_text: the new payload is text, not JSON.
        headers: to be sent beside those of the subscription; not checked yet.
        log: what the program wrote, where that was wanted.
    """

    payload: bytes | None = None
    is_text: bool = False
    headers: dict[str, str] = {}
    log: tuple[str, ...] = ()


class Skipped(msgspec.Struct, frozen=True):
    """Nothing is to be sent."""

    log: tuple[str, ...] = ()


class FaultKind(StrEnum):
    """What went wrong with a transform."""

    COMPILE = "compile"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    RESULT = "result"
    CRASH = "crash"


class Fault(msgspec.Struct, frozen=True):
    """It failed, by its own doing.

    Attributes:
        message: a sentence for whom it belongs to.
        line: of JavaScript, from 1; `column` likewise.
        place: of a template, such as `$.user.name`.
    """

    kind: FaultKind
    message: str
    line: int | None = None
    column: int | None = None
    place: str | None = None
    log: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as one line."""
        where = self.place if self.line is None else f"line {self.line}"
        return f"{where}: {self.message}" if where else self.message


class Deferred(msgspec.Struct, frozen=True):
    """It was not run, through no fault of its own: later it may be."""

    reason: str


Result = Made | Skipped | Fault | Deferred
