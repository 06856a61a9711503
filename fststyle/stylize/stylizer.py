"""`Stylizer`: the one object that programs, the command line, folders and videos use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, Unpack, overload

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
from fststyle.stylize.control import Control, ControlSettings, Size
from fststyle.stylize.strokes import default_scale, resized, upscale, working_size

if TYPE_CHECKING:
    from torch import Tensor

Style = str | os.PathLike[str] | Mapping[str, float]
"""One style, or several with their weights, as in `fststyle.stylize.blend.style_weights`."""

_Image = TypeVar("_Image", bound="NDArray[Any] | Tensor")
_Ready = TypeVar("_Ready", bound=ReadyStyle)
_Parts = Sequence[tuple[ReadyStyle, float]]

_DEFAULT: Final = Control()


class Painter(Protocol):
    """Decides how the networks run on an image; for videos it also uses the frame before."""

    def __call__(self, pixels: Pixels, paint: Callable[[Pixels], Pixels], /) -> Pixels:
        """Stylise ``(H, W, 3)`` with ``paint``, which runs the networks."""
        ...


def _paint_once(pixels: Pixels, paint: Callable[[Pixels], Pixels], /) -> Pixels:
    return paint(pixels)


class Stylizer:
    """A trained style, ready to be applied to photos.

    Several threads may share one object. The network stylises one photo at a time, on all
    processor cores.

    Args:
        style: Name of a style, or path of a style file. A blend is written as
            ``"great_wave:0.6,thanos_poster:0.4"`` or as a mapping of names to weights.
        outside: Style for the part outside the mask; by default the photo is kept there.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, as in
            `fststyle.runtime.runner.load_runtime`. Torch is not loaded on the CPU.
        threads: Number of CPU threads; by default OpenVINO chooses.

    Raises:
        StyleError: A style is unknown or its file cannot be used.
        NoNetworkError: A style has no trained network.
        SettingError: ``device`` is unknown or not available, ``threads`` is below 1, or a weight
            is negative.

    Example:
        >>> import numpy as np
        >>> stylizer = Stylizer("thanos_poster", device="cpu")
        >>> stylizer.info.name
        'thanos_poster'
        >>> photo = np.zeros((48, 64, 3), np.uint8)
        >>> stylizer(photo).shape
        (48, 64, 3)
        >>> stylizer(photo, size=32, strength=0.5).shape
        (24, 32, 3)
    """

    def __init__(
        self,
        style: Style,
        *,
        outside: Style | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        load = partial(load_runtime, device=device, threads=threads)
        self._inside: _Parts = load_parts(style, load)
        self._outside: _Parts = [] if outside is None else load_parts(outside, load)
        self._painter: Painter = _paint_once

    @classmethod
    def of(cls, parts: _Parts, *, painter: Painter = _paint_once) -> Stylizer:
        """Make a stylizer from loaded networks, which several stylizers may share.

        Args:
            parts: At least one network, each with its weight. The weights add up to 1.
            painter: Runs the networks on a photo; by default once.

        Returns:
            A stylizer without a style outside the mask.

        Example:
            >>> from functools import partial
            >>> from fststyle.runtime.runner import load_runtime
            >>> parts = load_parts("thanos_poster", partial(load_runtime, device="cpu"))
            >>> Stylizer.of(parts).device
            'cpu'
        """
        stylizer = cls.__new__(cls)
        stylizer._inside, stylizer._outside, stylizer._painter = parts, [], painter
        return stylizer

    @property
    def info(self) -> StyleInfo:
        """Origin and training of the style; for a blend, of the style with the largest weight."""
        return max(self._inside, key=lambda part: part[1])[0].info

    @property
    def styles(self) -> list[tuple[StyleInfo, float]]:
        """The styles of the blend and their weights, which add up to 1."""
        return [(runtime.info, weight) for runtime, weight in self._inside]

    @property
    def styles_outside(self) -> list[tuple[StyleInfo, float]]:
        """The styles outside the mask and their weights; empty if the photo is kept there."""
        return [(runtime.info, weight) for runtime, weight in self._outside]

    @property
    def device(self) -> str:
        """The device that the style runs on: ``cpu``, ``cuda`` or ``mps``."""
        return self._inside[0][0].device

    @overload
    def __call__(
        self, image: str | os.PathLike[str] | Image, **control: Unpack[ControlSettings]
    ) -> Image: ...

    @overload
    def __call__(self, image: _Image, **control: Unpack[ControlSettings]) -> _Image: ...

    def __call__(self, image: Any, **control: Unpack[ControlSettings]) -> Any:
        """Stylise a photo.

        Args:
            image: A path, a pillow image of any mode, an array ``(H, W, C)``, or a torch tensor
                ``(C, H, W)``. Arrays and tensors are uint8, or floating-point in [0, 1], and
                have 3 channels (RGB), 4 (with transparency) or 1. With one more axis in front
                they are several photos of one size. A large photo takes the least memory as
                uint8.
            **control: The arguments of `Control`, such as ``size`` and ``strength``.

        Returns:
            An image of the same type, on the same device, and without ``size`` of the same size;
            for a path, a pillow image. A photo of one channel becomes RGB. A pillow image is
            upright (its EXIF orientation is applied) and has mode RGB, or RGBA if the photo has
            transparency.

        Raises:
            PhotoError: The photo or the mask cannot be read as an image.
            SettingError: A control is out of range, or the array has another shape, type or
                range.
            FststyleError: The photo does not fit into memory.

        Example:
            >>> from PIL import Image
            >>> stylizer = Stylizer("thanos_poster", device="cpu")
            >>> photo = Image.new("RGB", (64, 48), "teal")
            >>> stylizer(photo, strength=0.7, keep_colors=True).size
            (64, 48)
        """
        settings = Control(**control)
        if isinstance(image, str | os.PathLike):
            image = load_photo(os.fspath(image), as_bytes=True)
        elif isinstance(image, Image):
            image = from_pil(image, as_bytes=True)
        elif is_tensor(image):
            array = check_array(array_of_tensor(image), "(channels, height, width)")
            return tensor_like(image, self._array(array, settings))
        else:
            return self._array(check_array(image), settings)
        photo = self.stylize(image, settings)
        return to_pil(photo.pixels, photo.alpha)

    def batch(self, images: Iterable[Any], **control: Unpack[ControlSettings]) -> list[Any]:
        """Stylise several photos, one after another.

        Args:
            images: Photos of any types and sizes that a call accepts.
            **control: The arguments of `Control`, the same for all photos.

        Returns:
            The stylised photos in the same order.

        Raises:
            FststyleError: A photo cannot be stylised; then nothing is returned.

        Example:
            >>> import numpy as np
            >>> stylizer = Stylizer("thanos_poster", device="cpu")
            >>> photos = [np.zeros((48, 64, 3), np.uint8), np.ones((32, 32, 3), np.float32)]
            >>> [result.shape for result in stylizer.batch(photos, strength=0.5)]
            [(48, 64, 3), (32, 32, 3)]
        """
        return [self(image, **control) for image in images]

    def stylize(self, photo: Photo, control: Control = _DEFAULT) -> Photo:
        """Stylise a photo with its transparency, metadata and bits.

        Args:
            photo: A photo from `fststyle.images.load.load_photo`; it is not changed.
            control: The controls. At ``strength=0``, and where the mask is black, the result has
                exactly the photo's pixels.

        Returns:
            The stylised photo; without ``control.size`` it has the photo's own size.

        Raises:
            SettingError: The style outside needs a mask.
            PhotoError: The mask cannot be read as an image.
            FststyleError: The photo does not fit into memory.
        """
        pixels = self.pixels(photo.pixels, control)
        return replace(photo, pixels=pixels, alpha=_fitted_alpha(photo.alpha, control.size))

    def pixels(self, pixels: Pixels, control: Control = _DEFAULT) -> Pixels:
        """Stylise pixels without transparency.

        Bytes are converted to floats only if a control needs them.

        Args:
            pixels: ``(H, W, 3)``; they are not changed.
            control: The controls.

        Returns:
            A new array ``(H, W, 3)`` of the same type.

        Raises:
            SettingError: The style outside needs a mask.
            PhotoError: The mask cannot be read as an image.
            FststyleError: The photo does not fit into memory.
        """
        if control.mask is None and self._outside:
            raise SettingError(
                "A style outside needs a mask.",
                remedy="Set mask to an image that is black where that style belongs.",
                code="mask_missing",
            )
        photo = pixels
        if isinstance(control.size, int):
            photo = resized(pixels, *fitted_size(pixels.shape[0], pixels.shape[1], control.size))
        mask = None if control.mask is None else fitted_mask(control.mask, *photo.shape[:2])
        if control.strength == 0:
            return photo.copy()
        if len(self._inside) == control.strength == 1 and mask is None and not control.keep_colors:
            return self._paint(self._inside, photo, control)
        floats = floats_of(photo)

        def painted(parts: _Parts) -> NDArray[np.float32]:
            result = self._paint(parts, floats, control)
            if control.keep_colors:
                result = keep_colors(floats, result)
            return result if control.strength == 1 else between(floats, result, control.strength)

        result = painted(self._inside)
        if mask is not None:
            result = between(painted(self._outside) if self._outside else floats, result, mask)
        if photo.dtype == np.uint8:
            result *= 255
            np.rint(result, out=result)
        return result.astype(photo.dtype, copy=False)

    def _paint(self, parts: _Parts, photo: Pixels, control: Control) -> Pixels:
        """Run the networks at their working size, and return to the size of the photo."""
        height, width = photo.shape[:2]
        scale = control.scale
        if scale is None:
            scale = default_scale(height, width) if control.size is None else 1.0
        network_size = working_size(height, width, scale)
        network_input = resized(photo, *network_size)

        def paint(pixels: Pixels) -> Pixels:
            # A blend is mixed before upscaling, so that upscaling runs only once.
            results = (runtime(pixels, tile=control.tile) for runtime, _ in parts)
            return mix(results, [weight for _, weight in parts])

        result = self._painter(network_input, paint)
        if network_size == (height, width):
            return result
        if network_size[0] > height or network_size[1] > width:
            return resized(result, height, width)
        return upscale(result, network_input, photo)

    def _array(self, image: NDArray[Any], control: Control) -> NDArray[Any]:
        """Stylise a checked array ``(H, W, C)`` or ``(N, H, W, C)``, and keep its type."""
        if image.ndim == 4:
            return np.stack([self._array(photo, control) for photo in image])
        pixels, alpha = split_array(image)
        result = self.pixels(pixels, control)
        if alpha is not None:
            result = np.dstack((result, _fitted_alpha(alpha, control.size)))
        return result.astype(image.dtype, copy=False)


def load_parts(style: Style, load: Callable[[Path], _Ready]) -> list[tuple[_Ready, float]]:
    """Load the networks of a style or blend.

    Args:
        style: One style, or several with their weights.
        load: Loads the network of a style file.

    Returns:
        The networks and their weights, which add up to 1.

    Raises:
        StyleError: A style is unknown, has no trained network, or its file cannot be used.
        SettingError: A weight is negative.
    """
    weights = style_weights(style).items()
    return [(load(find_network(name).path), weight) for name, weight in weights]


def _fitted_alpha(alpha: Any, size: Size) -> Any:
    return fit_long_side(alpha, size) if alpha is not None and isinstance(size, int) else alpha
