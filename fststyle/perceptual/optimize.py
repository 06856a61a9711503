"""Per-image optimisation, the original method of style transfer, with the same loss as training.

Source: Gatys, Ecker, Bethge, "Image Style Transfer Using Convolutional Neural Networks"
(CVPR 2016). The pixels themselves are the parameters; L-BFGS (the paper's choice) or Adam
minimises the perceptual loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fststyle.errors import SettingError, check_choice, check_number
from fststyle.perceptual.losses import LossTerms, PerceptualLoss
from fststyle.perceptual.vgg import Features

Method = Literal["lbfgs", "adam"]
Init = Literal["content", "noise"]

MAX_SINGLE_SCALE: Final = 512
"""Long side in pixels above which several scales are used by default."""

_COARSEST: Final = 192
"""Minimum long side of a scale in pixels."""
_LOSS_SCALE: Final = 1e4
"""Initial value of the scaled loss that L-BFGS minimises. Torch drops curvature pairs unless
y·s > 1e-10; for a loss of order 1 over a million pixels, y·s is close to this limit."""
_OUT_OF_RANGE: Final = 1.0
"""Weight of the squared distance to [0, 1], summed over pixels, in the scaled loss."""


@dataclass(frozen=True)
class OptimizeConfig:
    """Settings for the optimisation. The defaults suit the calibrated loss.

    Attributes:
        method: Optimiser to use, ``"lbfgs"`` or ``"adam"``.
        rounds: Number of rounds. L-BFGS discards its curvature after each round; Adam keeps its
            state.
        iterations: Number of iterations per round, at each scale.
        evaluations: Number of loss evaluations after which a round of L-BFGS also ends.
        learning_rate: Step size for pixels in [0, 1]. ``None`` means 1 for L-BFGS and 0.02 for
            Adam.
        beta1: Decay rate of Adam's first moment.
        beta2: Decay rate of Adam's second moment.
        epsilon: Adam's ε, which prevents division by zero.
        scale_factor: Ratio between neighbouring scales, such as 2 or √2; 1 uses a single scale.
            ``None`` means 2 if the long side is more than 512 pixels, and 1 otherwise.
        history: Number of curvature pairs that L-BFGS keeps.
        seed: Random seed for the initial noise.

    Raises:
        SettingError: A value is out of range.

    Example:
        >>> from fststyle.perceptual.optimize import OptimizeConfig
        >>> OptimizeConfig(method="adam", iterations=300).rounds
        1
    """

    method: Method = "lbfgs"
    rounds: int = 1
    iterations: int = 100
    evaluations: int | None = None
    learning_rate: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    scale_factor: float | None = None
    history: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        for name in ("rounds", "iterations", "history"):
            check_number(name, getattr(self, name), 1, whole=True)
        if self.evaluations is not None:
            check_number("evaluations", self.evaluations, 2, whole=True)
        for name in ("beta1", "beta2"):
            check_number(name, getattr(self, name), 0, 1, below=True)
        check_number("epsilon", self.epsilon, above=True, below=True)
        if self.learning_rate is not None:
            check_number("learning_rate", self.learning_rate, above=True, below=True)
        if self.scale_factor is not None:
            check_number("scale_factor", self.scale_factor, 1, 4)


RECIPES: Final[Mapping[str, OptimizeConfig]] = MappingProxyType(
    {
        # The recipe calls scipy's fmin_l_bfgs_b in 10 rounds of 20 evaluations.
        "keras_vgg16": OptimizeConfig(
            method="lbfgs", rounds=10, iterations=20, evaluations=20, scale_factor=1.0
        ),
        # The recipe uses Adam with learning rate 0.02 and ε 0.1 on pixels from 0 to 255. There,
        # gradients are 255 times smaller and steps 255 times larger than for pixels in [0, 1].
        "keras_vgg19": OptimizeConfig(
            method="adam",
            rounds=10,
            iterations=100,
            learning_rate=0.02 / 255,
            beta1=0.99,
            beta2=0.999,
            epsilon=0.1 * 255,
            scale_factor=1.0,
        ),
    }
)
"""Settings of the published recipes, by loss preset. All other presets use the defaults."""


def optimize_config(preset: str, **overrides: Any) -> OptimizeConfig:
    """Make the settings for a loss preset, with some values replaced.

    Args:
        preset: Name of a preset in `fststyle.perceptual.presets.PRESETS`.
        **overrides: Values for `OptimizeConfig`; ``None`` keeps the preset's value.

    Returns:
        The settings.

    Raises:
        SettingError: A value is out of range.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    recipe = RECIPES.get(preset, OptimizeConfig())
    if given.get("method", recipe.method) != recipe.method:
        # The preset's step size does not suit the other method.
        given = {"learning_rate": None, "evaluations": None, **given}
    return dataclasses.replace(recipe, **given)


