"""`--fork`: new runs from the checkpoints of runs whose settings, data or code have changed; those runs stay as they are."""

import json
import pickle
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from groups import CPU, found, write_dataset
from synthetic import npz

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task
from seqeval_rl.errors import MismatchError, UsageError
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.scheduler import run_sweep
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import AlgorithmEntry, find_algorithm
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.protocol import Protocol
from seqeval_rl.results import algorithm_names, checkpoint
from seqeval_rl.results.fork import Change, ChangedError
from seqeval_rl.results.manifest import manifest_text
from seqeval_rl.results.read import read_results


def sweep_of(tmp_path, algorithm="bc", length=190, settings=None, seeds=(0,), **protocol):
    """Evaluated at 100, 120, 160 and 190 transitions, without an environment."""
    stream = replace(write_dataset(tmp_path / f"data-{length}.npz", [length - 50, 50], seed=3), name="data")
    entry = find_algorithm(algorithm)
    fields = {"initial": 100, "batch_size": 16, "evaluate_every": 40, "episodes": 0, **protocol}
    chosen = {"hidden": (8, 8), **(settings or {})} if hasattr(entry.algorithm.Config, "hidden") else settings or {}
    return Sweep("forks", (stream,), (entry,), Protocol(**fields), seeds, {entry.name: chosen})


def train(sweep, out, **options):
    return run_sweep(sweep, out, "cpu", "gymnasium", progress=False, **options)


def interrupt(out):
    """Leave what runs leave that are killed before their last evaluation."""
    for run in out.glob("*/*/seed-*"):
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (run / "metrics.jsonl").write_text("".join(lines[:-1]))
        events = (run / "events.jsonl").read_text().splitlines(keepends=True)
        (run / "events.jsonl").write_text("".join(line for line in events if '"finished"' not in line))
        checkpoint.drop_from(run / "checkpoint", len(lines) - 1)


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def fork_in(out):
    """The run of the only fork."""
    (run,) = [run for run in read_results(out) if "fork=" in run.run]
    return run


def test_changed_settings_are_refused_and_a_fork_begins_from_the_checkpoint(tmp_path):
    out, seeds = tmp_path / "out", (0, 1)
    train(sweep_of(tmp_path, seeds=seeds), out)
    interrupt(out)
    before, changed = files(out / "data" / "bc"), sweep_of(tmp_path, settings={"learning_rate": 0.01}, seeds=seeds)
    with pytest.raises(
        MismatchError, match=r"learning_rate = 0.001, asked for 0.01. .*--fork to start new runs from its checkpoint"
    ):
        train(changed, out)
    assert [end.status for end in train(changed, out, fork=True)] == ["finished"] * 2
    assert files(out / "data" / "bc") == before
    forks = [run for run in read_results(out) if "fork=" in run.run]
    assert [run.seed for run in forks] == [0, 1]
    assert len({run.path.parent for run in forks}) == 1
    manifest = forks[1].manifest
    assert manifest["forked_from"] == {
        "evaluation": 2, "transitions": 160, "gradient_steps": 60, "run": "data/bc/seed-1",
        "id": forks[1].path.parent.name.partition("fork=")[2],
        "changed": [{"field": "algorithm.config.learning_rate", "from": 0.001, "to": 0.01}],
    }  # fmt: skip
    # The evaluations up to the checkpoint are those of its source.
    assert forks[1].evaluations[:3] == read_results(out / "data/bc/seed-1")[0].evaluations[:]
    assert [entry["transitions"] for entry in forks[1].evaluations] == [100, 120, 160, 190]
    # The same command resumes, and has nothing left to do; each has a name of its own in figures.
    assert train(changed, out, fork=True) == []
    names = set(algorithm_names(read_results(out)))
    assert names == {
        "bc (fork=none, learning_rate=0.001)", f"bc (fork={manifest['forked_from']['id']}, learning_rate=0.01)"
    }  # fmt: skip
    with pytest.raises(MismatchError):
        train(changed, out)


