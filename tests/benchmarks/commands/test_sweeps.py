"""Sweeps of an algorithm's settings, on the command line and in suites, as a user meets them."""

import csv
import io
import json

import pytest
from synthetic import assert_one_line

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.benchmarks.suite import build_sweep
from seqeval_rl.errors import UsageError
from seqeval_rl.plots.analysis.grouping import collect
from seqeval_rl.results.read import read_results

QUICK = ["--set", "protocol.increment=10", "--set", "protocol.evaluate_every=100"]


@pytest.fixture
def run(suite, tmp_path):
    """Runs the suite's TD3+BC with these arguments."""

    def call(*arguments):
        settings = [part for text in arguments if "=" in text for part in ("--set", text)]
        rest = [text for text in arguments if "=" not in text]
        return main(
            ["run", str(suite), "--out", str(tmp_path / "out"), "--algorithms", "td3_bc", *QUICK, *settings, *rest]
        )

    return call


def alphas(out):
    """Settings by directory, and when each was begun."""
    return {r.run: r.config["alpha"] for r in read_results(out)}


def written(out):
    return {r.run: (r.path / "metrics.jsonl").stat().st_mtime_ns for r in read_results(out)}


def test_a_sweep_leaves_each_variant_with_all_seeds_named_apart_wherever_it_is_shown(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("td3_bc.alpha=1,2.5,10", "td3_bc.discount=0.9") == 0
    assert alphas(out) == {
        f"noise/td3_bc,alpha={a}/seed-{seed}": float(a) for a in ("1", "2.5", "10") for seed in (0, 1)
    }
    results = read_results(out)
    assert {(r.status, r.config["discount"]) for r in results} == {("finished", 0.9)}
    names = [f"TD3+BC (alpha={a})" for a in ("1", "2.5", "10")]
    (panel,) = collect(results)
    assert [group.label for group in panel.groups] == names
    assert len({group.style for group in panel.groups}) == 3
    assert all(len(group.runs) == 2 for group in panel.groups)
    shown = capsys.readouterr().out
    assert [shown.index(name) for name in names] == sorted(shown.index(name) for name in names)
    assert main(["table", str(out), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(dict.fromkeys(row["algorithm"] for row in rows)) == names
    assert main(["export", str(out), str(tmp_path / "all.csv")]) == 0
    long = list(csv.DictReader((tmp_path / "all.csv").read_text().splitlines()))
    assert {(row["run"].split("/")[1], row["algorithm"]) for row in long} == {
        (f"td3_bc,alpha={a}", f"td3_bc (alpha={a})") for a in ("1", "2.5", "10")
    }
    # Variants train apart: the same seed with another weight of the Q term ends elsewhere.
    assert len({r.curve("actor/loss")[1][-1] for r in results}) == 6


def test_a_value_that_comes_later_adds_its_runs_only(run, tmp_path):
    out = tmp_path / "out"
    assert run("td3_bc.alpha=1,2.5", "--seeds", "0") == 0
    before = written(out)
    assert run("td3_bc.alpha=4,2.5,1", "--seeds", "0") == 0
    after = written(out)
    assert sorted(after.keys() - before.keys()) == ["noise/td3_bc,alpha=4/seed-0"]
    assert {name: after[name] for name in before} == before
    # A second setting: what had its default before is the same run still, under the name it has.
    assert run("td3_bc.alpha=1,4", "td3_bc.policy_delay=2,3", "--seeds", "0") == 0
    assert sorted(written(out).keys() - after.keys()) == [
        f"noise/td3_bc,alpha={alpha},policy_delay=3/seed-0" for alpha in (1, 4)
    ]
    collect(read_results(out))


@pytest.mark.parametrize("first", ["td3_bc.alpha=1", "td3_bc.alpha=2.5", None])
def test_a_run_without_a_sweep_is_part_of_a_sweep_that_comes_later(first, run, tmp_path):
    out = tmp_path / "out"
    assert run(*([first] if first else []), "--seeds", "0") == 0
    before = written(out)
    value = 1.0 if first == "td3_bc.alpha=1" else 2.5
    assert run("td3_bc.alpha=1,2.5", "--seeds", "0") == 0
    other = "2.5" if value == 1.0 else "1"
    assert alphas(out) == {"noise/td3_bc/seed-0": value, f"noise/td3_bc,alpha={other}/seed-0": float(other)}
    after = written(out)
    assert after["noise/td3_bc/seed-0"] == before["noise/td3_bc/seed-0"]
    # And the other way: a variant asked for by itself is not run again, nor refused.
    assert run(f"td3_bc.alpha={other}", "--seeds", "0") == 0
    assert written(out) == after
    assert [group.label for group in collect(read_results(out))[0].groups] == [
        "TD3+BC (alpha=1)", "TD3+BC (alpha=2.5)"
    ]  # fmt: skip
    # A new seed of that one goes to the directory that its command names, and is one curve with the others.
    assert run("td3_bc.alpha=1,2.5", "--seeds", "1") == 0
    assert [len(group.runs) for group in collect(read_results(out))[0].groups] == [2, 2]


def test_an_interrupted_variant_goes_on_where_it_was_begun(run, tmp_path):
    out = tmp_path / "out"
    assert run("--seeds", "0") == 0
    metrics = out / "noise" / "td3_bc" / "seed-0" / "metrics.jsonl"
    whole = metrics.read_text()
    lines = whole.splitlines(keepends=True)
    metrics.write_text("".join(lines[:-1]))
    assert run("td3_bc.alpha=1,2.5", "--seeds", "0") == 0
    assert not (out / "noise" / "td3_bc,alpha=2.5").exists()
    events = [json.loads(line)["event"] for line in (metrics.parent / "events.jsonl").read_text().splitlines()]
    assert "resumed" in events
    last = [json.loads(text.splitlines()[-1])["returns"] for text in (whole, metrics.read_text())]
    assert last[0] == last[1]


def test_overwriting_a_sweep_begins_its_runs_again_where_they_are(run, tmp_path):
    out = tmp_path / "out"
    assert run("--seeds", "0") == 0
    before = written(out)
    assert run("td3_bc.alpha=1,2.5", "--seeds", "0", "--overwrite") == 0
    assert alphas(out) == {"noise/td3_bc/seed-0": 2.5, "noise/td3_bc,alpha=1/seed-0": 1.0}
    assert written(out)["noise/td3_bc/seed-0"] > before["noise/td3_bc/seed-0"]


def test_a_sweep_with_other_settings_elsewhere_is_refused_not_mixed(run, tmp_path, capsys):
    assert run("td3_bc.alpha=1,2.5", "--seeds", "0") == 0
    before = written(tmp_path / "out")
    assert run("td3_bc.alpha=1,2.5", "td3_bc.discount=0.9", "--seeds", "0") == 78
    message = capsys.readouterr().err
    assert "td3_bc,alpha=1" in message
    assert "algorithm.config.discount = 0.99, asked for 0.9" in message
    assert written(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("td3_bc.alpha=1,-2", ["td3_bc.alpha", "greater than or equal to 0", "-2"]),
        ("td3_bc.alpha=1,high", ["td3_bc.alpha", "valid number", "'high'"]),
        ("td3_bc.alpha=1,2,1.0", ["td3_bc.alpha", "different values", "found 1 twice"]),
        ("td3_bc.alpha=1,", ["--set", "nothing before or after a comma"]),
        ("td3_bc.alfa=1,2", ["alfa", "did you mean alpha"]),
        ("td3_bc.hidden=256,256", ["td3_bc.hidden", "a list is written hidden=[256, 256]"]),
        ("protocol.window=50,5", ["protocol.window", "at least batch_size", "found 5"]),
        ("protocol.increment=1,2,1", ["protocol.increment", "found 1 twice"]),
        ("iql.expectile=0.7,0.9", ["unknown section 'iql' in --set"]),
    ],
)
def test_a_wrong_sweep_is_said_in_one_line_before_any_training(setting, words, run, tmp_path, capsys):
    assert run(setting) == 2
    assert_one_line(capsys, words, tmp_path)


def add(suite, text):
    suite.write_text(suite.read_text() + text)
    return str(suite)


def test_a_suite_sweeps_by_a_table(suite, tmp_path):
    table = """
[settings.td3_bc]
discount = 0.9
[sweep.td3_bc]
alpha = [1, 2.5]
hidden = [[8], [4, 4]]
[sweep.iql]             # an algorithm that does not run here
expectile = [0.7, 0.9]
"""
    reference = add(suite, table)
    sweep = build_sweep(reference)
    assert sweep.settings == {"bc": {}, "td3_bc": {"discount": 0.9}}
    assert sweep.swept == {"protocol": {}, "bc": {}, "td3_bc": {"alpha": (1, 2.5), "hidden": ([8], [4, 4])}}
    # The command line's value replaces the suite's sweep, and a sweep the suite's value.
    changed = build_sweep(reference, settings=[("td3_bc", "alpha", 3)])
    assert changed.settings["td3_bc"] == {"discount": 0.9, "alpha": 3}
    assert changed.swept["td3_bc"] == {"hidden": ([8], [4, 4])}
    assert main(["run", reference, "--seeds", "0", "--out", str(tmp_path / "out"), *QUICK]) == 0
    assert sorted(r.run for r in read_results(tmp_path / "out")) == sorted(
        f"noise/{name}/seed-0"
        for name in ("bc", *(f"td3_bc,hidden={h},alpha={a}" for h in ("8", "4x4") for a in ("1", "2.5")))
    )


def test_a_miniature_may_replace_a_sweep(suite):
    suite.write_text(suite.read_text().replace("mini = { seeds = [0] }", ""))
    table = """
[sweep.td3_bc]
alpha = [1, 2]
[mini.settings.td3_bc]
alpha = 1
[mini.sweep.bc]
learning_rate = [1, 2]
"""
    add(suite, table)
    assert build_sweep(str(suite)).swept == {"protocol": {}, "bc": {}, "td3_bc": {"alpha": (1, 2)}}
    small = build_sweep(str(suite), mini=True)
    assert small.settings["td3_bc"] == {"alpha": 1}
    assert small.swept == {"protocol": {}, "bc": {"learning_rate": (1, 2)}, "td3_bc": {}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sweep.protocol]\nincrement = [1, 1]", ["protocol.increment", "found 1 twice", "mine.toml"]),
        ("[sweep.protocol]\nincrement = []", ["protocol.increment", "found none", "mine.toml"]),
        ("[sweep.protocol]\ninitial = [100, 200]", ["protocol.initial once", "[protocol]", "mine.toml"]),
        (
            "[settings.td3_bc]\nalpha = 1\n[sweep.td3_bc]\nalpha = [1, 2]",
            ["td3_bc.alpha once", "Delete one", "mine.toml"],
        ),
        ("[sweep.td3_bc]\nalpha = 3", ["sweep.td3_bc.alpha", "valid tuple", "found 3"]),
        ("[sweep.td3bc]\nalpha = [1, 2]", ["td3bc", "[sweep.td3bc] of", "did you mean td3_bc"]),
    ],
)
def test_a_wrong_sweep_in_a_suite_is_named(text, words, suite):
    with pytest.raises(UsageError) as error:
        build_sweep(add(suite, text)).variants()
    for word in words:
        assert word in str(error.value)
