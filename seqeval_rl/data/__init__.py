"""Datasets: `Dataset` and `load_dataset`, readers of dataset formats, the cache, and streams of datasets.

Imported by `training`, `experiments`, `collection` and the commands; imports `environments`, and `results.legacy` for old names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
