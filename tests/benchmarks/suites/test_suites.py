"""Every suite's miniature, from its file to its figure."""

import json
import re

import numpy as np
import pytest

from seqeval_rl.benchmarks import cli
from seqeval_rl.benchmarks.arguments.parsing import Several
from seqeval_rl.benchmarks.suite import build_sweep, read_suite, suite_names
from seqeval_rl.errors import UsageError
from seqeval_rl.protocol import Schedule
from seqeval_rl.results.read import read_results

WHOLE = {"d4rl": (12, 60), "mixed": (6, 30), "finetune": (12, 60), "mujoco": (12, 60)}


def test_every_suite_says_in_one_line_what_it_is():
    assert {"quickstart", "medium", "d4rl", "mixed", "finetune", "ratio", "static", "orders", "mujoco"} | {
        "breadth", "discrete",
    } == set(suite_names())  # fmt: skip
    for name in suite_names():
        assert "\n" not in read_suite(name)[1].description.strip()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_the_papers_suites_are_whole(name):
    sweep = build_sweep(name)
    assert (len(sweep.streams), len(sweep.streams) * len(sweep.variants())) == WHOLE[name]
    assert sweep.protocol.initial == sweep.protocol.evaluate_every == 5_000
    assert sweep.protocol.increment == sweep.protocol.updates_per_increment == 1
    assert sweep.protocol.online == (500_000 if name == "finetune" else 0)
    assert sweep.protocol.window == (200_000 if name == "mixed" else None)


@pytest.mark.parametrize("mini", [False, True])
@pytest.mark.parametrize("name", suite_names())
def test_offline_evaluations_fall_on_multiples_of_their_spacing(name, mini):
    for variant in build_sweep(name, mini=mini).variants():
        protocol = variant.protocol.model_copy(
            update={"static": False}
        )  # a control has the places of the sequential run
        schedule = Schedule(protocol, protocol.initial + 10 * protocol.evaluate_every + 7)
        offline = [point.transitions for point in schedule.points() if point.phase == "offline"]
        # The untrained evaluation and that at the end of the dataset are where these are.
        assert [place for place in offline[1:-1] if place % protocol.evaluate_every] == []
        assert len(offline) > 10


def assert_whole(name, out, shown):
    """A suite's miniature has left everything that a run leaves, and said so."""
    assert f"figure: {out / 'curves.png'}" in shown
    assert re.search(r"evaluation: \d+% of the runs' wall time", shown)
    for result in read_results(out):
        assert result.status == "finished"
        assert result.manifest["suite"] == f"{name} (mini)"
        assert len(result.evaluations) == result.manifest["evaluations_expected"]
        assert {"versions", "device", "git_revision", "uses_future_data", "task", "protocol"} <= set(result.manifest)
        assert all(len(block["sha256"]) == 64 for block in result.manifest["dataset"]["blocks"])
        assert result.evaluations[0]["gradient_steps"] == 0
        assert np.isfinite(result.curve()[1]).all()
    for file in ("curves.png", "curves.pdf", "results.parquet"):
        assert (out / file).stat().st_size > 1_000


@pytest.mark.parametrize("name", suite_names())
def test_the_miniature_runs_to_its_end_and_is_drawn(name, tmp_path, capsys):
    assert cli.main(["run", name, "--mini", "--out", str(tmp_path)]) == 0
    assert_whole(name, tmp_path, capsys.readouterr().out)
    results = read_results(tmp_path)
    # The same command again has nothing left to do, and changes no result.
    before = [(tmp_path / r.run / "metrics.jsonl").read_bytes() for r in results]
    assert cli.main(["run", name, "--mini", "--out", str(tmp_path)]) == 0
    assert [(tmp_path / r.run / "metrics.jsonl").read_bytes() for r in results] == before
    protocols = [result.manifest["protocol"] for result in results]
    phases = {entry["phase"] for result in results for entry in result.evaluations}
    if name == "finetune":
        assert phases == {"offline", "online"}
        assert all(result.evaluations[-1]["env_steps"] == 200 for result in results)
    else:
        assert phases == {"offline"}
    if name == "ratio":
        assert len({(p["increment"], p["updates_per_increment"]) for p in protocols}) == 4
    if name == "static":
        assert {p["static"] for p in protocols} == {False, True}
    if name == "breadth":  # every registered algorithm for vectors and continuous actions, and %BC
        assert {"edac", "fql", "rebrac", "cal_ql", "sac_n", "td3"} < {result.algorithm for result in results}
        assert {result.config["best"] for result in results if result.algorithm == "bc"} == {None, 0.1}
    if name == "discrete":
        assert {result.config["double"] for result in results if result.algorithm == "dqn"} == {False, True}
    if name == "orders":
        assert {p["order"] for p in protocols} == {"shuffled", "logged"}
    if name == "mixed":
        blocks = {interleave: set() for interleave in (False, True)}
        for result in results:
            blocks[result.interleaved] |= {entry["block"] for entry in result.evaluations}
        assert blocks == {False: {"random", "medium", "expert"}, True: {"interleaved"}}
        capsys.readouterr()
        assert cli.main(["table", str(tmp_path), "--measures", "adaptation"]) == 0
        shown = capsys.readouterr().out
        assert all(words in shown for words in ("random → medium, D = ", "sensitivity", "training FLOP"))
        for result in results:
            recorded = result.manifest["dataset"]["blocks"]
            assert all(("start" in block) != result.interleaved for block in recorded)
            assert [block.get("change_size", 0) > 0 for block in recorded] == [
                place > 0 and not result.interleaved for place in range(3)
            ]
    scored = "prequential/agreement" if name == "discrete" else "prequential/action_error"
    for result in results:
        if not result.manifest["protocol"]["static"]:
            assert any(scored in entry["metrics"] for entry in result.evaluations)


