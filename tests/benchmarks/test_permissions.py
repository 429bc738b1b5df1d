"""Whatever commands write has the permissions that the umask gives, and is written in the user's umask alone."""

import os
import stat

import pytest
from synthetic import npz

from seqeval_rl.benchmarks.cli import main

SUITE = """
algorithms = ["bc"]
seeds = [0]
streams = [{ name = "noise", blocks = ["log.npz"] }]
protocol = { initial = 100, batch_size = 16, evaluate_every = 100, episodes = 1 }
"""


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077], ids=oct)
def test_permissions_follow_the_umask(umask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQEVAL_CACHE", str(tmp_path / "made" / "cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "made" / "minari"))
    npz(tmp_path / "log.npz")
    (tmp_path / "mine.toml").write_text(SUITE, encoding="utf-8")
    before = os.umask(umask)
    try:
        for command in (
            "run mine.toml --out made/out", "report made/out", "plot made/out --format svg", "export made/out made/all.csv",
            "cite made/out --out made/used.bib", "datasets show log.npz --out made", "datasets fetch bundled/hopper/random:100",
        ):  # fmt: skip
            assert main(command.split()) == 0
    finally:
        os.umask(before)
    written = [path for path in (tmp_path / "made").rglob("*") if not path.is_symlink()]
    names = {path.name for path in written}
    assert names >= {"manifest.json", ".lock", "report.html", "curves.pdf", "results.parquet", "used.bib", "rows.npy"}
    assert [path for path in written if path.suffix == ".pt"]
    wrong = {
        str(path): oct(mode)
        for path in written
        if (mode := stat.S_IMODE(path.stat().st_mode)) != (0o777 if path.is_dir() else 0o666) & ~umask
    }
    assert not wrong
