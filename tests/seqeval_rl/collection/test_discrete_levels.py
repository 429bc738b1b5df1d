"""Behavior policies of discrete actions: DQN is trained, and its levels become datasets and saved policies."""

from __future__ import annotations

import json
from pathlib import Path

import minari
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from synthetic import assert_one_line

from seqeval_rl import load_dataset
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.collection.levels import LEVELS, collect_levels, expert, medium, save_policies
from seqeval_rl.collection.train import Training, train
from seqeval_rl.data.rollouts import BehaviorPolicy
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol

PROTOCOL = Protocol(initial=100, online=420, evaluate_every=60, episodes=2, batch_size=16)


def training(directory: Path, name: str = "dqn") -> Training:
    entry = find_algorithm(name)
    config = entry.configure({"hidden": (16, 16), "learning_rate": 3e-3}, "test")
    return Training(directory, Task("cart", "CartPole-v1", 0.0, 500.0), entry, config, PROTOCOL, 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A finished training, to be read only."""
    one = training(tmp_path_factory.mktemp("trained") / "seed-0")
    train(one, torch.device("cpu"), progress=False)
    return one


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)


def test_every_level_becomes_a_dataset_of_discrete_actions(trained: Training) -> None:
    collect_levels(trained, "mine/{level}-v0", 150, progress=False)
    for level in LEVELS:
        assert minari.load_dataset(f"mine/{level}-v0").action_space == Discrete(2)
        found = load_dataset(f"minari:mine/{level}-v0", progress=False)
        assert (found.action_classes, found.task.references) == (2, (0.0, 500.0))
        assert set(found.actions.tolist()) == {0, 1}
        if level == "medium-replay":
            np.testing.assert_allclose(found.rows, trained.replay(len(found))[0], rtol=1e-6)
        else:
            assert len(found) == 150


def test_policies_are_saved_as_the_bundled_ones_are(trained: Training, tmp_path: Path) -> None:
    save_policies(trained, tmp_path)
    told = json.loads((tmp_path / "levels.json").read_text())["cart"]
    scores = trained.scores()[1].tolist()
    assert {*told["medium"], *told["expert"]} <= {*told["replay"]}
    for mean, _, length in told["returns"].values():  # every reward is 1
        assert mean == pytest.approx(length, abs=0.51)
    observations = np.random.default_rng(0).normal(size=(500, 4))
    for level, index in (("medium", medium(scores)), ("expert", expert(scores))):
        policy = BehaviorPolicy("cart", told[level][0], tmp_path)
        assert policy.epsilon == trained.config.epsilon
        greedy = policy.classes(observations, np.ones((500, 2)) - 1e-9)
        expected = trained.policy(index).act(observations.astype(np.float32))[:, 0]
        assert np.mean(greedy == expected) > 0.97  # float16


def test_a_policy_without_a_place_in_that_format_is_refused(tmp_path: Path) -> None:
    one = training(tmp_path / "seed-0", "discrete_bc")
    train(one, torch.device("cpu"), progress=False)
    with pytest.raises(DataError, match="Train sac, or of discrete actions dqn, with two hidden layers"):
        save_policies(one, tmp_path / "policies")


TRAIN = ["datasets", "collect", "--id", "mine/{level}-v0", "--transitions", "80"]


def test_the_command_trains_a_known_task(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["dqn.hidden=[16, 16]", "protocol.initial=100", "protocol.evaluate_every=200", "protocol.batch_size=16"]
    settings = [word for text in (*small, "protocol.episodes=4") for word in ("--set", text)]
    command = [*TRAIN, "--train", "dqn", "--task", "cartpole", "--reference-returns", "0,500", "--online", "500"]
    assert main([*command, *settings, "--policies", "policies"]) == 0
    shown = capsys.readouterr().out
    assert all(f"minari:mine/{level}-v0: " in shown for level in LEVELS)
    assert load_dataset("bundled/cartpole/medium:80", progress=False).action_classes == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["sac", "--task", "cartpole"], ["task cartpole: sac is for continuous actions", "2 discrete ones", "dqn"]),
        (["dqn", "--task", "hopper"], ["task hopper: dqn is for discrete actions", "3 continuous dimensions", "sac"]),
        (["decision_transformer", "--task", "hopper"], ["expected no online phase"]),
    ],
)
def test_an_algorithm_that_cannot_be_trained_there_is_refused_before_anything_is_written(
    options: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TRAIN, "--train", *options]) == 2
    assert_one_line(capsys, words, tmp_path)
