from .awac import AWAC as AWAC
from .bc import BC as BC
from .cql import CQL as CQL
from .iql import IQL as IQL
from .sac import SAC as SAC
from .td3_bc import TD3BC as TD3BC
