"""Templates in the worker: JSON in which texts hold places, `{{ … }}`, with JMESPath in them.

A text that is one place becomes what stands there, whatever its type; a text with places in it
becomes text. What a place asks for and does not find is null, and so is what can't be evaluated: a
template never fails for what an event holds.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any, Final, NamedTuple

import jmespath  # type: ignore[import-untyped] # it has no types
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped] # it has no types

from waypost.sandbox import frames
from waypost.sandbox.frames import Answer

DEPTH_MAX: Final = 32
PLACES_MAX: Final = 500
EXPRESSION_MAX: Final = 2_000
"""Characters of one expression."""

_OPEN: Final = "{{"
_CLOSE: Final = "}}"
_ENDS_TRIED: Final = 32
_INTEGER_BITS: Final = 14_000
"""Of integers that Python spells out: a little below its limit of 4,300 digits."""

_LONG: Final = frozenset({"payload", "headers", "skip"})

UNTOUCHED: Final = object()
"""Stands for the payload as it came."""

Part = Callable[[Any], Any]
"""What becomes of a part of a template, given the payload and the event."""


class BadTemplate(Exception):
    """It is none, or has a place that is none; `place` says where, `$` being the whole."""

    def __init__(self, place: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.place = place
        self.message = message


class Rendered(NamedTuple):
    """What a template makes of an event; `payload` may be UNTOUCHED."""

    payload: Any
    headers: dict[str, str]
    skip: bool


class Template:
    """A template, compiled.

    The members `payload`, `headers` and `skip`, if there are no others, are the long form; all
    else is the new payload itself.
    """

    def __init__(self, text: str) -> None:
        """Compile a template.

        Raises:
            BadTemplate: it can't be.
        """
        self._places = 0
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadTemplate("$", f"is not JSON: {error}") from error
        if isinstance(document, dict) and document and document.keys() <= _LONG:
            self._members = {
                name: self._part(value, f"$.{name}", 1) for name, value in document.items()
            }
            _check_long(document)
        else:
            self._members = {"payload": self._part(document, "$", 0)}

    def render(self, payload: Any, event: Any) -> "Rendered":
        """Return what it makes of a payload and of its event."""
        root = {"payload": payload, "event": event}
        made = {name: make(root) for name, make in self._members.items()}
        headers = made.get("headers")
        named = headers.items() if isinstance(headers, dict) else ()
        return Rendered(
            made.get("payload", UNTOUCHED),
            {name: _spell(value) for name, value in named if value is not None},
            made.get("skip") is True,
        )

    def _part(self, part: Any, at: str, depth: int) -> Part:
        if depth > DEPTH_MAX:
            raise BadTemplate(at, f"must not be nested deeper than {DEPTH_MAX}")
        if isinstance(part, str) and _OPEN in part:
            return self._text(part, at)
        if isinstance(part, dict):
            members = [
                (name, self._part(value, f"{at}.{name}", depth + 1)) for name, value in part.items()
            ]
            return lambda root: {name: make(root) for name, make in members}
        if isinstance(part, list):
            items = [
                self._part(item, f"{at}[{index}]", depth + 1) for index, item in enumerate(part)
            ]
            return lambda root: [make(root) for make in items]
        return lambda _root: part

    def _text(self, text: str, at: str) -> Part:
        pieces: list[str | Part] = []
        while True:
            before, opened, rest = text.partition(_OPEN)
            if before or not opened:
                pieces.append(before)
            if not opened:
                break
            find, text = self._place(rest, at)
            pieces.append(find)
        pieces = [piece for piece in pieces if piece != ""]
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return pieces[0]
        return lambda root: "".join(
            piece if isinstance(piece, str) else _spell(piece(root)) for piece in pieces
        )

    def _place(self, rest: str, at: str) -> tuple[Part, str]:
        """Return what a place stands for, and the text behind it."""
        self._places += 1
        if self._places > PLACES_MAX:
            raise BadTemplate(at, f"must not hold more than {PLACES_MAX} places in all")
        wrong = "has a {{ without its }}"
        end = -1
        # An expression may hold }} itself: the first end that leaves a good one is the end.
        for _ in range(_ENDS_TRIED):
            end = rest.find(_CLOSE, end + 1)
            if end < 0:
                break
            try:
                return _expression(rest[:end].strip()), rest[end + len(_CLOSE) :]
            except (JMESPathError, ValueError, RecursionError) as error:
                message = str(error) or "it is nested too deeply"
                wrong = f"has a place that is no JMESPath expression: {message}"
        raise BadTemplate(at, wrong)


def _expression(text: str) -> Part:
    if len(text) > EXPRESSION_MAX:
        raise ValueError(f"it is longer than {EXPRESSION_MAX} characters")
    search = jmespath.compile(text).search

    def find(root: Any) -> Any:
        try:
            return search(root)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - a sum of texts, say: what can't be had is null
            return None

    return find


def _spell(value: Any) -> str:
    """Return a value as a part of a text: null is nothing, a text is itself, all else JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else dump(value).decode()


