from .dataset import Dataset as Dataset
from .load import (
    fetch as fetch,
    list_datasets as list_datasets,
    load_dataset as load_dataset,
    verify as verify,
)
from .minari_writer import NewDataset as NewDataset
from .readers.base import FetchOptions as FetchOptions, Listing as Listing, Reader as Reader, ReadOptions as ReadOptions
from .stream import Stream as Stream, StreamSpec as StreamSpec
from .validation import RawTransitions as RawTransitions
from .verification import Check as Check
