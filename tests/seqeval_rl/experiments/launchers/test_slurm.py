"""A sweep as an array job of a SLURM cluster on this machine; limits of time; what is told where it does not work."""

import importlib.util
import subprocess

import pytest
import slurm_cluster
from sweeps import left, same, sweep_of

from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.launchers import LaunchOptions, slurm
from seqeval_rl.experiments.launchers.slurm import SlurmLauncher, minutes
from seqeval_rl.experiments.scheduler import run_sweep
from seqeval_rl.results import slurm_job

submitit = importlib.util.find_spec("submitit") is not None
MISSING = slurm_cluster.missing() if submitit else "submitit is not installed (extra slurm)"


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_24_runs_are_done_by_an_array_of_which_a_task_is_queued_again(tmp_path, monkeypatch, capsys):
    sweep = sweep_of(tmp_path, seeds=6)
    run_sweep(sweep, tmp_path / "whole", "cpu", "gymnasium", progress=False)
    out = tmp_path / "out"
    requeued = []

    def described(path):
        """Also queues one running task again, as SLURM does when it is preempted."""
        text = slurm_job.described(path)
        if "running" in text and not requeued:
            requeued.append(f"{slurm_job.submitted(path)}_0")
            subprocess.run(["scontrol", "requeue", requeued[0]], check=True)
        return text

    monkeypatch.setattr(slurm, "described", described)
    with slurm_cluster.cluster(tmp_path / "slurm") as conf:
        monkeypatch.setenv("SLURM_CONF", str(conf))
        ends = run_sweep(sweep, out, "cpu", "gymnasium", launcher="slurm", options=LaunchOptions(time="10"))
        assert [end.status for end in ends] == ["finished"] * 24
        assert requeued
        assert "24 tasks for 24 runs" in capsys.readouterr().err
        assert slurm_job.described(out) == ""
        again = run_sweep(sweep, out, "cpu", "gymnasium", launcher="slurm")
    assert again == []
    assert left(sweep, out) == 0
    assert same(tmp_path / "whole", out)
    assert not list(out.rglob("*.pkl"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", 1440), ("90", 90), ("30:00", 30), ("30:01", 31), ("12:30:00", 750), ("2-0", 2880), ("1-2:30", 1590),
        ("1-00:00:01", 1441),
    ],
)  # fmt: skip
def test_limits_of_time_are_read_as_slurm_reads_them(text, found):
    assert minutes(text) == found


@pytest.mark.parametrize("text", ["1", "0:30", "x", "1:2:3:4", "-5", "1-", "1--2", "10m", "1.5"])
def test_other_limits_are_refused(text):
    with pytest.raises(UsageError, match=f"--time {text}: expected a limit as"):
        minutes(text)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("seqeval_rl.experiments.launchers.launcher.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"submitit is not installed. Install it: pip install 'seqeval-rl\[slurm\]'"):
        SlurmLauncher(LaunchOptions())
    monkeypatch.setattr("seqeval_rl.experiments.launchers.launcher.find_spec", lambda name: name)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UsageError, match=r"expected the command squeue, found none"):
        SlurmLauncher(LaunchOptions())


def fake_squeue(folder, monkeypatch, text):
    path = folder / "bin" / "squeue"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent), prepend=":")


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("printf 'RUNNING (None)\\nPENDING (Resources)\\nRUNNING (None)\\n'", "SLURM job 7: 2 running, 1 pending (Resources)"),
        ("true", ""),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", ""),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", "unknown state (Unable to contact slurm controller)"),
    ],
)  # fmt: skip
def test_status_shows_the_tasks_of_the_array(script, shown, tmp_path, monkeypatch):
    fake_squeue(tmp_path, monkeypatch, script)
    assert slurm_job.described(tmp_path) == ""
    slurm_job.remember(tmp_path, "7")
    assert shown in slurm_job.described(tmp_path)
    assert bool(shown) == bool(slurm_job.described(tmp_path))
