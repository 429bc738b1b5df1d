"""Each algorithm on the toy problem, and settings that differ between the runs of a group."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from seqeval_rl.algorithms.awac import AWAC
from seqeval_rl.algorithms.bc import BC
from seqeval_rl.algorithms.cal_ql import CalQL
from seqeval_rl.algorithms.cql import CQL
from seqeval_rl.algorithms.discrete_cql import DiscreteCQL
from seqeval_rl.algorithms.dqn import DQN
from seqeval_rl.algorithms.edac import EDAC
from seqeval_rl.algorithms.fql import FQL
from seqeval_rl.algorithms.iql import IQL
from seqeval_rl.algorithms.rebrac import ReBRAC
from seqeval_rl.algorithms.sac import SAC
from seqeval_rl.algorithms.sac_n import SACN
from seqeval_rl.algorithms.td3 import TD3
from seqeval_rl.algorithms.td3_bc import TD3BC
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.checks.toy_problem import learn
from seqeval_rl.interface.per_seed import columns, noise_dim, random_columns
from seqeval_rl.interface.state import join_states
from seqeval_rl.seeding import torch_generator

CPU = torch.device("cpu")
SMALL = {"hidden": (64, 64), "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (TD3BC, {}),
        (IQL, SMALL),
        (AWAC, {**SMALL, "actor_hidden": (64, 64)}),
        (CQL, {**SMALL, "sampled_actions": 4}),
        (SAC, {**SMALL, "updates": 1500}),  # its values of actions that the dataset lacks improve slowly
        (TD3, {**SMALL, "updates": 1500}),
        (SACN, {**SMALL, "critics": 4, "updates": 1000}),
        (EDAC, {**SMALL, "critics": 4, "updates": 1000}),
        (FQL, SMALL),
        (ReBRAC, SMALL),
        (CalQL, {**SMALL, "sampled_actions": 4}),
        (DQN, {**SMALL, "target_rate": 0.02}),
        (DiscreteCQL, SMALL),
    ],
)
def test_values_are_bootstrapped(algorithm, settings):
    """Better than the dataset by half of what is possible, which takes the next stage's value; myopic policies fall below."""
    assert learn(algorithm, seed=1, **settings) > 0.5


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (TD3BC, {}),
        (IQL, {}),
        (AWAC, {"actor_hidden": (64, 64)}),
        (CQL, {"sampled_actions": 4, "min_q_weight": 1.0}),
        (SAC, {}),
        (TD3, {}),
        (SACN, {"critics": 4}),
        (EDAC, {"critics": 4}),
        (FQL, {}),
        (ReBRAC, {}),
        (CalQL, {"sampled_actions": 4, "min_q_weight": 1.0}),
        (DQN, {}),
        (DiscreteCQL, {}),
    ],
)
def test_with_discount_0_the_immediate_reward_wins(algorithm, settings):
    """With discount 0 the same algorithms end below the dataset: the problem detects it."""
    assert learn(algorithm, seed=1, discount=0.0, **SMALL, **settings) < -0.1


def test_cloning_ends_at_the_level_of_the_dataset():
    assert abs(learn(BC, seed=1) - 0.1) < 0.1  # without the noise of the dataset, so a little above it


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (TD3BC, {}),
        (IQL, SMALL),
        (AWAC, {**SMALL, "actor_hidden": (64, 64)}),
        (CQL, {**SMALL, "sampled_actions": 4}),
    ],
)
def test_published_settings_learn(algorithm, settings):
    assert learn(algorithm, seed=1, **{**algorithm.published, **settings}) > 0.5


def test_cloning_as_published_ends_at_the_level_of_the_dataset():
    assert abs(learn(BC, seed=1, **{**BC.published, "decay_steps": 600}) - 0.1) < 0.1


def test_cloning_the_best_episodes_is_better_than_the_dataset():
    """Their first actions cost less later; cloning a tenth of them is as good as a tenth of the way to the best policy."""
    assert learn(BC, seed=1, best=0.1) > 0.5


def test_untrained_is_far_below_the_dataset():
    assert learn(TD3BC, updates=0) < -1