def test_an_interrupted_fork_is_resumed_and_a_killed_one_begins_again(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    interrupt(out)
    changed = sweep_of(tmp_path, settings={"learning_rate": 0.01})
    train(changed, out, fork=True)
    whole = fork_in(out)
    scores = [entry["metrics"].get("prequential/action_error") for entry in whole.evaluations]
    # Killed after its manifest was written; and at its first evaluation, with a source that has gone on meanwhile.
    for kept in (0, 3):
        lines = (whole.path / "metrics.jsonl").read_text().splitlines(keepends=True)
        (whole.path / "metrics.jsonl").write_text("".join(lines[:kept]))
        (whole.path / "events.jsonl").unlink()
        checkpoint.drop_from(whole.path / "checkpoint", kept)
        if kept:
            train(sweep_of(tmp_path), out)
        (job,) = plan(changed, out, CPU, "gymnasium", progress=False, fork=True).jobs
        assert job.runs[0].directory == whole.path
        assert [end.status for end in train(changed, out, fork=True)] == ["finished"]
        again = fork_in(out)
        assert again.manifest == whole.manifest
        assert [entry["metrics"].get("prequential/action_error") for entry in again.evaluations] == scores


def test_a_fork_of_which_only_the_code_has_changed_computes_what_its_source_would_have(tmp_path, monkeypatch):
    out, sweep = tmp_path / "out", sweep_of(tmp_path, "td3_bc", settings={"normalise_observations": True})
    train(sweep, out)
    whole = found(out)["data/td3_bc/seed-0"]
    interrupt(out)
    before = files(out / "data" / "td3_bc")
    monkeypatch.setattr(AlgorithmEntry, "source_sha256", "0" * 64)
    with pytest.raises(MismatchError, match="start new runs from its checkpoint with --fork"):
        train(sweep, out)
    assert [end.status for end in train(sweep, out, fork=True)] == ["finished"]
    assert files(out / "data" / "td3_bc") == before
    run = fork_in(out)
    assert [change["field"] for change in run.manifest["forked_from"]["changed"]] == ["algorithm_sha256"]
    (panel,) = collect(read_results(out))
    assert [group.label for group in panel.groups] == [f"TD3+BC (fork={run.fork})", "TD3+BC (fork=none)"]
    assert found(out)[run.run] == whole


def test_a_changed_learning_rate_is_not_the_one_in_the_state_of_torchs_optimizers(tmp_path):
    class Fits:  # in no file, so that it runs in this process
        @dataclass(frozen=True)
        class Config:
            rate: float = 0.5
            width: int = 1

        def __init__(self, config, spec):
            self.net = torch.nn.Linear(spec.obs_shape[0], spec.act_dim * config.width)
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=config.rate)

        def update(self, batch):
            return {"actor/rate": torch.tensor(self.optimizer.param_groups[0]["lr"])}

        def act(self, observations, noise):
            return self.net(observations)[..., :3].tanh()

        def state_dict(self):
            return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

        def load_state_dict(self, state):
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])

    out = tmp_path / "out"
    assert [end.message for end in train(sweep_of(tmp_path, Fits), out)] == [""]
    interrupt(out)
    weights = checkpoint.load(out / "data/fits/seed-0/checkpoint", 2)
    train(sweep_of(tmp_path, Fits, settings={"rate": 0.125}), out, fork=True)
    run = fork_in(out)
    assert [entry["metrics"].get("actor/rate") for entry in run.evaluations] == [None, 0.5, 0.5, 0.125]
    (kept,) = checkpoint.load(run.path / "checkpoint", 3)["algorithm"]["__runs__"]
    (source,) = weights["algorithm"]["__runs__"]
    for name, value in source["algorithm"]["net"].items():
        assert torch.equal(kept["algorithm"]["net"][name], value)
    with pytest.raises(
        MismatchError, match=r"--fork expects settings that the checkpoint fits, found one.*size mismatch"
    ):
        train(sweep_of(tmp_path, Fits, settings={"width": 2}), out, fork=True)


def test_statistics_and_reward_scales_are_those_of_the_changed_run(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path, "iql", settings={"normalise_observations": True}), out)
    interrupt(out)
    changed = {"normalise_observations": True, "return_range": 50.0}
    train(sweep_of(tmp_path, "iql", settings=changed), out, fork=True)
    train(sweep_of(tmp_path, "iql", settings=changed), tmp_path / "fresh")
    states = [checkpoint.load(run / "checkpoint", 3) for run in (fork_in(out).path, tmp_path / "fresh/data/iql/seed-0")]
    for name in ("scale", "shift"):
        torch.testing.assert_close(*(state["preprocessing"][name] for state in states))


