"""Datasets: `Dataset` and `load_dataset`, readers of dataset formats, the cache, and streams of datasets.

Imported by `training`, `experiments`, `collection` and the commands; imports `environments`, and `results.legacy` for old names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.data.dataset import Dataset as Dataset
    from seqeval_rl.data.load import load_dataset as load_dataset
    from seqeval_rl.data.manage import fetch as fetch, list_datasets as list_datasets, verify as verify
    from seqeval_rl.data.readers.base import (
        FetchOptions as FetchOptions,
        Listing as Listing,
        Reader as Reader,
        ReadOptions as ReadOptions,
    )
    from seqeval_rl.data.stream import Stream as Stream, StreamSpec as StreamSpec
    from seqeval_rl.data.validation import RawTransitions as RawTransitions
    from seqeval_rl.data.verification import Check as Check

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Check": "verification",
        "Dataset": "dataset",
        "FetchOptions": "readers.base",
        "Listing": "readers.base",
        "RawTransitions": "validation",
        "ReadOptions": "readers.base",
        "Reader": "readers.base",
        "Stream": "stream",
        "StreamSpec": "stream",
        "fetch": "manage",
        "list_datasets": "manage",
        "load_dataset": "load",
        "verify": "manage",
    },
)
