"""The documentation as tests see it: its pages, fenced blocks, commands and links.

A block whose info string has `title="NAME"` is a file that commands of the same page may use. A Python block after the line
`<!-- tested -->` is run.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TESTED = "<!-- tested -->"
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str  # relative to the root
    language: str
    title: str  # the file that it is, or ""
    tested: bool
    text: str


def blocks(page):
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        info, indent = match["info"], match["indent"]
        title = re.search(r'title="([^"]+)"', info)
        body = "\n".join(line.removeprefix(indent) for line in match["text"].splitlines())
        tested = text[: match.start()].rstrip().endswith(TESTED)
        found.append(
            Block(
                page.relative_to(ROOT).as_posix(),
                info.split()[0] if info.split() else "",
                title[1] if title else "",
                tested,
                body + "\n",
            )
        )
    return found


def prose(page):
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(page):
    """Every `seqeval` command in a block of shell, as a list of words, comments removed and lines continued."""
    found = []
    for block in blocks(page):
        if block.language not in ("", "sh", "bash", "shell", "console"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s&&\s", line):
                if part.strip().startswith("seqeval "):
                    found.append(shlex.split(part, comments=True)[1:])
    return found


def inline_commands(page):
    """Every `seqeval` command in a code span, as a list of words."""
    spans = re.findall(r"`(seqeval [^`]+)`", prose(page))
    return [shlex.split(span.replace("\\|", "|"))[1:] for span in spans]


def links(page):
    """Targets of the links and images of a page, outside of its fenced blocks."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page):
    """What a link to a heading of the page may name."""
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        words = re.sub(r"[^\w\s-]", "", plain).strip().lower()
        found.add(re.sub(r"[\s-]+", "-", words))
    return found
