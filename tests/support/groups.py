"""Small run groups: their data, their jobs, and what their runs have recorded."""

from dataclasses import replace

import numpy as np
import torch
from synthetic import noise_dataset

from seqeval_rl.data.stream import StreamSpec
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.experiments.planner import plan
from seqeval_rl.experiments.sweep import Sweep
from seqeval_rl.interface.registry import find_algorithm
from seqeval_rl.protocol import Protocol
from seqeval_rl.results.read import read_results

CPU = torch.device("cpu")


def write_dataset(path, lengths, seed):
    made = noise_dataset(lengths, seed=seed)
    obs = made.obs_shape[0]
    rows = np.asarray(made.rows)
    np.savez(
        path, observations=rows[:, :obs], actions=rows[:, obs : obs + 3], rewards=rows[:, obs + 3],
        next_observations=rows[:, -obs:], terminations=made.terminations, truncations=made.truncations,
    )  # fmt: skip
    return StreamSpec(path.stem, (str(path),), TASKS["hopper"])


def jobs_in(tmp_path):
    """The jobs of runs on datasets of 150, 190 and 230 transitions, for a directory."""
    streams = tuple(
        write_dataset(tmp_path / f"data-{length}.npz", [length - 50, 50], seed=length) for length in (150, 190, 230)
    )
    protocol = Protocol(initial=100, batch_size=16, evaluate_every=40, episodes=1)
    entry = find_algorithm("bc")
    sweep = Sweep("lengths", streams, (entry,), protocol, (0,), {"bc": {"hidden": (16, 16)}})
    return lambda out: plan(sweep, out, CPU, "gymnasium", progress=False).jobs


def one_group(jobs):
    return replace(jobs[0], runs=tuple(run for job in jobs for run in job.runs))


def found(out):
    """What the runs under `out` have recorded, without wall times."""
    return {
        result.run: [
            {**entry, "metrics": {k: v for k, v in entry["metrics"].items() if not k.endswith("seconds")}}
            for entry in result.evaluations
        ]
        for result in read_results(out)
    }
