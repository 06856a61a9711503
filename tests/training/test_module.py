from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from errors_help import raises
from module_help import fit, make_module, photos, sgd
from module_help import loss as loss  # the fixture
from torch import Tensor

from fststyle.errors import DivergedError, SettingError
from fststyle.perceptual.losses import PerceptualLoss
from fststyle.training import module
from fststyle.training.guards import StepGuard
from fststyle.training.module import Schedule, StyleModule, averaging


def assert_equal(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=False)


# The schedule


@pytest.mark.parametrize(
    ("schedule", "steps", "seconds", "expected"),
    [
        (Schedule(steps=200), 50, 1e9, 0.25),  # no minutes, so time does not matter
        (Schedule(minutes=0.5), 10**9, 7.5, 0.25),
        (Schedule(steps=200, minutes=1), 50, 30, 0.5),
        (Schedule(steps=200, minutes=1), 150, 30, 0.75),
        (Schedule(steps=200, minutes=1), 10, 90, 1.0),
        (Schedule(steps=200), 0, 0, 0.0),
        (Schedule(steps=200), 201, 0, 1.0),
    ],
)
def test_progress_goes_by_the_nearer_limit(
    schedule: Schedule, steps: int, seconds: float, expected: float
) -> None:
    assert schedule.progress(steps, seconds) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (0, 0.25),  # of 1, after 3 steps of warm-up: 1/4, 2/4, 3/4, then all of it
        (2, 0.75 * 0.5 * (1 + math.cos(math.pi * 2 / 1000))),
        (250, 0.5 * (1 + math.sqrt(0.5))),
        (500, 0.5),
        (1000, 0.0),
    ],
)
def test_learning_rate_warms_up_and_follows_a_cosine(steps: int, expected: float) -> None:
    schedule = Schedule(steps=1000, warmup_steps=3)
    assert schedule.learning_rate_factor(steps, 1e9) == pytest.approx(expected, abs=1e-12)


def test_learning_rate_follows_time() -> None:
    schedule = Schedule(minutes=10, warmup_steps=0)
    assert schedule.learning_rate_factor(7, 300) == pytest.approx(0.5)
    assert schedule.learning_rate_factor(7, 600) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"minutes=10 or steps=2000"),
        ({"steps": 0}, "steps must be a whole number from 1, not 0"),
        ({"steps": 1.5}, "steps must be a whole number from 1, not 1.5"),
        ({"steps": True}, "steps must be a whole number from 1, not True"),
        ({"steps": "ten"}, "steps must be a whole number from 1, not 'ten'"),
        ({"minutes": 0}, "minutes must be a number above 0"),
        ({"minutes": math.nan}, "minutes must be a number above 0"),
        ({"minutes": math.inf}, "minutes must be a number above 0"),
        ({"minutes": "10m"}, "minutes must be a number above 0, not '10m'"),
        ({"steps": 1, "warmup_steps": -1}, "trainer.warmup_steps"),
        ({"steps": 1, "warmup_steps": "x"}, "trainer.warmup_steps must be a number"),
        ({"steps": 1, "ema_decay": 1}, "trainer.ema_decay"),
        ({"steps": 1, "gradient_clip": 0}, "trainer.gradient_clip"),
        ({"steps": 1, "gradient_clip": math.nan}, "trainer.gradient_clip"),
    ],
)
def test_schedule_refuses(values: dict[str, Any], message: str) -> None:
    with raises(SettingError, "setting", message):
        Schedule(**values)


# Steps


def test_learning_rate_is_set_at_each_step(loss: PerceptualLoss) -> None:
    recorder = fit(make_module(loss, steps=4, warmup_steps=1), photos(4))
    expected = [
        0.01 * f for f in (0.5, 0.5 * (1 + math.sqrt(0.5)), 0.5, 0.5 * (1 - math.sqrt(0.5)))
    ]
    assert recorder.rates == pytest.approx(expected, rel=1e-12)


