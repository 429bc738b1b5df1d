"""The Triton kernels compute what the operations of torch compute: on CUDA, or elsewhere in Triton's interpreter."""

import os
from functools import partial

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read where kernels are defined
pytest.importorskip("triton", reason="Triton is not installed")

from trainers import ALGORITHMS, SETTINGS  # noqa: E402

from seqeval_rl.experiments.grouping import random_batch  # noqa: E402
from seqeval_rl.interface.algorithm import Spec  # noqa: E402
from seqeval_rl.interface.registry import find_algorithm  # noqa: E402
from seqeval_rl.networks import batched_mlp, modules, optimizers, triton_mlp, triton_optimizers  # noqa: E402
from seqeval_rl.networks.batched_mlp import evaluate, prepare  # noqa: E402
from seqeval_rl.networks.optimizers import Adam  # noqa: E402
from seqeval_rl.training.replay_buffer import ReplayBuffer, Transitions  # noqa: E402
from seqeval_rl.training.triton_gather import gather  # noqa: E402

NEAR = {"rtol": 1e-4, "atol": 1e-5}


def drawn(*shape):
    return torch.randn(*shape, device=DEVICE)


def weights_of(runs, members, sizes):
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return [w for i, o in pairs for w in (drawn(runs, members, i, o) * i**-0.5, drawn(runs, members, 1, o))]


# Runs, members, members evaluated, rows, extra inputs of a row and their size, hidden layers, outputs.
SHAPES = [
    (1, 1, 1, 20, 0, 0, (24, 40), 3),
    (2, 3, 3, 5, 0, 0, (33, 6), 1),
    (2, 3, 1, 5, 0, 0, (33, 6), 1),
    (2, 2, 2, 6, 3, 4, (24, 7), 1),
    (3, 1, 1, 4, 0, 0, (), 2),
]


def fused_and_plain(runs, members, used, rows, repeat, extras, hidden, outputs):
    torch.manual_seed(0)
    frozen = used < members
    weights = [w.requires_grad_(not frozen) for w in weights_of(runs, members, (5 + extras, *hidden, outputs))]
    x = drawn(runs, rows, 5).requires_grad_(not extras)
    extra = drawn(runs, rows, repeat, extras) if extras else None
    inputs = [*([] if extras else [x]), *([] if frozen else weights)]
    for fused in (True, False):
        out = evaluate(x, extra, prepare(weights, together=True, fused=fused), members=used if frozen else None)
        gradient = torch.linspace(-1, 1, out.numel(), device=DEVICE).view_as(out)
        yield [out, *torch.autograd.grad(out, inputs, gradient)]


@pytest.mark.parametrize("shape", SHAPES)
def test_perceptrons_and_their_gradients(shape):
    for found, expected in zip(*fused_and_plain(*shape), strict=True):
        torch.testing.assert_close(found, expected, **NEAR)


def test_gradients_of_many_rows_are_sums_of_parts_and_the_same_every_time(monkeypatch):
    monkeypatch.setattr(triton_mlp, "_SPLIT", 64)
    shape = (1, 1, 1, 80, 2, 4, (9,), 1)
    found, expected = fused_and_plain(*shape)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, **NEAR)
    again, _ = fused_and_plain(*shape)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)


def test_no_number_hides():
    weights = weights_of(1, 1, (3, 4, 1))
    weights[0][..., 1] = float("nan")
    out = evaluate(drawn(1, 5, 3), None, prepare(weights, together=True, fused=True))
    assert out.isnan().all()


@pytest.mark.parametrize("decay", [None, 0.05])
@pytest.mark.parametrize("varies", [False, True])
def test_adam(decay, varies):
    torch.manual_seed(0)
    shapes = [(2, 1, 5, 33), (2, 1, 1, 33), (2, 1, 33, 20), (2, 1, 1, 3)]
    parameters = [torch.nn.Parameter(drawn(*shape).cpu()) for shape in shapes]
    values = [p.detach().clone().to(DEVICE) for p in parameters]
    means, squares = ([torch.zeros_like(v) for v in values] for _ in range(2))
    count = torch.zeros((), device=DEVICE)
    optimizer = Adam(parameters, 1e-2)
    amount = None if decay is None else torch.tensor(decay, device=DEVICE)
    for step in range(6):
        gradients = [drawn(*shape) * 0.3**step for shape in shapes]
        if decay is not None:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.mul_(1 - decay)
        optimizer.minimise(sum((p * g.cpu()).flatten(1).sum(1) for p, g in zip(parameters, gradients, strict=True)))
        count += 1
        rate = torch.tensor(1e-2, device=DEVICE) if varies else 1e-2
        triton_optimizers.adam(values, gradients, means, squares, count, rate, amount)
    for parameter, value in zip(parameters, values, strict=True):
        torch.testing.assert_close(value.cpu(), parameter.detach(), **NEAR)


def test_a_soft_update():
    targets, values = ([drawn(2, 1, 40, 33), drawn(2, 1, 1, 5)] for _ in range(2))
    expected = [torch.lerp(t, v, 0.05) for t, v in zip(targets, values, strict=True)]
    triton_optimizers.soft_update(targets, values, 0.05)
    for target, value in zip(targets, expected, strict=True):
        torch.testing.assert_close(target, value, **NEAR)


@pytest.mark.parametrize("normals", [0, 5])
@pytest.mark.parametrize("affine", [False, True])
def test_a_batch(affine, normals):
    rows = drawn(50, 2 * 11 + 3 + 2).cpu().numpy()
    replay = ReplayBuffer(Transitions(rows, None, []), Spec((11,), 3, (0, 1), DEVICE))
    indices, noise = torch.randint(0, 50, (4, 2, 21), device=DEVICE), drawn(4, 2, 21, normals)
    shift, scale = (drawn(2, 1, 27), drawn(2, 1, 27)) if affine else (None, None)
    found = gather(replay, indices, noise, torch.tensor([2], device=DEVICE), shift, scale)
    for one, other in zip(found[:6], replay.batch(indices[2], noise[2], shift, scale)[:6], strict=True):
        torch.testing.assert_close(one, other, **NEAR)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_updates_of_every_algorithm(name, monkeypatch):
    entry = find_algorithm(name)
    classes = 3 if entry.action_space == "discrete" else None
    spec = Spec((5,), 2 if classes is None else 1, (0,), DEVICE, classes)
    settings = {key: 2 if isinstance(value, int) else (6,) for key, value in SETTINGS.get(name, {}).items()}
    config = entry.configure({"hidden": (6,), **settings}, "a test")
    batch = random_batch(spec, 3, entry.noise_dim(config, spec), entry.columns(config))
    monkeypatch.setattr(modules, "prepare", partial(prepare, together=True))
    found = []
    for fused in (True, False):
        for module in (batched_mlp, optimizers):
            monkeypatch.setattr(module, "uses_triton", lambda _, fused=fused: fused)
        algorithm = entry.build(config, spec)
        for _ in range(getattr(algorithm, "period", 1) + 1):
            metrics = algorithm.update(batch)
        found.append(metrics)
    for key, expected in found[1].items():
        torch.testing.assert_close(found[0][key], expected, rtol=1e-3, atol=1e-4)
