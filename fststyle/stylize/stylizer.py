"""`Stylizer`: the object behind the Python API, the command line, and file processing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import SettingError
from fststyle.images.load import from_pil, load_photo
from fststyle.images.photo import Photo, Pixels, to_pil
from fststyle.images.resize import fitted_size
from fststyle.images.transparency import fill_transparent, fit_transparent
from fststyle.runtime.runner import Device, ReadyStyle, load_runtime
from fststyle.styles.dial import Strength, style_share
from fststyle.styles.find import find_network
from fststyle.styles.info import StyleInfo
from fststyle.stylize.arrays import (
    array_of_tensor,
    check_array,
    fitted_mask,
    floats_of,
    is_tensor,
    split_array,
    stretched,
    tensor_like,
)
from fststyle.stylize.blend import between, keep_colors, mix, style_weights
from fststyle.stylize.control import Control, ControlSettings, Size
from fststyle.stylize.regions import Regions, find_regions
from fststyle.stylize.strokes import (
    MOST_UPSCALED,
    REPAINT,
    default_scale,
    resized,
    upscale,
    working_size,
)

if TYPE_CHECKING:
    from torch import Tensor

Style = str | os.PathLike[str] | Mapping[str, float]
"""One style, or a blend of styles, as `fststyle.stylize.blend.style_weights` accepts it."""

_Image = TypeVar("_Image", bound="NDArray[Any] | Tensor")
_Ready = TypeVar("_Ready", bound=ReadyStyle)
_Parts = Sequence[tuple[ReadyStyle, float]]

_DEFAULT: Final = Control()


class Painter(Protocol):
    """Strategy for running the networks on an image. A painter may use the previous frame."""

    def __call__(self, pixels: Pixels, paint: Callable[[Pixels], Pixels], /) -> Pixels:
        """Stylise pixels ``(H, W, 3)`` with ``paint``, which runs the networks."""
        ...


def _paint_once(pixels: Pixels, paint: Callable[[Pixels], Pixels], /) -> Pixels:
    return paint(pixels)


class Stylizer:
    """A trained style, ready to be applied to photos.

    Several threads may share one stylizer. A stylizer processes one photo at a time, on all CPU
    cores.

    Args:
        style: Name of a style, or path to a style file. A blend is written as
            ``"great_wave:0.6,thanos_poster:0.4"`` or as a mapping of names to weights.
        outside: Style for the area outside the mask. By default this area is not stylised.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, as in
            `fststyle.runtime.runner.load_runtime`. On the CPU, PyTorch is not imported.
        threads: Number of CPU threads. OpenVINO decides by default.

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
        """Create a stylizer from networks that are already loaded and may be shared.

        Args:
            parts: At least one network, each with its weight. The weights add up to 1.
            painter: Strategy for running the networks on a photo. By default each network runs
                once.

        Returns:
            A stylizer that leaves the photo unchanged outside the mask.

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
        """Origin and training of the style or, in a blend, of the style with the largest weight."""
        return max(self._inside, key=lambda part: part[1])[0].info

    @property
    def styles(self) -> list[tuple[StyleInfo, float]]:
        """The styles of the blend and their weights, which add up to 1."""
        return [(runtime.info, weight) for runtime, weight in self._inside]

    @property
    def styles_outside(self) -> list[tuple[StyleInfo, float]]:
        """The styles for the area outside the mask, and their weights. May be empty."""
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
            image: A path, a Pillow image of any mode, an array ``(H, W, C)``, or a torch tensor
                ``(C, H, W)``. Arrays and tensors must be uint8, or floating-point in [0, 1],
                and have 3 channels (RGB), 4 (RGB and transparency) or 1 (grey). An additional
                first axis holds several photos of the same size. A large photo needs the least
                memory as uint8.
            **control: Arguments for `Control`, such as ``size`` and ``strength``.

        Returns:
            The stylised photo, of the same type and on the same device as ``image``. For a path,
            the result is a Pillow image. The size is unchanged unless ``size`` is given. A grey
            photo becomes RGB. A Pillow image is upright (its EXIF orientation is applied) and has
            the mode RGB, or RGBA if the photo has transparency.

        Raises:
            PhotoError: The photo or the mask cannot be read as an image.
            SettingError: A control is out of range, or the array has an unsupported shape, type or
                range of values.
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
            images: Photos of any type that `__call__` accepts. Types and sizes may differ.
            **control: Arguments for `Control`, which are used for all photos.

        Returns:
            The stylised photos in the same order.

        Raises:
            FststyleError: A photo cannot be stylised. In this case, none of the results are
                returned.

        Example:
            >>> import numpy as np
            >>> stylizer = Stylizer("thanos_poster", device="cpu")
            >>> photos = [np.zeros((48, 64, 3), np.uint8), np.ones((32, 32, 3), np.float32)]
            >>> [result.shape for result in stylizer.batch(photos, strength=0.5)]
            [(48, 64, 3), (32, 32, 3)]
        """
        return [self(image, **control) for image in images]

    def stylize(
        self, photo: Photo, control: Control = _DEFAULT, regions: Regions | None = None
    ) -> Photo:
        """Stylise a photo, and keep its transparency, metadata and bit depth.

        Args:
            photo: A photo from `fststyle.images.load.load_photo`, which is not modified.
            control: The controls. At ``strength=0`` or where the mask is black, the photo's pixels
                are unchanged.
            regions: The faces and the subject, if they have already been found with
                `fststyle.stylize.regions.find_regions`.

        Returns:
            The stylised photo, of the same size as ``photo`` unless ``control.size`` is given.

        Raises:
            SettingError: The controls do not suit the styles, as in `check`.
            PhotoError: The mask or the map cannot be read as an image.
            FststyleError: The photo does not fit into memory, or its subject cannot be found.
        """
        pixels, alpha = _prepared(photo.pixels, photo.alpha, control.size)
        return replace(photo, pixels=self.pixels(pixels, control, regions), alpha=alpha)

    def check(self, control: Control) -> None:
        """Check that controls suit the styles.

        Args:
            control: The controls.

        Raises:
            SettingError: There is a style for the area outside the mask, but no mask (code
                ``mask_missing``), or the strength is above 1, but a style has no dial
                (``no_dial``).
        """
        if control.mask is None and self._outside:
            raise SettingError(
                "A style outside the mask needs a mask.",
                remedy="Set mask to an image that is black where that style should be applied.",
                code="mask_missing",
            )
        fixed = [r.info.name for r, _ in (*self._inside, *self._outside) if not r.has_dial]
        if control.highest_strength > 1 and fixed:
            raise SettingError(
                f"The style {fixed[0]} has no dial, so its strength can be at most 1, not "
                f"{control.highest_strength:g}.",
                remedy="Choose a strength from 0 to 1, or a style that was trained with a dial.",
                code="no_dial",
            )

    def pixels(
        self, pixels: Pixels, control: Control = _DEFAULT, regions: Regions | None = None
    ) -> Pixels:
        """Stylise the pixels of a photo without transparency.

        To save time and memory, uint8 pixels are converted to floats only if a control requires it.

        Args:
            pixels: Pixels ``(H, W, 3)``, which are not modified.
            control: The controls.
            regions: The faces and the subject, if they have already been found.

        Returns:
            A new array ``(H, W, 3)`` of the same dtype.

        Raises:
            SettingError: The controls do not suit the styles, as in `check`.
            PhotoError: The mask or the map cannot be read as an image.
            FststyleError: The photo does not fit into memory, or its subject cannot be found.
        """
        self.check(control)
        photo = pixels
        if isinstance(control.size, int):
            photo = resized(pixels, *fitted_size(pixels.shape[0], pixels.shape[1], control.size))
        mask = None if control.mask is None else fitted_mask(control.mask, *photo.shape[:2])
        if control.strength == 0:
            return photo.copy()
        strength: Strength = float(control.strength)
        if control.strength_map is not None:
            strength = np.float32(strength) * fitted_mask(control.strength_map, *photo.shape[:2])
        factors = (regions or find_regions(pixels, control)).factors
        if factors is not None:
            strength = np.asarray(strength * stretched(factors, *photo.shape[:2]), np.float32)
        is_plain = mask is None and not control.keep_colors and len(self._inside) == 1
        if is_plain and _is_one(_common_share(self._inside, strength)):
            return self._paint(self._inside, photo, control, strength)
        floats = floats_of(photo)

        def painted(parts: _Parts) -> NDArray[np.float32]:
            result = self._paint(parts, floats, control, strength)
            if control.keep_colors:
                result = keep_colors(floats, result)
            share = _common_share(parts, strength)
            if share is None:  # each result is already blended, but upscaling may have changed it
                share = np.sign(strength)
            return result if _is_one(share) else between(floats, result, share)

        result = painted(self._inside)
        if mask is not None:
            result = between(painted(self._outside) if self._outside else floats, result, mask)
        if photo.dtype == np.uint8:
            result *= 255
            np.rint(result, out=result)
        return result.astype(photo.dtype, copy=False)

    def _paint(self, parts: _Parts, photo: Pixels, control: Control, strength: Strength) -> Pixels:
        """Run the networks at their working size, and resize the result to the photo's size."""
        height, width = photo.shape[:2]
        scale = control.scale
        if scale is None:
            scale = default_scale(height, width) if control.size is None else 1.0
        network_size = working_size(height, width, scale)
        network_input = resized(photo, *network_size)

        def paint(pixels: Any, factor: float = 1.0) -> Any:
            local: Strength = strength if factor == 1 else factor * strength
            if isinstance(local, np.ndarray):
                local = stretched(local, *pixels.shape[:2])

            def run(runtime: ReadyStyle) -> Any:
                result = runtime(pixels, tile=control.tile, strength=local)
                if _common_share(parts, local) is not None:
                    return result
                return between(pixels, result, _own_share(runtime, local))

            # The results of a blend are mixed before upscaling, so that only one image is upscaled.
            return mix((run(runtime) for runtime, _ in parts), [weight for _, weight in parts])

        result = self._painter(network_input, paint)
        if network_size == (height, width):
            return result
        if network_size[0] > height or network_size[1] > width:
            return resized(result, height, width)
        result = upscale(result, network_input, photo)
        is_soft = height * width > MOST_UPSCALED * network_size[0] * network_size[1]
        is_photo = self._painter is _paint_once  # not a frame of a video
        has_dial = all(runtime.has_dial for runtime, _ in parts)
        if control.repaint and is_soft and is_photo and has_dial:
            once: Any = result
            repainted = paint(once, REPAINT)
            if isinstance(strength, np.ndarray):
                # The second pass gives weakly painted parts, which still have the photo's colours,
                # a colour cast, because it adapts to the colours of the others.
                full = min(1.0, max(float(strength.max()), 1e-30))
                share = np.minimum(1, strength / full).astype(np.float32)
                repainted = between(once, repainted, share**4)
            result = repainted
        return result

    def _array(self, image: NDArray[Any], control: Control) -> NDArray[Any]:
        """Stylise a checked array ``(H, W, C)`` or ``(N, H, W, C)``, and keep its dtype."""
        if image.ndim == 4:
            return np.stack([self._array(photo, control) for photo in image])
        pixels, alpha = _prepared(*split_array(image), control.size)
        result: NDArray[Any] = self.pixels(pixels, control)
        if alpha is not None:
            result = np.dstack((result, alpha))
        return result.astype(image.dtype, copy=False)


