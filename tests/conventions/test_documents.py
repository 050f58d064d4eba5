"""The documents say what is so."""

import re

from tests.conventions import tree


def read(name: str) -> str:
    """Read a file of the repository."""
    return (tree.ROOT / name).read_text("utf-8")


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md"):
        # In code only: in a sentence one may also "make sure".
        code = "\n".join(re.findall(r"`[^`\n]+`|^```.*?^```", read(name), re.DOTALL | re.MULTILINE))
        named = set(re.findall(r"\bmake ([a-z][a-z-]*)", code))
        assert named, name
        assert named <= targets, name


def test_every_make_target_explains_itself() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    assert phony is not None
    explained = set(re.findall(r"^([a-z-]+):.*## \w", read("Makefile"), re.MULTILINE))
    assert set(phony.group(1).split()) - {"static"} == explained


def test_the_changelog_is_kept() -> None:
    headings = re.findall(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        (tree.name(path), target)
        for path in tree.files()
        if path.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []
