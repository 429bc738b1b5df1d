"""The files of runs: reading and writing them, checkpoints, status, export, and loggers. Reading needs no torch.

Imports `protocol` and what is below it; imported by `training`, `experiments`, `collection`, the plots and the commands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
