"""`Stylizer`: the one object that programs, the command line, folders and videos use."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import SettingError, StyleError
from fststyle.images import Photo, fit_long_side, from_pil, to_pil
from fststyle.runtime import Device, load_runtime
from fststyle.strokes import default_scale, enlarge, fitted_size, resize, working_size
from fststyle.stylefile import StyleInfo
from fststyle.styles import FoundStyle, art_folder, find_style
from fststyle.tiling import Pixels

Size = int | Literal["full"] | None


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
    def __call__(
        self,
        image: Image,
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
    ) -> Image: ...

    @overload
    def __call__(
        self,
        image: NDArray[np.uint8],
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
    ) -> NDArray[np.uint8]: ...

    @overload
    def __call__(
        self,
        image: NDArray[np.float32],
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
    ) -> NDArray[np.float32]: ...

    def __call__(
        self,
        image: Image | NDArray[Any],
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
    ) -> Image | NDArray[Any]:
        """Stylise a photo.

        Args:
            image: A pillow image of any mode, or an array ``(H, W, 3)``, RGB, of uint8 or of
                float32 in [0, 1]. A large photo takes the least memory as uint8.
            size: As in `stylize`.
            scale: As in `stylize`.
            tile: As in `stylize`.

        Returns:
            The same type, and without ``size`` of the same size. A pillow image is upright (its
            EXIF orientation applied), of mode RGB, or RGBA if the photo has transparency.

        Raises:
            SettingError: The array is of another shape, type or range, or a setting is out of
                range.
            FststyleError: The photo is too large for the memory.
        """
        if isinstance(image, Image):
            photo = self.stylize(from_pil(image), size=size, scale=scale, tile=tile)
            return to_pil(photo.pixels, photo.alpha)
        return self._stylize(_to_pixels(image), size, scale, tile)

    def stylize(
        self,
        photo: Photo,
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
    ) -> Photo:
        """Stylise a photo.

        Args:
            photo: As `fststyle.images.load_photo` returns it; it is left as it is.
            size: The photo is shrunk first so that its long side has at most so many pixels;
                ``full`` leaves it as it is. The network works at that size, and the result has
                it.
            scale: The size of the strokes, 0.25 to 64. At 2 they are twice as large as the
                network makes them: it works at half the size, its picture is enlarged, and the
                photo's fine detail put back (`fststyle.strokes`). At 0.5 it works at twice
                the size, which takes four times as long. By default 1 if ``size`` is given, else
                1 up to a long side of 1280 pixels and beyond that what makes the network work
                at 1280: 3.2 for a photo of 12 megapixels, 6.3 for one of 48.
            tile: Side of the tiles in which the network works, in pixels. By default photos that
                do not fit into the memory, or have more than 16 megapixels, are tiled.

        Returns:
            The stylised photo, without ``size`` of the photo's own size, with its transparency.

        Raises:
            SettingError: A setting is out of range.
            FststyleError: The photo is too large for the memory.
        """
        alpha = photo.alpha
        if alpha is not None and isinstance(size, int) and not isinstance(size, bool):
            alpha = fit_long_side(alpha, size)
        return Photo(self._stylize(photo.pixels, size, scale, tile), alpha)

    def _stylize(self, pixels: Pixels, size: Size, scale: float | None, tile: int | None) -> Pixels:
        if isinstance(size, bool) or not isinstance(size, int | None) and size != "full":
            raise SettingError(f"size must be a whole number of pixels or full, not {size!r}.")
        if isinstance(size, int):
            pixels = resize(pixels, *fitted_size(pixels.shape[0], pixels.shape[1], size))
        height, width = pixels.shape[:2]
        if scale is None:
            scale = default_scale(height, width) if size is None else 1.0
        low, high = working_size(height, width, scale)
        if (low, high) == (height, width):
            return self._runtime(pixels, tile=tile)
        seen = resize(pixels, low, high)
        picture = self._runtime(seen, tile=tile)
        if scale < 1:
            return resize(picture, height, width)
        return enlarge(picture, seen, pixels)


def _to_pixels(image: object) -> NDArray[Any]:
    """Check an array that a user gave."""
    if not isinstance(image, np.ndarray):
        raise SettingError(f"The photo must be a pillow image or a numpy array, not {image!r:.60}.")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise SettingError(
            f"The photo must be an array (height, width, 3) in RGB, not {image.shape}."
        )
    if image.dtype == np.uint8:
        return image
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
