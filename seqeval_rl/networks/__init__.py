"""Networks and optimizers with a run axis: critics, values, actors, policy distributions, Adam and soft updates.

For algorithms; imports `seqeval_rl.interface` only. `MLP` is the network inside the others, computed by `batched_mlp`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
