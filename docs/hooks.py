"""mkdocs hooks: pages that are files of the repository's root, and the import layout for the API reference."""

import tempfile
from pathlib import Path

from mkdocs.plugins import event_priority

ROOT_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
FOLDERS = ("algorithms", "benchmarks", "plots")  # import names seqeval_rl.algorithms and so on, see pyproject.toml

_layout = tempfile.TemporaryDirectory()


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config):
    """Let mkdocstrings find the sources under their import names: a folder of links, laid out as the installed package is."""
    root = Path(config.config_file_path).parent
    package = Path(_layout.name) / "seqeval_rl"
    package.mkdir(exist_ok=True)
    for source in [*(root / "seqeval_rl").iterdir(), *(root / name for name in FOLDERS)]:
        target = package / source.name
        if not target.exists():
            target.symlink_to(source)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_layout.name]
    return config


def on_page_markdown(markdown, page, config, files):
    """The pages `contributing` and `changelog`, with links adapted to the site."""
    source = ROOT_FILES.get(page.file.src_uri)
    if source is None:
        return markdown
    text = (Path(config.config_file_path).parent / source).read_text(encoding="utf-8")
    return text.replace("](docs/", "](")
