"""Collecting datasets: policies of runs, playing them, training behavior policies, and writing Minari datasets.

The last package in the order of imports: it may import every other but `plots` and `benchmarks`, and only the commands import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
