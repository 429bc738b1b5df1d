"""A job as a whole: runs that train in one group leave the same files as each one alone."""

import gymnasium
import numpy as np
import pytest
import trouble
from groups import CPU, found, jobs_in, one_group, write_dataset
from synthetic import npz

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import Task
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.experiments.worker import execute
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.read import read_results


@pytest.fixture
def jobs(tmp_path):
    """See `groups.jobs_in`."""
    return jobs_in(tmp_path)


def test_runs_on_streams_of_different_lengths_in_one_group_are_as_alone(jobs, tmp_path):
    reported = []
    ends = execute(one_group(jobs(tmp_path / "together")), 0, reported.append, 1)
    for job in jobs(tmp_path / "alone"):
        execute(job, 0, lambda _: None, 1)
    together, alone = found(tmp_path / "together"), found(tmp_path / "alone")
    assert [end.status for end in ends] == ["finished"] * 3
    assert {run: [e["transitions"] for e in entries] for run, entries in together.items()} == {
        "data-150/bc/seed-0": [100, 120, 150],
        "data-190/bc/seed-0": [100, 120, 160, 190],
        "data-230/bc/seed-0": [100, 120, 160, 200, 230],
    }
    assert together.keys() == alone.keys()
    for run, entries in together.items():
        for one, other in zip(entries, alone[run], strict=True):
            assert one["returns"] == pytest.approx(other["returns"], rel=1e-5)
            assert one["metrics"] == pytest.approx(other["metrics"], rel=1e-5)
            assert (one["transitions"], one["gradient_steps"]) == (other["transitions"], other["gradient_steps"])
    shares = [progress.share for progress in reported]
    assert shares == sorted(shares)
    assert 0.8 < shares[-1] <= 1.0


def test_a_group_continues_with_the_runs_that_are_left(jobs, tmp_path):
    """Interrupted after the shortest run had ended: the others resume."""

    def stop(progress):
        if progress.scores and progress.transitions == 160:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(one_group(jobs(tmp_path / "out")), 0, stop, 1)
    left = jobs(tmp_path / "out")
    assert sorted(run.stream.name for job in left for run in job.runs) == ["data-190", "data-230"]
    ends = execute(one_group(left), 0, lambda _: None, 1)
    assert [end.status for end in ends] == ["finished", "finished"]
    for job in jobs(tmp_path / "alone"):
        execute(job, 0, lambda _: None, 1)
    interrupted, alone = found(tmp_path / "out"), found(tmp_path / "alone")
    for run, entries in interrupted.items():
        assert [e["transitions"] for e in entries] == [e["transitions"] for e in alone[run]]
        assert entries[-1]["metrics"] == pytest.approx(alone[run][-1]["metrics"], rel=1e-5)


def test_a_run_with_damaged_checkpoints_goes_back_without_its_group(jobs, tmp_path):
    def stop(progress):
        if progress.scores and progress.transitions == 160:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        execute(one_group(jobs(out)), 0, stop, 1)
    left = one_group(jobs(out))
    assert len(left.runs) == 2
    for path in (out / "data-190").rglob("*.pt"):
        path.write_bytes(b"damaged")
    kept = (out / "data-230/bc/seed-0/metrics.jsonl").read_text()
    assert kept.count("\n") == 3
    reported = []
    ends = execute(left, 0, reported.append, 1)
    assert [end.status for end in ends] == ["finished", "finished"]
    assert 0.8 < reported[-1].share <= 1.0
    assert (out / "data-230/bc/seed-0/metrics.jsonl").read_text().startswith(kept)  # with its seconds: not done again
    for job in jobs(tmp_path / "alone"):
        execute(job, 0, lambda _: None, 1)
    again, alone = found(out), found(tmp_path / "alone")
    for run, entries in again.items():
        assert [e["transitions"] for e in entries] == [e["transitions"] for e in alone[run]]
        assert entries[-1]["metrics"] == pytest.approx(alone[run][-1]["metrics"], rel=1e-5)


def test_a_sweep_over_settings_seeds_and_logs_is_planned_as_one_group(tmp_path):
    streams = tuple(
        write_dataset(tmp_path / f"data-{length}.npz", [length - 50, 50], seed=length) for length in (150, 190)
    )
    protocol = Protocol(initial=100, batch_size=16, evaluate_every=40, episodes=1)
    sweep = Sweep(
        "sweep", streams, (find_algorithm("td3_bc"),), protocol, (0, 1), {"td3_bc": {"hidden": (16, 16)}},
        {"td3_bc": {"alpha": (1.0, 2.5), "policy_delay": (2, 3)}},
    )  # fmt: skip
    planned = plan(sweep, tmp_path / "out", CPU, "gymnasium", progress=False, room=1e12)
    assert [len(job.runs) for job in planned.jobs] == [8, 8]
    assert str(planned) == "16 runs in 2 run groups (2 x 8 td3_bc)"
    for job in planned.jobs:
        assert len({run.settings["policy_delay"] for run in job.runs}) == 1
    assert [end.status for end in execute(planned.jobs[0], 0, lambda _: None, 1)] == ["finished"] * 8
    again = plan(sweep, tmp_path / "out", CPU, "gymnasium", progress=False, room=1e12)
    assert (again.finished, [len(job.runs) for job in again.jobs]) == (8, [8])
    assert [len(job.runs) for job in plan(sweep, tmp_path / "two", CPU, progress=False).jobs] == [1] * 16


