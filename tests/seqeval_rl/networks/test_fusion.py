"""Small functions of tensors that are compiled for CUDA: pretended here, since there is no CUDA device."""

import functools

import pytest
import torch
from trainers import ALGORITHMS, SETTINGS

from seqeval_rl.experiments.grouping import random_batch
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.networks import fusion
from seqeval_rl.networks.fusion import fused


def loss(q, target, weight):
    return (weight * (q - target).square()).mean(1), q.detach().mean(1)


@pytest.fixture
def pretended_cuda(monkeypatch):
    monkeypatch.setattr(fusion, "_on_cuda", lambda *_: True)


def test_on_a_cpu_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    q, target = torch.randn(2, 5), torch.randn(2, 5)
    assert torch.equal(fused(loss)(q, target, 2.0)[0], loss(q, target, 2.0)[0])


def test_what_is_compiled_has_the_same_values_and_gradients(pretended_cuda, monkeypatch):
    # The tracing of torch.compile without its code generator, which takes a minute of a C compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compiled = fused(loss)
    for weight in (2.0, torch.tensor([[0.5], [3.0]])):
        q, target = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5)
        found, expected = compiled(q, target, weight), loss(q, target, weight)
        assert torch.equal(found[0], expected[0])
        assert not found[1].requires_grad
        one, other = (torch.autograd.grad(value[0].sum(), [q])[0] for value in (found, expected))
        torch.testing.assert_close(one, other)


def test_what_cannot_be_compiled_runs_and_is_said_once(pretended_cuda, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("no C compiler\nand more")

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken)
    compiled, q = fused(loss), torch.ones(2, 5)
    for _ in range(2):
        assert torch.equal(compiled(q, q, 1.0)[0], torch.zeros(2))
    (record,) = caplog.records
    assert record.getMessage() == "torch.compile fails (no C compiler): loss runs one operation after the other"


def test_a_mistake_of_the_caller_is_his_own(pretended_cuda, monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    with pytest.raises(RuntimeError, match="size"):
        fused(loss)(torch.ones(2, 5), torch.ones(2, 4), 1.0)
    assert not caplog.records


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="their compiled form is kept in the process, and others follow on CUDA"
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch.compile reads it
@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_losses_of_every_algorithm_can_be_compiled(name, monkeypatch, caplog):
    """As whole functions, by the tracing of torch.compile; %BC for BC."""
    entry = find_algorithm(name)
    classes = 3 if entry.action_space == "discrete" else None
    spec = Spec((5,), 2 if classes is None else 1, (0, 1), torch.device("cpu"), classes)
    settings = {"best": 0.5} if name == "bc" else SETTINGS.get(name, {})
    config = entry.configure({**settings, "hidden": (6,)}, "a test")
    batch = random_batch(spec, 4, entry.noise_dim(config, spec), entry.columns(config))
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager", fullgraph=True))
    found = []
    for on_cuda in (False, True):
        monkeypatch.setattr(fusion, "_on_cuda", lambda *_, on_cuda=on_cuda: on_cuda)
        algorithm = entry.build(config, spec)
        for _ in range(getattr(algorithm, "period", 1)):
            metrics = algorithm.update(batch)
        found.append(metrics)
    for key, expected in found[0].items():
        torch.testing.assert_close(found[1][key], expected)
    assert not [record for record in caplog.records if record.name == "seqeval_rl"]
