"""A stream as manifests describe it: its size, its hash, and for each block the level and what to cite."""

from __future__ import annotations

import hashlib
from typing import Any

from seqeval_rl.data.change import change_sizes
from seqeval_rl.data.load import citation
from seqeval_rl.data.stream import Stream


def describe_stream(stream: Stream, mode: str = "native", clip_actions: bool = False) -> dict[str, Any]:
    """A stream, read in that mode, as manifests describe it. The blocks of an interleaved stream have no boundaries.

    Mean returns are there where the task has no scores.
    """
    total = len(stream)
    scored = stream.task.references is not None
    blocks: list[dict[str, Any]] = [
        {
            "name": block.dataset.name,
            "label": block.label,
            **({} if stream.interleave else {"start": block.start, "stop": block.stop}),
            "sha256": block.dataset.sha256,
            "mean_score": block.dataset.mean_score() if scored else None,
            **({} if scored else {"mean_return": block.dataset.mean_return()}),
            "clipped_actions": block.dataset.clipped_actions,
            **({"citation": text} if (text := citation(block.dataset.name)) else {}),
        }
        for block in stream.blocks
    ]
    if not stream.interleave:
        sizes = change_sizes(block.dataset for block in stream.blocks)
        for block, size in zip(blocks[1:], sizes, strict=True):
            block["change_size"] = size
    hashes = [block["sha256"] for block in blocks]
    lengths = [block.stop - block.start for block in stream.blocks]

    def mean(key: str) -> float | None:
        return sum(block[key] * n for block, n in zip(blocks, lengths, strict=True)) / total if blocks else None

    repeat = max((block.dataset.action_repeat for block in stream.blocks), default=1)
    return {
        "name": stream.name,
        "transitions": total,
        "sha256": hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        "observation_shape": list(stream.obs_shape),
        "action_dimensions": stream.act_dim,
        **({} if stream.action_classes is None else {"action_classes": stream.action_classes}),
        "mean_score": mean("mean_score") if scored else None,
        **({} if scored else {"mean_return": mean("mean_return")}),
        "blocks": blocks,
        **({} if mode == "native" else {"mode": mode}),
        **({"clip_actions": True} if clip_actions else {}),
        **({"interleave": True} if stream.interleave else {}),
        **({"action_repeat": repeat} if repeat > 1 else {}),
    }