def troubled_job(tmp_path, seeds=(0, 1, 2), name="Trouble", out="out", max_episode_steps=20, protocol=None, **settings):
    """A job of one group, in an environment with trouble (see `trouble.Trouble`), instead of any that was registered before."""
    rng = np.random.default_rng(0)
    path = npz(
        tmp_path / "data.npz", observations=rng.standard_normal((300, 2)), next_observations=rng.standard_normal((300, 2)),
        actions=rng.uniform(-0.3, 0.7, (300, 1)), env_id=trouble.ID,
    )  # fmt: skip
    gymnasium.registry.pop(f"test/{name}-v0", None)
    task = Task("trouble", trouble.register(name, max_episode_steps=max_episode_steps, **settings), 0.0, 5.0)
    fields = {"initial": 50, "batch_size": 16, "evaluate_every": 50, "episodes": 2, **(protocol or {})}
    sweep = Sweep(
        "trouble", (StreamSpec("data", (str(path),), task),), (find_algorithm("bc"),), Protocol(**fields), seeds,
        {"bc": {"hidden": (8, 8)}},
    )  # fmt: skip
    jobs = plan(sweep, tmp_path / out, CPU, "gymnasium", progress=False).jobs
    return one_group(jobs) if jobs else None


def test_an_environment_that_raises_ends_its_run_alone_and_the_same_command_tries_again(tmp_path, registry):
    """The first run meets the trouble at evaluation 4, the second at 2, the third never."""
    reported = []
    ends = execute(troubled_job(tmp_path, at="step", every=13), 0, reported.append, 1)
    statuses = [end.status for end in ends]
    assert statuses == ["crashed", "crashed", "finished"]
    for end, result in zip(ends, read_results(tmp_path / "out"), strict=True):
        if end.status == "finished":
            assert len(result.evaluations) == 6
            continue
        assert "'test/Trouble-v0': ArithmeticError: the pole has fallen (" in end.message
        assert "in evaluation episode" in end.message
        assert (result.status, result.failure, result.crashed) == ("failed", end.message, True)
        assert len(result.evaluations) == {0: 4, 1: 2}[result.seed]
    assert {failure.run for progress in reported for failure in progress.failures} == {
        r for r, status in enumerate(statuses) if status == "crashed"
    }
    job = troubled_job(tmp_path)  # corrected
    assert len(job.runs) == statuses.count("crashed")
    assert [end.status for end in execute(job, 0, lambda _: None, 1)] == ["finished"] * len(job.runs)
    execute(troubled_job(tmp_path, out="sound"), 0, lambda _: None, 1)
    for run, entries in found(tmp_path / "sound").items():
        assert [entry["metrics"] for entry in found(tmp_path / "out")[run]] == [
            pytest.approx(entry["metrics"], rel=1e-5) for entry in entries
        ]


def test_an_environment_that_does_not_open_any_more_ends_its_job_alone(tmp_path, registry):
    job = troubled_job(tmp_path)
    del gymnasium.registry["test/Trouble-v0"]
    ends = execute(job, 0, lambda _: None, 1)
    assert [end.status for end in ends] == ["crashed"] * 3
    assert "'trouble:test/Trouble-v0': unknown to gymnasium" in ends[0].message


@pytest.mark.parametrize(("limit", "expected"), [(None, 1000), (7, 7)])
def test_an_environment_without_a_time_limit_is_cut_and_planning_says_so(tmp_path, registry, caplog, limit, expected):
    job = troubled_job(
        tmp_path,
        (0,),
        "Endless",
        max_episode_steps=None,
        length=-1,
        protocol={"max_episode_steps": limit, "evaluate_every": 0.9},
    )
    warned = (
        "environment 'trouble:test/Endless-v0': has no time limit; its episodes are cut after 1000 environment steps"
    )
    assert (warned in caplog.text) == (limit is None)
    execute(job, 0, lambda _: None, 1)
    (result,) = read_results(tmp_path / "out")
    assert result.status == "finished"
    assert {length for entry in result.evaluations for length in entry["lengths"]} == {expected}
