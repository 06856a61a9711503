from __future__ import annotations

import dataclasses
from pathlib import Path

from fststyle.training.gates import Gate
from fststyle.training.report import (
    RunFacts,
    about_the_run,
    counted,
    gate_values,
    gates_table,
    run_notes,
    training_curves,
)


def test_counted() -> None:
    assert [counted(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_notes() -> None:
    assert run_notes({}, 0, 1.0) == []
    assert run_notes({"b": "b is empty."}, 1, 0.5) == [
        "Skipped: b is empty.",
        "1 file was skipped; it could not be read.",
        "1 step failed; training returned to the last good weights. The final learning "
        "rate was 0.5 times the planned one.",
    ]
    several = run_notes({"b": "b is damaged.", "a": "a is empty."}, 3, 0.125)
    assert several[:3] == [
        "Skipped: a is empty.",
        "Skipped: b is damaged.",
        "2 files were skipped; they could not be read.",
    ]
    assert several[3].startswith("3 steps failed; ")


def test_notes_in_the_report(tmp_path: Path) -> None:
    facts = RunFacts(tmp_path, "wave", 9, 1.0, {}, (), ["Skipped my_photo[1].jpg:\nempty"])
    assert about_the_run(facts).endswith(
        "\n\n## What happened in training\n\n- Skipped my\\_photo\\[1\\].jpg: empty\n"
    )
    assert "What happened" not in about_the_run(dataclasses.replace(facts, notes=()))


def test_gates() -> None:
    gates = [
        Gate("blur", 2.0, 1.25, "face", "It is blurred."),
        Gate("frame", float("nan"), 2.0, "night", ""),
        Gate("blobs", 0.12345, 0.25, "night", ""),
        Gate("halo", 0.9, 0.45, "disc", "", 0.5),
    ]
    assert gate_values(gates) == {"blur": 2.0, "frame": None, "blobs": 0.123, "halo": 0.9}
    lines = gates_table(gates).splitlines()
    assert lines[2:] == [
        "| blur | 2.000 | 1.25 | **no** | face | 1 |",
        "| frame | nan | 2 | **no** | night | 1 |",
        "| blobs | 0.123 | 0.25 | yes | night | 1 |",
        "| halo | 0.900 | 0.45 | no (warning) | disc | 0.5 |",
    ]


def test_training_curves_join_the_parts_of_a_resumed_run(tmp_path: Path) -> None:
    for step, lines in ((0, "9,3.0,\n9,,2.5\n"), (10, "19,2.0,\n")):
        folder = tmp_path / "csv" / f"from_step_{step}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,train/total,val/total\n{lines}")
    curves = training_curves(tmp_path)
    assert [(list(c.iterations), list(c.losses)) for c in curves] == [
        ([10, 20], [3.0, 2.0]),
        ([10], [2.5]),
    ]
    assert training_curves(tmp_path / "nothing") == []