def test_a_longer_dataset_and_an_online_phase_continue_a_finished_run(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    longer = sweep_of(tmp_path, length=230)
    assert [end.status for end in train(longer, out, fork=True)] == ["finished"]
    run = fork_in(out)
    # Not from the last evaluation, at 190 transitions, where the longer one has none.
    assert run.manifest["forked_from"]["transitions"] == 160
    assert [entry["transitions"] for entry in run.evaluations] == [100, 120, 160, 200, 230]
    assert "dataset.sha256" in [change["field"] for change in run.manifest["forked_from"]["changed"]]
    shutil.rmtree(run.path.parent)
    train(sweep_of(tmp_path, online=20), out, fork=True)
    run = fork_in(out)
    assert [(entry["transitions"], entry["phase"]) for entry in run.evaluations[3:]] == [
        (190, "offline"), (200, "online"), (210, "online")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"settings": {"learning_rate": 0.01}},
            "something left to train, found a checkpoint after the last evaluation",
        ),
        ({"evaluate_every": 30}, "from evaluation 2 on the new ones differ. Keep the protocol's initial"),
        ({"updates_per_increment": 2}, "at 190 transitions and 90 gradient steps; from evaluation 1 on"),
        ({"settings": {"hidden": (8, 16)}, "online": 20}, "expects settings that the checkpoint fits"),
    ],
)
def test_what_cannot_be_forked_is_said_and_nothing_is_written(changed, said, tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    before = files(out)
    with pytest.raises(MismatchError, match=said) as caught:
        train(sweep_of(tmp_path, **changed), out, fork=True)
    assert "--fork expects" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(out) == before


def test_a_dataset_of_other_shapes_cannot_be_forked(tmp_path):
    def sweep(width):
        rng = np.random.default_rng(0)
        path = npz(
            tmp_path / "data.npz", observations=rng.standard_normal((300, width)),
            next_observations=rng.standard_normal((300, width)), actions=rng.uniform(-1, 1, (300, 1)),
        )  # fmt: skip
        stream = StreamSpec("data", (str(path),), Task("none", None, 0.0, 5.0))
        return replace(sweep_of(tmp_path), streams=(stream,))

    out = tmp_path / "out"
    train(sweep(3), out)
    with pytest.raises(MismatchError, match=r"--fork expects the shapes of the checkpoint, dataset.observation_shape"):
        train(sweep(4), out, fork=True)


def test_a_run_in_which_nothing_was_trained_begins_anew_in_the_place_of_a_fork(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    run = out / "data/bc/seed-0"
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().splitlines(keepends=True)[0])
    shutil.rmtree(run / "checkpoint")
    changed = sweep_of(tmp_path, settings={"learning_rate": 0.01})
    assert [end.status for end in train(changed, out, fork=True)] == ["finished"]
    assert "forked_from" not in fork_in(out).manifest
    train(changed, tmp_path / "fresh")
    assert found(out)[fork_in(out).run] == found(tmp_path / "fresh")["data/bc/seed-0"]
    assert train(changed, out) == []  # it is this sweep's run, with or without --fork


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    (out / "data/bc/seed-0/checkpoint/evaluation-000003.pt").write_bytes(b"damaged")
    train(sweep_of(tmp_path, online=20), out, fork=True)
    assert fork_in(out).manifest["forked_from"]["transitions"] == 160


def test_the_refusal_reaches_another_process_as_it_is():
    error = ChangedError("text", [Change("seed", 0, 1)])
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.changes, again.exit_code) == ("text", error.changes, 78)


def test_a_fork_whose_source_is_gone_crashes_alone(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    interrupt(out)
    changed = sweep_of(tmp_path, settings={"learning_rate": 0.01})
    train(changed, out, fork=True)
    run = fork_in(out)
    checkpoint.drop_from(run.path / "checkpoint", 0)
    (run.path / "events.jsonl").unlink()
    checkpoint.drop_from(out / "data/bc/seed-0/checkpoint", 0)
    (end,) = train(changed, out, fork=True)
    assert end.status == "crashed"
    assert "whose checkpoint after evaluation 2 is missing or damaged" in end.message


def test_files_of_a_newer_format_are_refused_and_no_fork_is_offered(tmp_path):
    out = tmp_path / "out"
    train(sweep_of(tmp_path), out)
    path = out / "data/bc/seed-0/manifest.json"
    fields = json.loads(path.read_text())
    del fields["sha256"]
    path.write_text(manifest_text({**fields, "format": 9}))
    for fork in (False, True):
        with pytest.raises(
            MismatchError, match="holds files of format 9, this version of seqeval-rl writes 2"
        ) as caught:
            train(sweep_of(tmp_path), out, fork=fork)
        assert "fork" not in str(caught.value)


def test_a_fork_overwrites_nothing(tmp_path):
    with pytest.raises(UsageError, match="--fork: expected no --overwrite"):
        train(sweep_of(tmp_path), tmp_path / "out", fork=True, overwrite=True)
