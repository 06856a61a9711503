"""Copy trained networks into the zoo, with their measurements in each file.

    python scripts/zoo/collect.py zoo_runs

takes the folder that ``scripts/zoo/train.py`` wrote, and copies the networks that passed the checks
at the end of training into fststyle/zoo. The exit status is 1 if some were left out.
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
    """The result for one network: it was shipped to the zoo, or the text says why not."""

    name: str
    shipped: bool
    text: str


def collect(folder: Path, zoo: Path | None = None) -> list[Outcome]:
    """Copy the networks that passed into the zoo, with the measurements in each file.

    Args:
        folder: Folder of the trainings.
        zoo: Folder to copy to. By default it is the package's.

    Returns:
        An outcome for each style.

    Raises:
        FststyleError: The zoo would become too large, so nothing was copied; or a file cannot be
            read or written.
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
            f"The zoo would take {total / 1e6:.1f} MB, more than {MAX_ZOO_BYTES / 1e6:g} MB. "
            "Leave styles out, or train smaller networks. Nothing was copied."
        )
    zoo.mkdir(exist_ok=True)
    for name, (file, info) in chosen.items():
        save_info(file, info, zoo / f"{name}.onnx")
        outcomes.append(Outcome(name, True, f"{zoo / name}.onnx"))
    return sorted(outcomes, key=lambda outcome: outcome.name)


def _unfit(info: StyleInfo, name: str, file: Path, record: dict[str, Any]) -> str:
    """Return why a network cannot be in the zoo, or nothing."""
    if record["sha256"] != hashlib.sha256(file.read_bytes()).hexdigest():
        return "another file was measured; run the training again"
    if record["failed_checks"]:
        return f"it failed checks: {', '.join(record['failed_checks'])}"
    if file.stat().st_size > MAX_FILE_BYTES:
        size = f"{file.stat().st_size / 1e6:.1f} MB"
        return f"{size} are more than the limit of {MAX_FILE_BYTES / 1e6:g} MB"
    lacking = [key for key in ("title", "source", "licence") if not getattr(info, key)]
    if lacking or info.name != name or not recorded(info):
        return f"the file lacks {', '.join(lacking) or 'its name or quality'}"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, print a line for each style, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder of the trainings")
    folder = parser.parse_args(arguments).folder
    try:
        outcomes = collect(folder)
    except FststyleError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for name, shipped, text in outcomes:
        print(f"{'shipped ' if shipped else 'left out'}  {name}: {text}")
    if not outcomes:
        print(f"Error: {folder} holds no measured style; train some first.", file=sys.stderr)
    return 0 if outcomes and all(outcome.shipped for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
