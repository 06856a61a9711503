from __future__ import annotations

import copy
import doctest
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from fststyle import errors
from fststyle.errors import (
    ERROR_FILE,
    FststyleError,
    PhotoError,
    SettingError,
    check_choice,
    check_number,
    record_error,
)


def test_examples() -> None:
    assert doctest.testmod(errors, optionflags=doctest.IGNORE_EXCEPTION_DETAIL).failed == 0


def test_message_is_the_problem_and_the_remedy() -> None:
    error = PhotoError(
        "{path} is empty.", path=Path("a.jpg"), remedy="Choose another.", code="empty"
    )
    assert str(error) == "a.jpg is empty. Choose another."
    assert (error.problem, error.path, error.code) == ("{path} is empty.", "a.jpg", "empty")
    assert error.describe(path="The photo", remedy="") == "The photo is empty."
    assert str(FststyleError("Bad.")) == "Bad."
    assert FststyleError("Bad.").code == "error"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_cross_processes(again: Any) -> None:
    error = PhotoError("{path} is empty.", path="a", remedy="Go.", code="empty", details={"n": 1})
    other = again(error)
    assert type(other) is PhotoError
    assert vars(other) == vars(error)
    assert str(other) == str(error)


def kinds(parent: type[FststyleError]) -> list[type[FststyleError]]:
    return [parent, *(kind for child in parent.__subclasses__() for kind in kinds(child))]


def test_every_kind_has_its_own_code() -> None:
    codes = [kind("").code for kind in kinds(FststyleError)]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("value", "options", "limits"),
    [
        (True, {}, "a number from 0"),
        ("3", {}, "a number from 0"),
        (math.nan, {"high": 1}, "a number from 0 to 1"),
        (1.5, {"low": 1, "whole": True}, "a whole number from 1"),
        (0, {"above": True, "high": 2}, "a number above 0 and up to 2"),
        (-1, {"low": -math.inf, "high": -2}, "a number up to -2"),
        (math.inf, {"low": -math.inf, "high": 9}, "a number up to 9"),
    ],
)
def test_check_number_refuses(value: Any, options: dict[str, Any], limits: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_number("x", value, **options)
    assert str(caught.value) == f"x must be {limits}, not {value!r}."


def test_check_number_accepts() -> None:
    for value in (0, 1, 0.5):
        check_number("x", value, 0, 1)
    check_number("x", 3, 3, 3, whole=True)
    check_number("x", 1e-9, 0, 1, above=True)


def test_check_choice() -> None:
    check_choice("x", "a", ("a", "b"))
    for value in ("c", None, True):
        with pytest.raises(SettingError, match="x must be one of a, 1, not "):
            check_choice("x", value, ("a", 1))


def test_an_error_is_recorded_only_if_a_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PhotoError("{path} is empty.", path="a.jpg", remedy="Choose another.", code="empty")
    monkeypatch.delenv(ERROR_FILE, raising=False)
    record_error(error)
    monkeypatch.setenv(ERROR_FILE, str(tmp_path / "error.json"))
    record_error(error)
    assert json.loads((tmp_path / "error.json").read_text()) == {
        "kind": "PhotoError",
        "code": "empty",
        "problem": "{path} is empty.",
        "path": "a.jpg",
        "remedy": "Choose another.",
    }
