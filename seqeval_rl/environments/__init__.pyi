from .make import make_vector_env as make_vector_env
from .tasks import TASKS as TASKS, Task as Task, task_named as task_named
from .vector_env import VectorEnv as VectorEnv
