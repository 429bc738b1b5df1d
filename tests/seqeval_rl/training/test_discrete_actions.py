"""Discrete actions from a file to evaluations, the online phase and `Policy`, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import minari
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict as SpaceDict, Discrete, MultiBinary, MultiDiscrete, Tuple as SpaceTuple
from hypothesis import given, strategies as st
from minari.data_collector import EpisodeBuffer

import seqeval_rl
from seqeval_rl.algorithms.dqn import DQN
from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.spaces import Shapes, shapes_of_spaces
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, UsageError
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.returns import WrongReturn, check_actions
from seqeval_rl.results.read import read_results
from seqeval_rl.training.replay_buffer import Transitions, build_replay_buffer

TOY = Task("toy", None)


def cart(transitions: int = 400) -> dict[str, Any]:
    """CartPole by a policy that balances it for a while."""
    env, rng = gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    rows: dict[str, list[Any]] = {
        key: [] for key in ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    }
    while len(rows["rewards"]) < transitions:
        seen, over = env.reset(seed=int(rng.integers(1000)))[0], False
        while not over:
            action = int(seen[2] + 0.5 * seen[3] > 0) if rng.random() > 0.3 else int(rng.integers(2))
            after, reward, terminated, truncated, _ = env.step(action)
            for key, value in zip(rows, (seen, action, reward, terminated, truncated, after), strict=True):
                rows[key].append(value)
            seen, over = after, terminated or truncated
    return {key: np.array(values) for key, values in rows.items()}


def columns(actions: Any, **more: Any) -> dict[str, Any]:
    count = len(actions)
    observations = np.arange(2.0 * count).reshape(-1, 2)
    flags = {"terminations": np.zeros(count, bool), "truncations": np.arange(count) == count - 1}
    return {"observations": observations, "actions": actions, "rewards": np.ones(count), **flags,
            "next_observations": observations + 1, **more}  # fmt: skip


@given(st.lists(st.integers(0, 2**24 - 1), min_size=2, max_size=9))
def test_classes_survive_packing_and_preprocessing(classes: list[int]) -> None:
    raw = RawTransitions(**columns(np.array(classes)), action_classes=2**24)
    dataset = Dataset.from_arrays("toy", TOY, raw)
    assert dataset.actions.dtype == np.int64
    assert dataset.actions.tolist() == classes
    spec = Spec((2,), 1, (0,), torch.device("cpu"), 2**24)
    replay = build_replay_buffer(Transitions(dataset.rows, None, [np.arange(len(classes))]), spec)
    shift, scale = torch.zeros(1, 1, 7), torch.ones(1, 1, 7)
    shift[..., :2], scale[..., :2] = 3.0, 0.5
    batch = replay.batch(torch.arange(len(classes))[None], torch.empty(1, len(classes), 0), shift, scale)
    assert batch.actions.dtype == torch.int64
    assert batch.actions[0].tolist() == classes


@given(st.integers(2, 50), st.integers(-5, 5), st.data())
def test_numbers_and_the_environments_units(classes: int, start: int, data: Any) -> None:
    """A `Discrete` space may begin with another number than 0."""
    ends = np.array([start], np.float64), np.array([start + classes - 1], np.float64)
    shapes = Shapes((2,), np.dtype(np.float32), *ends, 10, np.dtype(np.int64), classes)
    chosen = data.draw(st.integers(0, classes - 1))
    taken = shapes.in_space(shapes.in_units(np.array([[chosen]], np.float32)))
    assert (taken.dtype, taken.tolist()) == (np.int64, [start + chosen])
    assert Discrete(classes, start=start).contains(taken[0])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_readers_agree(tmp_path: Path) -> None:
    """The same transitions in each format; the digest depends on how many discrete actions there are."""
    arrays = cart(60)
    np.savez(tmp_path / "cart.npz", env_id="CartPole-v1", **arrays)
    own = load_dataset(str(tmp_path / "cart.npz"))
    assert (own.action_classes, own.act_dim, own.actions.tolist()) == (2, 1, arrays["actions"].tolist())
    assert load_dataset(str(tmp_path / "cart.npz")).actions.tolist() == arrays["actions"].tolist()  # from the cache
    with h5py.File(tmp_path / "cart.hdf5", "w") as file:
        for key, name in (("terminations", "terminals"), ("truncations", "timeouts")):
            file[name] = arrays[key]
        for key in ("observations", "actions", "rewards", "next_observations"):
            file[key] = arrays[key]
    ends = np.flatnonzero(arrays["terminations"] | arrays["truncations"]) + 1
    episodes = [
        EpisodeBuffer(
            id=number, observations=np.append(arrays["observations"][a:b], arrays["next_observations"][b - 1 : b], 0),
            actions=arrays["actions"][a:b] - 1, rewards=arrays["rewards"][a:b],
            terminations=arrays["terminations"][a:b], truncations=arrays["truncations"][a:b],
        )
        for number, (a, b) in enumerate(zip([0, *ends[:-1]], ends, strict=True))
    ]  # fmt: skip
    spaces = {"observation_space": Box(-9, 9, (4,), np.float32), "action_space": Discrete(2, start=-1)}
    minari.create_dataset_from_buffers("toy/cart-v0", episodes, **spaces)
    task = Task("CartPole-v1", "CartPole-v1")
    for source in (str(tmp_path / "cart.hdf5"), "minari:toy/cart-v0"):
        found = load_dataset(source, task)
        assert found.action_classes == 2
        np.testing.assert_array_equal(found.rows, own.rows)
    several = RawTransitions(**columns(np.array([0, 1, 1])), action_classes=2)
    digests = {
        Dataset.from_arrays("toy", TOY, RawTransitions(**columns(np.array([0, 1, 1])), action_classes=n)).sha256
        for n in (2, 3)
    }
    assert len(digests) == 2
    assert Dataset.from_arrays("toy", TOY, several).prefix(2).action_classes == 2


@pytest.mark.parametrize(
    ("actions", "more", "message"),
    [
        ([0, 1, 2], {"action_classes": 2}, r"actions\[2\] is 2, expected a whole number from 0 to 1, and so in 1 of 3"),
        ([0, 0.5, 1], {"action_classes": 2}, r"actions\[1\] is 0.5, expected a whole number"),
        ([[0, 1]] * 3, {"action_classes": 2}, r"shape \(3, 2\), expected \[N\].*multi-binary"),
        ([0, 1, 1], {"action_classes": 2, "action_low": -1.0}, "expected neither bounds nor clipping"),
        ([0, 1, 1], {"action_classes": 1}, "expected 2 to 16,777,216 discrete actions, found 1"),
        ([0, 1, 1], {}, r"actions have shape \(3,\), expected \[N, act_dim\].*action_classes"),
        ([0, 1, 1], {"action_classes": 3, "env_id": "CartPole-v1"}, r"action_classes is 3, expected Discrete\(2\)"),
    ],
)  # fmt: skip
def test_other_actions_are_refused(tmp_path: Path, actions: Any, more: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "toy.npz", **columns(np.array(actions), **more))
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path / "toy.npz"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.tensor([[0, 2]]), "expected discrete actions from 0 to 1, found 2"),
        (torch.tensor([[0.0, 1.0]]), r"expected an int64 tensor of shape \(1, 2\), \[R, E\], found torch.float32"),
        (torch.tensor([[[0], [1]]]), r"found torch.int64 of shape \(1, 2, 1\)"),
    ],
)
def test_what_act_returns_is_checked(found: torch.Tensor, message: str) -> None:
    with pytest.raises(WrongReturn, match=message):
        check_actions(DQN, found, (1, 2, 1), bounded=True, action_classes=2)


PROTOCOL = {"initial": 100, "batch_size": 16, "evaluate_every": 150, "episodes": 2, "online": 60}


def test_a_run_end_to_end(tmp_path: Path) -> None:
    np.savez(tmp_path / "cart.npz", env_id="CartPole-v1", **cart())
    source, out = str(tmp_path / "cart.npz"), tmp_path / "out"
    small = {"hidden": (16, 16), "learning_rate": 1e-3}
    seqeval_rl.evaluate(
        ["discrete_bc", "dqn"], source, seeds=[0, 1], out=out, protocol=PROTOCOL,
        settings={"discrete_bc": small, "dqn": small},
    )  # fmt: skip
    runs = read_results(out)
    assert [run.status for run in runs] == ["finished"] * 4
    for run in runs:
        scored = next(entry["metrics"] for entry in run.evaluations if "prequential/agreement" in entry["metrics"])
        assert 0 <= scored["prequential/agreement"] <= 1
        assert "prequential/action_error" not in scored
        assert ("prequential/nll" in scored) == (run.algorithm == "discrete_bc")
        assert ("prequential/td_error" in scored) == (run.algorithm == "dqn")
        assert json.dumps(run.manifest["dataset"]).count('"action_classes": 2') == 1
    policy = Policy.load(runs[0].path)
    env = gymnasium.make("CartPole-v1")
    seen, _ = env.reset(seed=3)
    action = policy(seen)
    assert env.action_space.contains(action)
    assert policy(np.stack([seen] * 3)).tolist() == [action] * 3


def test_an_algorithm_for_other_actions_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "cart.npz", env_id="CartPole-v1", **cart(120))
    np.savez(tmp_path / "toy.npz", **columns(np.zeros((200, 2))))
    protocol = {"initial": 100, "episodes": 0}
    message = (
        r"toy.*: dqn is for discrete actions, found 2 continuous dimensions. Choose .* continuous actions: .*td3_bc"
    )
    with pytest.raises(UsageError, match=message):
        seqeval_rl.evaluate("dqn", str(tmp_path / "toy.npz"), out=tmp_path / "out", protocol=protocol)
    message = "cart.*: bc is for continuous actions, found 2 discrete ones. Choose .* discrete actions: discrete_bc"
    with pytest.raises(UsageError, match=message):
        seqeval_rl.evaluate("bc", str(tmp_path / "cart.npz"), out=tmp_path / "out", protocol=protocol)
    assert not list((tmp_path / "out").rglob("manifest.json"))


@pytest.mark.parametrize(
    "actions", [MultiBinary(3), MultiDiscrete([2, 2]), SpaceDict(a=Discrete(2)), SpaceTuple((Discrete(2),))], ids=str
)
def test_other_action_spaces_are_refused_in_words(actions: Any) -> None:
    message = (
        "expected discrete actions, or vectors in a box.*Multi-binary, multi-discrete and composite actions are not"
    )
    with pytest.raises(DataError, match=message):
        shapes_of_spaces("X-v0", Box(-1, 1, (2,)), actions, 10)