def test_average_is_the_exponential_moving_average(loss: PerceptualLoss) -> None:
    recorder = fit(make_module(loss, ema_decay=0.15), photos(4))
    name = "0.weight" if "0.weight" in recorder.weights[0] else next(iter(recorder.weights[0]))
    weights = [state[name].double().numpy() for state in recorder.weights]
    expected = weights[1]  # the start is forgotten at once
    for after in weights[2:]:
        expected = 0.15 * expected + 0.85 * after
    assert np.abs(weights[-1] - expected).max() > 1e-4
    np.testing.assert_allclose(recorder.averages[-1][name].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("decay", [0.99, 0.0])
def test_the_average_begins_as_a_short_one(decay: float) -> None:
    update, mean, expected = averaging(decay), torch.zeros(2), 0.0
    for steps in range(1, 2000):
        update([mean], [torch.full((2,), float(steps))], torch.tensor(steps))
        kept = min(decay, (1 + steps) / (10 + steps))
        expected = kept * expected + (1 - kept) * steps
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    # It lags behind by as many steps as the average has in the end.
    assert 1999 - expected == pytest.approx(decay / (1 - decay), rel=0.01)


def test_gradient_is_clipped(loss: PerceptualLoss) -> None:
    def length_of_first_step(clip: float) -> float:
        module = make_module(loss, sgd, warmup_steps=0, gradient_clip=clip)
        before, after = fit(module, photos(1)).weights
        squares = [(after[name] - before[name]).double().square().sum() for name in after]
        return math.sqrt(float(sum(squares))) / 0.5  # by the learning rate

    whole = length_of_first_step(1e9)
    assert length_of_first_step(whole / 8) == pytest.approx(whole / 8, rel=1e-3)
    assert length_of_first_step(2 * whole) == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_failed_step_is_taken_back(
    loss: PerceptualLoss, bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    module = make_module(loss, warmup_steps=0)
    module.guard = StepGuard(keep_every=2)
    batches = photos(5)
    batches[3] = torch.full_like(batches[3], bad)
    recorder = fit(module, batches)
    # States 0 and 2 were kept, state 3 was found bad.
    assert_equal(recorder.weights[4], recorder.weights[2])
    assert_equal(recorder.averages[4], recorder.averages[2])
    assert_equal(recorder.optimizers[4]["state"], recorder.optimizers[2]["state"])
    assert (module.steps_made, module.guard.rollbacks) == (5, 1)
    assert module.average.n_averaged == 3
    factors = [0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(5)]
    assert recorder.rates[4] == pytest.approx(0.5 * 0.01 * factors[4])
    assert recorder.rates[2] == pytest.approx(0.01 * factors[2])
    assert any(
        not value.equal(recorder.weights[4][name]) for name, value in recorder.weights[5].items()
    )
    assert all(bool(value.isfinite().all()) for value in recorder.weights[5].values())
    messages = [r.getMessage() for r in caplog.records if r.name == "fststyle.training.module"]
    assert messages == [
        "Step 4 failed (its loss is not finite); back to the weights of step 2, and the learning "
        "rate is halved (now at most 0.005)."
    ]


def test_poisoned_weights_are_taken_back(loss: PerceptualLoss) -> None:
    """A step that spoils the weights is found out by the next one, whose state is not kept."""

    class Poisoned(StyleModule):
        def training_step(self, batch: Tensor, batch_idx: int) -> None:
            super().training_step(batch, batch_idx)
            if self.steps_made == 3:
                with torch.no_grad():
                    for parameter in self.network.parameters():
                        parameter.fill_(math.nan)

    module = make_module(loss, kind=Poisoned)
    module.guard = StepGuard(keep_every=1)
    recorder = fit(module, photos(5))
    assert_equal(recorder.weights[4], recorder.weights[2])
    assert all(bool(value.isfinite().all()) for value in recorder.weights[5].values())


def test_failure_at_the_first_step(loss: PerceptualLoss, caplog: pytest.LogCaptureFixture) -> None:
    module = make_module(loss)
    recorder = fit(module, [torch.full((1, 3, 64, 64), math.nan)] * 2)
    assert_equal(recorder.weights[2], recorder.weights[0])
    assert module.guard.rollbacks_in_a_row == 2
    assert "Step 2 failed (its loss is not finite); the weights are unchanged" in caplog.text


def lasting(rate: float, steps: int = 101, **options: Any) -> StyleModule:
    """A module that has made so many steps at a constant learning rate."""
    narrow = options.pop("loss")

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=rate)

    module = make_module(narrow, optimizer, warmup_steps=0, steps=10**6, **options)
    fit(module, photos(10) * (steps // 10) + photos(steps % 10))
    return module


def test_loss_that_falls_is_let_be(loss: PerceptualLoss) -> None:
    assert lasting(0.003, loss=loss).steps_made == 101


def test_loss_that_does_not_fall_ends_the_run(loss: PerceptualLoss) -> None:
    with raises(DivergedError, "loss_stays", "100 steps", "optim.lr"):
        lasting(1e-9, loss=loss)
    lasting(1e-9, steps=99, loss=loss)
    lasting(1e-9, loss=loss, warm_start=True)


def test_resumed_run_checks_the_loss_of_its_beginning(loss: PerceptualLoss) -> None:
    first = lasting(1e-9, steps=60, loss=loss)
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    resumed = make_module(loss, warmup_steps=0)
    resumed.load_state_dict(first.state_dict())
    resumed.on_load_checkpoint(copy.deepcopy(checkpoint))
    resumed.schedule = Schedule(steps=10**6, warmup_steps=10**6)  # a learning rate of nearly zero
    with raises(DivergedError, "loss_stays"):
        fit(resumed, photos(10) * 4)
    assert resumed.steps_made == 100
    later: dict[str, Any] = {}
    resumed.on_save_checkpoint(later)
    past = make_module(loss, steps=10**6)
    past.on_load_checkpoint(later)
    fit(past, photos(2))  # it is past the hundredth step, and not looked at again
    assert past.steps_made == 102


def test_loss_is_left_alone(loss: PerceptualLoss) -> None:
    before = copy.deepcopy(loss.state_dict())
    module = make_module(loss)
    fit(module, photos(2))
    assert_equal(dict(module.loss.state_dict()), dict(before))
    assert all(parameter.grad is None for parameter in module.loss.parameters())
    assert not any(parameter.requires_grad for parameter in module.loss.parameters())


def test_optimizer_has_the_network_alone(loss: PerceptualLoss) -> None:
    module = make_module(loss)
    (group,) = module.configure_optimizers().param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in module.network.parameters()]


def test_training_lowers_the_loss(loss: PerceptualLoss) -> None:
    module = make_module(loss, warmup_steps=0, steps=40, ema_decay=0)
    photo = photos(1)[0]
    targets = loss.content_targets(photo)

    def total() -> float:
        with torch.no_grad():
            return float(loss(module.network(photo), targets).total)

    before = total()
    fit(module, [photo] * 40)
    assert total() < 0.7 * before


def test_clock_stops_with_the_training(loss: PerceptualLoss) -> None:
    module = make_module(loss)
    assert module.seconds() == 0
    fit(module, photos(1))
    assert module.seconds() == module.seconds() > 0


# State


def test_state_has_the_network_and_its_average(loss: PerceptualLoss) -> None:
    module = make_module(loss)
    expected = {f"network.{name}" for name in module.network.state_dict()}
    expected |= {f"average.module.{name}" for name in module.network.state_dict()}
    assert set(module.state_dict()) == {*expected, "average.n_averaged"}


def test_state_goes_into_another_module(loss: PerceptualLoss) -> None:
    trained, fresh = make_module(loss), make_module(loss)
    fit(trained, photos(2))
    fresh.load_state_dict(trained.state_dict())
    assert_equal(dict(fresh.state_dict()), dict(trained.state_dict()))


def test_state_is_loaded_strictly(loss: PerceptualLoss) -> None:
    module = make_module(loss)
    state = module.state_dict()
    first = next(iter(state))
    with pytest.raises(RuntimeError, match="Missing key"):
        module.load_state_dict({name: value for name, value in state.items() if name != first})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        module.load_state_dict({**state, "network.other": torch.zeros(1)})


def test_checkpoint_holds_where_the_run_stands(loss: PerceptualLoss) -> None:
    module, resumed = make_module(loss), make_module(loss)
    fit(module, [photos(1)[0], torch.full((1, 3, 64, 64), math.nan)])
    module.held_out, module.held_out_at = {"total": 1.5}, 2
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    resumed.on_load_checkpoint(checkpoint)
    for name in ("steps_made", "held_out", "held_out_at"):
        assert getattr(resumed, name) == getattr(module, name)
    assert (resumed.guard.pace, resumed.guard.rollbacks) == (0.5, 1)
    assert resumed.guard.state_dict().keys() == module.guard.state_dict().keys()
    assert_equal(resumed.guard.failed(), module.guard.failed())
    assert resumed.steps_made == 2
    assert resumed.seconds() == module.seconds()
    assert resumed.progress() == 0.02


def test_loss_sees_every_phase_of_its_cells(loss: PerceptualLoss) -> None:
    image = torch.arange(64 * 48).view(1, 1, 64, 48)
    parts = [image[module._window(step)] for step in range(500)]
    assert {part.shape for part in parts} == {(1, 1, 57, 41)}
    corners = {(int(part[0, 0, 0, 0]) // 48, int(part[0, 0, 0, 0]) % 48) for part in parts}
    assert corners == {(row, column) for row in range(8) for column in range(8)}
