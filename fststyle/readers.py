"""How the command line reads numbers."""

from __future__ import annotations

import argparse


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
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return number


def stroke_scale(text: str) -> float:
    """Read a size of strokes of the command line.

    Raises:
        argparse.ArgumentTypeError: It is none, or out of range.
    """
    from fststyle.strokes import HIGHEST_SCALE, LOWEST_SCALE

    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not LOWEST_SCALE <= number <= HIGHEST_SCALE:
        raise argparse.ArgumentTypeError(
            f"must be a number from {LOWEST_SCALE:g} to {HIGHEST_SCALE:g}, not {text!r}"
        )
    return number