@dataclass(frozen=True, eq=False)
class Step:
    """Progress of `optimize_image` after an iteration.

    Attributes:
        index: Number of iterations so far, over all scales and rounds.
        total: Maximum number of iterations.
        round: Number of the round, starting with 1.
        evaluations: Number of loss evaluations so far.
        terms: Weighted loss terms of `image`, without gradients.
        image: Current image ``(1, 3, h, w)`` in [0, 1], at the current scale.
    """

    index: int
    total: int
    round: int
    evaluations: int
    terms: LossTerms
    image: Tensor


def optimize_image(
    content: Tensor,
    loss: PerceptualLoss,
    config: OptimizeConfig | None = None,
    *,
    init: Init | Tensor = "content",
    on_step: Callable[[Step], None] | None = None,
) -> Tensor:
    """Stylise a photo by optimising its pixels.

    Args:
        content: Photo ``(1, 3, H, W)``, RGB in [0, 1].
        loss: Perceptual loss for the style.
        config: Settings for the optimisation; by default, those of the loss preset.
        init: Initial image: ``"content"`` (the photo), ``"noise"``, or an image of the same
            shape.
        on_step: Function called after each iteration.

    Returns:
        The result, ``(1, 3, H, W)`` in [0, 1].

    Raises:
        SettingError: The loss is no longer finite, `init` has a different shape, or the photo is
            too small for the layers of the loss.

    Example:
        >>> import torch
        >>> from fststyle.perceptual.losses import PerceptualLoss
        >>> from fststyle.perceptual.optimize import OptimizeConfig, optimize_image
        >>> from fststyle.perceptual.presets import loss_config
        >>> from fststyle.perceptual.vgg_weights import load_weights
        >>> photo, style = torch.rand(2, 1, 3, 32, 32)
        >>> loss = PerceptualLoss(loss_config(), load_weights(), style)
        >>> optimize_image(photo, loss, OptimizeConfig(iterations=1)).shape
        torch.Size([1, 3, 32, 32])
    """
    config = config or optimize_config(loss.config.preset)
    height, width = content.shape[-2:]
    deepest = loss.vgg.layers[-1]
    least = 2 ** (int(deepest[4]) - 1)  # each block except the first starts with pooling
    if min(height, width) < least:
        raise SettingError(
            f"The photo is {width}×{height} pixels at this size; {deepest} needs at least {least} "
            "on each side.",
            remedy="Choose a larger size.",
            code="too_small",
        )
    sizes = [size for size in _scales(height, width, config.scale_factor) if min(size) >= least]
    start = _start(content, init, config.seed)
    image = _resized(start, sizes[0])
    total = len(sizes) * config.rounds * config.iterations
    done = evaluations = 0
    adam: torch.optim.Adam | None = None
    for size in sizes:
        image = _resized(image, size).clamp(0, 1).contiguous().requires_grad_()
        problem = _Problem(image, loss, loss.content_targets(_resized(content, size)))
        if config.method == "adam":
            adam = _adam(image, config, carried=adam)
        for round_ in range(1, config.rounds + 1):
            for iteration in _iterations(problem, config, adam):
                if on_step is not None:
                    used = evaluations + problem.evaluations
                    shown = image.detach().clamp(0, 1)
                    on_step(Step(done + iteration, total, round_, used, problem.terms, shown))
            done += config.iterations
        evaluations += problem.evaluations
        image = image.detach()
    return image.clamp(0, 1)


