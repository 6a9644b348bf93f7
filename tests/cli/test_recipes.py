"""The command `recipe`, and that it answers without Keras and TensorFlow."""

import json
import subprocess
import sys

import pytest
from command_line import run

from keras_attn_nmt.training.recipe_files import load_recipe, recipe_names


@pytest.fixture
def ask(capfd, monkeypatch):
    return lambda *arguments: run(capfd, monkeypatch, ["recipe", *arguments])


def test_list(ask):
    code, out, _ = ask()
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == recipe_names()
    assert set(json.loads(ask("--json")[1])) == set(recipe_names())


def test_printed_recipe_is_the_recipe(ask, tmp_path):
    code, out, _ = ask("multi30k", "--set", "training.epochs=3")
    assert code == 0
    (tmp_path / "my.toml").write_text(out, encoding="utf-8")
    path = str(tmp_path / "my.toml")
    assert load_recipe(path).training.epochs == 3
    assert ask("--diff", path, path)[:2] == (0, "")
    code, out, _ = ask("--diff", "multi30k", path)
    assert code == 0
    header, *rows = (line.split() for line in out.splitlines())
    assert (header, rows) == (["multi30k", path], [["training.epochs", "5", "3"]])
    differences = json.loads(ask("--diff", "multi30k", path, "--json")[1])
    assert differences == {"training.epochs": [5, 3]}
    described = json.loads(ask(path, "--json")[1])
    assert described["training"]["epochs"]["value"] == 3
    assert described["training"]["epochs"]["default"] == 10
    assert "plateau" in described["training"]["plateau_factor"]["requires"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["multi40k"], 1, "Unknown recipe 'multi40k'"),
        (["none.toml"], 1, "does not exist"),
        (["--diff", "multi30k"], 2, "expected 2 arguments"),
        (["phrases", "--diff", "multi30k", "phrases"], 2, "--diff compares two recipes"),
        (["--set", "training.epochs=3"], 2, "give its name"),
        (["phrases", "--set", "training.epoch=3"], 1, "Did you mean 'epochs'"),
    ],
)
def test_mistakes(ask, arguments, code, message):
    found, out, err = ask(*arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_neither_keras_nor_tensorflow_is_imported():
    program = (
        "import sys\n"
        "from keras_attn_nmt import cli\n"
        "code = cli.main(['recipe', 'multi30k'])\n"
        "loaded = {'keras', 'tensorflow', 'jax', 'matplotlib'} & {*sys.modules}\n"
        "sys.exit(code or ', '.join(loaded) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "segmentation_samples = 3" in done.stdout
