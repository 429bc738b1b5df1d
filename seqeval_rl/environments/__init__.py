"""Environments: tasks with their reference returns, spaces, and vector environments (one process, subprocesses, MuJoCo, envpool).

Imported by every package but `algorithms`, `interface`, `networks` and `plots`; imports `errors` and `utils` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqeval_rl.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from seqeval_rl.environments.make import make_vector_env as make_vector_env
    from seqeval_rl.environments.tasks import TASKS as TASKS, Task as Task, task_named as task_named
    from seqeval_rl.environments.vector_env import VectorEnv as VectorEnv

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {"TASKS": "tasks", "Task": "tasks", "VectorEnv": "vector_env", "make_vector_env": "make", "task_named": "tasks"},
)
