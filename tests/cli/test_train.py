from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from command_help import process

from fststyle.cli import main as cli

pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.needs("torch", "hydra")
@pytest.mark.skipif(os.name != "posix", reason="a process does not become another there")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["style=a", "minutes=1"], ["style=a", "minutes=1"]),
        (["-m", "style=a,b"], ["--multirun", "style=a,b"]),
        (["style=a", "--cfg", "job"], ["style=a", "--cfg", "job"]),
    ],
)
def test_train_becomes_the_training(
    arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Replaced(Exception):  # noqa: N818
        pass

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert environment == {"GOMP_SPINCOUNT": "10000", **os.environ}
        start = [sys.executable, "-P", "-m", "fststyle.training"]
        assert (path, command[:4]) == (sys.executable, start)
        raise Replaced(command[4:])

    monkeypatch.setattr(os, "execve", execve)
    with pytest.raises(Replaced) as replaced:
        cli.main(["train", *arguments])
    assert replaced.value.args[0] == expected


@pytest.mark.needs("torch", "hydra")
def test_train_with_a_misspelt_key(folder: Path) -> None:
    done = process("train", "style=thanos_poster", "minuts=1")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "minuts" in done.stderr
    assert "Traceback" not in done.stderr
