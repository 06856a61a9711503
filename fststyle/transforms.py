"""`RandomStylize`: styles as data augmentation, for torchvision's ``v2`` transforms.

Networks for recognition lean on texture; trained on photos whose texture was replaced by style
transfer they learn shape, and become more robust (Geirhos et al., "ImageNet-trained CNNs are
biased towards texture; increasing shape bias improves accuracy and robustness", ICLR 2019).
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

_PROCESS: Final = os.getpid()  # that imported this module: a fork is another


class RandomStylize(v2.Transform):  # type: ignore[misc, unused-ignore]
    """Give an image, with a probability, one of several styles at a random strength.

    Works on pillow images, on tensors ``(…, C, H, W)`` and on ``tv_tensors.Image``, uint8 or
    floating-point in [0, 1], inside ``v2.Compose`` or alone. All images of one call get the same
    style; labels, boxes and masks pass. Random numbers are torch's, so ``torch.manual_seed``
    repeats them, and so do a DataLoader's seeds in its workers.

    In a DataLoader each worker opens the styles for itself, when it first needs one, and runs
    them in one thread. OpenVINO hangs in a process that was forked after it ran: where the
    parent has stylised before, give the DataLoader ``multiprocessing_context="spawn"``; a worker
    refuses to start otherwise.

    Args:
        styles: Those to choose from with equal chance, each as for `fststyle.Stylizer`.
        p: The probability of stylising at all.
        strength: Lowest and highest strength, from 0 to 1; drawn evenly between them.
        keep_colors: As for `fststyle.Stylizer`.
        device: As there.

    Raises:
        SettingError: There are no styles, or a value is out of range.
        StyleError: A style is unknown, or has no trained network.
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
            raise SettingError("styles must be a list of one style or more, such as ['ink_wash'].")
        for name in (name for style in styles for name in style_weights(style)):
            find_network(name)
        lowest, highest = strength
        if not 0 <= p <= 1 or not 0 <= lowest <= highest <= 1:
            raise SettingError(
                f"p and strength must be from 0 to 1, the lower strength first, not {p!r} and "
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
        """Draw what is done to one sample; ``style`` is None where nothing is."""
        # All three are drawn in any case: the numbers that follow then depend on no chance.
        chance, share = torch.rand(2).tolist()
        index = int(torch.randint(len(self.styles), ()))
        lowest, highest = self.strength
        return {
            "style": index if chance < self.p else None,
            "strength": lowest + share * (highest - lowest),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Stylise one image, and let anything else pass."""
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
                    "This worker was forked from a process that had used OpenVINO, which would "
                    'hang; give the DataLoader multiprocessing_context="spawn".'
                )
            self._opened, self._process = {}, os.getpid()
        if index not in self._opened:
            threads = None if torch.utils.data.get_worker_info() is None else 1
            self._opened[index] = Stylizer(self.styles[index], device=self.device, threads=threads)
        return self._opened[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}  # runtimes cannot be pickled

    def extra_repr(self) -> str:
        """Say the settings, as torch's modules do."""
        return f"styles={self.styles}, p={self.p}, strength={self.strength}"
