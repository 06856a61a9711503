"""Entry point for ``fststyle`` and ``python -m fststyle``.

The program exits cleanly on SIGTERM, on Ctrl-C, and when its terminal is closed (SIGHUP), even if
its modules are still loading: it removes temporary files and does not show a traceback.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command line with the process's arguments and exit with its status."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        # Ignored if the program was started with nohup. Windows does not have this signal.
        closed = getattr(signal, "SIGHUP", None)
        if closed is not None and signal.getsignal(closed) is not signal.SIG_IGN:
            signal.signal(closed, lambda *_: signal.raise_signal(signal.SIGTERM))
        from fststyle.cli import main as cli

        cli.main()
    except (KeyboardInterrupt, ImportError) as error:
        # If Ctrl-C hits a compiled module, it is the cause of an ImportError.
        if KeyboardInterrupt not in (type(error), type(error.__cause__)):
            raise
        sys.stderr.write("Interrupted.\n")
        raise SystemExit(130) from None


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
