"""Bundled datasets: the same whatever the workers, prefixes of one another, as good as was measured, never half-made."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from numpy.testing import assert_allclose, assert_array_equal

from seqeval_rl.data import cache, rollouts
from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.episodes import Episode
from seqeval_rl.data.load import load_dataset
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.rollouts import EPISODES_PER_CHUNK, BehaviorPolicy, Chunk, WorkerPool, roll_out
from seqeval_rl.data.task_matching import check_environment
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import FileError, SeqevalError, UsageError
from seqeval_rl.utils.processes import answer_requests


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def build(level: str, transitions: int, workers: int = 1, task: str = "hopper") -> Dataset:
    return bundled.build(task, level, transitions, workers=workers, progress=False)


def forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on with empty caches."""
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "second" / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "second" / "minari"))


def same(a: Dataset, b: Dataset) -> None:
    assert_array_equal(a.rows, b.rows)
    assert_array_equal(a.truncations, b.truncations)
    assert_array_equal(a.episode_starts, b.episode_starts)
    assert (a.name, a.task, a.sha256, a.cut, a.clipped_actions) == (b.name, b.task, b.sha256, b.cut, b.clipped_actions)


def test_there_are_twenty_four() -> None:
    assert len(bundled.names()) == 24
    assert "bundled/walker2d/replay" in bundled.names()
    for behavior in bundled.behaviors().values():
        used = {name for level in bundled.LEVELS for name in behavior[level]}
        assert used <= set(behavior["returns"])


@pytest.mark.parametrize("level", ["random", "medium"])
def test_a_dataset_does_not_depend_on_the_workers(level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = build(level, 1200)
    assert len(alone) == 1200
    check_environment(alone)
    forget(tmp_path, monkeypatch)
    same(build(level, 1200, workers=3), alone)


@pytest.mark.parametrize("level", ["random", "replay"])
def test_a_smaller_dataset_is_the_prefix_of_a_larger(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "FULL", 1200)  # shares of 200, so that the datasets end in different ones
    small = [build(level, n) for n in (1, 97, 400)]  # each rolled out for itself
    assert len(cache.entries()) == 3
    forget(tmp_path, monkeypatch)
    large = build(level, 900)
    for log in small:
        served = build(level, len(log))  # from the larger one
        same(served, log)
        assert_array_equal(served.rows, large.rows[: len(log)])
        assert bool(served.truncations[-1]) != bool(served.terminations[-1])
    assert len(cache.entries()) == 1


def test_replay_goes_through_the_checkpoints_in_equal_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "FULL", 600)  # six shares of 100
    log = build("replay", 600)
    assert len(log) == 600
    starts = log.episode_starts
    # The first share: whole episodes of the first checkpoint until 100 are passed, then the second begins.
    first = [len(episode.rewards) for index in (0, 1) for episode in roll_out(_chunk("0000000", index))]
    count = int(np.searchsorted(np.cumsum(first), 100)) + 1
    assert_array_equal(np.diff(starts)[:count], first[:count])
    second = roll_out(_chunk("0050000", 0))[0]
    rows = slice(starts[count], starts[count + 1])
    assert_array_equal(log.actions[rows], second.actions[: starts[count + 1] - starts[count]])


def _chunk(checkpoint: str | None, index: int, level: str = "replay") -> Chunk:
    return Chunk("hopper", "Hopper-v5", level, checkpoint, index)


def test_episodes_are_what_the_environment_gives() -> None:
    episode = roll_out(_chunk("0125000", 0, "medium"))[3]
    environment = gymnasium.make("Hopper-v5")
    observation, _ = environment.reset(seed=episode.seed)
    assert_array_equal(observation, episode.observations[0])
    for i, action in enumerate(episode.actions):
        observation, reward, terminated, truncated, _ = environment.step(action)
        assert_array_equal(observation, episode.observations[i + 1])
        assert reward == episode.rewards[i]
        assert (terminated or truncated) == (i == len(episode.actions) - 1)
    assert terminated == episode.terminated
    environment.close()


def test_an_episode_does_not_depend_on_what_was_rolled_out_before() -> None:
    first = roll_out(_chunk("0000000", 5))
    roll_out(_chunk("0050000", 0))
    for a, b in zip(roll_out(_chunk("0000000", 5)), first, strict=True):
        assert_array_equal(a.observations, b.observations)
    # Neighbours and levels differ.
    starts = [e.observations[0] for e in (*first, roll_out(_chunk("0000000", 6))[0], roll_out(_chunk(None, 5))[0])]
    assert len(np.unique(np.stack(starts), axis=0)) == len(starts)


