"""Parts of a photo that get another strength: faces, the subject and the background."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fststyle.images.photo import Pixels
from fststyle.images.resize import fitted_size
from fststyle.stylize.arrays import stretched
from fststyle.stylize.control import Control
from fststyle.stylize.faces import find_faces, gentle_map
from fststyle.stylize.subject import find_subject

_SIDE: Final = 1280  # of the map of factors, which is stretched over the photo


class Regions(NamedTuple):
    """The parts of a photo that get another strength.

    Attributes:
        faces: Number of faces, or ``None`` if faces are treated like everything else.
        factors: Map ``(h, w)`` of factors for the strength, to be stretched over the photo, or
            ``None`` if all factors are 1.
    """

    faces: int | None = None
    factors: NDArray[np.float32] | None = None


def find_regions(pixels: Pixels, control: Control) -> Regions:
    """Find the parts of a photo for which the controls ask.

    Args:
        pixels: Photo ``(H, W, 3)``.
        control: The controls.

    Raises:
        FststyleError: The subject cannot be found, as in `fststyle.stylize.subject.find_subject`.
    """
    height, width = fitted_size(pixels.shape[0], pixels.shape[1], _SIDE)
    factors, count = None, None
    if control.has_subject:
        mask = stretched(find_subject(pixels), height, width)
        subject, background = np.float32(control.subject), np.float32(control.background)
        factors = background + (subject - background) * mask
    if control.faces is not None:
        faces = find_faces(pixels)
        count = len(faces)
        if faces:
            gentle = gentle_map(faces, height, width)
            factors = gentle if factors is None else factors * gentle
    return Regions(count, factors)
