"""Results of earlier versions: read, found finished, and resumed as the same run.

`earlier/` holds a run of `seqeval run orders --mini` as version 0.1 wrote it before fields were renamed, with
`protocol.peeks = true` and data called `made:...`.
"""

import json
import shutil
from pathlib import Path

import pytest

from seqeval_rl.benchmarks.cli import main
from seqeval_rl.results.legacy import modern_manifest, rename_fields, rename_source
from seqeval_rl.results.read import read_results
from seqeval_rl.results.write import identity

EARLIER = Path(__file__).parent / "earlier"
RUN = "hopper-medium-replay-v2/bc,order=logged/seed-0"
# The command that made it; `order` was swept then.
COMMAND = ["run", "orders", "--mini", "--algorithms", "bc", "--set", "bc.hidden=[4, 4]"]
COMMAND += ["--set", "bc.normalise_observations=true", "--set", "protocol.order=logged", "--set", "protocol.peeks=true"]


@pytest.fixture
def out(tmp_path):
    shutil.copytree(EARLIER, tmp_path / "out")
    return tmp_path / "out"


def contents(run):
    return {path: path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def test_old_names_are_read_under_the_new_ones():
    (result,) = read_results(EARLIER)
    assert (result.run, result.status, len(result.evaluations)) == (RUN, "finished", 4)
    assert result.manifest["uses_future_data"] is result.protocol["uses_future_data"] is True
    assert "peeks" not in result.manifest | result.protocol
    (block,) = result.manifest["dataset"]["blocks"]
    assert block["name"] == "synthetic:d4rl/hopper-medium-replay-v2:420"
    assert rename_source("made:d4rl/a:5+d4rl:b") == "synthetic:d4rl/a:5+d4rl:b"
    assert rename_fields({"peeks": True, "uses_future_data": False}) == {"uses_future_data": False}
    assert modern_manifest(result.manifest) == result.manifest


def test_a_finished_run_is_recognised_and_left_alone(out, capsys, caplog):
    before = contents(out / RUN)
    assert main([*COMMAND, "--out", str(out)]) == 0
    assert contents(out / RUN) == before
    assert [path.parent for path in out.rglob("manifest.json")] == [out / RUN]
    assert "protocol.peeks is now called protocol.uses_future_data" in caplog.text
    assert "BC (uses future data)" in capsys.readouterr().out


def test_an_interrupted_run_is_resumed_from_its_checkpoint(out):
    metrics = out / RUN / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:3]))
    (out / RUN / "checkpoint" / "evaluation-000003.pt").unlink()
    assert main([*COMMAND, "--out", str(out)]) == 0
    assert [path.parent for path in out.rglob("manifest.json")] == [out / RUN]
    events = [json.loads(line) for line in (out / RUN / "events.jsonl").read_text().splitlines()]
    assert {"event": "resumed", "evaluation": 2}.items() <= events[-3].items()
    again = metrics.read_text().splitlines(keepends=True)
    assert again[:3] == lines[:3]
    then, now = (json.loads(text[3]) for text in (lines, again))
    # Other releases of torch and MuJoCo may round differently.
    assert now["metrics"].pop("actor/loss") == pytest.approx(then["metrics"].pop("actor/loss"), rel=1e-3)
    assert now["metrics"].keys() == then["metrics"].keys()
    assert now.pop("crc32")
    for entry in (then, now):
        del entry["metrics"], entry["returns"], entry["lengths"]
    assert then == now


def test_the_identity_of_a_run_does_not_depend_on_the_version():
    old = json.loads((EARLIER / RUN / "manifest.json").read_text())
    assert identity(old) == identity(read_results(EARLIER)[0].manifest)
    assert identity(old) != identity(old | {"peeks": False})
