"""Initial weights as published runs had them: distributions, and equality in every run group."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.networks.modules import MLP

CPU = torch.device("cpu")
SIZES = (40, 60, 50)  # inputs, hidden, outputs


def net(initialization, *seeds, sizes=SIZES):
    inputs, *hidden, outputs = sizes
    return MLP(Spec((1,), 1, seeds, CPU), "test", inputs, hidden, outputs, 2, initialization)


@pytest.mark.parametrize("initialization", ["orthogonal", "drqv2", "haiku", "jaxcql"])
def test_biases_are_0_and_a_run_starts_the_same_in_every_run_group(initialization):
    of_group, of_run = net(initialization, 7, 8, 9), net(initialization, 8)
    for n, (group, run) in enumerate(zip(of_group.weights, of_run.weights, strict=True)):
        assert torch.equal(group[1:2], run)
        if n % 2:
            assert not run.any()
        else:
            assert not torch.equal(group[0], group[1])
            assert not torch.equal(group[0, 0], group[0, 1])


@pytest.mark.parametrize(("initialization", "gain"), [("orthogonal", 2), ("drqv2", 1)])
@pytest.mark.parametrize("sizes", [SIZES, (5, 60, 1), (1, 3, 7)])
def test_orthogonal_weights(sizes, initialization, gain):
    """Its square root times orthonormal rows or columns, whichever are fewer, in every layer."""
    for weight in net(initialization, 1, 2, sizes=sizes).weights[::2]:
        rows, columns = weight.shape[-2:]
        product = weight @ weight.mT if rows <= columns else weight.mT @ weight
        torch.testing.assert_close(product, gain * torch.eye(min(rows, columns)).expand_as(product), atol=1e-5, rtol=0)


def test_orthogonal_weights_have_no_preferred_direction():
    found = torch.stack([net("orthogonal", seed, sizes=(3, 3)).weights[0][0, 0] for seed in range(400)])
    assert found.mean(0).abs().max() < 5 * math.sqrt(2 / 3 / 400)


@pytest.mark.parametrize("initialization", ["haiku", "jaxcql"])
def test_truncated_normals(initialization):
    """haiku.Linear: a standard normal cut at 2, over sqrt(n); flax's lecun_normal has the variance 1 / n."""
    first, last = (weight.detach() for weight in net(initialization, 1, 2).weights[::2])
    cut = stats.truncnorm(-2, 2)
    scale = {"haiku": 1.0, "jaxcql": 1 / cut.std()}[initialization]
    assert stats.kstest(first.flatten() * math.sqrt(40) / scale, cut.cdf).pvalue > 1e-3
    if initialization == "haiku":
        assert stats.kstest(last.flatten() * math.sqrt(60), cut.cdf).pvalue > 1e-3
    else:
        assert first.var().item() == pytest.approx(1 / 40, rel=0.05)
        # flax's variance_scaling(0.01, "fan_in", "uniform")
        bound = math.sqrt(3 * 0.01 / 60)
        assert stats.kstest(last.flatten() / bound, stats.uniform(-1, 2).cdf).pvalue > 1e-3
        assert last.var().item() == pytest.approx(0.01 / 60, rel=0.05)


def test_weights_of_edac():
    first, bias, last, last_bias = (weight.detach() for weight in net("edac", 1, 2).weights)
    assert stats.kstest(first.flatten() * math.sqrt(40), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert torch.equal(bias, torch.full_like(bias, 0.1))
    for each in (last, last_bias):
        assert stats.kstest(each.flatten() / 3e-3, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert torch.equal(net("edac", 1, 2).weights[0][1:], net("edac", 2).weights[0])
