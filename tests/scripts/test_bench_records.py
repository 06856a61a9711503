from __future__ import annotations

import json
from pathlib import Path

import _records
import pytest
from script_help import ROOT


def test_record_says_what_was_measured_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = str(ROOT / "scripts" / "bench" / "large.py")
    monkeypatch.setattr("sys.argv", [script, "wave", "--python=/home/me/venv/python"])
    table = _records.Table(("", "ms"), [("a", "1.0")])
    values = {"a": [1.0, 1.1], "photos": "/home/me/photos", "unit": "pixels/s"}
    path = _records.write_record("large", values, {"large": table}, tmp_path / "new")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["command"] == "python scripts/bench/large.py wave --python=python"
    assert record["values"] == {"a": [1.0, 1.1], "photos": "photos", "unit": "pixels/s"}
    assert record["tables"] == {"large": {"header": ["", "ms"], "rows": [["a", "1.0"]]}}
    assert record["processor"]["cores"] >= 1
    assert {"fststyle", "python", "numpy", "openvino"} <= set(record["versions"])
    assert path.name == f"large_{_records.processor().kind()}.json"
    # One line for each row, so that differences can be read.
    assert '["a", "1.0"]' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "instructions", "expected"),
    [
        ("Intel(R) Xeon(R) Processor", ("AMX bf16", "AVX2"), "intel-xeon-2-cores-amx"),
        ("AMD EPYC 7763 64-Core Processor", ("AVX2",), "amd-epyc-7763-64-core-2-cores-avx2"),
        ("Apple M3", (), "apple-m3-2-cores"),
    ],
)
def test_kind_of_processor(name: str, instructions: tuple[str, ...], expected: str) -> None:
    assert _records.Processor(name, 2, instructions).kind() == expected
