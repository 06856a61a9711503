"""How the command line reads numbers."""

from __future__ import annotations

import argparse
import importlib.util
import math

from fststyle.errors import SettingError


def whole_number(text: str, least: int = 0, most: int = 2**31) -> int:
    """Read a whole number of the command line.

    Raises:
        argparse.ArgumentTypeError: It is none, or out of range.
    """
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Read a whole number from 1, as `whole_number` does."""
    return whole_number(text, least=1)


def share(text: str) -> float:
    """Read a number from 0 to 1 of the command line.

    Raises:
        argparse.ArgumentTypeError: It is none, or out of range.
    """
    return _number(text, 0, 1)


def stroke_scale(text: str) -> float:
    """Read a size of strokes of the command line.

    Raises:
        argparse.ArgumentTypeError: It is none, or out of range.
    """
    from fststyle.stylize.strokes import HIGHEST_SCALE, LOWEST_SCALE

    return _number(text, LOWEST_SCALE, HIGHEST_SCALE)


def _number(text: str, least: float, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:  # nor is NaN
        raise argparse.ArgumentTypeError(
            f"must be a number from {least:g} to {most:g}, not {text!r}"
        )
    return number


def require_packages(*names: str) -> None:
    """Find out whether packages are there, without loading them.

    Raises:
        SettingError: One is not: only what runs styles has been installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f"This needs {' and '.join(missing)}, which the installation for running styles alone "
            "leaves out; install fststyle with all that it needs (without --no-deps)."
        )
