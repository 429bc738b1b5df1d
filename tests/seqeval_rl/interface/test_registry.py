"""Finding algorithms, checking their settings, and the error messages."""

import importlib
import sys
import textwrap
import types

import pytest

from seqeval_rl.benchmarks.arguments.parsing import parse_setting
from seqeval_rl.benchmarks.cli import main
from seqeval_rl.errors import UsageError
from seqeval_rl.interface.loading import MOVED
from seqeval_rl.interface.registry import find_algorithm, find_registered, registered

PLUGIN = """
from dataclasses import dataclass

class MyAlgo:
    'A plug-in.'
    vectorized = False

    @dataclass(frozen=True)
    class Config:
        rate: float = 0.5

    def update(self, batch): ...
    def act(self, observations, noise): ...
    def state_dict(self): ...
    def load_state_dict(self, state): ...

class Unfinished:
    vectorized = False
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my_file.py"
    path.write_text(textwrap.dedent(PLUGIN))
    return path


def test_our_own_algorithms_are_entry_points():
    assert set(registered()) >= {"awac", "bc", "cql", "iql", "sac", "td3_bc"}
    assert find_algorithm("td3_bc").reference == "td3_bc"


def test_an_algorithm_in_a_file_is_loaded_and_named_in_snake_case(plugin):
    entry = find_algorithm(f"{plugin}:MyAlgo")
    assert entry.name == "my_algo"
    assert entry.summary == "A plug-in."
    assert entry.configure({"rate": 2}, "here").rate == 2.0


def test_a_file_with_one_algorithm_needs_no_class(plugin):
    assert find_algorithm(str(plugin)) == find_algorithm(f"{plugin}:MyAlgo")
    plugin.write_text(plugin.read_text() + "\nclass Other(MyAlgo): ...\n")
    sys.modules.pop("seqeval_plugin_my_file")
    with pytest.raises(
        UsageError, match=rf"expected one class .* found MyAlgo and Other\. Name one of them, {plugin}:MyAlgo"
    ):
        find_algorithm(str(plugin))
    plugin.write_text("from seqeval_rl.algorithms import BC\n")
    sys.modules.pop("seqeval_plugin_my_file")
    with pytest.raises(UsageError, match="expected one class with Config, update, act in this file, found none"):
        find_algorithm(str(plugin))


def test_a_config_that_raises_is_named_with_its_line(plugin):
    body = "        rate: float = 0.5\n\n        def __post_init__(self):\n            raise RuntimeError('too slow')\n"
    plugin.write_text(plugin.read_text().replace("        rate: float = 0.5\n", body))
    with pytest.raises(
        UsageError, match=rf"my_algo\.Config, .* suite x: RuntimeError: too slow \({plugin}, line \d+\)"
    ):
        find_algorithm(str(plugin)).configure({}, "suite x")


def test_a_class_is_found_as_itself_and_again_by_its_reference(plugin):
    class Defined(find_algorithm(f"{plugin}:MyAlgo").algorithm):
        pass

    entry = find_algorithm(Defined)
    assert (entry.name, entry.algorithm, entry.importable) == ("defined", Defined, False)
    assert find_algorithm(entry.reference) == entry
    assert not find_algorithm(entry.reference).importable


def test_a_class_of_an_entry_point_has_its_registered_name():
    entry = find_algorithm(find_algorithm("td3_bc").algorithm)
    assert (entry, entry.importable) == (find_algorithm("td3_bc"), True)


def test_a_class_of_a_file_is_found_there_by_other_processes(plugin):
    entry = find_algorithm(find_algorithm(f"{plugin}:MyAlgo").algorithm)
    assert (entry.name, entry.reference, entry.importable) == ("my_algo", f"{plugin}:MyAlgo", True)


def test_a_class_of_a_notebook_belongs_to_this_process(plugin, monkeypatch):
    defined = find_algorithm(f"{plugin}:MyAlgo").algorithm
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    monkeypatch.setattr(defined, "__module__", "__main__")
    notebook.MyAlgo = defined
    entry = find_algorithm(defined)
    assert (entry.reference, entry.importable) == ("__main__:MyAlgo", False)
    notebook.__file__ = "script.py"  # a script's classes are there again in the processes that it starts
    assert entry.importable


def test_a_class_that_is_no_algorithm_is_refused():
    with pytest.raises(UsageError, match=r"builtins:int: expected int\.Config"):
        find_algorithm(int)


def test_the_earlier_name_of_vectorized_is_named(plugin):
    plugin.write_text(plugin.read_text().replace("vectorized", "stacked"))
    with pytest.raises(UsageError, match=r"expected MyAlgo\.vectorized, found its earlier name, stacked\. Rename it"):
        find_algorithm(f"{plugin}:MyAlgo")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("td3bc", ["td3bc", "did you mean td3_bc"]),
        ("no_such_module:Algo", ["no_such_module", "not installed"]),
        ("nowhere.py:Algo", ["nowhere.py", "no file"]),
        ("{plugin}:MyAlg", ["MyAlg", "did you mean MyAlgo"]),
        ("{plugin}:Unfinished", ["Unfinished.Config", "frozen dataclass"]),
    ],
)
def test_an_unknown_algorithm_is_refused_in_one_line(plugin, reference, words):
    with pytest.raises(UsageError) as error:
        find_algorithm(reference.format(plugin=plugin))
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_file_that_does_not_run_is_named_with_its_error(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    with pytest.raises(UsageError, match=r"broken\.py stops with ZeroDivisionError"):
        find_algorithm(f"{broken}:Algo")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0\n", ["ZeroDivisionError: division by zero", "line 2"]),
        ("import sys\n\nsys.exit(3)\n", ["SystemExit: 3", "line 3"]),
        ("def f(:\n", ["SyntaxError", "line 1"]),
        ("raise KeyboardInterrupt\n", None),
    ],
)
def test_a_file_or_module_that_does_not_run_is_named_with_its_line(text, words, tmp_path, monkeypatch):
    (tmp_path / "halts.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for reference in (f"{tmp_path / 'halts.py'}:Algo", "halts:Algo"):
        with pytest.raises(UsageError if words else KeyboardInterrupt) as error:
            find_algorithm(reference)
        for word in words or ():
            assert word in str(error.value)
            assert "\n" not in str(error.value)
        assert "seqeval_plugin_halts" not in sys.modules


def install(folder, monkeypatch, *lines):
    """What `pip install` of a package with these algorithms leaves on the path."""
    (folder / "lab-1.0.dist-info").mkdir(parents=True)
    (folder / "lab-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (folder / "lab-1.0.dist-info" / "entry_points.txt").write_text(
        "\n".join(["[seqeval_rl.algorithms]", *lines]) + "\n"
    )
    (folder / "lab_raises.py").write_text("1 / 0\n")
    (folder / "lab_exits.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(folder)


def test_broken_entry_points_are_listed_as_such_among_those_that_work(tmp_path, monkeypatch, capsys, caplog):
    lines = "raises = lab_raises:Algo", "exits = lab_exits:Algo", "absent = no_such_module:Algo", "nothing = lab_raises"
    install(tmp_path / "site", monkeypatch, *lines)
    found, broken = find_registered()
    assert {entry.name for entry in found} >= {"awac", "bc", "cql", "iql", "sac", "td3_bc"}
    assert set(broken) == {"raises", "exits", "absent", "nothing"}
    assert main(["algorithms"]) == 0
    shown = capsys.readouterr().out
    assert "td3_bc.alpha = 2.5" in shown
    assert "absent: broken (entry point no_such_module:Algo): module 'no_such_module' is not installed" in shown
    place = tmp_path / "site" / "lab_raises.py"
    stops = f"lab_raises stops with ZeroDivisionError: division by zero ({place}, line 1)"
    assert f"raises: broken (entry point lab_raises:Algo): {stops}" in shown


def test_a_name_that_two_packages_register_is_refused(tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, "bc = lab_raises:Algo")
    with pytest.raises(
        UsageError, match=r"bc: expected one algorithm of that name, found lab_raises:Algo and seqeval_rl\."
    ):
        find_algorithm("bc")
    assert find_algorithm("td3_bc").name == "td3_bc"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from seqeval_rl.nets import Adam, follow", ["seqeval_rl.nets", "seqeval_rl.networks", "`soft_update`"]),
        (
            "from seqeval_rl.algorithm import Algorithm",
            ["seqeval_rl.algorithm,", "now in seqeval_rl.interface. Change"],
        ),
        ("from seqeval_rl.results import curve_of_run", ["seqeval_rl.results,", "now in seqeval_rl.results"]),
        ("import seqeval_rl.plots.measures", ["seqeval_rl.plots.measures", "now in seqeval_rl.plots. Change"]),
    ],
)
def test_a_plugin_of_the_earlier_layout_is_told_the_new_name(line, words, tmp_path, monkeypatch):
    (tmp_path / "earlier.py").write_text(f"{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    for reference in (f"{tmp_path / 'earlier.py'}:Algo", "earlier:Algo"):
        with pytest.raises(UsageError) as error:
            find_algorithm(reference)
        message = str(error.value)
        assert "\n" not in message
        for word in [*words, f"{reference}: it imports"]:
            assert word in message


def test_every_new_name_is_there():
    for new in set(MOVED.values()):
        importlib.import_module(new)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpa": 1.0}, ["alpa", "did you mean alpha"]),
        ({"alpha": "much"}, ["td3_bc.alpha", "much"]),
        ({"discount": 1.5}, ["td3_bc.discount", "1.5"]),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(UsageError) as error:
        find_algorithm("td3_bc").configure(settings, "suite x")
    for word in [*words, "suite x"]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("td3_bc.alpha=1.0", ("td3_bc", "alpha", 1.0)),
        ("protocol.window=none", ("protocol", "window", None)),
        ("protocol.order=logged", ("protocol", "order", "logged")),
        ("protocol.increment = 10", ("protocol", "increment", 10)),
        ("iql.normalise_observations=true", ("iql", "normalise_observations", True)),
    ],
)
def test_settings_are_parsed(text, expected):
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["alpha=1", "td3_bc.alpha", "=1", "td3_bc.=1", ".alpha=1"])
def test_settings_of_another_form_are_refused(text):
    with pytest.raises(UsageError, match=r"expected section\.setting=value"):
        parse_setting(text)
