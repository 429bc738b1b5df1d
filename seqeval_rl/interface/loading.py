"""Loads a class by `module:Class`, `file.py:Class` or `file.py`, and says where modules of the earlier layout are now."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from seqeval_rl.errors import UsageError, unknown
from seqeval_rl.interface.isolation import isolated
from seqeval_rl.utils.tracebacks import placed

FILE_MODULE = "seqeval_plugin_"
"""Prefix of the module name of a file."""

_PACKAGES = {
    "interface": "algorithm config_types per_run registry state",
    "interface.checks": "contract contract_hooks contract_parts tiny_problem",
    "networks": "nets perceptron",
    "environments": "environments lanes tasks",
    "data": "bundled d4rl dataset minari_logs ogbench own_arrays readers stream vd4rl",
    "training": "engine evaluation loop online preprocessing prequential replay",
    "results": "checkpoint long_format recording results status",
    "experiments": "scheduler sweep variants",
    "collection": "behaviour behaviour_training collecting levels",
    "plots": """plots.across plots.candidates plots.cost plots.curves plots.data_share plots.foretold plots.groups plots.logs
        plots.measure_tables plots.measures plots.paper_figures plots.profile plots.published_table plots.ranking plots.ratio
        plots.select plots.statistics plots.style""",
}
MOVED = {f"seqeval_rl.{old}": f"seqeval_rl.{new}" for new, names in _PACKAGES.items() for old in names.split()}
"""By earlier module, the package that exports its public names now."""


def load_class(reference: str, shown: str | None = None, methods: Collection[str] = ()) -> type:
    """The class of a reference `module:Class` or `path/to/file.py:Class`, which messages call `shown`, if that is given.

    Of `path/to/file.py` alone it is the one class of the file that has these `methods`.

    Raises:
        UsageError: there is no such module, file or class, or it cannot be imported.
    """
    source, _, name = (reference, "", "") if reference.endswith(".py") else reference.rpartition(":")
    shown = reference if shown is None else shown
    module = _module(source, shown)
    types = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    if name in types:
        return types[name]
    own = {key: value for key, value in types.items() if value.__module__ == module.__name__}
    if name:
        raise unknown("class", name, own, source)
    suitable = [key for key, value in own.items() if all(hasattr(value, method) for method in methods)]
    if len(suitable) != 1:
        found = f"{' and '.join(suitable)}. Name one of them, {source}:{suitable[0]}" if suitable else "none. Write one"
        raise UsageError(f"{shown}: expected one class with {', '.join(methods)} in this file, found {found}.")
    return own[suitable[0]]


def _module(source: str, reference: str) -> ModuleType:
    path = Path(source) if source.endswith(".py") else None
    if path is not None and not path.is_file():
        raise UsageError(f"{reference}: no file {path}. Check the path.")
    try:
        if source in sys.modules:
            return sys.modules[source]
        with isolated():
            return importlib.import_module(source) if path is None else _run_file(path)
    except (Exception, SystemExit) as error:
        module = error.name if isinstance(error, ImportError) else None
        if module in MOVED:
            renamed = ", where `follow` is `soft_update`" if module == "seqeval_rl.nets" else ""
            problem = f"it imports {module}, which is now in {MOVED[module]}{renamed}. Change the import."
        elif path is None and isinstance(error, ModuleNotFoundError):
            problem = f"module {module!r} is not installed. Install it, or name a file: path/to/file.py:Class."
        else:
            stops = placed(error, source if path is None else f"{FILE_MODULE}{path.stem}")
            problem = f"{source} stops with {stops}. Correct it."
        raise UsageError(f"{reference}: {problem}") from error


def _run_file(path: Path) -> ModuleType:
    """The file as a module, run once in a process."""
    name = f"{FILE_MODULE}{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "every .py file has a spec and a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses and pydantic look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
