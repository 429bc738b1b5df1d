"""DrQ+BC (Lu et al., "Challenges and Opportunities in Offline Reinforcement Learning from Visual Observations", TMLR 2023, arXiv
2206.04779): DrQ-v2 (Yarats et al., "Mastering Visual Continuous Control", ICLR 2022, arXiv 2107.09645) with the cloning term of
TD3+BC, from images.

A convolutional encoder f sees images s that are shifted at random by up to `shift` pixels; h = f(shifted s), h' = f(shifted s'):

    a' = clip(pi(h') + clip(sigma e, -c, c), -1, 1)                    e ~ N(0, 1)                                (1)
    y = r_0 + gamma r_1 + ... + gamma^n m min_i Q'_i(h', a')           n-step, s' = s_n; m = 0 where terminated   (2)
    L(Q, f) = sum_i E [ (Q_i(h, a) - y)^2 ]                                                                       (3)
    b = clip(pi(h) + clip(sigma e, -c, c), -1, 1)                                                                 (4)
    L(pi) = E [ (b - a)^2 ] - lambda E [ min_i Q_i(h, b) ],  lambda = alpha / E |min_i Q_i(h, b)|                 (5)
    sigma falls linearly from `first_std` to `last_std` over `std_steps` gradient steps                           (6)

Each update is a step on (3), one on (5), and a soft update of the critics' targets. pi and Q each begin with a layer of
`features` units, normalized, with tanh. f learns from (3) alone. There are no targets of f and pi.

As in the authors' code (conglu1997/v-d4rl): h in (5) is that of (3), the gradient passes the outer clip of (4), lambda has none,
the mean is over action dimensions in the cloning term, weights are orthogonal at first. `std_steps` is half of their 250 000, of
which every second one is a gradient step. n = 3 is in their command; their configuration has 1 offline, and a learning rate of
3e-4 in place of DrQ-v2's 1e-4. Different from it: where fewer than n transitions follow in the episode, or are visible, the
return is of these; the authors leave such transitions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.config import Count, Fraction, Layers, NonNegative, Positive
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.distributions import uniform, uniform_class
from seqeval_rl.networks.images import Encoder, Trunk, random_shift
from seqeval_rl.networks.modules import MLP, frozen_copy, setting
from seqeval_rl.networks.optimizers import Adam, soft_update


@dataclass(frozen=True)
class DrQBCConfig:
    """Settings of DrQ+BC; defaults of the authors' code."""

    features: Count = 50  # units of the layer after the encoder
    hidden: Layers = (1024, 1024)  # widths of the hidden layers of actor and critics
    learning_rate: Positive = 3e-4  # Adam's, of encoder, actor and critics
    discount: Fraction = 0.99  # gamma, per transition
    n_step: Count = 3  # rewards of a return
    target_rate: Fraction = 0.01  # share of the online weights in each soft update
    alpha: NonNegative = 2.5  # weight of the Q term against cloning
    shift: Count = 4  # most pixels by which images are shifted
    first_std: NonNegative = 1.0  # sigma at first, in units of the action's half range
    last_std: NonNegative = 0.1  # sigma after `std_steps`
    std_steps: Count = 125_000  # gradient steps over which sigma falls
    noise_clip: NonNegative = 0.3  # c, in units of the action's half range
    return_range: Positive | None = None  # distance of the task's reference returns after scaling; none: as logged


class Actor(nn.Module):
    """The policy's mean, from encoded images."""

    def __init__(self, spec: Spec, config: DrQBCConfig, inputs: int) -> None:
        super().__init__()
        self.trunk = Trunk(spec, "actor trunk", inputs, config.features)
        self.net = MLP(spec, "actor", config.features, config.hidden, spec.act_dim, initialization="drqv2")

    def forward(self, encoded: Tensor) -> Tensor:
        """[R, B, inputs] -> [R, B, A]."""
        return self.net(self.trunk(encoded)).squeeze(1).tanh()


