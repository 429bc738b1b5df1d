"""The algorithms that come with the project, one file each. They import `seqeval_rl.interface` and `seqeval_rl.networks` only.

The harness finds them as anybody's: by the entry points `seqeval_rl.algorithms` in `pyproject.toml`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
