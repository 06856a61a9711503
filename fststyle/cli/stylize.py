"""``fststyle stylize``: one photo, many photos, or a stream. PyTorch is not needed on the CPU."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, get_args

from fststyle.cli.arguments import (
    STYLE_HELP,
    given,
    pixels_or_full,
    positive,
    quality,
    strength,
    stroke_scale,
)
from fststyle.cli.errors import CommandError
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import (
    copied,
    is_pipe,
    local_path,
    local_text,
    style_text,
    temporary_path,
    with_home,
)
from fststyle.cli.optimize_request import OPTIMIZE_SIZE, OptimizeRequest
from fststyle.cli.photo_report import PhotoReport
from fststyle.files import cannot_write
from fststyle.images.folder import FolderPhotos
from fststyle.images.save import OUTPUT_SUFFIXES, check_output
from fststyle.openvino_core import import_without_converter
from fststyle.runtime.runner import Device
from fststyle.styles.find import FoundStyle, art_folder, find_style, training_settings
from fststyle.stylize.blend import style_weights
from fststyle.stylize.output_paths import (
    Existing,
    Task,
    check_folder,
    is_one_file,
    plan_many,
    plan_one,
    suffix_by_content,
    suffix_of,
)
from fststyle.stylize.pipeline import default_jobs, run

if TYPE_CHECKING:
    from fststyle.stylize.file_stylizer import FileStylizer

_STREAM: Final = "-"
_ANIMATED: Final = (".gif", ".apng")
_CONTROL: Final = (
    *("size", "scale", "tile", "strength", "keep_colors", "repaint"),
    *("faces", "subject", "background"),
)
_MASKS: Final = ("mask", "strength_map")
_FILES: Final = ("strip", "keep_gps", "quality")
# If there is no network, the photo is optimised, which supports only the size.
_NEEDS_NETWORK: Final = (*_CONTROL[1:], *_FILES, "mask", "strength_map", "style_outside", "json")


def add_command(commands: Any) -> None:
    """Add ``fststyle stylize`` to the command line."""
    command = commands.add_parser(
        "stylize", help="apply a style to photos", argument_default=argparse.SUPPRESS
    )
    command.add_argument(
        "inputs",
        nargs="+",
        type=local_text,
        metavar="INPUT",
        help="photos, folders, patterns such as 'photos/**/*.jpg', or - for standard input; "
        "if a name begins with -, write it as ./-name",
    )
    command.add_argument(
        "--style",
        type=style_text,
        required=True,
        help=f"{STYLE_HELP}; or a blend such as NAME:0.6,OTHER:0.4",
    )
    command.add_argument(
        "-o",
        "--output",
        type=with_home,
        required=True,
        metavar="OUT",
        help="output file, or - for standard output; for a folder, a pattern or several inputs, "
        "the output folder",
    )
    _add_control(command.add_argument_group("control"))
    files = command.add_argument_group("files")
    files.add_argument(
        "--quality",
        type=quality,
        metavar="1..100",
        help="quality of JPEG, WebP and AVIF; default: high",
    )
    kept = files.add_mutually_exclusive_group()
    kept.add_argument(
        "--strip", action="store_true", help="do not keep the photo's metadata (EXIF, XMP)"
    )
    kept.add_argument(
        "--keep-gps", action="store_true", help="keep the location, which is removed by default"
    )
    many = command.add_argument_group("many photos")
    existing = many.add_mutually_exclusive_group()
    existing.add_argument(
        "--overwrite", dest="existing", action="store_const", const="replace",
        help="replace results that already exist",
    )  # fmt: skip
    existing.add_argument(
        "--skip-existing", dest="existing", action="store_const", const="skip",
        help="skip photos whose results already exist",
    )  # fmt: skip
    many.add_argument(
        "--format",
        choices=[suffix[1:] for suffix in (*OUTPUT_SUFFIXES, *_ANIMATED)],
        default="",
        help="format of the results; default: the same format as each photo",
    )
    many.add_argument("--json", action="store_true", help="print one line of JSON per photo")
    many.add_argument(
        "--jobs",
        type=positive,
        help="number of reader threads, and also of writer threads; default: up to 4",
    )
    command.add_argument("--device", choices=get_args(Device), default="auto")
    command.add_argument("--threads", type=positive, help="number of CPU threads for the network")
    command.set_defaults(run=stylize)


def _add_control(group: Any) -> None:
    group.add_argument(
        "--size",
        type=pixels_or_full,
        metavar="N|full",
        help="maximum long side of the result in pixels (photos are never enlarged), or full; "
        f"default: the photo's own size, or {OPTIMIZE_SIZE} if the style is an image and the photo "
        "is optimised",
    )
    group.add_argument(
        "--scale",
        type=stroke_scale,
        metavar="0.25..64",
        help="size of the brush strokes; 2 makes them twice as large; default: 1, or more if the "
        "photo's long side exceeds 1280 pixels",
    )
    group.add_argument(
        "--tile",
        type=positive,
        metavar="N",
        help="process the photo in tiles of N×N pixels; default: only if the photo is very large",
    )
    group.add_argument(
        "--strength",
        type=strength,
        metavar="0..4",
        help="0 is the unchanged photo; only styles with a dial can exceed 1, the default",
    )
    group.add_argument(
        "--strength-map",
        type=local_path,
        metavar="IMAGE",
        help="strength of each pixel, from 0 where this image is black to --strength at white",
    )
    group.add_argument(
        "--no-repaint",
        dest="repaint",
        action="store_false",
        default=argparse.SUPPRESS,
        help="do not paint enlarged results once more at full size; this is faster",
    )
    group.add_argument(
        "--faces",
        choices=("gentle",),
        help="weaken the style on faces, so that they look natural, and print how many were found",
    )
    for name, other in (("subject", "background"), ("background", "subject")):
        group.add_argument(
            f"--{name}",
            type=strength,
            metavar="0..4",
            help=f"factor for the strength of the {name}, if it should differ from the {other}; "
            "needs the extra subject",
        )
    group.add_argument("--keep-colors", action="store_true", help="keep the photo's colours")
    group.add_argument(
        "--mask",
        type=local_path,
        metavar="IMAGE",
        help="stylise only where this image is white, and partly where it is grey; it is resized "
        "to fit the photo",
    )
    group.add_argument(
        "--style-outside",
        type=style_text,
        metavar="STYLE",
        help="style to apply where the mask is black; default: the photo is unchanged there",
    )


def stylize(options: argparse.Namespace) -> int:
    """Stylise photos with a trained network or, without a network, optimise one photo.

    Args:
        options: The parsed command line.

    Returns:
        The exit status: 0, or 1 if a photo failed.

    Raises:
        FststyleError: An input or option is unsuitable (raised before any photo is stylised), or
            there is only one photo and it failed.
    """
    if options.device in ("cuda", "mps"):
        require_packages("train", "torch")
    if given(options, "subject", "background"):
        from fststyle.stylize.subject import PACKAGES

        require_packages("subject", *PACKAGES)
    without_network = _without_network(options)
    if without_network is None:
        return _stylize(options)
    return _optimize(options, without_network)


def _without_network(options: argparse.Namespace) -> FoundStyle | None:
    """Return the style if it is only an image, otherwise ``None``.

    For an image, also check that the photo can be optimised.
    """
    weights = style_weights(options.style)
    found = [find_style(name) for name in weights]
    if len(found) > 1 or found[0].kind == "network":
        return None
    one_file = is_one_file(options.inputs) and _STREAM not in (options.inputs[0], options.output)
    names = {"repaint": "no-repaint"}
    chosen = given(options, *_NEEDS_NETWORK)
    needs = ["--" + names.get(name, name.replace("_", "-")) for name in chosen]
    if one_file and not needs:
        require_packages("train", "torch", "safetensors", "skimage")
        check_output(options.output)
        plan_one(Path(options.inputs[0]), Path(options.output), "replace", [found[0].path])
        return found[0]
    needs.append("A folder or more than one photo")
    raise CommandError(
        f"{needs[0]} needs a trained network, but {options.style} is only an image.",
        remedy="Choose one of the styles that 'fststyle styles' lists, or train one: "
        f"fststyle train {training_settings(found[0])}",
        code="no_network",
    )


def _optimize(options: argparse.Namespace, style: FoundStyle) -> int:
    """Run ``fststyle optimize PHOTO --style IMAGE -o OUT``, and tell the user why."""
    from fststyle.cli.optimize import run_request  # its imports would slow down other runs

    is_ours = style.path.parent == art_folder()
    what = "has no trained network yet" if is_ours else "is an image, not a trained style"
    request = OptimizeRequest(
        Path(options.inputs[0]), options.style, Path(options.output), **given(options, "size")
    )
    return run_request(
        request,
        note=f"{options.style} {what}, so this photo is optimised on its own, which takes minutes. "
        f"To train a network for all photos: fststyle train {training_settings(style)}",
    )


def _stylize(options: argparse.Namespace) -> int:
    if given(options, "style_outside") and not given(options, "mask"):
        raise CommandError(
            "--style-outside needs a mask.", remedy="Add --mask IMAGE.", code="no_mask"
        )
    inputs = options.inputs
    if _STREAM in inputs or options.output == _STREAM or is_pipe(options.output):
        return _stylize_stream(options)
    output = Path(options.output)
    if is_one_file(inputs):
        suffix_of(options.format, output)
        task = plan_one(Path(inputs[0]), output, _existing(options), _needed_files(options))
        return _run(options, [task], sys.stdout)
    tasks, found = plan_many(
        inputs,
        output,
        suffix=suffix_of(options.format),
        existing=_existing(options),
        protected=_needed_files(options),
    )
    return _run(options, tasks, sys.stdout, found=found, folder=output)


def _existing(options: argparse.Namespace) -> Existing:
    existing: Existing = getattr(options, "existing", "refuse")
    return existing


def _stylize_stream(options: argparse.Namespace) -> int:
    """Read from standard input or write to a stream, using temporary files."""
    from_stream, to_stdout = options.inputs == [_STREAM], options.output == _STREAM
    to_stream = to_stdout or is_pipe(options.output)
    if not from_stream and not (is_one_file(options.inputs) and options.inputs != [_STREAM]):
        raise CommandError("- stands for a single photo.", remedy="Pass it as the only input.")
    # The command line replaces a closed standard output with os.devnull.
    if to_stdout and sys.stdout.name == os.devnull:
        raise CommandError("Standard output is closed.", remedy="Redirect it to a file: > OUT")
    if from_stream and sys.stdin.isatty():
        raise CommandError(
            "- reads a photo from standard input.",
            remedy="Pipe a photo in, or name a file.",
        )
    if to_stdout and sys.stdout.isatty():
        raise CommandError(
            "-o - writes an image to standard output, which is a terminal.",
            remedy="Redirect it to a file (> OUT) or pipe it to a program.",
        )
    source, target = Path(options.inputs[0]), Path(options.output)
    if from_stream:
        source = copied(sys.stdin.buffer, "standard input")
    if to_stream:
        suffix = suffix_of(options.format, target) or target.suffix or suffix_by_content(source)
        shown = "standard output" if to_stdout else str(target)
        target = temporary_path(f"result{suffix}", shown)
    else:
        suffix_of(options.format, target)
    task = plan_one(source, target, _existing(options), _needed_files(options))
    report = io.StringIO()
    status = _run(options, [task], report)
    if to_stream:
        with target.open("rb") as result:
            if to_stdout:
                shutil.copyfileobj(result, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            else:
                _write_pipe(result, options.output)
    # Report the result only after it has been written.
    print(report.getvalue(), end="", file=sys.stderr if to_stdout else sys.stdout, flush=True)
    return status


def _write_pipe(result: IO[bytes], path: str) -> None:
    try:
        with open(path, "wb") as pipe:
            shutil.copyfileobj(result, pipe)
    except OSError as error:
        raise cannot_write(path, error) from error


def _run(
    options: argparse.Namespace,
    tasks: Sequence[Task],
    out: IO[str],
    *,
    found: FolderPhotos | None = None,
    folder: Path | None = None,
) -> int:
    """Run the tasks, and report each one on ``out``."""
    style = "+".join(Path(name).stem for name in style_weights(options.style))
    report = PhotoReport(style, out, as_json=bool(given(options, "json")), found=found)
    todo = [task for task in tasks if not task.skip]
    for task in tasks:
        if task.skip:
            report.skipped(task)
    if not todo:
        return report.status()
    files = _prepared(options)
    if folder is not None:
        check_folder(folder)
    threads = getattr(options, "jobs", None) or default_jobs()
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
        outside=getattr(options, "style_outside", None),
        device=options.device,
        **given(options, "threads"),
    )
    masks: dict[str, Any] = {n: read_mask(path) for n, path in given(options, *_MASKS).items()}
    control = Control(**given(options, *_CONTROL), **masks)
    stylizer.check(control)
    if control.has_subject:
        _announce_download()
    return FileStylizer(stylizer, control, **given(options, *_FILES))


def _announce_download() -> None:
    """Tell the user before rembg downloads a network."""
    from fststyle.stylize.subject import MODEL_MEGABYTES, missing_model

    if (path := missing_model()) is not None:
        print(
            f"The network that finds the subject is downloaded once ({MODEL_MEGABYTES} MB), to "
            f"{path}.",
            file=sys.stderr,
            flush=True,
        )


def _needed_files(options: argparse.Namespace) -> list[Path]:
    """Return the masks and the styles, which no result may replace."""
    styles = given(options, "style", "style_outside").values()
    files = [find_style(name).path for style in styles for name in style_weights(style)]
    return [*files, *given(options, *_MASKS).values()]
