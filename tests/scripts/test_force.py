"""A short part of ``scripts/force.py``, with fixed seeds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from script_help import load_script

force = load_script("force")

pytestmark = [
    pytest.mark.force,
    pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's"),
]


@pytest.mark.parametrize("what", ["photos", "styles", "videos", "runs"])
def test_damaged_files(what: str, tmp_path: Path) -> None:
    rows = force.fuzz(what, 20, 1, tmp_path)
    assert sum(row.tries for row in rows) > 200
    assert all(row.is_good() for row in rows)
    assert all(row.seconds < 5 for row in rows)


@pytest.mark.parametrize("name", list(force.WORK))
def test_killed_work_is_repeated_without_a_difference(name: str, tmp_path: Path) -> None:
    row = force.kill(name, force.WORK[name](tmp_path), 2, 1, tmp_path / "places")
    assert row.is_good()
    assert row.results == row.tries == row.equal == 2


@pytest.mark.usefixtures("original_weights")
def test_killed_jobs_of_the_page(tmp_path: Path) -> None:
    row = force.kill_jobs(2, 1, tmp_path)
    assert row.is_good()
    assert row.results == row.refused == 2


@pytest.mark.usefixtures("original_weights")
def test_killed_servers(tmp_path: Path) -> None:
    row = force.kill_servers(2, 1, tmp_path)
    assert row.is_good()
    assert row.results == 2
