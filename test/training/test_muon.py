# SPDX-License-Identifier: Apache-2.0
"""Muon for what is a matrix, AdamW for the rest, behaving like one optimiser."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from training.muon import RATE_SCALE, Muon, build_optimizer


def make_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(3, 6, 3), nn.SiLU(), nn.Flatten(), nn.Linear(36, 2))


def learn(network: nn.Module, optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(8, 3, 8, generator=generator)
        optimizer.zero_grad()
        functional.mse_loss(network(x), x[:, :2, :4].sum(-1)).backward()
        optimizer.step()


def test_a_kernels_update_is_orthogonal_and_a_bias_is_adamws():
    network = make_network()
    before = copy.deepcopy(network)
    optimizer = Muon([{"params": list(network.parameters())}], 1e-3, 0.0)
    learn(network, optimizer, 1)
    for layer in (0, 3):
        update = (network[layer].weight - before[layer].weight).detach()
        singular = torch.linalg.svdvals(update.reshape(len(update), -1)) / (RATE_SCALE * 1e-3)
        # Newton-Schulz brings all of them near one
        assert 0.5 < singular.min() < singular.max() < 1.5
        moved = (network[layer].bias - before[layer].bias).detach().abs()
        torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-2, atol=0)


def test_a_kernel_in_another_order_of_memory_learns_alike():
    plain, strided = make_network(), make_network()
    weight = strided[0].weight.data
    strided[0].weight.data = weight.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided[0].weight.is_contiguous()
    for network in (plain, strided):
        learn(network, Muon([{"params": list(network.parameters())}], 1e-3, 0.0), 5)
    for a, b in zip(plain.parameters(), strided.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_going_on_is_bit_exact():
    whole, parts = make_network(), make_network()
    learn(whole, Muon([{"params": list(whole.parameters())}], 1e-3, 1e-6), 4)
    first = Muon([{"params": list(parts.parameters())}], 1e-3, 1e-6)
    generator = torch.Generator().manual_seed(1)

    def step(optimizer) -> None:
        x = torch.randn(8, 3, 8, generator=generator)
        optimizer.zero_grad()
        functional.mse_loss(parts(x), x[:, :2, :4].sum(-1)).backward()
        optimizer.step()

    step(first)
    step(first)
    saved = copy.deepcopy((parts.state_dict(), first.state_dict()))
    for parameter in parts.parameters():
        parameter.data.zero_()
    second = Muon([{"params": list(parts.parameters())}], 1e-3, 1e-6)
    parts.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    step(second)
    step(second)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_groups_keep_their_settings():
    network = make_network()
    groups = [
        {"params": list(network[0].parameters()), "scale": 0.1, "warmup": 7},
        {"params": list(network[3].parameters())},
    ]
    optimizer = build_optimizer("muon", groups, 1e-3, 1e-6)
    assert isinstance(optimizer, Muon)
    scales = [group.get("scale", 1.0) for group in optimizer.param_groups]
    assert scales == pytest.approx([0.1, 1.0, 0.1 * RATE_SCALE, RATE_SCALE])
    assert [group.get("warmup") for group in optimizer.param_groups] == [7, None, 7, None]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(network)
    learn(network, optimizer, 1)
    for a, b in zip(before.parameters(), network.parameters(), strict=True):
        assert torch.equal(a, b), "the rate is that of the group"
    # what has no gradient stays
    optimizer.zero_grad()
    assert all(p.grad is None for p in network.parameters())
    optimizer.step()


def test_the_other_optimiser_is_torchs():
    network = make_network()
    optimizer = build_optimizer("adamw", [{"params": list(network.parameters())}], 1e-3, 0.1)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
