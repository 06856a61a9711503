from __future__ import annotations

import ast
import functools
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import fststyle
from fststyle.cli import errors
from fststyle.cli.errors import REMEDIES, CommandError, sentence
from fststyle.cli.extras import install_line
from fststyle.errors import FststyleError, PhotoError, SettingError

PACKAGE = Path(fststyle.__file__).parent
ALWAYS = {"path", "option"}
"""Values that every remedy may use."""
FROM_DETAILS = {"install": "extra"}
"""Values that are made of details."""


def texts() -> Iterator[tuple[Path, str]]:
    """Yield the strings in the source of the library as patterns, with the files they are in."""
    for path in PACKAGE.rglob("*.py"):
        if path == Path(errors.__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, re.escape(node.value)
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                parts = (
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+"
                    for part in node.values
                )
                yield path, "".join(parts)


@functools.cache
def files_with(text: str) -> frozenset[Path]:
    return frozenset(path for path, pattern in TEXTS if re.fullmatch(pattern, text))


TEXTS = list(texts())


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", REMEDIES)
def test_every_remedy_is_for_a_code_that_is_raised(code: str) -> None:
    assert files_with(code)


@pytest.mark.parametrize("code", REMEDIES)
def test_every_placeholder_is_a_detail(code: str) -> None:
    for name in placeholders(REMEDIES[code]) - ALWAYS:
        assert files_with(code) & files_with(FROM_DETAILS.get(name, name)), name


def test_remedy_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(errors.REMEDIES, "too_large", "Use --size {size} for {path}.")
    error = PhotoError(
        "{path} is too large.",
        path="a.jpg",
        remedy="Choose a smaller size.",
        code="too_large",
        details={"size": 900},
    )
    assert sentence(error) == "a.jpg is too large. Use --size 900 for a.jpg."
    monkeypatch.setitem(errors.NAMES, "a.jpg", "standard input")
    assert sentence(error) == "Standard input is too large. Use --size 900 for standard input."
    without = PhotoError("Too large.", remedy="Choose a smaller size.", code="too_large")
    assert sentence(without) == "Too large. Choose a smaller size."
    assert sentence(FststyleError("Bad.", remedy="Stop.")) == "Bad. Stop."
    own = CommandError("Too large.", remedy="Use --tile.", code="too_large")
    assert sentence(own) == "Too large. Use --tile."


def test_missing_package() -> None:
    error = SettingError(
        "This needs av, which is not installed.",
        remedy="Install the extra 'video'.",
        code="missing_package",
        details={"packages": ["av"], "extra": "video"},
    )
    assert sentence(error).endswith(f"not installed. Install with: {install_line('video')}")
