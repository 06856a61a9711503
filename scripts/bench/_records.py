"""Benchmark records: the measured values, together with the machine and the versions used.

A record is a JSON file in ``benchmarks/``, named after the benchmark and the type of processor.
When a benchmark is repeated on the same type of processor, the changes therefore show up as a
readable diff. The record also contains the finished tables, which ``scripts/docs/tables.py`` copies
into the documentation.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import fststyle
from fststyle.cli import doctor
from fststyle.files import write_atomically
from fststyle.markdown import markdown_table

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDS: Final = ROOT / "benchmarks"
PACKAGES: Final = (
    "numpy", "openvino", "onnx", "pillow", "torch", "torchvision", "pytorch-lightning", "av",
    "opencv-python-headless", "nncf", "scikit-image",
)  # fmt: skip


@dataclass(frozen=True)
class Processor:
    """The processor of this machine.

    Attributes:
        name: Name that the processor reports.
        cores: Number of logical cores.
        instructions: Supported matrix and vector instructions, fastest first.
    """

    name: str
    cores: int
    instructions: tuple[str, ...]

    def __str__(self) -> str:
        known = ", ".join(self.instructions) or "unknown instructions"
        return f"{self.name}, {self.cores} cores ({known})"

    def kind(self) -> str:
        """Return a short name for use in file names, such as ``intel-xeon-2-cores-amx``."""
        name = re.sub(r"\((?:r|tm)\)|\b(?:cpu|processor|with)\b|@.*", " ", self.name.lower())
        fastest = self.instructions[0].split()[0].lower() if self.instructions else ""
        text = f"{name} {self.cores} cores {fastest}"
        return re.sub(r"[^a-z0-9]+", "-", text).strip("-")


@dataclass(frozen=True)
class Table:
    """A finished table.

    Attributes:
        header: Column titles.
        rows: The cells of each row.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        return markdown_table(self.header, self.rows)


def processor() -> Processor:
    """Describe the processor of this machine."""
    facts = doctor.processor()
    name = " ".join(facts["name"].split())
    return Processor(name, facts["threads"], tuple(facts["matrix_instructions"]))


def write_record(
    benchmark: str, values: Any, tables: Mapping[str, Table], folder: Path = RECORDS
) -> Path:
    """Write a benchmark's record and print its path.

    Args:
        benchmark: Name of the benchmark.
        values: All measured values, in a form that can be written as JSON.
        tables: Tables, by the names used in the documentation.
        folder: Folder for the records. It is created if necessary.

    Returns:
        The path of the record.
    """
    machine = processor()
    commit = _output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    # Changes to the records themselves do not affect what is measured.
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--", ".", ":!benchmarks")
    record = {
        "benchmark": benchmark,
        "date": datetime.date.today().isoformat(),
        "commit": commit or None,
        "uncommitted changes": bool(changed),
        "command": command_line(sys.argv),
        "processor": asdict(machine),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"fststyle": fststyle.__version__, "python": platform.python_version()}
        | _versions(),
        "values": values,
        "tables": {name: asdict(table) for name, table in tables.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}_{machine.kind()}.json"
    # Of an absolute path, only the last part is written: it is the same on every machine.
    text = json.dumps(record, indent=1, ensure_ascii=False)
    text = re.sub(r'"/(?:[^"/]+/)*([^"/]+)/?"', r'"\1"', text)
    write_atomically(path, f"{_rows_on_one_line(text)}\n".encode())
    print(f"\nRecord: {path}", file=sys.stderr)
    return path


def command_line(arguments: Sequence[str]) -> str:
    """Return the command line with each absolute path shortened to its last part."""
    script, *others = arguments
    path = Path(script).resolve()
    shown = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    names = (re.sub(r"(?<![\w.])/(?:[^/\s]+/)*([^/\s]+)", r"\1", text) for text in others)
    return f"python {shlex.join([shown, *names])}"


def _rows_on_one_line(text: str) -> str:
    """Put the innermost lists of indented JSON on one line each."""
    return re.sub(
        r"\[\n\s+([^\[\]{}]*?)\n\s+\]",
        lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]",
        text,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _output(*command: str) -> str:
    """Return the output of a command, or an empty string if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
