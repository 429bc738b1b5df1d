"""Counts the floating-point operations of a gradient step and of an action, with torch's own formulas."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from seqeval_rl.interface.algorithm import Algorithm, Batch
from seqeval_rl.interface.sequences import History


class Flop(NamedTuple):
    """FLOP of matrix products, convolutions and attention of one run; elementwise operations are not counted."""

    update: float  # of a gradient step, mean over a period
    action: float  # of the action for one observation


def count_flop(algorithm: Algorithm, batch: Any) -> Flop | None:
    """FLOP of an algorithm of one run, which is updated meanwhile; None where it does not run under the counter.

    Torch's global random generators are afterwards as before.

    Args:
        algorithm: for R = 1.
        batch: [1, B, ...], a `Batch` or of sequences.
    """
    period = int(getattr(algorithm, "period", 1))
    devices = [batch.rewards.device] if batch.rewards.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            with _Counter() as counter:
                for _ in range(period):
                    algorithm.update(batch)
            update = counter.total / period
            with _Counter() as counter, torch.no_grad():
                observations = batch.observations if isinstance(batch, Batch) else batch.observations[:, :, -1]
                seen: Any = observations[:, :1]
                length = getattr(algorithm, "history_length", None)
                if length is not None:
                    seen = History.beginning(seen, length, batch.actions.shape[-1])
                algorithm.act(seen, None)
            return Flop(update, float(counter.total))
    except (Exception, SystemExit):  # of a plug-in or of the counter: a run does without this number
        return None


class _Counter(TorchDispatchMode):
    """Adds up the FLOP of the operations that run meanwhile, as torch's `FlopCounterMode` does, but without torch's compiler,
    whose import takes more than a second."""

    def __init__(self) -> None:
        super().__init__()
        aten: Any = torch.ops.aten
        # Torch knows these products, but not in place.
        self._formulas = {**flop_registry, aten.addmm_: _product, aten.baddbmm_: _product}
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler, in order not to compile this

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        formula = self._formulas.get(func.overloadpacket)
        if formula is None:
            with self:  # in inference mode compound operations such as `linear` arrive whole
                result = func.decompose(*args, **keywords)
            return func(*args, **keywords) if result is NotImplemented else result
        result = func(*args, **keywords)
        self.total += formula(*args, **keywords, out_val=result)
        return result


def _product(into: Tensor, left: Tensor, right: Tensor, **_: Any) -> int:
    """[S, m, k] x [S, k, n], or without S: one multiplication and one addition for each term."""
    return 2 * left.numel() * right.shape[-1]
