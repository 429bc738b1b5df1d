"""The engine on CUDA: gradient steps as captured graphs, a whole update period each, fed from draws made ahead.

At these sizes a gradient step is some hundred kernels of a few microseconds, and starting them one by one takes longer than
running them. A graph starts them all at once. It holds whatever a gradient step is: the gather of the batch from the packed
rows, preprocessing, update, sums of the metrics; for each gradient step of one period (TD3's policy delay). Where a period
does not go through at once, as online with one gradient step after each transition, each step of it is a graph of its own.
Graphs read their place from a counter on the device, so that nothing but "go on" is sent to the device between two chunks
of draws.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqeval_rl.interface.algorithm import Algorithm
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler, Prefetcher
from seqeval_rl.training.cuda_graphs import Capture, CudaGraphs, beside, without_waiting
from seqeval_rl.training.learner import Learner
from seqeval_rl.training.normalization import Preprocessing

WARM_UP = 3  # times that a gradient step is taken eagerly before it is captured: libraries set themselves up in these
AHEAD = 4  # chunks drawn ahead
_log = logging.getLogger("seqeval_rl")


class Piece(NamedTuple):
    """Consecutive gradient steps that are captured together."""

    phase: int  # place of the first in the period
    steps: int


class Captured(NamedTuple):
    """A piece as it can be taken again: operations repeat, Python does not."""

    go: Callable[[], None]
    before: tuple[Any, ...]  # the algorithm's counters as they must be
    after: tuple[Any, ...]  # and as they are to be


class CudaGraphLearner(Learner):
    """An `Learner` whose gradient steps are captured, period by period; computes what `Learner` computes."""

    def __init__(
        self, algorithm: Algorithm, batches: BatchSampler, preprocessing: Preprocessing, capture: Capture | None = None
    ):
        """With a `capture` other than the default, `CudaGraphs`, it works on any device: the identity runs the same code
        eagerly."""
        super().__init__(algorithm, batches, preprocessing)
        self._capture, self._period = capture or CudaGraphs(), int(getattr(algorithm, "period", 1))
        device, runs = batches.replay.device, len(batches.seeds)
        self._cuda = device.type == "cuda"
        shape = (CHUNK, runs, batches.schedules[0].protocol.batch_size)
        # What the graphs read, in places that do not change.
        self._indices = torch.zeros(shape, dtype=torch.int64, device=device)
        self._noise = torch.zeros((*shape, batches.noise_dim), device=device)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)  # of the next gradient step in its chunk
        self._at = 0  # what `_place` holds when the device has come so far
        self._chunk = -1
        self._ahead = Prefetcher(batches, AHEAD)
        self._begun = torch.cuda.Event(blocking=True) if self._cuda else None  # when the device begins with the chunk
        self._warm = [0] * self._period  # eager gradient steps so far, by phase
        self._pieces: dict[Piece, Captured] = {}
        self._refused: set[Piece] = set()
        self._watch = Watch(algorithm, runs)
        self._eager = not getattr(algorithm, "capturable", True)
        if self._eager:
            self._say("not made to be captured")

    def train(self, start: int, stop: int, progress: Callable[[int], None]) -> None:
        """See `Learner`."""
        self._steps += stop - start
        step = start
        while step < stop:
            chunk, inside = divmod(step, CHUNK)
            end = min(stop, (chunk + 1) * CHUNK)
            if chunk != self._chunk:
                self._fetch(chunk)
            if inside != self._at:
                self._place.fill_(inside)
                self._at = inside
            progress(step)
            while step < end:
                # A period begins where the count of gradient steps says so, also after an interruption.
                phase = step % self._period
                whole = phase == 0 and end - step >= self._period
                piece = Piece(phase, self._period if whole else 1)
                self._take(piece)
                step += piece.steps
                self._at += piece.steps

    def _fetch(self, chunk: int) -> None:
        """Put a chunk's draws where the graphs read them."""
        indices, noise = self._ahead(chunk)
        if self._begun is not None:
            # The device is done with the chunk before the last one. Further ahead, page-locked memory would pile up, and
            # progress be told that there is not.
            self._begun.synchronize()
            self._begun.record()
        self._indices.copy_(indices, non_blocking=True)
        self._noise.copy_(noise, non_blocking=True)
        self._chunk = chunk

    def _take(self, piece: Piece) -> None:
        """Take gradient steps, in the fastest way that there is by now."""
        captured = self._pieces.get(piece)
        if captured is not None and captured.before == self._watch.counters:
            captured.go()
            if self._watch.counters == captured.before:  # unless the work itself has run, as where nothing is captured
                self._watch.counters = captured.after
        elif self._eager or piece in self._refused:
            self._do(piece)
        elif captured is not None:
            self._refuse(piece, f"its state in Python changes: {', '.join(self._watch.names)}")
            self._do(piece)
        elif (warm := min(self._warm[piece.phase : piece.phase + piece.steps])) < WARM_UP:
            self._warm_up(piece, look=warm == WARM_UP - 1)
        else:
            self._begin(piece)
            self._take(piece)

    def _do(self, piece: Piece) -> None:
        """Take gradient steps one operation after the other, from the place that the counter on the device says."""
        for _ in range(piece.steps):
            indices, noise = (drawn.index_select(0, self._place).squeeze(0) for drawn in (self._indices, self._noise))
            shift, scale = self.preprocessing.shift, self.preprocessing.scale
            self._add(self.algorithm.update(self.batches.replay.batch(indices, noise, shift, scale)))
            self._place.add_(1)

    def _warm_up(self, piece: Piece, look: bool) -> None:
        """Take gradient steps as CUDA asks for before a capture; with `look`, make sure that nothing waits for the device: that
        would fail a capture, after which less can be put right."""
        before = self._saved() if look else None
        try:
            with beside() if self._cuda else nullcontext(), without_waiting() if self._cuda and look else nullcontext():
                self._do(piece)
        except RuntimeError as error:
            if before is None:
                raise
            self._restore(before)
            self._refuse(piece, _line(error))
            self._do(piece)
        for phase in range(piece.phase, piece.phase + piece.steps):
            self._warm[phase] += 1

    def _begin(self, piece: Piece) -> None:
        """Capture a piece; if that cannot be done it goes on eagerly."""
        before = self._saved()
        go, why = None, ""
        try:
            go = self._capture(lambda: self._do(piece))
        except RuntimeError as error:
            why = _line(error)
        # Within a period counters go on, and are moved on by hand; what a whole period leaves changed would stand still.
        why = why or self._watch.changed(before.algorithm, counters=piece.steps == self._period)
        after = self._watch.counters
        if why or go is None:
            # What the attempt has changed in Python is put back.
            self._restore(before)
            self._refuse(piece, why)
        else:
            self._watch.counters = before.algorithm.counters
            self._pieces[piece] = Captured(go, before.algorithm.counters, after)

    def _refuse(self, piece: Piece, why: str) -> None:
        """Take this piece eagerly from now on; every piece, where a whole period cannot be captured."""
        self._pieces.pop(piece, None)
        self._refused.add(piece)
        self._eager = self._eager or piece.steps == self._period
        self._say(f"cannot be captured ({why})")

    def _say(self, what: str) -> None:
        name = getattr(self.algorithm, "name", type(self.algorithm).__name__)
        _log.warning("%s: %s; its updates run one operation after the other", name, what)

    def _saved(self) -> _Saved:
        return _Saved(self._watch.snapshot(), self._place.clone(), [total.clone() for total in self._sums])

    def _restore(self, saved: _Saved) -> None:
        self._watch.restore(saved.algorithm)
        self._place.copy_(saved.place)
        for total, value in zip(self._sums, saved.sums, strict=True):
            total.copy_(value)


