"""Networks with a run axis: initial weights, values and derivatives, targets, the optimizer, densities."""

from __future__ import annotations

import copy
import itertools
import math
from functools import partial

import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.networks.batched_mlp import evaluate, prepare
from seqeval_rl.networks.distributions import normal_log_prob, tanh_normal, uniform
from seqeval_rl.networks.modules import MLP, Critic, GaussianActor, Value, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update
from seqeval_rl.seeding import torch_generator

CPU = torch.device("cpu")


def spec(*seeds, obs_dim=5, act_dim=2):
    return Spec((obs_dim,), act_dim, seeds, CPU)


def test_a_generator_depends_on_seed_and_purpose_alone():
    one = torch.rand(3, generator=torch_generator(1, "a"))
    torch.rand(3)
    assert torch.equal(one, torch.rand(3, generator=torch_generator(1, "a")))
    assert not torch.equal(one, torch.rand(3, generator=torch_generator(2, "a")))
    assert not torch.equal(one, torch.rand(3, generator=torch_generator(1, "b")))


def test_initial_weights_are_distributed_as_in_linear():
    net = MLP(spec(1, 2), "test", 40, (60,), 50, members=2)
    reference = torch.nn.Sequential(torch.nn.Linear(40, 60), torch.nn.Linear(60, 50))
    for layer, linear in enumerate(reference):
        weight, bias = net.weights[2 * layer].detach(), net.weights[2 * layer + 1].detach()
        assert weight.shape == (2, 2, linear.in_features, linear.out_features)
        bound = 1 / math.sqrt(linear.in_features)
        for ours, theirs in ((weight, linear.weight), (bias, linear.bias)):
            assert ours.abs().max() <= bound
            assert theirs.abs().max() <= bound
            assert stats.kstest(ours.flatten() / bound, stats.uniform(-1, 2).cdf).pvalue > 1e-3
            assert stats.ks_2samp(ours.flatten(), theirs.detach().flatten()).pvalue > 1e-3


def test_a_run_starts_the_same_in_every_run_group():
    def weights(*seeds, purpose="net"):
        return list(MLP(spec(*seeds), purpose, 4, (6,), 3, members=2).weights)

    for of_group, of_run, other in zip(weights(7, 8, 9), weights(8), weights(8, purpose="other"), strict=True):
        assert torch.equal(of_group[1:2], of_run)
        assert not torch.equal(of_group[0], of_group[1])
        assert not torch.equal(of_group[0, 0], of_group[0, 1])
        assert not torch.equal(of_run, other)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("members", "out"), [(1, 1), (1, 3), (2, 1), (2, 3)])
