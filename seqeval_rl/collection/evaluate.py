"""A second, larger evaluation of a finished run, recorded next to its `metrics.jsonl` and never in it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.collection.policy import Policy, one_run
from seqeval_rl.errors import RunError, UsageError, writing
from seqeval_rl.results.lines import append_line, drop_damaged_end
from seqeval_rl.results.ownership import Ownership
from seqeval_rl.results.read import SECOND_EVALUATIONS
from seqeval_rl.training.evaluation import Evaluator

PURPOSE = "second evaluation"  # names its episodes, which are none of training's evaluations
_TOGETHER = 100  # episodes that are stepped together


def evaluate_run(
    run_directory: str | os.PathLike[str],
    episodes: int = 100,
    algorithm: str | None = None,
    trust_environments: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate a finished run's policy once more, and append the result to the run's `second_evaluations.jsonl`.

    Its episodes are seeded differently from those of the evaluations during training, and depend on the run's seed and their
    number alone. The policy is `Policy.load`'s.

    Args:
        run_directory: of one finished run.
        episodes: at least 1.
        algorithm: as for `Policy.load`.
        trust_environments: as for `Policy.load`.

    Returns:
        The line: `evaluation` (the last one before the checkpoint), `transitions`, `gradient_steps`, `env_steps`, `episodes`,
        `metrics` (means over episodes and `*_std`, as in `metrics.jsonl`), `returns` and `lengths` (environment steps) of the
        episodes, `checkpoint` (which policy, in words), and `time` (seconds since 1970).

    Raises:
        UsageError: `episodes` below 1, or the run is not finished.
        RunError: the policy or the environment failed in an episode; nothing is recorded.
        BusyError: another process writes to the directory.
        FileError: the file cannot be written.
        DataError, EnvironmentMissingError: see `Policy.load`.
    """
    directory = Path(run_directory)
    if episodes < 1:
        raise UsageError(f"evaluate --episodes {episodes}: expected at least 1. Correct it.")
    run = one_run(directory)
    if run.status != "finished":
        raise UsageError(
            f"{directory}: expected a finished run, found one that is {run.status} after {len(run.evaluations)} of "
            f"{run.manifest['evaluations_expected']} evaluations. Finish it with the command that began it."
        )
    policy = Policy.load(run.path, algorithm, trust_environments)
    returns, lengths, scores = _play(policy, episodes)
    point = run.evaluations[policy.evaluation] if policy.evaluation < len(run.evaluations) else {}
    main, values = run.main_metric, scores if run.main_metric == "score" else returns
    entry = {
        "evaluation": policy.evaluation,
        **{name: point.get(name) for name in ("transitions", "gradient_steps", "env_steps")},
        "episodes": episodes,
        "metrics": {
            main: float(values.mean()),
            f"{main}_std": float(values.std()),
            "return": float(returns.mean()),
            "length": float(lengths.mean()),
        },
        "returns": returns.tolist(),
        "lengths": lengths.tolist(),
        "checkpoint": policy.description,
        "time": time.time(),
    }
    _record(run.path, entry)
    return entry


def _play(policy: Policy, episodes: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Returns, lengths and scores, [episodes] each."""

    def act(observations: NDArray[np.float32]) -> NDArray[np.float32]:
        actions: NDArray[np.float32] = policy.scaled_actions(torch.from_numpy(observations[0])).numpy()[None]
        return actions

    found = []
    for number, start in enumerate(range(0, episodes, _TOGETHER)):
        count = min(_TOGETHER, episodes - start)
        limit = policy.max_episode_steps
        with Evaluator(policy.task, (policy.seed,), count, max_episode_steps=limit, purpose=PURPOSE) as evaluator:
            part = evaluator.evaluate(policy.remembering or act, number)
        for failure in part.failures.values():
            raise RunError(f"{policy.description}: {failure} (counted from {start}). Nothing is recorded.")
        found.append((part.returns[0], part.lengths[0], part.scores[0]))
    returns, lengths, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return returns, lengths, scores


def _record(directory: Path, entry: dict[str, Any]) -> None:
    path, ownership = directory / SECOND_EVALUATIONS, Ownership(directory)
    with writing(path, "Choose a run whose directory can be written."):
        ownership.take()
        try:
            drop_damaged_end(path)
            append_line(path, entry)
        finally:
            ownership.give_up()