class _Saved(NamedTuple):
    """Whatever gradient steps change."""

    algorithm: Snapshot
    place: Tensor
    sums: list[Tensor]


def _line(error: RuntimeError) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class Snapshot(NamedTuple):
    """An algorithm at one time."""

    states: list[dict[str, Any]]  # by run, copied
    counters: tuple[Any, ...]
    tensors: dict[str, Tensor]  # that are attributes of the algorithm itself: the very ones


class Watch:
    """Looks at one algorithm before and after its Python has run."""

    def __init__(self, algorithm: Algorithm, runs: int):
        """For a stack of `runs` runs. What `algorithm.counters` names (see `state.Stateful`) can be moved on by hand."""
        self._algorithm, self._runs = algorithm, runs
        self.names: tuple[str, ...] = tuple(getattr(algorithm, "counters", ()))

    @property
    def counters(self) -> tuple[Any, ...]:
        """Their values now, which can be set."""
        return tuple(getattr(self._algorithm, name) for name in self.names)

    @counters.setter
    def counters(self, values: Sequence[Any]) -> None:
        for name, value in zip(self.names, values, strict=True):
            setattr(self._algorithm, name, value)

    def snapshot(self) -> Snapshot:
        """The algorithm now."""
        tensors = {name: value for name, value in vars(self._algorithm).items() if isinstance(value, Tensor)}
        return Snapshot(split_state(self._algorithm.state_dict(), self._runs), self.counters, tensors)

    def changed(self, before: Snapshot, counters: bool) -> str:
        """In words, what is different in Python since then; with `counters` these too. Empty where nothing is."""
        now = self.snapshot()
        moved = [name for name in _moved(before.states[0], now.states[0]) if counters or name not in self.names]
        replaced = [name for name, tensor in now.tensors.items() if tensor is not before.tensors.get(name)]
        if moved:
            return f"its state in Python changes: {', '.join(moved)}"
        return f"its tensors are replaced by others: {', '.join(replaced)}" if replaced else ""

    def restore(self, before: Snapshot) -> None:
        """Make the algorithm again what it was."""
        for name, tensor in before.tensors.items():
            setattr(self._algorithm, name, tensor)
        self._algorithm.load_state_dict(join_states(before.states))


def _moved(before: Any, after: Any, path: str = "") -> list[str]:
    """Where two states of one form differ in something that the device does not change: also tensors on the CPU, which
    operations change at once, captured or not."""
    if isinstance(before, Tensor):
        same = before.device.type != "cpu" or torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
        return [] if same else [path]
    if isinstance(before, dict):
        return [place for key in before for place in _moved(before[key], after[key], f"{path}/{key}".strip("/"))]
    if isinstance(before, list | tuple):
        pairs = enumerate(zip(before, after, strict=True))
        return [place for i, (one, other) in pairs for place in _moved(one, other, f"{path}/{i}".strip("/"))]
    return [] if before == after else [path]
