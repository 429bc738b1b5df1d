"""Two Triton kernels of a gradient step: its batch, for which `ReplayBuffer.batch` takes a dozen operations of torch, and the
sums of its metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from seqeval_rl.interface.algorithm import Batch
from seqeval_rl.training.replay_buffer import ReplayBuffer

_BLOCK = 16  # transitions of a program


@triton.jit
def _gather(
    rows, indices, drawn, step, shift, scale, observations, actions, rewards, next_observations, masks, noise, count, size,
    OBS: tl.constexpr, A: tl.constexpr, N: tl.constexpr, AFFINE: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
    NORMALS: tl.constexpr,
):  # fmt: skip
    """Columns of the rows [., OBS | A | reward | mask | OBS] at the `count` indices of the step, and its N normals of each."""
    D: tl.constexpr = 2 * OBS + A + 2
    place, column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDTH)
    inside = (place < count)[:, None]
    drawn_at = tl.load(step) * count + place
    row = tl.load(indices + drawn_at, mask=place < count, other=0)
    c = column[None, :]
    there = inside & (c < D)
    values = tl.load(rows + row[:, None] * D + c, mask=there, other=0.0)
    if AFFINE:
        run = (place // size)[:, None] * D + c
        values = values * tl.load(scale + run, mask=there, other=0.0) + tl.load(shift + run, mask=there, other=0.0)
    p = place[:, None]
    tl.store(observations + p * OBS + c, values, mask=inside & (c < OBS))
    tl.store(actions + p * A + (c - OBS), values, mask=inside & (c >= OBS) & (c < OBS + A))
    tl.store(rewards + p + (c - OBS - A), values, mask=inside & (c == OBS + A))
    tl.store(masks + p + (c - OBS - A - 1), values, mask=inside & (c == OBS + A + 1))
    tl.store(next_observations + p * OBS + (c - OBS - A - 2), values, mask=there & (c >= OBS + A + 2))
    if N > 0:
        n = tl.arange(0, NORMALS)[None, :]
        mask = inside & (n < N)
        tl.store(noise + p * N + n, tl.load(drawn + drawn_at[:, None] * N + n, mask=mask, other=0.0), mask=mask)


def gather(
    replay: ReplayBuffer, indices: Tensor, drawn: Tensor, step: Tensor, shift: Tensor | None, scale: Tensor | None
) -> Batch:
    """The batch at row indices [CHUNK, R, B] with normals [CHUNK, R, B, n] of the gradient step that `step` [1] holds; rows
    become `row * scale + shift`, each [R, 1, D]."""
    (_, runs, size), width, normals = indices.shape, replay.obs_columns, drawn.shape[-1]

    def empty(*shape: int) -> Tensor:
        return torch.empty(runs, size, *shape, device=drawn.device)

    batch = Batch(
        observations=empty(width),
        actions=empty(replay.act_dim),
        rewards=empty(),
        next_observations=empty(width),
        masks=empty(),
        noise=empty(normals),
    )
    affine = shift is not None and scale is not None
    _gather[(triton.cdiv(runs * size, _BLOCK),)](
        replay.rows, indices, drawn, step, shift if affine else drawn, scale if affine else drawn, *batch[:6], runs * size,
        size,
        OBS=width, A=replay.act_dim, N=normals, AFFINE=affine, BLOCK=_BLOCK,
        WIDTH=triton.next_power_of_2(2 * width + replay.act_dim + 2), NORMALS=triton.next_power_of_2(max(normals, 1)),
    )  # fmt: skip
    more = {} if replay.columns is None else replay.columns(indices.index_select(0, step).squeeze(0))
    return batch._replace(actions=replay.as_classes(batch.actions), **more)


@triton.jit
def _sum_metrics(sums, metrics, step, RUNS: tl.constexpr, BLOCK: tl.constexpr):
    """Program m adds metric m, [R], to row m of sums [M, R]; the first also counts the gradient step."""
    program, run = tl.program_id(0), tl.arange(0, BLOCK)
    mask = run < RUNS
    for m in tl.static_range(len(metrics)):
        if program == m:
            place = sums + m * RUNS + run
            value = tl.load(metrics[m] + run, mask=mask, other=0).to(tl.float64)
            tl.store(place, tl.load(place, mask=mask, other=0.0) + value, mask=mask)
    if program == 0:
        tl.store(step, tl.load(step) + 1)


def sum_metrics(sums: Tensor, metrics: Sequence[Tensor], step: Tensor) -> None:
    """Add M metrics [R] to sums [M, R], float64, and 1 to `step` [1], in place."""
    runs = sums.shape[1]
    contiguous = tuple(each.contiguous() for each in metrics)
    _sum_metrics[(len(contiguous),)](sums, contiguous, step, RUNS=runs, BLOCK=triton.next_power_of_2(runs))
