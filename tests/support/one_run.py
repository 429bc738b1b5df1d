"""Networks, Adam and batches of one run of a group, written from their definitions, to compare algorithms with in float64."""

import torch

from seqeval_rl.interface.algorithm import Batch, Spec
from seqeval_rl.interface.per_seed import random_columns

OBS, ACT, B, RUN = 3, 2, 6, 1  # the run of the group that is compared
SPEC = Spec((OBS,), ACT, (11, 12), torch.device("cpu"))


def batches(width, count=3, names=()):
    """Batches of two runs with `width` normals, and with the optional fields `names`."""
    draws = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(2, B, *shape, generator=draws)

    masks = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0]).expand(2, B)
    return [
        Batch(
            normal(OBS),
            normal(ACT).tanh(),
            normal(),
            normal(OBS),
            masks.clone(),
            normal(width),
            **random_columns(names, normal, ACT),
        )
        for _ in range(count)
    ]


class Net:
    """One perceptron as a list of separate leaves."""

    def __init__(self, mlp, member=0):
        self.leaves = [weight[RUN, member].detach().clone().requires_grad_() for weight in mlp.weights]

    def __call__(self, x):
        for i in range(0, len(self.leaves), 2):
            x = x @ self.leaves[i] + self.leaves[i + 1]
            if i < len(self.leaves) - 2:
                x = x.clamp(min=0)
        return x

    def q(self, s, a):
        return self(torch.cat([s, a], 1))[:, 0]

    def towards(self, other, rate):
        for mine, theirs in zip(self.leaves, other.leaves, strict=True):
            mine.data = (1 - rate) * mine.data + rate * theirs.data


class PlainAdam:
    """Adam by the paper's algorithm; `decay` is decoupled."""

    def __init__(self, leaves, rate, decay=0.0):
        self.leaves, self.rate, self.decay, self.t = leaves, rate, decay, 0
        self.m = [torch.zeros_like(p) for p in leaves]
        self.v = [torch.zeros_like(p) for p in leaves]

    def step(self, loss):
        self.t += 1
        for i, (p, g) in enumerate(
            zip(self.leaves, torch.autograd.grad(loss, self.leaves, retain_graph=True), strict=True)
        ):
            self.m[i] = 0.9 * self.m[i] + 0.1 * g
            self.v[i] = 0.999 * self.v[i] + 0.001 * g * g
            m, v = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.999**self.t)
            p.data = p.data - self.rate * self.decay * p.data - self.rate * m / (v.sqrt() + 1e-8)


def assert_same(reference, mlp, member=0):
    for mine, theirs in zip(reference.leaves, mlp.weights, strict=True):
        torch.testing.assert_close(theirs[RUN, member].detach(), mine.detach(), rtol=1e-9, atol=1e-10)


def assert_metric(metrics, name, value):
    assert metrics[name].shape == (2,)
    torch.testing.assert_close(metrics[name][RUN], value.detach(), rtol=1e-9, atol=1e-10)


def twins(critic):
    return [Net(critic.net, 0), Net(critic.net, 1)]


def smaller(nets, s, a):
    return torch.minimum(nets[0].q(s, a), nets[1].q(s, a))
