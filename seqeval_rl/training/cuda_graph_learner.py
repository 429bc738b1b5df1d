"""The learner on CUDA: gradient steps captured as CUDA graphs, one per update period, with batches drawn in advance.

At these sizes a gradient step is some hundred kernels of a few microseconds each, and launching them one by one takes longer
than running them. A CUDA graph launches them all at once. It holds everything that a gradient step is (gathering the batch
from the packed rows, preprocessing, update, sums of the metrics), for each gradient step of one period (TD3's policy delay).
Where less than a period is to be taken, as online with one gradient step after each transition, each of its steps is a graph
of its own. Graphs read the number of their gradient step from a counter on the device, so between two chunks of draws nothing
is sent to the device but launches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqeval_rl.environments.patience import UPDATE, Alarm
from seqeval_rl.interface.algorithm import Algorithm
from seqeval_rl.interface.state import join_states, split_state
from seqeval_rl.networks.triton_support import uses_triton
from seqeval_rl.training.batch_sampler import CHUNK, BatchSampler, Prefetcher
from seqeval_rl.training.cuda_graphs import Capture, CudaGraphs, forbid_synchronization, side_stream
from seqeval_rl.training.learner import Learner
from seqeval_rl.training.normalization import Preprocessing
from seqeval_rl.training.replay_buffer import PooledReplayBuffer, ReplayBuffer

WARM_UP = 3  # eager gradient steps before a capture: libraries initialize themselves in these
_log = logging.getLogger("seqeval_rl")


class Piece(NamedTuple):
    """Consecutive gradient steps that are captured together."""

    phase: int  # index of the first in its period
    steps: int


class CapturedPiece(NamedTuple):
    """A captured piece: running it again repeats operations on the device, but no Python."""

    replay: Callable[[], None]
    before: tuple[Any, ...]  # values that the algorithm's counters must have
    after: tuple[Any, ...]  # values to set them to


class _Snapshot(NamedTuple):
    """Everything that gradient steps change, at one time."""

    states: list[dict[str, Any]]  # of the algorithm by run, copied
    counters: tuple[Any, ...]
    tensors: dict[str, Tensor]  # attributes of the algorithm itself: the same objects, not copies
    step_in_chunk: Tensor
    sums: Tensor


class CudaGraphLearner(Learner):
    """A `Learner` whose gradient steps are captured period by period; it computes what `Learner` computes.

    A CUDA graph repeats the operations on tensors but no Python: numbers that `update` changes in Python keep their value, and
    a tensor that replaces another as an attribute is never written again. `algorithm.counters` (see `state.Stateful`) names the
    numbers that are set by hand.
    """

    def __init__(
        self, algorithm: Algorithm, batches: BatchSampler, preprocessing: Preprocessing, capture: Capture | None = None
    ):
        """With a `capture` other than the default, `CudaGraphs`, it works on any device: the identity runs the same code
        eagerly."""
        super().__init__(algorithm, batches, preprocessing)
        self._capture, self._period = capture or CudaGraphs(), int(getattr(algorithm, "period", 1))
        device, runs = batches.replay.device, len(batches.seeds)
        self._cuda = device.type == "cuda"
        single = batches.sequences is None
        self._fused = uses_triton(device) and single and type(batches.replay) in (ReplayBuffer, PooledReplayBuffer)
        shape = (CHUNK, runs, batches.schedules[0].protocol.batch_size)
        # What the graphs read; these tensors are never replaced.
        self._indices = torch.zeros(shape, dtype=torch.int64, device=device)
        self._noise = torch.zeros((*shape, batches.noise_dim), device=device)
        self._step_in_chunk = torch.zeros(1, dtype=torch.int64, device=device)  # of the next gradient step
        self._sums_on_device = torch.zeros(0)  # [metrics, R], float64; of metrics over gradient steps
        self._expected_step = 0  # what `_step_in_chunk` is once the device has done everything it was given
        self._chunk = -1
        self._prefetcher = Prefetcher(batches)
        self._chunk_started = torch.cuda.Event(blocking=True) if self._cuda else None
        self._warm = [0] * self._period  # eager gradient steps so far, by phase
        self._captured: dict[Piece, CapturedPiece] = {}
        self._refused: set[Piece] = set()
        self._counter_names: tuple[str, ...] = tuple(getattr(algorithm, "counters", ()))
        self._eager = not getattr(algorithm, "capturable", True)
        if self._eager:
            self._warn("not made to be captured")

    def train(self, start: int, stop: int, progress: Callable[[int], None]) -> None:
        """See `Learner`."""
        self._steps += stop - start
        with Alarm(UPDATE) as alarm:
            self._train(start, stop, progress, alarm)

    def _train(self, step: int, stop: int, progress: Callable[[int], None], alarm: Alarm) -> None:
        while step < stop:
            chunk, inside = divmod(step, CHUNK)
            end = min(stop, (chunk + 1) * CHUNK)
            if chunk != self._chunk:
                self._load(chunk)
            if inside != self._expected_step:
                self._step_in_chunk.fill_(inside)
                self._expected_step = inside
            progress(step)
            while step < end:
                # A period begins where the count of gradient steps says so, also after an interruption.
                phase = step % self._period
                piece = Piece(phase, self._period if phase == 0 and end - step >= self._period else 1)
                alarm.begin(step)
                self._take(piece)
                alarm.end()
                step += piece.steps
                self._expected_step += piece.steps

    def _load(self, chunk: int) -> None:
        """Copy a chunk's draws to where the graphs read them."""
        indices, noise = self._prefetcher(chunk)
        if self._chunk_started is not None:
            # Wait until the device is done with the chunk before the last one. Without this the host would run far ahead:
            # page-locked memory would pile up, and the reported progress would not be real.
            self._chunk_started.synchronize()
            self._chunk_started.record()
        self.batches.enter(chunk)
        self._indices.copy_(indices, non_blocking=True)
        self._noise.copy_(noise, non_blocking=True)
        self._chunk = chunk

    def _take(self, piece: Piece) -> None:
        """Take gradient steps: replay the graph, or take them eagerly until there is one."""
        captured = self._captured.get(piece)
        if captured is not None and captured.before == self._counters():
            captured.replay()
            if self._counters() == captured.before:  # unless the Python has run too, as where nothing is captured
                self._set_counters(captured.after)
        elif self._eager or piece in self._refused:
            self._take_eagerly(piece)
        elif captured is not None:
            self._refuse(piece, f"its state in Python changes: {', '.join(self._counter_names)}")
            self._take_eagerly(piece)
        elif (warm := min(self._warm[piece.phase : piece.phase + piece.steps])) < WARM_UP:
            self._warm_up(piece, check=warm == WARM_UP - 1)
        else:
            self._try_to_capture(piece)
            self._take(piece)

    def _take_eagerly(self, piece: Piece) -> None:
        for _ in range(piece.steps):
            self._add(self.algorithm.update(self._batch()))

    def _reset_sums(self) -> None:
        if len(self._sums_on_device) != len(self._sums):  # before the first update
            shape = (len(self._sums), len(self.batches.seeds))
            self._sums_on_device = torch.zeros(shape, dtype=torch.float64, device=self._step_in_chunk.device)
        self._sums_on_device.zero_()  # in place, since graphs add to this tensor

    def _add(self, metrics: dict[str, Tensor]) -> None:
        """See `Learner`; also counts the gradient step."""
        self._check(metrics)
        values = [metrics[name] for name in self._sums]
        if self._fused:
            from seqeval_rl.training.triton_gather import sum_metrics  # Triton comes with torch for CUDA only

            sum_metrics(self._sums_on_device, values, self._step_in_chunk)
        else:
            self._sums_on_device.add_(torch.stack(values))
            self._step_in_chunk.add_(1)

    def _means(self, steps: int) -> NDArray[np.float64]:
        return (self._sums_on_device / steps).cpu().numpy()

    def _batch(self) -> Any:
        replay, step = self.batches.replay, self._step_in_chunk
        shift, scale = self.preprocessing.shift, self.preprocessing.scale
        if self._fused:
            from seqeval_rl.training.triton_gather import gather  # Triton comes with torch for CUDA only

            return gather(replay, self._indices, self._noise, step, shift, scale)
        indices, noise = (drawn.index_select(0, step).squeeze(0) for drawn in (self._indices, self._noise))
        return self.batches.batch(indices, noise, shift, scale)

    def _warm_up(self, piece: Piece, check: bool) -> None:
        """Take gradient steps as CUDA asks for before a capture; with `check`, make sure that nothing synchronizes with the
        device: that would fail the capture, where less can be undone than here."""
        before = self._save() if check else None
        try:
            with (
                side_stream() if self._cuda else nullcontext(),
                forbid_synchronization() if self._cuda and check else nullcontext(),
            ):
                self._take_eagerly(piece)
        except RuntimeError as error:
            if before is None:
                raise
            self._restore(before)
            self._refuse(piece, _first_line(error))
            self._take_eagerly(piece)
        for phase in range(piece.phase, piece.phase + piece.steps):
            self._warm[phase] += 1

    def _try_to_capture(self, piece: Piece) -> None:
        """Capture a piece; if that fails, it is taken eagerly from now on."""
        before = self._save()
        replay, why = None, ""
        try:
            replay = self._capture(lambda: self._take_eagerly(piece))
        except RuntimeError as error:
            why = _first_line(error)
        # Within a period counters may change, since they are set by hand; after a whole period they must be what they were.
        why = why or self._python_changes(before, counters=piece.steps == self._period)
        after = self._counters()
        if why or replay is None:
            self._restore(before)  # also what the attempt has changed in Python
            self._refuse(piece, why)
        else:
            self._set_counters(before.counters)
            self._captured[piece] = CapturedPiece(replay, before.counters, after)

    def _refuse(self, piece: Piece, why: str) -> None:
        """Take this piece eagerly from now on; every piece, where it is a whole period."""
        self._captured.pop(piece, None)
        self._refused.add(piece)
        self._eager = self._eager or piece.steps == self._period
        self._warn(f"cannot be captured ({why})")

    def _warn(self, what: str) -> None:
        name = getattr(self.algorithm, "name", type(self.algorithm).__name__)
        _log.warning("%s: %s; its updates run one operation after the other", name, what)

    def _counters(self) -> tuple[Any, ...]:
        return tuple(getattr(self.algorithm, name) for name in self._counter_names)

    def _set_counters(self, values: tuple[Any, ...]) -> None:
        for name, value in zip(self._counter_names, values, strict=True):
            setattr(self.algorithm, name, value)

    def _save(self) -> _Snapshot:
        tensors = {name: value for name, value in vars(self.algorithm).items() if isinstance(value, Tensor)}
        states = split_state(self.algorithm.state_dict(), len(self.batches.seeds))
        return _Snapshot(states, self._counters(), tensors, self._step_in_chunk.clone(), self._sums_on_device.clone())

    def _restore(self, saved: _Snapshot) -> None:
        for name, tensor in saved.tensors.items():
            setattr(self.algorithm, name, tensor)
        self.algorithm.load_state_dict(join_states(saved.states))
        self._step_in_chunk.copy_(saved.step_in_chunk)
        self._sums_on_device.copy_(saved.sums)

    def _python_changes(self, before: _Snapshot, counters: bool) -> str:
        """In words, what has changed in Python since then, with `counters` including these; empty where nothing has."""
        now, ignored = self._save(), () if counters else self._counter_names
        changed = [name for name in _differing(before.states[0], now.states[0]) if name not in ignored]
        replaced = [name for name, tensor in now.tensors.items() if tensor is not before.tensors.get(name)]
        if changed:
            return f"its state in Python changes: {', '.join(changed)}"
        return f"its tensors are replaced by others: {', '.join(replaced)}" if replaced else ""


def _first_line(error: RuntimeError) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _differing(before: Any, after: Any, path: str = "") -> list[str]:
    """Paths at which two states of one form differ in something that the device does not change: also tensors on the CPU, which
    operations change at once, captured or not."""
    if isinstance(before, Tensor):
        same = before.device.type != "cpu" or torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)
        return [] if same else [path]
    if isinstance(before, dict):
        return [leaf for key in before for leaf in _differing(before[key], after[key], f"{path}/{key}".strip("/"))]
    if isinstance(before, list | tuple):
        pairs = enumerate(zip(before, after, strict=True))
        return [leaf for i, (one, other) in pairs for leaf in _differing(one, other, f"{path}/{i}".strip("/"))]
    return [] if before == after else [path]
