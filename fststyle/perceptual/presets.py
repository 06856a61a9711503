"""Loss presets: the calibrated loss and the published recipes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from fststyle.errors import SettingError, check_choice, check_number
from fststyle.perceptual.layers import Architecture, canonical_layer

Form = Literal["relative", "mean"]
GramDivisor = Literal["hw", "chw"]
TVForm = Literal["mean_squares", "half_sum_squares", "sum_absolute"]
PixelRange = Literal[1, 255]

MIN_STYLE_SIDE: Final = 32
"""Minimum side of a style image in pixels, as required by the deep layers."""
_MOST: Final = 1e30  # maximum weight; larger values overflow float32


def _canonical_weights(
    name: str, layers: Mapping[str, float], architecture: Architecture
) -> dict[str, float]:
    if not isinstance(layers, Mapping) or not layers:
        raise SettingError(
            f"loss.{name} must give a weight to at least one layer, such as {{relu4_2: 1}}.",
            code="no_layers",
        )
    weights = {canonical_layer(layer, architecture): weight for layer, weight in layers.items()}
    for layer, weight in weights.items():
        check_number(f"loss.{name}.{layer}", weight, 0, _MOST, below=True)
    return {layer: float(weight) for layer, weight in weights.items()}


@dataclass(frozen=True)
class LossConfig:
    """All settings of a perceptual loss. The defaults define the calibrated loss.

    Attributes:
        preset: Name of the preset, for logs and reports.
        architecture: VGG architecture that computes the features.
        content_layers: Weight of each content layer, by layer name.
        style_layers: Weight of each style layer, by layer name.
        content_weight: Weight of the content term.
        style_weight: Weight of the style term.
        palette_weight: Weight of the palette distance (see `fststyle.perceptual.palette`).
        tv_weight: Weight of the total variation.
        self_similarity_weight: Weight of the self-similarity of the content layers (see
            `fststyle.perceptual.structure`), which counts as part of the content term.
        spatial_weight: Weight of the Laplacian loss, which counts as part of the content term.
        window_weight: Weight of the Gram matrices of the four quarters of the image, relative to
            that of the whole image. It keeps plain areas from staying unpainted. It does not apply
            to the layers of VGG's first block.
        arrangement_weight: Weight of the covariances between features and the features 8 to 16
            pixels away (see `fststyle.perceptual.arrangement`), which counts as part of the style
            term. It prevents regular patterns that the style does not have.
        style_sizes: Short sides in pixels to which the style image is reduced; 0 keeps its size.
            Gram matrices of several sizes are averaged. The image is never enlarged.
        normalised_layers: Layers whose channels are divided by their mean activation over
            natural photos, as in Gatys et al. This requires the original VGG16.
        content_form: ``"relative"`` for ‖F−F_c‖² / ‖F_c‖² per photo, or ``"mean"`` for the mean
            squared difference.
        style_form: ``"relative"`` for ‖G−G_s‖² / ‖G_s‖² per layer, or ``"mean"`` for the mean
            squared difference.
        gram_divisor: Divisor of the Gram matrices; see `gram_matrix`.
        tv_form: Formula of the total variation; see `total_variation`.
        pixel_range: Maximum pixel value used in the total variation, 1 or 255.
        tuned_for: VGG network for which the weights of the terms were chosen.

    Raises:
        SettingError: A layer is unknown, or a value is out of range.

    Example:
        >>> from fststyle.perceptual.presets import LossConfig
        >>> LossConfig(style_weight=1).content_weight
        1.0
    """

    preset: str = "calibrated"
    architecture: Architecture = "vgg16"
    content_layers: Mapping[str, float] = field(default_factory=lambda: {"relu4_2": 1.0})
    style_layers: Mapping[str, float] = field(
        default_factory=lambda: {"relu1_2": 1.5, "relu2_2": 1.5, "relu3_3": 1.0, "relu4_3": 2.0}
    )
    content_weight: float = 1.0
    style_weight: float = 0.5
    palette_weight: float = 0.5
    tv_weight: float = 0.3
    self_similarity_weight: float = 0.0
    spatial_weight: float = 0.0
    window_weight: float = 0.0
    arrangement_weight: float = 0.0
    style_sizes: tuple[int, ...] = (384,)
    normalised_layers: tuple[str, ...] = ("relu3_3", "relu4_2", "relu4_3")
    content_form: Form = "relative"
    style_form: Form = "relative"
    gram_divisor: GramDivisor = "hw"
    tv_form: TVForm = "mean_squares"
    pixel_range: PixelRange = 1
    tuned_for: str = "the original VGG16"

    def __post_init__(self) -> None:
        for name, choices in (
            ("architecture", get_args(Architecture)),
            ("content_form", get_args(Form)),
            ("style_form", get_args(Form)),
            ("gram_divisor", get_args(GramDivisor)),
            ("tv_form", get_args(TVForm)),
            ("pixel_range", get_args(PixelRange)),
        ):
            check_choice(f"loss.{name}", getattr(self, name), choices)
        for name in ("content_layers", "style_layers"):
            layers = _canonical_weights(name, getattr(self, name), self.architecture)
            object.__setattr__(self, name, MappingProxyType(layers))
        normalised = tuple(canonical_layer(n, self.architecture) for n in self.normalised_layers)
        object.__setattr__(self, "normalised_layers", normalised)
        for name in (item.name for item in dataclasses.fields(self) if item.type == "float"):
            check_number(f"loss.{name}", getattr(self, name), 0, _MOST, below=True)
        sizes = self.style_sizes
        sizes = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
        if not sizes or any(
            not isinstance(size, int) or (size != 0 and size < MIN_STYLE_SIDE) for size in sizes
        ):
            raise SettingError(
                f"loss.style_sizes must be whole numbers of pixels, at least {MIN_STYLE_SIDE} "
                f"(or 0 for the image's own size), not {self.style_sizes!r}."
            )
        object.__setattr__(self, "style_sizes", sizes)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as values that JSON supports."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


_FOUR_LAYERS: Final = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}
_FIRST_LAYERS: Final = {f"relu{block}_1": 1.0 for block in range(1, 6)}

_PUBLISHED: Final = LossConfig(
    style_layers=_FOUR_LAYERS,
    palette_weight=0.0,
    tv_weight=0.0,
    style_sizes=(0,),
    normalised_layers=(),
    content_form="mean",
    style_form="mean",
    gram_divisor="chw",
)
"""Values that most published recipes have in common."""

PRESETS: Final[Mapping[str, LossConfig]] = MappingProxyType(
    {
        preset.preset: preset
        for preset in (
            LossConfig(),
            # The parts of a photo keep their relations to one another, while colours and textures
            # are free, so that a higher style weight is possible. The plain content term prevents
            # inverted tones. See docs/training_measurements.md.
            LossConfig(
                preset="painterly",
                content_weight=0.4,
                style_weight=1.0,
                palette_weight=0.3,
                self_similarity_weight=1.0,
                window_weight=0.3,
            ),
            # train.lua, PerceptualCriterion.lua. Their content layer is relu3_3 (index 16 of the
            # Torch Sequential), although the paper says relu2_2.
            replace(
                _PUBLISHED,
                preset="johnson",
                content_layers={"relu3_3": 1.0},
                style_weight=5.0,
                tv_weight=1e-6,
                style_sizes=(256,),
                tv_form="half_sum_squares",
                pixel_range=255,
            ),
            # neural_style.py
            replace(
                _PUBLISHED,
                preset="pytorch_examples",
                content_layers={"relu2_2": 1.0},
                content_weight=1e5,
                style_weight=1e10,
                tuned_for="torchvision's VGG16 (IMAGENET1K_V1)",
            ),
            # src/optimize.py. Its total variation is a mean squared difference, on a 0–255 scale.
            replace(
                _PUBLISHED,
                preset="lengstrom",
                architecture="vgg19",
                style_layers=_FIRST_LAYERS,
                content_weight=7.5,
                style_weight=1e2,
                tv_weight=2e2,
                pixel_range=255,
                tuned_for="VGG19",
            ),
            # The mean over five layers corresponds to a weight of 1/5 each.
            replace(
                _PUBLISHED,
                preset="keras_vgg16",
                content_layers={"relu5_2": 1.0},
                style_layers=dict.fromkeys(_FIRST_LAYERS, 0.2),
                style_weight=1e4,
                style_sizes=(512,),
            ),
            # The recipe does not define a total variation weight, so the default of 0 is used.
            replace(
                _PUBLISHED,
                preset="keras_vgg19",
                architecture="vgg19",
                content_layers={"relu5_2": 1.0},
                style_layers=_FIRST_LAYERS,
                content_weight=1e3,
                style_weight=1e-2,
                style_sizes=(512,),
                gram_divisor="hw",
                tv_form="sum_absolute",
                pixel_range=255,
                tuned_for="VGG19",
            ),
        )
    }
)
"""Settings of the calibrated loss and the published recipes, by preset name."""


def loss_config(preset: str = "calibrated", **overrides: Any) -> LossConfig:
    """Make the settings for a loss from a preset, with some values replaced.

    Args:
        preset: Name of a preset in `PRESETS`.
        **overrides: Values for `LossConfig`; ``None`` keeps the preset's value.

    Raises:
        SettingError: The preset or a key is unknown, or a value is out of range.

    Example:
        >>> from fststyle.perceptual.presets import loss_config
        >>> loss_config("johnson", style_weight=10).style_weight
        10
        >>> loss_config("johnson").content_layers
        mappingproxy({'relu3_3': 1.0})
    """
    if preset not in PRESETS:
        raise SettingError(
            f"Unknown loss {preset!r}; choose from {', '.join(PRESETS)}.", code="unknown_loss"
        )
    known = {item.name for item in dataclasses.fields(LossConfig)} - {"preset", "tuned_for"}
    for key in overrides:
        if key not in known:
            names = ", ".join(sorted(known))
            raise SettingError(
                f"Unknown setting loss.{key}; choose from {names}.", code="unknown_setting"
            )
    given = {key: value for key, value in overrides.items() if value is not None}
    return replace(PRESETS[preset], **given)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
