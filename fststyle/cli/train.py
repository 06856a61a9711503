"""``fststyle train``: run training in a separate process."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from fststyle.cli.extras import require_packages


def add_command(commands: Any) -> None:
    """Add ``fststyle train`` to the command line."""
    command = commands.add_parser(
        "train",
        help="train a style",
        description="Train a style, like 'python train.py' in a clone of the repository.",
    )
    command.add_argument(
        "-m", "--multirun", action="store_true", help="one run per value, as in style=one,other"
    )
    command.add_argument(
        "settings",
        nargs=argparse.REMAINDER,
        metavar="KEY=VALUE",
        help="settings, such as style=thanos_poster minutes=5; without settings, list the styles",
    )
    command.set_defaults(run=train)


def check_packages() -> None:
    """Check that the packages for training are installed, without importing them.

    Raises:
        SettingError: A package is missing (code ``missing_package``).
    """
    require_packages("train", "torch", "pytorch_lightning", "hydra")


def train(options: argparse.Namespace) -> int:
    """Train a style in a separate process, because Hydra reads the process's own command line.

    Args:
        options: The parsed command line.

    Returns:
        The exit status of the training run.

    Raises:
        SettingError: A package of the extra ``train`` is missing.
    """
    check_packages()
    flags = ["--multirun"] if options.multirun else []
    # -P: a random.py or torch.py in the current folder must not be imported.
    command = [sys.executable, "-P", "-m", "fststyle.training", *flags, *options.settings]
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}  # as in train.py
    if os.name == "posix":  # this process becomes the training process
        os.execve(sys.executable, command, environment)
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # training also received Ctrl-C and will end by itself
