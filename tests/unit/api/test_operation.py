"""A row of the table knows its parameters, and whether it only reads."""

import pytest

from waypost.api.operation import Operation
from waypost.model.project import Scope


def row(method: str, path: str) -> Operation:
    return Operation(
        method=method,
        path=path,
        name="one",
        summary="One",
        tag="Ones",
        scope=Scope.ADMIN,
        handler=None,
    )


@pytest.mark.parametrize(
    "path, parameters",
    [("/v1/a", ()), ("/v1/a/{a_token}", ("a_token",)), ("/a/{x}/b/{y}/c", ("x", "y"))],
)
def test_parameters_are_those_of_the_path(path: str, parameters: tuple[str, ...]) -> None:
    assert row("GET", path).parameters == parameters


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_only_get_reads(method: str) -> None:
    assert row(method, "/").reads is (method == "GET")
