"""What programs hand over: arrays, tensors and masks, to photos and back."""

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
    """Read a mask, as `Control` has it.

    Args:
        mask: A path, a pillow image, an array or a tensor.

    Returns:
        ``(H, W)`` in [0, 1]: its luma, times its opacity.

    Raises:
        PhotoError: Its file is no picture that can be read.
        SettingError: The array is of another shape, type or range.
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
            raise SettingError(f"The mask must be one picture, not {len(array)}.")
        pixels, alpha = split_array(array)
        photo = Photo(floats_of(pixels), None if alpha is None else floats_of(alpha))
    opaque = luma(photo.pixels)
    return opaque if photo.alpha is None else opaque * photo.alpha


def fitted_mask(mask: object, height: int, width: int) -> NDArray[np.float32]:
    """Read a mask as `read_mask` does, and stretch it to ``(height, width)``."""
    where = read_mask(mask)
    if where.shape == (height, width):
        return where
    # Not Lanczos's filter, which rings: a little style would appear beside every edge.
    plane = pillow.fromarray(np.ascontiguousarray(where))
    return np.asarray(plane.resize((width, height), pillow.Resampling.BILINEAR))


def check_array(image: object, layout: str, what: str = "photo") -> NDArray[Any]:
    """Check an array that a user gave.

    Args:
        image: Should be ``(H, W, C)`` or ``(N, H, W, C)`` with 1, 3 or 4 channels, of uint8 or
            floating-point numbers.
        layout: Its axes as the user knows them, for the sentence.
        what: What it is.

    Returns:
        ``image``.

    Raises:
        SettingError: It is something else.
    """
    if not isinstance(image, np.ndarray):
        raise SettingError(
            f"The {what} must be a path, a pillow image, a numpy array or a torch tensor, "
            f"not {image!r:.60}."
        )
    if image.ndim not in (3, 4) or image.shape[-1] not in (1, 3, 4) or image.size == 0:
        raise SettingError(
            f"The {what} must be an array {layout or '(height, width, channels)'} of 3 channels in "
            f"RGB, of 4 or of 1, or several in one array, not {image.shape}."
        )
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise SettingError(
            f"The {what} must be an array of uint8 from 0 to 255 or of floating-point numbers from "
            f"0 to 1, not {image.dtype}; divide it by its white, such as image / 65535 of uint16."
        )
    return image


def split_array(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Divide an array ``(H, W, C)`` that `check_array` has passed into colour and transparency.

    Args:
        image: With 1, 3 or 4 channels.

    Returns:
        ``(H, W, 3)``, and of 4 channels ``(H, W)``: uint8 as they are, else float32 in [0, 1].

    Raises:
        SettingError: Floating-point numbers are not in [0, 1].
    """
    if image.dtype != np.uint8:
        image = image.astype(np.float32, copy=False)
        # Rounding may carry a value a little over the edge. NaN fails the comparison.
        lowest, highest = float(image.min()), float(image.max())
        if not (lowest >= -0.001 and highest <= 1.001):
            raise SettingError(
                f"A photo of floating-point numbers must be in [0, 1], not from {lowest:g} to "
                f"{highest:g}; divide it by 255, or clip it."
            )
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2), None
    alpha = np.ascontiguousarray(image[..., 3]) if image.shape[2] == 4 else None
    return image[..., :3], alpha


def floats_of(values: NDArray[Any]) -> NDArray[np.float32]:
    """Convert uint8 to float32 in [0, 1]; what is float32 stays the same array."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    return values


def is_tensor(image: object) -> bool:
    """Tell whether something is a torch tensor, without loading torch."""
    torch = sys.modules.get("torch")  # a program that has a tensor has loaded torch
    return torch is not None and isinstance(image, torch.Tensor)


def array_of_tensor(tensor: Any) -> NDArray[Any]:
    """``(…, C, H, W)`` → ``(…, H, W, C)``; ``(H, W)`` as it is."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":  # which numpy does not know
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return np.moveaxis(array, -3, -1) if array.ndim > 2 else array


def tensor_like(tensor: Any, picture: NDArray[Any]) -> Tensor:
    """``(…, H, W, C)`` → ``(…, C, H, W)``, of the type and on the device of ``tensor``."""
    import torch

    planes = np.ascontiguousarray(np.moveaxis(picture, -1, -3))
    return torch.from_numpy(planes).to(tensor.device, tensor.dtype)
