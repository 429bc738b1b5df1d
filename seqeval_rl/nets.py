"""Networks of a stack: R runs, each with `members` networks of one form, and the optimiser that trains them.

Every parameter has the run axis first. Each run's weights are those that `torch.nn.Linear` would draw, from a generator
seeded by (seed, purpose) alone, so a run is the same in every stack. Numbers are of torch's default dtype: tests set
`torch.set_default_dtype(torch.float64)` before they build an algorithm.

Axes: R runs, M members, B transitions, K actions of one transition, O observation, A action.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.perceptron import Views, evaluate, prepare
from seqeval_rl.seeding import torch_generator

HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
ModuleT = TypeVar("ModuleT", bound=nn.Module)
BOUND_MARGIN = 1e-6  # distance from the bounds of an action below which a squashed density is not asked for
_VECTOR = 16  # numbers in the longest vector of a CPU


def setting(value: float | Tensor, spec: Spec, axes: int = 0) -> float | Tensor:
    """A setting as the losses use it: a float as it is, a tensor [R] (a sweep in one stack) with `axes` axes of 1 behind."""
    if not isinstance(value, Tensor):
        return value
    return value.to(spec.device, torch.get_default_dtype()).reshape(spec.runs, *[1] * axes)


def frozen_copy(module: ModuleT) -> ModuleT:
    """A copy that no gradient reaches: a target network."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def soft_update(target: nn.Module, online: nn.Module, rate: float | Tensor) -> None:
    """target <- (1 - rate) target + rate online, for all parameters at once; `rate` a float or [R]."""
    old: list[Tensor] = list(target.parameters())
    new: list[Tensor] = list(online.parameters())
    if isinstance(rate, Tensor):
        for t, o in zip(old, new, strict=True):
            t.lerp_(o, rate.reshape(-1, *[1] * (o.ndim - 1)))
    else:
        torch._foreach_lerp_(old, new, rate)


