"""The algorithms that come with the project, one file each. They import `seqeval_rl.interface` and `seqeval_rl.networks` only.

The harness finds them as anybody's: by the entry points `seqeval_rl.algorithms` in `pyproject.toml`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.algorithms.awac import AWAC as AWAC
    from seqeval_rl.algorithms.bc import BC as BC
    from seqeval_rl.algorithms.cql import CQL as CQL
    from seqeval_rl.algorithms.iql import IQL as IQL
    from seqeval_rl.algorithms.sac import SAC as SAC
    from seqeval_rl.algorithms.td3_bc import TD3BC as TD3BC

__getattr__, __dir__, __all__ = lazy_exports(
    __name__, {"AWAC": "awac", "BC": "bc", "CQL": "cql", "IQL": "iql", "SAC": "sac", "TD3BC": "td3_bc"}
)
