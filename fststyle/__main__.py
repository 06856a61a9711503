"""``fststyle`` and ``python -m fststyle``: the command line, from the first moment on.

Ctrl-C while its modules are still loading, and SIGTERM at any time, end it as Ctrl-C does later:
in order, without a traceback, and with temporary files removed.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command line on the process's own arguments and exit with its status."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        from fststyle.cli import main as cli

        cli.main()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        raise SystemExit(130) from None
    except ImportError as error:  # so says a compiled module that it hit
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.stderr.write("Interrupted.\n")
        raise SystemExit(130) from None


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
