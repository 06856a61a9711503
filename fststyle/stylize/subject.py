"""Separating a photo's subject from its background with rembg (the extra ``subject``).

The network, U²-Net (Apache 2.0 licence), runs on this computer. rembg downloads it on first use.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import FststyleError, SettingError
from fststyle.images.photo import Pixels, to_pil
from fststyle.images.resize import fitted_size
from fststyle.stylize.arrays import floats_of
from fststyle.stylize.strokes import resized

PACKAGES: Final = ("rembg", "onnxruntime", "numba")
"""The packages that separating a subject needs."""

MODEL_MEGABYTES: Final = 176
"""Size of the download on first use."""

# rembg also offers services that receive the photo. This one computes locally.
_MODEL: Final = "u2net"
_SIDE: Final = 1024


def missing_model() -> Path | None:
    """Return where the network will be downloaded to, or ``None`` if it already exists.

    Raises:
        SettingError: A package is missing (code ``missing_package``).
    """
    kind = _kind()
    if kind.resolve_existing(f"{_MODEL}.onnx") is not None:
        return None
    return Path(kind.model_dir()) / f"{_MODEL}.onnx"


def find_subject(pixels: Pixels) -> NDArray[np.float32]:
    """Find the subject of a photo. On first use, this downloads the network.

    Args:
        pixels: Photo ``(H, W, 3)``, uint8 or float32 in [0, 1].

    Returns:
        A mask ``(h, w)`` of the photo's proportions: 1 for the subject, 0 for the background.

    Raises:
        SettingError: A package is missing (code ``missing_package``).
        FststyleError: The network cannot be downloaded or read (code ``no_subject_model``).
    """
    session = _session()
    small = resized(pixels, *fitted_size(pixels.shape[0], pixels.shape[1], _SIDE))
    with np.errstate(invalid="ignore", divide="ignore"):  # if all pixels have the same score
        (mask,) = session.predict(to_pil(floats_of(small)))
    return np.asarray(mask, np.float32) / np.float32(255)


def _kind() -> Any:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingError(
            f"Finding the subject needs {' and '.join(missing)}, which cannot be found.",
            remedy="Install the extra 'subject' of fststyle.",
            code="missing_package",
            details={"packages": missing, "extra": "subject"},
        )
    import numba

    config: Any = numba.config
    # rembg imports functions for cutting out subjects, which numba would compile for minutes. They
    # are not used here.
    before, config.DISABLE_JIT = config.DISABLE_JIT, True
    try:
        from rembg.sessions import sessions
    finally:
        config.DISABLE_JIT = before
    return sessions[_MODEL]


@cache
def _session() -> Any:
    path = missing_model()
    from rembg import new_session

    try:
        # rembg's other choices of providers warn if a GPU cannot be used.
        return new_session(_MODEL, providers=["CPUExecutionProvider"])
    except Exception as error:  # of requests, pooch, or ONNX Runtime
        if path is None:
            path = Path(_kind().resolve_existing(f"{_MODEL}.onnx"))
            problem, remedy = "Cannot read the network {path}.", "Delete it, and try again."
        else:
            problem = "The network that finds the subject cannot be downloaded to {path}."
            remedy = "Connect to the internet, or copy the file from another computer."
        raise FststyleError(problem, path=path, remedy=remedy, code="no_subject_model") from error
