"""Datasets collected with policies: shorter ones are prefixes of longer ones; written atomically as Minari datasets."""

import itertools
import subprocess
import sys

import gymnasium
import minari
import numpy as np
import pytest
import torch
import trouble
from hypothesis import given, strategies as st

from seqeval_rl import load_dataset
from seqeval_rl.collection.collect import Behavior, check_new, play, play_bundled, uniform_behavior, write_dataset
from seqeval_rl.collection.levels import behavior_arrays, write_behavior
from seqeval_rl.collection.policy import Policy
from seqeval_rl.data.episodes import Episode, cut_to, episodes_of
from seqeval_rl.data.minari_writer import NewDataset
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.rollouts import BehaviorPolicy
from seqeval_rl.environments.tasks import TASKS, Task
from seqeval_rl.errors import DataError, MismatchError, RunError, UsageError
from seqeval_rl.interface.registry import find_algorithm

HOPPER = TASKS["hopper"]
PENDULUM = Task("pendulum", "Pendulum-v1", -1500.0, -150.0)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def minari_root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "minari"


def write(identity, episodes, transitions, **options):
    new = NewDataset(identity, HOPPER, transitions, "made", "made for a test")
    write_dataset(new, episodes, progress=False, **options)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_episodes_do_not_depend_on_how_many_are_played_nor_by_how_many_processes(monkeypatch):
    behavior = uniform_behavior(HOPPER)
    few, many = list(play(behavior, 3, 100)), list(play(behavior, 3, 400))
    assert sum(len(episode.rewards) for episode in many[:-1]) < 400 <= sum(len(episode.rewards) for episode in many)
    assert all(same(a, b) for a, b in zip(few, many, strict=False))
    monkeypatch.setattr("seqeval_rl.collection.collect._WORTH_WORKERS", 0)
    monkeypatch.setattr("seqeval_rl.collection.collect.available_cores", lambda: 2)
    assert all(same(a, b) for a, b in zip(many, play(behavior, 3, 400), strict=True))
    others = list(play(behavior, 4, 100))
    starts = [episode.observations[0] for episode in (*many, *others)]
    assert len(np.unique(np.stack(starts), axis=0)) == len(starts)


def test_an_environment_that_raises_is_an_error_and_episodes_have_a_time_limit(registry, caplog):
    raises = Task("trouble", trouble.register(at="step"), 0.0, 5.0)
    with pytest.raises(
        RunError, match=r"'test/Trouble-v0': ArithmeticError: the pole has fallen \(.*trouble\.py, line"
    ):
        list(play(uniform_behavior(raises), 0, 10))
    assert not caplog.text
    endless = Task("endless", trouble.register("Endless2", max_episode_steps=None, length=-1), 0.0, 5.0)
    assert [len(episode.rewards) for episode in play(uniform_behavior(endless), 0, 10, max_episode_steps=7)] == [7, 7]
    assert not caplog.text
    assert [len(episode.rewards) for episode in play(uniform_behavior(endless), 0, 10)] == [1000]
    assert "has no time limit; its episodes are cut after 1000 environment steps" in caplog.text


@pytest.mark.parametrize("task", [PENDULUM, HOPPER], ids=lambda task: task.name)
def test_what_is_logged_is_what_happened(task):
    """Played again in a plain environment, the logged actions lead to the logged observations and rewards."""
    environment = gymnasium.make(task.env_id)
    high = environment.action_space.high
    for episode in itertools.islice(play(uniform_behavior(task), 0, 400), 3):
        observation, _ = environment.reset(seed=episode.seed)
        assert 0.5 * high[0] < np.abs(episode.actions).max() <= high[0]  # in the environment's units
        np.testing.assert_array_equal(observation, episode.observations[0])
        for action, reward, expected in zip(episode.actions, episode.rewards, episode.observations[1:], strict=True):
            observation, found, terminated, truncated, _ = environment.step(action)
            np.testing.assert_array_equal(observation, expected)
            assert found == reward
        assert terminated == episode.terminated
        assert terminated or truncated
    environment.close()


def test_a_policy_that_has_diverged_is_refused():
    broken = Behavior(HOPPER, lambda observations, noise: np.full_like(noise, np.nan), "broken", "broken")
    with pytest.raises(DataError, match=r"broken: expected finite actions.*time index 0"):
        next(play(broken, 0, 10))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 60))
def test_cutting_keeps_the_first_transitions(lengths, size):
    made, start = [], 0
    for length in lengths:
        numbers = np.arange(start, start + length + 1, dtype=np.float64)[:, None]
        made.append(Episode(0, numbers, numbers[:-1].astype(np.float32), numbers[:-1, 0], True))
        start += length
    cut = list(cut_to(made, size))
    rewards = np.concatenate([episode.rewards for episode in cut])
    assert rewards.tolist() == list(range(min(size, start)))
    assert all(len(episode.observations) == len(episode.rewards) + 1 for episode in cut)
    assert all(episode.terminated for episode in cut[:-1])
    assert cut[-1].terminated == (size >= start or size in np.cumsum(lengths))


