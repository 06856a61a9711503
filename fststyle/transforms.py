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
from PIL.Image import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from fststyle.errors import SettingError
from fststyle.runtime.runner import Device
from fststyle.styles.find import find_network
from fststyle.stylize.blend import style_weights
from fststyle.stylize.stylizer import Style, Stylizer

_PROCESS: Final = os.getpid()  # the process that imported this module, not a fork of it


class RandomStylize(v2.Transform):  # type: ignore[misc, unused-ignore]
    """A transform that applies a random style at a random strength, with a given probability.

    Accepts Pillow images, tensors ``(…, C, H, W)`` and ``tv_tensors.Image``, either uint8 or
    floating-point in [0, 1]. The transform works inside ``v2.Compose`` or on its own. All images in
    one call get the same style. Labels, boxes and masks are left unchanged. Random numbers come
    from torch, so results can be reproduced with ``torch.manual_seed`` and the seeds of DataLoader
    workers.

    In a DataLoader, each worker loads a style when it first needs it and uses one thread.
    OpenVINO hangs in a process that is forked after OpenVINO has been used. If the main process has
    already used a style, pass ``multiprocessing_context="spawn"`` to the DataLoader; otherwise, the
    workers raise an error.

    Args:
        styles: Styles to choose from with equal probability, as accepted by `fststyle.Stylizer`.
        p: Probability that an image is stylised.
        strength: Lowest and highest strength, from 0 to 1. The strength is drawn uniformly from
            this range.
        keep_colors: Keep the image's colours, and use only the brightness of the result.
        device: Device for the networks: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        SettingError: The list of styles is empty, or a value is out of range.
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
        for name in (name for style in styles for name in style_weights(style)):
            find_network(name)
        lowest, highest = strength
        if not 0 <= p <= 1 or not 0 <= lowest <= highest <= 1:
            raise SettingError(
                f"p and strength must be from 0 to 1, with the lower strength first, not {p!r} and "
                f"{strength!r}."
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
        is_image = isinstance(inpt, Image | tv_tensors.Image) or type(inpt) is torch.Tensor
        if params["style"] is None or not is_image:
            return inpt
        stylizer = self._stylizer(params["style"])
        control: Any = {"strength": params["strength"], "keep_colors": self.keep_colors}
        if isinstance(inpt, Image):
            return stylizer(inpt, **control)
        flat = inpt.as_subclass(torch.Tensor)
        flat = flat.reshape(-1, *flat.shape[-3:]) if flat.ndim > 4 else flat
        result = stylizer(flat, **control)
        result = result.reshape(*inpt.shape[:-3], *result.shape[-3:])
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
