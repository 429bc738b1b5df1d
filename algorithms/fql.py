"""Flow Q-learning (Park, Li and Levine, "Flow Q-Learning", ICML 2025, arXiv 2502.02538).

A flow from normal noise to the dataset's actions is learned by flow matching, v(s, x, t) its velocity; a policy of one step,
mu(s, z), imitates the whole flow and maximizes Q:

    L(v) = E |v(s, x_t, t) - (a - x_0)|^2                              x_t = (1 - t) x_0 + t a, t ~ U(0, 1)       (1)
    f(s, z) = clip(x_K, -1, 1),  x_(k+1) = x_k + v(s, x_k, k/K) / K    x_0 = z, K = flow_steps, Euler's method     (2)
    y = r + gamma m mean_i Q'_i(s', clip(mu(s', z'), -1, 1))           m = 0 where terminated, else 1             (3)
    L(Q) = sum_i E [ (Q_i(s, a) - y)^2 ]                                                                          (4)
    L(mu) = alpha E |mu(s, z) - f(s, z)|^2 - E mean_i Q_i(s, clip(mu(s, z), -1, 1))                               (5)

x_0, z, z' ~ N(0, 1); f has no gradient. |.|^2 is a mean over action dimensions. Every update ends with a soft update of Q' by
`target_rate`.

As in the authors' code (seohongpark/fql): |.|^2 is that mean; the critics' layers are normalized, those of v and mu are not;
all losses are computed at the same weights. Different from it: ReLU instead of GELU, and initial weights of `torch.nn.Linear`;
the greedy action, which the harness evaluates, is that of z = 0, where the authors draw z.

`alpha` is to be chosen for each task and scale of rewards: the larger, the closer to cloning. With a `return_range` the scale
is known; `normalise_q` divides Q in (5) by the batch's mean |Q|, as the code can. The paper has four layers of 512 units,
which take about ten times the time of the default: `published`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.distributions import uniform
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization
from seqeval_rl.networks.modules import MLP, Critic, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class FQLConfig:
    """Settings of FQL; defaults of the paper, but for the layers."""

    hidden: Layers = (256, 256)  # widths of the hidden layers of all networks; four of 512 in the paper
    learning_rate: Positive = 3e-4  # Adam's, of all networks
    discount: Fraction = 0.99  # gamma, per transition
    target_rate: Fraction = 0.005  # share of the online weights in each soft update
    alpha: NonNegative = 10.0  # weight of imitation against the Q term
    flow_steps: Count = 10  # K
    aggregation: Literal["mean", "min"] = "mean"  # of the target critics in (3)
    normalise_q: bool = False  # divide the Q term of (5) by the mean of |Q| over the batch
    layer_norm: bool = True  # of the critics' hidden layers
    initialization: Initialization = "torch"  # of the networks
    normalise_observations: bool = False  # by mean and std over the visible window
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


@fused
def between(noise: Tensor, actions: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
    """x_t of (1) for x_0 and a, [R, B, A], and t, [R, B, 1], which is made of a standard normal of that shape."""
    t = (uniform(normal) + 1) / 2
    return (1 - t) * noise + t * actions, t


@fused
def flow_losses(velocity: Tensor, noise: Tensor, actions: Tensor) -> Tensor:
    """Equation (1), [R], for v(s, x_t, t), x_0 and a, [R, B, A]."""
    # L = mean (v(s, x_t, t) - (a - x_0))^2
    return (velocity - (actions - noise)).square().mean((1, 2))


@fused
def critic_losses(
    q: Tensor, next_q: Tensor, rewards: Tensor, masks: Tensor, discount: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Equations (3) and (4) for Q_i(s, a), [R, M, B], and the mean Q' at s', [R, B]: the loss and the mean Q, each [R]."""
    # y = r + gamma m mean_i Q'_i(s', a');  L = sum_i mean (Q_i(s, a) - y)^2
    target = rewards + discount * masks * next_q
    return (q - target.unsqueeze(1)).square().mean(2).sum(1), q.detach().mean((1, 2))


@fused
def actor_losses(
    actions: Tensor, flow: Tensor, q: Tensor, alpha: float | Tensor, normalise_q: bool
) -> tuple[Tensor, Tensor]:
    """Equation (5) for mu(s, z), f(s, z) and Q_i(s, mu(s, z)), [R, M, B]: the loss and the distance to the flow in it, each
    [R]."""
    # L = alpha mean (mu(s, z) - f(s, z))^2 - mean Q(s, clip(mu(s, z), -1, 1))
    distance = (actions - flow).square().mean((1, 2))
    q = q.mean(1)
    value = q.mean(1) / q.detach().abs().mean(1) if normalise_q else q.mean(1)
    return alpha * distance - value, distance.detach()


