from __future__ import annotations

import copy

import torch

from fststyle.styles.network import TransformerNet
from fststyle.styles.shape import NetworkConfig
from fststyle.training.optimizers import muon


def network() -> TransformerNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TransformerNet(NetworkConfig(width=4, trunk=8, residual_blocks=1))


def step(net: TransformerNet, optimizer: torch.optim.Optimizer) -> float:
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    loss = (net(photo) - photo.flip(1)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_every_parameter_has_its_optimiser() -> None:
    net = network()
    groups = muon(net.parameters(), lr=0.03, other_lr=0.004).param_groups
    by_rate = {group["lr"]: [id(p) for p in group["params"]] for group in groups}
    assert by_rate.keys() == {0.03, 0.004}
    hidden = [p for n, p in net.named_parameters() if p.ndim == 4 and n != "to_rgb.weight"]
    assert by_rate[0.03] == [id(p) for p in hidden]
    assert sorted(by_rate[0.03] + by_rate[0.004]) == sorted(id(p) for p in net.parameters())


def test_a_step_of_a_kernel_has_equal_singular_values() -> None:
    net = network()
    kernel = net.residual[0].body[1].weight  # type: ignore[index, union-attr]
    before = kernel.detach().clone()
    step(net, muon(net.parameters()))
    change = (kernel.detach() - before).flatten(1)
    values = torch.linalg.svdvals(change)
    # Newton and Schulz's iteration ends near one, from 0.7 to 1.2.
    assert float(values.max() / values.min()) < 2
    gradient = torch.linalg.svdvals(kernel.grad.flatten(1))
    assert float(gradient.max() / gradient.min()) > 2


def test_the_loss_falls() -> None:
    net = network()
    optimizer = muon(net.parameters())
    losses = [step(net, optimizer) for _ in range(30)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_state_that_was_saved_goes_on() -> None:
    net = network()
    optimizer = muon(net.parameters())
    for _ in range(3):
        step(net, optimizer)
    other = network()
    other.load_state_dict(net.state_dict())
    resumed = muon(other.parameters())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # else they share it
    for _ in range(2):
        step(net, optimizer)
        step(other, resumed)
    for name, value in net.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