SWEEPS = {
    TD3BC: {
        "alpha": (1.0, 4.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5), "policy_noise": (0.1, 0.3),
        "noise_clip": (0.2, 0.6),
    },
    IQL: {
        "expectile": (0.6, 0.9), "temperature": (1.0, 5.0), "max_weight": (2.0, 100.0), "discount": (0.9, 0.99),
        "target_rate": (0.01, 0.5),
    },
    BC: {"dropout": (0.1, 0.4)},
    AWAC: {"temperature": (0.5, 2.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
    CQL: {
        "min_q_weight": (1.0, 10.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5), "action_limit": (0.5, 0.9),
    },
    SAC: {"discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
    TD3: {"discount": (0.9, 0.99), "target_rate": (0.01, 0.5), "policy_noise": (0.1, 0.3), "noise_clip": (0.2, 0.6)},
    SACN: {"discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
    EDAC: {"diversity": (0.5, 5.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
    ReBRAC: {
        "actor_penalty": (0.01, 0.1), "critic_penalty": (0.01, 0.5), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5),
    },
    CalQL: {"min_q_weight": (1.0, 10.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
    FQL: {"alpha": (1.0, 10.0), "discount": (0.9, 0.99), "target_rate": (0.01, 0.5)},
}  # fmt: skip


@pytest.mark.parametrize("algorithm", SWEEPS)
def test_a_sweep_in_one_run_group_equals_single_runs(algorithm):
    """Each float setting as a tensor [R]: run r trains with value r."""
    seeds, batch_size = (4, 5), 8
    hidden = {"hidden": (8, 8)}
    swept = {name: torch.tensor(values) for name, values in SWEEPS[algorithm].items()}
    config, spec = algorithm.Config(**hidden, **swept), Spec((3,), 2, seeds, CPU)
    together = algorithm(config, spec)
    alone = [
        algorithm(
            algorithm.Config(**hidden, **{name: values[r] for name, values in SWEEPS[algorithm].items()}),
            Spec((3,), 2, (seed,), CPU),
        )
        for r, seed in enumerate(seeds)
    ]
    width = noise_dim(algorithm, config, spec)
    draws = torch_generator(0, "test sweep")

    def normal(*shape):
        return torch.randn(2, batch_size, *shape, generator=draws)

    for _ in range(4):
        more = random_columns(columns(algorithm, config), normal, 2)
        batch = Batch(
            normal(3), normal(2).tanh(), normal(), normal(3), torch.ones(2, batch_size), normal(width), **more
        )
        metrics = together.update(batch)
        for r, single in enumerate(alone):
            for name, value in single.update(batch.each(lambda column, r=r: column[r : r + 1])).items():
                torch.testing.assert_close(metrics[name][r : r + 1], value, rtol=1e-4, atol=1e-5)
    joined, state = join_states([single.state_dict() for single in alone]), together.state_dict()
    for net in {"actor", "critic", "critic_target"} & joined.keys():
        for name, weights in joined[net].items():
            torch.testing.assert_close(state[net][name], weights, rtol=0, atol=1e-5)


def test_td3_bc_explores_with_its_own_noise():
    spec = Spec((3,), 2, (0, 1), CPU)
    observations, noise = torch.zeros(2, 4, 3), torch.ones(2, 4, 2)
    silent = TD3BC(TD3BC.Config(), spec)
    assert torch.equal(silent.act(observations, noise), silent.act(observations, None))
    loud = TD3BC(TD3BC.Config(exploration_noise=torch.tensor([0.1, 0.2])), spec)
    added = loud.act(observations, noise) - loud.act(observations, None)
    torch.testing.assert_close(added, torch.tensor([0.1, 0.2]).reshape(2, 1, 1).expand(2, 4, 2))


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [(IQL, "IQL"), (AWAC, "AWAC"), (CQL, "CQL"), (SAC, "SAC"), (SACN, "SAC-N"), (EDAC, "EDAC")],
)
def test_stochastic_policies_explore_by_sampling(algorithm, name):
    assert algorithm.name == name
    group = algorithm(algorithm.Config(hidden=(8,)), Spec((3,), 2, (0,), CPU))
    greedy, sampled = (group.act(torch.zeros(1, 2000, 3), noise) for noise in (None, torch.randn(1, 2000, 2)))
    assert (greedy == greedy[:, :1]).all()
    assert sampled.std(1).min() > 0.2
    assert (sampled.mean(1) - greedy.mean(1)).abs().max() < 0.15


@pytest.mark.parametrize(
    ("algorithm", "wrong"),
    [
        (BC, {"learning_rate": 0.0}),
        (TD3BC, {"discount": 1.5}),
        (TD3BC, {"policy_delay": 0}),
        (IQL, {"expectile": 1.0}),
        (AWAC, {"temperature": 0.0}),
        (CQL, {"hidden": ()}),
        (CQL, {"sampled_actions": 2.5}),
        (SAC, {"policy_delay": 0}),
        (EDAC, {"critics": 1}),
        (BC, {"best": 0.0}),
        (CalQL, {"dataset_share": 1.5}),
        (FQL, {"aggregation": "max"}),
        (IQL, {"return_range": float("inf")}),
    ],
)
def test_settings_out_of_range_are_refused(algorithm, wrong):
    adapter = TypeAdapter(algorithm.Config)
    right = dataclasses.asdict(algorithm.Config())
    assert adapter.validate_python(right) == algorithm.Config()
    with pytest.raises(ValidationError):
        adapter.validate_python(right | wrong)


@pytest.mark.parametrize(("algorithm", "width"), [(TD3BC, 2), (TD3, 2), (SAC, 4), (ReBRAC, 2)])
def test_policy_delay_sets_the_period(algorithm, width):
    group = algorithm(algorithm.Config(hidden=(8,), policy_delay=3), Spec((3,), 2, (0,), CPU))
    assert group.period == 3
    batch = Batch(*(torch.ones(1, 4, *shape) for shape in ((3,), (2,), (), (3,), (), (width,), (2,))))
    weights = []
    for _ in range(6):
        group.update(batch)
        weights.append(group.actor.net.weights[0].detach().clone())
    moved = [not torch.equal(a, b) for a, b in zip(weights[:-1], weights[1:], strict=True)]
    assert moved == [False, True, False, False, True]
