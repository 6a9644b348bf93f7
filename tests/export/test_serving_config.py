"""Serving configuration: valid for TensorFlow Serving, with the actual responses in the README."""

import json
import re
import shlex
import shutil
import subprocess
import types
from unittest import mock

import numpy as np
import pytest
import requests
import serving_batching
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_attn_nmt import cli
from keras_attn_nmt.export import export_serving, serving_config, warmup

TEXT = 'zwei "Häuser"'


@pytest.fixture(scope="module")
def directory(served, tmp_path_factory):
    directory = tmp_path_factory.mktemp("operator") / "small"
    shutil.copytree(served, directory / "1")
    export_serving(directory, cores=4, text=TEXT)
    return directory


def test_readme_responses_equal_server_responses(directory, double):
    page = (directory / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(curl -d .*?)\n```\n\n```json\n(.*?)\n```", page, re.DOTALL)
    assert len(blocks) == 2
    for command, shown in blocks:
        _, _, body, url = shlex.split(command)
        address = url.replace("localhost:8501", double.rest_address)
        (answer,) = requests.post(address, data=body.encode(), timeout=60).json()["predictions"]
        (wanted,) = json.loads(shown)["predictions"]
        assert answer.keys() == wanted.keys()
        for name, value in wanted.items():
            if np.asarray(value).dtype.kind == "f":
                np.testing.assert_allclose(answer[name], value, atol=1e-3)
            else:
                assert answer[name] == value


@pytest.mark.parametrize("attention", ["float16", "none"])
def test_readme_of_a_version_with_other_attention(
    directory, tmp_path, monkeypatch, known_model, attention
):
    copy = tmp_path / "small"
    shutil.copytree(directory / "1", copy / "1")
    path = copy / "1/assets.extra/keras_attn_nmt.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention": attention}))

    def model(path):
        known = known_model(path)

        def run(signature, inputs):
            answers = known.run(signature, inputs)
            weights = answers.pop("attention", None)
            if weights is not None and attention == "float16":
                answers["attention"] = weights.astype("float16")
            return answers

        signatures = known.signatures if attention == "none" else ()
        return types.SimpleNamespace(run=run, close=known.close, signatures=signatures)

    monkeypatch.setattr(serving_config, "SessionModel", model)
    export_serving(copy, text=TEXT)
    page = (copy / "README.md").read_text(encoding="utf-8")
    answers = [json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)]
    assert all("attention" not in row for each in answers for row in each["predictions"])
    assert len(answers) == (1 if attention == "float16" else 2)
    assert f"exported with `--attention {attention}`" in page.replace("\n", " ")
    assert ("they answer 400" in page) == (attention == "float16")
    assert ("`translate_constrained`" in page) == (attention == "none")


def test_readme_python_prints_the_shown_output(directory, double, capsys):
    page = (directory / "README.md").read_text(encoding="utf-8")
    program, printed = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL).groups()
    exec(program.replace("localhost:8500", double.grpc_address), {})
    assert capsys.readouterr().out == printed


def test_configuration_is_valid_for_tensorflow_serving(directory):
    config = text_format.Parse(
        (directory / "models.config").read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("small", "/models/small")
    compose = (directory / "compose.yaml").read_text()
    for name in ("models.config", "batching.config", "monitoring.config"):
        assert f"=/models/small/{name}\n" in compose
        assert "$" not in (directory / name).read_text()
    batching = serving_batching.read_parameters((directory / "batching.config").read_text())
    assert (batching.num_batch_threads.value, batching.max_batch_size.value) == (4, 16)


def test_compose_and_readme_have_the_same_flags(directory):
    """A broken version blocks for seconds, not for the five minutes of the defaults."""
    compose = (directory / "compose.yaml").read_text()
    page = (directory / "README.md").read_text(encoding="utf-8")
    flags = re.findall(r"^ +- (--\S+)$", compose, re.MULTILINE)
    command = re.search(r"^tensorflow_model_server (.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    in_page = set(re.findall(r"--\S+", command)) - {"--port=8500", "--rest_api_port=8501"}
    assert set(flags) == in_page
    assert {"--max_num_load_retries=5", "--load_retry_interval_micros=1000000"} < in_page
    for words in ("blocks a good newer one", "ends the server", "well-formed requests", "| 429 |"):
        assert words in page


def test_health_check_does_not_take_unavailable_for_available(directory):
    grep = re.search(r"grep .*(?= <&3\n)", (directory / "compose.yaml").read_text())[0]
    for state, error, code in (("AVAILABLE", "OK", 0), ("END", "UNAVAILABLE", 1)):
        answer = f'"state": "{state}", "status": {{"error_code": "{error}"}}'
        done = subprocess.run(["bash", "-c", grep], input=answer, text=True, check=False)
        assert done.returncode == code


def test_command_chooses_name_and_example(served, tmp_path, capsys, known_model, monkeypatch):
    monkeypatch.setattr(serving_config, "SessionModel", known_model)
    directory = tmp_path / "captions"
    shutil.copytree(served, directory / "3")
    (directory / ".4.unfinished").mkdir()
    assert cli.main(["export", "serving", str(directory), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["paths"]
    assert len(written) == 5
    page = (directory / "README.md").read_text(encoding="utf-8")
    assert "v1/models/captions:predict" in page
    assert "version 3" in page


def test_example_is_not_blank(tmp_path):
    warmup.write(tmp_path, {"text": ["\u200b" * 16, "", "ein Haus am"]})
    assert serving_config._sample(tmp_path) == "ein Haus am"


@pytest.mark.parametrize(
    ("spoil", "options", "error", "words"),
    [
        (lambda path: shutil.rmtree(path / "1"), {}, FileNotFoundError, "has no model version"),
        (lambda path: None, {"name": "Ein Name"}, ValueError, "lower-case letters, digits"),
        (lambda path: None, {"cores": 0}, ValueError, "cores must be a whole number"),
        pytest.param(
            *(lambda path: None, {"text": "e" * 10_000}, ValueError),
            "more than 1000 tokens: give a",
            marks=pytest.mark.slow,
        ),
        (
            lambda path: (path / "1/assets.extra/keras_attn_nmt.json").unlink(),
            {},
            ValueError,
            "no beam_size, .* is damaged, or was not written by",
        ),
        (
            lambda path: (path / "1/saved_model.pb").write_bytes(b"nothing"),
            {"text": "ein"},
            ValueError,
            "1 is damaged",
        ),
    ],
)
def test_unservable_directories_are_rejected(directory, tmp_path, spoil, options, error, words):
    copy = tmp_path / "small"
    shutil.copytree(directory / "1", copy / "1")
    spoil(copy)
    with pytest.raises(error, match=words):
        export_serving(copy, **options)
    assert not (copy / "README.md").exists()


def test_failing_model_is_closed(monkeypatch, tmp_path):
    model = mock.Mock()
    model.run.side_effect = ValueError("no signature")
    monkeypatch.setattr(serving_config, "SessionModel", lambda _: model)
    with pytest.raises(ValueError, match="is damaged: no signature"):
        serving_config._examples(tmp_path / "1", "small", "ein")
    model.close.assert_called_once()
