from .build import build_learner as build_learner
from .device import choose_device as choose_device, matrix_products as matrix_products
from .evaluation import Evaluation as Evaluation, Evaluator as Evaluator
from .evaluation_queue import EvaluationQueue as EvaluationQueue, Outcome as Outcome
from .learner import Learner as Learner
from .loop import sequential_evaluation as sequential_evaluation
from .replay_buffer import ReplayBuffer as ReplayBuffer, Transitions as Transitions
from .trainer import Run as Run, Trainer as Trainer
