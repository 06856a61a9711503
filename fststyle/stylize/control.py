"""The controls of a stylised photo: its size, its strokes, and how much of the style it gets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import check_choice, check_number
from fststyle.stylize.strokes import HIGHEST_SCALE, LOWEST_SCALE

if TYPE_CHECKING:
    from torch import Tensor

Size = int | Literal["full"] | None


@dataclass(frozen=True, kw_only=True)
class Control:
    """The controls of `fststyle.Stylizer`, which takes them as keyword arguments.

    Attributes:
        size: Largest long side of the result, in pixels. A larger photo is shrunk before it is
            stylised. ``full`` keeps the photo's own size and makes ``scale`` 1 by default.
        scale: Size of the brush strokes, from 0.25 to 64. At 2 they are twice as large as the
            network paints them: the network works at half the size, its result is upscaled, and
            the photo's fine detail is added back (`fststyle.stylize.strokes`). At 0.5 the network
            works at twice the size, which takes four times as long. The default is 1 if ``size``
            is given. Otherwise it is 1 up to a long side of 1280 pixels, and for larger photos
            the value that makes the network work at 1280: 3.2 for a photo of 12 megapixels, 6.3
            for one of 48.
        tile: Side of the tiles that the network works on, in pixels. By default only photos that
            do not fit into memory, or have more than 16 megapixels, are tiled.
        strength: Amount of the style, from 0 (the photo itself) to 1 (the full style).
        keep_colors: Keep the photo's colours and use only the brightness of the stylised image,
            as in `fststyle.stylize.blend.keep_colors`.
        mask: Where to stylise: fully where the mask is white, not at all where it is black or
            transparent, and partly in between. A path, a pillow image, or an array or tensor
            ``(H, W)`` or ``(H, W, C)``. A mask of another size is stretched to the photo.

    Raises:
        SettingError: A value is out of range.

    Example:
        >>> from dataclasses import replace
        >>> control = Control(size=800, strength=0.6)
        >>> replace(control, keep_colors=True)
        Control(size=800, scale=None, tile=None, strength=0.6, keep_colors=True, mask=None)
        >>> Control(strength=2)
        Traceback (most recent call last):
        ...
        fststyle.errors.SettingError: strength must be a number from 0 to 1, not 2.
    """

    size: Size = None
    scale: float | None = None
    tile: int | None = None
    strength: float = 1.0
    keep_colors: bool = False
    mask: str | os.PathLike[str] | Image | NDArray[Any] | Tensor | None = None

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            check_choice("size", self.size, ("full",))
        elif self.size is not None:
            check_number("size", self.size, 1, whole=True)
        if self.scale is not None:
            check_number("scale", self.scale, LOWEST_SCALE, HIGHEST_SCALE)
        if self.tile is not None:
            check_number("tile", self.tile, 1, whole=True)
        check_number("strength", self.strength, 0, 1)


class ControlSettings(TypedDict, total=False):
    """The types of `Control`'s arguments, for type checkers; a test compares the two."""

    size: Size
    scale: float | None
    tile: int | None
    strength: float
    keep_colors: bool
    mask: str | os.PathLike[str] | Image | NDArray[Any] | Tensor | None
