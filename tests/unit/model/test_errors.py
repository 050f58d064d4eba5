import inspect
import re

import pytest

from waypost.model import errors
from waypost.model.errors import InvalidInput, NotFound, WaypostError

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, WaypostError)
]


def documented() -> dict[str, str]:
    """Read the tree at the top of the module: each error and the one above it."""
    tree: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        entry = re.match(r"    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)", line)
        if entry:
            depth = len(entry["branch"]) // 3
            above[depth] = entry["name"]
            tree[entry["name"]] = above[depth - 1] if depth else "Exception"
    return tree


def test_the_documented_tree_is_the_real_one() -> None:
    assert documented() == {found.__name__: found.__bases__[0].__name__ for found in CLASSES}


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [vars(found)["code"] for found in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@pytest.mark.parametrize("error", [c for c in CLASSES if c is not NotFound], ids=str)
def test_the_message_is_the_given_one_or_the_class_own_sentence(error: type[WaypostError]) -> None:
    assert error().message == inspect.cleandoc(error.__doc__ or "").splitlines()[0]
    assert error("It broke.").message == str(error("It broke.")) == "It broke."


def test_what_was_not_found_is_named() -> None:
    assert NotFound("event").message == "event not found"
    assert NotFound("event").kind == "event"


def test_invalid_input_says_where() -> None:
    error = InvalidInput(details=[("url", "is required"), ("", "is too odd")])
    assert error.details == (("url", "is required"), ("", "is too odd"))
    assert error.message == "url: is required; is too odd"
    assert InvalidInput("No.", details=[("url", "is bad")]).message == "No."
    assert InvalidInput().details == ()


@pytest.mark.parametrize("error", [errors.TooManyRequests, errors.Unavailable])
def test_an_error_that_passes_says_when(
    error: type[errors.TooManyRequests | errors.Unavailable],
) -> None:
    assert error().retry_after_s == 1.0
    assert error(retry_after_s=7.5).retry_after_s == 7.5
