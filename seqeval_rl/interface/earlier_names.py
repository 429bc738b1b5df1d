"""Where the public modules of version 0.1's first layout are now, for errors about plug-ins that still import them."""

from __future__ import annotations

_PACKAGES = {
    "interface": ("algorithm", "config_types", "per_run", "registry", "state"),
    "interface.checks": ("contract", "contract_hooks", "contract_parts", "tiny_problem"),
    "networks": ("nets", "perceptron"),
    "environments": ("environments", "lanes", "tasks"),
    "data": ("bundled", "d4rl", "dataset", "minari_logs", "ogbench", "own_arrays", "readers", "stream", "vd4rl"),
    "training": ("engine", "evaluation", "loop", "online", "preprocessing", "prequential", "replay"),
    "results": ("checkpoint", "long_format", "recording", "results", "status"),
    "experiments": ("scheduler", "sweep", "variants"),
    "collection": ("behaviour", "behaviour_training", "collecting", "levels"),
    "plots": (
        *("plots.across", "plots.candidates", "plots.cost", "plots.curves", "plots.data_share", "plots.foretold"),
        *(
            "plots.groups",
            "plots.logs",
            "plots.measure_tables",
            "plots.measures",
            "plots.paper_figures",
            "plots.profile",
        ),
        *("plots.published_table", "plots.ranking", "plots.ratio", "plots.select", "plots.statistics", "plots.style"),
    ),
}
MOVED = {f"seqeval_rl.{old}": f"seqeval_rl.{new}" for new, names in _PACKAGES.items() for old in names}
"""By earlier module, the package that exports its public names now."""


def moved(error: BaseException) -> str | None:
    """What to change where an import failed because of an earlier module; None for any other error."""
    module = error.name if isinstance(error, ImportError) else None
    if module not in MOVED:
        return None
    renamed = ", where `follow` is `soft_update`" if module == "seqeval_rl.nets" else ""
    return f"it imports {module}, which is now in {MOVED[module]}{renamed}. Change the import."
