"""Environments: tasks with their reference returns, spaces, and vector environments (one process, subprocesses, MuJoCo, envpool).

Imported by every package but `algorithms`, `interface`, `networks` and `plots`; imports `errors` and `utils` only.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
