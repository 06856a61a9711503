"""``fststyle video``: a film stylised, with its sound. On the CPU it loads no torch."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from fststyle.cli.arguments import share, stroke_scale
from fststyle.errors import VideoError
from fststyle.images.save import check_output
from fststyle.styles.find import FoundStyle, find_network
from fststyle.stylize.blend import style_weights

if TYPE_CHECKING:
    from fststyle.video.convert import ConversionResult
    from fststyle.video.reader import VideoReader

_CTRL_C: Final = 130


def add_video_command(commands: Any, pixels: Callable[[str], int]) -> None:
    """Add the command to those of the command line.

    Args:
        commands: What ``ArgumentParser.add_subparsers`` returned.
        pixels: Reads a whole number from 1.
    """
    command = commands.add_parser(
        "video",
        help="give a film a style",
        description="Give a film a style. Sound and subtitles are copied as they are. GIF can "
        "be read too, GIF and WebP written. Ctrl-C ends it with what is done; a second one leaves "
        "nothing.",
    )
    command.add_argument("film", type=Path, metavar="FILM")
    command.add_argument(
        "--style", required=True, help="as for stylize; several are mixed: NAME:0.6,OTHER:0.4"
    )
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="its ending says the format: .mp4, .mkv, .mov, .webm, .ts, .gif or .webp",
    )
    steady = command.add_argument_group("steadiness")
    steady.add_argument(
        "--steady",
        type=share,
        metavar="0..1",
        help="how much of the picture before is moved along and mixed in; default: 0.6, 0: none",
    )
    steady.add_argument(
        "--smoothing",
        type=_seconds,
        metavar="SECONDS",
        help="over which the network's statistics are smoothed; default: 0.5, 0: none",
    )
    control = command.add_argument_group("control")
    control.add_argument(
        "--size",
        type=pixels,
        metavar="N",
        help="long side of the result, in pixels; films are never enlarged",
    )
    control.add_argument(
        "--scale", type=stroke_scale, metavar="0.25..64", help="size of the strokes, as for stylize"
    )
    control.add_argument(
        "--strength", type=share, default=1.0, metavar="0..1", help="as for stylize"
    )
    control.add_argument("--keep-colors", action="store_true", help="as for stylize")
    control.add_argument(
        "--start", type=_seconds, default=0.0, metavar="TIME", help="seconds, or H:MM:SS"
    )
    control.add_argument("--duration", type=_seconds, metavar="TIME", help="likewise")
    files = command.add_argument_group("files")
    files.add_argument("--codec", help="h264 (default), hevc, av1, vp9, or any encoder of FFmpeg's")
    files.add_argument(
        "--crf", type=int, metavar="N", help="quality, the lower the better; of h264: 20"
    )
    files.add_argument("--no-audio", action="store_true", help="leave the sound out")
    files.add_argument("--no-subtitles", action="store_true", help="leave the subtitles out")
    files.add_argument("--json", action="store_true", help="one line of JSON at the end")
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    command.add_argument("--threads", type=pixels, help="processor threads of the network")
    command.set_defaults(run=video)


def video(options: argparse.Namespace) -> int:
    """Stylise a film.

    Args:
        options: Of the command line.

    Returns:
        The exit status: 0, or 130 where it was ended by Ctrl-C.

    Raises:
        FststyleError: Something that the user can mend.
    """
    from fststyle.video.container import check_av

    check_av()
    styles = [find_network(name) for name in style_weights(options.style)]
    _check_paths(options, styles)

    from fststyle.stylize.control import Control
    from fststyle.video.convert import convert
    from fststyle.video.reader import VideoReader
    from fststyle.video.video_stylizer import SMOOTHING, STEADY, VideoStylizer
    from fststyle.video.writer import (
        SILENT_SUFFIXES,
        Output,
        check_video_output,
        needs_square_pixels,
    )

    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 talks past FFmpeg
    is_silent = options.output.suffix.lower() in SILENT_SUFFIXES
    output = Output(options.output, options.codec, options.crf)
    check_video_output(output)
    begin = time.perf_counter()
    copies = [
        kind
        for kind, is_out in (("audio", options.no_audio), ("subtitle", options.no_subtitles))
        if not is_out
    ]
    with VideoReader(
        options.film,
        size=options.size,
        start=options.start,
        duration=options.duration,
        square=needs_square_pixels(output),
        copies=tuple(copies),
    ) as source:
        if is_silent and source.copied:
            _say(f"{options.output.suffix.lower()[1:]} has no sound and no subtitles.")
        stylizer = VideoStylizer(
            options.style,
            steady=STEADY if options.steady is None else options.steady,
            smoothing=SMOOTHING if options.smoothing is None else options.smoothing,
            device=options.device,
            threads=options.threads,
        )
        scale = 1.0 if options.size is not None and options.scale is None else options.scale
        control = Control(scale=scale, strength=options.strength, keep_colors=options.keep_colors)

        def work(pixels: Any, seconds: float) -> Any:
            return stylizer.frame(pixels, seconds, control)

        with _ctrl_c() as is_stopped, _bar(source) as on_frame:
            done = convert(
                source,
                Output(options.output, options.codec, options.crf, _note(stylizer)),
                work,
                on_frame=on_frame,
                stop=is_stopped,
            )
    _report(options, source, done, time.perf_counter() - begin, stylizer.cuts)
    return 0 if done.is_whole else _CTRL_C


def _check_paths(options: argparse.Namespace, styles: list[FoundStyle]) -> None:
    """Refuse a result that would replace the film or a style, also by way of a link."""
    from fststyle.video.writer import VIDEO_SUFFIXES

    output = options.output
    if output.suffix.lower() in VIDEO_SUFFIXES:
        check_output(output, suffixes=VIDEO_SUFFIXES)
    for path in (options.film, *(style.path for style in styles)):
        if path.exists() and output.exists() and os.path.samefile(path, output):
            raise VideoError(f"The result would replace {path}; give it a new name with -o.")


def _note(stylizer: Any) -> str:
    from fststyle import __version__

    names = " + ".join(dict.fromkeys(info.name for info, _ in stylizer.styles))
    licences = "; ".join(dict.fromkeys(i.licence for i, _ in stylizer.styles if i.licence))
    licence = f" (licence of the style: {licences})" if licences else ""
    return f"Stylised by fststyle {__version__} in the style {names}{licence}."


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Have the first Ctrl-C, or SIGTERM, ask for an end; the second ends at once, as usual."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {n: signal.signal(n, press) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: pressed
    finally:
        restore()


@contextmanager
def _bar(source: VideoReader) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm

    # None: no bar where the standard error is no terminal.
    bar = tqdm(total=source.info.frames, unit="frame", disable=None, leave=False)
    with closing(bar):
        yield lambda count: bar.update(count - bar.n)


def _report(
    options: argparse.Namespace,
    source: VideoReader,
    done: ConversionResult,
    taken: float,
    cuts: int,
) -> None:
    info, damage = source.info, source.damage
    if damage.broken:
        count = f"{damage.broken} frame{'s' if damage.broken > 1 else ''}"
        _say(f"{options.film}: {count} could not be decoded; the one before stands in.")
    if damage.truncated and done.is_whole:
        why = damage.truncated
        _say(f"{options.film} is truncated: it ends after {done.seconds:.1f} s; {why}.")
    if not done.is_whole:
        whole = "" if info.seconds is None else f" of {info.seconds:.1f} s"
        _say(f"Interrupted: {options.output} holds the first {done.seconds:.1f} s{whole}.")
    speed, s = done.frames / taken, "" if done.frames == 1 else "s"
    if options.json:
        facts = {
            "input": str(options.film),
            "output": str(options.output),
            "style": options.style,
            "width": done.width,
            "height": done.height,
            "frames": done.frames,
            "seconds": round(done.seconds, 3),
            "broken": damage.broken,
            "truncated": bool(damage.truncated),
            "interrupted": not done.is_whole,
            "cuts": cuts,
            "frames_per_second": round(speed, 2),
        }
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(
            f"{options.output}  {done.width}×{done.height}  {done.frames} frame{s}, "
            f"{done.seconds:.1f} s  {speed:.1f} frames a second"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be seconds, or H:MM:SS, not {text!r}")
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + seconds
