"""What the contract checks share: random batches, run groups with default settings, comparing states, detecting host reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqeval_rl.interface.algorithm import Algorithm, Batch, Spec
from seqeval_rl.interface.per_seed import build, columns, noise_dim, random_columns
from seqeval_rl.interface.returns import check_actions, describe
from seqeval_rl.interface.sequences import History, fold, sequence_length
from seqeval_rl.interface.state import RUNS
from seqeval_rl.seeding import torch_generator

OBS_DIM, ACT_DIM, CLASSES, BATCH, EPISODES = 5, 2, 3, 16, 4
IMAGE = (3, 20, 20)  # of an algorithm for images
SEEDS = (3, 8)
CPU = torch.device("cpu")


class CheckFailed(Exception):
    """An algorithm violates the contract; the text says what was expected and what was found."""


def expect(condition: Any, message: str) -> None:
    """Raises `CheckFailed` with `message` where the condition does not hold."""
    if not condition:
        raise CheckFailed(message)


class HostReads(TorchDispatchMode):
    """Records operations that wait for the device or whose result's shape depends on data, in `operations`."""

    _READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")
    _INDEXED = ("index", "index_put", "index_put_")

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self._READS:
            self.operations.add(name)
        if name in self._INDEXED and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
            self.operations.add("boolean indexing")
        return func(*args, **(kwargs or {}))


def spec_of(algorithm: Any, seeds: tuple[int, ...] = SEEDS) -> Spec:
    """What an algorithm is built for here: `ACT_DIM` continuous dimensions or `CLASSES` discrete actions, and vectors or images,
    as it declares."""
    shape = IMAGE if for_images(algorithm) else (OBS_DIM,)
    discrete = getattr(algorithm, "action_space", "continuous") == "discrete"
    return Spec(shape, 1, seeds, CPU, CLASSES) if discrete else Spec(shape, ACT_DIM, seeds, CPU)


def for_images(algorithm: Any) -> bool:
    """Whether an algorithm declares that its observations are images."""
    return getattr(algorithm, "observation_space", "vectors") == "images"


def observations(spec: Spec, purpose: str, count: int = EPISODES, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Random observations [R, count, *obs] of a run group: normals times `scale`, or pixels."""
    size = (spec.runs, count, *spec.obs_shape)
    return as_observed(spec, scale * torch.randn(size, generator=torch_generator(seed, purpose)))


def as_observed(spec: Spec, normals: Tensor) -> Tensor:
    """Normals [..., *obs] as observations: themselves, or pixels from 0 to 255."""
    return normals if len(spec.obs_shape) == 1 else (255 * torch.special.ndtr(normals)).round()


def build_group(algorithm: Any, seeds: tuple[int, ...] = SEEDS, config: Any = None) -> Algorithm:
    """A run group, with default settings unless `config` is given."""
    config = algorithm.Config() if config is None else config
    return build(algorithm, config, spec_of(algorithm, seeds))


def act(group: Algorithm, observations: Tensor, noise: Tensor | None, spec: Spec) -> Tensor:
    """The actions of a run group for observations [R, E, *obs], which must be what `act` may return. Raises `WrongReturn`."""
    with torch.no_grad():
        actions = group.act(seen_by(group, observations, spec), noise)
    check_actions(group, actions, (*observations.shape[:2], spec.act_dim), True, spec.action_classes)
    return actions


def seen_by(group: Algorithm, observations: Tensor, spec: Spec) -> Any:
    """What `act` of a run group gets for observations [R, E, *obs] at the start of episodes."""
    length = getattr(group, "history_length", None)
    return observations if length is None else History.beginning(observations, length, spec.act_dim)


def newest(batch: Any) -> Tensor:
    """The observations [R, B, *obs] of a batch, of sequences those of their last transitions; a view."""
    observations: Tensor = batch.observations
    return observations if isinstance(batch, Batch) else observations[:, :, -1]


def period(group: Algorithm) -> int:
    """After how many updates the kinds of updates repeat."""
    return int(getattr(group, "period", 1))


def trained_group(algorithm: Any, periods: int = 1, more: int = 0) -> tuple[Algorithm, Iterator[Any]]:
    """A run group after so many periods and `more` updates, and the batches that come next."""
    group, batches = build_group(algorithm), batches_of(algorithm)
    for _ in range(periods * period(group) + more):
        group.update(next(batches))
    return group, batches


def batches_of(algorithm: Any) -> Iterator[Any]:
    """Endless random batches for `SEEDS`; those of a run depend on its seed alone."""
    length = sequence_length(algorithm, algorithm.Config())
    places, spec = BATCH * (length or 1), spec_of(algorithm)
    width = noise_dim(algorithm, algorithm.Config(), spec)
    names = columns(algorithm, algorithm.Config())
    generators = [torch_generator(seed, "contract batches") for seed in SEEDS]

    def normal(*size: int, count: int = places) -> Tensor:
        return torch.stack([torch.randn(count, *size, generator=g) for g in generators])

    def actions() -> Tensor:
        if spec.action_classes is None:
            return normal(spec.act_dim).tanh()
        return torch.stack([torch.randint(spec.action_classes, (places,), generator=g) for g in generators])

    while True:
        batch = Batch(
            observations=as_observed(spec, normal(*spec.obs_shape)),
            actions=actions(),
            rewards=normal(1).squeeze(-1),
            next_observations=as_observed(spec, normal(*spec.obs_shape)),
            masks=(normal(1).squeeze(-1) < 1).to(torch.get_default_dtype()),
            noise=normal(width, count=BATCH),
            **random_columns(names, normal, ACT_DIM),
        )
        if length is None:
            yield batch
            continue
        # Episodes that begin in the sequence, or before it.
        steps = (normal(1, count=BATCH).squeeze(-1).abs() * length).long()
        to_go = normal(1).squeeze(-1) if getattr(algorithm, "returns_to_go", False) else None
        yield fold(batch, steps, steps.clamp(max=length - 1), to_go)


def expect_equal(expected: Any, found: Any, what: str, tolerance: float = 0.0, path: str = "") -> None:
    """Raises `CheckFailed` unless two states have the same structure and their numbers agree within `tolerance`."""
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        expected, found = dict(enumerate(expected)), dict(enumerate(found))
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        for key in expected:
            expect_equal(expected[key], found[key], what, tolerance, f"{path}/{key}")
        return
    if isinstance(expected, Tensor) and isinstance(found, Tensor) and expected.shape == found.shape:
        if expected.is_floating_point():
            if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True):
                gap = (found - expected).abs().max()
                raise CheckFailed(f"{what}: expected equal states, found {_entry(path)} {gap:.3g} apart")
            return
        same = torch.equal(expected, found)
    else:
        same = type(expected) is type(found) and not isinstance(expected, Tensor | dict) and expected == found
    shown = f"{_entry(path)} to differ ({describe(expected)}, {describe(found)})"
    expect(same, f"{what}: expected equal states, found {shown}")


def _entry(path: str) -> str:
    """An entry of the author's `state_dict`, without the levels that the wrapper of single-run algorithms adds."""
    return re.sub(rf"^/({RUNS}/\d+/(algorithm/)?)?", "", path) or "their structure"
