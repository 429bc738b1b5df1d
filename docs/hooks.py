"""mkdocs hooks: pages that are files of the repository's root, and API pages that list a package's public names."""

import ast
import os
import re
import shutil
import tempfile
from pathlib import Path

from mkdocs.plugins import event_priority

ROOT_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FOLDERS = ("algorithms", "benchmarks", "plots")  # import names seqeval_rl.algorithms and so on, see pyproject.toml
PUBLIC_NAMES = re.compile(r"^<!-- public names of (\S+) -->$", re.MULTILINE)

_layout = Path(tempfile.gettempdir()) / f"seqeval-rl-docs-{os.getpid()}"


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config):
    """Let mkdocstrings find the sources under their import names: a folder of links, laid out as the installed package is."""
    root = Path(config.config_file_path).parent
    package = _layout / "seqeval_rl"
    package.mkdir(parents=True, exist_ok=True)
    for source in [*(root / "seqeval_rl").iterdir(), *(root / name for name in FOLDERS)]:
        target = package / source.name
        if not target.exists():
            target.symlink_to(source)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(_layout)]
    return config


def on_shutdown():
    """Remove the folder of links."""
    shutil.rmtree(_layout, ignore_errors=True)


def on_page_markdown(markdown, page, config, files):
    """The pages `contributing` and `changelog` with links adapted to the site; the public names of a package."""
    source = ROOT_FILES.get(page.file.src_uri)
    if source is not None:
        text = (Path(config.config_file_path).parent / source).read_text(encoding="utf-8")
        return text.replace("](docs/", "](")
    return PUBLIC_NAMES.sub(lambda match: "\n\n".join(_entries(match[1])), markdown)


def _entries(package):
    """A mkdocstrings entry for each public class and function; the top package also links those of its packages."""
    names = public_names(_layout.joinpath(*package.split("."), "__init__.py"), package)
    entries, links = [], []
    for name, module in sorted(names.items()):
        if package == "seqeval_rl" and module.count(".") > 1:
            links.append(f"- [`{name}`][{module}.{name}]")
        else:
            entries.append(f"::: {module}.{name}")
    if links:
        links.insert(0, "It also exports, from the pages of its packages:\n")
    return [f"```python\nimport {package}\n```", *entries, "\n".join(links)]


def public_names(init, package):
    """The classes and functions that a package exports, and the module of each, read from its `__init__.py`.

    They are imported in the stub next to it, imported in it, or defined in it.
    """
    names = {}
    stub = init.with_suffix(".pyi")
    for statement in ast.parse((stub if stub.exists() else init).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            module = f"{package}.{statement.module}" if statement.level == 1 else statement.module
            if module.startswith(package + "."):
                defined = _definitions(init.parent, module.removeprefix(package + "."))
                names |= {alias.name: module for alias in statement.names if alias.name in defined}
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef) and not statement.name.startswith("_"):
            names[statement.name] = package
    return names


def _definitions(folder, module):
    """Names of the classes and functions of a module in the folder of a package."""
    path = folder.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    statements = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name for node in statements if isinstance(node, ast.FunctionDef | ast.ClassDef)}
