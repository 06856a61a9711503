from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

import fststyle
from fststyle.cli import errors
from fststyle.cli.errors import REMEDIES, CommandError, sentence
from fststyle.cli.extras import install_line
from fststyle.errors import FststyleError, NoNetworkError, PhotoError, SettingError

PACKAGE = Path(fststyle.__file__).parent
ALWAYS = {"path", "option"}
"""Values that every remedy may use."""
FROM_DETAILS = {"install": "extra"}
"""Values that are made of details."""


def raised() -> Iterator[tuple[str, set[str]]]:
    """Yield each code in the source of the library, and the details that go with it."""
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            keywords = {word.arg: word.value for word in call.keywords}
            code = keywords.get("code")
            details = keywords.get("details")
            keys = details.keys if isinstance(details, ast.Dict) else []
            names = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
            for value in ast.walk(code) if code is not None else ():
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value, names
            if isinstance(call.func, ast.Name) and call.func.id == "NoNetworkError" and not code:
                yield NoNetworkError.default_code, names


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("code", REMEDIES)
def test_every_remedy_is_for_a_code_that_is_raised(code: str) -> None:
    assert code in {code for code, _ in raised()}


@pytest.mark.parametrize("code", REMEDIES)
def test_every_placeholder_is_a_detail(code: str) -> None:
    details = [names for raised_code, names in raised() if raised_code == code]
    for name in placeholders(REMEDIES[code]) - ALWAYS:
        assert any(FROM_DETAILS.get(name, name) in names for names in details), name


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
    assert sentence(error, path="The photo") == (
        "The photo is too large. Use --size 900 for The photo."
    )
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