def test_a_dataset_is_an_ordinary_minari_dataset_of_that_size():
    write("mine/hopper/random-v0", play(uniform_behavior(HOPPER), 0, 300), 300)
    found = minari.load_dataset("mine/hopper/random-v0")
    assert found.total_steps == 300
    assert minari.list_local_datasets()["mine/hopper/random-v0"]["algorithm_name"] == "made"
    dataset = load_dataset("minari:mine/hopper/random-v0", progress=False)
    assert len(dataset) == 300
    assert dataset.task == HOPPER
    assert dataset.cut


def test_seed_0_of_the_bundled_policies_gives_the_bundled_dataset():
    write("mine/copy-v0", play_bundled(HOPPER, "random", 0, 200), 200)
    write("mine/other-v0", play_bundled(HOPPER, "random", 1, 200), 200)
    own = bundled.build("hopper", "random", 200, progress=False)
    assert load_dataset("minari:mine/copy-v0", progress=False).sha256 == own.sha256
    assert load_dataset("minari:mine/other-v0", progress=False).sha256 != own.sha256


def test_a_small_replay_dataset_goes_through_all_checkpoints():
    drifting = list(play_bundled(HOPPER, "replay", 0, 3000))
    assert sum(len(episode.rewards) for episode in drifting) == 3000
    starts = np.cumsum([len(episode.rewards) for episode in drifting])
    early = [episode.rewards.sum() for episode, stop in zip(drifting, starts, strict=True) if stop < 500]
    late = [episode.rewards.sum() for episode, stop in zip(drifting, starts, strict=True) if stop > 2500]
    assert np.mean(late) > 10 * np.mean(early)


def test_an_id_that_is_there_is_refused_unless_it_is_to_be_overwritten():
    write("mine/log-v0", play(uniform_behavior(HOPPER), 0, 50), 50)
    with pytest.raises(MismatchError, match=r"minari:mine/log-v0: is there already.*--overwrite"):
        write("mine/log-v0", play(uniform_behavior(HOPPER), 0, 70), 70)
    assert minari.load_dataset("mine/log-v0").total_steps == 50
    write("mine/log-v0", play(uniform_behavior(HOPPER), 0, 70), 70, overwrite=True)
    assert minari.load_dataset("mine/log-v0").total_steps == 70
    assert len(load_dataset("minari:mine/log-v0", progress=False)) == 70