class FQL(Stateful):
    """FQL for R runs at once."""

    Config = FQLConfig
    vectorized = True
    name = "FQL"
    published: ClassVar[Mapping[str, Any]] = {"hidden": (512, 512, 512, 512)}
    citation = r"""@inproceedings{park2025flow,
      title     = {Flow {Q}-Learning},
      author    = {Park, Seohong and Li, Qiyang and Levine, Sergey},
      booktitle = {International Conference on Machine Learning},
      year      = {2025}
    }"""

    def __init__(self, config: FQLConfig, spec: Spec) -> None:
        self.steps, self.normalise_q = config.flow_steps, config.normalise_q
        self.lowest = config.aggregation == "min"
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.alpha = setting(config.alpha, spec)
        inputs, outputs, weights = spec.obs_dim + spec.act_dim, spec.act_dim, config.initialization
        self.flow = MLP(spec, "flow", inputs + 1, config.hidden, outputs, initialization=weights)
        self.actor = MLP(spec, "actor", inputs, config.hidden, outputs, initialization=weights)
        self.critic = Critic(spec, "critic", config.hidden, 2, weights, config.layer_norm)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam([*self.flow.parameters(), *self.actor.parameters()], config.learning_rate)
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)

    @staticmethod
    def noise_dim(config: FQLConfig, spec: Spec) -> int:
        """Three normals per action dimension, x_0, z and z', and one that t is made of."""
        return 3 * spec.act_dim + 1

    def one_step(self, observations: Tensor, z: Tensor) -> Tensor:
        """mu(s, z), not clipped: [R, B, O], [R, B, A] -> [R, B, A]."""
        return self.actor(torch.cat([observations, z], -1)).squeeze(1)

    def velocity(self, observations: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """v(s, x, t): [R, B, O], [R, B, A], [R, B, 1] -> [R, B, A]."""
        return self.flow(torch.cat([observations, x, t], -1)).squeeze(1)

    @torch.no_grad()
    def flow_actions(self, observations: Tensor, z: Tensor) -> Tensor:
        """Equation (2): [R, B, O], [R, B, A] -> [R, B, A]."""
        inputs = torch.cat([observations, z, torch.zeros_like(z[..., :1])], -1)
        x, t = inputs[..., observations.shape[-1] : -1], inputs[..., -1:]
        for k in range(self.steps):
            # x_(k+1) = x_k + v(s, x_k, k/K) / K
            t.fill_(k / self.steps)
            x.add_(self.flow(inputs).squeeze(1), alpha=1 / self.steps)
        return x.clamp(-1, 1)

    def aggregate(self, q: Tensor) -> Tensor:
        """The mean over critics, or the least: [R, M, B] -> [R, B]."""
        return q.amin(1) if self.lowest else q.mean(1)

    @torch.no_grad()
    def next_q(self, batch: Batch, z: Tensor) -> Tensor:
        """mean_i Q'_i(s', clip(mu(s', z'), -1, 1)), [R, B]."""
        next_actions = self.one_step(batch.next_observations, z).clamp(-1, 1)
        return self.aggregate(self.critic_target(batch.next_observations, next_actions))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (1), (4) and (5), then the soft update."""
        width = batch.actions.shape[-1]
        x, z, next_z, normal = batch.noise.split([width, width, width, 1], -1)
        q = self.critic(batch.observations, batch.actions)
        critic_loss, mean_q = critic_losses(q, self.next_q(batch, next_z), batch.rewards, batch.masks, self.discount)
        x_t, t = between(x, batch.actions, normal)
        flow_loss = flow_losses(self.velocity(batch.observations, x_t, t), x, batch.actions)
        actions, flow = self.one_step(batch.observations, z), self.flow_actions(batch.observations, z)
        q = self.critic(batch.observations, actions.clamp(-1, 1), frozen=True)
        actor_loss, distance = actor_losses(actions, flow, q, self.alpha, self.normalise_q)
        self.actor_optimiser.minimise(flow_loss + actor_loss)
        self.critic_optimiser.minimise(critic_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": mean_q,
            "actor/loss": actor_loss.detach(),
            "actor/flow": flow_loss.detach(),
            "actor/distance": distance,
        }

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """clip(mu(s, z), -1, 1), z the `noise` or else 0: [R, E, O], [R, E, A] -> [R, E, A]."""
        z = observations.new_zeros(*observations.shape[:2], self.flow.weights[-1].shape[-1]) if noise is None else noise
        return self.one_step(observations, z).clamp(-1, 1)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """mean_i Q_i(s, a), or the least: [R, B, O], [R, B, A] -> [R, B]."""
        return self.aggregate(self.critic(observations, actions))
