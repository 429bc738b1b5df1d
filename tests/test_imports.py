"""The order of the packages: imports go one way, and neither packages nor files import each other in a circle.

The graph is built from the source, so that imports inside functions and for type checkers count too.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"seqeval_rl": "seqeval_rl"} | {f"seqeval_rl.{name}": name for name in ("algorithms", "benchmarks", "plots")}

# A package may import those of its own layer and of the layers before it.
LAYERS = (
    {"errors", "seeding", "utils"},
    {"protocol", "interface", "environments"},
    {"networks", "results", "data"},
    {"training"},
    {"experiments"},
    {"collection"},
)
# These see only what is named here.
SEES = {
    "errors": set(),
    "seeding": set(),
    "utils": set(),
    "algorithms": {"interface", "networks"},
    "plots": {"results", "errors", "utils"},
}
# The command, the Python API and the package itself may import everything.
TOP = {"benchmarks", "api", "seqeval_rl"}


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name; a package is its `__init__`."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = modules()


def imports(module: str) -> set[str]:
    """The project's modules that a module imports anywhere in its source."""
    found = set()
    stub = MODULES[module].with_suffix(".pyi")  # the public names that a package imports at first use
    if stub.exists():
        exports = ast.parse(stub.read_text(encoding="utf-8")).body
        found |= {f"{module}.{node.module}" for node in exports if isinstance(node, ast.ImportFrom)}
        assert found <= set(MODULES), f"{stub}: unknown {sorted(found - set(MODULES))}"
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: expected absolute imports, found a relative one in line {node.lineno}"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else str(node.module))
    return found & set(MODULES) - {module}


GRAPH = {module: imports(module) for module in MODULES}


def package(module: str) -> str:
    """The package of a module: the first name below `seqeval_rl`."""
    return module.split(".")[1] if "." in module else module


def layer(name: str) -> int:
    """The layer of a package, from 0."""
    return next(index for index, names in enumerate(LAYERS) if name in names)


def allowed(importer: str, imported: str) -> bool:
    """Whether one package may import another."""
    if importer == imported or importer in TOP:
        return True
    if importer in SEES:
        return imported in SEES[importer]
    return any(imported in names for names in LAYERS) and layer(imported) <= layer(importer)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_package_has_its_place() -> None:
    known = {name for names in LAYERS for name in names} | set(SEES) | TOP
    assert {package(module) for module in MODULES} == known


def test_no_import_goes_against_the_order() -> None:
    against = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if not allowed(package(module), package(other))
    ]
    assert not against, "\n".join(against)


def test_no_circle_between_packages() -> None:
    packages: dict[str, set[str]] = {}
    for module, others in GRAPH.items():
        if package(module) != "seqeval_rl":  # its public names are imported when they are first used
            packages.setdefault(package(module), set()).update(map(package, others))
    assert not circle({name: others - {name, "seqeval_rl"} for name, others in packages.items()})


def test_no_circle_between_files() -> None:
    assert not circle(GRAPH)


@pytest.mark.parametrize("part", ["analysis", "figures", "tables"])
def test_figures_and_tables_are_drawn_from_analyses(part: str) -> None:
    later = {
        "analysis": {"figures", "tables", "report"},
        "figures": {"tables", "report"},
        "tables": {"figures", "report"},
    }
    names = {f"seqeval_rl.plots.{name}" for name in later[part]}
    against = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        if module.startswith(f"seqeval_rl.plots.{part}")
        for other in sorted(others)
        if ".".join(other.split(".")[:3]) in names
    ]
    assert not against, "\n".join(against)


def test_the_checks_see_a_circle_and_an_arrow_upwards() -> None:
    assert circle({"a": {"b"}, "b": {"a"}})
    assert not allowed("data", "training")
    assert not allowed("algorithms", "data")
    assert not allowed("plots", "training")
    assert allowed("training", "data")
