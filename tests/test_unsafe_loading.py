"""No file of the packages can run what it reads: no pickle from files, no eval, no shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ("seqeval_rl", "seqeval_rl.algorithms", "seqeval_rl.benchmarks", "seqeval_rl.plots")
# What a worker process and its parent, which started it, send each other through a pipe.
PIPE = ("seqeval_rl/utils/processes.py", "pickle.load")
# The worker's answer to itself: whether an exception can travel.
ECHO = ("seqeval_rl/utils/processes.py", "pickle.loads")
# Modules that write or read pickles of what this process made.
UNSAFE_MODULES = ("dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "yaml")
UNSAFE_CALLS = (
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "pandas.read_pickle", "subprocess.getoutput", "subprocess.getstatusoutput",
)  # fmt: skip


def sources() -> list[Path]:
    """Every Python file of the installed packages."""
    found: set[Path] = set()
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found |= set(Path(spec.origin).parent.rglob("*.py"))
    return sorted(found)


def unsafe(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is unsafe in a file, and on which line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, node.lineno) for each in node.names if each.name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (*UNSAFE_MODULES, "pickle"):
            yield f"from {node.module}", node.lineno
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            arguments = {each.arg: ast.unparse(each.value) for each in node.keywords}
            echo = name == "pickle.loads" and ast.unparse(node.args[0]).startswith("pickle.dumps(")
            if name in UNSAFE_CALLS and not echo:
                yield name, node.lineno
            if name.endswith("torch.load") and arguments.get("weights_only") != "True":
                yield "torch.load without weights_only=True", node.lineno
            wrong = {"allow_pickle": "False", "shell": "False", "weights_only": "True"}
            yield from (
                (f"{key}={value}", node.lineno) for key, value in arguments.items() if wrong.get(key, value) != value
            )


def test_no_file_is_unpickled_and_no_text_is_run() -> None:
    files = sources()
    assert len(files) > 150
    found = []
    for path in files:
        for what, line in unsafe(ast.parse(path.read_text(encoding="utf-8"))):
            if not any(path.as_posix().endswith(file) and what == call for file, call in (PIPE, ECHO)):
                found.append(f"{path}:{line}: {what}")
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)", "exec(text)", "import dill", "from pickle import loads", "pickle.load(file)", "torch.load(file)",
        "torch.load(file, weights_only=False)", "np.load(file, allow_pickle=True)", "subprocess.run(text, shell=True)",
        "np.load(file, allow_pickle=flag)", "os.system(text)",
    ],
)  # fmt: skip
def test_the_search_finds(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_the_search_lets_pass_what_is_safe() -> None:
    code = (
        "np.load(file, allow_pickle=False)\ntorch.load(file, weights_only=True)\nsubprocess.run(['git'])\nmodel.eval()"
    )
    assert not list(unsafe(ast.parse(code)))
