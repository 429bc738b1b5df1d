"""How matrix products of float32 numbers are computed: exactly so, or faster and rounded more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_TORCH = {"float32": "highest", "tf32": "high", "bfloat16": "medium"}


@contextmanager
def matrix_products(precision: Precision) -> Iterator[None]:
    """Inside the block, torch's float32 matrix products are taken in that precision; numbers stay float32 in memory.

    float32: all 24 bits of the mantissa. tf32: factors are rounded to 11 bits on CUDA devices that can. bfloat16: factors are
    rounded to 8 bits on processors that multiply these (AVX512_BF16, AMX), on CUDA as tf32. Sums are float32 in each. A
    device that cannot takes the next more exact one.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_TORCH[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
