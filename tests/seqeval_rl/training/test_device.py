"""The precision of matrix products: what it does to numbers, and that results of two precisions are not one run."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from synthetic import npz

from seqeval_rl import plots
from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.errors import MismatchError
from seqeval_rl.experiments.scheduler import run_sweep
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.networks.modules import MLP
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import RunRecorder, identity
from seqeval_rl.training.device import Precision, matrix_products


@pytest.mark.parametrize("precision", get_args(Precision))
def test_products_are_as_exact_as_the_precision_says_and_the_setting_is_put_back(precision):
    a, b = torch.randn(64, 64), torch.randn(64, 64)
    before = torch.get_float32_matmul_precision()
    exact = (a.double() @ b.double()).float()
    with matrix_products(precision):
        error = ((a @ b) - exact).abs().max() / exact.abs().max()
    bits = {"float32": 24, "tf32": 11, "bfloat16": 8}[precision]
    assert error < 8 * 2.0**-bits
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("precision", get_args(Precision))
def test_gradients_of_perceptrons_are_right_at_every_precision(precision, outputs):
    """A library may write into strided outputs wrongly at the lower ones, with garbage rather than rounding."""
    spec = Spec((11,), 3, (0, 1), torch.device("cpu"))
    net = MLP(spec, "net", 11, (256, 256), outputs, members=2)
    x = torch.randn(2, 256, 11, generator=torch.Generator().manual_seed(0))
    found = []
    for chosen in ("float32", precision):
        with matrix_products(chosen):
            torch.empty(1 << 16).fill_(float("nan"))  # what is freed now is likely to be what the next tensors get
            found.append(torch.autograd.grad(net(x).square().sum(), list(net.parameters())))
    for exact, other in zip(*found, strict=True):
        # As a whole: rounding can move single units over the edge of their ReLU, and with them single derivatives.
        assert float((other - exact).norm()) < 0.05 * float(exact.norm())


def test_the_setting_is_put_back_after_an_error():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), matrix_products("bfloat16"):
        1 / 0  # noqa: B018
    assert torch.get_float32_matmul_precision() == before


def test_runs_of_another_precision_are_other_runs(tmp_path):
    npz(tmp_path / "log.npz", total=150)
    stream = StreamSpec("log", (str(tmp_path / "log.npz"),))
    protocol = Protocol(initial=100, batch_size=16, evaluate_every=50, episodes=1)
    sweep = Sweep("precision", (stream,), (find_algorithm("bc"),), protocol, (0,), {"bc": {"hidden": (16, 16)}})
    run_sweep(sweep, tmp_path / "exact", "cpu", "gymnasium", progress=False)
    rounded = replace(sweep, precision="bfloat16")
    with pytest.raises(MismatchError, match=r"precision = 'float32', asked for 'bfloat16'"):
        run_sweep(rounded, tmp_path / "exact", "cpu", "gymnasium", progress=False)
    run_sweep(rounded, tmp_path / "rounded", "cpu", "gymnasium", progress=False)
    results = [*read_results(tmp_path / "exact"), *read_results(tmp_path / "rounded")]
    assert [result.manifest["precision"] for result in results] == ["float32", "bfloat16"]
    text = plots.score_table(results).text()
    assert "precision=float32" in text
    assert "precision=bfloat16" in text


def test_a_manifest_from_before_precisions_means_float32(tmp_path):
    manifest = {"suite": "s", "seed": 0, "device": "cpu", "precision": "float32"}
    old = {key: value for key, value in manifest.items() if key != "precision"}
    assert identity(old) == identity(manifest)
    rest = {"dataset": {"name": "d", "transitions": 9}, "algorithm": {"name": "bc", "config": {}}}
    rest |= {"evaluations_expected": 2}
    recorder = RunRecorder(tmp_path / "run", {**rest, **old})
    recorder.open()
    recorder.close()
    assert RunRecorder(tmp_path / "run", {**rest, **manifest}).check()
