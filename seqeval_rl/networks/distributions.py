"""Log-probabilities and samples of the policy distributions: normal and tanh-normal."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
BOUND_MARGIN = 1e-6  # actions closer to a bound are moved this far from it before their density is computed


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

    Actions within `BOUND_MARGIN` of a bound are clamped to that distance: at the bound itself the density is 0 or infinite.
    """
    inner = actions.clamp(-1 + BOUND_MARGIN, 1 - BOUND_MARGIN)
    log_slope = torch.log1p(-inner.square())
    deviation = (inner.atanh() - mean) * (-log_std).exp()
    return normal_log_prob(deviation, log_std) - log_slope.sum(-1)


def uniform(noise: Tensor) -> Tensor:
    """Maps standard normals to uniform numbers on [-1, 1] by the normal distribution function."""
    return torch.erf(noise * math.sqrt(0.5))


def uniform_class(numbers: Tensor, classes: int) -> Tensor:
    """Maps numbers uniform on [-1, 1] to discrete actions, int64 from 0 to `classes` - 1, each as likely."""
    return ((numbers + 1) / 2 * classes).long().clamp(0, classes - 1)


def of_class(values: Tensor, actions: Tensor) -> Tensor:
    """What belongs to discrete actions [...] among values for each, [..., n] -> [...]."""
    return values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def class_log_prob(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probability of discrete actions [...] under softmax of logits [..., n]: [...]."""
    return of_class(logits.log_softmax(-1), actions)


def sampled_class(logits: Tensor, noise: Tensor) -> Tensor:
    """A sample of softmax of logits [..., n], from the first of the standard normals [..., 2], by the distribution function."""
    below = torch.special.ndtr(noise[..., :1]) > logits.softmax(-1).cumsum(-1)
    return below.sum(-1).clamp(max=logits.shape[-1] - 1)


def epsilon_greedy(greedy: Tensor, noise: Tensor, epsilon: float | Tensor, classes: int) -> Tensor:
    """The greedy actions [R, E], or with probability `epsilon` uniform ones, from standard normals [R, E, 2]."""
    explores = torch.special.ndtr(noise[..., 0]) < epsilon
    return torch.where(explores, uniform_class(uniform(noise[..., 1]), classes), greedy)
