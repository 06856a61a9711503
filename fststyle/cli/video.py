"""``fststyle video``: stylising a video and keeping its sound. PyTorch is not needed on the CPU."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, get_args

from fststyle.cli.arguments import given, positive, seconds, share, strength, stroke_scale
from fststyle.cli.errors import CommandError
from fststyle.cli.extras import require_packages
from fststyle.cli.local_files import local_path, output_path, style_text
from fststyle.images.save import check_output
from fststyle.runtime.runner import Device
from fststyle.styles.find import FoundStyle, find_network
from fststyle.stylize.blend import style_weights

if TYPE_CHECKING:
    from fststyle.video.convert import ConversionResult
    from fststyle.video.reader import VideoReader

_CTRL_C: Final = 130


def add_command(commands: Any) -> None:
    """Add ``fststyle video`` to the command line."""
    command = commands.add_parser(
        "video",
        help="apply a style to a video",
        description="Apply a style to a video. Sound and subtitles are copied. The input may be an "
        "animated GIF or WebP, and so may the output. Press Ctrl-C to stop early and keep the "
        "finished part, or press it twice to keep nothing.",
        argument_default=argparse.SUPPRESS,
    )
    command.add_argument("video", type=local_path, metavar="VIDEO")
    command.add_argument(
        "--style",
        type=style_text,
        required=True,
        help="style, as for stylize, or a blend such as NAME:0.6,OTHER:0.4",
    )
    command.add_argument(
        "-o",
        "--output",
        type=output_path,
        required=True,
        metavar="OUT",
        help="output file; its extension sets the format: .mp4, .mkv, .mov, .webm, .ts, .gif "
        "or .webp",
    )
    _add_control(command)
    files = command.add_argument_group("files")
    files.add_argument(
        "--codec", help="h264 (default), hevc, av1, vp9, or the name of any FFmpeg encoder"
    )
    files.add_argument(
        "--crf", type=int, metavar="N", help="quality; lower is better; default for h264: 20"
    )
    files.add_argument("--no-audio", action="store_true", help="do not copy the sound")
    files.add_argument("--no-subtitles", action="store_true", help="do not copy the subtitles")
    files.add_argument("--json", action="store_true", help="print one line of JSON at the end")
    command.add_argument("--device", choices=get_args(Device), default="auto")
    command.add_argument("--threads", type=positive, help="number of CPU threads for the network")
    command.set_defaults(run=video)


def _add_control(command: argparse.ArgumentParser) -> None:
    steady = command.add_argument_group("flicker reduction")
    steady.add_argument(
        "--steady",
        type=share,
        metavar="0..1",
        help="how much of the previous result, moved along with the motion, is mixed in; "
        "default: 0.6; 0 turns it off",
    )
    steady.add_argument(
        "--smoothing",
        type=seconds,
        metavar="SECONDS",
        help="time over which the network's statistics are smoothed; default: 0.5; 0 turns it off",
    )
    control = command.add_argument_group("control")
    control.add_argument(
        "--size",
        type=positive,
        metavar="N",
        help="long side of the result in pixels; videos are never enlarged",
    )
    control.add_argument(
        "--scale", type=stroke_scale, metavar="0.25..64", help="size of the brush strokes"
    )
    control.add_argument("--strength", type=strength, metavar="0..4", help="as for stylize")
    control.add_argument(
        "--strength-map",
        type=local_path,
        metavar="IMAGE",
        help="as for stylize; the map is stretched over every frame",
    )
    control.add_argument("--keep-colors", action="store_true", help="as for stylize")
    control.add_argument(
        "--start", type=seconds, metavar="TIME", help="time to start at, in seconds or as H:MM:SS"
    )
    control.add_argument(
        "--duration",
        type=seconds,
        metavar="TIME",
        help="length of the part to stylise, in seconds or as H:MM:SS",
    )


def video(options: argparse.Namespace) -> int:
    """Stylise a video.

    Args:
        options: The parsed command line.

    Returns:
        The exit status: 0, or 130 if Ctrl-C or SIGTERM stopped the conversion early.

    Raises:
        FststyleError: An input is missing or unsuitable, or the result cannot be written.
    """
    require_packages("video", "av", *(["cv2"] if getattr(options, "steady", 1) > 0 else []))
    if options.device in ("cuda", "mps"):
        require_packages("train", "torch")
    styles = [find_network(name) for name in style_weights(options.style)]
    _check_paths(options, styles)

    from fststyle.stylize.arrays import read_mask
    from fststyle.stylize.control import Control
    from fststyle.video.convert import convert
    from fststyle.video.encoders import Output, check_video_output
    from fststyle.video.reader import VideoReader
    from fststyle.video.video_stylizer import VideoStylizer

    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 bypasses FFmpeg's log
    output = Output(options.output, **given(options, "codec", "crf"))
    check_video_output(output)
    begin = time.perf_counter()
    with VideoReader(
        options.video,
        **given(options, "size", "start", "duration"),
        square=output.needs_square_pixels,
        copies=_copies(options),
    ) as source:
        if output.is_silent and source.copied:
            _warn(f"{output.suffix[1:]} files contain neither sound nor subtitles.")
        stylizer = VideoStylizer(
            options.style, **given(options, "steady", "smoothing", "device", "threads")
        )
        # If a size is given, the network works at that size by default.
        default_scale = {"scale": 1.0} if given(options, "size") else {}
        settings = given(options, "scale", "strength", "keep_colors")
        maps = {n: read_mask(path) for n, path in given(options, "strength_map").items()}
        control = Control(**{**default_scale, **settings, **maps})

        def work(pixels: Any, seconds: float) -> Any:
            return stylizer.frame(pixels, seconds, control)

        with _ctrl_c() as is_stopped, _bar(source) as on_frame:
            result = convert(
                source,
                replace(output, note=_comment(stylizer)),
                work,
                on_frame=on_frame,
                stop=is_stopped,
            )
    _report(options, source, result, time.perf_counter() - begin, stylizer.cuts)
    return 0 if result.is_whole else _CTRL_C


def _copies(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the types of streams to copy."""
    dropped = given(options, "no_audio", "no_subtitles")
    kinds = {"audio": "no_audio", "subtitle": "no_subtitles"}
    return tuple(kind for kind, option in kinds.items() if option not in dropped)


