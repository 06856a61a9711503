from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from script_help import load_script

large = load_script("bench/large")


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read as POSIX systems have it")
def test_large(
    style_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    options = ["large.py", str(style_path), "--megapixels", "0.1", "--records", str(tmp_path)]
    monkeypatch.setattr("sys.argv", options)
    large.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].startswith("| 1697×1179 | 1 | ")
    assert lines[-3].count("(1.00 ×)") == 2
    assert lines[-1].startswith("| 379×264 | automatic | ")
    (path,) = tmp_path.glob("large_*.json")
    values = json.loads(path.read_text())["values"]
    assert [result["scale"] for result in values] == [1.0, 1.0, None]
    assert all(result["bytes_above_photo"] > 2e7 for result in values)
