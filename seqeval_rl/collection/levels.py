"""Levels of a training run (random, medium, expert), after D4RL: their checkpoints, policies and datasets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqeval_rl.collection.collect import Behavior, check_new, play, policy_behavior, uniform_behavior
from seqeval_rl.collection.policy import observation_map
from seqeval_rl.collection.train import Training
from seqeval_rl.data.episodes import Episode, cut_to, episodes_of
from seqeval_rl.data.minari_writer import NewDataset, writer
from seqeval_rl.data.rollouts import BehaviorPolicy
from seqeval_rl.environments.spaces import gymnasium_shapes
from seqeval_rl.errors import DataError, FileError, UsageError
from seqeval_rl.training.online import episode_seed
from seqeval_rl.utils.files import atomic_path, atomic_write

PLACE = "{level}"  # in an id
LEVELS = ("random", "medium", "medium-replay", "expert", "medium-expert")
MEDIUM_SHARE = 1 / 3  # of the expert's score
KEYS = ("w0", "b0", "w1", "b1", "w2", "b2")  # of the behavior format, see data/bundled_policies/README.md
_EPISODES = 20  # that a saved policy's returns are measured on
_REPLAY_POLICIES = 6  # as many as the bundled `replay` has


def identities(identity: str) -> dict[str, str]:
    """The id of each level's dataset; raises `UsageError` where `identity` has no place for the level."""
    if PLACE not in identity:
        raise UsageError(
            f"--id {identity!r}: expected {PLACE} where the level goes, for example mine/hopper/{PLACE}-v0. Add it."
        )
    return {level: identity.replace(PLACE, level) for level in LEVELS}


def check_all_new(identity: str, overwrite: bool) -> None:
    """Raise unless the datasets of all levels may be written; see `check_new`."""
    for one in identities(identity).values():
        check_new(one, overwrite)


def plan(training: Training, identity: str, transitions: int) -> dict[str, NewDataset]:
    """The datasets of a finished training by level; all but the replay have `transitions`. Raises `DataError` if nothing was
    learned."""
    seen, scores = training.scores()
    middle, best = medium(scores.tolist()), expert(scores.tolist())
    names = identities(identity)
    how = f"{training.entry.name}, seed {training.seed}, trained from nothing in {training.task.env_id}"

    def policy(evaluation: int) -> str:
        return f"its policy after {seen[evaluation]:,} transitions, evaluated at score {scores[evaluation]:.1f}"

    contents = {
        "random": ("uniform random actions", f"uniform random actions in {training.task.env_id}"),
        "medium": (how, f"{policy(middle)}, the first past a third of the best; sampled actions"),
        "medium-replay": (how, f"what it gathered up to the medium policy, in order: {policy(middle)}"),
        "expert": (how, f"{policy(best)}, the best; sampled actions"),
        "medium-expert": (how, f"half of the medium and half of the expert dataset: {policy(middle)}, {policy(best)}"),
    }
    sizes = dict.fromkeys(contents, transitions) | {"medium-replay": int(seen[middle])}
    return {
        level: NewDataset(names[level], training.task, sizes[level], algorithm, f"{level}: {text}.")
        for level, (algorithm, text) in contents.items()
    }


def collect_levels(
    training: Training, identity: str, transitions: int, overwrite: bool = False, progress: bool = True
) -> list[NewDataset]:
    """Write the datasets of all levels as Minari datasets, which appear together when all are written.

    Args:
        training: finished.
        identity: of the datasets, with `{level}` in it.
        transitions: size of each but the replay.
        overwrite: replace datasets that are there.
        progress: show bars.

    Raises:
        DataError: nothing was learned.
        MismatchError: a dataset is there already.
        FileError: Minari's directory cannot be written, or there is too little room.
    """
    check_all_new(identity, overwrite)
    datasets = plan(training, identity, transitions)
    with ExitStack() as stack:
        for level, new in datasets.items():
            write = stack.enter_context(writer(new, overwrite, progress))
            write(_episodes(training, level, new.transitions))
    return list(datasets.values())


def _episodes(training: Training, level: str, transitions: int) -> Iterator[Episode]:
    """The episodes of a level's dataset, of at least so many transitions."""
    if level == "random":
        return play(uniform_behavior(training.task), training.seed, transitions, training.protocol.max_episode_steps)
    scores = training.scores()[1].tolist()
    if level == "medium-replay":
        rows, ends, terminals = training.replay(transitions)
        seeds = (episode_seed(training.seed, number) for number in count())
        return episodes_of(rows, ends, terminals, training.task, seeds)
    if level == "medium-expert":
        half = transitions // 2
        parts = (("medium", half), ("expert", transitions - half))
        return chain.from_iterable(cut_to(_episodes(training, part, size), size) for part, size in parts)
    evaluation = medium(scores) if level == "medium" else expert(scores)
    behavior = policy_behavior(training.policy(evaluation), training.entry.name, level)
    return play(behavior, training.seed, transitions, training.protocol.max_episode_steps)


