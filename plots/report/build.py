"""Results as one HTML file that opens without a network; `plots/report/README.md` lists what it is made of.

Nothing from the results is written as HTML: all of it is compressed data that the page's scripts show as text. A content
security policy allows these scripts, by their hashes, and nothing else, and forbids every request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqeval_rl.errors import FileError
from seqeval_rl.plots.report.data import report_data
from seqeval_rl.results.read import RunResult
from seqeval_rl.utils.files import atomic_write

ASSETS = Path(__file__).parent
_STYLES = ("uPlot.min.css", "page.css")
_SCRIPTS = ("uPlot.iife.min.js", "charts.js", "tables.js", "sections.js", "page.js")


def write_report(results: Sequence[RunResult], path: str | os.PathLike[str], name: str = "", seed: int = 0) -> Path:
    """Write the report of these runs as one HTML file (atomic write) and return its path.

    Args:
        results: from `seqeval_rl.read_results`.
        path: of the HTML file; missing directories are created.
        name: of the results, for the page's title; the name of the file's directory if empty.
        seed: of the bootstrap.

    Raises:
        UsageError: no run, or one seed twice with the same settings.
        DataError: a manifest lacks fields that figures need.
        FileError: the file cannot be written.
    """
    target = Path(path)
    text = page(report_data(results, name or target.parent.name, seed))
    try:
        atomic_write(target, text)
    except OSError as error:
        raise FileError(
            f"{target}: the report cannot be written ({error.strerror or error}). "
            "Free disk space or choose another file with --out."
        ) from error
    return target


def page(data: dict[str, Any]) -> str:
    """The file's text: template, styles, scripts, and the data as base64 of gzipped JSON."""
    styles = [_asset(name) for name in _STYLES]
    scripts = [_asset(name) for name in _SCRIPTS]
    # mtime=0: the same results give the same file.
    packed = gzip.compress(json.dumps(data, allow_nan=False, separators=(",", ":")).encode(), 9, mtime=0)
    parts = {
        "POLICY": f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "STYLES": "\n".join(f"<style>{style}</style>" for style in styles),
        "DATA": base64.b64encode(packed).decode(),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _asset("page.html"))


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
