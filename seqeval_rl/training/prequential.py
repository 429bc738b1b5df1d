"""Prequential scores: the policy is scored on the transitions that are revealed next, so no environment is needed.

At each evaluation point the algorithm has not seen the transitions that arrive before the next one. Over these, with Q from
the algorithm's hook `values`, pi its deterministic action, and G the discounted return observed in the dataset:

    td_error     = mean (r + gamma m Q(s', pi(s')) - Q(s, a))^2
    action_error = mean |pi(s) - a|^2 / number of action dimensions, not of discrete actions
    agreement    = mean [pi(s) = a]                               of discrete actions
    nll          = mean - log pi(a | s)                           where the algorithm has the hook `log_prob`
    value_gap    = mean Q(s, a) - G,  value_error = mean (Q(s, a) - G)^2

Nothing that arrives after these transitions enters: where rewards of a return arrive later, value_gap and value_error leave the
transition out; how many they are means over is recorded. Rewards, Q and G are in the dataset's units. Summed over the stream, nll
is a description length in the sense of prequential MDL (Bornschein et al., arXiv 2210.07931). None of it reaches the algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.data import cache
from seqeval_rl.data.arrival import Arrival
from seqeval_rl.data.dataset import PIECE
from seqeval_rl.data.stream import Stream, first_rows
from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.interface.returns import check_actions, check_numbers
from seqeval_rl.results.read import COUNT, PREQUENTIAL, VALUE_COUNT
from seqeval_rl.training.learner import Learner
from seqeval_rl.training.sequences import Sequences

_SCORED = 512  # transitions of a run that are scored at once
UNSEEN = 0.05  # largest weight of the rewards after the end of a cut episode at which its return counts as observed


class Prequential:
    """Scores R runs on the transitions that arrive next."""

    def __init__(self, streams: Sequence[Stream], learner: Learner, config: Any, reward_scales: NDArray[np.float64]):
        """For the stream of each run and what trains on them; `reward_scales` [R] multiply rewards for the algorithm."""
        self._algorithm, self._preprocessing = learner.algorithm, learner.preprocessing
        self._replay = replay = learner.batches.replay
        device, dtype = replay.device, torch.get_default_dtype()
        self._scale = torch.tensor(reward_scales, dtype=dtype, device=device)[:, None]
        self._values, self._log_prob = (getattr(learner.algorithm, name, None) for name in ("values", "log_prob"))
        # What an algorithm that acts on a history has seen before each transition; it has no scores from values.
        sequences = learner.batches.sequences
        acts_on_history = hasattr(learner.algorithm, "history_length")
        self._histories = sequences if acts_on_history and isinstance(sequences, Sequences) else None
        if self._histories is not None:
            self._values = self._log_prob = None
        discount = getattr(config, "discount", None)
        # Without a discount there is no temporal difference.
        self._discount: Tensor | None = None
        self._observed: list[tuple[NDArray[np.float32], NDArray[np.bool_]]] = []
        self._complete: list[NDArray[np.signedinteger]] = []
        if self._values is not None and discount is not None:
            each = torch.as_tensor(discount, dtype=torch.float64).expand(len(streams))
            self._discount = each.to(device, dtype)[:, None]
            self._gammas = each.tolist()
        self._streams, self._starts = tuple(streams), first_rows(streams)
        self._latest: dict[str, NDArray[np.float64]] = {}

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """The scores on the transitions that have arrived since the previous evaluation point, each [R], and over how many of
        them they are means: 0 where a run had none."""
        return self._latest

    def _observe(self) -> None:
        """What the observed returns are, and when they are complete: not before it is asked for, since every row is read."""
        keys = [(id(stream), gamma) for stream, gamma in zip(self._streams, self._gammas, strict=True)]
        different = dict(zip(keys, self._streams, strict=True))
        returns = {key: observed_returns(stream, key[1]) for key, stream in different.items()}
        self._observed = [returns[key] for key in keys]
        runs = zip(self._streams, self._replay.arrivals, self._starts, strict=True)
        self._complete = [return_complete(stream, arrival, first) for stream, arrival, first in runs]

    @torch.no_grad()
    def score(self, start: int, stops: Sequence[int]) -> None:
        """Score the policies on arrival positions `start` to `stops[r]` (exclusive) of each run, as they are now."""
        self._latest = {}
        counts = np.maximum(np.array(stops) - start, 0)  # [R]
        if not counts.max():
            return
        if self._discount is not None and not self._observed:
            self._observe()
        last = np.array([len(arrival) - 1 for arrival in self._replay.arrivals])
        # A run with fewer transitions than others is given its last one again, which is not counted.
        last = np.minimum(start + np.maximum(counts - 1, 0), last)[:, None]
        sums: dict[str, NDArray[np.float64]] = {}
        for first in range(0, int(counts.max()), _SCORED):
            places = first + np.arange(min(_SCORED, int(counts.max()) - first))
            valid = places < counts[:, None]  # [R, P]
            indices = self._replay.indices(np.minimum(start + places, last)[:, None])[0]
            for name, (values, counted) in self._score_rows(indices, stops).items():
                counted = valid if counted is None else valid & counted
                total = np.where(counted, values.double().cpu().numpy(), 0.0).sum(1)
                sums[name] = sums.get(name, 0.0) + total
                if name == "value_gap":
                    sums[VALUE_COUNT] = sums.get(VALUE_COUNT, 0.0) + counted.sum(1)
        observed = np.asarray(sums.pop(VALUE_COUNT, np.zeros(len(counts))), np.float64)
        divisors = {"value_gap": observed, "value_error": observed}
        means = {name: total / np.maximum(divisors.get(name, counts), 1) for name, total in sums.items()}
        scores = {**means, COUNT: counts.astype(np.float64), VALUE_COUNT: observed}
        self._latest = {PREQUENTIAL + name: values for name, values in scores.items()}

    def _score_rows(
        self, indices: NDArray[np.int64], stops: Sequence[int]
    ) -> dict[str, tuple[Tensor, NDArray[np.bool_] | None]]:
        """Each score [R, P] of row indices [R, P], and which of them are counted [R, P]; none: all."""
        device = self._replay.device
        noise = torch.empty(*indices.shape, 0, device=device)
        shift, scale = self._preprocessing.shift, self._preprocessing.scale
        batch: Batch = self._replay.batch_of(indices, noise, shift, scale)
        seen = batch.observations if self._histories is None else self._histories.history(indices, shift, scale)
        actions = self._act(seen, batch.rewards.shape)
        scores: dict[str, tuple[Tensor, NDArray[np.bool_] | None]] = {}
        if self._replay.spec.action_classes is None:
            scores["action_error"] = ((actions - batch.actions).square().mean(-1), None)
        else:
            scores["agreement"] = ((actions == batch.actions).to(batch.rewards.dtype), None)
        if self._log_prob is not None:
            density = self._log_prob(batch.observations, batch.actions)
            check_numbers(self._algorithm, "log_prob", density, indices.shape)
            scores["nll"] = (-density, None)
        if self._values is not None and self._discount is not None:
            value = self._values(batch.observations, batch.actions)
            check_numbers(self._algorithm, "values", value, indices.shape)
            value = value / self._scale
            next_value = (
                self._values(batch.next_observations, self._act(batch.next_observations, batch.rewards.shape))
                / self._scale
            )
            target = batch.rewards / self._scale + self._discount * batch.masks * next_value
            scores["td_error"] = ((target - value).square(), None)
            rows = [indices[r] - self._starts[r] for r in range(len(indices))]
            returns, observed = (
                np.stack([each[part][row] for each, row in zip(self._observed, rows, strict=True)]) for part in (0, 1)
            )
            complete = [at[row] < stop for at, row, stop in zip(self._complete, rows, stops, strict=True)]
            observed &= np.stack(complete)
            gap = value - torch.from_numpy(returns).to(device)
            scores["value_gap"], scores["value_error"] = (gap, observed), (gap.square(), observed)
        return scores

    def _act(self, seen: Any, shape: torch.Size) -> Tensor:
        """The deterministic action [R, P, act_dim], or [R, P] of discrete ones, for observations or histories [R, P, ...]."""
        actions, spec = self._algorithm.act(seen, None), self._replay.spec
        check_actions(self._algorithm, actions, (*shape, spec.act_dim), False, spec.action_classes)
        return actions

    def state_dict(self) -> dict[str, Any]:
        """The latest scores, by name, each [R]."""
        return {name: torch.from_numpy(values.copy()) for name, values in self._latest.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._latest = {name: values.numpy().copy() for name, values in state.items()}


def recorded(metrics: dict[str, float]) -> dict[str, float]:
    """A run's metrics without prequential scores over no transition."""
    count, values = (metrics.get(PREQUENTIAL + name, 0.0) for name in (COUNT, VALUE_COUNT))
    absent = {PREQUENTIAL + name for name in ("value_gap", "value_error", VALUE_COUNT) if not values}
    absent |= set() if count else {name for name in metrics if name.startswith(PREQUENTIAL)}
    return {name: value for name, value in metrics.items() if name not in absent}


