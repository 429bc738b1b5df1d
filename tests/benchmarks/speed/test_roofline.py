"""The matrix products of an update: counted as by hand, and run again in the same shapes."""

import pytest
import torch
from synthetic import spec_for
from torch import nn
from trainers import ALGORITHMS

from seqeval_rl.benchmarks.speed.contenders import Contenders, Problem
from seqeval_rl.benchmarks.speed.roofline import Operand, Products, copy_rate, record
from seqeval_rl.experiments.grouping import random_batch
from seqeval_rl.interface.registry import find_algorithm

CPU = torch.device("cpu")


def updates_of(name, runs=2, batch=4, **settings):
    """A small run group of an algorithm, ready to be called."""
    entry = find_algorithm(name)
    config = entry.configure({"hidden": (16, 8), **settings}, "a test")
    spec = spec_for(name, tuple(range(runs)))
    algorithm = entry.build(config, spec)
    made = random_batch(spec, batch, entry.noise_dim(config, spec), entry.columns(config))
    return algorithm, lambda: algorithm.update(made)


@pytest.mark.parametrize("runs", [1, 3])
def test_flop_of_a_perceptron_are_those_counted_by_hand(runs):
    _, update = updates_of("bc", runs)
    layers = [5 * 16, 16 * 8, 8 * 2]
    # Forward; the gradient by each weight; the gradient by the input of each layer but the first.
    by_hand = 2 * 4 * (sum(layers) + sum(layers) + sum(layers[1:]))
    assert record(update).flop_per_update == runs * by_hand
    assert record(update, 3).flop_per_update == runs * by_hand


def test_a_plain_network_is_counted_as_well_with_its_backward_pass_and_in_inference_mode():
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    x = torch.randn(4, 5)
    forward, backward = 2 * 4 * (80 + 32), 2 * 4 * (80 + 32 + 32)
    assert record(lambda: net(x).sum().backward()).flop_per_update == forward + backward
    with torch.inference_mode():
        assert record(lambda: net(x)).flop_per_update == forward


def test_updates_that_differ_in_a_rhythm_are_averaged_over_a_period():
    algorithm, update = updates_of("td3_bc")
    assert algorithm.period == 2
    one, other = record(update), record(update)
    assert len(other.products) > len(one.products)
    assert record(update, 2).flop_per_update == (one.flop_per_update + other.flop_per_update) / 2


def test_bytes_of_adam_are_four_read_and_three_written_for_each_number():
    weights = [nn.Parameter(torch.zeros(3, 5)), nn.Parameter(torch.zeros(7))]
    optimiser = torch.optim.Adam(weights, fused=True)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    assert record(optimiser.step).adam_bytes == (15 + 7) * 7 * 4
    assert record(lambda: torch.ones(2) + 1).adam_bytes == 0


@pytest.mark.parametrize("name", ALGORITHMS)
def test_products_run_again_have_the_same_shapes_strides_and_order(name):
    algorithm, update = updates_of(name)
    recording = record(update, getattr(algorithm, "period", 1))
    products = Products(recording.products, CPU)
    again = record(products.run)
    assert [p.factors for p in again.products] == [p.factors for p in recording.products]
    assert [p.result for p in again.products] == [p.result for p in recording.products]
    assert again.flop_per_update == recording.updates * recording.flop_per_update
    assert len(record(lambda: products.run(2)).products) == 2 * len(again.products)
    assert all(tensor.isfinite().all() for tensor in products.tensors.values())


def test_slices_expanded_inputs_scalars_and_writing_in_place_are_reproduced():
    x, w = torch.randn(4, 6).expand(3, 4, 6), torch.randn(3, 8, 5, dtype=torch.float32)[:, 1:7]
    into = torch.zeros(3, 6, 5)

    def work():
        torch.baddbmm(torch.ones(3, 1, 5), x, w, beta=0.5)
        torch.bmm(x.mT, torch.ones(3, 4, 5), out=into)
        into.baddbmm_(x.mT, torch.ones(3, 4, 5), alpha=2.0)
        torch.addmm(torch.ones(5).double(), torch.ones(2, 3).double(), torch.ones(3, 5).double())
        torch.ones(2, 5).addmm_(torch.ones(2, 3), torch.ones(3, 5))
        return torch.ones(2, 3) @ torch.ones(5, 3).mT

    recording = record(work)
    assert [p.flop for p in recording.products] == [720, 720, 720, 60, 60, 60]
    left, right = recording.products[0].factors
    assert left.stride == (0, 6, 1)
    assert (right.stride, right.shift) == ((40, 5, 1), 5)
    again = record(Products(recording.products, CPU).run)
    assert [p.factors for p in again.products] == [p.factors for p in recording.products]
    assert dict(again.products[0].keywords)["beta"] == 0.5
    assert dict(again.products[2].keywords)["alpha"] == 2.0
    assert again.products[3].factors[0].dtype == torch.float64


def test_a_convolution_and_its_gradients_are_counted_and_run_again():
    images, kernel = torch.randn(2, 3, 9, 8, requires_grad=True), nn.Parameter(torch.randn(4, 3, 3, 3))
    of_one = 2 * (2 * 4 * 4 * 3) * (3 * 3 * 3)  # numbers of the result, with stride 2; terms of each
    for inputs, times in (([images, kernel], 3), ([kernel], 2)):
        recording = record(
            lambda inputs=inputs: torch.autograd.grad(
                nn.functional.conv2d(images if len(inputs) == 2 else images.detach(), kernel, None, 2).sum(), inputs
            )
        )
        assert recording.flop_per_update == times * of_one
        assert record(Products(recording.products, CPU).run).flop_per_update == times * of_one


@pytest.mark.parametrize("size", [(0, 3), (2, 0, 4), (), (3, 4)])
def test_a_tensor_is_made_again_whatever_its_size(size):
    operand = Operand.of(torch.zeros(size))
    made = operand.tensor(CPU, torch.Generator().manual_seed(0))
    assert Operand.of(made) == operand or made.numel() == 0
    assert made.shape == size


def test_expanded_axes_share_memory_again():
    made = Operand.of(torch.zeros(4, 6).expand(1000, 4, 6)).tensor(CPU, torch.Generator())
    assert made.untyped_storage().nbytes() == 24 * 4


def test_no_products_are_run_without_complaint():
    recording = record(lambda: torch.ones(2) * 2)
    assert recording.products == []
    assert recording.flop_per_update == 0
    Products(recording.products, CPU).run(3)


def test_the_copy_rate_is_a_rate():
    assert 0 < copy_rate(CPU, size=1 << 16, repeats=2) < float("inf")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_products_are_those_of_torchs_operations_and_are_captured():
    entry, problem = find_algorithm("td3_bc"), Problem((5,), 2, 4, 100)
    config = entry.configure({"hidden": (16, 8)}, "a test")
    contenders = Contenders(entry, 2, torch.device("cuda"), problem, config)
    on_cpu = record(updates_of("td3_bc")[1], 2)
    assert contenders.recording.flop_per_update == on_cpu.flop_per_update
    assert contenders.recording.adam_bytes > 0
    products = Products(contenders.recording.products, contenders.device)
    products.run(3)
    torch.cuda.synchronize()
    assert all(tensor.isfinite().all() for tensor in products.tensors.values())