class _Problem:
    """Loss of one image at one scale, as a function to minimise.

    L-BFGS sometimes evaluates the same point twice, so `evaluate` caches its last result.
    """

    def __init__(self, image: Tensor, loss: PerceptualLoss, targets: Features) -> None:
        self.image = image
        self.evaluations = 0
        self.terms: LossTerms
        self._loss = loss
        self._targets = targets
        self.scale = 0.0
        self._last: tuple[Tensor, Tensor, Tensor, LossTerms] | None = None

    def evaluate(self) -> Tensor:
        """Compute the scaled loss, and store its gradient in ``image.grad``."""
        if self._last is not None and torch.equal(self._last[0], self.image):
            _, value, gradient, self.terms = self._last
            self.image.grad = gradient.clone()
            return value
        self.image.grad = None
        # Values outside [0, 1] cannot be displayed. The loss is computed for the nearest valid
        # image, and a quadratic penalty pulls the pixels back. Clamping between iterations would
        # instead distort the curvature that L-BFGS has stored.
        # `clamp` alone has no gradient at exactly 0 and 1 in torch 2.14, so the black and white
        # pixels of a photo would never change.
        image = self.image
        valid = (image >= 0) & (image <= 1)
        inside = torch.where(valid, image, image.detach().clamp(0, 1))
        terms = self._loss(inside, self._targets)
        if not self.scale:
            self.scale = _LOSS_SCALE / max(float(terms.total.detach()), 1e-12)
        value = self.scale * terms.total + _OUT_OF_RANGE * (image - inside).square().sum()
        if not bool(torch.isfinite(value)):
            raise SettingError(
                "The loss is no longer finite.",
                remedy="Choose a smaller learning rate or smaller weights.",
                code="not_finite",
            )
        value.backward()
        self.evaluations += 1
        self.terms = LossTerms(*(term.detach() for term in terms))
        assert self.image.grad is not None
        gradient = self.image.grad.clone()
        self._last = (self.image.detach().clone(), value.detach(), gradient, self.terms)
        return value.detach()


def _iterations(
    problem: _Problem, config: OptimizeConfig, adam: torch.optim.Adam | None
) -> Iterator[int]:
    """Run one round with Adam, or with L-BFGS by default, and yield the number of each iteration.

    L-BFGS makes one iteration per call, to report progress. It keeps its state between the calls.
    """
    lbfgs = torch.optim.LBFGS(
        [problem.image],
        lr=config.learning_rate or 1.0,
        max_iter=1,
        max_eval=1000,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        history_size=config.history,
        line_search_fn="strong_wolfe",
    )
    begin = problem.evaluations
    for iteration in range(1, config.iterations + 1):
        if adam is None:
            lbfgs.step(lambda: float(problem.evaluate()))  # type: ignore[no-untyped-call]
        else:
            problem.evaluate()
            assert problem.image.grad is not None
            problem.image.grad.div_(problem.scale)  # Adam's ε is chosen for the unscaled loss
            adam.step()
            with torch.no_grad():
                problem.image.clamp_(0, 1)
        problem.evaluate()  # computes the terms of the new image; the next iteration reuses them
        yield iteration
        evaluations = problem.evaluations - begin
        if adam is None and config.evaluations and evaluations >= config.evaluations:
            break


def _adam(
    image: Tensor, config: OptimizeConfig, carried: torch.optim.Adam | None
) -> torch.optim.Adam:
    """Make an Adam optimiser for an image, with resized moments from the previous scale."""
    adam = torch.optim.Adam(
        [image],
        lr=config.learning_rate or 0.02,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
    )
    if carried is not None:
        (old,) = carried.state.values()
        size = (image.shape[-2], image.shape[-1])
        adam.state[image] = {
            "step": old["step"].clone(),
            "exp_avg": _resized(old["exp_avg"], size).contiguous(),
            "exp_avg_sq": _resized(old["exp_avg_sq"], size).clamp_min(0).contiguous(),
        }
    return adam


def _scales(height: int, width: int, factor: float | None) -> list[tuple[int, int]]:
    """List the sizes from coarse to fine; the last size is (height, width)."""
    long_side = max(height, width)
    if factor is None:
        factor = 2.0 if long_side > MAX_SINGLE_SCALE else 1.0
    sizes = [(height, width)]
    ratio = factor
    while factor > 1 and long_side / ratio >= _COARSEST:
        sizes.insert(0, (max(1, round(height / ratio)), max(1, round(width / ratio))))
        ratio *= factor
    return sizes


def _start(content: Tensor, init: Init | Tensor, seed: int) -> Tensor:
    if isinstance(init, Tensor):
        if init.shape != content.shape:
            raise SettingError(
                f"The start image is {init.shape[-1]}×{init.shape[-2]} pixels and the photo "
                f"{content.shape[-1]}×{content.shape[-2]}; both must have the same size.",
                code="size_differs",
            )
        return init.detach()
    if init == "content":
        return content.detach()
    check_choice("init", init, get_args(Init))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(content.shape, generator=generator, dtype=torch.float32)
    return noise.to(content.device, content.dtype)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return F.interpolate(image, size=size, mode="bicubic", antialias=True, align_corners=False)
