"""The Triton kernels compute what the operations of torch compute: on CUDA, or elsewhere in Triton's interpreter."""

import copy
from functools import partial

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytest.importorskip("triton", reason="Triton is not installed")

from trainers import ALGORITHMS, SETTINGS  # noqa: E402

from seqeval_rl.experiments.grouping import random_batch  # noqa: E402
from seqeval_rl.interface.algorithm import Spec  # noqa: E402
from seqeval_rl.interface.registry import find_algorithm  # noqa: E402
from seqeval_rl.networks import batched_mlp, modules, optimizers, triton_mlp  # noqa: E402
from seqeval_rl.networks.batched_mlp import evaluate, prepare  # noqa: E402
from seqeval_rl.networks.optimizers import Adam, soft_update  # noqa: E402
from seqeval_rl.training.replay_buffer import ReplayBuffer, Transitions  # noqa: E402
from seqeval_rl.training.triton_gather import gather, sum_metrics  # noqa: E402

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


@pytest.mark.parametrize("used", [1, 2])
@pytest.mark.parametrize("needed", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("hidden", [(), (33, 6)])
def test_inputs_in_two_tensors_and_a_final_tanh(hidden, needed, used):
    torch.manual_seed(0)
    frozen = used == 1
    weights = [w.requires_grad_(not frozen) for w in weights_of(2, 2, (5 + 3, *hidden, 2))]
    inputs = [drawn(2, 7, 5), drawn(2, 7, 3)]
    for i in needed:
        inputs[i].requires_grad_()
    x, last = inputs
    wanted = [*(inputs[i] for i in needed), *([] if frozen else weights)]
    members = 1 if frozen else None
    expected = evaluate(torch.cat([x, last], -1), None, prepare(weights, together=True, fused=False), members=members)
    found = evaluate(x, last.unsqueeze(2), prepare(weights, together=True, fused=True), members=members, tanh=True)
    torch.testing.assert_close(found, expected.tanh(), **NEAR)
    gradient = torch.linspace(-1, 1, found.numel(), device=DEVICE).view_as(found)
    of_found, of_expected = (torch.autograd.grad(out, wanted, gradient) for out in (found, expected.tanh()))
    for one, other in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(one, other, **NEAR)


def test_tanh_has_small_errors_near_zero_and_far_from_it():
    x = torch.cat([torch.linspace(-12, 12, 4001), torch.logspace(-9, 0, 500), torch.tensor([-90.0, 90.0])]).to(DEVICE)
    one, zero = torch.ones(1, 1, 1, 1, device=DEVICE), torch.zeros(1, 1, 1, 1, device=DEVICE)
    found = evaluate(x.view(1, -1, 1), None, prepare([one, zero], together=True, fused=True), tanh=True).flatten()
    torch.testing.assert_close(found.double(), x.double().tanh(), rtol=1e-6, atol=0)


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


OPTIMIZERS = [
    {},
    {"weight_decay": 0.3, "decay_steps": 5},
    {"learning_rate": torch.tensor([1e-2, 3e-3]), "weight_decay": torch.tensor([0.0, 0.3])},
]


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_adam(settings, monkeypatch):
    torch.manual_seed(0)
    shapes = [(2, 1, 5, 32), (2, 1, 1, 48), (2, 1, 33, 32), (2, 1, 1, 16)]  # whole vectors of a CPU: it pads no others
    plain = [torch.nn.Parameter(drawn(*shape).cpu()) for shape in shapes]
    values = [torch.nn.Parameter(p.detach().clone().to(DEVICE)) for p in plain]
    expected = Adam(plain, **{"learning_rate": 1e-2, **settings})
    monkeypatch.setattr("seqeval_rl.networks.optimizers.uses_triton", lambda device: True)
    found = Adam(values, **{"learning_rate": 1e-2, **settings})
    for step in range(6):
        gradients = [drawn(*shape) * 0.3**step for shape in shapes]
        for optimizer, own in ((expected, plain), (found, values)):
            losses = [(p * g.to(p.device)).flatten(1).sum(1) for p, g in zip(own, gradients, strict=True)]
            optimizer.minimise(*losses)
    for one, other in zip(values, plain, strict=True):
        torch.testing.assert_close(one.detach().cpu(), other.detach(), **NEAR)
    assert found.count == 6


def test_a_soft_update(monkeypatch):
    targets, values = ([torch.nn.Linear(40, 33), torch.nn.Linear(3, 5)] for _ in range(2))
    plain = copy.deepcopy(targets)
    soft_update(plain, values, 0.05)
    monkeypatch.setattr("seqeval_rl.networks.optimizers.uses_triton", lambda device: True)
    modules = [torch.nn.ModuleList(each).to(DEVICE) for each in (targets, values)]
    soft_update(list(modules[0]), list(modules[1]), 0.05)
    for target, value in zip(modules[0].parameters(), torch.nn.ModuleList(plain).parameters(), strict=True):
        torch.testing.assert_close(target.cpu(), value, **NEAR)


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


def test_sums_of_metrics():
    sums, step = torch.zeros(4, 3, dtype=torch.float64, device=DEVICE), torch.tensor([5], device=DEVICE)
    metrics = [drawn(3), drawn(3, 2)[:, 0], torch.tensor([1, 2, 3], device=DEVICE), drawn(1).expand(3)]
    for _ in range(2):
        sum_metrics(sums, metrics, step)
    torch.testing.assert_close(sums, 2 * torch.stack([each.double() for each in metrics]))
    assert step.item() == 7
