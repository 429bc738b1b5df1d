"""Exported policies of every algorithm, on observations one at a time and many at once."""

import pytest
import torch

from seqeval_rl.collection.export import export_policy
from seqeval_rl.collection.policy import Policy
from seqeval_rl.environments.tasks import Task
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm, find_registered

TASKS = {"continuous": Task("pendulum", "InvertedPendulum-v5", 0, 1), "discrete": Task("pole", "CartPole-v1", 0, 1)}
SHAPES = {"continuous": ((4,), 1, None), "discrete": ((4,), 1, 2)}  # a layer with one output is computed in its own way
EXPORTED = [
    entry.name
    for entry in find_registered()[0]
    if entry.observation_space == "vectors" and not getattr(entry.algorithm, "acts_on_history", False)
]


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_a_policy_with_one_action_is_exported(name, format, tmp_path):
    if format == "onnx":
        pytest.importorskip("onnx", reason="needs the extra onnx")
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    entry = find_algorithm(name)
    config = entry.configure({}, "test")
    shape, actions, classes = SHAPES[entry.action_space]
    algorithm = entry.build(config, Spec(shape, actions, (0,), torch.device("cpu"), classes))
    maps = {"scale": torch.tensor([0.5, 1, 2, 3]), "shift": torch.tensor([0.1, 0, -1, 2])}
    state = {"algorithm": algorithm.state_dict(), "preprocessing": maps}
    policy = Policy(entry, config, TASKS[entry.action_space], state, seed=0)
    assert export_policy(policy, tmp_path / "policy", format) < 1e-5
    assert (tmp_path / "policy").stat().st_size > 10_000
