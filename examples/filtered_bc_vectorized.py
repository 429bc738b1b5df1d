"""`filtered_bc.py` vectorized: all seeds train at once, with a leading run axis in every tensor."""

from dataclasses import dataclass

import torch

from seqeval_rl.interface import Fraction, Layers, Positive, Stateful
from seqeval_rl.networks import Adam, TanhActor, Value, frozen_copy, setting, soft_update


class VectorizedFilteredBC(Stateful):  # Stateful: state_dict and load_state_dict
    """Filtered cloning: A = r + gamma m V'(s') - V(s);  L(V) = E A^2;  L(pi) = E 1(A > 0) (pi(s) - a)^2."""

    vectorized = True

    @dataclass(frozen=True)
    class Config:
        """The settings, with their ranges: a value outside is refused before any training."""

        hidden: Layers = (256,)  # widths of the hidden layers
        learning_rate: Positive = 3e-4  # Adam's
        discount: Fraction = 0.99  # gamma, per transition
        target_rate: Fraction = 0.005  # share of the online weights in each soft update
        normalise_observations: bool = True  # the harness normalizes, over the visible window only

    def __init__(self, config, spec):
        # A setting that differs between runs is a tensor [R]; `setting` adds an axis, so that it broadcasts to [R, B].
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.policy = TanhActor(spec, "policy", config.hidden)
        self.value = Value(spec, "value", config.hidden)
        self.target = frozen_copy(self.value)
        self.adam = Adam([*self.policy.parameters(), *self.value.parameters()], config.learning_rate)

    def update(self, batch):  # one gradient step of all runs on batches [R, B, ...]; returns detached metrics [R]
        with torch.no_grad():
            target = batch.rewards + self.discount * batch.masks * self.target(batch.next_observations)
        advantage = target - self.value(batch.observations)
        errors = (self.policy(batch.observations) - batch.actions).square().mean(-1)
        value_loss = advantage.square().mean(1)
        policy_loss = (errors * (advantage.detach() > 0)).mean(1)
        self.adam.minimise(value_loss + policy_loss)  # losses are [R]: runs share no weights
        soft_update(self.target, self.value, self.target_rate)
        return {"value/loss": value_loss.detach(), "actor/loss": policy_loss.detach()}

    @torch.no_grad()
    def act(self, observations, noise):
        actions = self.policy(observations)
        return actions if noise is None else (actions + 0.1 * noise).clamp(-1, 1)
