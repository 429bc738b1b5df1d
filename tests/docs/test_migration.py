"""The adapter of the migration page, around a miniature class of CORL's shape."""

import copy
from dataclasses import dataclass

import pytest
import torch
from doc_pages import ROOT
from torch import nn
from torch.nn.functional import mse_loss

from seqeval_rl.api import evaluate
from seqeval_rl.interface.checks import check_algorithm
from seqeval_rl.interface.loading import load_class

CorlAdapter = load_class(f"{ROOT / 'examples' / 'corl_adapter.py'}:CorlAdapter")


def network(inputs, outputs, *last):
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs), *last)


class Miniature:
    """Ours, of that shape: modules and optimizers come in, `train` returns floats, the state lacks the targets."""

    def __init__(self, actor, actor_optimizer, critic, critic_optimizer, discount=0.99, tau=0.05, policy_freq=2):
        self.actor, self.actor_target, self.actor_optimizer = actor, copy.deepcopy(actor), actor_optimizer
        self.critic, self.critic_target, self.critic_optimizer = critic, copy.deepcopy(critic), critic_optimizer
        self.discount, self.tau, self.policy_freq, self.total_it = discount, tau, policy_freq, 0

    def train(self, batch):
        self.total_it += 1
        state, action, reward, next_state, done = batch
        with torch.no_grad():
            next_action = self.actor_target(next_state)
            next_action = (next_action + 0.1 * torch.randn_like(action)).clamp(-1, 1)
            target = reward + (1 - done) * self.discount * self.critic_target(torch.cat([next_state, next_action], 1))
        critic_loss = mse_loss(self.critic(torch.cat([state, action], 1)), target)
        self.critic_optimizer.zero_grad()
        critic_loss.backward()
        self.critic_optimizer.step()
        log = {"critic_loss": critic_loss.item()}
        if self.total_it % self.policy_freq == 0:
            q = self.critic(torch.cat([state, self.actor(state)], 1))
            actor_loss = mse_loss(self.actor(state), action) - 2.5 * q.mean() / q.abs().mean().detach()
            self.actor_optimizer.zero_grad()
            actor_loss.backward()
            self.actor_optimizer.step()
            for net, old in ((self.actor, self.actor_target), (self.critic, self.critic_target)):
                for new, kept in zip(net.parameters(), old.parameters(), strict=True):
                    kept.data.copy_(self.tau * new.data + (1 - self.tau) * kept.data)
            log["actor_loss"] = actor_loss.item()
        return log

    def state_dict(self):
        return {"actor": self.actor.state_dict(), "total_it": self.total_it}


class Adapted(CorlAdapter):
    @dataclass(frozen=True)
    class Config:
        learning_rate: float = 1e-3
        normalise_observations: bool = True

    def build(self, config, spec):
        actor = network(spec.obs_dim, spec.act_dim, nn.Tanh()).to(spec.device)
        critic = network(spec.obs_dim + spec.act_dim, 1).to(spec.device)
        adams = [torch.optim.Adam(each.parameters(), config.learning_rate) for each in (actor, critic)]
        return Miniature(actor, adams[0], critic, adams[1])


def test_the_adapter_passes_the_contract_checks():
    assert [check for check in check_algorithm(Adapted) if not check.passed] == []


def test_it_runs_next_to_ours(tmp_path):
    protocol = {"initial": 100, "increment": 50, "evaluate_every": 150, "episodes": 1}
    results = evaluate([Adapted], "bundled/hopper/medium:400", seeds=[0], protocol=protocol, out=tmp_path / "results")
    assert [(run.algorithm, run.status) for run in results] == [("adapted", "finished")]
    assert results[0].curve("train/critic_loss")[1][-1] > 0


@pytest.mark.parametrize("kind", ["tensor", "distribution", "tuple"])
def test_actors_of_every_kind_act_greedily(kind):
    adapted = object.__new__(Adapted)
    means = torch.full((3, 2), 0.5)
    returned = {
        "tensor": means,
        "distribution": torch.distributions.Normal(means, 0.1),
        "tuple": (means, torch.zeros(3)),
    }
    adapted.agent = type("Agent", (), {"actor": staticmethod(lambda observations: returned[kind])})()
    assert torch.equal(adapted.act(torch.zeros(3, 4), None), means)
