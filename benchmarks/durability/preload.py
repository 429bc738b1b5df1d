"""What commands import, imported once by the server whose forks they are."""

import importlib

for _name in (
    "matplotlib.figure", "minari", "pyarrow.parquet", "seqeval_rl.benchmarks.cli", "seqeval_rl.benchmarks.commands.run",
    "seqeval_rl.data.readers.bundled", "seqeval_rl.experiments.launchers.local", "seqeval_rl.algorithms.td3_bc",
    "seqeval_rl.plots.figures.learning_curves", "gymnasium.envs.mujoco", "seqeval_rl.training.trainer",
):  # fmt: skip
    importlib.import_module(_name)
