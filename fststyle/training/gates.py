"""Gates: checks of a trained network for visible faults.

A loss does not detect every fault. Six probe photographs reveal the typical faults of these
networks. Each fault is measured by a number, which must not exceed a limit:

- ``blobs``: isolated flat patches of an unrelated colour, an artefact of instance norm;
- ``lattice_2`` and ``lattice_4``: a checkerboard of period 2 or 4, an artefact of upsampling;
- ``frame``: a border that differs from the rest of the result, an artefact of padding;
- ``structure``: the loss of the photograph's coarse structure;
- ``blur``: the loss of sharpness.

Lower is better. ``scripts/zoo/calibrate_gates.py`` prints the values of good results and of planted
faults, from which the limits were chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fststyle.errors import QualityError
from fststyle.images.resize import resize

Pixels = NDArray[np.float32]
GateName = Literal["blobs", "lattice_2", "lattice_4", "frame", "structure", "blur"]

LIMITS: Final[dict[GateName, float]] = {
    "blobs": 0.25,
    "lattice_2": 0.7,
    "lattice_4": 1.4,
    "frame": 2.0,
    "structure": 0.75,
    "blur": 1.25,
}
"""Gate → largest value that passes."""

_WINDOW: Final = 64


@dataclass(frozen=True)
class Gate:
    """The result of one check.

    Attributes:
        name: Name of the gate.
        value: Highest value of all probe photographs; lower is better. NaN does not pass.
        limit: Largest value that passes.
        probe: Name of the probe photograph with the highest value.
        sentence: Description of the result; for a fault, with a remedy.
    """

    name: GateName
    value: float
    limit: float
    probe: str
    sentence: str

    @property
    def passed(self) -> bool:
        """True if the value is within the limit."""
        return self.value <= self.limit


def probe_photos() -> dict[str, Pixels]:
    """Return the probe photographs: synthetic ones, and bundled ones of scikit-image.

    Returns:
        Name → ``(H, W, 3)``, RGB in [0, 1]. Sides are 191 to 385 pixels, and some are odd.
    """
    from skimage import data

    def photo(image: NDArray[np.uint8]) -> Pixels:
        grey = image[..., None] if image.ndim == 2 else image
        colour = np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey
        return colour.astype(np.float32) / np.float32(255)

    astronaut = photo(cast(Any, data.astronaut)())
    bordered = np.zeros((289, 385, 3), np.float32)
    bordered[48:-49, 48:-49] = resize(photo(cast(Any, data.coffee)()), width=288, height=192)
    return {
        "flat_grey": np.full((256, 256, 3), 0.5, np.float32),
        "clear_sky": _clear_sky(),
        "black_border": bordered,
        "fine_text": photo(cast(Any, data.page)()),
        "face": np.ascontiguousarray(astronaut[:256, 96:352]),
        "night": _night(),
    }


def _clear_sky(height: int = 270, width: int = 360) -> Pixels:
    """Draw a blue sky, paler towards the horizon, with camera noise of 1/255."""
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    zenith, horizon = np.array([[0.18, 0.42, 0.78], [0.70, 0.83, 0.93]], np.float32)
    sky = zenith + (horizon - zenith) * down + 0.03 * across
    grain = np.random.default_rng(0).normal(0, 1 / 255, sky.shape).astype(np.float32)
    return np.asarray(np.clip(sky + grain, 0, 1), np.float32)


def _night(height: int = 256, width: int = 383) -> Pixels:
    """Draw a row of houses at night: almost black, with a few lit windows and lamps."""
    rng = np.random.default_rng(1)
    night = np.full((height, width, 3), (0.02, 0.025, 0.05), np.float32)
    night += np.float32(0.03) * np.linspace(1, 0, height, dtype=np.float32)[:, None, None]
    for left in range(0, width, 48):
        night[height - int(rng.integers(90, 160)) :, left : left + 44] *= 0.4
    lights = np.zeros_like(night)
    for _ in range(14):
        top, left = int(rng.integers(height // 2, height - 12)), int(rng.integers(4, width - 12))
        lights[top : top + 8, left : left + 5] = (1.0, 0.85, 0.55)
    lights = np.maximum(lights, 4 * ndimage.gaussian_filter(lights, (5, 5, 0)))
    grain = rng.normal(0, 2 / 255, night.shape)
    return np.asarray(np.clip(night + 0.9 * lights + grain, 0, 1), np.float32)


_PROBES: Final[dict[GateName, tuple[str, ...]]] = {
    "blobs": ("flat_grey", "clear_sky", "black_border", "face", "night"),
    "lattice_2": ("flat_grey", "clear_sky", "face"),
    "lattice_4": ("flat_grey", "clear_sky", "face"),
    "frame": ("flat_grey", "clear_sky", "black_border", "face"),
    "structure": ("fine_text", "face"),
    "blur": ("face",),
}
_FOUND: Final[dict[GateName, tuple[str, str]]] = {
    "blobs": (
        "isolated blobs of flat colour are visible on {probe}",
        "train longer, or lower loss.style_weight or optim.lr",
    ),
    "lattice_2": (
        "a checkerboard of 2 pixels is visible on {probe}",
        "train longer, or raise loss.tv_weight",
    ),
    "lattice_4": (
        "a grid of 4 pixels is visible on {probe}",
        "train longer, lower loss.style_weight, or set a smaller loss.style_sizes",
    ),
    "frame": ("a frame is visible around {probe}", "train longer, or raise data.size"),
    "structure": (
        "too little of {probe} is recognisable",
        "lower loss.style_weight, or train longer",
    ),
    "blur": ("the result for {probe} is blurred", "train longer, or lower loss.tv_weight"),
}


def check(stylise: Callable[[Pixels], Pixels]) -> tuple[Gate, ...]:
    """Run a network on the probe photographs and measure every fault.

    Args:
        stylise: The network, as a function from photo to result, both ``(H, W, 3)`` float32, RGB
            in [0, 1].

    Returns:
        One gate for each fault, in the order of `LIMITS`.
    """
    photos = probe_photos()
    results = {name: stylise(photo) for name, photo in photos.items()}
    gates = []
    for name, probes in _PROBES.items():
        values = {probe: measure(name, photos[probe], results[probe]) for probe in probes}
        # NaN counts as worse than any number.
        probe = max(values, key=lambda key: math.inf if math.isnan(values[key]) else values[key])
        gates.append(_gate(name, values[probe], probe))
    return tuple(gates)


def _gate(name: GateName, value: float, probe: str) -> Gate:
    limit = LIMITS[name]
    if value <= limit:
        sentence = f"{name} is {value:.2f}, within {limit:g}."
    else:
        found, remedy = (text.format(probe=probe) for text in _FOUND[name])
        sentence = f"{found[0].upper()}{found[1:]} ({name} {value:.2f}, limit {limit:g}); {remedy}."
    return Gate(name, value, limit, probe, sentence)


def require(gates: Sequence[Gate], style_file: Path) -> None:
    """Reject a network that has a fault.

    Args:
        gates: Result of `check`.
        style_file: Style file of the network, for the message.

    Raises:
        QualityError: A gate did not pass.
    """
    failed = [gate.sentence for gate in gates if not gate.passed]
    if failed:
        raise QualityError(
            f"{' '.join(failed)} Therefore the style is not installed.",
            path=style_file,
            remedy=f"You can still use its file: {style_file}.",
        )


# The measures


def blobs(photo: Pixels, result: Pixels) -> float:
    """Measure the most visible isolated patch of flat colour.

    A patch is a compact area of almost one colour, from about 10 pixels across to 4 % of the image.
    Its value is the distance of its colour from the colours around it, or from the colours of the
    result in similar parts of the photo, whichever is smaller. (Black patches in dark parts of the
    photo therefore belong to the style.) Differences in the photo itself are subtracted.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The difference in colour, at most √3.
    """
    labels, _ = ndimage.label(_local_deviation(result, 3) < 0.04)
    areas = np.bincount(labels.ravel())
    softened = ndimage.gaussian_filter(photo, (2, 2, 0))
    worst = 0.0
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if not 24 <= areas[label] <= 0.04 * labels.size:
            continue
        rows, columns = (slice(max(0, side.start - 10), side.stop + 10) for side in box)
        core = labels[rows, columns] == label
        extent = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        if areas[label] < 0.3 * extent:  # a line or a frame, not a blob
            continue
        patch = ndimage.binary_dilation(core, iterations=4)
        around = ndimage.binary_dilation(patch, iterations=6) & ~patch
        near, own_near = result[rows, columns], softened[rows, columns]
        colour = np.median(near[core], axis=0)
        contrast = float(_distance(np.median(near[around], axis=0), colour))
        if contrast <= worst:
            continue
        own = np.median(own_near[core], axis=0)
        unlike = _distance(softened, own)
        unlike[rows, columns][patch] = np.inf
        alike = unlike <= max(0.06, float(np.quantile(unlike, 0.05)))
        usual = float(np.quantile(_distance(result[alike], colour), 0.02))
        explained = max(
            float(_distance(np.median(own_near[around], axis=0), own)),
            float(np.median(unlike[alike])),
        )
        worst = max(worst, min(contrast, usual) - 1.5 * explained)
    return worst


def lattice(result: Pixels, period: Literal[2, 4]) -> float:
    """Measure the visibility of a checkerboard.

    A lattice is a sharp line in the spectrum, whereas texture is broad. Each frequency of the
    lattice is compared with neighbouring frequencies in its row and column. The root of the sum of
    the excess powers is the amplitude of the lattice. A rich texture of similar scale hides it, so
    it is divided by 1/255 plus 0.8 times the standard deviation of the result between half and
    twice the frequency (contrast masking, Legge and Foley 1980). The windows are Hann windows of
    64 pixels that overlap by half.

    Args:
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1], with H and W at least 16.
        period: Period in pixels.

    Returns:
        The 90 % quantile of the ratio over all windows; about 0.3 without a lattice.
    """
    power = _spectra(result)
    side = power.shape[1]
    unit = side * side / 8  # spectrum of a wave of amplitude 1 in the Hann window
    quarter = side // 4
    steps = np.array([-5, -4, -3, 3, 4, 5])
    excess = np.zeros((len(power), 3))
    for row, column in np.ndindex(4, 4):
        is_coarse = row % 2 == column % 2 == 0
        if (row, column) == (0, 0) or is_coarse != (period == 2):
            continue
        top, left = row * quarter, column * quarter
        neighbours = np.maximum(
            np.median(power[:, (top + steps) % side, left], axis=1),
            np.median(power[:, top, (left + steps) % side], axis=1),
        )
        # A wave of period 2 is its own mirror image; all others appear twice.
        share = 0.25 if period == 2 else 0.5
        excess += share * np.maximum(power[:, top, left] - 4 * neighbours, 0)
    down, across = np.meshgrid(*2 * (np.fft.fftfreq(side, 1 / side),), indexing="ij")
    frequency = np.hypot(down, across) / side * period
    to_line = np.maximum(
        *(np.abs((k + quarter / 2) % quarter - quarter / 2) for k in (down, across))
    )
    texture = (frequency > 0.57) & (frequency < 1.7) & (to_line > 1)
    deviation = np.sqrt(power[:, texture].sum(axis=1) / (9 / 64)) / side**2
    ratios = (np.sqrt(excess) / unit / (1 / 255 + 0.8 * deviation)).max(axis=1)
    return float(np.quantile(ratios, 0.9))


def frame(photo: Pixels, result: Pixels) -> float:
    """Measure how much the outermost pixels differ from the rest, on at least two sides.

    The outermost 4 (and 8) pixels of a side are compared with the next ones, by mean colour and
    by mean gradient. The same difference in the photo is subtracted. The rest is divided by the
    90 % quantile of the differences between neighbouring bands inside the result.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The ratio for the second worst side.
    """
    sides = []
    for turns in range(4):
        pair = [np.rot90(pixels, turns) for pixels in (photo, result)]
        values = []
        for width in (4, 8):
            colour = [_steps_between_bands(pixels, width) for pixels in pair]
            relief = [_steps_between_bands(_relief(pixels)[..., None], width) for pixels in pair]
            for steps, least in ((colour, 0.03), (relief, 0.02)):
                usual = float(np.quantile(steps[1][1:], 0.9))
                values.append((steps[1][0] - steps[0][0]) / (usual + least))
        sides.append(max(values))
    return max(0.0, float(sorted(sides)[-2]))


def lost_structure(photo: Pixels, result: Pixels) -> float:
    """Measure the loss of the photo's coarse structure.

    The gradients of the luminance, blurred with σ = 3, are compared without their sign, because a
    style may swap dark and bright: as vectors ``|g|·(cos 2θ, sin 2θ)``, by their correlation.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        One minus the correlation: 0 for the photo itself, 1 if nothing of it is left.
    """
    a, b = (_lines(pixels) for pixels in (photo, result))
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not size > 1e-6 * a.size:
        return math.nan if not math.isfinite(size) else 1.0
    return 1 - float(np.vdot(a, b).real) / size


def blur(photo: Pixels, result: Pixels) -> float:
    """Measure how much softer the result is than the photo.

    Sharpness is the ratio of the mean gradients of the luminance at σ = 0.7 and at σ = 3. It does
    not depend on contrast, and falls if the image is blurred.

    Args:
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        Sharpness of the photo divided by that of the result; 1 for the photo itself.
    """
    sharpness = []
    for pixels in (photo, result):
        fine, coarse = (np.abs(_gradient(pixels, sigma)).mean() for sigma in (0.7, 3.0))
        sharpness.append(float(fine) / max(float(coarse), 1e-4))
    return sharpness[0] / max(sharpness[1], 1e-3)


def _local_deviation(result: Pixels, side: int) -> NDArray[np.float64]:
    """Return the standard deviation around each pixel, of the channel where it is largest."""
    pixels = result.astype(np.float64)
    mean = ndimage.uniform_filter(pixels, (side, side, 0))
    square = ndimage.uniform_filter(pixels**2, (side, side, 0))
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0)).max(axis=2))


def _distance(colours: NDArray[Any], colour: NDArray[Any]) -> Any:
    return np.sqrt(np.square(colours - colour).sum(axis=-1))


def _spectra(result: Pixels) -> NDArray[np.float64]:
    """Return the power spectrum of each window, ``(windows, S, S, 3)``; S is a multiple of 4."""
    height, width = result.shape[:2]
    side = min(_WINDOW, min(height, width) // 4 * 4)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(side) / side)
    window = (hann[:, None] * hann)[..., None]
    powers = []
    for top in range(0, height - side + 1, side // 2):
        for left in range(0, width - side + 1, side // 2):
            patch = result[top : top + side, left : left + side].astype(np.float64)
            patch = (patch - patch.mean(axis=(0, 1))) * window
            powers.append(np.abs(np.fft.fft2(patch, axes=(0, 1))) ** 2)
    return np.stack(powers)


def _steps_between_bands(pixels: NDArray[Any], width: int) -> NDArray[np.float64]:
    """Return the distances between the mean colours of neighbouring bands, from the top."""
    count = max(3, len(pixels) // width)
    split = np.array_split(pixels[: count * width].astype(np.float64), count)
    bands = np.stack([band.mean(axis=(0, 1)) for band in split])
    return np.asarray(_distance(bands[1:], bands[:-1]))


def _luminance(pixels: Pixels) -> NDArray[np.float64]:
    return np.asarray(pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _gradient(pixels: Pixels, sigma: float) -> NDArray[np.complex128]:
    """Return the gradient of the blurred luminance, ``(H, W)``, as complex numbers."""
    soft = ndimage.gaussian_filter(_luminance(pixels), sigma)
    down, across = np.gradient(soft)
    return np.asarray(across + 1j * down)


def _relief(pixels: Pixels) -> NDArray[np.float64]:
    return np.asarray(np.abs(_gradient(pixels, 0.7)))


def _lines(pixels: Pixels) -> NDArray[np.complex128]:
    gradient = _gradient(pixels, 3.0)
    return gradient**2 / np.maximum(np.abs(gradient), 1e-9)


def measure(name: GateName, photo: Pixels, result: Pixels) -> float:
    """Compute the value of one gate for a photo and its stylised version.

    Args:
        name: Name of the gate.
        photo: Photo ``(H, W, 3)``, RGB in [0, 1].
        result: Stylised photo ``(H, W, 3)``, RGB in [0, 1].

    Returns:
        The value; lower is better. NaN if the result is not finite.
    """
    if not np.isfinite(result).all():
        return math.nan
    match name:
        case "blobs":
            return blobs(photo, result)
        case "lattice_2" | "lattice_4":
            return lattice(result, 2 if name == "lattice_2" else 4)
        case "frame":
            return frame(photo, result)
        case "structure":
            return lost_structure(photo, result)
        case "blur":
            return blur(photo, result)
