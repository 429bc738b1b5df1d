from .algorithm import Algorithm as Algorithm, Batch as Batch, Spec as Spec
from .config import (
    OFFLINE_STEPS as OFFLINE_STEPS,
    Count as Count,
    Fraction as Fraction,
    Layers as Layers,
    NonNegative as NonNegative,
    OpenFraction as OpenFraction,
    Positive as Positive,
)
from .per_seed import PerSeed as PerSeed
from .registry import (
    AlgorithmEntry as AlgorithmEntry,
    find_algorithm as find_algorithm,
    find_registered as find_registered,
    registered as registered,
)
from .sequences import (
    SequenceBatch as SequenceBatch,
    action_chunks as action_chunks,
    n_step_returns as n_step_returns,
    rewards_to_go as rewards_to_go,
)
from .state import Stateful as Stateful, join_states as join_states, split_state as split_state
