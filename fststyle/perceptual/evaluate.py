"""The quality report, which compares a network with L-BFGS under a fixed measure.

Johnson et al. (2016, section 4.1 and figure 5) compare their networks with an optimiser using the
loss that both minimise. The result is a single figure: "equals N L-BFGS iterations".

The measure does not depend on the loss used to train the network. L-BFGS starts from the photo and
minimises this measure. It uses torch's implementation with learning rate 1, a strong Wolfe line
search, a history of 100 and no tolerances.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fststyle.errors import SettingError
from fststyle.files import write_atomically
from fststyle.images.save import save_photo
from fststyle.images.sheets import sheet
from fststyle.markdown import markdown_table
from fststyle.perceptual.figures import Curve, loss_figure
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.measure import MEASURE, Losses, losses_of
from fststyle.perceptual.optimize import OptimizeConfig, Step, optimize_image
from fststyle.perceptual.similarity import psnr, ssim
from fststyle.perceptual.tensors import to_pixels, to_tensor
from fststyle.styles.quality import Quality

ITERATIONS: Final = (1, 2, 5, 10, 20, 50, 100, 200)
"""L-BFGS iterations shown in the table."""

_MIN_SIDE: Final = 8  # in pixels, as required by the deepest layer of the measure

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Point:
    """Cost and loss of L-BFGS after a given number of iterations."""

    iterations: int
    evaluations: int
    seconds: float
    total: float


@dataclass(frozen=True)
class PhotoResult:
    """Measurements for one photo.

    Attributes:
        name: Name of the photo.
        height: Height in pixels.
        width: Width in pixels.
        photo: Losses of the photo itself.
        network: Losses of the network's result.
        network_seconds: Running time of the network in seconds (median of three runs).
        network_ssim: Structural similarity between the network's result and the photo.
        network_psnr: Peak signal-to-noise ratio of the network's result, in dB.
        curve: Cost and loss of L-BFGS at every iteration, starting with iteration 0.
        optimised: Losses of L-BFGS, by number of iterations.
        optimised_ssim: Structural similarity between the final L-BFGS image and the photo.
        optimised_psnr: Peak signal-to-noise ratio of the final L-BFGS image, in dB.
        equals: Interpolated number of L-BFGS iterations needed to reach the network's total loss;
            infinite if L-BFGS does not reach it.
    """

    name: str
    height: int
    width: int
    photo: Losses
    network: Losses
    network_seconds: float
    network_ssim: float
    network_psnr: float
    curve: list[Point]
    optimised: dict[int, Losses]
    optimised_ssim: float
    optimised_psnr: float
    equals: float

    def equal_evaluations(self) -> float:
        """Return the number of loss evaluations that L-BFGS needs for `equals` iterations."""
        evaluations = [point.evaluations for point in self.curve]
        return float(np.interp(self.equals, range(len(evaluations)), evaluations, right=math.inf))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measurements for a style on several photos, and the resulting images."""

    style: str
    vgg: str
    photos: list[PhotoResult]
    iterations: tuple[int, ...]
    pictures: list[list[Pixels]]
    """Four images per photo: the photo, the result, and L-BFGS images from early on and the end."""

    def equals(self) -> tuple[float, float]:
        """Return the equivalent L-BFGS iterations as the median and the lowest over all photos."""
        values = [result.equals for result in self.photos]
        return statistics.median(values), min(values)

    def equal_evaluations(self) -> tuple[float, float]:
        """Return the same as `equals`, but counted in loss evaluations."""
        values = [result.equal_evaluations() for result in self.photos]
        return statistics.median(values), min(values)

    def headline(self) -> str:
        """Summarise the comparison in one line."""
        median, worst = (_count(value, self.iterations[-1]) for value in self.equals())
        return f"equals {median} L-BFGS iterations (median of {len(self.photos)}; worst {worst})"


def equal_iterations(curve: Sequence[Point], total: float) -> float:
    """Find the iteration at which an optimiser reaches a total loss.

    Args:
        curve: Points of the optimiser's curve, starting with iteration 0.
        total: Total loss to reach.

    Returns:
        The interpolated iteration: 0 if the curve already starts at or below the total, and
        infinite if it never reaches the total.
    """
    if not total < curve[0].total:  # a NaN total also gives 0
        return 0.0
    for before, after in zip(curve, curve[1:], strict=False):
        if after.total <= total:
            share = (before.total - total) / (before.total - after.total)
            return before.iterations + share * (after.iterations - before.iterations)
    return math.inf


