"""`seqeval status`, and what `seqeval run` shows on a terminal and leaves in its log."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from seqeval_rl.benchmarks.cli import main


@pytest.fixture
def finished(suite, tmp_path, capsys):
    """A results directory with one finished run, and the name of its log."""
    out = tmp_path / "out"
    assert main(["run", str(suite), "--algorithms", "bc", "--seeds", "0", "--out", str(out)]) == 0
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "finished: noise, bc, seed 0: 300 of 300 transitions" in err
    return out


def test_a_run_leaves_a_log_and_a_status(finished, tmp_path, suite, capsys):
    log = (finished / "run.log").read_text()
    assert re.match(r"\S+ \S+ \d+ --- attempt on \S+, process \d+: 1 runs? in 1 run groups?\n", log)
    assert log.splitlines()[-1].endswith("taken")
    assert main(["status", str(finished)]) == 0
    head, line, last = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["dataset", "algorithm"]
    assert re.match(r"noise +bc +0 +300/300 ", line)
    assert line.endswith("finished")
    assert last == "1 run: 1 finished."
    # What is there already is no attempt.
    assert main(["run", str(suite), "--algorithms", "bc", "--seeds", "0", "--out", str(finished)]) == 0
    assert (finished / "run.log").read_text() == log


def test_a_watch_ends_when_nothing_runs_and_refuses_nonsense(finished, tmp_path, capsys):
    assert main(["status", str(finished), "--watch", "0.1"]) == 0
    assert main(["status", str(finished), "--all", "--watch"]) == 0
    assert capsys.readouterr().out.count("1 run: 1 finished.") == 2
    for wrong in (["0"], ["nan"], ["1", "2"]):
        assert main(["status", str(finished), "--watch", *wrong]) == 2
        assert "--watch: expected one number of seconds" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "none")]) == 65


def test_a_status_needs_no_torch(finished):
    code = (
        "import sys; from seqeval_rl.benchmarks.cli import main; "
        f"assert main(['status', {str(finished)!r}]) == 0; assert not {{'torch', 'gymnasium'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def on_terminal(command):
    """Exit code and what a command writes to a terminal of 100 columns."""
    leader, follower = pty.openpty()
    env = {**os.environ, "COLUMNS": "100", "LINES": "24", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "seqeval_rl.benchmarks", *command], stdin=follower, stdout=follower, stderr=follower, env=env
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other end has been closed
            break
        if not part:
            break
        shown += part
    os.close(leader)
    return process.wait(), shown.decode()


def test_on_a_terminal_the_table_is_drawn_in_place_and_gone_at_the_end(suite, tmp_path):
    out = tmp_path / "out"
    settings = ["--algorithms", "bc,td3_bc", "--seeds", "0", "--set", "td3_bc.learning_rate=1e30"]
    code, shown = on_terminal(["run", str(suite), "--out", str(out), *settings])
    assert code == 3  # a run diverged
    assert "\x1b[?25l" in shown  # the cursor is hidden,
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # and shown again
    assert "\x1b[2K" in shown
    assert "Ctrl-C saves and stops." in shown
    assert "seed-0: failed: " in shown
    assert "done: 2 of 2 runs have ended" in shown
    log = (out / "run.log").read_text()
    assert all(letter.isprintable() for line in log.splitlines() for letter in line)
    assert "seed-0: failed: " in log
    code, shown = on_terminal(["status", str(out), "--watch"])
    assert code == 0
    assert "2 runs: 1 failed, 1 finished." in shown
    events = out / "noise" / "td3_bc" / "seed-0" / "events.jsonl"
    reason = json.loads(events.read_text().splitlines()[-1])["message"]
    assert reason[:40] in shown
