from .distributions import (
    class_log_prob as class_log_prob,
    epsilon_greedy as epsilon_greedy,
    normal_log_prob as normal_log_prob,
    of_class as of_class,
    sampled_class as sampled_class,
    tanh_normal as tanh_normal,
    tanh_normal_log_prob as tanh_normal_log_prob,
    uniform as uniform,
    uniform_class as uniform_class,
)
from .images import Encoder as Encoder, Trunk as Trunk, random_shift as random_shift
from .initialization import Initialization as Initialization
from .layer_norm import LayerNorm as LayerNorm
from .modules import (
    MLP as MLP,
    ActorCritic as ActorCritic,
    Critic as Critic,
    DeterministicActorCritic as DeterministicActorCritic,
    GaussianActor as GaussianActor,
    TanhActor as TanhActor,
    TanhGaussianActor as TanhGaussianActor,
    Value as Value,
    frozen_copy as frozen_copy,
    setting as setting,
)
from .optimizers import Adam as Adam, soft_update as soft_update
