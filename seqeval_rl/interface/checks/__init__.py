"""The contract checks for algorithms: `check_algorithm(MyAlgorithm)` in an author's own tests, or `seqeval check`.

Imports the other modules of `seqeval_rl.interface` only.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
