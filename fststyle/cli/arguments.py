"""Read command-line values from text: numbers, sizes, times and layers."""

from __future__ import annotations

import argparse
import math
import re
from typing import Any, Final, Literal

STYLE_HELP: Final = "name of a style (see 'fststyle styles'), a style file, or an image"
"""Description of a style's name, for several commands."""


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the options that were given, by name.

    Args:
        options: The parsed command line. Options with ``default=argparse.SUPPRESS`` are only
            present if they were given.
        names: Names of the options to look for.

    Returns:
        The values by name, to be passed as keyword arguments to a function.

    Example:
        >>> given(argparse.Namespace(size=256), "size", "strength")
        {'size': 256}
    """
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def whole_number(text: str, least: int = 0, most: int = 2**31) -> int:
    """Read a whole number.

    Raises:
        argparse.ArgumentTypeError: The text is not a whole number, or the number is out of range.
    """
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        limit = f" to {most}" if most < 2**31 else ""
        raise argparse.ArgumentTypeError(
            f"must be a whole number from {least}{limit}, not {text!r}"
        )
    return int(text)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    return whole_number(text, least=1)


def quality(text: str) -> int:
    """Read a quality setting for JPEG, WebP or AVIF, from 1 to 100."""
    return whole_number(text, least=1, most=100)


def port(text: str) -> int:
    """Read a port number."""
    return whole_number(text, most=65_535)


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    return _number(text, 0, 1)


def strength(text: str) -> float:
    """Read the strength of a style."""
    from fststyle.styles.dial import STRONGEST

    return _number(text, 0, STRONGEST)


def stroke_scale(text: str) -> float:
    """Read a scale factor for brush strokes."""
    from fststyle.stylize.strokes import HIGHEST_SCALE, LOWEST_SCALE

    return _number(text, LOWEST_SCALE, HIGHEST_SCALE)


def pixels_or_full(text: str) -> int | Literal["full"]:
    """Read a size in pixels, or ``full``."""
    if text == "full":
        return "full"
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be a number of pixels, at least 1, or full, not {text!r}"
        ) from None


def seconds(text: str) -> float:
    """Read a time in seconds, or in the form ``H:MM:SS`` or ``M:SS``."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be in seconds or H:MM:SS, not {text!r}")
    hours, minutes, rest = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + rest


def height_and_width(text: str) -> tuple[int, int]:
    """Read a height and a width, in the form ``720x1280``."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})[x×]([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be a height and width, such as 720x1280, not {text!r}"
        )
    return int(match[1]), int(match[2])


def layer_weights(text: str) -> dict[str, float]:
    """Read layers with optional weights. The default weight is 1.

    Example:
        >>> layer_weights("relu1_2,relu3_3:2")
        {'relu1_2': 1.0, 'relu3_3': 2.0}
    """
    layers = {}
    for item in text.split(","):
        name, colon, weight = item.partition(":")
        try:
            layers[name.strip()] = float(weight) if colon else 1.0
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be layers with weights, such as relu1_2,relu3_3:2, not {text!r}"
            ) from None
    return layers


def whole_numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers separated by commas."""
    return tuple(whole_number(item.strip()) for item in text.split(","))


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:  # false for NaN
        raise argparse.ArgumentTypeError(
            f"must be a number from {least:g} to {most:g}, not {text!r}"
        )
    return number
