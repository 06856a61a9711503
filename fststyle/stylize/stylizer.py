"""`Stylizer`: the one object that programs, the command line, folders and videos use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import SettingError
from fststyle.images.load import from_pil, load_photo
from fststyle.images.photo import Photo, Pixels, to_pil
from fststyle.images.resize import fit_long_side, fitted_size
from fststyle.runtime.runner import Device, ReadyStyle, load_runtime
from fststyle.styles.find import find_network
from fststyle.styles.info import StyleInfo
from fststyle.stylize.arrays import (
    array_of_tensor,
    check_array,
    fitted_mask,
    floats_of,
    is_tensor,
    split_array,
    tensor_like,
)
from fststyle.stylize.blend import between, keep_colors, mix, style_weights
from fststyle.stylize.strokes import default_scale, resized, upscale, working_size

if TYPE_CHECKING:
    from torch import Tensor

Style = str | os.PathLike[str] | Mapping[str, float]
"""One style, or several with their weights, as in `fststyle.stylize.blend.style_weights`."""

Size = int | Literal["full"] | None

_Picture = TypeVar("_Picture", bound="NDArray[Any] | Tensor")


class Control(TypedDict, total=False):
    """What can be said of each photo; a program may keep it in one dictionary.

    Attributes:
        size: The photo is shrunk first so that its long side has at most so many pixels;
            ``full`` leaves it as it is. The network works at that size, and the result has it.
        scale: The size of the strokes, 0.25 to 64. At 2 they are twice as large as the network
            makes them: it works at half the size, its picture is enlarged, and the photo's fine
            detail put back (`fststyle.stylize.strokes`). At 0.5 it works at twice the size, which
            takes four times as long. By default 1 if ``size`` is given, else 1 up to a long side of
            1280 pixels and beyond that what makes the network work at 1280: 3.2 for a photo of 12
            megapixels, 6.3 for one of 48.
        tile: Side of the tiles in which the network works, in pixels. By default photos that do
            not fit into the memory, or have more than 16 megapixels, are tiled.
        strength: From 0, the photo itself, to 1, the full style, which is the default.
        keep_colors: Keep the photo's colours, and take only the luma of the stylised picture, as
            `fststyle.stylize.blend.keep_colors` does.
        mask: Where to stylise: fully where it is white, not at all where it is black or
            transparent, in part between. A path, a pillow image, or an array or tensor ``(H, W)``
            or ``(H, W, C)`` as a photo has it; one of another size is stretched to the photo.
    """

    size: Size
    scale: float | None
    tile: int | None
    strength: float
    keep_colors: bool
    mask: str | os.PathLike[str] | Image | NDArray[Any] | Tensor | None


class Stylizer:
    """A trained style, ready to be applied to photos: ``Stylizer("thanos_poster")(image)``.

    Several threads may share one object; the network runs for one photo at a time, on all the
    processor's cores.

    Args:
        style: The name of a style, or the path of a style file. Several are mixed as
            ``"great_wave:0.6,thanos_poster:0.4"`` or a mapping of names to weights says.
        outside: The style outside the mask, where otherwise the photo stays as it is.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, as in
            `fststyle.runtime.runner.load_runtime`. On the CPU torch is not loaded.
        threads: Number of threads on the CPU; by default OpenVINO chooses.

    Raises:
        StyleError: A style is unknown, has no trained network, or its file cannot be used.
        SettingError: ``device`` is unknown or not there, ``threads`` is below 1, or weights are
            not from 0.
    """

    # What `fststyle.video.video_stylizer.VideoStylizer` has otherwise: this, and `_painted`.
    _load: Callable[..., ReadyStyle] = staticmethod(load_runtime)

    def __init__(
        self,
        style: Style,
        *,
        outside: Style | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        self._inside = _open(style, device, threads, self._load)
        self._outside = None if outside is None else _open(outside, device, threads, self._load)

    @classmethod
    def of(cls, parts: Sequence[tuple[ReadyStyle, float]]) -> Stylizer:
        """Make one of networks that are loaded already, which many may share.

        Args:
            parts: At least one network, each with its weight; the weights add up to 1.

        Returns:
            As `Stylizer` does of their names.
        """
        stylizer = cls.__new__(cls)
        stylizer._inside, stylizer._outside = list(parts), None
        return stylizer

    @property
    def info(self) -> StyleInfo:
        """Where the style comes from and how it was trained; of a blend, the heaviest one."""
        return max(self._inside, key=lambda part: part[1])[0].info

    @property
    def styles(self) -> list[tuple[StyleInfo, float]]:
        """The styles that are mixed, and their weights, which add up to 1."""
        return [(runtime.info, weight) for runtime, weight in self._inside]

    @property
    def styles_outside(self) -> list[tuple[StyleInfo, float]]:
        """Likewise outside the mask; empty where the photo stays as it is there."""
        return [(runtime.info, weight) for runtime, weight in self._outside or []]

    @property
    def device(self) -> str:
        """Where the style runs: ``cpu``, ``cuda`` or ``mps``."""
        return self._inside[0][0].device

    @overload
    def __call__(
        self, image: str | os.PathLike[str] | Image, **control: Unpack[Control]
    ) -> Image: ...

    @overload
    def __call__(self, image: _Picture, **control: Unpack[Control]) -> _Picture: ...

    def __call__(self, image: Any, **control: Unpack[Control]) -> Any:
        """Stylise a photo.

        Args:
            image: A path; a pillow image of any mode; an array ``(H, W, C)``; or a torch tensor
                ``(C, H, W)``. Arrays and tensors are uint8, or floating-point in [0, 1], and
                have 3 channels, RGB, 4 with transparency, or 1. With an axis more in front
                they are photos of one size. A large photo takes the least memory as uint8.
            **control: As in `Control`.

        Returns:
            The same type, and without ``size`` of the same size, on the same device; for a path
            a pillow image. Of one channel, three are made. A pillow image is upright (its EXIF
            orientation applied), of mode RGB, or RGBA if the photo has transparency.

        Raises:
            PhotoError: A file, or that of the mask, is no picture that can be read.
            SettingError: The array is of another shape, type or range, or ``control`` is.
            FststyleError: The photo is too large for the memory.
        """
        if isinstance(image, str | os.PathLike):
            image = load_photo(os.fspath(image), as_bytes=True)
        elif isinstance(image, Image):
            image = from_pil(image, as_bytes=True)
        elif is_tensor(image):
            return tensor_like(
                image, self._array(array_of_tensor(image), control, "(channels, height, width)")
            )
        else:
            return self._array(image, control)
        photo = self.stylize(image, **control)
        return to_pil(photo.pixels, photo.alpha)

    def batch(self, images: Iterable[Any], **control: Unpack[Control]) -> list[Any]:
        """Stylise photos of any types and sizes, one after another.

        Args:
            images: Each as for a call.
            **control: As in `Control`, the same for all of them.

        Returns:
            As for a call, in the same order.

        Raises:
            FststyleError: As for a call; none are returned then.
        """
        return [self(image, **control) for image in images]

    def stylize(
        self,
        photo: Photo,
        *,
        size: Size = None,
        scale: float | None = None,
        tile: int | None = None,
        strength: float = 1.0,
        keep_colors: bool = False,
        mask: str | os.PathLike[str] | Image | NDArray[Any] | Tensor | None = None,
    ) -> Photo:
        """Stylise a photo.

        Args:
            photo: As `fststyle.images.load.load_photo` returns it; it is left as it is.
            size: As in `Control`, and so all that follows.
            scale: See there.
            tile: See there.
            strength: At 0 the pixels are exactly the photo's, at 1 the network's.
            keep_colors: See there.
            mask: Likewise, where it is black they are exactly the photo's.

        Returns:
            The stylised photo, without ``size`` of the photo's own size, with its transparency,
            metadata and bits.

        Raises:
            SettingError: One of these is out of range, or a style outside lacks its mask.
            PhotoError: The mask's file is no picture that can be read.
            FststyleError: The photo is too large for the memory.
        """
        control = Control(
            size=size,
            scale=scale,
            tile=tile,
            strength=strength,
            keep_colors=keep_colors,
            mask=mask,
        )
        pixels = self._stylize(photo.pixels, control)
        return replace(photo, pixels=pixels, alpha=_fitted_alpha(photo.alpha, size))

    def _stylize(self, pixels: Pixels, control: Control) -> Pixels:
        """Stylise ``(H, W, 3)``; bytes are made floats only where a control needs them."""
        size, scale, mask = control.get("size"), control.get("scale"), control.get("mask")
        strength = _checked_strength(control.get("strength", 1.0))
        keeps_colors = control.get("keep_colors", False)
        if mask is None and self._outside is not None:
            raise SettingError("A style outside needs a mask that says where that is: mask=….")
        if isinstance(size, bool) or (not isinstance(size, int | None) and size != "full"):
            raise SettingError(f"size must be a whole number of pixels or full, not {size!r}.")
        seen = pixels
        if isinstance(size, int):
            seen = resized(pixels, *fitted_size(pixels.shape[0], pixels.shape[1], size))
        height, width = seen.shape[:2]
        if scale is None:
            scale = default_scale(height, width) if size is None else 1.0
        low = working_size(height, width, scale)
        where = None if mask is None else fitted_mask(mask, height, width)
        if strength == 0:
            return seen.copy()
        tile = control.get("tile")
        if len(self._inside) == strength == 1 and where is None and not keeps_colors:
            return self._paint(self._inside, seen, low, tile)
        floats = floats_of(seen)

        def painted(parts: _Parts) -> NDArray[np.float32]:
            picture = self._paint(parts, floats, low, tile)
            if keeps_colors:
                picture = keep_colors(floats, picture)
            return picture if strength == 1 else between(floats, picture, strength)

        picture = painted(self._inside)
        if where is not None:
            outside = floats if self._outside is None else painted(self._outside)
            picture = between(outside, picture, where)
        if seen.dtype == np.uint8:
            picture *= 255
            np.rint(picture, out=picture)
        return picture.astype(seen.dtype, copy=False)

    def _paint(
        self, parts: _Parts, pixels: Pixels, low: tuple[int, int], tile: int | None
    ) -> Pixels:
        """Run the networks at the height and width ``low``, and return to the photo's own."""
        height, width = pixels.shape[:2]
        seen = resized(pixels, *low)

        def paint(photo: Pixels) -> Pixels:
            # Only of one are there bytes. They are mixed before enlarging, which is then done once.
            pictures: Any = (runtime(photo, tile=tile) for runtime, _ in parts)
            mixed: Any = mix(pictures, [weight for _, weight in parts])
            picture: Pixels = mixed
            return picture

        picture = self._painted(seen, paint)
        if low == (height, width):
            return picture
        if low[0] > height or low[1] > width:
            return resized(picture, height, width)
        return upscale(picture, seen, pixels)

    def _painted(self, seen: Pixels, paint: Callable[[Pixels], Pixels]) -> Pixels:
        """Paint a photo, at the size at which the network sees it."""
        return paint(seen)

    def _array(self, image: object, control: Control, layout: str = "") -> NDArray[Any]:
        """Stylise an array ``(H, W, C)`` or ``(N, H, W, C)``, and keep its type."""
        image = check_array(image, layout)
        if image.ndim == 4:
            return np.stack([self._array(photo, control) for photo in image])
        pixels, alpha = split_array(image)
        picture = self._stylize(pixels, control)
        if alpha is not None:
            picture = np.dstack((picture, _fitted_alpha(alpha, control.get("size"))))
        return picture.astype(image.dtype, copy=False)


_Parts = list[tuple[ReadyStyle, float]]


def _open(
    style: Style, device: Device, threads: int | None, load: Callable[..., ReadyStyle]
) -> _Parts:
    parts = []
    for name, weight in style_weights(style).items():
        found = find_network(name)
        parts.append((load(found.path, device=device, threads=threads), weight))
    return parts


def _fitted_alpha(alpha: Any, size: Size) -> Any:
    return fit_long_side(alpha, size) if alpha is not None and isinstance(size, int) else alpha


def _checked_strength(strength: float) -> float:
    try:
        number = float(strength)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise SettingError(f"strength must be a number from 0 to 1, not {strength!r}.")
    return number
