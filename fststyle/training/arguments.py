"""Arguments of ``train.py``: names, texts and paths are taken as they were typed.

Hydra parses every value, so that a folder named ``2023_05`` would become the number 202305, and
``Tom's cat.jpg`` a syntax error. The values of settings that can only be text are quoted here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException

_PATHS: Final = (
    "data.root", "output_dir", "style.image", "vgg_weights", "paintings", "init",
    "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip
_TEXTS: Final = (
    *_PATHS, "style.name", "style.title", "style.artist", "style.source", "style.licence"
)  # fmt: skip


def as_typed(arguments: Iterable[str]) -> list[str]:
    r"""Quote the values of text settings where Hydra would not take them as they were typed.

    A ``~`` at the beginning of a path is replaced by the user's home folder, which shells do not do
    after an equals sign. Values that are null, quoted, or several values for a sweep, keep their
    meaning.

    Args:
        arguments: Arguments of the command line, such as ``data.root=2023_05``.

    Returns:
        The arguments for Hydra.

    Example:
        >>> as_typed(["data.root=2023_05", "style.image=Tom's cat.jpg", "steps=100"])
        ["data.root='2023_05'", "style.image='Tom\\'s cat.jpg'", 'steps=100']
    """
    arguments = list(arguments)
    in_sweep = any(argument in ("-m", "--multirun") for argument in arguments)
    return [_as_typed(argument, in_sweep) for argument in arguments]


def quoted(text: str) -> str:
    """Quote a text so that Hydra takes it literally."""
    # Backslashes have a meaning only before a quote, and are then doubled.
    inner = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text)
    return f"'{inner}'"


def _as_typed(argument: str, in_sweep: bool) -> str:
    key, sign, text = argument.partition("=")
    if not sign or key.lstrip("+") not in _TEXTS:
        return argument
    if key.lstrip("+") in _PATHS:
        text = os.path.expanduser(text)
    value = _parsed(f"{key}={text}")
    if isinstance(value, ChoiceSweep) and in_sweep:
        if value.simple_form and not all(isinstance(item, str) for item in value.list):
            items = [item.strip() for item in text.split(",")]
            text = ",".join(
                item if _is_text(_parsed(f"x={item}")) else quoted(item) for item in items
            )
        return f"{key}={text}"
    return f"{key}={text if _is_text(value) else quoted(text)}"


def _is_text(value: Any) -> bool:
    # Hydra's quoted strings are subclasses of str; null and function calls keep their meaning.
    return value is None or isinstance(value, str)


def _parsed(argument: str) -> Any:
    """Parse an argument. The result is a number if Hydra cannot parse it, so that it is quoted."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException:
        return 0
    return override._value if override.is_sweep_override() else override.value()
