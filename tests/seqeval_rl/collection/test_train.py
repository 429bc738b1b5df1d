"""Behavior policies that are trained: a run like any other, whose policies and replay become the datasets of D4RL's levels."""

import json
import shutil
from pathlib import Path

import minari
import numpy as np
import pytest
import torch
from synthetic import assert_one_line

from seqeval_rl import load_dataset
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.collection import train as train_module
from seqeval_rl.collection.levels import (
    LEVELS,
    collect_levels,
    expert,
    identities,
    medium,
    plan,
    records,
    save_policies,
)
from seqeval_rl.collection.train import Training, train
from seqeval_rl.data.readers import bundled
from seqeval_rl.data.rollouts import BehaviorPolicy
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import DataError, MismatchError, SeqevalError, UsageError
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results import checkpoint
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import identity

TASK = Task("pendulum", "InvertedPendulum-v5", 0.0, 20.0)
PROTOCOL = Protocol(initial=100, online=420, evaluate_every=60, episodes=2, batch_size=16)
CPU = torch.device("cpu")


def training(directory, seed=0, task=TASK, protocol=PROTOCOL, **settings):
    entry = find_algorithm("sac")
    config = entry.configure({"hidden": (16, 16), "learning_rate": 3e-3, **settings}, "test")
    return Training(directory, task, entry, config, protocol, seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished training, to be read only."""
    one = training(tmp_path_factory.mktemp("trained") / "seed-0")
    train(one, CPU, progress=False)
    return one


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.chdir(tmp_path)


def load(level):
    return load_dataset(f"minari:mine/{level}-v0", progress=False)


def test_a_training_is_a_run_like_any_other(trained):
    (run,) = read_results(trained.directory)
    assert (run.status, run.algorithm, run.seed) == ("finished", "sac", 0)
    assert run.manifest["dataset"]["transitions"] == 0
    assert run.manifest["dataset"]["blocks"] == []
    assert "haarnoja2018applications" in run.manifest["citation"]
    # Recorded, but no part of what makes it this run.
    assert identity(run.manifest | {"citation": None}) == identity(run.manifest)
    assert run.manifest["protocol"]["online"] == 420
    seen, scores = trained.scores()
    assert seen.tolist() == [100, 120, 180, 240, 300, 360, 420]
    assert len(run.evaluations) == run.manifest["evaluations_expected"] == 7
    assert {entry["phase"] for entry in run.evaluations} == {"online"}
    # The policies that levels may be made of are there, and no other.
    kept = sorted(int(path.name) for path in (trained.directory / "policies").iterdir())
    assert kept == records(scores.tolist())
    for index in kept:
        actions = trained.policy(index).act(np.zeros((8, 4), np.float32), np.zeros((8, 1), np.float32))
        assert actions.shape == (8, 1)
        assert np.abs(actions).max() <= 1


def test_every_level_becomes_a_dataset(trained):
    datasets = collect_levels(trained, "mine/{level}-v0", 300, progress=False)
    assert [dataset.identity for dataset in datasets] == list(identities("mine/{level}-v0").values())
    assert sorted(minari.list_local_datasets()) == sorted(f"mine/{level}-v0" for level in LEVELS)
    seen, scores = trained.scores()
    middle, best = medium(scores.tolist()), expert(scores.tolist())
    sizes = {level: len(load(level)) for level in LEVELS}
    assert sizes == dict.fromkeys(LEVELS, 300) | {"medium-replay": seen[middle]}
    assert all(load(level).task.env_id == "InvertedPendulum-v5" for level in LEVELS)
    told = {level: minari.list_local_datasets()[f"mine/{level}-v0"]["description"] for level in LEVELS}
    assert f"after {seen[middle]:,} transitions" in told["medium"]
    assert f"after {seen[best]:,} transitions" in told["expert"]
    # Both halves are the beginnings of the two logs.
    both, first, second = load("medium-expert"), load("medium"), load("expert")
    np.testing.assert_array_equal(both.actions[:150], first.actions[:150])
    np.testing.assert_array_equal(both.actions[150:], second.actions[:150])
    assert np.abs(load("random").actions).mean() == pytest.approx(0.5, abs=0.1)


def test_the_replay_is_what_was_gathered_in_order(trained):
    collect_levels(trained, "mine/{level}-v0", 50, progress=False)
    dataset = load("medium-replay")
    rows, ends, terminals = trained.replay(len(dataset))
    np.testing.assert_allclose(dataset.rows, rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dataset.terminations, terminals)
    np.testing.assert_array_equal(np.flatnonzero(ends) + 1, dataset.episode_starts[1:][: ends.sum()])


def test_an_interrupted_training_ends_as_if_it_had_not_been(trained, tmp_path, monkeypatch):
    one = training(tmp_path / "seed-0")
    keep = Training.keep

    def interrupt(self, outcome, scores):
        if outcome.point.index == 4:
            raise KeyboardInterrupt
        keep(self, outcome, scores)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(one, CPU, progress=False)
    assert len(one.scores()[0]) == 4
    train(one, CPU, progress=False)
    for mine, theirs in zip(one.scores(), trained.scores(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(one.replay(420), trained.replay(420), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    observations, noise = np.ones((8, 4), np.float32), np.ones((8, 1), np.float32)
    for index in records(trained.scores()[1].tolist()):
        np.testing.assert_array_equal(
            one.policy(index).act(observations, noise), trained.policy(index).act(observations, noise)
        )


def test_datasets_appear_together_or_not_at_all(trained, monkeypatch):
    calls = iter(range(3))

    def interrupted(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return original(*args)

    from seqeval_rl.collection import levels
    from seqeval_rl.collection.collect import play

    original = play
    with monkeypatch.context() as patch:
        patch.setattr(levels, "play", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collect_levels(trained, "mine/{level}-v0", 60, progress=False)
    assert minari.list_local_datasets() == {}
    assert len(collect_levels(trained, "mine/{level}-v0", 60, progress=False)) == 5
    with pytest.raises(MismatchError, match="mine/random-v0: is there already"):
        collect_levels(trained, "mine/{level}-v0", 60, progress=False)


def test_what_is_finished_is_not_trained_again_and_other_settings_are_refused(trained, tmp_path, monkeypatch):
    shutil.copytree(trained.directory, tmp_path / "seed-0")
    before = (tmp_path / "seed-0" / "metrics.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "Trainer", None)
        train(training(tmp_path / "seed-0"), CPU, overwrite=True, progress=False)
    assert (tmp_path / "seed-0" / "metrics.jsonl").read_bytes() == before
    other = training(tmp_path / "seed-0", protocol=PROTOCOL.model_copy(update={"online": 180}), discount=0.9)
    with pytest.raises(MismatchError, match="discount"):
        train(other, CPU, progress=False)
    train(other, CPU, overwrite=True, progress=False)
    assert other.scores()[0].tolist() == [100, 120, 180]


def test_policies_are_saved_as_the_bundled_ones_are(trained, tmp_path):
    (tmp_path / "levels.json").write_text(json.dumps({"hopper": {"env_id": "Hopper-v5"}}))
    paths = save_policies(trained, tmp_path)
    told = json.loads((tmp_path / "levels.json").read_text())
    assert told["hopper"] == {"env_id": "Hopper-v5"}
    found, example = told["pendulum"], bundled.behaviors()["hopper"]
    assert found.keys() == example.keys()
    assert found["env_id"] == "InvertedPendulum-v5"
    seen, scores = trained.scores()
    assert found["medium"] == [f"{seen[medium(scores.tolist())]:07d}"]
    assert found["expert"] == [f"{seen[expert(scores.tolist())]:07d}"]
    assert found["replay"] == sorted(found["replay"])
    assert {*found["medium"], *found["expert"]} <= {*found["replay"]}
    assert found["returns"].keys() == {*found["replay"], "random"}
    # Every reward is 1 while the pole stands and 0 when it falls: an episode returns one less than its length.
    for mean, _, length in found["returns"].values():
        assert mean == pytest.approx(length - 1, abs=0.51)
    assert sorted(path.name for path in paths) == sorted([*(f"{name}.npz" for name in found["replay"]), "levels.json"])
    rng = np.random.default_rng(0)
    observations, noise = rng.normal(size=(8, 4)), rng.normal(size=(8, 1))
    np.testing.assert_allclose(
        BehaviorPolicy("pendulum", found["expert"][0], tmp_path).act(observations, noise),
        trained.policy(expert(scores.tolist())).act(observations.astype(np.float32), noise.astype(np.float32)),
        atol=5e-3,
    )


def test_a_training_that_learned_nothing_has_no_levels(tmp_path):
    protocol = PROTOCOL.model_copy(update={"online": 180})
    hopeless = training(
        tmp_path / "seed-0", task=Task("pendulum", "InvertedPendulum-v5", 900.0, 1000.0), protocol=protocol
    )
    train(hopeless, CPU, progress=False)
    assert hopeless.scores()[1].max() < 0
    for make in (collect_levels, save_policies):
        with pytest.raises(DataError, match="better than score 0"):
            make(hopeless, *(("mine/{level}-v0", 50) if make is collect_levels else (tmp_path / "policies",)))
    assert minari.list_local_datasets() == {}
    assert not (tmp_path / "policies").exists()


def test_a_training_that_diverges_says_so(tmp_path):
    protocol = PROTOCOL.model_copy(update={"divergence_limit": 1e-9})
    with pytest.raises(SeqevalError, match="exploding Q value"):
        train(training(tmp_path / "seed-0", protocol=protocol), CPU, progress=False)
    assert read_results(tmp_path / "seed-0")[0].status == "failed"


def test_lost_policies_are_named(trained, tmp_path):
    shutil.copytree(trained.directory, tmp_path / "seed-0")
    shutil.rmtree(tmp_path / "seed-0" / "policies")
    with pytest.raises(SeqevalError, match="expected the policy of evaluation 0, found none"):
        training(tmp_path / "seed-0").state(0)


def test_ids_have_a_place_for_the_level():
    assert identities("a/{level}-v3")["medium-expert"] == "a/medium-expert-v3"
    with pytest.raises(UsageError, match=r"expected \{level\} where the level goes"):
        identities("a/medium-v3")


SMALL = [
    "--online", "240", "--transitions", "80", "--set", "sac.hidden=[16,16]", "--set", "protocol.initial=100",
    "--set", "protocol.evaluate_every=60", "--set", "protocol.episodes=1", "--set", "protocol.batch_size=16",
]  # fmt: skip
TRAIN = ["datasets", "collect", "--train", "sac", "--id", "mine/{level}-v0", *SMALL]


def test_the_command_trains_writes_levels_and_policies(tmp_path, capsys):
    command = [*TRAIN, "--task", "InvertedPendulum-v5", "--reference", "0,1000", "--policies", "policies"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    for level in LEVELS:
        assert f"minari:mine/{level}-v0" in shown
    assert "levels.json" in shown
    run = Path("results/collect/InvertedPendulum-v5/sac/seed-0")
    assert read_results(run)[0].status == "finished"
    assert main(command) == 78
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert main(["datasets", "collect", str(run), "--id", "mine/newest-v0", "--transitions", "40"]) == 0
    assert len(load("newest")) == 40


PENDULUM = ["--task", "InvertedPendulum-v5", "--reference", "0,1000"]
BAD = [
    ([*PENDULUM, "--id", "mine/medium-v0"], 2, ["{level}"]),
    ([], 2, ["expected a task"]),
    (["--task", "hoper"], 2, ["hopper"]),
    (["--task", "InvertedPendulum-v5"], 2, ["--reference-returns MIN,MAX"]),
    (["--task", "InvertedPendulum-v5", "--reference-returns", "0"], 2, ["--reference-returns '0'", "0,100"]),
    (["--task", "InvertedPendulum-v5", "--reference", "5,1"], 2, ["--reference-returns '5,1'", "MIN < MAX"]),
    (["--task", "Hoper-v5", "--reference", "0,1"], 69, ["Hoper-v5"]),
    ([*PENDULUM, "--set", "cql.hidden=[8]"], 2, ["cql", "sac"]),
    ([*PENDULUM, "--set", "sac.discount=0.9,0.99"], 2, ["one value", "found 2"]),
    ([*PENDULUM, "--set", "sac.lr=1"], 2, ["lr", "learning_rate"]),
    ([*PENDULUM, "--set", "protocol.online=9"], 2, ["--online"]),
    ([*PENDULUM, "--online", "50"], 65, ["initial = 100", "found 50"]),
    ([*PENDULUM, "--train", "sacc"], 2, ["sacc", "did you mean sac"]),
    ([*PENDULUM, "--greedy"], 2, ["--greedy", "--train"]),
]


@pytest.mark.parametrize(
    ("options", "code", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else None
)
def test_what_is_wrong_is_said_before_any_training(options, code, words, tmp_path, capsys):
    assert main([*TRAIN, *options]) == code
    assert_one_line(capsys, words, tmp_path)
    assert minari.list_local_datasets() == {}


def test_checkpoints_of_a_training_hold_what_it_gathered_once(trained):
    """The kept policies are small: they hold no transitions."""
    for index in records(trained.scores()[1].tolist()):
        assert trained.state(index).keys() == {"algorithm", "preprocessing"}
    newest = checkpoint.available(trained.directory / "checkpoint")[-1]
    assert newest == len(trained.scores()[0]) - 1
    assert list(plan(trained, "{level}-v0", 10)) == list(LEVELS)
