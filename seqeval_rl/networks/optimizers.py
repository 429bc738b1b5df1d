"""Adam and soft updates for networks with a run axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqeval_rl.networks.triton_support import uses_triton

_VECTOR = 16  # float32 numbers in the longest vector register of a CPU
_LEAST_DECAY = 32  # units of rounding: by less the weights are not decayed at once
_CLEARING = 256  # steps from one removal of subnormal moments to the next


class _Rates(NamedTuple):
    """What is the same in all steps of some runs."""

    run: int | None  # None: all
    learning_rate: float
    weight_decay: float
    every: int  # steps from one decay of the weights to the next


@torch.no_grad()
def soft_update(
    target: nn.Module | Sequence[nn.Module], online: nn.Module | Sequence[nn.Module], rate: float | Tensor
) -> None:
    """target <- target + rate (online - target), for all parameters at once, of one network or of several; `rate` a float or [R].

    In float32 a difference below 6e-8 / rate of a weight is rounded away: one part in 80 000 at the rate 0.005.
    """
    old, new = _parameters(target), _parameters(online)
    if isinstance(rate, Tensor):
        for t, o in zip(old, new, strict=True):
            t.lerp_(o, rate.reshape(-1, *[1] * (o.ndim - 1)))
    elif uses_triton(old[0].device) and old[0].dtype == torch.float32:
        from seqeval_rl.networks import triton_optimizers  # Triton comes with torch for CUDA only

        triton_optimizers.soft_update(old, new, rate)
    else:
        torch._foreach_lerp_(old, new, rate)


def _parameters(networks: nn.Module | Sequence[nn.Module]) -> list[Tensor]:
    every = [networks] if isinstance(networks, nn.Module) else networks
    return [parameter for network in every for parameter in network.parameters()]


class Adam:
    """Adam (Kingma and Ba 2015; decoupled weight decay: Loshchilov and Hutter 2019) for parameters with a run axis.

    Elementwise, so runs are independent. It calls torch's fused kernel without the bookkeeping of `torch.optim.Adam`, which
    costs as much as the kernel. Its state has the run axis first, and nothing in `minimise` reads a tensor back to the host,
    so that a CUDA graph can capture it.

    Weights decay by k times the learning rate times `weight_decay` every k steps, where k is the least number that makes this
    some units of rounding: torch's kernel multiplies float32 weights by 1 - 3e-8 at each step, which rounds to 1 - 6e-8. So
    the decay is at most k / 2 steps ahead or behind. Steps are counted in float32, which holds whole numbers up to 16 777 216.

    A unit that no observation activates has gradients of 0. After some 800 of these the first moments of its weights are
    subnormal, below 1.2e-38, and stay so, since 0.9 of the smallest numbers rounds to these. With them a CPU's kernel takes up
    to three times as long, so they are set to 0 from time to time there. They are too small to change a weight.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float | Tensor,
        weight_decay: float | Tensor = 0.0,
        decay_steps: int | None = None,
    ) -> None:
        """Starts with zero moments.

        Args:
            parameters: each [R, ...].
            learning_rate: a float, or [R] for runs that differ in it.
            weight_decay: the same.
            decay_steps: gradient steps over which the learning rate falls to 0 along half a cosine; None: it is constant.
        """
        self._decay_steps = decay_steps
        self.parameters: list[Tensor] = list(parameters)
        first = self.parameters[0]
        runs = first.shape[0]
        if isinstance(learning_rate, Tensor) or isinstance(weight_decay, Tensor):
            # The kernel takes one rate, so runs that differ in it are stepped one after the other.
            # In float64, so that each is what it is alone.
            rates, decays = (
                torch.as_tensor(value, dtype=torch.float64).expand(runs).tolist()
                for value in (learning_rate, weight_decay)
            )
            each: list[tuple[int | None, float, float]] = list(zip(range(runs), rates, decays, strict=True))
        else:
            each = [(None, learning_rate, weight_decay)]
        least = _LEAST_DECAY * torch.finfo(first.dtype).eps
        self._rates = [
            _Rates(run, rate, decay, math.ceil(least / (rate * decay)) if decay else 1) for run, rate, decay in each
        ]
        self.count = torch.zeros((), dtype=torch.float32, device=first.device)  # steps taken, shared by all runs
        self._count = 0  # the same on the host, which a CPU's steps need and a CUDA graph does not see
        # Where the gradient begins. Of one number torch knows it; to compare the shapes of others it imports sympy for 0.3 s. On
        # CUDA its own would be one kernel more in each step.
        self.ones = None if runs == 1 and first.device.type == "cpu" else torch.ones(runs, device=first.device)
        self._fused = uses_triton(first.device) and first.dtype == torch.float32
        self._programs_done = torch.zeros((), dtype=torch.int32, device=first.device)  # see `triton_optimizers.adam`
        # The CPU kernel rounds the remainder after the last whole vector differently. Parameters whose size per run leaves a
        # remainder are therefore stepped in a padded copy, in which each run ends with a whole vector. So a run is the same
        # to the last bit at every place in a run group.
        vector = _VECTOR if first.device.type == "cpu" and not self._fused else 1
        self._odd = [i for i, p in enumerate(self.parameters) if p[0].numel() % vector]
        self._even = [i for i in range(len(self.parameters)) if i not in self._odd]
        sizes = [self.parameters[i][0].numel() for i in self._odd]
        width = -(-sum(sizes) // _VECTOR) * _VECTOR
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
    def minimise(self, loss: Tensor, *more: Tensor) -> None:
        """One step on each run's `loss`, [R], or the sum of several. Runs share no parameter, so the gradient of the sum is that
        of each run."""
        losses = [loss, *more]
        gradients = torch.autograd.grad(losses, self.parameters, [self.ones] * len(losses))
        if self._fused:
            self._step(gradients)
            return
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
        for run, rate, decay, every in self._rates:
            p, g, m, s = (
                tensors if run is None else [t[run] for t in tensors] for tensors in (values, grads, means, squares)
            )
            now = rate if share is None else rate * share
            amount = None
            if decay:
                due = torch.remainder(self.count, every) == every // 2
                amount = due * (every * decay * now)
            if amount is not None:
                for each in p:
                    each.addcmul_(each, amount, value=-1.0)
            torch._fused_adam_(
                p, g, m, s, [], [self.count] * len(values), lr=now, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8,
                amsgrad=False, maximize=False,
            )  # fmt: skip
        if self._odd:
            torch._foreach_copy_([self.parameters[i] for i in self._odd], self._values)
        self._count += 1
        if self.count.device.type == "cpu" and self._count % _CLEARING == 0:
            for mean in self.means:
                mean.masked_fill_(mean.abs() < torch.finfo(mean.dtype).tiny, 0.0)

    def _step(self, gradients: Sequence[Tensor]) -> None:
        """What follows in `minimise`, in one Triton kernel, or in one for each run of different rates."""
        from seqeval_rl.networks import triton_optimizers  # Triton comes with torch for CUDA only

        for place, (run, rate, decay, every) in enumerate(self._rates):
            values, given, means, squares = (
                tensors if run is None else [t[run] for t in tensors]
                for tensors in (self.parameters, gradients, self.means, self.squares)
            )
            done = self._programs_done if place == len(self._rates) - 1 else None
            triton_optimizers.adam(
                values, given, means, squares, self.count, done, rate, every * decay, every, self._decay_steps
            )

    def state_dict(self) -> dict[str, Any]:
        """Moving averages of the gradients and of their squares, one of each per parameter, and the number of steps taken."""
        return {"means": list(self.means), "squares": list(self.squares), "count": self.count}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`; copies the values. Raises ValueError where shapes differ."""
        own = [*self.means, *self.squares, self.count]
        found = [*state["means"], *state["squares"], state["count"]]
        expected, given = ([tuple(t.shape) for t in tensors] for tensors in (own, found))
        if expected != given:
            raise ValueError(f"optimizer state: expected {expected}, found {given}")
        for tensor, value in zip(own, found, strict=True):
            tensor.copy_(value)
        self._count = int(self.count)
