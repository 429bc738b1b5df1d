"""FLOP as manifests record them."""

import subprocess
import sys

import pytest
import torch
from synthetic import spec_for
from trainers import ALGORITHMS

from seqeval_rl.benchmarks.speed.roofline import record
from seqeval_rl.experiments.flop import count_flop
from seqeval_rl.experiments.grouping import flop_on_paper, random_batch
from seqeval_rl.interface.registry import find_algorithm


def built(name, **settings):
    entry = find_algorithm(name)
    config = entry.configure({"hidden": (16, 8), **settings}, "a test")
    spec = spec_for(name, (0,))
    return entry.build(config, spec), random_batch(spec, 4, entry.noise_dim(config, spec), entry.columns(config))


def test_a_perceptron_is_counted_as_by_hand():
    layers = [5 * 16, 16 * 8, 8 * 2]
    # Forward; the gradient by each weight; the gradient by the input of each layer but the first.
    update = 2 * 4 * (sum(layers) + sum(layers) + sum(layers[1:]))
    assert count_flop(*built("bc")) == (update, 2 * sum(layers))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_it_is_the_count_of_the_roofline(name):
    algorithm, batch = built(name)
    period = int(getattr(algorithm, "period", 1))
    expected = record(lambda: algorithm.update(batch), period).flop_per_update
    assert count_flop(algorithm, batch).update == expected


@pytest.mark.parametrize("name", ALGORITHMS)
def test_on_paper_it_is_the_same(name):
    entry = find_algorithm(name)
    spec = spec_for(name, (0,))
    on_paper = flop_on_paper(entry, entry.configure({"hidden": (16, 8)}, "a test"), spec, 4)
    assert on_paper == count_flop(*built(name))


def test_compound_operations_in_inference_mode_are_counted():
    class Inferring:
        layer = torch.nn.Linear(5, 2)

        def update(self, batch):
            return {}

        @torch.inference_mode()
        def act(self, observations, noise):
            return self.layer(observations)

    assert count_flop(Inferring(), built("bc")[1]).action == 2 * 5 * 2


def test_a_plan_and_an_update_do_not_wait_for_torchs_compiler_to_be_imported():
    """It takes more than a second, and sympy, which torch needs for its own, 0.3 s, in each process of a sweep."""
    code = """if True:
        import sys
        import torch
        from seqeval_rl.experiments.grouping import cost_of_update
        from seqeval_rl.interface.registry import find_algorithm
        entry = find_algorithm("td3_bc")
        cost = cost_of_update(entry, entry.configure({"hidden": [8]}, "a test"), (5,), 2, 4, torch.device("cpu"))
        assert cost.flop.update > 0
        assert not {"torch._dynamo", "sympy"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_numbers_are_drawn_as_if_nothing_had_been_counted():
    class Drawing:
        def update(self, batch):
            torch.rand(3)
            return {}

        def act(self, observations, noise):
            return torch.rand(3)

    _, batch = built("bc")
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    assert count_flop(Drawing(), batch) == (0.0, 0.0)
    assert torch.equal(torch.rand(2), expected)


def test_what_cannot_be_counted_has_no_number():
    class Raising:
        def update(self, batch):
            raise NotImplementedError

    assert count_flop(Raising(), built("bc")[1]) is None
