"""Algorithm 1 of the paper and its parts: revealing a stream in increments, training on what is visible, evaluating as it grows.

Start with `loop.sequential_evaluation`. `Trainer` builds, trains and saves a group of runs; below it are the learner (on CUDA
with captured graphs), the batch sampler and the replay buffer, normalization, the online phase and prequential scores.
Imports everything up to `data`, but neither `experiments` nor `collection`; these and `benchmarks` may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
