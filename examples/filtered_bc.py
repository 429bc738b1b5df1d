"""A complete single-run algorithm: behavioral cloning of the actions whose temporal-difference advantage is positive."""

import copy
from dataclasses import dataclass

import torch
from torch import nn


class FilteredBC:
    """Filtered cloning: A = r + gamma m V'(s') - V(s);  L(V) = E A^2;  L(pi) = E 1(A > 0) (pi(s) - a)^2."""

    @dataclass(frozen=True)
    class Config:
        """The settings; `--set filtered_bc.discount=0.95` changes one."""

        learning_rate: float = 3e-4  # Adam's
        discount: float = 0.99  # gamma, per transition
        target_rate: float = 0.005  # share of the online weights in each soft update
        normalise_observations: bool = True  # the harness normalizes, over the visible window only

    def __init__(self, config, spec):
        self.config = config
        widths = (spec.obs_dim, 256)
        self.policy = nn.Sequential(nn.Linear(*widths), nn.ReLU(), nn.Linear(256, spec.act_dim), nn.Tanh())
        self.value = nn.Sequential(nn.Linear(*widths), nn.ReLU(), nn.Linear(256, 1))
        self.target = copy.deepcopy(self.value)
        self.parts = {"policy": self.policy, "value": self.value, "target": self.target}
        for network in self.parts.values():
            network.to(spec.device)
        parameters = [*self.policy.parameters(), *self.value.parameters()]
        self.parts["adam"] = self.adam = torch.optim.Adam(parameters, config.learning_rate)

    def update(self, batch):  # one gradient step on a batch [B, ...]; returns detached metrics
        with torch.no_grad():
            next_values = batch.masks * self.target(batch.next_observations).squeeze(-1)
        advantage = batch.rewards + self.config.discount * next_values - self.value(batch.observations).squeeze(-1)
        errors = (self.policy(batch.observations) - batch.actions).square().mean(-1)
        value_loss, policy_loss = advantage.square().mean(), (errors * (advantage.detach() > 0)).mean()
        self.adam.zero_grad()
        (value_loss + policy_loss).backward()
        self.adam.step()
        with torch.no_grad():
            for old, new in zip(self.target.parameters(), self.value.parameters(), strict=True):
                old.lerp_(new, self.config.target_rate)
        return {"value/loss": value_loss.detach(), "actor/loss": policy_loss.detach()}

    def act(self, observations, noise):  # noise: standard normals for online exploration, None for greedy actions
        actions = self.policy(observations)
        return actions if noise is None else (actions + 0.1 * noise).clamp(-1, 1)

    def state_dict(self):  # everything that training needs to resume
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