def observed_returns(stream: Stream, discount: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Discounted return [N] from each transition to its episode's end, and whether it counts as observed [N].

    It does where the episode reached a terminal state, or where the rewards after its cut would weigh at most `UNSEEN`. When its
    rewards are there is another question, see `return_complete`.
    """
    returns = cache.scratch(len(stream), np.float32)
    observed = cache.scratch(len(stream), np.bool_)
    for block in stream.blocks:
        dataset = block.dataset
        for first, last in dataset.pieces():
            starts = dataset.episode_starts[first : last + 1]
            rewards, terminated = dataset.outcomes(int(starts[0]), int(starts[-1]))
            value, discounts = np.array(rewards, np.float64), np.where(terminated, 0.0, discount)
            weight = discounts.copy()
            lengths, ends = np.diff(starts), starts[1:] - starts[0]
            # Backwards through all episodes at once: the k-th transition from the end of each that is long enough.
            longest_first = np.argsort(-lengths, kind="stable")
            for k in range(1, int(lengths.max())):
                rows = ends[longest_first[: int(np.count_nonzero(lengths > k))]] - 1 - k
                value[rows] += discounts[rows] * value[rows + 1]
                weight[rows] = discounts[rows] * weight[rows + 1]
            piece = slice(block.start + int(starts[0]), block.start + int(starts[-1]))
            returns[piece], observed[piece] = value, weight <= UNSEEN
    return returns, observed


def return_complete(stream: Stream, arrival: Arrival, first_row: int = 0) -> NDArray[np.signedinteger]:
    """For each row [N], the latest arrival position of the rows from it to its episode's end, or to a terminal state before.

    Args:
        stream: of N transitions.
        arrival: its rows in order of arrival; what comes after the first N is not looked at.
        first_row: what rows are counted from in `arrival`.
    """
    length = len(stream)
    position = cache.scratch(length, np.int32 if length <= np.iinfo(np.int32).max else np.int64)
    for start in range(0, length, PIECE):
        stop = min(start + PIECE, length)
        position[arrival[start:stop] - first_row] = np.arange(start, stop)
    for block in stream.blocks:
        dataset = block.dataset
        for first, last in dataset.pieces():
            starts = dataset.episode_starts[first : last + 1]
            ends = dataset.outcomes(int(starts[0]), int(starts[-1]))[1]
            ends[starts[1:] - 1 - starts[0]] = True
            piece = position[block.start + starts[0] : block.start + starts[-1]]
            # A running maximum from the end; what is added grows from segment to segment, so that each begins anew.
            added = np.cumsum(ends[::-1]) * length
            piece[::-1] = np.maximum.accumulate(piece[::-1] + added) - added
    return position
