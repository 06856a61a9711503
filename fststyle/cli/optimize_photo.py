"""Run ``fststyle optimize``: the optimisation, its progress display, and its results."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fststyle.cli.errors import CommandError
from fststyle.cli.optimize_request import OPTIMIZE_SIZE, OptimizeRequest
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
"""Interval between progress lines, which are printed if there is no terminal for a bar."""

Pixels = NDArray[np.float32]
Size = int | Literal["full"] | None


def optimize_photo(
    request: OptimizeRequest,
    photo: Photo,
    style_image: Pixels,
    start: str | Pixels | FoundStyle,
) -> int:
    """Optimise a photo and write the requested files.

    Args:
        request: The request. Its paths have already been checked.
        photo: The photo.
        style_image: The style image.
        start: Starting point: ``content``, ``noise``, an image, or a network whose result is used.

    Returns:
        The exit status: 0, or 130 if Ctrl-C interrupted the optimisation.

    Raises:
        FststyleError: A setting is out of range, the VGG weights are missing, or a file cannot
            be written.
    """
    optimization = _optimization(request)
    loss = _loss(request, style_image)
    content = working_image(photo.pixels, request.size, request.loss)
    shape = result_shape(photo.pixels, request.size, request.loss)
    metadata = result_metadata(
        photo.metadata, style_name=Path(request.style).stem, style_licence=""
    )

    def save(pixels: Pixels, path: Path) -> None:
        result = _resized(Photo(pixels, photo.alpha), shape)
        save_photo(result.pixels, path, alpha=result.alpha, metadata=metadata, bits=photo.bits)

    progress = Progress(
        optimization, request.output, request.save_every, save, as_json=request.json
    )
    first = _first_image(start, content)
    image, is_whole = _optimized(content, loss, optimization, first, progress)
    if not is_whole:
        print("Interrupted. The image is saved in its current state.", file=sys.stderr)
    result = _resized(Photo(to_pixels(image)), content.shape[:2]).pixels
    save(result, request.output)
    if request.sheet is not None:
        from fststyle.perceptual.figures import optimisation_sheet

        before, after = (_resized(Photo(pixels), shape).pixels for pixels in (content, result))
        sheet = optimisation_sheet(before, style_image, after, progress.terms)
        write_atomically(request.sheet, sheet)
    _print_result(request, shape, ssim(result, content), psnr(result, content))
    return 0 if is_whole else 130


def _optimization(request: OptimizeRequest) -> OptimizeConfig:
    config = optimize_config(request.loss, **request.optimizer_values)
    if "iterations" in request.optimizer_values:
        # The preset's limit on evaluations could end rounds before this number of iterations.
        config = dataclasses.replace(config, evaluations=None)
    return config


def _loss(request: OptimizeRequest, style_image: Pixels) -> PerceptualLoss:
    config = loss_config(request.loss, **request.loss_values)
    height, width = style_image.shape[:2]
    if min(height, width) < MIN_STYLE_SIDE:
        raise CommandError(
            f"The style image {{path}} has only {width}×{height} pixels.",
            path=request.style,
            remedy=f"Each side needs at least {MIN_STYLE_SIDE} pixels, and preferably 256 or more.",
            code="too_small",
        )
    config, weights = weights_for(config, request.vgg_weights)
    loss = PerceptualLoss.from_picture(config, weights, style_image)
    if loss.substitution:
        print(loss.substitution, file=sys.stderr)
    return loss


def _optimized(
    content: Pixels,
    loss: PerceptualLoss,
    config: OptimizeConfig,
    first: Init | Tensor,
    progress: Progress,
) -> tuple[Tensor, bool]:
    """Return the image, and whether the optimisation finished uninterrupted."""
    try:
        image = optimize_image(
            to_tensor(content), loss, config, init=first, on_step=progress.on_step
        )
    except KeyboardInterrupt:
        if progress.last is None:
            raise
        return progress.last.image, False
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise  # torch does not have a separate type for this error
        raise CommandError(
            f"There is not enough memory to optimise {content.shape[1]}×{content.shape[0]} pixels.",
            remedy="Choose a smaller size with --size.",
            code="out_of_memory",
        ) from error
    finally:
        progress.close()
    return image, True


def _print_result(
    request: OptimizeRequest, shape: tuple[int, int], likeness: float, decibels: float
) -> None:
    height, width = shape
    if request.json:
        facts = {"output": str(request.output), "width": width, "height": height}
        # The PSNR of equal images is infinite, which JSON cannot represent.
        facts |= {"ssim": likeness, "psnr": decibels if math.isfinite(decibels) else None}
        print(json.dumps(facts), flush=True)
    else:
        print(f"against the photo: SSIM {likeness:.4f}, PSNR {decibels:.2f} dB")
        print(f"{request.output}  {width}×{height}")


def working_image(pixels: Pixels, size: Size, preset: str) -> Pixels:
    """Resize the photo to the size used for the optimisation.

    Args:
        pixels: The photo.
        size: Largest long side in pixels, or ``full`` for no limit. ``None`` means 512 pixels, or a
            512×512 square for the preset ``keras_vgg16``, as in the code it was taken from.
        preset: Name of the loss preset.

    Returns:
        The resized photo. Photos are never enlarged, except to that square.
    """
    if _is_square(size, preset):
        return resize(pixels, width=OPTIMIZE_SIZE, height=OPTIMIZE_SIZE)
    if size == "full":
        return pixels
    return fit_long_side(pixels, OPTIMIZE_SIZE if size is None else size)


def result_shape(pixels: Pixels, size: Size, preset: str) -> tuple[int, int]:
    """Return the height and width of the result, which keeps the proportions of the photo.

    Args:
        pixels: The photo.
        size: Size, as in `working_image`.
        preset: Name of the loss preset.

    Returns:
        The height and width of `working_image`. If that is a square, the result's long side is
        equal to the side of the square.
    """
    height, width = pixels.shape[:2]
    if _is_square(size, preset):
        longest = max(height, width)
        height, width = (max(1, round(n * OPTIMIZE_SIZE / longest)) for n in (height, width))
        return height, width
    height, width = working_image(pixels, size, preset).shape[:2]
    return height, width


def _is_square(size: Size, preset: str) -> bool:
    return size is None and preset == "keras_vgg16"


def _resized(photo: Photo, shape: tuple[int, ...]) -> Photo:
    """Resize an image and its transparency to the given height and width."""
    height, width = shape
    pixels, alpha = photo.pixels, photo.alpha
    if pixels.shape[:2] != shape:
        pixels = resize(pixels, width=width, height=height)
    if alpha is not None and alpha.shape != shape:
        alpha = resize(alpha, width=width, height=height)
    return Photo(pixels, alpha)


def _first_image(start: str | Pixels | FoundStyle, content: Pixels) -> Init | Tensor:
    if isinstance(start, str):
        return cast(Init, start)
    if isinstance(start, FoundStyle):
        return to_tensor(Stylizer(str(start.path), device="cpu")(content))
    return to_tensor(_resized(Photo(start), content.shape[:2]).pixels)


class Progress:
    """Progress of an optimisation: a progress bar, intermediate images, and the loss curve.

    Without a terminal, lines of text replace the progress bar.

    Args:
        config: Settings of the optimisation.
        output: Path of the result. Intermediate images have the iteration appended to their names.
        save_every: Number of iterations between intermediate images, or ``None`` to save none.
        save: Function that writes an image.
        as_json: Whether to print a line of JSON for each iteration.

    Attributes:
        terms: The loss curve: values for all iterations, by loss term.
        last: The latest iteration, or ``None`` before the first.
    """

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
        self._begin = time.perf_counter()
        self._bar = tqdm(
            disable=None, leave=False, bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}"
            "{postfix}",
        )  # fmt: skip
        self._next_line = self._begin + _SECONDS_A_LINE
        self._first: tuple[float, float] | None = None
        """Time at which the first iteration ended, and the share of the work done by then."""

    def on_step(self, step: Step) -> None:
        """Show and record one iteration."""
        before = 0 if self.last is None else self.last.index
        if self.last is not None and step.round != self.last.round:
            self._print_round()
        self.last = step
        values = {name: float(value) for name, value in step.terms._asdict().items()}
        values["total"] = sum(values.values())
        for name, value in values.items():
            self.terms[name].append(value)
        self._show(step, values)
        # If a round ends early, the index jumps, so it may skip an exact multiple.
        if self._save_every and step.index // self._save_every > before // self._save_every:
            path = self._output.with_stem(f"{self._output.stem}_{step.index:05d}")
            self._save(to_pixels(step.image), path)

    def close(self) -> None:
        """Close the progress bar and print the last round."""
        self._print_round()
        self._bar.close()

    def _show(self, step: Step, values: dict[str, float]) -> None:
        now = time.perf_counter()
        share = self._share_done(step)
        left = self._seconds_left(now, share)
        text = "" if left is None else f"{left:.0f} s left, "
        text += ", ".join(f"{name} {values[name]:.4g}" for name in ("total", "content", "style"))
        self._bar.total = step.total
        self._bar.n = step.index
        self._bar.set_postfix_str(text)
        if self._as_json:
            facts: dict[str, Any] = {"step": step.index, "steps": step.total, "share": share}
            facts |= {"seconds_left": left, "losses": values}
            print(json.dumps(facts), flush=True)
        elif self._bar.disable and now >= self._next_line:
            self._next_line = now + _SECONDS_A_LINE
            print(f"{step.index}/{step.total}, {text}", file=sys.stderr, flush=True)

    def _seconds_left(self, now: float, share: float) -> float | None:
        """Estimate the remaining time. The slower first iteration is not taken into account."""
        if self._first is None:
            self._first = now, share
        begin, first_share = self._first
        if share <= first_share:
            return None
        return (now - begin) * (1 - share) / (share - first_share)

    def _share_done(self, step: Step) -> float:
        """Return the share of the work done. Each iteration is weighted by its number of pixels."""
        per_scale = self._config.rounds * self._config.iterations
        scales = step.total // per_scale
        scale = (step.index - 1) // per_scale
        factor = (self._config.scale_factor or 2.0) ** 2
        work = [factor ** (k + 1 - scales) for k in range(scales)]
        return (sum(work[:scale]) + work[scale] * (step.index / per_scale - scale)) / sum(work)

    def _print_round(self) -> None:
        if self._config.rounds > 1 and self.last is not None:
            seconds = time.perf_counter() - self._begin
            total = self.terms["total"][-1]
            tqdm.write(
                f"round {self.last.round}/{self._config.rounds}: loss {total:.6g}, "
                f"{seconds:.1f} s, {self.last.evaluations} evaluations",
                file=sys.stderr,
            )
