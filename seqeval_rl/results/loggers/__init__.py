"""Loggers: one file for each place that evaluations are written to. Imported by `experiments` and `collection`.

`metrics.jsonl` is always written and the only source of scores; others are found by entry point `seqeval_rl.loggers`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
