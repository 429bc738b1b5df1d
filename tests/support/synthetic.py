"""Synthetic datasets for tests."""

import numpy as np
import torch

from seqeval_rl.data.dataset import Dataset
from seqeval_rl.data.validation import RawTransitions
from seqeval_rl.environments.tasks import TASKS
from seqeval_rl.interface.algorithm import Spec
from seqeval_rl.interface.registry import find_algorithm


def packed_rows(total, obs_dim, act_dim, seed=0):
    """Rows [total, obs|act|reward|mask|next_obs] of standard normals, a tenth of them terminal."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((total, 2 * obs_dim + act_dim + 2)).astype(np.float32)
    rows[:, obs_dim : obs_dim + act_dim] = np.tanh(rows[:, obs_dim : obs_dim + act_dim])
    rows[:, obs_dim + act_dim + 1] = rng.random(total) > 0.1
    return rows


def noise_dataset(lengths, obs_dim=11, act_dim=3, seed=0, name="made", task=TASKS["hopper"], classes=None):
    """A dataset of noise in Hopper's shapes with episodes of these lengths, each ended by a time limit.

    With `classes` it has as many discrete actions.
    """
    total = sum(lengths)
    rng = np.random.default_rng(seed)
    truncations = np.zeros(total, bool)
    truncations[np.cumsum(lengths) - 1] = True
    raw = RawTransitions(
        observations=rng.standard_normal((total, obs_dim)),
        actions=np.tanh(rng.standard_normal((total, act_dim)))
        if classes is None
        else rng.integers(classes, size=total),
        rewards=rng.standard_normal(total),
        next_observations=rng.standard_normal((total, obs_dim)),
        terminations=np.zeros(total, bool),
        truncations=truncations,
        action_classes=classes,
    )
    return Dataset.from_arrays(name, task, raw)


def noise_for(algorithm, lengths, **options):
    """`noise_dataset` with the kind of actions that the named algorithm is for."""
    discrete = find_algorithm(algorithm).action_space == "discrete"
    return noise_dataset(lengths, classes=3 if discrete else None, **options)


def spec_for(algorithm, seeds):
    """What the named algorithm may know on data with 5 observations, and 2 actions or dimensions of them."""
    if find_algorithm(algorithm).action_space == "discrete":
        return Spec((5,), 1, seeds, torch.device("cpu"), 2)
    return Spec((5,), 2, seeds, torch.device("cpu"))


def npz(path, total=300, **changes):
    """An `.npz` file with a dataset of noise in Hopper's shapes."""
    rng = np.random.default_rng(0)
    truncations = np.zeros(total, bool)
    truncations[29::30] = True
    columns = {
        "observations": rng.standard_normal((total, 11)),
        "actions": np.tanh(rng.standard_normal((total, 3))),
        "rewards": rng.standard_normal(total),
        "next_observations": rng.standard_normal((total, 11)),
        "terminations": np.zeros(total, bool),
        "truncations": truncations,
        "env_id": "Hopper-v5",
    }
    columns.update(changes)
    np.savez(path, **columns)
    return path


def assert_one_line(capsys, words, folder):
    """Standard error has one line with these words, and no run was started in the folder."""
    message = capsys.readouterr().err.strip()
    assert message.startswith("seqeval: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not list(folder.rglob("manifest.json"))
