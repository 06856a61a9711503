"""The command ``fststyle``: its parser and its exit status."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from fststyle import __version__
from fststyle.cli.errors import sentence
from fststyle.cli.local_files import local_files
from fststyle.errors import FststyleError, record_error
from fststyle.files import cannot_write

# Module of each command in fststyle.cli. Only the module of the given command is imported, which
# saves a tenth of the time of a one-shot run.
_MODULES: Final = {
    "stylize": "stylize", "video": "video", "optimize": "optimize", "evaluate": "evaluate",
    "styles": "styles", "info": "styles", "train": "train", "import": "interop",
    "export": "interop", "serve": "serve", "doctor": "doctor",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: Arguments after the program's name. By default, those of this process.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("fststyle").setLevel(logging.INFO)
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may contain characters that the terminal's encoding does not support.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with local_files():
            options = parser(arguments[0] if arguments else None).parse_args(arguments)
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


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Create the command-line parser.

    Args:
        command: Name of a command, to include only the commands of its module. Any other value
            includes all commands.
    """
    top = argparse.ArgumentParser(
        prog="fststyle",
        description="Fast neural style transfer: train a style, and apply it to photos.",
    )
    top.add_argument("--version", action="version", version=f"fststyle {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    chosen = _MODULES.get(command or "")
    for name in dict.fromkeys(_MODULES.values()) if chosen is None else (chosen,):
        importlib.import_module(f"fststyle.cli.{name}").add_command(commands)
    return top


def _open_closed_streams() -> None:
    """Reopen closed standard streams, so that no other file gets their file descriptors."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _give_up_output(error: OSError) -> None:
    """Discard further standard output, because its reader is gone or its disk is full."""
    if error.errno != errno.EPIPE:  # no message after `fststyle styles | head -1`
        print(f"Error: {cannot_write('standard output', error)}", file=sys.stderr)
    # Send the remaining output to the null device, so that closing the stream does not fail.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
