from __future__ import annotations

import copy
import functools
import math
from typing import Any

import pytest
import torch
from errors_help import raises
from torch import Tensor

from fststyle.errors import DivergedError
from fststyle.training.guards import EXPLOSION, FORGIVEN_AFTER, FallGuard, StepGuard, verdict


def state(value: float) -> dict[str, Any]:
    return {"weights": torch.tensor([value])}


def pass_steps(guard: StepGuard, count: int, total: float = 3.0) -> None:
    for index in range(count):
        assert guard.judge(total, 1.0)
        guard.passed(total, functools.partial(state, float(index)))


# Failed steps


@pytest.mark.parametrize(
    ("total", "norm", "reason"),
    [
        (math.nan, 1.0, "its loss is not finite"),
        (math.inf, math.nan, "its loss is not finite"),
        (3.0, math.inf, "its gradient is not finite"),
        (3.0, math.nan, "its gradient is not finite"),
    ],
)
def test_step_that_is_not_finite(total: float, norm: float, reason: str) -> None:
    guard = StepGuard()
    assert not guard.judge(total, norm)
    assert guard.trouble == reason


def test_explosion() -> None:
    guard = StepGuard()
    pass_steps(guard, 19)
    assert guard.judge(1e6, 1.0)  # what is usual is not known yet
    pass_steps(guard, 1)
    assert guard.judge(0.99 * EXPLOSION * 3.0, 1.0)
    assert not guard.judge(1.01 * EXPLOSION * 3.0, 1.0)
    assert guard.trouble == "its loss is 30.3 instead of about 3"


def test_photos_that_differ_are_no_explosion() -> None:
    """Log-normal, four times as wide as losses of single photographs were found to be."""
    generator = torch.Generator().manual_seed(0)
    guard = StepGuard()
    falling = torch.linspace(math.log(5), math.log(1), 3000)
    noise = 0.75 * torch.randn(3000, generator=generator)
    for total in torch.exp(falling + noise).clamp(max=20).tolist():
        assert guard.judge(total, 1.0), total
        guard.passed(total, lambda: {})


def test_kept_state_is_a_copy_of_one_that_was_good() -> None:
    guard = StepGuard(keep_every=3)
    weights = torch.zeros(1)
    for _ in range(5):
        guard.passed(1.0, lambda kept=weights: {"weights": kept})  # type: ignore[misc]
        weights.add_(1)
    back = guard.failed()
    assert back is not None
    assert back["weights"].item() == 3  # of the states 0 and 3, which were kept
    back["weights"].fill_(math.nan)
    again = guard.failed()
    assert again is not None
    assert again["weights"].item() == 3


def test_pace_and_counts() -> None:
    guard = StepGuard()
    assert guard.failed() is None
    assert (guard.pace, guard.rollbacks, guard.rollbacks_in_a_row) == (0.5, 1, 1)
    pass_steps(guard, FORGIVEN_AFTER - 1)
    guard.failed()
    assert (guard.pace, guard.rollbacks, guard.rollbacks_in_a_row) == (0.25, 2, 2)
    pass_steps(guard, FORGIVEN_AFTER)
    guard.failed()
    assert (guard.pace, guard.rollbacks, guard.rollbacks_in_a_row) == (0.125, 3, 1)


def test_state_of_the_guard_goes_into_another() -> None:
    first, second = StepGuard(), StepGuard()
    pass_steps(first, 30)
    first.judge(math.nan, 1.0)
    first.failed()
    second.load_state_dict(first.state_dict())
    assert (second.pace, second.rollbacks, second.trouble) == (0.5, 1, first.trouble)
    assert second.judge(31.0, 1.0) == first.judge(31.0, 1.0) is False
    backs = first.failed(), second.failed()
    assert backs[0] is not None
    assert backs == (state(25.0), state(25.0))


# The loss must fall


def test_verdict_on_random_weights() -> None:
    before = [3.0, 6.0, 2.0]
    verdict(before, [2.9, 5.8, 9.0], warm_start=False)  # one photo does not count
    with raises(DivergedError, "loss_stays"):
        verdict(before, [3.0, 6.0, 2.0], warm_start=False)
    with raises(DivergedError, "loss_rises", "1.5 times"):
        verdict(before, [4.5, 9.0, 3.0], warm_start=False)
    with raises(DivergedError, "loss_rises"):
        verdict(before, [math.nan, math.inf, 1.0], warm_start=False)
    verdict([3.0, math.nan], [2.0, math.nan], warm_start=False)


def test_verdict_on_trained_weights() -> None:
    verdict([2.0], [2.49], warm_start=True)
    with raises(DivergedError, "loss_rises", "1.26 times"):
        verdict([2.0], [2.52], warm_start=True)


def test_the_same_photographs_are_compared() -> None:
    def loss_of(photo: Tensor, weights: dict[str, Tensor]) -> float:
        seen.append(photo)
        return float(weights["factor"] * photo.mean())

    def weights(factor: float) -> dict[str, Tensor]:
        return {"factor": torch.tensor(factor)}

    guard, device = FallGuard(warm_start=False), torch.device("cpu")
    seen: list[Tensor] = []
    exploded = torch.tensor(1.0)
    for step in range(120):
        if step == 4:  # resumed here
            state = copy.deepcopy(guard.state_dict())
            guard = FallGuard(warm_start=False)
            guard.load_state_dict(state)
        if guard.wants(step):
            guard.keep(torch.full((2, 3, 4, 4), 0.1 + 0.1 * step), {"factor": exploded}, loss_of)
        exploded.fill_(1e6)  # the losses are under the first weights all the same
    assert len(seen) == 8
    before, seen = seen, []
    guard.check(99, weights(1.0), loss_of, device)
    assert seen == []
    other = FallGuard(warm_start=False)
    other.load_state_dict(guard.state_dict())
    guard.check(100, weights(0.97), loss_of, device)
    assert [photo.shape for photo in seen] == [(1, 3, 4, 4)] * 8
    torch.testing.assert_close(seen, before, rtol=0, atol=0)
    guard.check(101, weights(9.0), loss_of, device)
    assert len(seen) == 8  # once
    with pytest.raises(DivergedError):
        other.check(100, weights(1.0), loss_of, device)
