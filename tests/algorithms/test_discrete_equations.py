"""Updates of discrete BC, DQN and discrete CQL against reference implementations of one run, from the equations, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from one_run import OBS, RUN, B, Net, PlainAdam, assert_metric, assert_same, batches

from seqeval_rl.algorithms.discrete_bc import DiscreteBC
from seqeval_rl.algorithms.discrete_cql import DiscreteCQL
from seqeval_rl.algorithms.dqn import DQN
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.networks.distributions import sampled_class

CLASSES = 3
SPEC = Spec((OBS,), 1, (11, 12), torch.device("cpu"), CLASSES)


pytestmark = pytest.mark.usefixtures("float64")


def discrete_batches(count):
    draws = torch.Generator().manual_seed(6)
    return [batch._replace(actions=torch.randint(CLASSES, (2, B), generator=draws)) for batch in batches(0, count)]


def taken(values, actions):
    """Of each transition, the value of its action."""
    return torch.stack([values[i, a] for i, a in enumerate(actions.tolist())])


def log_sum_exp(values):
    return values.exp().sum(1).log()


def test_discrete_bc():
    algorithm = DiscreteBC(DiscreteBC.Config(hidden=(4, 5), learning_rate=3e-3), SPEC)
    actor = Net(algorithm.actor)
    adam = PlainAdam(actor.leaves, 3e-3)
    for batch in discrete_batches(3):
        metrics = algorithm.update(batch)
        s, a = batch.observations[RUN], batch.actions[RUN]
        logits = actor(s)
        loss = -(taken(logits, a) - log_sum_exp(logits)).mean()
        assert_metric(metrics, "actor/loss", loss)
        assert_metric(metrics, "actor/agreement", (logits.argmax(1) == a).double().mean())
        adam.step(loss)
        assert_same(actor, algorithm.actor)
        found = algorithm.log_prob(batch.observations, batch.actions)[RUN]
        logits = actor(s)
        torch.testing.assert_close(found, (taken(logits, a) - log_sum_exp(logits)).detach())


@pytest.mark.parametrize("name", ["dqn", "double", "cql"])
def test_values(name):
    made, settings = {"dqn": (DQN, {}), "double": (DQN, {"double": True}), "cql": (DiscreteCQL, {"alpha": 0.7})}[name]
    algorithm = made(made.Config(hidden=(4, 5), learning_rate=3e-3, target_rate=0.1, discount=0.9, **settings), SPEC)
    q, target = Net(algorithm.critic), Net(algorithm.critic_target)
    adam = PlainAdam(q.leaves, 3e-3)
    for batch in discrete_batches(4):
        metrics = algorithm.update(batch)
        s, a, r, s2, m, _ = batch.run(RUN)[:6]
        next_q = target(s2)
        y = r + 0.9 * m * (next_q.amax(1) if name == "dqn" else taken(next_q, q(s2).argmax(1)))
        error = (taken(q(s), a) - y.detach()).square().mean()
        gap = (log_sum_exp(q(s)) - taken(q(s), a)).mean()
        loss = 0.7 * gap + error / 2 if name == "cql" else error
        assert_metric(metrics, "critic/loss", loss)
        assert_metric(metrics, "critic/q", taken(q(s), a).mean())
        if name == "cql":
            assert_metric(metrics, "critic/gap", gap)
        adam.step(loss)
        target.towards(q, 0.1)
        assert_same(q, algorithm.critic)
        assert_same(target, algorithm.critic_target)


def test_exploration_is_uniform_with_probability_epsilon():
    algorithm = DQN(DQN.Config(hidden=(4,), epsilon=0.3), SPEC)
    observations = torch.ones(2, 40_000, OBS)
    noise = torch.randn(2, 40_000, 2, generator=torch.Generator().manual_seed(0))
    greedy, found = algorithm.act(observations, None), algorithm.act(observations, noise)
    assert found.dtype == torch.int64
    for r in range(2):
        shares = torch.bincount(found[r], minlength=CLASSES) / 40_000
        expected = torch.full((CLASSES,), 0.1) + 0.7 * torch.nn.functional.one_hot(greedy[r, 0], CLASSES)
        torch.testing.assert_close(shares.double(), expected.double(), atol=0.01, rtol=0)


def test_samples_have_the_policys_probabilities():
    logits = torch.tensor([math.log(0.2), math.log(0.5), math.log(0.3)]).expand(40_000, 3)
    found = sampled_class(logits, torch.randn(40_000, 2, generator=torch.Generator().manual_seed(1)))
    shares = torch.bincount(found, minlength=3) / 40_000
    torch.testing.assert_close(shares.double(), torch.tensor([0.2, 0.5, 0.3]), atol=0.01, rtol=0)
