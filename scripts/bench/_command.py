"""Command-line options and error handling shared by the benchmarks."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path

from _records import add_record_option

from fststyle.errors import FststyleError


def training_parser(description: str | None) -> argparse.ArgumentParser:
    """Create a parser with the options shared by all benchmarks that train networks."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, required=True, metavar="FOLDER", help="photographs to train on")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder for the results")
    add("--size", type=int, default=256, help="side of the crops in pixels (256)")
    add("--held-out", type=int, default=8, help="maximum number of photographs to measure on (8)")
    add_record_option(parser)
    return parser


def minutes(text: str) -> float:
    """Parse a number of minutes, which must be greater than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"minutes must be greater than 0, not {value:g}")
    return value


def minutes_list(text: str) -> list[float]:
    """Parse a comma-separated list of minutes."""
    return [minutes(part) for part in text.split(",")]


def run_benchmark(
    work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace
) -> None:
    """Run a benchmark. If an error occurs that the user can fix, print it and exit."""
    # Lightning's messages only concern its own defaults.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    try:
        work(arguments)
    except FststyleError as error:
        raise SystemExit(f"Error: {error}") from None
    except KeyboardInterrupt:
        sys.stderr.write(
            "Interrupted. Run the same command again to continue; finished runs are not repeated.\n"
        )
        raise SystemExit(130) from None
