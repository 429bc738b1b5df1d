"""Lists of names joined by `+` or `,`: an existing path is never split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from seqeval_rl.benchmarks.arguments.parsing import words
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.utils.files import split_at


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "cache"))
    for name in ("a+b.npz", "a,b.npz", "a,b+c.npz", "c.npz", "my,file.py"):
        Path(name).touch()
    Path("dir+x").mkdir()


@pytest.mark.parametrize(
    ("text", "separator", "expected"),
    [
        ("a+b.npz", "+", ["a+b.npz"]),
        ("a+b.npz:500", "+", ["a+b.npz:500"]),
        ("npz:a+b.npz:500+c.npz", "+", ["npz:a+b.npz:500", "c.npz"]),
        ("c.npz+a+b.npz+c.npz", "+", ["c.npz", "a+b.npz", "c.npz"]),
        ("vd4rl:dir+x+bundled/hopper/medium:10", "+", ["vd4rl:dir+x", "bundled/hopper/medium:10"]),
        ("bundled/hopper/random+bundled/hopper/medium", "+", ["bundled/hopper/random", "bundled/hopper/medium"]),
        ("gone+c.npz", "+", ["gone", "c.npz"]),
        ("c.npz+vd4rl:dir", "+", ["c.npz", "vd4rl:dir"]),
        ("a,b.npz", ",", ["a,b.npz"]),
        ("a,b.npz+c.npz,c.npz", ",", ["a,b.npz+c.npz", "c.npz"]),
        ("a,b+c.npz,bundled/hopper/medium", ",", ["a,b+c.npz", "bundled/hopper/medium"]),
        ("bc,my,file.py:Mine,iql", ",", ["bc", "my,file.py:Mine", "iql"]),
        ("bc,iql", ",", ["bc", "iql"]),
        ("", ",", [""]),
    ],
)
def test_existing_paths_are_not_split(text: str, separator: str, expected: list[str]) -> None:
    assert split_at(text, separator) == expected


@given(st.lists(st.text("xyz/:.", max_size=4), min_size=1, max_size=5), st.sampled_from("+,"))
def test_names_of_nothing_are_split_everywhere_and_nothing_is_lost(parts: list[str], separator: str) -> None:
    text = separator.join(parts)
    assert split_at(text, separator) == parts


def test_lists_of_options_keep_paths_with_commas() -> None:
    assert words("a,b.npz, c.npz,") == ["a,b.npz", "c.npz"]


def test_a_dataset_with_a_plus_in_its_name_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "observations": rng.normal(size=(20, 3)),
        "actions": rng.uniform(-1, 1, (20, 2)),
        "rewards": np.ones(20),
        "terminations": np.arange(20) % 10 == 9,
        "truncations": np.zeros(20, bool),
    }
    np.savez("a+b.npz", **arrays)
    np.savez("c.npz", **arrays)
    assert main(["datasets", "show", "a+b.npz+c.npz", "--out", str(tmp_path / "out")]) == 0
    assert "together       40 transitions" in capsys.readouterr().out
