"""Critics, values and actors for R runs at once, where every parameter has a leading run axis, and a base for algorithms.

The initial weights of a run are drawn (see `Initialization`) from a generator seeded by (seed, purpose) alone, so a run is
the same in every run group. Parameters have torch's default dtype: tests call `torch.set_default_dtype(torch.float64)` before
they build an algorithm.

Axes: R runs, M members (networks of one run), B transitions, K actions of one transition, O observation, A action.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.state import Stateful
from seqeval_rl.networks.batched_mlp import Views, evaluate, prepare
from seqeval_rl.networks.distributions import normal_log_prob, tanh_normal_log_prob
from seqeval_rl.networks.fusion import fused
from seqeval_rl.networks.initialization import Initialization, draw_weights
from seqeval_rl.networks.input_gradients import value_and_slopes
from seqeval_rl.seeding import torch_generator

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def setting(value: float | Tensor, spec: Spec, axes: int = 0) -> float | Tensor:
    """A setting in the form that losses broadcast: a float unchanged; a tensor [R] (a sweep) with `axes` trailing axes of 1."""
    if not isinstance(value, Tensor):
        return value
    return value.to(spec.device, torch.get_default_dtype()).reshape(spec.runs, *[1] * axes)


def frozen_copy(module: ModuleT) -> ModuleT:
    """A copy without gradients: a target network."""
    return copy.deepcopy(module).requires_grad_(False)


class MLP(nn.Module):
    """M multilayer perceptrons with ReLU units for each of R runs."""

    def __init__(
        self,
        spec: Spec,
        purpose: str,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        members: int = 1,
        initialization: Initialization = "torch",
        layer_norm: bool = False,
    ) -> None:
        """Draws the weights from the seeds and `purpose`, a name that differs between the networks of a run.

        With `layer_norm` the units of each hidden layer are normalized over the layer (Ba et al. 2016), after the ReLU; its
        scales begin at 1, its shifts at 0.
        """
        super().__init__()
        sizes = (inputs, *hidden, outputs)
        shapes = [shape for i, o in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((i, o), (1, o))]
        weights = [torch.empty(spec.runs, members, *shape) for shape in shapes]
        for r, seed in enumerate(spec.seeds):
            generator = torch_generator(seed, purpose)
            for m in range(members):
                draw_weights([weight[r, m] for weight in weights], initialization, generator)
        # [R, M, in, out] and [R, M, 1, out] of each layer in turn
        self.weights = nn.ParameterList([weight.to(spec.device) for weight in weights])
        # [R, M, 1, width], scale and shift of each hidden layer in turn
        widths = hidden if layer_norm else ()
        norms = [make(spec.runs, members, 1, width) for width in widths for make in (torch.ones, torch.zeros)]
        self.norms = nn.ParameterList([norm.to(spec.device) for norm in norms])
        self._views: tuple[int, Views | None] = (0, None)

    def forward(
        self,
        x: Tensor,
        extra: Tensor | None = None,
        frozen: bool = False,
        members: int | None = None,
        dropout: Sequence[Tensor] = (),
        last: Tensor | None = None,
        tanh: bool = False,
    ) -> Tensor:
        """[R, B, in] -> [R, M, B, out]; see `seqeval_rl.networks.batched_mlp.evaluate` for the options.

        With `last`, [R, B, E], not together with `extra`, these are the last E inputs and `x` the others.
        """
        views = self.views()
        if last is not None and views.fused:
            extra = last.unsqueeze(2)
        elif last is not None:
            x = torch.cat([x, last], -1)
        return evaluate(x, extra, views, frozen, members, dropout, tanh)

    def views(self) -> Views:
        """Views of the weights where they are now."""
        address, views = self._views
        if views is None or address != views.weights[0].data_ptr():  # first call, or the weights have been moved
            views = prepare(tuple(self.weights), norms=tuple(self.norms))
            self._views = (views.weights[0].data_ptr(), views)
        return views


class Critic(nn.Module):
    """M action-value functions Q(s, a) for each run."""

    def __init__(
        self,
        spec: Spec,
        purpose: str,
        hidden: Sequence[int],
        members: int = 2,
        initialization: Initialization = "torch",
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim + spec.act_dim, hidden, 1, members, initialization, layer_norm)

    def forward(
        self, observations: Tensor, actions: Tensor, frozen: bool = False, members: int | None = None
    ) -> Tensor:
        """[R, B, O], [R, B, A] -> [R, M, B]; see `MLP.forward` for the options."""
        return self.net(observations, frozen=frozen, members=members, last=actions).squeeze(-1)

    def minimum(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(s, a): [R, B, O], [R, B, A] -> [R, B]."""
        return self(observations, actions).amin(1)

    def with_slopes(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Q_i(s, a) and d Q_i(s, a) / d a, differentiable in the weights: [R, B, O], [R, B, A] -> [R, M, B], [R, M, B, A]. Not
        with `layer_norm`."""
        return value_and_slopes(torch.cat([observations, actions], -1), self.net.views(), actions.shape[-1])

    def many(self, observations: Tensor, actions: Tensor) -> Tensor:
        """[R, B, O], [R, B, K, A] -> [R, M, B, K]: K actions at each observation."""
        return self.net(observations, actions).unflatten(2, actions.shape[1:3]).squeeze(-1)


class Value(nn.Module):
    """A state-value function V(s) for each run."""

    def __init__(
        self, spec: Spec, purpose: str, hidden: Sequence[int], initialization: Initialization = "torch"
    ) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, 1, initialization=initialization)

    def forward(self, observations: Tensor) -> Tensor:
        """[R, B, O] -> [R, B]."""
        return self.net(observations).squeeze(1).squeeze(-1)


class TanhActor(nn.Module):
    """A deterministic policy with actions in [-1, 1]."""

    def __init__(
        self, spec: Spec, purpose: str, hidden: Sequence[int], initialization: Initialization = "torch"
    ) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, spec.act_dim, initialization=initialization)

    def forward(self, observations: Tensor, dropout: Sequence[Tensor] = ()) -> Tensor:
        """[R, B, O] -> [R, B, A]; `dropout` as of `seqeval_rl.networks.batched_mlp.evaluate`."""
        return self.net(observations, dropout=dropout, tanh=True).squeeze(1)


class GaussianActor(nn.Module):
    """A normal policy with mean tanh(f(s)) and a learned log standard deviation per action dimension, the same in all states."""

    def __init__(
        self,
        spec: Spec,
        purpose: str,
        hidden: Sequence[int],
        log_std_min: float,
        log_std_max: float,
        initialization: Initialization = "torch",
    ) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, spec.act_dim, initialization=initialization)
        self.log_stds = nn.Parameter(torch.zeros(spec.runs, 1, spec.act_dim, device=spec.device))
        self.log_std_min = log_std_min
        self.log_std_max = log_std_max

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """[R, B, O] -> mean [R, B, A] and log standard deviation [R, 1, A]."""
        return self.mean(observations), self.log_stds.clamp(self.log_std_min, self.log_std_max)

    def mean(self, observations: Tensor) -> Tensor:
        """[R, B, O] -> the mean alone, [R, B, A]."""
        return self.net(observations, tanh=True).squeeze(1)

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The mean, or with `noise` a sample clipped to [-1, 1]: [R, B, O], [R, B, A] -> [R, B, A]."""
        mean, log_std = self(observations)
        return mean if noise is None else (mean + log_std.exp() * noise).clamp(-1, 1)

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): [R, B, O], [R, B, A] -> [R, B]."""
        mean, log_std = self(observations)
        return normal_log_prob((actions - mean) * (-log_std).exp(), log_std)


@fused
def split_normal(
    out: Tensor, low: float, high: float, factor: Tensor | None = None, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and log standard deviation, each [R, B, A], from a network's output [R, 1, B, 2 * A]; the latter times `factor` plus
    `offset`, each [R, 1, 1] where given, and then clipped."""
    mean, log_std = out.squeeze(1).chunk(2, -1)
    if factor is not None and offset is not None:
        log_std = factor * log_std + offset
    return mean, log_std.clamp(low, high)


