"""Files in D4RL's format, and d4rl's `qlearning_dataset` as a loop over their rows."""

import h5py
import numpy as np

from seqeval_rl.environments.tasks import Task

LIMIT = 4  # steps, of the synthetic task's environment
TASK = Task("made", None, 0.0, 10.0)


def columns(ends, next_observations=True, timeouts=True, obs_dim=3, act_dim=2):
    """Columns of a file with one row per character of `ends`: "." (continues), "T" (terminal), "L" (time limit), "B" (both).

    Every observation differs from every other; the true next observation of a row is its observation + 0.5.
    """
    total = len(ends)
    observations = np.arange(total * obs_dim, dtype=np.float32).reshape(total, obs_dim)
    arrays = {
        "observations": observations,
        "actions": np.linspace(-1, 1, total * act_dim, dtype=np.float32).reshape(total, act_dim),
        "rewards": np.arange(1, total + 1, dtype=np.float32),
        "terminals": np.array([end in "TB" for end in ends]),
    }
    if timeouts:
        arrays["timeouts"] = np.array([end in "LB" for end in ends])
    if next_observations:
        arrays["next_observations"] = observations + 0.5
    return arrays


def write(path, arrays, **settings):
    """An HDF5 file of these arrays, each under its key, which may be a path of groups."""
    with h5py.File(path, "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=values, **settings)
    return path


def qlearning_loop(dataset, limit, terminate_on_end):
    """What d4rl 1.1 does, row by row."""
    kept = {"observations": [], "actions": [], "rewards": [], "next_observations": [], "terminals": []}
    count = 0
    for row in range(len(dataset["rewards"]) - 1):
        terminal = bool(dataset["terminals"][row])
        last = bool(dataset["timeouts"][row]) if "timeouts" in dataset else count == limit - 1
        if last and not terminate_on_end:
            count = 0
            continue
        if terminal or last:
            count = 0
        count += 1
        for key in ("observations", "actions", "rewards"):
            kept[key].append(np.float32(dataset[key][row]))
        kept["next_observations"].append(np.float32(dataset["observations"][row + 1]))
        kept["terminals"].append(terminal)
    return {key: np.array(values) for key, values in kept.items()}


def trajectories(dataset, limit):
    """(rows, complete) of each trajectory, which ends in a terminal state, at a time limit, or incomplete with the file.

    In files with timeouts but no next observations, none ends in a terminal state if at least half of them are followed by one.
    """
    ranges, begun = [], 0
    total, terminals = len(dataset["rewards"]), dataset["terminals"]
    resets = True
    if "timeouts" in dataset and dataset["timeouts"].any() and "next_observations" not in dataset:
        pairs = [terminals[row + 1] for row in range(total - 1) if terminals[row] and not dataset["timeouts"][row]]
        resets = not pairs or sum(pairs) < len(pairs) / 2
    for row in range(total):
        timeout = bool(dataset["timeouts"][row]) if "timeouts" in dataset else row - begun + 1 == limit
        over = timeout or (terminals[row] and (resets or row == total - 1))
        if over or row == total - 1:
            ranges.append((range(begun, row + 1), bool(over)))
            begun = row + 1
    return ranges


def returned(dataset, rows):
    """The return of a trajectory: its rewards up to its first terminal state."""
    first = next((row for row in rows if dataset["terminals"][row]), rows[-1])
    return dataset["rewards"][rows[0] : first + 1].sum()
