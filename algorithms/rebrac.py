"""ReBRAC (Tarasov, Kurenkov, Nikulin and Kolesnikov, "Revisiting the Minimalist Approach to Offline Reinforcement Learning",
NeurIPS 2023, arXiv 2305.09836): TD3+BC with a penalty in the critics' target too, deeper networks and normalized layers.

    a' = clip(pi'(s') + clip(sigma e, -c, c), -1, 1)                   e ~ N(0, 1)                                (1)
    y = r + gamma m ( min_i Q'_i(s', a') - beta_2 k |a' - d'|^2 )      d' the dataset's action at s'              (2)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (3)
    L(pi) = E [ beta_1 |pi(s) - a|^2 - lambda min_i Q_i(s, pi(s)) ],  lambda = 1 / E |min_i Q_i(s, pi(s))|        (4)

m is 0 where terminated, else 1; |.|^2 is a sum over action dimensions. Every `policy_delay`-th update also takes a step on
(4), after the critics' step, and a soft update of both targets by `target_rate`.

k is 1 where d' is known and else 0. In a growing dataset it is not before the next transition is visible: in a shuffled stream
of which a share q is visible that is about a share q of them, in the orders `episodes` and `logged` nearly all. At the end of
an episode that a time limit cuts there is none; the authors leave such transitions out.

As in the authors' code (tinkoff-ai/ReBRAC): lambda without gradient, the minimum of both critics in (4), which TD3+BC has not;
the critics' layers are normalized after the ReLU, those of the policy are not; initial weights. Different from it: the
policy's last layer begins within 0.003 of 0, not within 0.001; PyTorch's constant in the normalization, 1e-5, not flax's 1e-6;
the step on (4) is at the second of two updates, not at the first; the policy's target follows the policy after that step, not
before it.

`actor_penalty` and `critic_penalty` are to be chosen for each task. On medium data the authors' configurations have 0.01 and
0.001 in Hopper, 0.001 and 0.5 in HalfCheetah, 0.05 and 0 in Walker2d. `published` is their learning rate there, with batches
of 1 024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqeval_rl.algorithms.td3_bc import smooth  # the same equation (1)
from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import Critic, DeterministicActorCritic, TanhActor, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class ReBRACConfig:
    """Settings of ReBRAC; defaults of the authors' code, but for the learning rate and the penalties."""

    hidden: Layers = (256, 256, 256)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of actor and critics
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    actor_penalty: NonNegative = 0.01  # beta_1, weight of cloning against the Q term
    critic_penalty: NonNegative = 0.01  # beta_2, in units of return for a squared distance of 1
    policy_noise: NonNegative = 0.2  # sigma of target smoothing, in units of the action's half range
    noise_clip: NonNegative = 0.5  # c, same unit
    policy_delay: Count = 2  # critic updates for each actor update
    layer_norm: bool = True  # of the critics' hidden layers
    exploration_noise: NonNegative = 0.0  # std added online, same unit as policy_noise; none in the paper
    initialization: Initialization = "edac"  # of the networks
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


