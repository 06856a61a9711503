"""Names, texts and paths of the command line are taken as they were typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from fststyle.training.arguments import as_typed, quoted


def value(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize(
    "text",
    [
        "2023_05", "2024", "1984", "1e5", "true", "NaN", "Tom's cat.jpg", 'a "b".jpg', "a=b.jpg",
        "photos, 2024", "a(1).jpg", "[a].jpg", "über.jpg", "a#b", "a;b", "-5", "C:\\photos\\",
        "don't \\'stop\\", " 7 ", "plain.jpg",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["data.root", "style.name", "+style.image", "hydra.run.dir"])
def test_text_is_taken_as_typed(key: str, text: str) -> None:
    (argument,) = as_typed([f"{key}={text}"])
    assert argument.startswith(f"{key}=")
    assert value(argument) == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_quoted_text_is_read_back(text: str) -> None:
    assert value(f"x={quoted(text)}") == text


@pytest.mark.parametrize(
    "argument",
    [
        "data.root=null", "style.name='1984'", 'style.name="a b"', "steps=100", "network.width=8",
        "data=folder", "~callbacks", "-m", "--help", "style=ink_wash", "data.root=",
        "style.year=1984",
    ],
)  # fmt: skip
def test_other_arguments_stay(argument: str) -> None:
    assert as_typed([argument]) == [argument]


def test_values_of_a_sweep_stay_apart() -> None:
    assert as_typed(["-m", "style.name=a,1984", "optim.lr=1,2"]) == [
        "-m", "style.name=a,'1984'", "optim.lr=1,2"
    ]  # fmt: skip
    assert as_typed(["-m", "style.image=a.jpg,b.jpg"]) == ["-m", "style.image=a.jpg,b.jpg"]
    assert as_typed(["--multirun", "style.name=choice(a,b)"])[1] == "style.name=choice(a,b)"


def test_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/a b")
    monkeypatch.setenv("USERPROFILE", "/home/a b")
    assert value(as_typed(["data.root=~/photos"])[0]) == str(Path("/home/a b/photos"))
    assert value(as_typed(["hydra.run.dir=~"])[0]) == "/home/a b"
    assert value(as_typed(["style.title=~ a title"])[0]) == "~ a title"
