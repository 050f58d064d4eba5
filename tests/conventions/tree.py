"""The repository's files, for the rules about them."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "waypost"
CODE = (PACKAGE, ROOT / "tests", ROOT / "bench")
# Everything else that starts with a dot is left by a tool or kept by a running server.
DOTTED = {".ci", ".editorconfig", ".gitignore"}


def files() -> Iterator[Path]:
    """Yield every file that belongs to the repository."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if is_ours(name)]
        yield from (Path(folder, name) for name in names if is_ours(name))


def is_ours(name: str) -> bool:
    """Tell whether a file or folder of this name belongs to the repository."""
    return name in DOTTED if name.startswith(".") else name not in {"__pycache__", "dist"}


def modules(*folders: Path) -> list[Path]:
    """Return every Python file of these folders."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name(path: Path) -> str:
    """Return a file's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def parse(path: Path) -> ast.Module:
    """Parse a Python file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """Return the top-level names of what a Python file imports."""
    found = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