def evaluate(
    style: str,
    stylise: Callable[[Pixels], Pixels],
    measure: PerceptualLoss,
    photos: Mapping[str, Pixels],
    *,
    iterations: Sequence[int] = ITERATIONS,
    on_progress: Callable[[float], None] | None = None,
) -> Evaluation:
    """Compare a network with L-BFGS under the same measure, on the same photos.

    Args:
        style: Name of the style.
        stylise: Function that applies the network to a photo. Photo and result are ``(H, W, 3)``
            float32 RGB in [0, 1].
        measure: Result of `measure_for`.
        photos: Photos by name, each ``(H, W, 3)`` float32 RGB in [0, 1]. They are not resized.
        iterations: L-BFGS iterations to show, in ascending order; L-BFGS stops after the last one.
        on_progress: Function called with the completed fraction.

    Returns:
        The measurements.

    Raises:
        SettingError: There are no photos, or one is too small.
    """
    shown = tuple(iterations)
    if not photos:
        raise SettingError("Name at least one photo to evaluate on.", code="no_photos")
    for name, (height, width, _) in ((name, photo.shape) for name, photo in photos.items()):
        if min(height, width) < _MIN_SIDE:
            raise SettingError(
                f"{name} is {width}×{height} pixels at this size, and must be at least "
                f"{_MIN_SIDE} on each side.",
                remedy="Remove it, or choose a larger size.",
                code="too_small",
            )
    results, pictures = [], []
    for index, (name, photo) in enumerate(photos.items()):

        def tell(share: float, index: int = index) -> None:
            if on_progress is not None:
                on_progress((index + share) / len(photos))

        result, shots = _evaluate_one(name, stylise, measure, photo, shown, tell)
        results.append(result)
        pictures.append(shots)
    vgg = "the original VGG16" if measure.vgg.original else measure.vgg.source
    return Evaluation(style, vgg, results, shown, pictures)


