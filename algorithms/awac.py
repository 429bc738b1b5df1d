"""Advantage weighted actor-critic (Nair, Gupta, Dalal and Levine, "AWAC: Accelerating Online Reinforcement Learning with
Offline Datasets", 2020, arXiv 2006.09359).

    y = r + gamma m min_i Q'_i(s', a')                   a' ~ clip(pi(s'), -1, 1), m = 0 where terminated          (1)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (2)
    A = min_i Q_i(s, a) - min_i Q_i(s, b)                b ~ clip(pi(s), -1, 1), one sample                       (3)
    L(pi) = - sum_B w log pi(a | s),  w = exp(A / lambda) / sum_B exp(A / lambda)                                 (4)

w and A without gradient. Every update ends with a soft update of Q' by `target_rate`. The policy is a normal with mean
tanh(f(s)) and one log standard deviation for each action dimension, within [-10, 2]; the greedy action is the mean.

`temperature` is the paper's lambda, which its authors' code names beta: the larger, the closer to cloning. Like that code
(rlkit) and unlike the paper, (4) normalizes the weights over the batch, since exp(A / lambda) alone is unbounded; and both
losses are computed at the same weights. Different from rlkit: the mean passes tanh, the bounds of the log standard deviation
and the decoupled weight decay (AdamW; rlkit adds it to the gradient) are those of the JAX version (jaxrl); sampled actions are
clipped to the action space, which neither the paper nor jaxrl does; initial weights are those of `torch.nn.Linear`; no
pretraining of the critics alone.

The published runs are jaxrl's: `published` are its settings. Not reproduced of it: (4) is computed after the steps on (2) and
on Q'; dataset actions are clipped to 1 - 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Fraction, Layers, NonNegative, Positive
from seqeval_rl.networks.distributions import normal_log_prob
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import ActorCritic, Critic, GaussianActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class AWACConfig:
    """Settings of AWAC; defaults of Sujit et al. 2023."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of the critics
    actor_hidden: Layers = (256, 256, 256, 256)  # widths of the hidden layers of the actor
    learning_rate: Positive = 3e-4  # Adam's, of actor and critics
    weight_decay: NonNegative = 1e-4  # of the actor, share of the weights for each unit of learning rate
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    temperature: Positive = 2.0  # lambda, in units of return
    clip_samples: bool = True  # whether the samples in (1) and (3) are clipped; those that explore always are
    initialization: Initialization = "torch"  # of the networks; orthogonal in jaxrl
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


LOG_STD = (-10.0, 2.0)
"""Range of the log standard deviations."""


@fused
def sample(mean: Tensor, log_stds: Tensor, noise: Tensor, limit: float) -> Tensor:
    """An action of the normal policy, [R, B, A], within the limit; its log standard deviations are still to be clipped."""
    return (mean + log_stds.clamp(*LOG_STD).exp() * noise).clamp(-limit, limit)


@fused
def critic_losses(
    q: Tensor, next_q: Tensor, rewards: Tensor, masks: Tensor, discount: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equations (1) and (2) for Q_i(s, a) and Q'_i(s', a'), [R, M, B]: the loss and the mean Q, each [R]."""
    # y = r + gamma m min_i Q'_i(s', a');  L = sum_i mean (Q_i(s, a) - y)^2
    target = rewards + discount * masks * next_q.amin(1)
    return (q - target.unsqueeze(1)).square().mean(2).sum(1), q.detach().mean((1, 2))


@fused
def actor_losses(
    mean: Tensor, log_stds: Tensor, actions: Tensor, q: Tensor, sampled_q: Tensor, temperature: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equations (3) and (4) for the policy at s as in `sample`, the dataset's actions, Q_i(s, a) and Q_i(s, b), [R, M, B],
    without gradient: the loss and the mean log pi(a | s), each [R]."""
    log_std = log_stds.clamp(*LOG_STD)
    # A = min_i Q_i(s, a) - min_i Q_i(s, b);  w = softmax over the batch of A / lambda;  L = - sum w log pi(a | s)
    log_prob = normal_log_prob((actions - mean) * (-log_std).exp(), log_std)
    weights = ((q.amin(1) - sampled_q.amin(1)) / temperature).softmax(1)
    return -(weights * log_prob).sum(1), log_prob.detach().mean(1)


class AWAC(ActorCritic):  # which has act, values and log_prob
    """AWAC for R runs at once."""

    actor: GaussianActor
    Config = AWACConfig
    vectorized = True
    name = "AWAC"
    published: ClassVar[Mapping[str, Any]] = {"initialization": "orthogonal", "clip_samples": False}
    citation = r"""@article{nair2020awac,
      title   = {{AWAC}: Accelerating Online Reinforcement Learning with Offline Datasets},
      author  = {Nair, Ashvin and Gupta, Abhishek and Dalal, Murtaza and Levine, Sergey},
      journal = {arXiv preprint arXiv:2006.09359},
      year    = {2020}
    }"""

    def __init__(self, config: AWACConfig, spec: Spec) -> None:
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.temperature = setting(config.temperature, spec, 1)
        self.limit = 1.0 if config.clip_samples else math.inf  # of sampled actions
        initialization = config.initialization
        self.actor = GaussianActor(spec, "actor", config.actor_hidden, *LOG_STD, initialization)
        self.critic = Critic(spec, "critic", config.hidden, initialization=initialization)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate, config.weight_decay)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)

    @staticmethod
    def noise_dim(config: AWACConfig, spec: Spec) -> int:
        """Two normals per action dimension: one action sampled at s and one at s'."""
        return 2 * spec.act_dim

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (2) and (4), then the soft update."""
        noise, next_noise = batch.noise.chunk(2, -1)
        log_stds = self.actor.log_stds
        with torch.no_grad():
            next_actions = sample(self.actor.mean(batch.next_observations), log_stds, next_noise, self.limit)
            next_q = self.critic_target(batch.next_observations, next_actions)
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q = critic_losses(q, next_q, batch.rewards, batch.masks, self.discount)
        mean = self.actor.mean(batch.observations)
        with torch.no_grad():
            sampled_q = self.critic(batch.observations, sample(mean, log_stds, noise, self.limit))
        actor_loss, log_prob = actor_losses(mean, log_stds, batch.actions, q.detach(), sampled_q, self.temperature)
        self.actor_optimiser.minimise(actor_loss)
        self.critic_optimiser.minimise(critic_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "actor/loss": actor_loss.detach(),
            "actor/log_prob": log_prob,
        }
