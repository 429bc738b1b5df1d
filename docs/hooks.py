"""mkdocs hook: the pages Contributing and Changelog are the files at the repository's root, with their links adapted."""

from pathlib import Path

ROOT_FILES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_page_markdown(markdown, page, config, files):
    """The text of the page, before it is rendered."""
    source = ROOT_FILES.get(page.file.src_uri)
    if source is None:
        return markdown
    text = (Path(config.config_file_path).parent / source).read_text(encoding="utf-8")
    return text.replace("](docs/", "](")
