"""What is shown while jobs run: on a terminal, in plain lines, and in the log."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from seqeval_rl.experiments.display import Display
from seqeval_rl.experiments.job import Failed, Progress, RunEnd, Scored


def job(algorithm, dataset="hopper medium", seeds=(0, 1), total=100_000, cost=100.0):
    """What a display looks at in a job."""
    manifest = {"dataset": {"transitions": total}}
    runs = tuple(
        SimpleNamespace(
            stream=SimpleNamespace(name=dataset), directory=Path("out") / algorithm / f"seed-{seed}", seed=seed,
            manifest=manifest,
        )
        for seed in seeds
    )  # fmt: skip
    return SimpleNamespace(runs=runs, protocol=SimpleNamespace(online=0), cost=cost)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def terminal(width=120, height=24):
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)


def drawn(display, width=120, height=24):
    """The lines that a terminal of that size shows."""
    console = terminal(width, height)
    console.print(display)
    return console.file.getvalue().rstrip("\n").split("\n")


def trained(display, clock, number, share, steps, transitions, scores=()):
    display.update(Progress(number, share, steps, transitions, tuple(Scored(*score) for score in scores)))


def test_run_groups_that_train_have_a_line_each_and_those_that_wait_are_counted(clock):
    display = Display([job("td3_bc"), job("iql"), job("bc", cost=200.0)], console=terminal(), clock=clock)
    assert drawn(display) == ["0 of 6 runs done, 0:00 taken; 0 run groups running, 3 waiting. Ctrl-C saves and stops."]
    trained(display, clock, 0, 0.0, 0, 5_000, [(0, 0, 10.0), (1, 0, 20.0)])
    trained(display, clock, 1, 0.0, 0, 5_000)
    for second in range(1, 21):
        clock.now = float(second)
        trained(display, clock, 0, second / 100, second * 500, 5_000 + 950 * second)
    trained(display, clock, 0, 0.2, 10_000, 24_000, [(0, 1, 50.0), (1, 1, 70.0)])
    head, first, second, last = drawn(display)
    assert re.split(r"\s{2,}", first) == [
        "hopper medium", "td3_bc", "0-1", "24,000/100,000", "60.0", "▁█", "500", "1:20",
    ]  # fmt: skip
    assert re.split(r"\s{2,}", second)[:5] == ["hopper medium", "iql", "0-1", "5,000/100,000", "-"]
    assert "updates/s" in head
    # 20 of 400 estimated seconds in 20 seconds.
    assert last.startswith("0 of 6 runs done, 0:20 taken, 6:20 left; 2 run groups running, 1 waiting.")


def test_the_rate_is_that_of_the_last_half_minute(clock):
    display = Display([job("bc")], console=terminal(), clock=clock)
    steps = 0
    for second in range(200):
        clock.now = float(second)
        steps += 1000 if second < 150 else 100
        trained(display, clock, 0, steps / 1e6, steps, 5_000)
    assert re.search(r" 100  ", drawn(display)[1])


def test_a_score_is_the_mean_of_the_runs_that_are_sound(clock, capsys):
    display = Display([job("bc")], console=terminal(), clock=clock)
    trained(display, clock, 0, 0.0, 0, 5_000, [(0, 0, 10.0), (1, 0, 90.0)])
    display.update(Progress(0, 0.5, 50, 50_000, (Scored(0, 1, 30.0),), (Failed(1, "exploding Q value"),)))
    assert "  30.0  " in drawn(display)[1]


@pytest.mark.parametrize(("width", "height"), [(60, 10), (80, 24), (140, 6), (40, 3)])
def test_forty_run_groups_of_long_names_fit_any_terminal(width, height, clock):
    names = [f"algorithm number {n} with a name of {'n' * 60}" for n in range(40)]
    display = Display([job(name, "a dataset, its name with spaces") for name in names], console=terminal(), clock=clock)
    for number in range(40):
        trained(display, clock, number, 0.1, 100, 10_000, [(0, 0, float("nan")), (1, 0, 5.0)])
    lines = drawn(display, width, height)
    assert len(lines) <= max(1, height - 1)
    assert max(map(len, lines)) < width
    assert "0/80 runs" in lines[-1] or "0 of 80 runs" in lines[-1]
    if height > 5:
        assert f"and {40 - (height - 4)} more running" in lines


def test_a_terminal_keeps_failures_above_and_drops_run_groups_that_have_ended(clock, tmp_path):
    console = terminal()
    log = tmp_path / "run.log"
    jobs = [job("td3_bc"), job("bc", seeds=(3,))]
    with Display(jobs, log=log, console=console, clock=clock) as display:
        trained(display, clock, 0, 0.0, 0, 5_000, [(0, 0, 1.0), (1, 0, 2.0)])
        display.update(Progress(0, 0.5, 50, 50_000, failures=(Failed(1, "exploding\x1b[2J Q value"),)))
        clock.now = 10.0
        ends = [RunEnd(jobs[0].runs[0].directory, "finished"), RunEnd(jobs[0].runs[1].directory, "failed", "exploding")]
        display.job_ended(0, ends)
        trained(display, clock, 1, 0.0, 0, 5_000, [(0, 0, 4.0)])
        assert "1 finished, 1 failed" in drawn(display)[1]
    shown = console.file.getvalue()
    assert shown.count("out/td3_bc/seed-1: failed: exploding [2J Q value") == 1  # said once, harmless
    lines = log.read_text().splitlines()
    assert [re.sub(r"^\S+ \S+ \d+ ", "", line) for line in lines][1:] == [
        "out/td3_bc/seed-1: failed: exploding [2J Q value",
        "1 finished, 1 failed: hopper medium, td3_bc, seeds 0-1: 50,000 of 100,000 transitions, score 1.0, 0:10 taken",
        "done: 2 of 3 runs have ended, 0:10 taken",
    ]
    assert re.fullmatch(r"\S+ \S+ \d+ --- attempt on .*, process \d+: 3 runs in 2 run groups", lines[0])


def test_plain_lines_of_three_hours_stay_readable(clock, capsys):
    jobs = [job(name, cost=3 * 3600.0) for name in ("td3_bc", "iql", "cql", "bc")]
    with Display(jobs, clock=clock) as display:
        for second in range(0, 3 * 3600, 5):  # an evaluation of each every 5 seconds
            clock.now = float(second)
            for number in range(4):
                trained(display, clock, number, second / 10_800, second * 50, 5_000 + second * 8, [(0, second, 1.0)])
        for number in range(4):
            display.job_ended(number, [RunEnd(run.directory, "finished") for run in jobs[number].runs])
    lines = capsys.readouterr().err.splitlines()
    assert 300 < len(lines) < 760
    assert all(letter.isprintable() for line in lines for letter in line)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d hopper medium, iql, seeds 0-1: [\d,]+ of 100,000 transitions, score 1.0, 50 updates/s, [\d:]+ left",
        [line for line in lines if "iql" in line][40],
    )
    assert "finished: hopper medium, bc" in lines[-2]


def test_a_log_that_cannot_be_written_is_said_once_and_costs_nothing(clock, tmp_path, capsys):
    (tmp_path / "run.log").mkdir()
    with Display([job("bc")], log=tmp_path / "run.log", clock=clock) as display:
        display.job_ended(0, [])
    err = capsys.readouterr().err
    assert err.count("cannot be written (Is a directory)") == 1
    assert "done: 0 of 2 runs" in err


def test_a_quiet_display_says_nothing(clock, capsys):
    with Display([job("bc")], shown=False, clock=clock) as display:
        display.update(Progress(0, 0.5, 5, 50_000, failures=(Failed(0, "x"),)))
        display.job_ended(0, [RunEnd(Path("a"), "crashed", "y")])
    assert capsys.readouterr() == ("", "")
