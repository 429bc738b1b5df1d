"""What the pages say is so: links resolve, options exist, the API reference is complete, the site builds."""

import contextlib
import dataclasses
import importlib
import inspect
import io
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, anchors, commands, inline_commands, links, prose

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.interface.registry import find_algorithm, registered

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_resolve(page):
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {link}, which is not there"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {link}, whose heading is not there"


@cache
def help_text(*command):
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return text.getvalue()


def subcommand(words):
    """The leading words that are subcommands."""
    depth = 2 if words[0] == "datasets" and len(words) > 1 and not words[1].startswith("-") else 1
    return tuple(words[:depth])


def options(*command):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_text(*command)))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_their_options_exist(page):
    for words in commands(page) + inline_commands(page):
        command = subcommand(words)
        known = options(*command)
        assert known, f"{page.name}: seqeval {' '.join(words)}: no such command"
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"{page.name}: seqeval {' '.join(words)}: no option {word}"


@pytest.mark.parametrize(
    ("page", "covered"),
    [
        ("run-a-suite.md", [("run",), ("status",)]),
        ("figures-and-tables.md", [("plot",), ("table",), ("report",), ("paper",), ("cite",), ("select",)]),
        ("datasets.md", [("datasets", "show"), ("datasets", "fetch"), ("datasets", "collect")]),
        ("speed.md", [("bench",)]),
        ("policies.md", [("policy",), ("evaluate",)]),
    ],
)
def test_a_page_names_every_option_of_its_commands(page, covered):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for command in covered:
        # An option's entry begins a line with its names; the old name of another option need not be on the page.
        hidden = {"--help"}
        for entry in re.split(r"^[ │]{1,3}(?=-)", help_text(*command), flags=re.MULTILINE):
            if "old name" in entry:
                hidden |= set(re.findall(r"--[a-z0-9-]+", entry.partition("  ")[0]))
        hidden |= {option for option in options(*command) if option.startswith("--no-")}
        for option in options(*command) - hidden:
            assert re.search(rf"{option}(?![\w-])", text), (
                f"{page} does not name {option} of seqeval {' '.join(command)}"
            )


@pytest.mark.parametrize(
    "command", ["run", "plot", "table", "select", "bench", "policy", "datasets collect", "datasets push"]
)
def test_every_option_has_a_help_text_of_its_own(command):
    text = re.sub(r"[│─╭╮╰╯]", " ", help_text(*command.split()))
    entries = re.split(r"^ {1,3}(?=--?[a-z])", text, flags=re.MULTILINE)[1:]
    texts = [re.split(r"\s{2,}", entry, maxsplit=1)[1] for entry in entries]
    meanings = [" ".join(text.split("(default")[0].split()) for text in texts]
    assert meanings
    assert all(meanings)
    assert len(set(meanings)) == len(meanings)


API = sorted((ROOT / "docs" / "api").glob("*.md"))


@pytest.mark.parametrize("page", API, ids=[page.stem for page in API])
def test_the_api_reference_finds_every_public_name(page):
    [package] = re.findall(r"^<!-- public names of (\S+) -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    module = importlib.import_module(package)
    found = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["public_names"](Path(module.__file__), package)
    values = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    classes_and_functions = {
        name for name, value in values.items() if inspect.isroutine(value) or inspect.isclass(value)
    }
    assert set(found) >= classes_and_functions


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"\b[\w/-]+\.md\b", text))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").glob("**/*.md")}


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', page)


NAMED = [page for page in PAGES if page.name != "changelog.md"]


@pytest.mark.parametrize("page", NAMED, ids=[page.relative_to(ROOT).as_posix() for page in NAMED])
def test_files_and_names_that_a_page_mentions_exist(page):
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    for span in spans:
        if re.fullmatch(r"(seqeval_rl|algorithms|benchmarks|plots|tests|examples|docs)/[\w./-]*", span):
            assert (ROOT / span).exists(), f"{page.name} names {span}, which is not there"
        elif re.fullmatch(r"seqeval_rl(\.\w+)+", span) and span not in GROUPS:
            assert _resolves(span), f"{page.name} names {span}, which is not there"


GROUPS = {f"seqeval_rl.{kind}" for kind in ("readers", "loggers", "launchers", "figures", "tables")}  # of entry points


def _resolves(name):
    module, _, rest = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ImportError:
        return hasattr(importlib.import_module(module), rest)
    return True


def test_the_table_of_algorithms_has_every_one_and_names_its_settings():
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*)\|$", (ROOT / "docs" / "algorithms.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == set(registered())
    for name, chosen in rows:
        known = {field.name for field in dataclasses.fields(find_algorithm(name).algorithm.Config)}
        assert set(re.findall(r"`(\w+)`", chosen)) <= known, name
