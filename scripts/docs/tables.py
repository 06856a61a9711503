"""Copy the tables of benchmark records into the documentation.

    python scripts/docs/tables.py            # update README.md and docs
    python scripts/docs/tables.py --check    # exit status 1 if a table does not match its records

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``. It is shown for each record in
``benchmarks/`` that contains it, with the machine, the version and the command of the measurement.
If there is no record yet, the text is left unchanged.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fststyle.files import write_atomically
from fststyle.markdown import markdown_table

ROOT: Final = Path(__file__).resolve().parents[2]
MARKED: Final = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def read_tables(folder: Path) -> dict[str, str]:
    """Read the tables of all records.

    Args:
        folder: Folder with the records.

    Returns:
        The Markdown of each table, by table name. If several records contain a table, all versions
        are included, one after another.
    """
    texts: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for name, table in record["tables"].items():
            text = f"{markdown_table(table['header'], table['rows'])}\n\n{caption(record)}"
            texts.setdefault(name, []).append(text)
    return {name: "\n\n".join(parts) for name, parts in texts.items()}


def caption(record: dict[str, Any]) -> str:
    """Return a line that describes how a record was measured."""
    processor = record["processor"]
    commit = (record["commit"] or "unknown")[:7]
    changes = ", with uncommitted changes" if record["uncommitted changes"] else ""
    return (
        f"<sub>{record['date']}, fststyle {record['versions']['fststyle']} ({commit}{changes}), "
        f"{processor['name']}, {processor['cores']} cores, {', '.join(processor['instructions'])}: "
        f"`{record['command']}`</sub>"
    )


def updated(text: str, tables: dict[str, str]) -> str:
    """Return a page with its tables replaced by those from the records."""

    def replace(found: re.Match[str]) -> str:
        name = found[2]
        if name not in tables:
            return found[0]
        return f"{found[1]}\n{tables[name]}\n\n{found[4]}"

    return MARKED.sub(replace, text)


def pages(root: Path) -> list[Path]:
    """Return the pages that may contain tables."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Update or check the pages, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only check the pages")
    given = parser.parse_args(arguments)
    tables = read_tables(root / "benchmarks")
    status = 0
    for path in pages(root):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        new = updated(text, tables)
        if new == text:
            continue
        if given.check:
            print(
                f"{name} has outdated tables. Run: python scripts/docs/tables.py", file=sys.stderr
            )
            status = 1
        else:
            write_atomically(path, new.encode())
            print(name)
    return status


if __name__ == "__main__":
    sys.exit(main())