def test_paper_uses_future_data_and_says_so(tmp_path):
    command = ["run", "orders", "--mini", "--algorithms", "iql,bc", "--paper", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    for result in read_results(tmp_path):
        assert result.manifest["uses_future_data"] is True
        assert result.manifest["dataset"]["mode"] == "d4rl"
        if result.algorithm == "iql":
            assert result.config["decay_steps"] == result.evaluations[-1]["gradient_steps"]


def test_paper_takes_the_published_settings_that_are_not_given():
    def configs(**changes):
        return {variant.entry.name: variant.config for variant in build_sweep("d4rl", **changes).variants()}

    plain, published = configs(), configs(paper=True)
    assert {config.initialization for config in plain.values()} == {"torch"}
    assert {name: config.initialization for name, config in published.items()} == {
        "td3_bc": "haiku", "iql": "orthogonal", "cql": "jaxcql", "awac": "orthogonal", "bc": "orthogonal",
    }  # fmt: skip
    assert (published["td3_bc"].policy_noise, published["td3_bc"].noise_clip) == (1.0, 0.5)
    assert (published["cql"].action_limit, published["awac"].clip_samples, published["bc"].dropout) == (
        0.999,
        False,
        0.1,
    )
    given = [
        ("td3_bc", "policy_noise", 0.2),
        ("bc", "dropout", None),
        ("iql", "initialization", Several(("torch", "haiku"))),
    ]
    told = build_sweep("d4rl", paper=True, settings=given).variants()
    assert [v.config.initialization for v in told if v.entry.name == "iql"] == ["torch", "haiku"]
    assert {v.config.policy_noise for v in told if v.entry.name == "td3_bc"} == {0.2}
    assert {v.config.dropout for v in told if v.entry.name == "bc"} == {None}


def test_the_published_bc_decays_over_its_dataset_and_iql_without_an_online_phase(tmp_path):
    def decays(*arguments):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        command = ["run", "finetune", "--mini", "--algorithms", "iql,bc", "--out", str(out)]
        command += ["--datasets", "synthetic:d4rl/hopper-random-v2:420", *arguments]
        assert cli.main(command) == 0
        return {result.algorithm: result.config["decay_steps"] for result in read_results(out)}

    assert decays("--paper") == {"iql": None, "bc": 22}  # 420 transitions, of which 200 are visible from the start
    assert decays("--paper", "--set", "protocol.online=0") == {"iql": 22, "bc": 22}
    assert decays("--paper", "--set", "bc.decay_steps=none") == {"iql": None, "bc": None}
    # Future data alone are not the published settings.
    future = decays("--set", "protocol.uses_future_data=true", "--set", "protocol.online=0")
    assert future == {"iql": 22, "bc": None}


def test_paper_evaluates_each_algorithm_over_its_published_episodes_unless_told_otherwise():
    def episodes(**changes):
        sweep = build_sweep("d4rl", **changes)
        return {variant.entry.name: variant.protocol.episodes for variant in sweep.variants()}

    assert episodes() == dict.fromkeys(("td3_bc", "iql", "cql", "awac", "bc"), 10)
    assert episodes(paper=True) == {"td3_bc": 5, "iql": 10, "cql": 5, "awac": 5, "bc": 5}
    told = episodes(paper=True, settings=[("protocol", "episodes", 3)])
    assert set(told.values()) == {3}
    swept = build_sweep("d4rl", paper=True, settings=[("protocol", "increment", Several((1, 10)))])
    assert {v.protocol.episodes for v in swept.variants() if v.entry.name == "cql"} == {5}


def test_plain_online_learning_and_runs_without_an_environment(tmp_path):
    suite = tmp_path / "mine.toml"
    suite.write_text("""
description = "SAC from nothing."
algorithms = ["sac"]
seeds = [0]
streams = [{ blocks = [], task = "hopper" }]
protocol = { initial = 100, online = 200, batch_size = 16, evaluate_every = 100, episodes = 1 }
settings = { sac = { hidden = [16, 16] } }
mini = {}
""")
    assert cli.main(["run", str(suite), "--out", str(tmp_path / "out")]) == 0
    (result,) = read_results(tmp_path / "out")
    assert result.dataset == "hopper online"
    assert [(e["transitions"], e["phase"], e["env_steps"]) for e in result.evaluations] == [
        (100, "online", 100), (200, "online", 200),
    ]  # fmt: skip
    command = [
        "run",
        "mujoco",
        "--mini",
        "--algorithms",
        "bc",
        "--set",
        "protocol.episodes=0",
        "--out",
        str(tmp_path / "two"),
    ]
    cli.main(command)
    for result in read_results(tmp_path / "two"):
        assert result.status == "finished"
        assert all("score" not in entry["metrics"] for entry in result.evaluations)
        assert json.loads((result.path / "events.jsonl").read_text().splitlines()[1])["environments"] == "none"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("streams = [{ blocks = [] }]", ["expected blocks, or a task"]),
        ('streams = [{ blocks = [], task = "hopper" }]', ["protocol.initial = 100", "protocol.online"]),
        ('streams = [{ blocks = ["bundled/hopper/medium:500"], mode = "d4rl" }]', ["mode d4rl", "Use mode native"]),
        (
            'streams = [{ blocks = ["bundled/hopper/medium:500"] }]\n[sweep.protocol]\nwindow = [5, 10]',
            ["protocol.window"],
        ),
    ],
)
def test_bad_streams_and_protocols_are_one_line_and_cost_nothing(text, words, tmp_path, capsys):
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'description = "x"\nalgorithms = ["bc"]\nseeds = [0]\nmini = {}\n'
        f"protocol = {{ initial = 100, batch_size = 16, evaluate_every = 100 }}\n{text}\n"
    )
    assert cli.main(["run", str(suite), "--out", str(tmp_path / "out")]) in (2, 65)
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    for word in words:
        assert word in message


