from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from torch import Tensor

from fststyle.errors import SettingError
from fststyle.perceptual import optimize
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.perceptual.optimize import OptimizeConfig, Step, optimize_config, optimize_image
from fststyle.perceptual.presets import PRESETS, LossConfig, loss_config
from fststyle.perceptual.vgg import VGGWeights


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(height: int, width: int) -> Tensor:
    """Something like a photograph, in [0.1, 0.9]."""
    y = torch.linspace(0, 1, height).reshape(1, 1, -1, 1)
    x = torch.linspace(0, 1, width).reshape(1, 1, 1, -1)
    phase = torch.tensor([0.0, 0.7, 1.9]).reshape(1, 3, 1, 1)
    return 0.5 + 0.4 * torch.sin(7 * x + phase) * torch.cos(5 * y - phase)


def make_loss(weights: VGGWeights, **values: Any) -> PerceptualLoss:
    """A shallow loss that takes nothing from the defaults."""
    everything: dict[str, Any] = {
        "preset": "shallow",
        "content_layers": {"relu2_2": 1.0},
        "style_layers": {"relu1_2": 1.0, "relu2_2": 1.0},
        "content_weight": 1.0,
        "style_weight": 1.0,
        "tv_weight": 0.1,
        "style_sizes": (0,),
        "normalised_layers": (),
        "content_form": "mean",
        "style_form": "relative",
        "gram_divisor": "hw",
        "tv_form": "mean_squares",
        "pixel_range": 1,
    }
    style = (noise(1, 3, 48, 48, seed=9) > 0.7).float()
    return PerceptualLoss(LossConfig(**{**everything, **values}), weights, style)


@pytest.fixture(scope="module")
def loss(narrow_weights: VGGWeights) -> PerceptualLoss:
    return make_loss(narrow_weights)


def value(loss: PerceptualLoss, image: Tensor, content: Tensor) -> float:
    with torch.no_grad():
        return float(loss(image, loss.content_targets(content)).total)