def _evaluate_one(
    name: str,
    stylise: Callable[[Pixels], Pixels],
    measure: PerceptualLoss,
    photo: Pixels,
    iterations: tuple[int, ...],
    tell: Callable[[float], None],
) -> tuple[PhotoResult, list[Pixels]]:
    seconds = []
    picture = stylise(photo)
    for _ in range(3):
        begin = time.perf_counter()
        picture = stylise(photo)
        seconds.append(time.perf_counter() - begin)

    content = to_tensor(photo)
    targets = measure.content_targets(content)
    own = losses_of(measure, content, targets)
    curve = [Point(0, 0, 0.0, own.total)]
    optimised: dict[int, Losses] = {}
    shots: dict[int, Pixels] = {}
    paused = 0.0
    begin = time.perf_counter()

    def on_step(step: Step) -> None:
        nonlocal paused
        now = time.perf_counter()
        elapsed = now - begin - paused
        total = float(step.terms.total)
        curve.append(Point(step.index, step.evaluations, elapsed, total))
        if step.index in iterations:
            optimised[step.index] = losses_of(measure, step.image, targets)
            shots[step.index] = to_pixels(step.image)
        tell(step.index / step.total)
        paused += time.perf_counter() - now

    config = OptimizeConfig(method="lbfgs", iterations=iterations[-1], scale_factor=1.0)
    last = to_pixels(optimize_image(content, measure, config, on_step=on_step))
    network = losses_of(measure, to_tensor(picture), targets)
    early = min(iterations, key=lambda count: abs(count - 10))
    result = PhotoResult(
        name=name,
        height=photo.shape[0],
        width=photo.shape[1],
        photo=own,
        network=network,
        network_seconds=statistics.median(seconds),
        network_ssim=ssim(picture, photo),
        network_psnr=psnr(picture, photo),
        curve=curve,
        optimised=optimised,
        optimised_ssim=ssim(last, photo),
        optimised_psnr=psnr(last, photo),
        equals=equal_iterations(curve, network.total),
    )
    return result, [photo, picture, shots[early], last]


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``report.md``, ``report.json``, ``report_curve.png`` and ``report_sheet.png``.

    Args:
        evaluation: Result of `evaluate`.
        folder: Existing folder to write to.

    Returns:
        The path of ``report.md``.

    Raises:
        FststyleError: A file cannot be written.
    """
    early = min(evaluation.iterations, key=lambda count: abs(count - 10))
    titles = ("photo", evaluation.style, f"L-BFGS {early}", f"L-BFGS {evaluation.iterations[-1]}")
    save_photo(sheet(evaluation.pictures, titles=titles), folder / "report_sheet.png")
    curves = [
        Curve(r.name, [p.iterations for p in r.curve], [p.total for p in r.curve], r.network.total)
        for r in evaluation.photos
    ]
    title = f"{evaluation.style}: {evaluation.headline()}"
    x_label = "L-BFGS iterations (solid); the network's level is dashed"
    write_atomically(folder / "report_curve.png", loss_figure(curves, title, x_label))
    names = ("median", "worst")
    data = {
        "style": evaluation.style,
        "headline": evaluation.headline(),
        "equals_lbfgs_iterations": dict(zip(names, evaluation.equals(), strict=True)),
        "equals_lbfgs_evaluations": dict(zip(names, evaluation.equal_evaluations(), strict=True)),
        "vgg": evaluation.vgg,
        "measure": MEASURE.as_dict(),
        "photos": [asdict(result) for result in evaluation.photos],
    }
    text = json.dumps(_finite(data), indent=2, allow_nan=False)
    write_atomically(folder / "report.json", text.encode())
    path = folder / "report.md"
    write_atomically(path, markdown(evaluation).encode("utf-8", "backslashreplace"))
    return path


def markdown(evaluation: Evaluation) -> str:
    """Return the report as Markdown: headline, median losses, times and a row for each photo."""
    results = evaluation.photos
    layers = [*MEASURE.style_layers, *(f"content {name}" for name in MEASURE.content_layers)]
    quality = [(r.network_ssim, r.network_psnr) for r in results]
    rows = [
        _row("photograph itself", [r.photo for r in results], None),
        _row(f"**{evaluation.style}**", [r.network for r in results], quality),
    ]
    last = [(r.optimised_ssim, r.optimised_psnr) for r in results]
    for count in evaluation.iterations:
        shown = last if count == evaluation.iterations[-1] else None
        rows.append(_row(f"L-BFGS {count}", [r.optimised[count] for r in results], shown))
    columns = ("photograph", "size", "equals L-BFGS iterations", "evaluations", "network ms")
    each = []
    for r in results:
        iterations = _count(r.equals, r.curve[-1].iterations)
        evaluations = _count(r.equal_evaluations(), r.curve[-1].evaluations)
        cells = [r.name, f"{r.width}×{r.height}", iterations, evaluations]
        each.append([*cells, f"{1000 * r.network_seconds:.0f}"])
    ours = statistics.median(r.network_seconds for r in results)
    theirs = statistics.median(r.curve[-1].seconds for r in results)
    fewest = min(r.curve[-1].evaluations for r in results)
    median, worst = (_count(value, fewest) for value in evaluation.equal_evaluations())
    lines = [
        f"# {evaluation.style}: {evaluation.headline()}",
        "",
        f"Relative losses under the fixed measure ({evaluation.vgg}), medians over "
        f"{len(results)} photographs. Style is the mean over its layers with the layer weights of "
        "the measure. L-BFGS starts from the photograph and minimises the total. In evaluations "
        f"of the loss, the network equals {median} (worst {worst}).",
        "",
        markdown_table(["", "total", "style", *layers, "SSIM", "PSNR"], rows),
        "",
        f"The network takes {1000 * ours:.0f} ms per photograph. L-BFGS takes {theirs:.1f} s for "
        f"{evaluation.iterations[-1]} iterations, {theirs / ours:.0f} times as long.",
        "",
        markdown_table(columns, each),
        "",
        "![loss against iterations](report_curve.png)",
        "",
        "![pictures](report_sheet.png)",
        "",
    ]
    return "\n".join(lines)


def summary(report: Path) -> str:
    """Return the headline and the tables of a written report, for the terminal."""
    return report.read_text(encoding="utf-8").split("\n![")[0].strip()


def _row(name: str, losses: list[Losses], quality: list[tuple[float, float]] | None) -> list[str]:
    def middle(value: Callable[[Losses], float]) -> str:
        return f"{statistics.median(value(item) for item in losses):.3f}"

    cells = [name, middle(lambda item: item.total), middle(lambda item: item.style_term())]
    cells += [middle(lambda item, k=k: item.style[k]) for k in MEASURE.style_layers]  # type: ignore[misc]
    cells += [middle(lambda item, k=k: item.content[k]) for k in MEASURE.content_layers]  # type: ignore[misc]
    if quality is None:
        return [*cells, "", ""]
    similarities, ratios = zip(*quality, strict=True)
    return [*cells, _median(similarities, 3), _median(ratios, 1)]


def _count(value: float, most: int) -> str:
    return f"> {most}" if math.isinf(value) else f"{value:.1f}"


def _finite(value: Any) -> Any:
    """Replace NaN and infinite values with ``None``, for JSON."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _median(values: Sequence[float], digits: int) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{statistics.median(known):.{digits}f}" if known else "–"


def measured(evaluation: Evaluation, size: int) -> Quality:
    """Summarise an evaluation for the style file.

    Args:
        evaluation: Result of `evaluate`.
        size: Side of the square photos in pixels.

    Returns:
        The medians over all photos, rounded to five decimal places.
    """
    results = evaluation.photos

    def middle(values: Iterable[float]) -> float:
        return round(statistics.median(values), 5)

    median, worst = (None if math.isinf(n) else round(n, 2) for n in evaluation.equals())
    return Quality(
        size=size,
        photos=len(results),
        iterations=evaluation.iterations[-1],
        equals=median,
        equals_worst=worst,
        total=middle(r.network.total for r in results),
        photo_total=middle(r.photo.total for r in results),
        style=middle(r.network.style_term() for r in results),
        photo_style=middle(r.photo.style_term() for r in results),
        content=middle(statistics.mean(r.network.content.values()) for r in results),
    )