class TestPerceptron:
    """Both ways of computing the networks, run after run and all at once, in float64."""

    R, B, K = 3, 5, 5

    def build(self, members, out, together):
        draws = torch_generator(0, "perceptron")

        def normal(*shape):
            return torch.randn(self.R, *shape, generator=draws, dtype=torch.float64)

        sizes = (7, 6, 8, out)
        weights = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            weights += [normal(members, fan_in, fan_out).requires_grad_(), normal(members, 1, fan_out).requires_grad_()]
        return weights, normal(self.B, 7), prepare(weights, together)

    def reference(self, weights, x, members=None):
        rows = []
        for r in range(self.R):
            for m in range(members or weights[0].shape[1]):
                h = x[r]
                for n in range(0, len(weights), 2):
                    h = torch.nn.functional.linear(h, weights[n][r, m].T, weights[n + 1][r, m, 0])
                    h = torch.nn.functional.relu(h) if n < len(weights) - 2 else h
                rows.append(h)
        return torch.stack(rows).unflatten(0, (self.R, -1))

    def assert_same_derivatives(self, found, expected, inputs):
        torch.testing.assert_close(found, expected)
        gradient = torch.randn_like(expected)
        ours, theirs = (torch.autograd.grad(value, inputs, gradient) for value in (found, expected))
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other)

    def test_value_and_derivatives(self, members, out, together):
        weights, x, views = self.build(members, out, together)
        x.requires_grad_()
        self.assert_same_derivatives(evaluate(x, None, views), self.reference(weights, x), (x, *weights))
        with torch.no_grad():
            torch.testing.assert_close(evaluate(x, None, views), self.reference(weights, x))

    def test_extra_inputs(self, members, out, together, monkeypatch):
        weights, x, views = self.build(members, out, together)
        extra = torch.randn(self.R, self.B, self.K, 2, dtype=torch.float64)
        own = x[..., :5]
        whole = torch.cat([own.unsqueeze(2).expand(-1, -1, self.K, -1), extra], -1).flatten(1, 2)
        for rows in (1024, 13, 1):  # all rows at a time; a few blocks, the last one smaller; one row of x at a time
            monkeypatch.setattr("seqeval_rl.networks.batched_mlp.BLOCK", rows)
            self.assert_same_derivatives(evaluate(own, extra, views), self.reference(weights, whole), weights)

    def test_first_members_of_frozen_weights(self, members, out, together):
        weights, x, views = self.build(members, out, together)
        x.requires_grad_()
        found = evaluate(x, None, views, frozen=True, members=1)
        self.assert_same_derivatives(found, self.reference(weights, x, 1), (x,))
        assert torch.autograd.grad(found.sum(), weights, allow_unused=True) == (None,) * len(weights)

    def test_dropout(self, members, out, together):
        weights, x, views = self.build(members, out, together)
        x.requires_grad_()
        draws = torch_generator(1, "dropout")
        factors = [
            (torch.rand(self.R, members, self.B, width, generator=draws) > 0.3).double() / 0.7
            for width in (w.shape[-1] for w in weights[:-2:2])
        ]
        rows = []
        for r in range(self.R):
            for m in range(members):
                h = x[r]
                for n in range(0, len(weights), 2):
                    h = h @ weights[n][r, m] + weights[n + 1][r, m]
                    h = torch.nn.functional.relu(h) * factors[n // 2][r, m] if n < len(weights) - 2 else h
                rows.append(h)
        expected = torch.stack(rows).unflatten(0, (self.R, -1))
        found = evaluate(x, None, views, dropout=factors)
        self.assert_same_derivatives(found, expected, (x, *weights))
        with torch.no_grad():
            torch.testing.assert_close(evaluate(x, None, views, dropout=factors), expected)
        with pytest.raises(ValueError, match="dropout"):
            evaluate(x, x.detach().unsqueeze(2), views, dropout=factors)

    def test_normalized_layers(self, members, out, together, monkeypatch):
        """As torch's `LayerNorm` after each ReLU; also with extra inputs, in blocks, and of the first members alone."""
        weights, x, _ = self.build(members, out, together)
        draws = torch_generator(2, "norms")
        norms = [
            torch.randn(self.R, members, 1, w.shape[-1], generator=draws, dtype=torch.float64).requires_grad_()
            for w in weights[:-2:2]
            for _ in range(2)
        ]
        views = prepare(weights, together, norms)

        def reference(x, members):
            rows = []
            for r, m in itertools.product(range(self.R), range(members)):
                h = x[r]
                for n in range(0, len(weights), 2):
                    h = h @ weights[n][r, m] + weights[n + 1][r, m]
                    if n < len(weights) - 2:
                        scale, shift = norms[n][r, m, 0], norms[n + 1][r, m, 0]
                        h = torch.nn.functional.layer_norm(h.relu(), scale.shape, scale, shift)
                rows.append(h)
            return torch.stack(rows).unflatten(0, (self.R, members))

        extra = torch.randn(self.R, self.B, self.K, 2, dtype=torch.float64)
        whole = torch.cat([x[..., :5].unsqueeze(2).expand(-1, -1, self.K, -1), extra], -1).flatten(1, 2)
        for rows in (1024, 13):
            monkeypatch.setattr("seqeval_rl.networks.batched_mlp.BLOCK", rows)
            found = evaluate(x[..., :5], extra, views)
            self.assert_same_derivatives(found, reference(whole, members), (*weights, *norms))
        x.requires_grad_()
        self.assert_same_derivatives(evaluate(x, None, views), reference(x, members), (x, *weights, *norms))
        self.assert_same_derivatives(evaluate(x, None, views, True, 1), reference(x, 1), (x,))


@pytest.mark.parametrize("hidden", [(6,), (6, 8, 7)])
@pytest.mark.parametrize("together", [False, True])
def test_values_with_slopes_and_their_derivatives(hidden, together, monkeypatch):
    """As automatic differentiation computes them twice; all runs at once, too, as on other devices."""
    monkeypatch.setattr("seqeval_rl.networks.modules.prepare", partial(prepare, together=together))
    critic = Critic(spec(1, 2, 3), "critic", hidden, members=4).double()
    draws = torch_generator(3, "input")
    observations, actions = (torch.randn(3, 5, n, generator=draws, dtype=torch.float64) for n in (5, 2))
    weights = tuple(critic.net.weights)
    values, slopes = [], []
    for r, m in itertools.product(range(3), range(4)):
        own = actions[r].clone().requires_grad_()
        h = torch.cat([observations[r], own], 1)
        for n in range(0, len(weights), 2):
            h = h @ weights[n][r, m] + weights[n + 1][r, m]
            h = h.relu() if n < len(weights) - 2 else h
        values.append(h.squeeze(1))
        slopes += torch.autograd.grad(h.sum(), own, create_graph=True)
    found = critic.with_slopes(observations, actions)
    expected = [torch.stack(each).unflatten(0, (3, 4)) for each in (values, slopes)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    for of_value, of_slopes in ((1, 0), (0, 1), (1, 1)):  # losses on either, and on both
        ours, theirs = (
            torch.autograd.grad(
                of_value * q.square().sum() + of_slopes * g.pow(3).sum(), weights, retain_graph=True, allow_unused=True
            )
            for q, g in (found, expected)
        )
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other)


def test_slopes_of_normalized_layers_are_refused():
    critic = Critic(spec(1), "critic", (6,), layer_norm=True)
    with pytest.raises(ValueError, match="layer_norm"):
        critic.with_slopes(torch.zeros(1, 3, 5), torch.zeros(1, 3, 2))


def test_gradients_that_are_not_computed_are_refused():
    net = MLP(spec(1), "net", 5, (4,), 1, members=2)
    with pytest.raises(ValueError, match="frozen"):
        net(torch.zeros(1, 3, 5), members=1)
    with pytest.raises(ValueError, match="no gradient"):
        net(torch.zeros(1, 3, 3), torch.zeros(1, 3, 2, 2, requires_grad=True))


def test_weights_changed_before_backward_are_refused():
    net = MLP(spec(1), "net", 5, (4,), 1)
    loss = net(torch.ones(1, 3, 5)).sum()
    with torch.no_grad():
        net.weights[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("norm", [False, True])
def test_a_result_is_the_same_to_the_last_bit_in_every_run_group(norm):
    """Values and gradients; the sizes are those of real runs."""
    x = torch.randn(3, 256, 13, generator=torch_generator(0, "x"))
    nets = {
        seeds: Critic(spec(*seeds, obs_dim=11), "critic", (256, 256), layer_norm=norm) for seeds in ((1, 2, 3), (2,))
    }

    def value_and_gradient(net, rows):
        inputs = rows[..., :11], rows[..., 11:]
        q = net(*inputs)
        found = [q, *torch.autograd.grad(q.square().sum(), list(net.parameters()))]
        if norm:
            return found
        value, slopes = net.with_slopes(*inputs)
        assert torch.equal(value, q)
        loss = value.square().sum() + slopes.square().sum()
        return [*found, slopes, *torch.autograd.grad(loss, list(net.parameters()))]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        of_group, of_one = value_and_gradient(nets[1, 2, 3], x), value_and_gradient(nets[2,], x[1:2])
    finally:
        torch.set_num_threads(threads)
    for group, one in zip(of_group, of_one, strict=True):
        assert torch.equal(group[1:2], one)


def test_copies_and_conversions_use_their_own_weights():
    net = Value(spec(1, 2), "value", (4,))
    x = torch.ones(2, 3, 5)
    before = net(x).detach()
    target = frozen_copy(net)
    assert not any(p.requires_grad for p in target.parameters())
    with torch.no_grad():
        net.net.weights[0].mul_(2)
    assert torch.equal(target(x), before)
    assert not torch.equal(net(x), before)
    twin = copy.deepcopy(net).double()
    torch.testing.assert_close(twin(x.double()).float(), net(x))
    target.load_state_dict(net.state_dict())
    assert torch.equal(target(x), net(x))


def test_soft_updates_by_one_rate_or_one_per_run():
    online = Critic(spec(1, 2), "critic", (4,))
    target = frozen_copy(online)
    with torch.no_grad():
        for weights in online.parameters():
            weights.add_(1)
    start = copy.deepcopy(target)
    soft_update(target, online, 0.25)
    for now, before in zip(target.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.25)
    target.load_state_dict(start.state_dict())
    soft_update(target, online, torch.tensor([0.0, 0.5]))
    for now, before in zip(target.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(now[0], before[0])
        torch.testing.assert_close(now[1], before[1] + 0.5)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_torch_s(decay):
    start = torch.randn(2, 7, generator=torch_generator(0, "adam"))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    adam = Adam([ours], 0.01, decay)
    reference = (torch.optim.AdamW if decay else torch.optim.Adam)([theirs], lr=0.01, weight_decay=decay)
    for i in range(5):
        adam.minimise(((ours - i) ** 4).sum(1))
        reference.zero_grad()
        ((theirs - i) ** 4).sum().backward()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    other = Adam([torch.nn.Parameter(torch.zeros(2, 8))], 0.01)
    with pytest.raises(ValueError, match="expected"):
        other.load_state_dict(adam.state_dict())


def test_densities_are_those_of_torch():
    draws = torch_generator(0, "densities")
    mean, log_std, noise = (torch.randn(6, 3, generator=draws, dtype=torch.float64) for _ in range(3))
    normal = Normal(mean, log_std.exp())
    sample = mean + log_std.exp() * noise
    torch.testing.assert_close(normal_log_prob(noise, log_std), Independent(normal, 1).log_prob(sample))
    action, log_prob = tanh_normal(mean, log_std, noise)
    squashed = Independent(TransformedDistribution(normal, TanhTransform()), 1)
    torch.testing.assert_close(action, sample.tanh())
    torch.testing.assert_close(log_prob, squashed.log_prob(action))
    _, far = tanh_normal(torch.full((1, 3), 30.0), torch.zeros(1, 3), torch.zeros(1, 3))
    assert far.isfinite().all()  # 1 - tanh(30)^2 is 0 in floating point


def test_uniform_is_uniform():
    numbers = uniform(torch.randn(20_000, generator=torch_generator(0, "uniform")))
    assert stats.kstest(numbers, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_a_gaussian_actor_stays_in_bounds():
    actor = GaussianActor(spec(1, 2), "actor", (8,), log_std_min=-1.0, log_std_max=0.5)
    with torch.no_grad():
        actor.log_stds.copy_(torch.tensor([[[5.0, -5.0]]]).expand(2, 1, 2))
    mean, log_std = actor(torch.randn(2, 9, 5))
    assert mean.abs().max() < 1
    assert log_std.flatten().tolist() == [0.5, -1.0, 0.5, -1.0]
    actions = actor.act(torch.randn(2, 9, 5), torch.randn(2, 9, 2) * 5)
    assert actions.abs().max() <= 1


def test_settings_are_floats_or_one_for_each_run():
    assert setting(0.5, spec(1, 2), 2) == 0.5
    swept = setting(torch.tensor([1.0, 2.0], dtype=torch.float64), spec(1, 2), 2)
    assert swept.shape == (2, 1, 1)
    assert swept.dtype == torch.float32
