"""`Stylizer`: the one object that programs, the command line, folders and videos use."""

from __future__ import annotations

import os
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import SettingError, StyleError
from fststyle.images import Photo, fit_long_side, from_pil, to_pil
from fststyle.runtime import Device, load_runtime
from fststyle.stylefile import StyleInfo
from fststyle.styles import FoundStyle, art_folder, find_style


class Stylizer:
    """A trained style, ready to be applied to photos: ``Stylizer("thanos_poster")(image)``.

    An object must not be called by several threads at once; give each thread its own.

    Args:
        style: The name of a style, or the path of a style file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, as in `fststyle.runtime.load_runtime`.
            On the CPU torch is not loaded.
        threads: Number of threads on the CPU; by default OpenVINO chooses.

    Raises:
        StyleError: The style is unknown, has no trained network, or its file cannot be used.
        SettingError: ``device`` is unknown or not there, or ``threads`` is below 1.
    """

    def __init__(
        self,
        style: str | os.PathLike[str],
        *,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        found = find_style(os.fspath(style))
        if found.kind == "picture":
            raise _untrained(found)
        self._runtime = load_runtime(found.path, device=device, threads=threads)

    @property
    def info(self) -> StyleInfo:
        """Where the style comes from and how it was trained."""
        return self._runtime.info

    @property
    def device(self) -> str:
        """Where the style runs: ``cpu``, ``cuda`` or ``mps``."""
        return self._runtime.device

    @overload
    def __call__(self, image: Image, *, size: int | None = None) -> Image: ...

    @overload
    def __call__(
        self, image: NDArray[np.uint8], *, size: int | None = None
    ) -> NDArray[np.uint8]: ...

    @overload
    def __call__(
        self, image: NDArray[np.float32], *, size: int | None = None
    ) -> NDArray[np.float32]: ...

    def __call__(
        self, image: Image | NDArray[Any], *, size: int | None = None
    ) -> Image | NDArray[Any]:
        """Stylise a photo.

        Args:
            image: A pillow image of any mode, or an array ``(H, W, 3)``, RGB, of uint8 or of
                float32 in [0, 1].
            size: As in `stylize`.

        Returns:
            The same type, and without ``size`` of the same size. A pillow image is upright (its
            EXIF orientation applied), of mode RGB, or RGBA if the photo has transparency.

        Raises:
            SettingError: The array is of another shape, type or range, or ``size`` is below 1.
            FststyleError: The photo is too large for the memory.
        """
        if isinstance(image, Image):
            photo = self.stylize(from_pil(image), size=size)
            return to_pil(photo.pixels, photo.alpha)
        pixels = _to_pixels(image)
        picture = self.stylize(Photo(pixels), size=size).pixels
        if image.dtype == np.uint8:
            return np.rint(picture * 255).astype(np.uint8)
        return picture

    def stylize(self, photo: Photo, *, size: int | None = None) -> Photo:
        """Stylise a photo.

        Args:
            photo: As `fststyle.images.load_photo` returns it; it is left as it is.
            size: The photo is shrunk first so that its long side has at most so many pixels.

        Returns:
            The stylised photo, of the size that the network saw, with the photo's transparency.

        Raises:
            SettingError: ``size`` is below 1.
            FststyleError: The photo is too large for the memory.
        """
        pixels, alpha = photo.pixels, photo.alpha
        if size is not None:
            if isinstance(size, bool) or not isinstance(size, int):
                raise SettingError(f"size must be a whole number of pixels, not {size!r}.")
            pixels = fit_long_side(pixels, size)
            alpha = None if alpha is None else fit_long_side(alpha, size)
        return Photo(self._runtime(pixels), alpha)


def _to_pixels(image: object) -> NDArray[np.float32]:
    """Check an array that a user gave, and convert it to float32 in [0, 1]."""
    if not isinstance(image, np.ndarray):
        raise SettingError(f"The photo must be a pillow image or a numpy array, not {image!r:.60}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise SettingError(
            f"The photo must be an array (height, width, 3) in RGB, not {image.shape}."
        )
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    if image.dtype != np.float32:
        raise SettingError(
            f"The photo must be an array of uint8 or float32, not {image.dtype}; "
            "convert it with .astype(np.float32)."
        )
    # Rounding may carry a value a little over the edge. NaN fails the comparison.
    lowest, highest = float(image.min()), float(image.max())
    if not (lowest >= -0.001 and highest <= 1.001):
        raise SettingError(
            f"A float32 photo must be in [0, 1], not from {lowest:g} to {highest:g}; "
            "divide it by 255, or clip it."
        )
    return image


def _untrained(found: FoundStyle) -> StyleError:
    if found.path.parent == art_folder():
        command = f"style={found.name}"
    else:
        command = f"style.image={found.path} style.name=NAME"
    return StyleError(
        f"{found.name} is a picture without a trained network; train one with "
        f"'python train.py {command}', or repaint a single photo with 'fststyle optimize'."
    )
