"""`RandomStylize`: style transfer as data augmentation, for torchvision's ``v2`` transforms.

Image recognition networks tend to rely on texture. Networks that are trained on photos whose
texture has been replaced by style transfer learn shapes instead and are more robust (Geirhos et
al., "ImageNet-trained CNNs are biased towards texture; increasing shape bias improves accuracy and
robustness", ICLR 2019).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import torch
from PIL.Image import Image, fromarray
from torchvision import tv_tensors
from torchvision.transforms import v2

from fststyle.errors import SettingError, check_number
from fststyle.images.load import from_pil
from fststyle.images.photo import Photo, as_floats, to_pil, to_uint8, to_uint16
from fststyle.runtime.runner import Device
from fststyle.styles.dial import STRONGEST
from fststyle.styles.find import find_network
from fststyle.styles.style_file import read_style
from fststyle.stylize.blend import luma, style_weights
from fststyle.stylize.control import Control
from fststyle.stylize.stylizer import Style, Stylizer

_PROCESS: Final = os.getpid()  # the process that imported this module, not a fork of it


class RandomStylize(v2.Transform):  # type: ignore[misc, unused-ignore]
    """A transform that applies a random style at a random strength, with a given probability.

    Accepts Pillow images, tensors ``(…, C, H, W)`` and ``tv_tensors.Image``, either uint8 or
    floating-point in [0, 1]; other integers are scaled by the range of their type. The size, the
    number of channels and the type stay the same, whether or not an image is stylised, so that
    results can be collated: grey images stay grey. Pillow images are returned upright, in the mode
    L, LA, RGB or RGBA; grey images of 16 or 32 bits in the mode I;16 or F.

    The transform works inside ``v2.Compose`` or on its own. All images in one call get the same
    style. Labels, boxes and masks are left unchanged. Random numbers come from torch, so results
    can be reproduced with ``torch.manual_seed`` and the seeds of DataLoader workers.

    In a DataLoader, each worker loads a style when it first needs it and uses one thread.
    OpenVINO hangs in a process that is forked after OpenVINO has been used. If the main process has
    already used a style, pass ``multiprocessing_context="spawn"`` to the DataLoader; otherwise, the
    workers raise an error.

    Args:
        styles: Styles to choose from with equal probability, as accepted by `fststyle.Stylizer`.
        p: Probability that an image is stylised.
        strength: Lowest and highest strength, from 0 to 1, or to 4 for styles with a dial. The
            strength is drawn uniformly from this range.
        keep_colors: Keep the image's colours, and use only the brightness of the result.
        device: Device for the networks: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingError: The list of styles is empty, a value is out of range, or the highest strength
            is above 1, but a style has no dial (code ``no_dial``).
        StyleError: A style is unknown, or has no trained network.

    Example:
        >>> import torch
        >>> from fststyle.transforms import RandomStylize
        >>> augment = RandomStylize(["great_wave", "ink_wash"], p=1, strength=(0.5, 1))
        >>> image = torch.rand(3, 48, 64)
        >>> augment(image).shape
        torch.Size([3, 48, 64])
    """

    def __init__(
        self,
        styles: Sequence[Style],
        p: float = 0.5,
        strength: tuple[float, float] = (0.5, 1.0),
        *,
        keep_colors: bool = False,
        device: Device = "cpu",
    ) -> None:
        super().__init__()
        if isinstance(styles, str | os.PathLike) or not styles:
            raise SettingError("styles must be a list of at least one style, such as ['ink_wash'].")
        lowest, highest = strength
        check_number("p", p, 0, 1)
        check_number("The highest strength", highest, 0, STRONGEST)
        check_number("The lowest strength", lowest, 0, highest)
        for name in (name for style in styles for name in style_weights(style)):
            path = find_network(name).path
            if highest > 1 and not read_style(path).network.dial:
                raise SettingError(
                    f"The style {name} has no dial, so its strength can be at most 1, not "
                    f"{highest:g}.",
                    remedy="Choose strengths from 0 to 1, or styles that were trained with a dial.",
                    code="no_dial",
                )
        self.styles = list(styles)
        self.p = p
        self.strength = (lowest, highest)
        self.keep_colors = keep_colors
        self.device = device
        self._opened: dict[int, Stylizer] = {}
        self._process = os.getpid()

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the style and strength for one sample. If ``style`` is ``None``, nothing changes."""
        # Always draw all three numbers, so that later random numbers do not depend on the outcome.
        chance, share = torch.rand(2).tolist()
        index = int(torch.randint(len(self.styles), ()))
        lowest, highest = self.strength
        return {
            "style": index if chance < self.p else None,
            "strength": lowest + share * (highest - lowest),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Stylise an image. Any other input is returned unchanged."""
        control = Control(strength=params["strength"], keep_colors=self.keep_colors)
        is_drawn = params["style"] is not None
        if isinstance(inpt, Image):
            photo = from_pil(inpt, as_bytes=True)
            if is_drawn:
                photo = self._stylizer(params["style"]).stylize(photo, control)
            return _in_mode(photo, inpt.mode)
        if not isinstance(inpt, tv_tensors.Image) and type(inpt) is not torch.Tensor:
            return inpt
        if inpt.ndim < 3 or inpt.shape[-3] not in (1, 3, 4) or inpt.dtype == torch.bool:
            raise SettingError(
                "An image must be a tensor of numbers of the shape (..., C, H, W) with 1, 3 or 4 "
                f"channels, not {inpt.dtype} of the shape {tuple(inpt.shape)}."
            )
        if not is_drawn or inpt.numel() == 0:
            return inpt
        flat = inpt.as_subclass(torch.Tensor).reshape(-1, *inpt.shape[-3:])
        is_supported = flat.is_floating_point() or flat.dtype == torch.uint8
        flat = flat if is_supported else v2.functional.to_dtype(flat, torch.float32, scale=True)
        result: Any = self._stylizer(params["style"])(
            flat, strength=control.strength, keep_colors=control.keep_colors
        )
        if inpt.shape[-3] == 1:
            grey: Any = luma(result.double().movedim(-3, -1))
            result = grey.unsqueeze(-3)
            result = (result.round() if flat.dtype == torch.uint8 else result).to(flat.dtype)
        result = result.reshape(inpt.shape)
        result = result if is_supported else v2.functional.to_dtype(result, inpt.dtype, scale=True)
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.Image) else result

    def _stylizer(self, index: int) -> Stylizer:
        if self._process != os.getpid():
            if self.device == "cpu" and os.getpid() != _PROCESS and "openvino" in sys.modules:
                raise SettingError(
                    "This worker was forked from a process that had already used OpenVINO, and "
                    'would hang. Pass multiprocessing_context="spawn" to the DataLoader.'
                )
            self._opened, self._process = {}, os.getpid()
        if index not in self._opened:
            threads = None if torch.utils.data.get_worker_info() is None else 1
            self._opened[index] = Stylizer(self.styles[index], device=self.device, threads=threads)
        return self._opened[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}  # runtimes cannot be pickled

    def extra_repr(self) -> str:
        """Return the settings for ``repr``, as torch's modules do."""
        return f"styles={self.styles}, p={self.p}, strength={self.strength}"


def _in_mode(photo: Photo, mode: str) -> Image:
    """Return a Pillow image whose mode depends only on the mode of the original image."""
    if mode not in ("1", "L", "LA", "La", "F") and not mode.startswith("I"):
        return to_pil(photo.pixels, photo.alpha)
    grey = luma(as_floats(photo.pixels))
    if mode == "F":
        return fromarray(grey)
    if mode.startswith("I"):
        return fromarray(to_uint16(grey))
    image = fromarray(to_uint8(grey))
    if photo.alpha is not None:
        image.putalpha(fromarray(to_uint8(photo.alpha)))
    return image
