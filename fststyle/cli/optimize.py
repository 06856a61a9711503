"""The work of ``fststyle optimize``, and of ``fststyle stylize`` where no network is trained.

It imports torch, so `fststyle.cli.main` imports it only once output, style and photo are there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fststyle.cli.optimize_options import OPTIMISE_SIZE
from fststyle.errors import FststyleError, SettingError
from fststyle.files import write_atomically
from fststyle.images.metadata import result_metadata
from fststyle.images.photo import Photo
from fststyle.images.resize import fit_long_side, resize
from fststyle.images.save import save_photo
from fststyle.perceptual.losses import LossTerms, PerceptualLoss
from fststyle.perceptual.optimize import Init, OptimizeConfig, Step, optimize_config, optimize_image
from fststyle.perceptual.presets import MIN_STYLE_SIDE, loss_config
from fststyle.perceptual.similarity import psnr, ssim
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.perceptual.vgg_weights import weights_for
from fststyle.styles.find import FoundStyle
from fststyle.stylize.stylizer import Stylizer

_SECONDS_A_LINE: Final = 15.0
"""Where there is no terminal for a bar, progress is a line every so often."""

Pixels = NDArray[np.float32]


def optimize(
    options: argparse.Namespace,
    photo: Photo,
    picture: Pixels,
    start: Init | Pixels | FoundStyle,
) -> int:
    """Optimise a photo and write what the options ask for.

    Args:
        options: Those of ``fststyle optimize``, the paths in them checked.
        photo: The photograph.
        picture: The style picture.
        start: Where to begin: the photograph, noise, a picture, or a network's output.

    Returns:
        The exit status: 0, or 130 where Ctrl-C ended it early.

    Raises:
        FststyleError: A setting is out of range, VGG's weights are missing, or a file cannot
            be written.
    """
    config = loss_config(options.loss, **_given(options, _LOSS_OPTIONS))
    optimisation = optimize_config(options.loss, **_given(options, _OPTIMISER_OPTIONS))
    if options.iterations is not None:
        # A recipe's limit on evaluations would end its rounds before these iterations.
        optimisation = dataclasses.replace(optimisation, evaluations=None)
    if min(picture.shape[:2]) < MIN_STYLE_SIDE:
        raise SettingError(
            f"The style picture {options.style} is {picture.shape[1]}×{picture.shape[0]} pixels; "
            f"it must be at least {MIN_STYLE_SIDE} on each side (256 and more show the style well)."
        )
    config, weights = weights_for(config, options.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, picture)
    if loss.substitution:
        print(loss.substitution, file=sys.stderr)

    content = working_picture(photo.pixels, options.size, options.loss)
    shape = result_shape(photo.pixels, options.size, options.loss)

    name = Path(options.style).stem
    metadata = result_metadata(photo.metadata, style_name=name, style_licence="")

    def save(pixels: Pixels, path: Path) -> None:
        result = _fitted(Photo(pixels, photo.alpha), shape)
        save_photo(result.pixels, path, alpha=result.alpha, metadata=metadata, bits=photo.bits)

    recorder = _Recorder(
        optimisation, options.output, options.save_every, save, as_json=options.json
    )
    interrupted = False
    try:
        image = optimize_image(
            to_tensor(content),
            loss,
            optimisation,
            init=_first_image(start, content),
            on_step=recorder.on_step,
        )
    except KeyboardInterrupt:
        if recorder.last is None:
            raise
        image, interrupted = recorder.last.image, True
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise FststyleError(
            f"There is not enough memory to optimise {content.shape[1]}×{content.shape[0]} "
            "pixels; choose a smaller --size."
        ) from error
    finally:
        recorder.close()
    if interrupted:
        print("Interrupted; the picture is written as it is now.", file=sys.stderr)
    result = _fitted(Photo(to_pixels(image)), content.shape[:2]).pixels
    save(result, options.output)
    if options.sheet is not None:
        from fststyle.perceptual.figures import optimisation_sheet

        before, after = (_fitted(Photo(pixels), shape).pixels for pixels in (content, result))
        sheet = optimisation_sheet(before, picture, after, recorder.terms)
        write_atomically(options.sheet, sheet)
    likeness, decibels = ssim(result, content), psnr(result, content)
    if options.json:
        facts = {"output": str(options.output), "width": shape[1], "height": shape[0]}
        # JSON has no infinity, which two equal pictures have.
        facts |= {"ssim": likeness, "psnr": decibels if math.isfinite(decibels) else None}
        print(json.dumps(facts), flush=True)
    else:
        print(f"against the photo: SSIM {likeness:.4f}, PSNR {decibels:.2f} dB")
        print(f"{options.output}  {shape[1]}×{shape[0]}")
    return 130 if interrupted else 0


def working_picture(pixels: Pixels, size: int | None, preset: str) -> Pixels:
    """The photograph as it is optimised.

    Args:
        pixels: The photograph.
        size: Limit of its long side; 0 for none; None for the default: 512, and under
            ``keras_vgg16`` a square of 512×512, as that recipe has it.
        preset: Of the loss.

    Returns:
        The photograph at that size.
    """
    if _on_a_square(size, preset):
        return resize(pixels, width=OPTIMISE_SIZE, height=OPTIMISE_SIZE)
    if size == 0:
        return pixels
    return fit_long_side(pixels, OPTIMISE_SIZE if size is None else size)


def result_shape(pixels: Pixels, size: int | None, preset: str) -> tuple[int, int]:
    """Height and width of the result, which has the photograph's proportions.

    Args:
        pixels: The photograph.
        size: As in `working_picture`.
        preset: Of the loss.

    Returns:
        Those of `working_picture`, except where that is a square: there the long side is the
        square's.
    """
    height, width = pixels.shape[:2]
    if _on_a_square(size, preset):
        longest = max(height, width)
        height, width = (max(1, round(n * OPTIMISE_SIZE / longest)) for n in (height, width))
        return height, width
    height, width = working_picture(pixels, size, preset).shape[:2]
    return height, width


def _on_a_square(size: int | None, preset: str) -> bool:
    return size is None and preset == "keras_vgg16"


def _fitted(photo: Photo, shape: tuple[int, ...]) -> Photo:
    """A picture and its transparency, resized to a height and width where they differ."""
    height, width = shape
    pixels, alpha = photo.pixels, photo.alpha
    if pixels.shape[:2] != shape:
        pixels = resize(pixels, width=width, height=height)
    if alpha is not None and alpha.shape != shape:
        alpha = resize(alpha, width=width, height=height)
    return Photo(pixels, alpha)


def _first_image(start: Init | Pixels | FoundStyle, content: Pixels) -> Init | Tensor:
    if isinstance(start, str):
        return start
    if isinstance(start, FoundStyle):
        return to_tensor(Stylizer(str(start.path), device="cpu")(content))
    return to_tensor(_fitted(Photo(start), content.shape[:2]).pixels)


class _Recorder:
    """Progress of an optimisation: a bar, lines per round, pictures on the way, the curve."""

    def __init__(
        self,
        config: OptimizeConfig,
        output: Path,
        save_every: int | None,
        save: Callable[[Pixels, Path], None],
        *,
        as_json: bool = False,
    ) -> None:
        self.terms: dict[str, list[float]] = {name: [] for name in (*LossTerms._fields, "total")}
        self.last: Step | None = None
        self._config = config
        self._output = output
        self._save_every = save_every
        self._save = save
        self._as_json = as_json
        self._round = 1
        self._begin = time.perf_counter()
        self._bar = tqdm(
            disable=None, leave=False, bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}"
            "{postfix}",
        )  # fmt: skip
        self._next_line = self._begin + _SECONDS_A_LINE
        self._first: tuple[float, float] | None = None
        """When the first iteration was done, and the share of the work by then."""

    def on_step(self, step: Step) -> None:
        """Take one iteration in."""
        before = 0 if self.last is None else self.last.index
        if step.round != self._round:
            self._tell_round()
            self._round = step.round
        self.last = step
        values = {name: float(value) for name, value in step.terms._asdict().items()}
        values["total"] = sum(values.values())
        for name, value in values.items():
            self.terms[name].append(value)
        now = time.perf_counter()
        done = self._share_done(step)
        # The first iteration's time is not that of the others.
        self._first = self._first or (now, done)
        (begin, begun), left = self._first, None
        if done > begun:
            left = (now - begin) * (1 - done) / (done - begun)
        text = "" if left is None else f"{left:.0f} s left, "
        text += ", ".join(f"{name} {values[name]:.4g}" for name in ("total", "content", "style"))
        self._bar.total = step.total
        self._bar.n = step.index
        self._bar.set_postfix_str(text)
        if self._as_json:
            facts: dict[str, Any] = {"step": step.index, "steps": step.total, "share": done}
            facts |= {"seconds_left": left, "losses": values}
            print(json.dumps(facts), flush=True)
        elif self._bar.disable and now >= self._next_line:
            self._next_line = now + _SECONDS_A_LINE
            print(f"{step.index}/{step.total}, {text}", file=sys.stderr, flush=True)
        # Rounds may end early and the count jump, so a multiple need not be met exactly.
        if self._save_every and step.index // self._save_every > before // self._save_every:
            path = self._output.with_stem(f"{self._output.stem}_{step.index:05d}")
            self._save(to_pixels(step.image), path)

    def close(self) -> None:
        """End the bar, and tell the last round."""
        self._tell_round()
        self._bar.close()

    def _share_done(self, step: Step) -> float:
        """The share of the work that is done: an iteration's is in proportion to its pixels."""
        a_scale = self._config.rounds * self._config.iterations
        scales = step.total // a_scale
        scale = (step.index - 1) // a_scale
        factor = (self._config.scale_factor or 2.0) ** 2
        work = [factor ** (k + 1 - scales) for k in range(scales)]
        return (sum(work[:scale]) + work[scale] * (step.index / a_scale - scale)) / sum(work)

    def _tell_round(self) -> None:
        if self._config.rounds > 1 and self.last is not None:
            seconds = time.perf_counter() - self._begin
            total = self.terms["total"][-1]
            tqdm.write(
                f"round {self._round}/{self._config.rounds}: loss {total:.6g}, {seconds:.1f} s, "
                f"{self.last.evaluations} evaluations",
                file=sys.stderr,
            )


_LOSS_OPTIONS: Final = (
    "content_weight", "style_weight", "palette_weight", "tv_weight", "content_layers",
    "style_layers", "style_sizes",
)  # fmt: skip
_OPTIMISER_OPTIONS: Final = (
    "method", "iterations", "rounds", "learning_rate", "scale_factor", "seed",
)  # fmt: skip


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
