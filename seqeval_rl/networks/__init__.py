"""Networks and optimizers with a run axis: critics, values, actors, policy distributions, Adam and soft updates.

For algorithms; imports `seqeval_rl.interface` only. `MLP` is the network inside the others, computed by `batched_mlp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.networks.distributions import (
        normal_log_prob as normal_log_prob,
        tanh_normal as tanh_normal,
        tanh_normal_log_prob as tanh_normal_log_prob,
        uniform as uniform,
    )
    from seqeval_rl.networks.modules import (
        MLP as MLP,
        Critic as Critic,
        GaussianActor as GaussianActor,
        TanhActor as TanhActor,
        TanhGaussianActor as TanhGaussianActor,
        Value as Value,
        frozen_copy as frozen_copy,
        setting as setting,
    )
    from seqeval_rl.networks.optimizers import Adam as Adam, soft_update as soft_update

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        **dict.fromkeys(("Adam", "soft_update"), "optimizers"),
        **dict.fromkeys(
            ("Critic", "GaussianActor", "MLP", "TanhActor", "TanhGaussianActor", "Value", "frozen_copy", "setting"),
            "modules",
        ),
        **dict.fromkeys(("normal_log_prob", "tanh_normal", "tanh_normal_log_prob", "uniform"), "distributions"),
    },
)
