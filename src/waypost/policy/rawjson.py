r"""JSON as bytes: checked against RFC 8259, never re-serialised.

msgspec skips over what is decoded as `msgspec.Raw`, and its idea of JSON differs there from the
standard's: it lets bytes pass that are no UTF-8, and it refuses the escape of a lone surrogate
(`"\ud800"`), which is valid JSON. Both are put right here, and the depth is bounded.
"""

import re
from itertools import accumulate
from typing import Final, TypeVar

import msgspec

from waypost.model.errors import InvalidInput

T = TypeVar("T")

MAX_DEPTH: Final = 64
"""How deep arrays and objects may stand in each other."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}

# An escape as a whole, so that a backslash that is itself escaped starts none.
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\"
    rb"(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
_MARK: Final = b"\xff"
"""Stands for the backslash of a lone surrogate: one byte, and none that UTF-8 knows."""

_PLACE = re.compile(r" - at (`key` in )?`\$\.?([a-z0-9_.\[\]]*)`\Z")
_FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
_NAME_SHOWN: Final = 64


def decode(decoder: msgspec.json.Decoder[T], body: bytes, path: str = "") -> T:
    """Decode a JSON text; read the `msgspec.Raw` parts of the result by `original`.

    Args:
        decoder: for what is expected.
        body: the text.
        path: where the text stands in what was sent, for the error.

    Raises:
        InvalidInput: it is not valid JSON in UTF-8, or not what the decoder expects.
    """
    try:
        if not body.isascii():
            body.decode()
        return _decode_marked(decoder, body)
    except msgspec.ValidationError as error:
        raise _invalid(path, *_complaint(str(error))) from error
    except msgspec.DecodeError as error:
        raise _invalid(path, "", str(error)) from error
    except UnicodeDecodeError as error:
        raise _invalid(path, "", "must be UTF-8, lone surrogates only in the payload") from error
    except RecursionError as error:
        raise _invalid(path, "", _TOO_DEEP) from error


def _invalid(path: str, inner: str, reason: str) -> InvalidInput:
    return InvalidInput(details=[(".".join(filter(None, (path, inner))), reason)])


def _decode_marked(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode; if that fails, decode with the lone surrogates of skipped parts out of sight."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        marked = _SURROGATE.sub(_mark, body)
        if marked == body:
            raise
        return decoder.decode(marked)


def _mark(escape: re.Match[bytes]) -> bytes:
    lone = escape[2]
    return escape[1] + _MARK + lone if lone else escape[0]


def original(raw: msgspec.Raw) -> bytes:
    """Return a part that was decoded as it stood in the body, without the space around it."""
    return bytes(raw).replace(_MARK, b"\\")


_TOO_DEEP: Final = f"must not be nested deeper than {MAX_DEPTH}"


def require_shallow(text: bytes, path: str) -> None:
    """Refuse valid JSON that is nested deeper than `MAX_DEPTH`.

    Raises:
        InvalidInput: it is; `path` is the field to blame.
    """
    if brackets(text) > MAX_DEPTH and scan_depth(text) > MAX_DEPTH:
        raise _invalid(path, "", _TOO_DEEP)


def brackets(text: bytes) -> int:
    """Return how many brackets open, those in strings counted: no less than the depth."""
    return text.count(b"{") + text.count(b"[")


def scan_depth(text: bytes) -> int:
    """Return how deep valid JSON is nested; 0 for a bare value. Slow: some 30 ns a bracket."""
    bare = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, bare)), default=0)


def _complaint(text: str) -> tuple[str, str]:
    """Turn msgspec's sentence into the path of the field and what is wrong with it."""
    place = _PLACE.search(text)
    reason, path = (text[: place.start()], place[2]) if place else (text, "")
    field = _FIELD.fullmatch(reason)
    if field:
        path = f"{path}.{field[2][:_NAME_SHOWN]}".lstrip(".")
        reason = "is required" if field[1] == "missing required" else "is not known"
    elif "matching regex" in reason:  # the only pattern of what is decoded here
        reason = "must hold no control characters"
    if place and place[1]:
        reason = f"in a name: {reason}"
    return path, reason
