"""Single-run algorithms in a run group: one instance per run, each with its own generator."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.per_seed import PerSeed, build, noise_dim
from seqeval_rl.interface.returns import WrongReturn
from seqeval_rl.interface.state import RUNS, join_states, split_state

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Config:
    rate: float = 0.01


class SingleRun:
    """Regression on the actions with noise from torch's global generator and a metric that is a float."""

    Config = Config
    vectorized = False
    name = "single"
    period = 3

    def __init__(self, config, spec):
        self.config, self.spec = config, spec
        self.net = torch.nn.Linear(spec.obs_dim, spec.act_dim)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.rate)

    @staticmethod
    def noise_dim(config, spec):
        return 3 * spec.act_dim

    def update(self, batch):
        self.seen = batch
        loss = (self.net(batch.observations) + 0.1 * torch.randn_like(batch.actions) - batch.actions).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"actor/loss": loss, "actor/number": 2.5}

    def act(self, observations, noise):
        if noise is None:
            return self.net(observations).tanh()
        return (self.net(observations) + noise + torch.randn(1)).tanh()

    def state_dict(self):
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def spec(*seeds):
    return Spec((3,), 2, seeds, CPU)


def batch(runs, seed=0, size=8):
    draws = torch.Generator().manual_seed(seed)
    shapes = ((3,), (2,), (), (3,), (), (6,))
    return Batch(*(torch.randn(runs, size, *shape, generator=draws) for shape in shapes))


def take(whole, r):
    return whole.each(lambda column: column[r : r + 1])


def test_an_instance_sees_one_run():
    group = PerSeed(SingleRun, Config(), spec(4, 5))
    whole = batch(2)
    metrics = group.update(whole)
    assert {name: tuple(value.shape) for name, value in metrics.items()} == {"actor/loss": (2,), "actor/number": (2,)}
    assert not metrics["actor/loss"].requires_grad
    assert metrics["actor/number"].tolist() == [2.5, 2.5]
    for r, run in enumerate(group.runs):
        assert run.spec.seeds == (4 + r,)
        assert torch.equal(run.seen.observations, whole.observations[r])
    assert group.act(torch.zeros(2, 5, 3), None).shape == (2, 5, 2)
    assert group.act(torch.zeros(2, 5, 3), torch.zeros(2, 5, 2)).shape == (2, 5, 2)
    assert (group.period, group.name, group.vectorized) == (3, "single", True)


def test_each_run_has_its_generator_and_the_global_one_is_left_alone():
    torch.manual_seed(1)
    together, alone = (
        PerSeed(SingleRun, Config(), spec(4, 5)),
        [PerSeed(SingleRun, Config(), spec(seed)) for seed in (4, 5)],
    )
    before = torch.get_rng_state()
    for i in range(3):
        losses = together.update(batch(2, i))["actor/loss"]
        for r in (0, 1):
            assert torch.equal(alone[r].update(take(batch(2, i), r))["actor/loss"][0], losses[r])
        together.act(torch.zeros(2, 1, 3), torch.zeros(2, 1, 2))
        for single in alone:
            single.act(torch.zeros(1, 1, 3), torch.zeros(1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    joined = join_states([single.state_dict() for single in alone])
    for one, other in zip(joined[RUNS], together.state_dict()[RUNS], strict=True):
        assert torch.equal(one["rng"], other["rng"])
        assert torch.equal(one["algorithm"]["net"]["weight"], other["algorithm"]["net"]["weight"])


def test_an_error_inside_puts_the_global_generator_back():
    group = PerSeed(SingleRun, Config(), spec(4))
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        group.act(torch.zeros(1, 1, 7), None)
    assert torch.equal(before, torch.get_rng_state())


def test_runs_resume_from_their_saved_states_in_another_run_group():
    first = PerSeed(SingleRun, Config(), spec(4, 5))
    first.update(batch(2, 0))
    parts = split_state(first.state_dict(), 2)
    other = PerSeed(SingleRun, Config(), spec(9, 8))
    other.load_state_dict(join_states(parts[::-1]))
    losses = first.update(batch(2, 1))["actor/loss"]
    swapped = batch(2, 1).each(lambda column: column.flip(0))
    assert torch.equal(other.update(swapped)["actor/loss"], losses.flip(0))
    with pytest.raises(ValueError, match="expected 2 runs, found 1"):
        other.load_state_dict(parts[0])


def test_a_setting_may_differ_between_runs():
    group = PerSeed(SingleRun, Config(rate=torch.tensor([0.5, 0.25])), spec(4, 5))
    assert [run.config.rate for run in group.runs] == [0.5, 0.25]


def test_metrics_of_different_names_are_refused():
    class Odd(SingleRun):
        def update(self, batch):
            return {f"actor/{self.spec.seeds[0]}": torch.tensor(0.0)}

    with pytest.raises(WrongReturn, match=r"expected the same metrics .* found actor/4, actor/5 in some only"):
        PerSeed(Odd, Config(), spec(4, 5)).update(batch(2))


def test_build_wraps_single_run_algorithms():
    assert isinstance(build(SingleRun, Config(), spec(4, 5)), PerSeed)
    assert isinstance(build(BC, BC.Config(), spec(4, 5)), BC)
    assert noise_dim(SingleRun, Config(), spec(4)) == 6
    assert noise_dim(BC, BC.Config(), spec(4)) == 0


class Valued(SingleRun):
    def values(self, observations, actions):
        return observations.sum(-1) * self.spec.seeds[0] + actions.sum(-1)


def test_a_hook_exists_if_the_algorithm_has_it():
    group = PerSeed(Valued, Config(), spec(4, 5))
    observations, actions = batch(2).observations, batch(2).actions
    expected = observations.sum(-1) * torch.tensor([[4.0], [5.0]]) + actions.sum(-1)
    torch.testing.assert_close(group.values(observations, actions), expected)
    assert not hasattr(group, "log_prob")
    single = PerSeed(SingleRun, Config(), spec(4))
    assert not hasattr(single, "values")
    assert not hasattr(copy.copy(single), "log_prob")
