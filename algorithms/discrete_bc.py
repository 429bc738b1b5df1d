"""Behavioral cloning of discrete actions: a stochastic policy that maximizes the likelihood of the dataset's actions.

    pi(a | s) = softmax(f(s))_a                                                                                  (1)
    L(pi) = -E_(s,a) [ log pi(a | s) ]                                                                           (2)

The greedy action is the most likely one; exploring, the policy samples from (1). Initial weights are those of `torch.nn.Linear`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqeval_rl.algorithms.bc import BC
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Layers, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.distributions import class_log_prob, sampled_class
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import MLP
from seqeval_rl.networks.optimizers import Adam


@dataclass(frozen=True)
class DiscreteBCConfig:
    """Settings of behavioral cloning of discrete actions; those that `bc` has too have its defaults."""

    hidden: Layers = (256, 256)  # widths of the hidden layers
    learning_rate: Positive = 1e-3  # Adam's
    decay_steps: Count | None = None  # gradient steps until the rate is 0, along half a cosine; none: it is constant
    initialization: Initialization = "torch"  # of the network
    normalise_observations: bool = False  # by mean and std over the visible window


@fused
def cloning_loss(logits: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Equation (2) for f(s), [R, B, n], and the dataset's actions, [R, B]: the loss, and how often the most likely action is that
    of the dataset, each [R]."""
    # L = -mean log softmax(f(s))_a
    agreement = (logits.argmax(-1) == actions).to(logits.dtype).mean(1)
    return -class_log_prob(logits, actions).mean(1), agreement


class DiscreteBC(Stateful):
    """Behavioral cloning of discrete actions for R runs at once."""

    Config = DiscreteBCConfig
    vectorized = True
    action_space = "discrete"
    name = "discrete BC"
    citation = BC.citation

    def __init__(self, config: DiscreteBCConfig, spec: Spec) -> None:
        shape = spec.obs_dim, config.hidden, spec.discrete_actions
        self.actor = MLP(spec, "actor", *shape, initialization=config.initialization)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate, decay_steps=config.decay_steps)

    def logits(self, observations: Tensor) -> Tensor:
        """f(s): [R, B, O] -> [R, B, n]."""
        f: Tensor = self.actor(observations)
        return f.squeeze(1)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (2)."""
        loss, agreement = cloning_loss(self.logits(batch.observations), batch.actions)
        self.actor_optimiser.minimise(loss)
        return {"actor/loss": loss.detach(), "actor/agreement": agreement.detach()}

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The most likely action, or with `noise` a sample of the policy: [R, E, O], [R, E, 2] -> [R, E]."""
        logits = self.logits(observations)
        return logits.argmax(-1) if noise is None else sampled_class(logits, noise)

    @torch.no_grad()
    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): [R, B, O], [R, B] -> [R, B]."""
        return class_log_prob(self.logits(observations), actions)