@fused
def critic_losses(
    q: Tensor,
    next_q: Tensor,
    next_actions: Tensor,
    logged: Tensor,
    rewards: Tensor,
    masks: Tensor,
    penalty: float | Tensor,
    discount: float | Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Equations (2) and (3) for Q_i(s, a) and Q'_i(s', a'), [R, M, B], and for a' and d', [R, B, A]; d' is NaN where it is not
    known. The loss, the mean Q and the share of transitions whose d' is known, each [R]."""
    # y = r + gamma m (min_i Q'_i(s', a') - beta_2 k |a' - d'|^2);  L = sum_i mean (Q_i(s, a) - y)^2
    known = logged.isfinite().all(-1)
    distance = (next_actions - logged).square().sum(-1).where(known, 0.0)
    target = rewards + discount * masks * (next_q.amin(1) - penalty * distance)
    loss = (q - target.unsqueeze(1)).square().mean(2).sum(1)
    return loss, q.detach().mean((1, 2)), known.to(q.dtype).mean(1)


@fused
def actor_losses(actions: Tensor, q: Tensor, logged: Tensor, penalty: float | Tensor) -> tuple[Tensor, Tensor]:
    """Equation (4) for pi(s), Q_i(s, pi(s)) [R, M, B] and the dataset's actions: the loss and the squared distance in it, each
    [R]."""
    # lambda = 1 / mean |min_i Q_i|;  L = mean (beta_1 |pi(s) - a|^2 - lambda min_i Q_i(s, pi(s)))
    q = q.amin(1)
    cloning = (actions - logged).square().sum(2).mean(1)
    return penalty * cloning - q.mean(1) / q.detach().abs().mean(1), cloning.detach()


class ReBRAC(DeterministicActorCritic):  # which has act and values
    """ReBRAC for R runs at once."""

    Config = ReBRACConfig
    vectorized = True
    name = "ReBRAC"
    published: ClassVar[Mapping[str, Any]] = {"learning_rate": 1e-3}
    period = 2
    citation = r"""@inproceedings{tarasov2023revisiting,
      title     = {Revisiting the Minimalist Approach to Offline Reinforcement Learning},
      author    = {Tarasov, Denis and Kurenkov, Vladislav and Nikulin, Alexander and Kolesnikov, Sergey},
      booktitle = {Advances in Neural Information Processing Systems},
      volume    = {36},
      year      = {2023}
    }"""
    counters = ("turn",)

    def __init__(self, config: ReBRACConfig, spec: Spec) -> None:
        self.period = config.policy_delay
        self.turn = 0  # updates so far, modulo the period
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.actor_penalty = setting(config.actor_penalty, spec)
        self.critic_penalty = setting(config.critic_penalty, spec, 1)
        self.policy_noise = setting(config.policy_noise, spec, 2)
        self.noise_clip: Any = setting(config.noise_clip, spec, 2)
        self.exploration_noise = setting(config.exploration_noise, spec, 2)
        self.actor = TanhActor(spec, "actor", config.hidden, config.initialization)
        self.critic = Critic(spec, "critic", config.hidden, 2, config.initialization, config.layer_norm)
        self.actor_target = frozen_copy(self.actor)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        # The metrics of the last actor update, part of the state so that a resumed run reports the same.
        self.last_loss = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)
        self.last_cloning = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: ReBRACConfig, spec: Spec) -> int:
        """One normal per action dimension: target smoothing."""
        return spec.act_dim

    @staticmethod
    def columns(config: ReBRACConfig) -> tuple[str, ...]:
        """Batches have d' of (2)."""
        return ("next_actions",)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3); every `policy_delay`-th update also one on (4) and soft updates."""
        assert batch.next_actions is not None
        with torch.no_grad():
            next_actions = self.actor_target(batch.next_observations)
            next_actions = smooth(next_actions, batch.noise, self.policy_noise, self.noise_clip)
            next_q = self.critic_target(batch.next_observations, next_actions)
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q, known = critic_losses(
            q, next_q, next_actions, batch.next_actions, batch.rewards, batch.masks, self.critic_penalty, self.discount
        )
        self.critic_optimiser.minimise(critic_loss)
        self.turn = (self.turn + 1) % self.period
        if self.turn == 0:
            actions = self.actor(batch.observations)
            q = self.critic(batch.observations, actions, frozen=True)
            actor_loss, cloning = actor_losses(actions, q, batch.actions, self.actor_penalty)
            self.actor_optimiser.minimise(actor_loss)
            soft_update(self.critic_target, self.critic, self.target_rate)
            soft_update(self.actor_target, self.actor, self.target_rate)
            self.last_loss.copy_(actor_loss.detach())
            self.last_cloning.copy_(cloning)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "critic/known": known,
            "actor/loss": self.last_loss.detach(),
            "actor/cloning": self.last_cloning.detach(),
        }
