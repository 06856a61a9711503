"""What pillow reads but leaves as it is: colour by an ICC profile, and deep greys."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile that our pictures are tagged with, always the same bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Bytes 24 to 36 are the time of creation: now. The same picture shall give the same file.
    return profile[:24] + bytes.fromhex("07d0 0001 0001 0000 0000 0000") + profile[36:]


def is_srgb(profile: bytes) -> bool:
    """Tell the most frequent profiles of sRGB, with which there is nothing to convert."""
    try:
        description = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return description.strip() in ("sRGB IEC61966-2.1", "sRGB built-in", "sRGB")


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert a picture to sRGB by its embedded ICC profile.

    Args:
        image: Of one of the modes L, RGB and CMYK, or one that converts to RGB.
        profile: One that is broken or of another kind than the picture is ignored.

    Returns:
        An image of mode RGB, or ``image`` itself if there is nothing to convert.
    """
    if is_srgb(profile):
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space == "RGB " and image.mode != "CMYK":
            image = image.convert("RGB")
        return (
            ImageCms.profileToProfile(
                image,
                source,
                ImageCms.createProfile("sRGB"),
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
            or image
        )
    except (ImageCms.PyCMSError, OSError):
        return image


def deep_grey(image: Image.Image) -> NDArray[np.float32]:
    """Read greyscale of more than 8 bits with all its precision.

    Args:
        image: Of one of the modes I;16, I and F.

    Returns:
        ``(H, W)`` in [0, 1]; not a number becomes 0.
    """
    values = np.asarray(image)
    if image.mode == "F":
        return np.clip(np.nan_to_num(values.astype(np.float32), nan=0.0), 0.0, 1.0)
    # Pillow keeps 16-bit values in I;16 or I, and 32-bit ones in I, as signed whether they are
    # or not: take the narrowest range that holds them.
    unsigned = values.view(np.uint32) if values.dtype == np.int32 else values
    highest = next(top for top in (2**16 - 1, 2**31 - 1, 2**32 - 1) if unsigned.max() <= top)
    return unsigned.astype(np.float32) / np.float32(highest)
