"""What can go wrong for a user, each with its remedy in the sentence.

::

    FststyleError            any failure a user can cause or mend
    ├── PhotoError           a picture cannot be read, written or found
    ├── FilmError            a film cannot be read or written
    ├── StyleError           a style is unknown, or its file cannot be used
    ├── WeightsError         VGG's weights cannot be found or are not what they should be
    ├── SettingError         a setting is out of range or does not fit another
    ├── TrainingError        a training run cannot start, go on or be resumed
    │   └── DivergedError    training does not converge
    └── QualityError         a trained network has a fault that shows in its pictures

The message is one clear sentence that holds the remedy. The command line prints it
without a traceback and exits with status 1. Anything else that is raised is a bug, and
keeps its traceback.
"""

from __future__ import annotations

import importlib.util


class FststyleError(Exception):
    """Any failure that a user can cause or mend; the message holds the remedy."""


class PhotoError(FststyleError):
    """A picture cannot be read, written or found."""


class FilmError(FststyleError):
    """A film cannot be read or written."""


class StyleError(FststyleError):
    """A style is unknown, or its file cannot be used."""


class WeightsError(FststyleError):
    """VGG's weights cannot be found, or are not what they should be."""


class SettingError(FststyleError):
    """A setting is out of range, or does not fit another one."""


class TrainingError(FststyleError):
    """A training run cannot start, go on or be resumed."""


class DivergedError(TrainingError):
    """Training does not converge: steps keep failing, or the loss does not fall."""


class QualityError(FststyleError):
    """A trained network has a fault that shows; its style file is written all the same."""


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
