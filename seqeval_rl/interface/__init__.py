"""What an algorithm is: its inputs, methods and settings, how it is found, and the checks that it must pass.

`Algorithm`, `Batch` and `Spec` are the contract; `Stateful`, the types of settings (`Positive`, `Layers`, ...) and
`checks.check_algorithm` help to fulfil it. Imports `errors`, `seeding` and `utils` only; every other package may import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.interface.algorithm import Algorithm as Algorithm, Batch as Batch, Spec as Spec
    from seqeval_rl.interface.config import (
        Count as Count,
        Fraction as Fraction,
        Layers as Layers,
        NonNegative as NonNegative,
        OpenFraction as OpenFraction,
        Positive as Positive,
    )
    from seqeval_rl.interface.per_seed import PerSeed as PerSeed
    from seqeval_rl.interface.registry import (
        AlgorithmEntry as AlgorithmEntry,
        find_algorithm as find_algorithm,
        registered as registered,
    )
    from seqeval_rl.interface.state import Stateful as Stateful, join_states as join_states, split_state as split_state

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Algorithm", "Batch", "Spec"), "algorithm"),
        **dict.fromkeys(("AlgorithmEntry", "find_algorithm", "registered"), "registry"),
        **dict.fromkeys(("Count", "Fraction", "Layers", "NonNegative", "OpenFraction", "Positive"), "config"),
        "PerSeed": "per_seed",
        **dict.fromkeys(("Stateful", "join_states", "split_state"), "state"),
    },
)
