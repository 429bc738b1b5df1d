"""Implicit Q-learning (Kostrikov, Nair and Levine, "Offline Reinforcement Learning with Implicit Q-Learning", ICLR 2022,
arXiv 2110.06169).

    A = min_i Q'_i(s, a) - V(s)                                                                                   (1)
    L(V) = E [ |tau - 1(A < 0)| A^2 ]                                                                             (2)
    L(Q) = sum_i E [ (Q_i(s, a) - r - gamma m V(s'))^2 ]               m = 0 where terminated, else 1             (3)
    L(pi) = - E [ min(exp(beta A), 100) log pi(a | s) ]                A without gradient                         (4)

Every update ends with a soft update of Q' by `target_rate`. The policy is a normal with mean tanh(f(s)) and one log standard
deviation for each action dimension, within [-5, 2]; the greedy action is the mean.

Different from the authors' JAX code: all three losses are computed at the same weights (as in their rlkit port), where the
JAX code takes V's step first; no cosine decay of the actor's learning rate unless `decay_steps` is set, since it depends on the
length of the run; initial weights are those of `torch.nn.Linear`, not orthogonal; the reward scale is a declared constant of
the task (`return_range`), not computed from the returns of the full dataset.

The published runs are that code's: `published` are its settings. Not reproduced of it: the order of the steps, and dataset
actions clipped to 1 - 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, OpenFraction, Positive
from seqeval_rl.networks.distributions import normal_log_prob
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import ActorCritic, Critic, GaussianActor, Value, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update

LOG_STD = (-5.0, 2.0)
"""Range of the log standard deviations."""


@dataclass(frozen=True)
class IQLConfig:
    """Settings of IQL; defaults of the paper for locomotion and of Sujit et al. 2023."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of actor, critics and value
    learning_rate: Positive = 3e-4  # Adam's, of all networks
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    expectile: OpenFraction = 0.7  # tau of the value's regression
    temperature: NonNegative = 3.0  # beta, inverse temperature of the policy's weights
    max_weight: Positive = 100.0  # upper bound of the policy's weights; authors' code
    decay_steps: Count | None = None  # gradient steps until the actor's rate is 0; --paper sets it: it uses future data
    initialization: Initialization = "torch"  # of the networks; orthogonal in the authors' code
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = 1000.0  # distance of the task's reference returns after scaling


@fused
def value_losses(q: Tensor, value: Tensor, expectile: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Equations (1) and (2) for Q'_i(s, a), [R, M, B], and V(s), [R, B]: the loss, [R], and without gradient A, [R, B], and its
    mean, [R]."""
    # A = min_i Q'_i(s, a) - V(s);  L = mean |tau - 1(A < 0)| A^2
    advantage = q.amin(1) - value
    below = advantage.detach() < 0
    loss = ((expectile - below.to(advantage.dtype)).abs() * advantage.square()).mean(1)
    return loss, advantage.detach(), advantage.detach().mean(1)


@fused
def critic_losses(
    q: Tensor, next_value: Tensor, rewards: Tensor, masks: Tensor, discount: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equation (3) for Q_i(s, a), [R, M, B], and V(s'), [R, B]: the loss and the mean Q, each [R]."""
    # L = sum_i mean (Q_i(s, a) - r - gamma m V(s'))^2
    target = rewards + discount * masks * next_value
    return (q - target.unsqueeze(1)).square().mean(2).sum(1), q.detach().mean((1, 2))


@fused
def actor_losses(
    mean: Tensor, log_stds: Tensor, actions: Tensor, advantage: Tensor, temperature: float | Tensor, max_weight: Any
) -> Tensor:
    """Equation (4), [R], for the policy's mean and log standard deviations before they are clipped, the dataset's actions and A
    without gradient."""
    log_std = log_stds.clamp(*LOG_STD)
    # L = - mean min(exp(beta A), 100) log pi(a | s)
    log_prob = normal_log_prob((actions - mean) * (-log_std).exp(), log_std)
    weight = (temperature * advantage).exp().clamp(max=max_weight)
    return -(weight * log_prob).mean(1)


class IQL(ActorCritic):  # which has act, values and log_prob
    """IQL for R runs at once."""

    actor: GaussianActor
    Config = IQLConfig
    vectorized = True
    name = "IQL"
    published: ClassVar[Mapping[str, Any]] = {"initialization": "orthogonal"}
    citation = r"""@inproceedings{kostrikov2022offline,
      title     = {Offline Reinforcement Learning with Implicit {Q}-Learning},
      author    = {Kostrikov, Ilya and Nair, Ashvin and Levine, Sergey},
      booktitle = {International Conference on Learning Representations},
      year      = {2022}
    }"""

    def __init__(self, config: IQLConfig, spec: Spec) -> None:
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.expectile = setting(config.expectile, spec, 1)
        self.temperature = setting(config.temperature, spec, 1)
        self.max_weight: Any = setting(config.max_weight, spec, 1)
        initialization = config.initialization
        self.actor = GaussianActor(spec, "actor", config.hidden, *LOG_STD, initialization)
        self.critic = Critic(spec, "critic", config.hidden, initialization=initialization)
        self.value = Value(spec, "value", config.hidden, initialization)
        self.critic_target = frozen_copy(self.critic)
        networks: list[nn.Module] = [self.critic, self.value]
        self.actor_optimiser: Adam | None = None
        if config.decay_steps is None:
            networks.insert(0, self.actor)
        else:
            self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate, decay_steps=config.decay_steps)
        self.optimiser = Adam([p for net in networks for p in net.parameters()], config.learning_rate)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (2), (3) and (4), then the soft update."""
        with torch.no_grad():
            q_target = self.critic_target(batch.observations, batch.actions)
            next_value = self.value(batch.next_observations)
        value_loss, advantage, mean_advantage = value_losses(q_target, self.value(batch.observations), self.expectile)
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q = critic_losses(q, next_value, batch.rewards, batch.masks, self.discount)
        mean, log_stds = self.actor.mean(batch.observations), self.actor.log_stds
        actor_loss = actor_losses(mean, log_stds, batch.actions, advantage, self.temperature, self.max_weight)
        if self.actor_optimiser is None:
            self.optimiser.minimise(value_loss, critic_loss, actor_loss)
        else:
            self.optimiser.minimise(value_loss, critic_loss)
            self.actor_optimiser.minimise(actor_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "value/loss": value_loss.detach(),
            "actor/loss": actor_loss.detach(),
            "actor/advantage": mean_advantage,
        }
