"""fststyle: fast neural style transfer, trained in minutes and run in milliseconds.

In Python, ``Stylizer("thanos_poster")(image)`` stylises an image. Importing this package loads
neither torch nor OpenVINO, because `Stylizer` is imported only when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fststyle.errors import (
    FststyleError,
    NoNetworkError,
    PhotoError,
    QualityError,
    SettingError,
    StyleError,
    TrainingError,
    VideoError,
    WeightsError,
)

if TYPE_CHECKING:
    from fststyle.stylize.stylizer import Stylizer

__version__ = "0.1.0"

__all__ = [
    "FststyleError",
    "NoNetworkError",
    "PhotoError",
    "QualityError",
    "SettingError",
    "StyleError",
    "Stylizer",
    "TrainingError",
    "VideoError",
    "WeightsError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import ``Stylizer`` when it is first used."""
    if name == "Stylizer":
        from fststyle.stylize.stylizer import Stylizer

        return Stylizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
