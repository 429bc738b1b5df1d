"""A complete plain algorithm: clone the logged actions whose temporal-difference advantage is positive."""

import copy
from dataclasses import dataclass

import torch
from torch import nn


class FilteredBC:
    """Filtered cloning: A = r + gamma m V'(s') - V(s);  L(V) = E A^2;  L(pi) = E 1(A > 0) (pi(s) - a)^2."""

    vectorized = False  # sees one run: batches are [B, ...]; the harness loops over seeds

    @dataclass(frozen=True)
    class Config:
        """`--set filtered_bc.discount=0.95` changes one."""

        learning_rate: float = 3e-4  # Adam's
        discount: float = 0.99  # gamma, per transition
        target_rate: float = 0.005  # share of the online value in each move of the target
        normalise_observations: bool = True  # asks the harness to normalise, over the visible window only

    def __init__(self, config, spec):
        self.config = config
        obs_dim, act_dim = spec.obs_shape[0], spec.act_dim
        self.policy = nn.Sequential(nn.Linear(obs_dim, 256), nn.ReLU(), nn.Linear(256, act_dim), nn.Tanh()).to(
            spec.device
        )
        self.value = nn.Sequential(nn.Linear(obs_dim, 256), nn.ReLU(), nn.Linear(256, 1)).to(spec.device)
        self.target = copy.deepcopy(self.value)
        self.adam = torch.optim.Adam([*self.policy.parameters(), *self.value.parameters()], config.learning_rate)
        self.parts = {"policy": self.policy, "value": self.value, "target": self.target, "adam": self.adam}

    def update(self, batch):  # one gradient step; returns detached metrics
        with torch.no_grad():
            future = batch.masks * self.target(batch.next_observations).squeeze(-1)
        advantage = batch.rewards + self.config.discount * future - self.value(batch.observations).squeeze(-1)
        errors = (self.policy(batch.observations) - batch.actions).square().mean(-1)
        value_loss, policy_loss = advantage.square().mean(), (errors * (advantage.detach() > 0)).mean()
        self.adam.zero_grad()
        (value_loss + policy_loss).backward()
        self.adam.step()
        with torch.no_grad():
            for old, new in zip(self.target.parameters(), self.value.parameters(), strict=True):
                old.lerp_(new, self.config.target_rate)
        return {"value/loss": value_loss.detach(), "actor/loss": policy_loss.detach()}

    def act(self, observations, noise):  # noise: standard normals to explore online, None to be greedy
        actions = self.policy(observations)
        return actions if noise is None else (actions + 0.1 * noise).clamp(-1, 1)

    def state_dict(self):  # everything that training needs to go on
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state):
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
