"""Algorithm 1 of the paper and its parts: revealing a stream in increments, training on what is visible, evaluating as it grows.

Start with `loop.sequential_evaluation`. `Trainer` builds, trains and saves a group of runs; below it are the learner (on CUDA
with captured graphs), the batch sampler and the replay buffer, normalization, the online phase and prequential scores.
Imports everything up to `data`, but neither `experiments` nor `collection`; these and `benchmarks` may import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.training.build import Transitions as Transitions, build_learner as build_learner
    from seqeval_rl.training.device import choose_device as choose_device, matrix_products as matrix_products
    from seqeval_rl.training.evaluation import Evaluation as Evaluation, Evaluator as Evaluator
    from seqeval_rl.training.evaluation_queue import EvaluationQueue as EvaluationQueue, Outcome as Outcome
    from seqeval_rl.training.learner import Learner as Learner
    from seqeval_rl.training.loop import sequential_evaluation as sequential_evaluation
    from seqeval_rl.training.replay_buffer import ReplayBuffer as ReplayBuffer
    from seqeval_rl.training.trainer import Run as Run, Trainer as Trainer

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Transitions", "build_learner"), "build"),
        **dict.fromkeys(("choose_device", "matrix_products"), "device"),
        **dict.fromkeys(("Evaluation", "Evaluator"), "evaluation"),
        **dict.fromkeys(("EvaluationQueue", "Outcome"), "evaluation_queue"),
        "Learner": "learner",
        "sequential_evaluation": "loop",
        "ReplayBuffer": "replay_buffer",
        **dict.fromkeys(("Run", "Trainer"), "trainer"),
    },
)
