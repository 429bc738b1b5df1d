"""The line of a user's code that is named for an exception."""

import importlib.util
import json

import pytest

from seqeval_rl.utils.tracebacks import raised_at


def load(path, text):
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("module", ["", "mine"])
def test_an_error_inside_of_a_library_is_placed_where_the_user_calls_it(module, tmp_path):
    mine = load(tmp_path / "mine.py", "import torch\n\ndef act():\n    return torch.zeros(3) @ torch.zeros(4)\n")
    linear = load(tmp_path / "linear.py", "import torch\n\ndef act():\n    torch.nn.Linear(2, 2)(torch.zeros(3))\n")
    for plugin in (mine, linear):
        with pytest.raises(RuntimeError) as caught:
            plugin.act()
        # pytest's traceback begins in this file, the harness's in its own.
        assert raised_at(caught.value.with_traceback(caught.tb.tb_next), module) == f"{plugin.__file__}, line 4"


def test_the_line_of_the_module_that_is_asked_for_comes_first(tmp_path):
    helper = load(tmp_path / "helper.py", "def fail():\n    raise ValueError(1)\n")
    mine = load(tmp_path / "mine.py", "def act(helper):\n    x = 1\n    helper.fail()\n")
    with pytest.raises(ValueError, match="1") as caught:
        mine.act(helper)
    assert raised_at(caught.value, "mine") == f"{mine.__file__}, line 3"
    assert raised_at(caught.value) == f"{helper.__file__}, line 2"


def test_a_file_that_cannot_be_parsed_has_the_line_that_is_wrong(tmp_path):
    with pytest.raises(SyntaxError) as caught:
        load(tmp_path / "mine.py", "x = 1\ny = (\n")
    assert raised_at(caught.value) == f"{tmp_path / 'mine.py'}, line 2"


def test_an_error_without_a_line_of_a_user_has_no_place():
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("?")
    assert raised_at(caught.value.with_traceback(caught.tb.tb_next)) == ""
    assert raised_at(ValueError()) == ""
