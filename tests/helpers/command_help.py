"""The command line, run in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fststyle.cli import main as cli


class Done(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Done]


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Done:
    """Run ``fststyle``."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return Done(stop.value.code, captured.out, captured.err)
