"""Counts the floating-point operations of a gradient step and of an action, with torch's own counter."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

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
            with _counter() as counter:
                for _ in range(period):
                    algorithm.update(batch)
            update = counter.get_total_flops() / period
            with _counter() as counter, torch.no_grad():
                observations = batch.observations if isinstance(batch, Batch) else batch.observations[:, :, -1]
                seen: Any = observations[:, :1]
                length = getattr(algorithm, "history_length", None)
                if length is not None:
                    seen = History.beginning(seen, length, batch.actions.shape[-1])
                algorithm.act(seen, None)
            return Flop(update, float(counter.get_total_flops()))
    except (Exception, SystemExit):  # of a plug-in or of the counter: a run does without this number
        return None


def _counter() -> Any:
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    aten: Any = torch.ops.aten
    # Torch's counter knows these products, but not in place.
    return FlopCounterMode(display=False, custom_mapping={aten.addmm_: _product, aten.baddbmm_: _product})


def _product(into: Any, left: torch.Size, right: torch.Size, *_: Any, **__: Any) -> int:
    """[S, m, k] x [S, k, n], or without S: one multiplication and one addition for each term."""
    return 2 * math.prod(left) * right[-1]