def write_suite(path, text="", **changes):
    fields = {"algorithms": '["bc"]', "seeds": "[0]", "streams": '[{ blocks = ["x.npz"] }]'} | changes
    path.write_text("".join(f"{key} = {value}\n" for key, value in fields.items() if value) + text, encoding="utf-8")
    return str(path)


def test_a_suite_needs_no_miniature_and_says_so(tmp_path, capsys):
    suite = write_suite(tmp_path / "mine.toml")
    assert build_sweep(suite).seeds == (0,)
    assert cli.main(["run", suite, "--mini", "--out", str(tmp_path / "out")]) == 2
    assert "expected a table [mini] with --mini, found none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": '[0, "one"]'}, ["line 2", "seeds.1", "valid integer", "'one'"]),
        ({"seeds": ""}, ["seeds", "expected a value, found none"]),
        ({"seeds": "[0, 9223372036854775808]"}, ["2**63"]),
        ({"seeds": "{ a = 1, b = 2 }"}, ["line 2", "seeds", "a table of 2 entries"]),
        ({"streams": '[{ nam = "a" }]'}, ["unknown key 'nam'", "line 3", "streams.0", "did you mean name"]),
        ({"streams": "[{ blocks = [], task = { env_id = 'a' } }]"}, ["line 3", "streams.0.task.name"]),
        ({"text": "name = hopper"}, ["line 4, column 8", "quotation marks", "'name = hopper'"]),
        ({"text": "[protocol]\n\nbatch_size = 'many'"}, ["protocol.batch_size", "line 6", "valid integer", "'many'"]),
        ({"text": "[protocol]\ninitial = 0.5\nbatch = 1"}, ["'batch'", "line 6", "batch_size"]),
        ({"text": "[settings.bc]\n# slow\nlearning_rat = 1"}, ["line 6", "did you mean learning_rate"]),
        ({"text": "[sweep.bc]\nlearning_rate = [1, 'x']"}, ["line 5", "bc.learning_rate", "'x'"]),
    ],
)
def test_what_is_wrong_in_a_suite_is_named_with_key_and_line(changes, words, tmp_path, capsys):
    suite = write_suite(tmp_path / "mine.toml", **changes)
    assert cli.main(["run", suite, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err.strip()
    assert len(message) < 300 + len(suite)
    assert "\n" not in message
    for word in (suite, *words):
        assert word in message


def test_a_wrong_setting_is_looked_for_where_it_was_given(tmp_path, capsys):
    suite = write_suite(tmp_path / "mine.toml", "[protocol]\ninitial = -1\n[mini.protocol]\ninitial = -2\n")
    command = ["run", suite, "--out", str(tmp_path / "out")]
    for options, place in (([], "line 5"), (["--mini"], "line 7"), (["--set", "protocol.initial=-3"], "in --set")):
        assert cli.main([*command, *options]) == 2
        assert place in capsys.readouterr().err


def test_suites_are_utf_8_also_with_a_byte_order_mark(tmp_path):
    suite = write_suite(tmp_path / "mine.toml", streams='[{ name = "跳跃", blocks = ["x.npz"] }]')
    assert build_sweep(suite).streams[0].name == "跳跃"
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert build_sweep(suite).streams[0].name == "跳跃"
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("gbk"))
    with pytest.raises(UsageError, match="line 3: expected text in UTF-8, found the byte 0x"):
        build_sweep(suite)