def count_evaluations(loss: PerceptualLoss, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The images at which the loss is computed from now on."""
    images: list[Tensor] = []
    forward = loss.forward

    def spy(image: Tensor, targets: dict[str, Tensor]) -> Any:
        images.append(image.detach().clone())
        return forward(image, targets)

    monkeypatch.setattr(loss, "forward", spy)
    return images


def test_lbfgs_goes_furthest(original_weights: VGGWeights) -> None:
    loss = make_loss(original_weights, content_form="relative", style_weight=5.0)
    content = smooth(40, 40)
    start = value(loss, content, content)
    after: dict[tuple[str, int], float] = {}
    methods: tuple[optimize.Method, ...] = ("lbfgs", "adam")
    for method in methods:

        def note(step: Step, method: str = method) -> None:
            after[method, step.index] = float(step.terms.total)

        config = OptimizeConfig(method=method, iterations=100, scale_factor=1.0)
        result = optimize_image(content, loss, config, on_step=note)
        assert value(loss, result, content) == pytest.approx(after[method, 100], rel=1e-4)
        assert result.min() >= 0
        assert result.max() <= 1
    assert after["lbfgs", 100] < after["adam", 100] < 0.5 * start
    assert after["lbfgs", 100] < 0.9 * after["lbfgs", 10]
    assert after["lbfgs", 10] < 0.8 * start


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_steps_tell_the_truth(
    loss: PerceptualLoss, monkeypatch: pytest.MonkeyPatch, method: Any, rounds: int
) -> None:
    content = smooth(24, 20)
    before = content.clone()
    evaluated = count_evaluations(loss, monkeypatch)
    steps: list[Step] = []
    counts: list[int] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        counts.append(len(evaluated))

    config = OptimizeConfig(method=method, rounds=rounds, iterations=4, scale_factor=1.0)
    result = optimize_image(content, loss, config, on_step=on_step)
    assert [step.index for step in steps] == list(range(1, 4 * rounds + 1))
    assert {step.total for step in steps} == {4 * rounds}
    assert [step.round for step in steps] == [1] * 4 + [2] * (4 * (rounds - 1))
    assert [step.evaluations for step in steps] == counts
    assert len(evaluated) == counts[-1] >= 4 * rounds + 1
    for first, second in zip(evaluated, evaluated[1:], strict=False):
        assert not torch.equal(first, second)
    assert torch.equal(steps[-1].image, result)
    assert not result.requires_grad
    assert torch.equal(content, before)
    monkeypatch.undo()
    for step in steps:
        assert step.image.min() >= 0
        assert step.image.max() <= 1
        assert not step.terms.total.requires_grad
        expected = loss(step.image, loss.content_targets(content))
        for name in expected._fields:
            actual = float(getattr(step.terms, name))
            assert actual == pytest.approx(float(getattr(expected, name)), rel=1e-5), name


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["content", "noise"])
def test_result_is_a_picture(narrow_weights: VGGWeights, method: Any, init: Any) -> None:
    """Also when the loss pulls pixels out of the range."""
    loss = make_loss(narrow_weights, style_weight=100.0)
    content = (smooth(24, 24) > 0.5).float()
    config = OptimizeConfig(method=method, iterations=10, scale_factor=1.0)
    result = optimize_image(content, loss, config, init=init)
    assert result.shape == content.shape
    assert result.dtype == torch.float32
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_move(narrow_weights: VGGWeights, method: Any, level: float) -> None:
    loss = make_loss(narrow_weights, style_weight=30.0)
    content = smooth(24, 24)
    content[..., 6:18, 6:18] = level
    config = OptimizeConfig(method=method, iterations=20, scale_factor=1.0)
    result = optimize_image(content, loss, config)
    change = (result - level).abs()[..., 6:18, 6:18]
    assert change.max() > 0.1
    assert (change > 0).float().mean() > 0.05


def still(seed: int = 0) -> OptimizeConfig:
    """Moves no pixel visibly, so that the result is the start."""
    return OptimizeConfig(
        method="adam", iterations=1, learning_rate=1e-7, scale_factor=1.0, seed=seed
    )


def test_starts(loss: PerceptualLoss) -> None:
    content, other = smooth(16, 18), noise(1, 3, 16, 18, seed=4)
    before = other.clone()
    from_content = optimize_image(content, loss, still())
    from_other = optimize_image(content, loss, still(), init=other)
    from_noise = optimize_image(content, loss, still(), init="noise")
    torch.testing.assert_close(from_content, content, rtol=0, atol=1e-6)
    torch.testing.assert_close(from_other, other, rtol=0, atol=1e-6)
    assert torch.equal(other, before)
    assert 0.45 < float(from_noise.mean()) < 0.55
    assert float(from_noise.std()) == pytest.approx(12**-0.5, abs=0.03)
    outside = optimize_image(content, loss, still(), init=content * 4 - 1)
    torch.testing.assert_close(outside, (content * 4 - 1).clamp(0, 1), rtol=0, atol=1e-6)


def test_noise_is_a_function_of_the_seed(loss: PerceptualLoss) -> None:
    content = smooth(16, 16)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    results = [optimize_image(content, loss, still(seed), init="noise") for seed in (3, 3, 4)]
    assert torch.equal(results[0], results[1])
    assert (results[0] - results[2]).abs().mean() > 0.1
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002


def test_a_good_start_is_ahead(loss: PerceptualLoss) -> None:
    content = smooth(32, 32)
    better = optimize_image(
        content, loss, OptimizeConfig(method="lbfgs", iterations=20, scale_factor=1.0)
    )
    first: list[float] = []
    starts: tuple[Tensor | optimize.Init, ...] = (better, "noise")
    for init in starts:
        optimize_image(
            content,
            loss,
            OptimizeConfig(method="lbfgs", iterations=1, scale_factor=1.0),
            init=init,
            on_step=lambda step: first.append(float(step.terms.total)),
        )
    assert first[0] < 0.5 * first[1]


@pytest.mark.parametrize(
    ("init", "code", "fact"),
    [
        (torch.zeros(1, 3, 16, 15), "size_differs", "15×16"),
        (torch.zeros(1, 1, 16, 16), "size_differs", "16×16"),
        ("blank", "setting", "content, noise, not 'blank'"),
    ],
)
def test_impossible_starts(loss: PerceptualLoss, init: Any, code: str, fact: str) -> None:
    with raises(SettingError, code, fact):
        optimize_image(smooth(16, 16), loss, still(), init=init)


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (2.0, [(12, 10), (24, 20), (48, 40)]),
        (4.0, [(12, 10), (48, 40)]),
        (1.0, [(48, 40)]),
        (None, [(48, 40)]),
    ],
)
@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_scales(
    loss: PerceptualLoss,
    monkeypatch: pytest.MonkeyPatch,
    method: Any,
    factor: float | None,
    expected: list[tuple[int, int]],
) -> None:
    monkeypatch.setattr(optimize, "_COARSEST", 12)
    evaluated = count_evaluations(loss, monkeypatch)
    steps: list[Step] = []
    config = OptimizeConfig(method=method, iterations=2, scale_factor=factor)
    content = smooth(48, 40)
    result = optimize_image(content, loss, config, on_step=steps.append)
    sizes = [tuple(step.image.shape[-2:]) for step in steps]
    assert sizes == [size for size in expected for _ in range(2)]
    assert {tuple(image.shape[-2:]) for image in evaluated} == set(expected)
    assert [step.index for step in steps] == list(range(1, len(steps) + 1))
    assert {step.total for step in steps} == {len(steps)}
    assert steps[-1].evaluations == len(evaluated)
    assert result.shape == content.shape


def test_large_photos_have_several_scales(loss: PerceptualLoss) -> None:
    sizes: list[tuple[int, ...]] = []
    optimize_image(
        smooth(40, optimize.MAX_SINGLE_SCALE + 8),
        loss,
        OptimizeConfig(method="adam", iterations=1, scale_factor=None),
        on_step=lambda step: sizes.append(tuple(step.image.shape[-2:])),
    )
    assert sizes == [(20, optimize.MAX_SINGLE_SCALE // 2 + 4), (40, optimize.MAX_SINGLE_SCALE + 8)]


def test_no_scale_is_too_small_for_the_loss(
    narrow_weights: VGGWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimize, "_COARSEST", 2)
    loss = make_loss(narrow_weights, content_layers={"relu4_1": 1.0})
    sizes: list[tuple[int, ...]] = []
    optimize_image(
        smooth(20, 64),
        loss,
        OptimizeConfig(method="adam", iterations=1, scale_factor=2.0),
        on_step=lambda step: sizes.append(tuple(step.image.shape[-2:])),
    )
    assert sizes == [(10, 32), (20, 64)]
    with raises(SettingError, "too_small", "40×7", "relu4_1", 8):
        optimize_image(smooth(7, 40), loss, still())


def test_adam_s_moments_carry_over(loss: PerceptualLoss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimize, "_COARSEST", 24)
    made: list[torch.optim.Adam] = []

    class Recorder(torch.optim.Adam):
        def __init__(self, *args: Any, **values: Any) -> None:
            super().__init__(*args, **values)
            made.append(self)

    monkeypatch.setattr(torch.optim, "Adam", Recorder)
    content = smooth(48, 48)
    images: list[Tensor] = []
    carried = optimize_image(
        content,
        loss,
        OptimizeConfig(method="adam", iterations=3, scale_factor=2.0),
        on_step=lambda step: images.append(step.image.clone()),
    )
    (state,) = made[-1].state.values()
    assert float(state["step"]) == 6
    assert state["exp_avg"].shape == content.shape
    assert state["exp_avg_sq"].min() >= 0
    # The same from where the coarse scale ended, by an Adam that knows nothing.
    halfway = torch.nn.functional.interpolate(
        images[2], size=(48, 48), mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    config = OptimizeConfig(method="adam", iterations=3, scale_factor=1.0)
    fresh = optimize_image(content, loss, config, init=halfway)
    (state,) = made[-1].state.values()
    assert float(state["step"]) == 3
    assert (carried - fresh).abs().max() > 1e-3


@pytest.mark.parametrize(("rounds", "evaluations"), [(1, 6), (3, 6), (3, 2)])
def test_rounds_end_by_evaluations(
    loss: PerceptualLoss, monkeypatch: pytest.MonkeyPatch, rounds: int, evaluations: int
) -> None:
    evaluated = count_evaluations(loss, monkeypatch)
    steps: list[Step] = []
    config = OptimizeConfig(
        method="lbfgs", rounds=rounds, iterations=50, evaluations=evaluations, scale_factor=1.0
    )
    optimize_image(smooth(24, 24), loss, config, on_step=steps.append)
    assert steps[-1].evaluations == len(evaluated)
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert {step.total for step in steps} == {50 * rounds}
    begin = 0
    for round_ in range(1, rounds + 1):
        counts = [step.evaluations - begin for step in steps if step.round == round_]
        assert all(count < evaluations for count in counts[:-1])
        # The last line search may go over by a few.
        assert evaluations <= counts[-1] < evaluations + 25
        begin += counts[-1]


def test_a_new_round_forgets_the_curvature(loss: PerceptualLoss) -> None:
    content = smooth(24, 24)
    one, two = (
        optimize_image(
            content,
            loss,
            OptimizeConfig(method="lbfgs", rounds=rounds, iterations=8 // rounds, scale_factor=1.0),
        )
        for rounds in (1, 2)
    )
    assert (one - two).abs().max() > 1e-4


def test_keras_vgg19_recipe_is_adam_on_255(narrow_weights: VGGWeights) -> None:
    """Learning rate 0.02, β1 0.99, ε 0.1 on pixels in 0 to 255, clipped after each step."""
    # Weights that give gradients near ε, so that each of the numbers matters.
    config = loss_config("keras_vgg19", architecture="vgg16", content_weight=3e5, style_weight=3e5)
    style = (noise(1, 3, 40, 40, seed=9) > 0.7).float()
    loss = PerceptualLoss(config, narrow_weights, style)
    content = (1.2 * noise(1, 3, 32, 36) - 0.1).clamp(0, 1)
    targets = loss.content_targets(content)
    steps = 5

    pixels = 255 * content.double()
    first, second = torch.zeros_like(pixels), torch.zeros_like(pixels)
    largest = 0.0
    for t in range(1, steps + 1):
        image = pixels.float().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(image / 255, targets).total, image)
        largest = max(largest, float(gradient.abs().max()))
        first = 0.99 * first + 0.01 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.99**t)
        pixels = pixels - 0.02 * corrected / ((second / (1 - 0.999**t)).sqrt() + 0.1)
        pixels = pixels.clamp(0, 255)
    assert 0.1 < largest < 10

    recipe = optimize_config("keras_vgg19", rounds=1, iterations=steps)
    actual = 255 * optimize_image(content, loss, recipe).double()
    assert (actual - 255 * content).abs().max() > 0.05
    torch.testing.assert_close(actual, pixels, rtol=0, atol=2e-4)


def test_recipes_as_published() -> None:
    assert optimize_config("keras_vgg16") == OptimizeConfig(
        method="lbfgs", rounds=10, iterations=20, evaluations=20, scale_factor=1.0
    )
    vgg19 = optimize_config("keras_vgg19")
    assert (vgg19.method, vgg19.rounds, vgg19.iterations) == ("adam", 10, 100)
    assert vgg19.learning_rate == pytest.approx(0.02 / 255)
    assert (vgg19.beta1, vgg19.beta2, vgg19.epsilon) == pytest.approx((0.99, 0.999, 25.5))
    assert vgg19.scale_factor == 1.0
    for preset in PRESETS.keys() - {"keras_vgg16", "keras_vgg19"}:
        assert optimize_config(preset) == OptimizeConfig()


def test_overrides() -> None:
    recipe = optimize_config("keras_vgg16", iterations=7, learning_rate=None)
    assert (recipe.iterations, recipe.rounds, recipe.evaluations) == (7, 10, 20)
    # The other optimiser does not get this one's step size or limit.
    other = optimize_config("keras_vgg19", method="lbfgs")
    assert (other.method, other.learning_rate, other.rounds) == ("lbfgs", None, 10)
    other = optimize_config("keras_vgg16", method="adam")
    assert (other.method, other.evaluations) == ("adam", None)
    other = optimize_config("keras_vgg19", method="lbfgs", learning_rate=0.5)
    assert other.learning_rate == 0.5
    same = optimize_config("keras_vgg19", method="adam")
    assert same == optimize_config("keras_vgg19")


def test_the_loss_s_own_recipe_is_the_default(narrow_weights: VGGWeights) -> None:
    config = loss_config("keras_vgg16")
    loss = PerceptualLoss(config, narrow_weights, noise(1, 3, 40, 40))
    steps: list[Step] = []
    optimize_image(smooth(16, 16), loss, on_step=steps.append)
    assert {step.total for step in steps} == {200}
    assert steps[-1].round == 10


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "sgd"}, "method must be one of lbfgs, adam, not 'sgd'"),
        ({"method": None}, "method must be one of lbfgs, adam, not None"),
        ({"rounds": 0}, "rounds must be a whole number from 1, not 0"),
        ({"iterations": 0}, "iterations must be a whole number from 1, not 0"),
        ({"history": 0}, "history must be a whole number from 1, not 0"),
        ({"evaluations": 1}, "evaluations must be a whole number from 2, not 1"),
        ({"learning_rate": 0.0}, "learning_rate must be a number above 0, not 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number above 0, not nan"),
        ({"learning_rate": math.inf}, "learning_rate must be a number above 0, not inf"),
        ({"scale_factor": 0.5}, "scale_factor must be a number from 1 to 4, not 0.5"),
        ({"scale_factor": math.nan}, "scale_factor must be a number from 1 to 4, not nan"),
        ({"beta1": 1.0}, "beta1 must be a number from 0 and below 1, not 1.0"),
        ({"beta2": -0.1}, "beta2 must be a number from 0 and below 1, not -0.1"),
        ({"epsilon": 0.0}, "epsilon must be a number above 0, not 0.0"),
    ],
)
def test_impossible_settings(values: dict[str, Any], said: str) -> None:
    with raises(SettingError, "setting", said):
        OptimizeConfig(**values)


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
@pytest.mark.parametrize(
    ("weights", "factor"),
    [({}, math.nan), ({"style_weight": 9e29, "style_layers": {"relu1_2": 9e29}}, 1.0)],
)
def test_a_loss_that_is_not_finite(
    narrow_weights: VGGWeights, method: Any, weights: dict[str, Any], factor: float
) -> None:
    config = OptimizeConfig(method=method, iterations=2, scale_factor=1.0)
    loss = make_loss(narrow_weights, **weights)
    with raises(SettingError, "not_finite"):
        optimize_image(smooth(16, 16), loss, config, init=factor * smooth(16, 16))
