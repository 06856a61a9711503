"""``fststyle stylize``: one photo, many, or a stream. On the CPU none of it loads torch."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from fststyle.cli.arguments import require_packages, share, stroke_scale
from fststyle.errors import FststyleError, PhotoError, SettingError
from fststyle.images.save import OUTPUT_SUFFIXES, check_output
from fststyle.openvino_core import import_without_converter
from fststyle.styles.find import FoundStyle, find_style, training_settings
from fststyle.stylize.blend import style_weights
from fststyle.stylize.pipeline import Outcome, default_jobs, run
from fststyle.stylize.plan import (
    Existing,
    Task,
    check_folder,
    is_one_file,
    plan_many,
    plan_one,
    suffix_by_content,
    suffix_of,
)

if TYPE_CHECKING:
    from fststyle.stylize.file_stylizer import FileStylizer

_STREAM: Final = "-"
_MOVING: Final = (".gif", ".apng")
_MOST_BYTES: Final = 2**30  # from the standard input
# Options that a style without a network does not have, and what they are where not given.
_OF_NETWORKS: Final = {
    **{"scale": None, "tile": None, "strength": 1.0, "keep_colors": False, "mask": None},
    **{"style_outside": None, "quality": None, "strip": False, "keep_gps": False, "json": False},
}


def add_options(
    command: argparse.ArgumentParser, style_help: str, pixels: Callable[[str], int], size_help: str
) -> None:
    """Add the options of ``fststyle stylize``.

    Args:
        command: The parser of the command.
        style_help: What may be a style.
        pixels: Reads a whole number from 1.
        size_help: What ``--size`` is.
    """
    command.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="photos, folders, patterns such as 'photos/**/*.jpg', or - for the standard input; a "
        "name that begins with - as ./-name",
    )
    command.add_argument(
        "--style", required=True, help=f"{style_help}; several are mixed: NAME:0.6,OTHER:0.4"
    )
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a file; a folder where the inputs are several, a folder or a pattern; - for the "
        "standard output",
    )
    control = command.add_argument_group("control")
    control.add_argument("--size", type=_size, metavar="N|full", help=size_help)
    control.add_argument(
        "--scale",
        type=stroke_scale,
        metavar="0.25..64",
        help="size of the strokes: 2 is twice as large; default: 1, and more for photos of more "
        "than 1280 pixels a side",
    )
    control.add_argument(
        "--tile",
        type=pixels,
        metavar="N",
        help="work in tiles of so many pixels a side; default: where the memory needs it",
    )
    control.add_argument(
        "--strength",
        type=share,
        default=1.0,
        metavar="0..1",
        help="from 0, the photo itself, to 1, the full style (default)",
    )
    control.add_argument(
        "--keep-colors", action="store_true", help="the photo's colours, the style's strokes"
    )
    control.add_argument(
        "--mask",
        type=Path,
        metavar="PICTURE",
        help="stylise where it is white, in part where it is grey; stretched to the photo",
    )
    control.add_argument(
        "--style-outside", metavar="STYLE", help="where the mask is black; default: the photo"
    )
    files = command.add_argument_group("files")
    files.add_argument(
        "--quality", type=_quality, metavar="1..100", help="of JPEG, WebP and AVIF; default: high"
    )
    kept = files.add_mutually_exclusive_group()
    kept.add_argument(
        "--strip", action="store_true", help="keep nothing of the photo's metadata (EXIF, XMP)"
    )
    kept.add_argument(
        "--keep-gps", action="store_true", help="keep where the photo was taken, else dropped"
    )
    many = command.add_argument_group("many photos")
    existing = many.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace results in the folder")
    existing.add_argument("--skip-existing", action="store_true", help="leave what is there")
    many.add_argument(
        "--format",
        choices=[suffix[1:] for suffix in (*OUTPUT_SUFFIXES, *_MOVING)],
        default="",
        help="of the results; default: each photo's own",
    )
    many.add_argument("--json", action="store_true", help="one line of JSON for each photo")
    many.add_argument(
        "--jobs", type=pixels, help="threads that read, and as many that write; default: up to 4"
    )
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    command.add_argument("--threads", type=pixels, help="processor threads of the network")


def style_without_network(options: argparse.Namespace) -> FoundStyle | None:
    """Find out whether the style is but a picture, so that the photo is to be optimised.

    Args:
        options: Of the command line.

    Returns:
        The picture; None where there is a network. ``options`` are checked for one photo then.

    Raises:
        FststyleError: The style is unknown, or the options need a trained network.
    """
    weights = style_weights(options.style)
    found = [find_style(name) for name in weights]
    if len(found) > 1 or found[0].kind == "network":
        return None
    one_file = is_one_file(options.inputs) and _STREAM not in (options.inputs[0], options.output)
    changed = [
        "--" + name.replace("_", "-")
        for name, default in _OF_NETWORKS.items()
        if getattr(options, name) != default
    ]
    if one_file and not changed:
        require_packages("torch", "safetensors", "skimage")  # as optimising does
        check_output(options.output)
        plan_one(Path(options.inputs[0]), Path(options.output), "replace", [found[0].path])
        return found[0]
    needs = [*changed, "A folder or more than one photo"]
    raise SettingError(
        f"{needs[0]} needs a trained network, and {options.style} is only an image.",
        code="no_network",
        details={"training": training_settings(found[0])},
    )


def stylize(options: argparse.Namespace) -> int:
    """Stylise photos with trained networks.

    Args:
        options: Of the command line.

    Returns:
        The exit status: 0, or 1 where a photo failed.

    Raises:
        FststyleError: Something that the user can mend, before any photo is done or, of a
            single photo, at all.
    """
    if options.style_outside is not None and options.mask is None:
        raise SettingError("--style-outside needs --mask PICTURE, which says where that is.")
    inputs = options.inputs
    if _STREAM in (*inputs, options.output):
        return _stylize_stream(options)
    existing: Existing = (
        "replace" if options.overwrite else "skip" if options.skip_existing else "refuse"
    )
    protected = _needed_files(options)
    output = Path(options.output)
    if is_one_file(inputs):
        suffix_of(options.format, output)
        job = plan_one(Path(inputs[0]), output, existing, protected)
        return _run(options, [job], sys.stdout)
    suffix = suffix_of(options.format)
    jobs = plan_many(inputs, output, suffix=suffix, existing=existing, protected=protected)
    return _run(options, jobs, sys.stdout, folder=output)


def _stylize_stream(options: argparse.Namespace) -> int:
    """From the standard input, or to the standard output, or both, by way of temporary files."""
    from_stream, to_stream = options.inputs == [_STREAM], options.output == _STREAM
    if not from_stream and not (is_one_file(options.inputs) and options.inputs != [_STREAM]):
        raise SettingError("- stands for one photo; give it as the only input.")
    if to_stream and sys.stdout.name == os.devnull:  # as the command line puts there
        raise SettingError("-o - writes to the standard output, which is closed; open it: > OUT")
    if from_stream and sys.stdin.isatty():
        raise SettingError("- reads a photo from the standard input; pipe one in, or name a file.")
    if to_stream and sys.stdout.isatty():
        raise SettingError("-o - writes a picture, not text; send it to a file or a program: > OUT")
    with tempfile.TemporaryDirectory(prefix="fststyle-") as folder:
        source, target = Path(options.inputs[0]), Path(options.output)
        names: dict[Path, str] = {}
        if from_stream:
            source = Path(folder, "photo")
            names[source] = "The standard input"
            _copy(sys.stdin.buffer, source)
        if to_stream:
            suffix = suffix_of(options.format) or suffix_by_content(source)
            target = Path(folder, f"result{suffix}")
            names[target] = "The standard output"
        else:
            suffix_of(options.format, target)
        existing: Existing = "skip" if options.skip_existing else "replace"
        job = plan_one(source, target, existing, _needed_files(options))
        told = io.StringIO()
        status = _run(options, [job], told, names=names)
        if to_stream:
            with target.open("rb") as result:
                shutil.copyfileobj(result, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        # Only now is it true.
        print(told.getvalue(), end="", file=sys.stderr if to_stream else sys.stdout, flush=True)
    return status


def _run(
    options: argparse.Namespace,
    jobs: Sequence[Task],
    out: IO[str],
    *,
    folder: Path | None = None,
    names: dict[Path, str] | None = None,
) -> int:
    """Do the jobs, and tell of each on ``out``; ``names`` are shown instead of some paths."""
    report = _Report(options, out, names or {}, single=folder is None)
    todo = [job for job in jobs if not job.skip]
    for job in jobs:
        if job.skip:
            report.skipped(job)
    if not todo:
        return 0
    files = _prepared(options)
    if folder is not None:
        check_folder(folder)
    threads = options.jobs or default_jobs()
    outcomes = run(todo, read=files.read, work=files.work, write=files.write, threads=threads)
    with closing(outcomes), report.progress(len(todo)):
        for outcome in outcomes:
            report.done(outcome)
    return report.status()


def _prepared(options: argparse.Namespace) -> FileStylizer:
    from fststyle.stylize.arrays import read_mask
    from fststyle.stylize.control import Control
    from fststyle.stylize.file_stylizer import FileStylizer
    from fststyle.stylize.stylizer import Stylizer

    if options.device in ("auto", "cpu"):
        import_without_converter()
    stylizer = Stylizer(
        options.style,
        outside=options.style_outside,
        device=options.device,
        threads=options.threads,
    )
    mask = None if options.mask is None else read_mask(options.mask)
    control = Control(
        size=options.size,
        scale=options.scale,
        tile=options.tile,
        strength=options.strength,
        keep_colors=options.keep_colors,
        mask=mask,
    )
    return FileStylizer(
        stylizer,
        control,
        strip=options.strip,
        keep_gps=options.keep_gps,
        quality=options.quality,
    )


class _Report:
    """What the user is told: a line for each photo, a bar, and at the end what failed."""

    def __init__(
        self, options: argparse.Namespace, out: IO[str], names: dict[Path, str], *, single: bool
    ) -> None:
        self._style: str = "+".join(Path(name).stem for name in style_weights(options.style))
        self._as_json: bool = options.json
        self._out = out
        self._names = names
        self._single = single
        self._bar: Any = None
        self._failed: list[str] = []
        self._begin = time.perf_counter()
        self._count = 0

    def progress(self, total: int) -> AbstractContextManager[Any]:
        if self._single:  # and no tenth of a second for the import
            return nullcontext()
        from tqdm import tqdm

        # None: no bar where the standard error is no terminal.
        self._bar = tqdm(total=total, unit="photo", disable=None, leave=False)
        return closing(self._bar)

    def skipped(self, job: Task) -> None:
        self._line(self._facts(job) | {"skipped": True}, f"{job.target}  is there already")

    def done(self, outcome: Outcome[Task]) -> None:
        job, error = outcome.task, outcome.error
        self._count += 1
        facts = self._facts(job)
        milliseconds = 1000 * outcome.seconds
        if error is None:
            size = {"width": outcome.width, "height": outcome.height}
            facts |= {**size, "milliseconds": round(milliseconds, 1)}
            text = f"{outcome.width}×{outcome.height}  {self._style}  {milliseconds:.0f} ms"
            self._line(facts, f"{self._shown(job.target)}  {text}")
        else:
            sentence = str(error)
            if str(job.source) not in sentence and str(job.target) not in sentence:
                sentence = f"{job.source}: {sentence}"
            for path, name in self._names.items():
                sentence = sentence.replace(str(path), name)
            self._failed.append(sentence)
            if self._as_json:
                self._line(facts | {"output": None, "error": sentence}, "")
        if self._bar is not None:
            self._bar.update()

    def status(self) -> int:
        """Say what failed, if anything, and return the exit status."""
        if self._single:
            if self._failed:
                raise FststyleError(self._failed[0])
            return 0
        seconds = time.perf_counter() - self._begin
        done = self._count - len(self._failed)
        print(
            f"{done} photo{'' if done == 1 else 's'} in {seconds:.1f} s"
            + (f", {len(self._failed)} failed:" if self._failed else ""),
            file=sys.stderr,
        )
        for sentence in self._failed:
            print(f"  {sentence}", file=sys.stderr)
        return 1 if self._failed else 0

    def _facts(self, job: Task) -> dict[str, Any]:
        return {
            "input": _STREAM if job.source in self._names else str(job.source),
            "output": _STREAM if job.target in self._names else str(job.target),
            "style": self._style,
            "width": None,
            "height": None,
            "milliseconds": None,
            "skipped": False,
            "error": None,
        }

    def _shown(self, path: Path) -> str:
        return self._names.get(path, str(path))

    def _line(self, facts: dict[str, Any], text: str) -> None:
        line = json.dumps(facts, ensure_ascii=False) if self._as_json else text
        if self._bar is None or self._bar.disable:
            print(line, file=self._out, flush=True)
        else:
            self._bar.write(line, file=self._out)  # above the bar


def _needed_files(options: argparse.Namespace) -> list[Path]:
    """The files that no result may replace: the mask and the styles."""
    styles = [options.style] + ([options.style_outside] if options.style_outside else [])
    files = [find_style(name).path for style in styles for name in style_weights(style)]
    return files if options.mask is None else [*files, options.mask]


def _copy(stream: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        size = 0
        while chunk := stream.read(2**20):
            size += file.write(chunk)
            if size > _MOST_BYTES:
                raise PhotoError(
                    f"The standard input is longer than {_MOST_BYTES >> 30} GB, and so no photo."
                )


def _size(text: str) -> int | Literal["full"]:
    if text == "full":
        return "full"
    if text.isascii() and text.isdigit() and 0 < int(text) < 2**31:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a number of pixels from 1, or full, not {text!r}")


def _quality(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 100, not {text!r}")
