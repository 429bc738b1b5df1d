"""Runs with discrete actions, offline and online, through every command that reads runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import seqeval_rl
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.results.lines import read_lines

ALGORITHMS = ["discrete_bc", "discrete_cql", "dqn"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two seeds of each algorithm, with an online phase and normalized observations."""
    folder = tmp_path_factory.mktemp("discrete")
    small = {"hidden": (16, 16), "learning_rate": 1e-3, "normalise_observations": True}
    seqeval_rl.evaluate(
        ALGORITHMS, "bundled/cartpole/medium:700", seeds=[0, 1], out=folder / "out", loggers=["tensorboard"],
        protocol={"initial": 200, "increment": 5, "batch_size": 16, "evaluate_every": 100, "episodes": 1, "online": 200},
        settings=dict.fromkeys(ALGORITHMS, small),
    )  # fmt: skip
    return folder / "out"


def runs(root: Path) -> dict[str, Path]:
    return {run.algorithm: run.path for run in seqeval_rl.read_results(root) if run.seed == 0}


def test_each_run_has_both_phases_and_its_scores(root: Path) -> None:
    found = seqeval_rl.read_results(root)
    assert [run.status for run in found] == ["finished"] * 6
    for run in found:
        assert run.evaluations[-1]["env_steps"] == 200
        names = set().union(*(entry["metrics"] for entry in run.evaluations))
        assert "online/return" in names
        assert "prequential/agreement" in names
        assert ("prequential/nll" in names) == (run.algorithm == "discrete_bc")
        assert ("prequential/td_error" in names) == (run.algorithm != "discrete_bc")


@pytest.mark.parametrize("algorithm", ["discrete_bc", "dqn"])
@pytest.mark.parametrize("format", ["torchscript", "onnx"])
def test_an_exported_file_acts_as_the_policy_does(
    root: Path, algorithm: str, format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if format == "onnx":
        pytest.importorskip("onnx", reason="needs the extra onnx")
        runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    run, file = runs(root)[algorithm], tmp_path / "file"
    assert main(["policy", str(run), "--export", format, "--out", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "observations (4,) -> a discrete action from 0 to 1" in shown
    assert "largest difference to the policy 0.0e+00" in shown
    policy = seqeval_rl.Policy.load(run)
    for count in (1, 50):
        observations = np.random.default_rng(count).normal(0, 0.5, (count, 4)).astype(np.float32)
        if format == "onnx":
            [actions] = runtime.InferenceSession(str(file)).run(["actions"], {"observations": observations})
        else:
            actions = torch.jit.load(str(file))(torch.from_numpy(observations)).numpy()
        assert (actions.dtype, actions.shape) == (np.int64, (count,))
        np.testing.assert_array_equal(actions, policy(observations))
    assert len(set(actions.tolist())) == 2  # of the last 50


def test_a_second_evaluation_and_what_the_policy_returns(root: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs(root)["dqn"], tmp_path / "run")
    assert main(["evaluate", str(run), "--episodes", "3"]) == 0
    [entry] = read_lines(run / "second_evaluations.jsonl").sound()
    assert entry["returns"] == entry["lengths"]
    policy, env = seqeval_rl.Policy.load(run), gymnasium.make("CartPole-v1")
    seen, _ = env.reset(seed=0)
    assert env.action_space.contains(policy(seen))


def test_a_video(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("pygame", reason="needs the extra video")
    image = pytest.importorskip("PIL.Image")
    file = tmp_path / "a.gif"
    assert main(["policy", str(runs(root)["dqn"]), "--video", str(file), "--episodes", "1"]) == 0
    with image.open(file) as video:
        assert video.n_frames > 5


@pytest.mark.parametrize(
    "words",
    [
        ["plot"],
        ["plot", "--kind", "prequential", "--score", "agreement"],
        ["plot", "--kind", "prequential", "--score", "nll"],
        ["table"],
        ["table", "--measures", "online"],
        ["table", "--measures", "ranking"],
        ["report"],
        ["paper"],
        ["select", "--score", "agreement"],
        ["cite"],
    ],
    ids=" ".join,
)
def test_commands_that_read_runs(root: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command, *options = words
    assert main([command, str(root), *options]) == 0
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    if command == "table" and "ranking" not in words:
        assert all(name in shown.out for name in ("discrete BC", "discrete CQL", "DQN"))
    if command == "cite":
        assert all(key in shown.out for key in ("pomerleau1988alvinn", "kumar2020conservative", "mnih2015human"))


def test_the_tracker_has_their_scores(root: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    assert list(root.rglob("events.out.tfevents*"))