@pytest.mark.parametrize("task", ["hopper", "halfcheetah", "walker2d"])
def test_the_policy_is_the_one_in_the_file(task: str) -> None:
    checkpoint = bundled.behaviors()[task]["expert"][0]
    path = resources.files("seqeval_rl.data") / "bundled_policies" / task / f"{checkpoint}.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        w = {key: np.float64(arrays[key]) for key in arrays.files}
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(8, len(w["w0"])))
    noise = rng.normal(size=(8, w["w2"].shape[1] // 2))
    hidden = np.maximum(observations @ w["w0"] + w["b0"], 0)
    hidden = np.maximum(hidden @ w["w1"] + w["b1"], 0)
    mean, log_std = np.split(hidden @ w["w2"] + w["b2"], 2, axis=1)
    expected = np.tanh(mean + np.exp(log_std.clip(-5, 2)) * noise)
    assert_allclose(BehaviorPolicy(task, checkpoint).act(observations, noise), expected, atol=1e-12)


@pytest.mark.parametrize(("task", "width", "classes"), [("cartpole", 4, 2), ("acrobot", 6, 3)])
def test_a_policy_of_discrete_actions_is_epsilon_greedy(task: str, width: int, classes: int) -> None:
    policy = BehaviorPolicy(task, bundled.behaviors()[task]["expert"][0])
    rng = np.random.default_rng(0)
    observations, numbers = rng.normal(size=(5000, width)), rng.random((5000, 2))
    greedy = policy.outputs(observations).argmax(1)
    chosen = policy.classes(observations, numbers)
    explores = numbers[:, 0] < 0.1
    assert_array_equal(chosen[~explores], greedy[~explores])
    assert_array_equal(chosen[explores], np.floor(classes * numbers[explores, 1]))


@pytest.mark.parametrize(("task", "classes", "version"), [("cartpole", 2, 1), ("acrobot", 3, 0)])
def test_a_dataset_has_discrete_actions_and_is_an_ordinary_minari_dataset(
    task: str, classes: int, version: int
) -> None:
    log = bundled.build(task, "expert", 900, progress=False)
    check_environment(log)
    assert (log.action_classes, sorted(set(log.actions.tolist()))) == (classes, list(range(classes)))
    assert 30 < log.mean_score() < 110
    found = load_dataset(f"minari:seqeval/{task}/expert-900-v{version}")
    assert (found.sha256, found.task) == (log.sha256, log.task)
    assert minari.load_dataset(f"seqeval/{task}/expert-900-v{version}").action_space == Discrete(classes)


def test_random_actions_are_uniform_and_all_lie_on_the_grid() -> None:
    actions = np.concatenate([e.actions for i in range(4) for e in roll_out(_chunk(None, i, "random"))])
    assert np.abs(actions).max() <= 1
    assert_array_equal(actions * 2**16, np.round(actions * 2**16))
    # Standard errors of a uniform variable's mean and second moment.
    count = actions.size
    assert abs(actions.mean()) < 4 * np.sqrt(1 / 3 / count)
    assert abs(np.square(actions).mean() - 1 / 3) < 4 * np.sqrt(4 / 45 / count)


@pytest.mark.parametrize("task", ["hopper", "halfcheetah", "walker2d", "cartpole", "acrobot"])
def test_a_level_has_the_returns_that_were_measured(task: str) -> None:
    behavior = bundled.behaviors()[task]
    checkpoint = behavior["medium"][0] if "transitions" in behavior else "0050000"
    mean, std, length = behavior["returns"][checkpoint]
    episodes = roll_out(Chunk(task, behavior["env_id"], "replay", checkpoint, 0))
    returns = np.array([episode.rewards.sum() for episode in episodes])
    # Both are means, of 20 and of 8 episodes.
    assert abs(returns.mean() - mean) < 4 * std * np.sqrt(1 / 20 + 1 / 8)
    assert np.mean([len(episode.rewards) for episode in episodes]) == pytest.approx(length, rel=0.5)


def test_the_minari_form_is_an_ordinary_dataset() -> None:
    log = build("random", 130)
    dataset = minari.load_dataset("seqeval/hopper/random-130-v0")
    assert (dataset.total_steps, dataset.total_episodes) == (130, len(log.episode_starts) - 1)
    assert dataset.env_spec.id == "Hopper-v5"
    environment = dataset.recover_environment(eval_env=True)
    assert dataset.observation_space == environment.observation_space
    assert dataset.action_space == environment.action_space
    environment.close()
    episodes = list(dataset.iterate_episodes())
    assert episodes[0].observations.dtype == np.float64
    assert_array_equal(np.concatenate([e.observations[:-1] for e in episodes]).astype(np.float32), log.observations)
    assert episodes[-1].truncations[-1]
    returns = np.array([e.rewards.sum() for e in episodes[:-1]])
    task = TASKS["hopper"]
    assert_allclose(100 * minari.get_normalized_score(dataset, returns), task.score(returns))
    metadata = minari.list_local_datasets()["seqeval/hopper/random-130-v0"]
    assert metadata["author"] == ["The seqeval-rl authors"]
    assert metadata["algorithm_name"] == "uniform random actions"
    assert "seqeval/hopper" in minari.namespace.list_local_namespaces()


def test_what_is_cached_is_not_rolled_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    log = build("random", 60)
    monkeypatch.setattr(rollouts, "roll_out", None)
    same(build("random", 60), log)
    assert isinstance(build("random", 60).rows, np.memmap)


def test_a_damaged_dataset_is_built_again(tmp_path: Path) -> None:
    log = build("random", 60)
    log = replace(log, rows=log.rows.copy())
    path = tmp_path / "cache" / cache.entries()[0] / "rows.npy"
    path.write_bytes(path.read_bytes()[:-4])
    same(build("random", 60), log)


@pytest.mark.parametrize(
    ("task", "level", "transitions", "message"),
    [
        ("hoper", "medium", 10, "did you mean bundled/hopper/medium"),
        ("hopper", "good", 10, "unknown bundled dataset"),
        ("hopper", "medium", 0, "expected 1 to 1000000 transitions, found 0"),
        ("hopper", "medium", 1_000_001, "found 1000001"),
        ("cartpole", "replay", 50_001, "expected 1 to 50000 transitions, found 50001"),
    ],
)
def test_unknown_datasets_are_refused(task: str, level: str, transitions: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bundled.build(task, level, transitions, progress=False)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail_later(chunk: Chunk) -> list[Episode]:
        calls.append(chunk)
        if len(calls) == 2:
            raise FloatingPointError("made to fail")
        return roll_out(chunk)

    with monkeypatch.context() as patch:
        patch.setattr(rollouts, "roll_out", fail_later)
        with pytest.raises(FloatingPointError):
            build("random", 400)
    assert _left(tmp_path) == []
    assert len(build("random", 400)) == 400


def test_too_small_a_disk_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=200_000_000))
    with pytest.raises(
        FileError,
        match=r"minari:seqeval/hopper/random-1000000-v0: .*[\d,]+ bytes are needed, 200,000,000 bytes are free",
    ):
        build("random", 1_000_000)
    assert _left(tmp_path) == []
    assert len(build("random", 100)) == 100


def _left(tmp_path: Path) -> list[Path]:
    """Files other than locks."""
    return [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_killed_build_leaves_nothing_that_is_taken_for_whole(minari_root: Path) -> None:
    code = "from seqeval_rl.data.readers import bundled; bundled.build('hopper', 'random', 200_000, workers=2)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    partial = minari_root / "seqeval" / "hopper" / ".random-200000-v0.partial" / "data" / "main_data.hdf5"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 100_000):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    # Its workers notice and end.
    while _alive(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert partial.exists()
    assert minari.list_local_datasets() == {}
    assert cache.entries() == []
    assert len(build("random", 100)) == 100
    assert list(minari.list_local_datasets()) == ["seqeval/hopper/random-100-v0"]


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_processes_build_a_dataset_once(tmp_path: Path) -> None:
    settings = "workers=1, progress=False"
    code = f"from seqeval_rl.data.readers import bundled; print(bundled.build('hopper', 'random', 3000, {settings}).sha256)"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0][0] == answers[1][0] == build("random", 3000).sha256 + "\n"
    assert len(cache.entries()) == 1


def test_a_script_can_load_a_dataset_at_its_top(tmp_path: Path) -> None:
    # With multiprocessing's children, which run the script again, this would never end.
    script = tmp_path / "script.py"
    script.write_text(
        "from seqeval_rl.data.readers import bundled\n"
        "log = bundled.build('hopper', 'random', 200, workers=2, progress=False)\n"
        "print(len(log))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "200\n"


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


def test_a_workers_error_is_raised_here(pool: WorkerPool) -> None:
    with pytest.raises(FileNotFoundError, match="no-such"):
        pool.submit(_chunk("no-such", 0)).result()
    assert len(pool.submit(_chunk(None, 0)).result()) == EPISODES_PER_CHUNK


def test_a_worker_that_dies_is_reported(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])  # with nothing to import, a worker ends at once
    with pytest.raises(SeqevalError, match="a worker process ended with status 1"):
        pool.submit(_chunk(None, 0)).result()


def test_a_worker_answers_until_its_input_ends() -> None:
    requests = io.BytesIO(pickle.dumps(_chunk(None, 0)) + pickle.dumps(_chunk("no-such", 0)))
    answers = io.BytesIO()
    answer_requests(roll_out, requests, answers)
    answers.seek(0)
    episodes, error, _ = pickle.load(answers)
    assert error is None
    assert [e.seed for e in episodes] == [e.seed for e in roll_out(_chunk(None, 0))]
    answer, error, trace = pickle.load(answers)
    assert answer is None
    assert isinstance(error, FileNotFoundError)
    assert "no-such" in trace


def test_two_threads_of_one_process_do_not_mix_their_environments() -> None:
    alone = [WorkerPool(1).submit(_chunk(None, index)).result() for index in range(2)]
    found: dict[int, list[Episode]] = {}

    def work(index: int) -> None:
        found[index] = WorkerPool(1).submit(_chunk(None, index)).result()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        for a, b in zip(found[index], alone[index], strict=True):
            assert_array_equal(a.observations, b.observations)


def test_progress_is_shown_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    build("random", 50)
    assert capsys.readouterr().err == ""
    bundled.build("hopper", "random", 80, workers=1, progress=True)
    assert "minari:seqeval/hopper/random-80-v0" in capsys.readouterr().err
