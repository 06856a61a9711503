"""Conversion between photos and the arrays, tensors and masks that a program uses."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pillow
from PIL.Image import Image

from fststyle.errors import SettingError
from fststyle.images.load import from_pil, load_photo
from fststyle.images.photo import Photo
from fststyle.stylize.blend import luma

if TYPE_CHECKING:
    from torch import Tensor


def read_mask(mask: object) -> NDArray[np.float32]:
    """Read a mask from any of the types that `fststyle.stylize.control.Control` accepts.

    Args:
        mask: A path, a Pillow image, a NumPy array or a torch tensor.

    Returns:
        An array ``(H, W)`` in [0, 1]: the mask's luma, multiplied by its opacity.

    Raises:
        PhotoError: The file cannot be read as an image.
        SettingError: The array has an unsupported shape, type or range of values.
    """
    if isinstance(mask, str | os.PathLike):
        photo = load_photo(os.fspath(mask))
    elif isinstance(mask, Image):
        photo = from_pil(mask)
    else:
        array = array_of_tensor(mask) if is_tensor(mask) else mask
        if isinstance(array, np.ndarray):
            array = array.astype(np.float32) if array.dtype == bool else array
            array = array[..., None] if array.ndim == 2 else array
        array = check_array(array, "(height, width)", "mask")
        if array.ndim != 3:
            raise SettingError(f"The mask must be one image, not {len(array)}.", code="bad_array")
        pixels, alpha = split_array(array)
        photo = Photo(floats_of(pixels), None if alpha is None else floats_of(alpha))
    opaque = luma(photo.pixels)
    return opaque if photo.alpha is None else opaque * photo.alpha


def fitted_mask(mask: object, height: int, width: int) -> NDArray[np.float32]:
    """Read a mask with `read_mask`, and stretch it to ``(height, width)``."""
    return stretched(read_mask(mask), height, width)


def stretched(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Stretch a mask or map ``(H, W)`` to ``(height, width)``."""
    if values.shape == (height, width):
        return values
    # Not Lanczos: its ringing would let a little of the style show next to every edge.
    plane = pillow.fromarray(np.ascontiguousarray(values))
    return np.asarray(plane.resize((width, height), pillow.Resampling.BILINEAR))


def check_array(
    image: object, layout: str = "(height, width, channels)", name: str = "photo"
) -> NDArray[Any]:
    """Check an array that a user has passed.

    Args:
        image: Array ``(H, W, C)`` or ``(N, H, W, C)`` that has 1, 3 or 4 channels, and uint8 or
            floating-point values.
        layout: Names of the array's axes, as shown in the error message.
        name: Name of the argument, as shown in the error message.

    Returns:
        ``image``, unchanged.

    Raises:
        SettingError: The array has an unsupported shape or type (code ``bad_array``).

    Example:
        >>> check_array(np.zeros((8, 8, 3), np.uint8)).shape
        (8, 8, 3)
    """
    if not isinstance(image, np.ndarray):
        raise SettingError(
            f"The {name} must be a path, a Pillow image, a NumPy array or a torch tensor, "
            f"not {image!r:.60}.",
            code="bad_array",
        )
    if image.ndim not in (3, 4) or image.shape[-1] not in (1, 3, 4) or image.size == 0:
        raise SettingError(
            f"The {name} must be an array of shape {layout} with 1, 3 (RGB) or 4 channels, or "
            f"several such images stacked in one array; its shape is {image.shape}.",
            code="bad_array",
        )
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise SettingError(
            f"The {name} must contain uint8 values from 0 to 255 or floating-point values from 0 "
            f"to 1, but its dtype is {image.dtype}.",
            remedy="Divide the array by its white level, for example image / 65535 for uint16.",
            code="bad_array",
        )
    return image


def split_array(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split a checked array ``(H, W, C)`` into its colour and its transparency.

    Args:
        image: An array with 1, 3 or 4 channels that `check_array` has accepted.

    Returns:
        The colour ``(H, W, 3)``, and the transparency ``(H, W)`` if there are 4 channels, otherwise
        ``None``. A uint8 array stays uint8; any other array becomes float32 in [0, 1].

    Raises:
        SettingError: Floating-point values are outside [0, 1] (code ``bad_array``).
    """
    if image.dtype != np.uint8:
        image = image.astype(np.float32, copy=False)
        # Rounding errors may put a value slightly outside the range. NaN fails the comparison.
        lowest, highest = float(image.min()), float(image.max())
        if not (lowest >= -0.001 and highest <= 1.001):
            raise SettingError(
                "The values of a floating-point photo must be in [0, 1], not from "
                f"{lowest:g} to {highest:g}.",
                remedy="Divide the values by 255, or clip them.",
                code="bad_array",
            )
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2), None
    alpha = np.ascontiguousarray(image[..., 3]) if image.shape[2] == 4 else None
    return image[..., :3], alpha


def floats_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """Convert a uint8 array to float32 in [0, 1]; return a float32 array unchanged."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return values


def is_tensor(image: object) -> bool:
    """Return whether an object is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")  # a program that has a tensor has already imported torch
    return torch is not None and isinstance(image, torch.Tensor)


def array_of_tensor(tensor: Any) -> NDArray[Any]:
    """Convert a tensor ``(…, C, H, W)`` to an array ``(…, H, W, C)``.

    A tensor ``(H, W)`` keeps its axes.
    """
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # NumPy does not have this type
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return np.moveaxis(array, -3, -1) if array.ndim > 2 else array


def tensor_like(tensor: Any, image: NDArray[Any]) -> Tensor:
    """Convert an array ``(…, H, W, C)`` to a tensor ``(…, C, H, W)``.

    The result has the dtype and the device of ``tensor``.
    """
    import torch

    planes = np.ascontiguousarray(np.moveaxis(image, -1, -3))
    return torch.from_numpy(planes).to(tensor.device, tensor.dtype)