def _check_paths(options: argparse.Namespace, styles: list[FoundStyle]) -> None:
    """Refuse an output that would replace the video or a style file, even through a link."""
    from fststyle.video.encoders import VIDEO_SUFFIXES

    output = options.output
    if output.suffix.lower() in VIDEO_SUFFIXES:
        check_output(output, suffixes=VIDEO_SUFFIXES)
    maps = given(options, "strength_map").values()
    for path in (options.video, *maps, *(style.path for style in styles)):
        if path.exists() and output.exists() and os.path.samefile(path, output):
            raise CommandError(
                "The result would replace {path}.",
                path=path,
                remedy="Choose another file name with -o.",
                code="replaces_input",
            )


def _comment(stylizer: Any) -> str:
    from fststyle import __version__

    names = " + ".join(dict.fromkeys(info.name for info, _ in stylizer.styles))
    licences = "; ".join(dict.fromkeys(i.licence for i, _ in stylizer.styles if i.licence))
    licence = f" (licence of the style: {licences})" if licences else ""
    return f"Stylised by fststyle {__version__} in the style {names}{licence}."


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Stop gracefully on the first Ctrl-C or SIGTERM.

    A second signal has its usual effect and ends the program immediately.
    """
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

    # With disable=None, tqdm shows no bar if standard error is not a terminal.
    bar = tqdm(total=source.info.frames, unit="frame", disable=None, leave=False)
    with closing(bar):
        yield lambda count: bar.update(count - bar.n)


def _report(
    options: argparse.Namespace,
    source: VideoReader,
    result: ConversionResult,
    taken: float,
    cuts: int,
) -> None:
    info, damage = source.info, source.damage
    if damage.broken:
        count = f"{damage.broken} frame{'s' if damage.broken > 1 else ''}"
        _warn(f"{options.video}: {count} could not be decoded; the previous result is repeated.")
    if damage.truncated and result.is_whole:
        why = damage.truncated
        _warn(f"{options.video} is truncated: it ends after {result.seconds:.1f} s; {why}.")
    if source.left_out:
        kinds = ", ".join(sorted({"sound" if k == "audio" else k for k in source.left_out}))
        number = len(source.left_out)
        streams = "stream has" if number == 1 else "streams have"
        _warn(f"{options.video}: {number} {kinds} {streams} an unknown codec and cannot be copied.")
    if source.resized:
        _warn(f"{options.video}: the size changes; {source.resized} frames were fitted.")
    if not result.is_whole:
        whole = "" if info.seconds is None else f" of {info.seconds:.1f} s"
        _warn(f"Interrupted: {options.output} contains the first {result.seconds:.1f} s{whole}.")
    speed, s = result.frames / taken, "" if result.frames == 1 else "s"
    if given(options, "json"):
        facts = {
            "input": str(options.video),
            "output": str(options.output),
            "style": options.style,
            "width": result.width,
            "height": result.height,
            "frames": result.frames,
            "seconds": round(result.seconds, 3),
            "broken": damage.broken,
            "truncated": bool(damage.truncated),
            "streams_left_out": len(source.left_out),
            "frames_fitted": source.resized,
            "interrupted": not result.is_whole,
            "cuts": cuts,
            "frames_per_second": round(speed, 2),
        }
        print(json.dumps(facts, ensure_ascii=False))
    else:
        print(
            f"{options.output}  {result.width}×{result.height}  {result.frames} frame{s}, "
            f"{result.seconds:.1f} s  {speed:.1f} frames per second"
        )


def _warn(text: str) -> None:
    print(text, file=sys.stderr)