class TanhGaussianActor(nn.Module):
    """tanh of a normal whose mean and log standard deviation depend on the state."""

    def __init__(
        self,
        spec: Spec,
        purpose: str,
        hidden: Sequence[int],
        log_std_min: float,
        log_std_max: float,
        initialization: Initialization = "torch",
    ) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, 2 * spec.act_dim, initialization=initialization)
        self.log_std_min = log_std_min
        self.log_std_max = log_std_max

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """[R, B, O] -> mean and log standard deviation before tanh, each [R, B, A]."""
        return split_normal(self.net(observations), self.log_std_min, self.log_std_max)

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """tanh of the mean, or with `noise` of a sample: [R, B, O], [R, B, A] -> [R, B, A]."""
        mean, log_std = self(observations)
        return (mean if noise is None else mean + log_std.exp() * noise).tanh()

    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): [R, B, O], [R, B, A] -> [R, B]."""
        mean, log_std = self(observations)
        return tanh_normal_log_prob(mean, log_std, actions)


class DeterministicActorCritic(Stateful):
    """A base class for algorithms with action values `critic` and a deterministic policy `actor`: `act` and `values`."""

    actor: TanhActor
    critic: Critic
    exploration_noise: float | Tensor  # std of what is added online, a float or [R, 1, 1]

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's action, with `noise` plus `exploration_noise` times it: [R, E, O], [R, E, A] -> [R, E, A]."""
        actions: Tensor = self.actor(observations)
        return actions if noise is None else (actions + self.exploration_noise * noise).clamp(-1, 1)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(s, a): [R, B, O], [R, B, A] -> [R, B]."""
        return self.critic.minimum(observations, actions)


class ActorCritic(Stateful):
    """A base class for algorithms with action values `critic` and a stochastic policy `actor`: `act` and both hooks."""

    actor: GaussianActor | TanhGaussianActor
    critic: Critic

    @torch.no_grad()
    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The policy's greedy action, or with `noise` a sample: [R, E, O], [R, E, A] -> [R, E, A]."""
        return self.actor.act(observations, noise)

    @torch.no_grad()
    def values(self, observations: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i(s, a): [R, B, O], [R, B, A] -> [R, B]."""
        return self.critic.minimum(observations, actions)

    @torch.no_grad()
    def log_prob(self, observations: Tensor, actions: Tensor) -> Tensor:
        """log pi(a | s): [R, B, O], [R, B, A] -> [R, B]."""
        return self.actor.log_prob(observations, actions)
