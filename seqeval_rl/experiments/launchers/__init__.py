"""Launchers: one file for each place that run groups are trained at. Imported by `experiments.scheduler`.

They are found by entry point `seqeval_rl.launchers`. Whatever one of them loses, the files of the runs are the truth: the same
command plans what is missing in them, and nothing else.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