def normal_log_prob(deviation: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of a diagonal normal at `deviation` standard deviations from its mean, summed over the last axis."""
    return (-0.5 * deviation.square() - log_std - HALF_LOG_2_PI).sum(-1)


def tanh_normal(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of the normal squashed by tanh, and its log-density: [..., A] -> [..., A], [...].

    log pi(a) = log N(u) - sum log(1 - tanh(u)^2) with a = tanh(u); the second term in a form that does not overflow.
    """
    u = mean + log_std.exp() * noise
    log_slope = 2 * (math.log(2) - u - F.softplus(-2 * u))
    return u.tanh(), normal_log_prob(noise, log_std) - log_slope.sum(-1)


def tanh_normal_log_prob(mean: Tensor, log_std: Tensor, actions: Tensor) -> Tensor:
    """Log-density of the normal squashed by tanh at given actions: [..., A] -> [...].

    Actions nearer to a bound than 1e-6 count as that near: at the bound itself the density is 0 or infinite.
    """
    inner = actions.clamp(-1 + BOUND_MARGIN, 1 - BOUND_MARGIN)
    log_slope = torch.log1p(-inner.square())
    deviation = (inner.atanh() - mean) * (-log_std).exp()
    return normal_log_prob(deviation, log_std) - log_slope.sum(-1)


def uniform(noise: Tensor) -> Tensor:
    """Standard normals to uniforms on [-1, 1], by the normal's distribution function."""
    return torch.erf(noise * math.sqrt(0.5))


class Adam:
    """Adam (Kingma and Ba 2015; decoupled weight decay: Loshchilov and Hutter 2019) for a stack, elementwise and so
    independent between runs: torch's fused kernel without the bookkeeping around it, which costs as much as the kernel.

    Its state has the run axis first, and nothing in `minimise` reads a tensor back, so that it can be captured.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float | Tensor,
        weight_decay: float | Tensor = 0.0,
        decay_steps: int | None = None,
    ) -> None:
        """For parameters [R, ...] of one stack; both rates a float or [R] (a sweep in one stack).

        With `decay_steps` the learning rate falls from its value to 0 over so many gradient steps, along half a cosine.
        """
        self._decay_steps = decay_steps
        self.parameters: list[Tensor] = list(parameters)
        first = self.parameters[0]
        # The kernel takes one rate. Runs that differ are stepped one after the other.
        self._rates = per_run(learning_rate, weight_decay, first.shape[0])
        self.count = torch.zeros((), dtype=torch.float32, device=first.device)  # steps taken, shared by all runs
        self.ones = torch.ones(first.shape[0], device=first.device)
        self.kernel = torch._fused_adamw_ if any(decay for _, _, decay in self._rates) else torch._fused_adam_
        # The CPU kernel rounds what is left over after whole vectors differently. Parameters whose size per run leaves
        # something over are therefore stepped in a padded copy, where a run's share ends with a whole vector: so a run
        # is the same to the last bit wherever it stands in a stack.
        odd = [p[0].numel() % _VECTOR != 0 and first.device.type == "cpu" for p in self.parameters]
        self._even = [i for i, is_odd in enumerate(odd) if not is_odd]
        self._odd = [i for i, is_odd in enumerate(odd) if is_odd]
        sizes = [self.parameters[i][0].numel() for i in self._odd]
        width = -(-sum(sizes) // _VECTOR) * _VECTOR
        runs = first.shape[0]
        self._padded = [torch.zeros(runs, width, dtype=first.dtype, device=first.device) for _ in range(4)]
        shapes = [self.parameters[i].shape for i in self._odd]
        self._values, self._gradients, means, squares = (
            [part.view(shape) for part, shape in zip(t[:, : sum(sizes)].split(sizes, 1), shapes, strict=True)]
            for t in self._padded
        )
        self.means = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.squares = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        for i, mean, square in zip(self._odd, means, squares, strict=True):
            self.means[i], self.squares[i] = mean, square

    @torch.no_grad()
    def minimise(self, loss: Tensor) -> None:
        """One step down the gradient of each run's `loss`, [R]; runs share no parameter, so the sum's gradient is each run's."""
        gradients = torch.autograd.grad([loss], self.parameters, [self.ones])
        values, grads, means, squares = (
            [tensors[i] for i in self._even] for tensors in (self.parameters, gradients, self.means, self.squares)
        )
        if self._odd:
            torch._foreach_copy_(self._values, [self.parameters[i] for i in self._odd])
            torch._foreach_copy_(self._gradients, [gradients[i] for i in self._odd])
            for tensors, tensor in zip((values, grads, means, squares), self._padded, strict=True):
                tensors.append(tensor)
        share = None
        if self._decay_steps is not None:
            share = 0.5 + 0.5 * (self.count.clamp(max=self._decay_steps) * (math.pi / self._decay_steps)).cos()
        self.count.add_(1)
        for run, rate, decay in self._rates:
            p, g, m, s = (
                tensors if run is None else [t[run] for t in tensors] for tensors in (values, grads, means, squares)
            )
            self.kernel(
                p,
                g,
                m,
                s,
                [],
                [self.count] * len(values),
                lr=rate if share is None else rate * share,
                beta1=0.9,
                beta2=0.999,
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )
        if self._odd:
            torch._foreach_copy_([self.parameters[i] for i in self._odd], self._values)

    def state_dict(self) -> dict[str, Any]:
        """Moving averages of gradients and of their squares, by parameter, and the count of steps."""
        return {"means": list(self.means), "squares": list(self.squares), "count": self.count}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`; copies into place. Raises ValueError where shapes differ."""
        own = [*self.means, *self.squares, self.count]
        found = [*state["means"], *state["squares"], state["count"]]
        if [t.shape for t in own] != [t.shape for t in found]:
            raise ValueError(
                f"optimiser state: expected {[tuple(t.shape) for t in own]}, found {[tuple(t.shape) for t in found]}"
            )
        for tensor, value in zip(own, found, strict=True):
            tensor.copy_(value)


def per_run(
    learning_rate: float | Tensor, weight_decay: float | Tensor, runs: int
) -> list[tuple[int | None, float, float]]:
    """(run, learning rate, weight decay) for each run, or one for all of them, None, where no rate differs."""
    if not isinstance(learning_rate, Tensor) and not isinstance(weight_decay, Tensor):
        return [(None, learning_rate, weight_decay)]
    rates, decays = (torch.as_tensor(value).expand(runs).tolist() for value in (learning_rate, weight_decay))
    return [(run, rate, decay) for run, (rate, decay) in enumerate(zip(rates, decays, strict=True))]


class MLP(nn.Module):
    """M perceptrons with rectified linear units for each of R runs."""

    def __init__(
        self, spec: Spec, purpose: str, inputs: int, hidden: Sequence[int], outputs: int, members: int = 1
    ) -> None:
        """Draws the weights.

        Args:
            spec: gives the seeds and the device.
            purpose: names the network, so that networks of one run differ.
            inputs: width of the input.
            hidden: widths of the hidden layers.
            outputs: width of the output.
            members: M.
        """
        super().__init__()
        sizes = (inputs, *hidden, outputs)
        shapes = [shape for i, o in zip(sizes[:-1], sizes[1:], strict=True) for shape in ((i, o), (1, o))]
        stacks = [torch.empty(spec.runs, members, *shape) for shape in shapes]
        for r, seed in enumerate(spec.seeds):
            draws = torch_generator(seed, purpose)
            for m in range(members):
                for n, stack in enumerate(stacks):
                    bound = 1 / math.sqrt(
                        sizes[n // 2]
                    )  # by fan-in; what Linear's kaiming_uniform_(a=sqrt(5)) comes to
                    stack[r, m].uniform_(-bound, bound, generator=draws)
        self.weights = nn.ParameterList(  # [R, M, in, out] and [R, M, 1, out] of each layer in turn
            [stack.to(spec.device) for stack in stacks]
        )
        self._views: tuple[int, Views | None] = (0, None)

    def forward(
        self, x: Tensor, extra: Tensor | None = None, frozen: bool = False, members: int | None = None
    ) -> Tensor:
        """[R, B, in] -> [R, M, B, out]; see `seqeval_rl.perceptron.evaluate` for the options."""
        where, views = self._views
        if views is None or where != views.weights[0].data_ptr():  # built, copied or moved since
            views = prepare(tuple(self.weights))
            self._views = (views.weights[0].data_ptr(), views)
        return evaluate(x, extra, views, frozen, members)

    def __deepcopy__(self, memo: dict[int, Any]) -> MLP:
        """A copy with views of its own weights."""
        twin = MLP.__new__(MLP)
        memo[id(self)] = twin
        nn.Module.__init__(twin)
        twin.weights = copy.deepcopy(self.weights, memo)
        twin._views = (0, None)
        return twin


class Critic(nn.Module):
    """M action values Q(s, a) for each run."""

    def __init__(self, spec: Spec, purpose: str, hidden: Sequence[int], members: int = 2) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim + spec.act_dim, hidden, 1, members)

    def forward(
        self, observations: Tensor, actions: Tensor, frozen: bool = False, members: int | None = None
    ) -> Tensor:
        """[R, B, O], [R, B, A] -> [R, M, B]; see `MLP.forward` for the options."""
        out: Tensor = self.net(torch.cat([observations, actions], -1), frozen=frozen, members=members)
        return out.squeeze(-1)

    def many(self, observations: Tensor, actions: Tensor) -> Tensor:
        """[R, B, O], [R, B, K, A] -> [R, M, B, K]: K actions at each observation."""
        out: Tensor = self.net(observations, actions)
        return out.unflatten(2, actions.shape[1:3]).squeeze(-1)


class Value(nn.Module):
    """A state value V(s) for each run."""

    def __init__(self, spec: Spec, purpose: str, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, 1)

    def forward(self, observations: Tensor) -> Tensor:
        """[R, B, O] -> [R, B]."""
        out: Tensor = self.net(observations)
        return out.squeeze(1).squeeze(-1)


class TanhActor(nn.Module):
    """A deterministic policy with actions in [-1, 1]."""

    def __init__(self, spec: Spec, purpose: str, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, spec.act_dim)

    def forward(self, observations: Tensor) -> Tensor:
        """[R, B, O] -> [R, B, A]."""
        out: Tensor = self.net(observations)
        return out.squeeze(1).tanh()


class GaussianActor(nn.Module):
    """A normal policy: mean tanh(f(s)), one learned log standard deviation for each action dimension, the same in every state."""

    def __init__(self, spec: Spec, purpose: str, hidden: Sequence[int], log_std_min: float, log_std_max: float) -> None:
        super().__init__()
        self.net = MLP(spec, purpose, spec.obs_dim, hidden, spec.act_dim)
        self.log_stds = nn.Parameter(torch.zeros(spec.runs, 1, spec.act_dim, device=spec.device))
        self.log_std_min = log_std_min
        self.log_std_max = log_std_max

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """[R, B, O] -> mean [R, B, A] and log standard deviation [R, 1, A]."""
        out: Tensor = self.net(observations)
        return out.squeeze(1).tanh(), self.log_stds.clamp(self.log_std_min, self.log_std_max)

    def act(self, observations: Tensor, noise: Tensor | None) -> Tensor:
        """The mean, or a sample where there is `noise`, within [-1, 1]: [R, B, O], [R, B, A] -> [R, B, A]."""
        mean, log_std = self(observations)
        return mean if noise is None else (mean + log_std.exp() * noise).clamp(-1, 1)