@pytest.mark.parametrize("there", [False, True])
def test_an_interrupted_dataset_leaves_what_was_there(there, minari_root):
    def interrupted():
        yield from itertools.islice(play(uniform_behavior(HOPPER), 0, 50), 2)
        raise KeyboardInterrupt

    if there:
        write("mine/log-v0", play(uniform_behavior(HOPPER), 0, 50), 50)
    with pytest.raises(KeyboardInterrupt):
        write("mine/log-v0", interrupted(), 1000, overwrite=True)
    assert list(minari.list_local_datasets()) == (["mine/log-v0"] if there else [])
    files = [path for path in minari_root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert any(path.name == "main_data.hdf5" for path in files) == there
    assert not any(part.endswith((".partial", ".old")) for path in files for part in path.parts)
    if there:
        assert minari.load_dataset("mine/log-v0").total_steps == 50


LIMITED = """
import resource, sys
from seqeval_rl.collection.collect import play, uniform_behavior, write_dataset
from seqeval_rl.data.minari_writer import NewDataset
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.errors import FileError
NewDataset.bytes = 0.0  # the estimate is wrong
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
try:
    new = NewDataset("mine/log-v0", TASKS["hopper"], 400, "made", "made for a test")
    write_dataset(new, play(uniform_behavior(TASKS["hopper"]), 0, 400), progress=False)
except FileError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_a_limit_of_file_sizes_that_hdf5_meets_is_named(limit, minari_root):
    """The smaller one is met by the metadata or when the file is created, the other in its middle; HDF5 crashes at both."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(limit)], capture_output=True, text=True, check=False)
    assert done.returncode == 74, done.stderr
    assert "minari:mine/log-v0: cannot be read or written" in done.stdout
    assert str(minari_root) in done.stdout
    assert f"files may have {limit:,} bytes (ulimit -f)" in done.stdout
    assert done.stdout.count("\n") == 1
    assert [path for path in minari_root.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_dataset_that_was_taken_away_by_a_killed_process_comes_back(minari_root):
    """Killed between the two renames of --overwrite."""
    write("mine/log-v0", play(uniform_behavior(HOPPER), 0, 50), 50)
    (minari_root / "mine" / "log-v0").rename(minari_root / "mine" / ".log-v0.old")

    def broken():
        raise FloatingPointError
        yield

    with pytest.raises(FloatingPointError):
        write("mine/log-v0", broken(), 70, overwrite=True)
    assert minari.load_dataset("mine/log-v0").total_steps == 50


@pytest.mark.parametrize("identity", ["mine/hopper", "hopper medium-v0", "-v0", ""])
def test_ids_that_are_none_are_refused(identity):
    with pytest.raises(UsageError, match="--id"):
        check_new(identity, False)


def test_rows_of_a_replay_become_the_episodes_they_came_from():
    episodes = list(cut_to(play(uniform_behavior(PENDULUM), 0, 500), 500))
    rows = np.concatenate(
        [
            np.concatenate(
                [
                    e.observations[:-1], e.actions / 2, e.rewards[:, None], np.ones((len(e.rewards), 1)), e.observations[1:],
                ],
                1,
            )
            for e in episodes
        ]
    ).astype(np.float32)  # fmt: skip
    ends = np.zeros(500, bool)
    ends[[199, 399]] = True
    found = list(episodes_of(rows, ends, np.zeros(500, bool), PENDULUM, iter(range(5))))
    assert [len(episode.rewards) for episode in found] == [200, 200, 100]
    assert [episode.seed for episode in found] == [0, 1, 2]
    for mine, theirs in zip(found, episodes, strict=True):
        for name in ("observations", "actions", "rewards"):
            np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-6, atol=1e-6)


def state_of(algorithm, normalise, **settings):
    """A run's state as the loop saves it, with made weights and statistics, and its entry and config."""
    from seqeval_rl.interface.algorithm import Spec

    entry = find_algorithm(algorithm)
    config = entry.configure({"normalise_observations": normalise, **settings}, "test")
    stack = entry.build(config, Spec((11,), 3, (5,), CPU))
    rng = np.random.default_rng(0)
    scale, shift = np.ones((1, 1, 27)), np.zeros((1, 1, 27))
    if normalise:
        scale[..., :11], shift[..., :11] = rng.uniform(0.5, 2, 11), rng.normal(size=11)
    preprocessing = {"moments": {}, "scale": torch.from_numpy(scale), "shift": torch.from_numpy(shift)}
    return entry, config, stack, {"algorithm": stack.state_dict(), "preprocessing": preprocessing}


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("algorithm", ["sac", "td3_bc"])
def test_a_checkpoint_acts_as_the_run_did(algorithm, normalise):
    entry, config, stack, state = state_of(algorithm, normalise, hidden=(16, 16))
    rng = np.random.default_rng(1)
    observations, noise = (rng.normal(size=(8, n)).astype(np.float32) for n in (11, 3))
    scale, shift = (state["preprocessing"][name][0, 0, :11].numpy() for name in ("scale", "shift"))
    seen = torch.from_numpy((observations * scale + shift).astype(np.float32))[None]
    for explore in (False, True):
        expected = stack.act(seen, torch.from_numpy(noise)[None] if explore else None)[0]
        found = Policy(entry, config, HOPPER, state, 5).act(observations, noise if explore else None)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_other_settings_is_refused():
    entry, _, _, state = state_of("sac", False, hidden=(16, 16))
    with pytest.raises(DataError, match="checkpoint of sac: expected its state for Hopper-v5"):
        Policy(entry, entry.configure({"hidden": (8,)}, "test"), HOPPER, state, 5)
    with pytest.raises(DataError, match="checkpoint of sac"):
        Policy(entry, entry.configure({"hidden": (16, 16)}, "test"), TASKS["halfcheetah"], state, 5)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("hidden", [(256, 256), (100, 30)])
def test_the_behavior_format_holds_the_same_policy(normalise, hidden, tmp_path):
    entry, config, _, state = state_of("sac", normalise, hidden=hidden)
    write_behavior(tmp_path / "hopper" / "0001000.npz", behavior_arrays(state, 11))
    assert [path.name for path in (tmp_path / "hopper").iterdir()] == ["0001000.npz"]
    with np.load(tmp_path / "hopper" / "0001000.npz") as arrays:
        assert {key: (arrays[key].dtype, arrays[key].shape) for key in arrays} == {
            key: (np.float16, shape)
            for key, shape in {
                "w0": (11, hidden[0]), "b0": (1, hidden[0]), "w1": hidden, "b1": (1, hidden[1]),
                "w2": (hidden[1], 6), "b2": (1, 6),
            }.items()
        }  # fmt: skip
    rng = np.random.default_rng(1)
    observations, noise = rng.normal(size=(8, 11)), rng.normal(size=(8, 3))
    found = BehaviorPolicy("hopper", "0001000", tmp_path).act(observations, noise)
    policy = Policy(entry, config, HOPPER, state, 5)
    expected = policy.act(observations.astype(np.float32), noise.astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=5e-3)  # of float16


def test_only_a_tanh_gaussian_of_two_layers_has_that_format():
    for algorithm, settings in (("cql", {"hidden": (16, 16)}), ("sac", {"hidden": (16,)})):
        state = state_of(algorithm, False, **settings)[3]
        with pytest.raises(DataError, match="expected an actor of two hidden layers"):
            behavior_arrays(state, 11)
    state = state_of("sac", False, hidden=(16, 16))[3]
    state["algorithm"]["actor"]["net.weights.0"].mul_(1e6)
    with pytest.raises(DataError, match="float16"):
        behavior_arrays(state, 11)
