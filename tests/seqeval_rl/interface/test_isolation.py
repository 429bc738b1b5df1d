"""A plug-in cannot change the process for the runs after it."""

import contextlib
import os
import random

import numpy as np
import pytest
import torch

from seqeval_rl.errors import UsageError
from seqeval_rl.interface.isolation import isolated
from seqeval_rl.interface.registry import find_algorithm


def spoil(tmp_path):
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("medium")
    torch.autograd.set_detect_anomaly(True)
    np.seterr(all="raise")
    os.chdir(tmp_path)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)


def state():
    generators = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    return [
        torch.is_grad_enabled(), torch.get_default_dtype(), torch.empty(0).device, torch.get_num_threads(),
        torch.get_deterministic_debug_mode(), torch.get_float32_matmul_precision(), torch.is_anomaly_enabled(),
        np.geterr(), os.getcwd(), *generators,
    ]  # fmt: skip


def test_everything_is_afterwards_as_before(tmp_path):
    before = state()
    with isolated():
        spoil(tmp_path)
    assert state() == before
    with contextlib.suppress(ZeroDivisionError), isolated():
        spoil(tmp_path)
        raise ZeroDivisionError
    assert state() == before


def test_inside_torch_computes_with_gradients_in_float32():
    with isolated():
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        with isolated():
            assert torch.is_grad_enabled()
            assert torch.zeros(1).dtype == torch.float32
        assert not torch.is_grad_enabled()
        assert torch.zeros(1).dtype == torch.float64


@pytest.mark.parametrize("then", ["", "raise SystemExit(3)"])
def test_what_a_module_sets_when_it_is_imported_stays_in_it(then, tmp_path):
    before = state()
    source = tmp_path / f"spoils{len(then)}.py"
    source.write_text(
        f"import torch\ntorch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(1)\n{then}\n"
    )
    with pytest.raises(UsageError):  # it defines no algorithm
        find_algorithm(str(source))
    assert state() == before
