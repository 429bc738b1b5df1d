"""Sweeps: planning which runs are left to do, grouping them, and training them in worker processes.

`run_sweep` is the way in: `planner` checks everything and makes jobs, `scheduler` runs them, `worker` trains a job's runs.
Imports everything up to `training`; imported by `collection`, the Python API and the commands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
