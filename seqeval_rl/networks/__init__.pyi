from .distributions import (
    normal_log_prob as normal_log_prob,
    tanh_normal as tanh_normal,
    tanh_normal_log_prob as tanh_normal_log_prob,
    uniform as uniform,
)
from .initialization import Initialization as Initialization
from .modules import (
    MLP as MLP,
    ActorCritic as ActorCritic,
    Critic as Critic,
    GaussianActor as GaussianActor,
    TanhActor as TanhActor,
    TanhGaussianActor as TanhGaussianActor,
    Value as Value,
    frozen_copy as frozen_copy,
    setting as setting,
)
from .optimizers import Adam as Adam, soft_update as soft_update