class Critic(nn.Module):
    """Two action values with one trunk, from encoded images."""

    def __init__(self, spec: Spec, config: DrQBCConfig, inputs: int) -> None:
        super().__init__()
        self.trunk = Trunk(spec, "critic trunk", inputs, config.features)
        width = config.features + spec.act_dim
        self.net = MLP(spec, "critic", width, config.hidden, 1, members=2, initialization="drqv2")

    def forward(self, encoded: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """[R, B, inputs], [R, B, A] -> [R, 2, B]; `frozen`: without gradients of the weights."""
        inputs = torch.cat([self.trunk(encoded, frozen), actions], -1)
        return self.net(inputs, frozen=frozen).squeeze(-1)


class DrQBC(Stateful):
    """DrQ+BC for R runs at once."""

    Config = DrQBCConfig
    vectorized = True
    observation_space = "images"
    name = "DrQ+BC"
    citation = r"""@article{lu2023challenges,
      title   = {Challenges and Opportunities in Offline Reinforcement Learning from Visual Observations},
      author  = {Lu, Cong and Ball, Philip J. and Rudner, Tim G. J. and Parker-Holder, Jack and Osborne, Michael A. and
                 Teh, Yee Whye},
      journal = {Transactions on Machine Learning Research},
      year    = {2023},
      note    = {arXiv:2206.04779}
    }"""

    def __init__(self, config: DrQBCConfig, spec: Spec) -> None:
        self.shift, self.std_steps, self.act_dim = config.shift, config.std_steps, spec.act_dim
        self.discount = setting(config.discount, spec, 1)
        self.target_rate = setting(config.target_rate, spec)
        self.alpha = setting(config.alpha, spec)
        self.first_std, self.last_std = setting(config.first_std, spec), setting(config.last_std, spec)
        self.noise_clip: Any = setting(config.noise_clip, spec, 2)
        self.encoder = Encoder(spec, "encoder")
        self.actor = Actor(spec, config, self.encoder.features)
        self.critic = Critic(spec, config, self.encoder.features)
        self.critic_target = frozen_copy(self.critic)
        self.actor_optimiser = Adam(self.actor.parameters(), config.learning_rate)
        weights = [*self.encoder.parameters(), *self.critic.parameters()]
        self.critic_optimiser = Adam(weights, config.learning_rate)
        # Gradient steps so far, on the device, since sigma depends on it.
        self.steps = nn.Parameter(torch.zeros(spec.runs, device=spec.device), requires_grad=False)

    @staticmethod
    def noise_dim(config: DrQBCConfig, spec: Spec) -> int:
        """Two normals for each action dimension, (1) and (4), and two for the shift of each of both images."""
        return 2 * spec.act_dim + 4

    def std(self) -> Tensor:
        """Equation (6), [R, 1, 1]."""
        share = (self.steps / self.std_steps).clamp(max=1)
        return (self.first_std + share * (self.last_std - self.first_std))[:, None, None]

    def encode(self, images: Tensor, noise: Tensor) -> Tensor:
        """f(shifted s) of images [R, B, C, H, W] with normals [R, B, 2]."""
        shifts = uniform_class(uniform(noise), 2 * self.shift + 1)
        encoded: Tensor = self.encoder(random_shift(images, shifts, self.shift))
        return encoded

    def noisy(self, actions: Tensor, noise: Tensor) -> Tensor:
        """Equations (1) and (4) for pi = `actions`, [R, B, A]; the gradient passes the outer clip."""
        # clip(pi + clip(sigma e, -c, c), -1, 1)
        actions = actions + torch.clamp(self.std() * noise, -self.noise_clip, self.noise_clip)
        return actions + (actions.clamp(-1, 1) - actions).detach()

    @torch.no_grad()
    def target(self, batch: Batch, noise: Tensor, shifts: Tensor) -> Tensor:
        """Equations (1) and (2), [R, B]."""
        encoded = self.encode(batch.next_observations, shifts)
        next_q = self.critic_target(encoded, self.noisy(self.actor(encoded), noise)).amin(1)
        # rewards are r_0 + gamma r_1 + ..., masks gamma^(n-1) m
        return batch.rewards + self.discount * batch.masks * next_q

    def actor_losses(self, encoded: Tensor, logged: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Equation (5) for h and the dataset's actions: the loss and its cloning term, each [R]."""
        # lambda = alpha / mean |min Q|;  L = mean (b - a)^2 - lambda mean min Q(h, b)
        actions = self.noisy(self.actor(encoded), noise)
        q = self.critic(encoded, actions, frozen=True).amin(1)
        cloning = (actions - logged).square().mean((1, 2))
        return cloning - self.alpha / q.detach().abs().mean(1) * q.mean(1), cloning.detach()

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on (3) and one on (5), and a soft update."""
        of_next, of_policy, shifts, next_shifts = batch.noise.split([self.act_dim, self.act_dim, 2, 2], -1)
        encoded = self.encode(batch.observations, shifts)
        q = self.critic(encoded, batch.actions)
        # L = sum_i mean (Q_i(h, a) - y)^2
        target = self.target(batch, of_next, next_shifts)
        critic_loss = (q - target.unsqueeze(1)).square().mean(2).sum(1)
        self.critic_optimiser.minimise(critic_loss)
        actor_loss, cloning = self.actor_losses(encoded.detach(), batch.actions, of_policy)
        self.actor_optimiser.minimise(actor_loss)
        soft_update(self.critic_target, self.critic, self.target_rate)
        self.steps.add_(1)
        return {
            "critic/loss": critic_loss.detach(),
            "critic/q": q.detach().mean((1, 2)),
            "actor/loss": actor_loss.detach(),
            "actor/cloning": cloning,
        }

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's action, with `noise` plus sigma times it: [R, E, C, H, W], [R, E, A] -> [R, E, A]."""
        actions: Tensor = self.actor(self.encoder(observations))
        return actions if noise is None else (actions + self.std() * noise).clamp(-1, 1)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(f(s), a): [R, B, C, H, W], [R, B, A] -> [R, B]."""
        values: Tensor = self.critic(self.encoder(observations), actions).amin(1)
        return values
