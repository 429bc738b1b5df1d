"""What commands print, whatever the locale and the encoding of the terminal, and where standard streams are closed."""

import csv
import io
import os
import stat
import subprocess
import sys

import pytest
from synthetic import npz

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.utils.console import can_show, error_stream, is_terminal, prepare_streams, progress_bar

ASCII = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONWARNINGS": "ignore"}
SUITE = """
algorithms = ["bc", "td3_bc"]
seeds = [0, 1]
streams = [{ name = "跳跃", blocks = ["log.npz"] }, { name = "行走", blocks = ["log.npz"] }]
protocol = { initial = 100, batch_size = 16, evaluate_every = 100, episodes = 1 }
"""
STYLE = '[bc]\nname = "Klönung"\n'
COMMANDS = [
    "run mine.toml --out out", "status out", "status out --all", "report out", "select out", "export out all.csv", "cite out",
    *(f"table out --format {kind}" for kind in ("md", "latex", "csv", "text")), "table out --measures across",
    "table out --style style.toml", "plot out --style style.toml", "datasets show log.npz --out out", "datasets list",
    "algorithms", "run --list", "--version",
]  # fmt: skip
EACH = """
import sys
from seqeval_rl.benchmarks.cli import main
for command in sys.argv[1:]:
    print("$", command)
    code = main(command.split())
    assert code == 0, (command, code)
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    npz(tmp_path / "log.npz")
    for name, text in (("mine.toml", SUITE), ("style.toml", STYLE)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def seqeval(command, redirection="", **options):
    """The command in a shell, with redirections."""
    script = f'"$0" -m seqeval_rl.benchmarks {command} {redirection}'
    return subprocess.run(["sh", "-c", script, sys.executable], capture_output=True, check=False, **options)


def test_every_command_works_in_an_ascii_locale(folder):
    done = subprocess.run([sys.executable, "-c", EACH, *COMMANDS], env=ASCII, capture_output=True, check=False)
    shown = done.stdout.decode("ascii")
    assert done.returncode == 0, done.stderr.decode("ascii")
    assert r"\u8df3\u8dc3" in shown  # names stay different
    assert r"\u884c\u8d70" in shown
    assert r"Kl\xf6nung" in shown
    # What is written to files is UTF-8.
    with (folder / "all.csv").open(encoding="utf-8", newline="") as file:
        assert {row["dataset"] for row in csv.DictReader(file)} == {"跳跃", "行走"}
    assert "跳跃" not in shown


def test_standard_streams_may_be_closed(folder):
    run = "run mine.toml --algorithms bc --seeds 0 --set protocol.episodes=0 --out out"
    assert seqeval(run, "<&- >&- 2>&-").returncode == 0
    files = [*folder.glob("out/*/bc/seed-0/*.json*")]
    assert len(files) == 6
    for path in files:
        assert path.read_text(encoding="utf-8").startswith("{")
    for closed in ("<&-", ">&-", "2>&-"):
        assert seqeval("status out", closed).returncode == 0
    assert seqeval("status nowhere", ">&- 2>&-").returncode == 65


def test_output_that_cannot_be_written_is_an_error_in_one_line(folder):
    for command in ("--help", "run --list"):
        done = seqeval(command, ">/dev/full")
        assert (done.returncode, done.stderr.decode()) == (74, "seqeval: input/output: No space left on device.\n")


@pytest.mark.parametrize("command", [["--version"], ["--help"]])
def test_the_version_is_printed(command, capsys):
    if command == ["--help"]:
        with pytest.raises(SystemExit):
            main(command)
        assert "--version" in capsys.readouterr().out
    else:
        assert main(command) == 0
        assert capsys.readouterr().out == "seqeval-rl 0.1.0\n"


def test_streams_of_the_python_api_may_be_missing(monkeypatch, tmp_path):
    for stream in (None, io.StringIO()):
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        assert not is_terminal(stream)
        with progress_bar("x", 1, True) as bar:
            bar.update(1)
        error_stream().write("to nowhere")
    prepare_streams()
    print("to nowhere", file=sys.stderr)
    assert stat.S_ISCHR(os.fstat(sys.stderr.fileno()).st_mode)
    sys.stderr.close()


def test_letters_are_looked_for_in_the_encoding():
    assert can_show("▁", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert not can_show("▁", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
