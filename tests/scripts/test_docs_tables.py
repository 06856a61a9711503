from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from script_help import ROOT, load_script

docs_tables = load_script("docs/tables")

RECORD: dict[str, Any] = {
    "date": "2026-11-28",
    "commit": "0123456789abcdef",
    "uncommitted changes": False,
    "command": "python scripts/bench/speed.py",
    "processor": {"name": "Some CPU", "cores": 2, "instructions": ["AVX2"]},
    "versions": {"fststyle": "0.1.0"},
    "tables": {"speed": {"header": ["", "ms"], "rows": [["ours", "1"]]}},
}
PAGE = """# Title

<!-- table: speed -->
| old |
<!-- end -->

<!-- table: not-measured-yet -->
by hand
<!-- end -->
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "guides").mkdir(parents=True)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "README.md").write_text("nothing\n", encoding="utf-8")
    (tmp_path / "docs" / "guides" / "speed.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "benchmarks" / "speed_cpu.json").write_text(json.dumps(RECORD), encoding="utf-8")
    return tmp_path


def test_tables_of_the_documentation_are_those_of_the_records() -> None:
    assert docs_tables.main(["--check"]) == 0


def test_every_marked_table_can_be_read() -> None:
    for path in docs_tables.pages(ROOT):
        text = path.read_text(encoding="utf-8")
        assert text.count("<!-- table:") == len(docs_tables.MARKED.findall(text)), path


def test_tables_are_replaced(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = root / "docs" / "guides" / "speed.md"
    assert docs_tables.main(["--check"], root) == 1
    assert "docs/guides/speed.md has outdated tables" in capsys.readouterr().err
    assert docs_tables.main([], root) == 0
    text = page.read_text(encoding="utf-8")
    assert "| ours | 1 |" in text
    assert "| old |" not in text
    assert "by hand" in text
    assert "2026-11-28, fststyle 0.1.0 (0123456), Some CPU, 2 cores, AVX2" in text
    assert docs_tables.main(["--check"], root) == 0
    assert docs_tables.main([], root) == 0
    assert page.read_text(encoding="utf-8") == text
    assert (root / "README.md").read_text(encoding="utf-8") == "nothing\n"


def test_each_processor_has_its_table(root: Path) -> None:
    other = RECORD | {"processor": {"name": "Other CPU", "cores": 8, "instructions": []}}
    path = root / "benchmarks" / "speed_other.json"
    path.write_text(json.dumps(other), encoding="utf-8")
    text = docs_tables.read_tables(root / "benchmarks")["speed"]
    assert text.index("Some CPU") < text.index("Other CPU")
    assert text.count("| ours | 1 |") == 2
