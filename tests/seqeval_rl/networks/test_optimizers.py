"""Small changes of float32 numbers over thousands of steps: weight decay and soft updates, against float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from seqeval_rl.networks.optimizers import Adam, soft_update
from seqeval_rl.seeding import torch_generator

STEPS = 10_000


def trained(dtype, decay, moving, runs=1, rate=3e-4, steps=STEPS):
    """Weights after Adam on losses whose gradient is noise, or 0: [runs, 512], float64."""
    draws = torch_generator(0, "decay")
    start = 0.05 * torch.randn(512, generator=draws, dtype=torch.float64)
    noise = torch.randn(64, 512, generator=draws, dtype=torch.float64)
    weights = nn.Parameter(start.to(dtype).repeat(runs, 1))
    adam = Adam([weights], rate, decay)
    for i in range(steps):
        adam.minimise((weights * (noise[i % 64].to(dtype) if moving else 0)).sum(1))
    return weights.detach().double()


@pytest.mark.parametrize("moving", [False, True])
def test_small_weight_decay_in_float32_is_that_of_float64(moving):
    """AWAC's learning rate and decay: 3e-8 per step, of which a step in float32 made 8.6e-8."""
    decayed, kept = (
        {dtype: trained(dtype, wd, moving) for dtype in (torch.float32, torch.float64)} for wd in (1e-4, 0)
    )
    found, expected = (kept[dtype] - decayed[dtype] for dtype in (torch.float32, torch.float64))
    assert (found * expected).sum() / expected.square().sum() == pytest.approx(1, abs=0.01)


def test_without_gradients_weights_decay_exponentially():
    weights = trained(torch.float64, 1e-4, moving=False)
    start = trained(torch.float64, 0, moving=False)
    torch.testing.assert_close(weights, start * (1 - 3e-8) ** STEPS, rtol=1e-9, atol=0)


def test_runs_that_differ_in_their_decay_are_each_as_alone():
    together = trained(
        torch.float32, torch.tensor([0.0, 1e-4, 0.1], dtype=torch.float64), moving=True, runs=3, steps=300
    )
    for r, decay in enumerate((0.0, 1e-4, 0.1)):
        assert torch.equal(together[r : r + 1], trained(torch.float32, decay, moving=True, steps=300))


def test_decay_follows_a_rate_that_decays():
    weights = nn.Parameter(torch.ones(1, 16))
    adam = Adam([weights], 0.01, 0.5, decay_steps=100)
    for _ in range(200):
        adam.minimise((weights * 0).sum(1))
    # The sum of the rates is half of 100 times the first one, and a little more.
    assert weights.mean().item() == pytest.approx((1 - 0.5 * 0.01) ** 50.5, rel=1e-3)


def test_soft_updates_in_float32_follow_those_in_float64():
    def ends(dtype):
        draws = torch_generator(0, "soft")
        online = nn.Linear(30, 30).to(dtype)
        for parameter in online.parameters():
            parameter.data = torch.randn(parameter.shape, generator=draws, dtype=torch.float64).to(dtype)
        target = copy.deepcopy(online)
        for step in range(STEPS):
            if step < STEPS // 2:  # then the target has the time to arrive
                for parameter in online.parameters():
                    parameter.data += 1e-4
            soft_update(target, online, 0.005)
        return [parameter.detach().double() for parameter in target.parameters()]

    for single, double in zip(ends(torch.float32), ends(torch.float64), strict=True):
        # Online weights are rounded too, by 5 000 additions.
        torch.testing.assert_close(single, double, rtol=1e-3, atol=3e-4)


def test_first_moments_that_are_subnormal_are_set_to_zero_and_no_weight_differs():
    """Weights 0 to 15 have a gradient in the first 100 steps only; torch's own Adam keeps subnormal moments of them."""
    draws = torch_generator(0, "subnormal")
    noise = torch.randn(64, 2, 32, generator=draws)
    weights = nn.Parameter(torch.randn(2, 32, generator=draws))
    other = nn.Parameter(weights.detach().clone())
    ours, torchs = Adam([weights], 3e-4), torch.optim.Adam([other], 3e-4, fused=True)
    for i in range(1_030):
        each = noise[i % 64].clone()
        each[:, :16] *= i < 100
        ours.minimise((weights * each).sum(1))
        other.grad = each
        torchs.step()
        if i == 1_000:  # it is resumed between two of the steps at which that is done
            state, ours = ours.state_dict(), Adam([weights], 3e-4)
            ours.load_state_dict(state)
    (found,), kept = ours.state_dict()["means"], torchs.state_dict()["state"][0]["exp_avg"]
    tiny = torch.finfo(torch.float32).tiny
    assert ((kept[:, :16] != 0) & (kept.abs()[:, :16] < tiny)).all()
    assert (found[:, :16] == 0).all()
    assert torch.equal(found[:, 16:], kept[:, 16:])
    assert torch.equal(weights, other)
