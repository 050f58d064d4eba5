"""The import contracts are about the packages that there are, and only those."""

import tomllib
from typing import Any

from tests.conventions import tree

PYPROJECT = tomllib.loads((tree.ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
}
PACKAGES = {
    path.stem
    for path in tree.PACKAGE.iterdir()
    if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
} - {"__init__", "__main__"}

# What each contract leaves alone, since it is what the contract protects or what wires it.
OUTSIDE = {
    "seams": {"storage", "config", "server", "cli"},
}


def test_every_package_has_its_layer() -> None:
    layers = [part.strip() for layer in CONTRACTS["layers"]["layers"] for part in layer.split("|")]
    assert sorted(layers) == sorted(PACKAGES)


def test_every_contract_names_packages_that_exist() -> None:
    for contract in CONTRACTS.values():
        for module in contract.get("source_modules", []):
            place = tree.PACKAGE.joinpath(*module.split(".")[1:])
            assert place.is_dir() or place.with_suffix(".py").is_file(), contract["id"]


def test_a_new_package_falls_under_the_seams() -> None:
    named = {module.removeprefix("waypost.") for module in CONTRACTS["seams"]["source_modules"]}
    assert named == PACKAGES - OUTSIDE["seams"]
