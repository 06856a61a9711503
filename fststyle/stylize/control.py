"""The controls for stylising a photo, such as its size, brush strokes and style strength."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union, get_args

from numpy.typing import NDArray
from PIL.Image import Image

from fststyle.errors import SettingError, check_choice, check_number
from fststyle.styles.dial import STRONGEST
from fststyle.stylize.strokes import HIGHEST_SCALE, LOWEST_SCALE

if TYPE_CHECKING:
    from torch import Tensor

Size = int | Literal["full"] | None
Faces = Literal["gentle"]
Mask = Union[str, os.PathLike[str], Image, NDArray[Any], "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """The controls that `fststyle.Stylizer` accepts as keyword arguments.

    Attributes:
        size: Maximum length of the result's long side, in pixels. A larger photo is shrunk before
            it is stylised. ``full`` keeps the photo's own size and makes ``scale`` default to 1.
        scale: Size of the brush strokes, from 0.25 to 64. At 2, strokes are twice as large as
            those that the network paints: the photo is stylised at half its size, the result is
            upscaled, and the photo's fine detail is added back (`fststyle.stylize.strokes`). At
            0.5 the photo is stylised at twice its size, which takes four times as long. The
            default is 1 if ``size`` is given. Otherwise the default is 1 for photos with a long
            side of up to 1280 pixels. Larger photos are stylised at 1280 pixels by default, so that
            the scale is 3.2 for a 12-megapixel photo and 6.3 for a 48-megapixel photo.
        tile: Side length of the tiles that the network processes, in pixels. By default, only
            photos that do not fit into memory or that exceed 16 megapixels are tiled.
        strength: Strength of the style, from 0 (the unchanged photo) to 4. At 1, the style is
            applied as it was trained. Styles with a dial compute each strength from 0.25 with
            their network. Weaker results, and those of other styles, are blended with the photo.
            Styles without a dial can only be applied at strengths up to 1.
        strength_map: A strength for each pixel. Where the map is white, ``strength`` applies, and
            where it is black or transparent, the photo is unchanged. The types are those of
            ``mask``, and a map of a different size is stretched in the same way.
        faces: ``gentle`` weakens the style on faces, with soft edges, so that they look natural
            (`fststyle.stylize.faces`). By default, faces are treated like everything else.
        subject: Factor for the strength on the subject, from 0 to 4. Unless both factors are 1,
            the subject is found with `fststyle.stylize.subject.find_subject`, which needs the
            extra ``subject``.
        background: Factor for the strength behind the subject, from 0 to 4.
        keep_colors: Keep the photo's colours and use only the brightness of the stylised image
            (see `fststyle.stylize.blend.keep_colors`).
        mask: Area to stylise. The style is applied fully where the mask is white, not at all
            where it is black or transparent, and partly in between. A mask is a path, a Pillow
            image, or an array or tensor of shape ``(H, W)`` or ``(H, W, C)``. A mask of a
            different size is stretched to the size of the photo.
        repaint: Paint the result of a large photo once more at its full size, at half the
            strength, so that it is sharp. This takes longer, and only styles with a dial can do
            it.

    Raises:
        SettingError: A value is out of range.

    Example:
        >>> from dataclasses import replace
        >>> control = Control(size=800, strength=0.6)
        >>> replace(control, keep_colors=True)
        Control(size=800, scale=None, tile=None, strength=0.6, keep_colors=True, mask=None, \
        strength_map=None, repaint=True, faces=None, subject=1.0, background=1.0)
        >>> Control(strength=5)
        Traceback (most recent call last):
        ...
        fststyle.errors.SettingError: strength must be a number from 0 to 4, not 5.
    """

    size: Size = None
    scale: float | None = None
    tile: int | None = None
    strength: float = 1.0
    keep_colors: bool = False
    mask: Mask | None = None
    strength_map: Mask | None = None
    repaint: bool = True
    faces: Faces | None = None
    subject: float = 1.0
    background: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            check_choice("size", self.size, ("full",))
        elif self.size is not None:
            check_number("size", self.size, 1, whole=True)
        if self.scale is not None:
            check_number("scale", self.scale, LOWEST_SCALE, HIGHEST_SCALE)
        if self.tile is not None:
            check_number("tile", self.tile, 1, whole=True)
        check_number("strength", self.strength, 0, STRONGEST)
        if self.faces is not None:
            check_choice("faces", self.faces, get_args(Faces))
        for name in ("subject", "background"):
            factor = getattr(self, name)
            check_number(name, factor, 0, STRONGEST)
            if self.strength * factor > STRONGEST:
                raise SettingError(
                    f"The strength of the {name}, {self.strength:g} × {factor:g}, exceeds "
                    f"{STRONGEST:g}.",
                    remedy=f"Choose a smaller strength or factor for the {name}.",
                )

    @property
    def has_subject(self) -> bool:
        """``True`` if the subject or the background has another strength."""
        return (self.subject, self.background) != (1, 1)

    @property
    def highest_strength(self) -> float:
        """The highest strength that a part of the photo can have."""
        return self.strength * max(self.subject, self.background)


class ControlSettings(TypedDict, total=False):
    """The types of `Control`'s arguments, for type checkers. A test compares the two classes."""

    size: Size
    scale: float | None
    tile: int | None
    strength: float
    keep_colors: bool
    mask: Mask | None
    strength_map: Mask | None
    repaint: bool
    faces: Faces | None
    subject: float
    background: float