@lru_cache(maxsize=64)
def compiled(text: str) -> Template:
    """Return a template, compiled once.

    Raises:
        BadTemplate: it can't be.
    """
    return Template(text)


def run(request: frames.Request) -> Answer:
    """Do one call.

    Raises:
        BadTemplate: the template is none.
        RecursionError: what it makes is nested too deeply.
        UnicodeDecodeError: the payload is no text.
    """
    template = compiled(request.source.decode())
    if request.flags & frames.CHECK:
        return Answer(frames.GOOD, b"", b"{}")
    as_text = bool(request.flags & frames.TEXT)
    payload = request.payload.decode() if as_text else load(request.payload.decode())
    made = template.render(payload, json.loads(request.event))
    if made.skip:
        return Answer(frames.SKIP, b"", b"{}")
    beside = dump({"headers": {_whole(k): _whole(v) for k, v in made.headers.items()}})
    if made.payload is UNTOUCHED or made.payload is payload:
        return Answer(frames.UNTOUCHED, b"", beside)
    if as_text and isinstance(made.payload, str):
        return Answer(frames.AS_TEXT, _whole(made.payload).encode(), beside)
    spelled = dump(made.payload)
    same = not as_text and spelled in (request.payload, dump(payload))
    if same:
        return Answer(frames.UNTOUCHED, b"", beside)
    return Answer(frames.PAYLOAD, spelled, beside)


def load(text: str) -> Any:
    """Return what a payload holds; integers stay what they are up to thousands of digits."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(text, parse_int=float)


def dump(value: Any) -> bytes:
    """Return JSON without blanks; what JSON can't spell (infinity) is null, as in JavaScript."""
    try:
        text = _encode(value)
    except ValueError:
        text = _encode(_spellable(value))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character of two, which JSON can spell only by its number
        return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


_HALF: Final = re.compile("[\ud800-\udfff]")
_encode: Final = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    separators=(",", ":"),
    check_circular=False,
    default=lambda _no_json: None,
).encode


def _spellable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _spellable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_spellable(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int):
        return value if value.bit_length() < _INTEGER_BITS else None
    return value


def _whole(text: str) -> str:
    """Return a text with half characters replaced: a header has no way to spell them."""
    return text.encode(errors="replace").decode()


def _check_long(document: dict[str, Any]) -> None:
    headers, skip = document.get("headers"), document.get("skip")
    if not (headers is None or isinstance(headers, dict) or _is_place(headers)):
        raise BadTemplate("$.headers", "must be an object of names and texts")
    if not (skip is None or isinstance(skip, bool) or _is_place(skip)):
        raise BadTemplate("$.skip", "must be true, false or a place")


def _is_place(part: Any) -> bool:
    return isinstance(part, str) and part.startswith(_OPEN) and part.endswith(_CLOSE)
