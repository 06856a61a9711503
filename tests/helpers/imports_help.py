"""What a module imports when it is imported, directly or through fststyle and the helpers."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[2]
PLACES = (ROOT, ROOT / "tests" / "helpers", ROOT / "scripts" / "bench", ROOT / "scripts" / "art")


@functools.cache
def packages_needed(path: Path) -> frozenset[str]:
    """Return the names of the packages of others that importing a module needs."""
    needed: set[str] = set()
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        source = waiting.pop()
        if source in seen:
            continue
        seen.add(source)
        for name in _imported(ast.parse(source.read_text(encoding="utf-8")).body):
            files = list(_files(name))
            waiting += files
            if not files:
                needed.add(name.partition(".")[0])
    return frozenset(needed)


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the modules that are imported outside functions and ``if TYPE_CHECKING:``."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ClassDef) or _runs(node):
            yield from _imported(node.body)


def _runs(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)


def _files(name: str) -> Iterator[Path]:
    """Yield the files of this repository that an import loads; a name may be within a module."""
    parts = name.split(".")
    for place in PLACES:
        for count in range(1, len(parts) + 1):
            stem = place.joinpath(*parts[:count])
            for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                if path.is_file():
                    yield path
