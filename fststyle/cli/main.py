"""The command ``fststyle``: its parser, and how it ends."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence

from fststyle import __version__
from fststyle.cli import (
    doctor,
    evaluate,
    interop,
    optimize,
    serve,
    styles,
    stylize,
    train,
    video,
)
from fststyle.cli.errors import sentence
from fststyle.errors import FststyleError, record_error
from fststyle.files import cannot_write

# Their imports are cheap: what a command alone needs, such as OpenVINO, it imports when it runs.
_COMMANDS = (stylize, video, optimize, evaluate, styles, train, interop, serve, doctor)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: The arguments after the program's name; by default those of this process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("fststyle").setLevel(logging.INFO)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except FststyleError as error:
        record_error(error)
        print(f"Error: {sentence(error)}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC) or error.filename is not None:
            raise
        _give_up_output(error)
        status = 1
    raise SystemExit(status)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line, with all commands."""
    top = argparse.ArgumentParser(
        prog="fststyle", description="Fast neural style: train a style, and apply it to photos."
    )
    top.add_argument("--version", action="version", version=f"fststyle {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_command(commands)
    return top


def _open_closed_streams() -> None:
    """Open standard streams that were closed, so that no other file takes their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _give_up_output(error: OSError) -> None:
    """Drop the standard output after an error: its reader is gone, or its disk is full."""
    if error.errno != errno.EPIPE:  # after `fststyle styles | head -1` nobody reads a message
        print(f"Error: {cannot_write('standard output', error)}", file=sys.stderr)
    # The rest of it goes nowhere, so that closing it raises nothing.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