def load_parts(style: Style, load: Callable[..., _Ready]) -> list[tuple[_Ready, float]]:
    """Load the networks of a style or a blend.

    Args:
        style: One style, or a blend of styles.
        load: Function that loads a network, given the path of its style file and, as ``style``,
            the name of the style in the file.

    Returns:
        The networks and their weights, which add up to 1.

    Raises:
        StyleError: A style is unknown, has no trained network, or its file cannot be used.
        SettingError: A weight is negative.
    """
    weights = style_weights(style).items()
    found = [(find_network(name), weight) for name, weight in weights]
    return [(load(style.path, style=style.style), weight) for style, weight in found]


def _own_share(runtime: ReadyStyle, strength: Strength) -> Strength:
    """Return the share of a network's result, from 0 to 1. The rest is the photo."""
    return style_share(strength) if runtime.has_dial else strength


def _common_share(parts: _Parts, strength: Strength) -> Strength | None:
    """Return the share of all networks' results, or ``None`` if only some of them have a dial."""
    if len({runtime.has_dial for runtime, _ in parts}) > 1:
        return None
    return _own_share(parts[0][0], strength)


def _is_one(share: Strength | None) -> bool:
    return isinstance(share, float) and share == 1


def _prepared(pixels: Any, alpha: Any, size: Size) -> tuple[Any, Any]:
    """Resize an image with transparency, and replace the colours of invisible pixels."""
    if alpha is None:
        return pixels, alpha
    pixels = fill_transparent(pixels, alpha)
    return fit_transparent(pixels, alpha, size) if isinstance(size, int) else (pixels, alpha)