def save_policies(training: Training, folder: Path) -> list[Path]:
    """Write the policies of a finished training as the bundled ones are: `TASK/TRANSITIONS.npz` and `levels.json`, where what
    is said of other tasks stays.

    Raises:
        DataError: nothing was learned, or the algorithm's policy has no place in that format.
        FileError: the folder cannot be written.
    """
    task, (seen, scores) = training.task, training.scores()
    values = scores.tolist()
    middle, best = medium(values), expert(values)
    rising = [index for index in records(values) if index <= best]
    places = np.linspace(0, len(rising) - 1, min(_REPLAY_POLICIES, len(rising))).round().astype(int)
    chosen = sorted({*(rising[place] for place in places), middle, best})
    names = {index: f"{seen[index]:07d}" for index in chosen}
    obs_dim = int(np.prod(gymnasium_shapes(task.environment)[1].obs_shape))
    epsilon = getattr(training.config, "epsilon", None)  # of policies of discrete actions
    path = folder / "levels.json"
    paths = [folder / task.name / f"{name}.npz" for name in names.values()]
    try:
        for index, place in zip(chosen, paths, strict=True):
            write_behavior(place, behavior_arrays(training.state(index), obs_dim, epsilon))
        levels = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        levels[task.name] = {
            "env_id": task.env_id,
            "random": [],
            "medium": [names[middle]],
            "expert": [names[best]],
            "replay": [names[index] for index in chosen],
            "returns": {
                **{name: _measured(_saved(training, folder, name), training) for name in names.values()},
                "random": _measured(uniform_behavior(task), training),
            },
        }
        atomic_write(path, json.dumps(levels, indent=1) + "\n")
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or error
        raise FileError(
            f"--policies {folder}: cannot be read or written ({found}). Choose another directory."
        ) from error
    return [*paths, path]


def _saved(training: Training, folder: Path, name: str) -> Behavior:
    """A saved policy as the bundled ones are played."""
    policy = BehaviorPolicy(training.task.name, name, folder)

    def act(observations: Any, noise: Any) -> Any:
        seen, normals = observations.astype(np.float64), noise.astype(np.float64)
        if policy.epsilon is None:
            return policy.act(seen, normals).astype(np.float32)
        numbers = torch.special.ndtr(torch.from_numpy(normals)).numpy()
        return policy.classes(seen, numbers)[:, None].astype(np.float32)

    return Behavior(training.task, act, name, f"saved/{name}")


def _measured(behavior: Behavior, training: Training) -> list[float]:
    """Mean and standard deviation of the returns of some episodes, and their mean length."""
    found = play(behavior, training.seed, 10**9, training.protocol.max_episode_steps)
    episodes = [next(found) for _ in range(_EPISODES)]
    found.close()
    returns = np.array([episode.rewards.sum() for episode in episodes])
    return [
        round(float(returns.mean()), 1), round(float(returns.std()), 1),
        round(float(np.mean([len(episode.rewards) for episode in episodes]))),
    ]  # fmt: skip


def behavior_arrays(
    state: dict[str, Any], obs_dim: int, epsilon: float | None = None
) -> dict[str, NDArray[np.floating]]:
    """The policy of a run's state in the behavior format, normalization taken into the first layer: SAC's actor, or with an
    `epsilon` DQN's values, less their mean over actions, so that float16 keeps what decides between them.

    Raises:
        DataError: the algorithm's network is not such a perceptron of two hidden layers, or its weights do not fit into float16.
    """
    name, place = ("actor", "net.weights.") if epsilon is None else ("critic", "weights.")
    network = state["algorithm"].get(name, {})
    weights = [value[0, 0].double() for key, value in network.items() if key.startswith(place)]
    if len(weights) != len(KEYS) or len(network) != len(KEYS):
        raise DataError(
            f"behavior policy: expected an actor of two hidden layers as SAC has it, or values as DQN has them, found the {name} "
            f"parameters {', '.join(network) or 'none'}. Train sac, or of discrete actions dqn, with two hidden layers."
        )
    scale, shift = (value.double() for value in observation_map(state, obs_dim))
    weights[1] = weights[1] + shift @ weights[0]
    weights[0] = scale[:, None] * weights[0]
    if epsilon is not None:
        weights[-2:] = [weight - weight.mean(1, keepdim=True) for weight in weights[-2:]]
    with np.errstate(over="ignore"):  # said below
        arrays: dict[str, Any] = {
            key: value.numpy().astype(np.float16) for key, value in zip(KEYS, weights, strict=True)
        }
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise DataError("behavior policy: expected weights that fit into float16, found larger ones. Train it anew.")
    return arrays if epsilon is None else {**arrays, "epsilon": np.array(epsilon)}


def write_behavior(path: Path, arrays: dict[str, NDArray[np.floating]]) -> None:
    """Write a behavior policy atomically. Raises `OSError`."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def records(scores: Sequence[float]) -> list[int]:
    """The evaluations that scored more than every one before, of scores [P]: whatever comes later, levels are among them."""
    best = np.maximum.accumulate(np.asarray(scores, np.float64))
    return [i for i in range(len(best)) if i == 0 or best[i] > best[i - 1]]


def expert(scores: Sequence[float]) -> int:
    """The best of the evaluations, the first of several.

    Raises:
        DataError: no score is above 0, that of the task's reference minimum: nothing was learned.
    """
    best = int(np.argmax(scores))
    if not scores[best] > 0:
        raise DataError(
            f"levels: expected a policy that was evaluated better than score 0, found {scores[best]:.1f} as the best of "
            f"{len(scores)} evaluations. Train longer, or with other settings."
        )
    return best


def medium(scores: Sequence[float]) -> int:
    """The first evaluation whose score is past a third of the expert's. Raises as `expert` does."""
    threshold = MEDIUM_SHARE * scores[expert(scores)]
    return next(i for i, score in enumerate(scores) if score > threshold)
