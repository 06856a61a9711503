"""Errors that users can cause, and functions that check settings and raise them.

::

    FststyleError            any problem that a user can cause or fix
    ├── PhotoError           an image cannot be found, read or written
    ├── VideoError           a video cannot be read or written
    ├── StyleError           a style is unknown, or its file cannot be used
    │   └── NoNetworkError   a style is only an image; it has no trained network
    ├── WeightsError         VGG's weights cannot be found or are not the expected ones
    ├── SettingError         a setting is out of range or conflicts with another one
    ├── TrainingError        a training run cannot start, continue or be resumed
    │   └── DivergedError    training does not converge
    └── QualityError         the results of a trained network have a visible fault

Errors carry structured data, not just a message: programs can branch on ``code``, the command line
replaces ``remedy`` with one that names the relevant option, and the web page omits ``path``.
``str(error)`` is the complete message: what is wrong, and what to do. The command line prints this
message without a traceback and exits with status 1. Any other exception is a bug, and its traceback
is shown.
"""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

_PATH: Final = "{path}"


class FststyleError(Exception):
    """Any problem that a user can cause or fix.

    Args:
        problem: A sentence that says what is wrong. ``{path}`` is replaced with the path.
        path: The file or folder with the problem.
        remedy: A sentence that says what to do, in terms of the Python API.
        code: A short name for the problem, such as ``not_found``. The default is the code of the
            class.
        details: Named values that can be used to phrase a different remedy.

    Example:
        >>> error = PhotoError("{path} is empty.", path="a.jpg", remedy="Choose another file.")
        >>> str(error)
        'a.jpg is empty. Choose another file.'
        >>> error.code
        'photo'
        >>> error.describe(path="The photo")
        'The photo is empty. Choose another file.'
    """

    default_code: ClassVar[str] = "error"

    def __init__(
        self,
        problem: str,
        *,
        path: str | os.PathLike[str] | None = None,
        remedy: str = "",
        code: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = None if path is None else os.fspath(path)
        self.remedy = remedy
        self.code = code or self.default_code
        self.details = dict(details or {})

    def describe(self, *, path: str | None = None, remedy: str | None = None) -> str:
        """Return the complete message: what is wrong, and what to do.

        This method is not called ``message``, because torch would then pass that keyword when it
        recreates an error from a DataLoader worker.

        Args:
            path: Name to show instead of the error's path.
            remedy: Remedy to show instead of the error's own remedy.
        """
        name = (self.path or "") if path is None else path
        problem = self.problem.replace(_PATH, name)
        remedy = self.remedy if remedy is None else remedy
        return f"{problem} {remedy}" if remedy else problem

    def __str__(self) -> str:
        return self.describe()


class PhotoError(FststyleError):
    """An image cannot be found, read or written.

    Example:
        >>> from fststyle.images.load import load_photo
        >>> try:
        ...     load_photo("missing.jpg")
        ... except PhotoError as error:
        ...     print(error.code, error.path)
        not_found missing.jpg
    """

    default_code = "photo"


class VideoError(FststyleError):
    """A video cannot be read or written.

    Example:
        >>> error = VideoError("Cannot read {path} as a video.", path="a.mp4", code="cannot_read")
        >>> str(error), error.code
        ('Cannot read a.mp4 as a video.', 'cannot_read')
    """

    default_code = "video"


class StyleError(FststyleError):
    """A style is unknown, or its file cannot be used.

    Example:
        >>> from fststyle import Stylizer
        >>> try:
        ...     Stylizer("grate_wave")
        ... except StyleError as error:
        ...     print("great_wave" in str(error))
        True
    """

    default_code = "style"


class NoNetworkError(StyleError):
    """A style is only an image: no network has been trained for it.

    Example:
        >>> from fststyle.styles.find import art_folder, find_network
        >>> try:
        ...     find_network(str(art_folder() / "ink_wash.jpg"))
        ... except NoNetworkError as error:
        ...     print(error.code)
        no_network
    """

    default_code = "no_network"


class WeightsError(FststyleError):
    """VGG's weights cannot be found, or are not the expected ones.

    Example:
        >>> error = WeightsError("{path} is damaged.", path="vgg.safetensors", remedy="Delete it.")
        >>> str(error)
        'vgg.safetensors is damaged. Delete it.'
    """

    default_code = "weights"


class SettingError(FststyleError):
    """A setting is out of range or conflicts with another one.

    Example:
        >>> from fststyle import Stylizer
        >>> try:
        ...     Stylizer("great_wave", threads=0)
        ... except SettingError as error:
        ...     print(error.code)
        setting
    """

    default_code = "setting"


class TrainingError(FststyleError):
    """A training run cannot start, continue or be resumed.

    Example:
        >>> error = TrainingError("Cannot resume {path}.", path="run", remedy="Start again.")
        >>> str(error)
        'Cannot resume run. Start again.'
    """

    default_code = "training"


class DivergedError(TrainingError):
    """Training does not converge: steps keep failing, or the loss does not fall."""

    default_code = "diverged"


class QualityError(FststyleError):
    """The results of a trained network have a visible fault. The style file is written anyway.

    Example:
        >>> error = QualityError("{path} draws a grid.", path="mine.onnx")
        >>> error.code, error.path
        ('quality', 'mine.onnx')
    """

    default_code = "quality"


ERROR_FILE: Final = "FSTSTYLE_ERROR_FILE"
"""Environment variable with the path of the file that `record_error` writes."""


def record_error(error: FststyleError) -> None:
    """Write an error as JSON to the file named in `ERROR_FILE`, if this variable is set.

    The web page's server reads the file when a training or repainting job has failed. The file
    contains ``kind``, ``code``, ``problem``, ``path`` and ``remedy``.
    """
    path = os.environ.get(ERROR_FILE)
    if not path:
        return
    facts = {key: getattr(error, key) for key in ("code", "problem", "path", "remedy")}
    facts["kind"] = type(error).__name__
    with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as file:
        json.dump(facts, file)


def check_number(
    name: str,
    value: Any,
    low: float = 0,
    high: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
    below: bool = False,
) -> None:
    """Check that a setting is a number within its range.

    Args:
        name: Name of the setting, for the error message.
        value: Value to check. Booleans and NaN do not count as numbers.
        low: Smallest allowed value.
        high: Largest allowed value.
        whole: Allow only whole numbers.
        above: Allow only values above ``low``, not ``low`` itself.
        below: Allow only values below ``high``, not ``high`` itself.

    Raises:
        SettingError: The value is not allowed (code ``setting``).

    Example:
        >>> check_number("data.size", 256, 32, whole=True)
        >>> check_number("strength", 1.5, 0, 1)
        Traceback (most recent call last):
        ...
        fststyle.errors.SettingError: strength must be a number from 0 to 1, not 1.5.
    """
    kind: Any = int if whole else numbers.Real  # includes numpy's floats
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    is_limit = is_number and ((above and value == low) or (below and value == high))
    if is_number and low <= value <= high and not is_limit:
        return
    number = "a whole number" if whole else "a number"
    start = f"above {low:.10g}" if above else f"from {low:.10g}" if low > -math.inf else ""
    end = f"{'below' if below else 'up to' if above or not start else 'to'} {high:.10g}"
    parts = [part for part in (start, end if high < math.inf else "") if part]
    limits = (" and " if above or below else " ").join(parts)
    raise SettingError(f"{name} must be {number} {limits}".rstrip() + f", not {value!r:.80}.")


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Check that a setting is one of the allowed choices.

    Raises:
        SettingError: The value is not allowed (code ``setting``).

    Example:
        >>> check_choice("device", "cpu", ("cpu", "cuda"))
    """
    if value in choices and not isinstance(value, bool):
        return
    names = ", ".join(map(str, choices))
    raise SettingError(f"{name} must be one of {names}, not {value!r:.80}.")
