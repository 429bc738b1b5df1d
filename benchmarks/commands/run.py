"""`seqeval run`, and the Python function of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqeval_rl.api import EvaluationResults, read_results
from seqeval_rl.benchmarks.arguments.parsing import Several, numbers, parse_setting, words
from seqeval_rl.benchmarks.arguments.run import Run
from seqeval_rl.benchmarks.commands import results
from seqeval_rl.benchmarks.suite import build_sweep, read_suite, suite_names
from seqeval_rl.data.stream import given_reading
from seqeval_rl.environments.patience import Patience
from seqeval_rl.errors import UsageError
from seqeval_rl.experiments.launchers import LaunchOptions
from seqeval_rl.experiments.scheduler import raise_crashed, raise_diverged, run_sweep
from seqeval_rl.experiments.sweep import Shard
from seqeval_rl.training.device import Precision
from seqeval_rl.utils.console import say

if TYPE_CHECKING:
    from seqeval_rl.environments.tasks import Bound, Task

_NAMED = 3  # failed runs of which the command's output gives the reason


def run(
    suite: str,
    *,
    out: str | Path | None = None,
    algorithms: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    sweep: Mapping[str, Mapping[str, Sequence[Any]]] | None = None,
    device: str = "auto",
    environments: str = "auto",
    precision: Precision = "float32",
    loggers: Sequence[str] | None = None,
    shard: str = "1/1",
    launcher: str = "local",
    address: str = "",
    partition: str = "",
    time: str = "",
    mini: bool = False,
    paper: bool = False,
    allow_changed_code: bool = False,
    fork: bool = False,
    retry_failed: bool = False,
    step_timeout: float = 300.0,
    episode_timeout: float = 3600.0,
    update_timeout: float = 3600.0,
    overwrite: bool = False,
    progress: bool = True,
    task: Task | str | None = None,
    reference_returns: tuple[float, float] | None = None,
    action_low: Bound = None,
    action_high: Bound = None,
    clip_actions: bool = False,
    trust_environments: Sequence[str] = (),
) -> EvaluationResults:
    """Run a suite as `seqeval run` does. Call it below `if __name__ == "__main__":` in a script.

    Args:
        suite: name of a suite, or path of a `.toml` file.
        out: results directory; None: `results/SUITE`. Finished runs in it are not run again, interrupted ones are resumed.
        algorithms: in place of the suite's, see `build_sweep`.
        datasets: in place of the suite's, see `build_sweep`.
        seeds: in place of the suite's.
        loggers: in place of the suite's.
        settings: by algorithm (or `"protocol"`), settings in place of the suite's.
        sweep: by algorithm (or `"protocol"`), several values for a setting; every combination is run.
        device: `"auto"`, `"cpu"`, `"cuda"` (every visible device), `"cuda:1"` or `"cuda:0,2"`.
        environments: what steps them: `"auto"`, `"envpool"` or `"gymnasium"`.
        precision: of matrix products: `"float32"`, `"tf32"` or `"bfloat16"`.
        shard: `"K/N"`: only the K-th of N parts of the runs, which do not overlap.
        launcher: where to train: `"local"`, `"ray"`, `"slurm"`, `"module:Class"` or `"file.py:Class"`.
        address: of the cluster, see `LaunchOptions`.
        partition: of the cluster.
        time: limit of each job of the cluster.
        mini: the suite's miniature.
        paper: as the published runs.
        allow_changed_code: resume runs also where the file that defines their algorithm has changed since they began.
        fork: where settings, data or that file have changed since a run's checkpoint, start a new run from it.
        retry_failed: also try runs again that have diverged, from their newest checkpoint.
        step_timeout: seconds for an environment step, a reset, or to open an environment; one that takes longer fails.
        episode_timeout: seconds for all environment steps of an episode together.
        update_timeout: seconds for a gradient step of runs that train together; an algorithm that takes longer fails.
        overwrite: delete existing results of these runs and start again.
        progress: show progress on standard error.
        task: in place of the streams' own, see `load_dataset`.
        reference_returns: in place of the task's.
        action_low: lower bound of actions, in place of that of the data and the environment.
        action_high: upper bound of actions.
        clip_actions: clip actions outside the bounds, and count them.
        trust_environments: see `load_dataset`.

    Returns:
        All runs under `out`, or none where the shard has none. A run that diverged has the status `failed` and its reason.

    Raises:
        Interrupted: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1; the same call resumes.
        SeqevalError: whatever is wrong, before any training; and a run that crashed, after the others.
    """
    chosen = [(section, name, value) for section, table in (settings or {}).items() for name, value in table.items()]
    chosen += [
        (section, name, Several(tuple(values)))
        for section, table in (sweep or {}).items()
        for name, values in table.items()
    ]
    directory = default_directory(suite, mini) if out is None else Path(out)
    reading = given_reading(task, reference_returns, action_low, action_high, clip_actions, "run", trust_environments)
    planned = build_sweep(suite, mini, algorithms, datasets, seeds, chosen, paper, precision, loggers, reading)
    patience = Patience(step_timeout, episode_timeout, update_timeout)
    planned = replace(planned, shard=Shard.parse(shard), patience=patience, retry_failed=retry_failed)
    if not planned.has_runs():
        return EvaluationResults()
    options = LaunchOptions(address, partition, time)
    ends = run_sweep(
        planned, directory, device, environments, overwrite, progress, allow_changed_code, launcher, options, fork
    )
    raise_crashed(ends)
    return read_results(directory)


def default_directory(suite: str, mini: bool) -> Path:
    """Where results go if nothing else is said."""
    return Path("results") / (Path(suite).stem + "-mini" * mini)


def perform(command: Run) -> None:
    """Run a suite and print why runs failed, its table and its figure. Raises `SeqevalError`, also if a run failed."""
    if command.list:
        for name in suite_names():
            say(f"{name:<12} {read_suite(name)[1].description}")
        return
    if not command.suite:
        raise UsageError(f"run: expected a suite, found none. Name one of {', '.join(suite_names())}, or a .toml file.")
    for option in ("algorithms", "datasets"):
        if getattr(command, option) is not None and not words(getattr(command, option)):
            raise UsageError(f"--{option}: expected at least one name, found none.")
    sweep = build_sweep(
        command.suite, command.mini, words(command.algorithms), words(command.datasets),
        numbers(command.seeds, "--seeds"), [parse_setting(text) for text in command.set], command.paper,
        command.precision, words(command.logger), command.options(),
    )  # fmt: skip
    patience = Patience(command.step_timeout, command.episode_timeout, command.update_timeout)
    sweep = replace(sweep, shard=Shard.parse(command.shard), patience=patience, retry_failed=command.retry_failed)
    if not sweep.has_runs():
        say(f"--shard {command.shard}: nothing to do, there are fewer runs than parts.")
        return
    out = command.out or default_directory(command.suite, command.mini)
    ends = run_sweep(
        sweep, out, command.device, command.environments, command.overwrite,
        allow_changed_code=command.allow_changed_code, launcher=command.launcher,
        options=LaunchOptions(command.address, command.partition, command.time), fork=command.fork,
    )  # fmt: skip
    failed = [end for end in ends if end.status != "finished"]
    for end in failed[:_NAMED]:
        say(f"{end.directory}: {end.status}, {end.message.rstrip('.')}. It is left out of the figure's means.")
    if len(failed) > _NAMED:
        say(f"and {len(failed) - _NAMED} more did not finish, see `seqeval status {out} --all`")
    results.summarise(out, sweep.loggers)
    raise_crashed(ends)
    raise_diverged(ends)
