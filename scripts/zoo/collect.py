"""Copy trained networks to the zoo, and add their measurements to each file.

    python scripts/zoo/collect.py zoo_runs

The script reads the folder that ``scripts/zoo/train.py`` wrote, and copies the networks that passed
the end-of-training checks to fststyle/zoo. The exit status is 1 if any network was left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from fststyle.errors import FststyleError
from fststyle.styles.find import zoo_folder
from fststyle.styles.info import StyleInfo
from fststyle.styles.quality import Quality, recorded, with_quality
from fststyle.styles.style_file import read_info, save_info

MAX_FILE_BYTES: Final = 10**6
MAX_ZOO_BYTES: Final = 12 * 10**6


class Outcome(NamedTuple):
    """The outcome for one network. If it was not copied to the zoo, the text says why."""

    name: str
    shipped: bool
    text: str


def collect(folder: Path, zoo: Path | None = None) -> list[Outcome]:
    """Copy the networks that passed to the zoo, and add the measurements to each file.

    Args:
        folder: Folder with the training runs.
        zoo: Target folder. By default, the zoo of the package.

    Returns:
        An outcome for each style.

    Raises:
        FststyleError: The zoo would become too large (nothing is copied in this case), or a file
            cannot be read or written.
    """
    zoo = zoo_folder() if zoo is None else zoo
    outcomes, chosen = [], {}
    for path in sorted(folder.glob("*/measured/quality.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        name, file = path.parts[-3], path.parents[1] / f"{path.parts[-3]}.onnx"
        info = with_quality(read_info(file), [Quality(**item) for item in record["quality"]])
        if problem := _unfit(info, name, file, record):
            outcomes.append(Outcome(name, False, problem))
        else:
            chosen[name] = (file, info)
    others = [path for path in zoo.glob("*.onnx") if path.stem not in chosen]
    total = sum(path.stat().st_size for path in [*others, *(file for file, _ in chosen.values())])
    if total > MAX_ZOO_BYTES:
        raise FststyleError(
            f"The zoo would be {total / 1e6:.1f} MB, but the limit is {MAX_ZOO_BYTES / 1e6:g} MB. "
            "Leave styles out, or train smaller networks. Nothing was copied."
        )
    zoo.mkdir(exist_ok=True)
    for name, (file, info) in chosen.items():
        save_info(file, info, zoo / f"{name}.onnx")
        outcomes.append(Outcome(name, True, f"{zoo / name}.onnx"))
    return sorted(outcomes, key=lambda outcome: outcome.name)


def _unfit(info: StyleInfo, name: str, file: Path, record: dict[str, Any]) -> str:
    """Return why a network cannot be added to the zoo. If it can, the text is empty."""
    if record["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
        return "another file was measured; train and measure the style again"
    if record["failed_checks"]:
        return f"it failed checks: {', '.join(record['failed_checks'])}"
    if file.stat().st_size > MAX_FILE_BYTES:
        size = f"{file.stat().st_size / 1e6:.1f} MB"
        return f"{size} is more than the limit of {MAX_FILE_BYTES / 1e6:g} MB"
    lacking = [key for key in ("title", "source", "licence") if not getattr(info, key)]
    if lacking or info.name != name or not recorded(info):
        return f"the file lacks {', '.join(lacking) or 'its name or quality'}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy the networks, print a line for each style, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the training runs")
    folder = parser.parse_args(arguments).folder
    try:
        outcomes = collect(folder)
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for name, shipped, text in outcomes:
        print(f"{'shipped ' if shipped else 'left out'}  {name}: {text}")
    if not outcomes:
        print(
            f"Error: {folder} contains no measured style. Train some styles first.", file=sys.stderr
        )
    return 0 if outcomes and all(outcome.shipped for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
