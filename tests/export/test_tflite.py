"""The `.tflite` file gives the same results as `Translator`, without TensorFlow."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from questions import GREEDY, LIMITS, TEXTS, assert_same_nbest
from tensorflow.lite.python import schema_py_generated as schema

from keras_attn_nmt import Translator, cli
from keras_attn_nmt.export import (
    ExportError,
    TFLiteTranslator,
    export_tflite,
    fast_sentencepiece,
    flatbuffer,
    tflite,
)
from keras_attn_nmt.export import runner as runner_module
from keras_attn_nmt.export.device_decoder import DeviceOperations
from keras_attn_nmt.export.tflite_check import TextRunner
from keras_attn_nmt.text.blank import BLANK
from keras_attn_nmt.text.special_ids import EOS
from keras_attn_nmt.translation import TextTooLong

GROWING = ["See", "ein Haus", "zwei kleine Häuser am See", "ein Haus " * 6]


@pytest.fixture(scope="module")
def runner(device_file):
    return TFLiteTranslator(device_file)


@pytest.mark.parametrize("beam_size", [1, 2, 3])
def test_translations_equal_translator(runner, translator, beam_size):
    options = {"beam_size": beam_size, "length_penalty": 0.6, "max_length": 12}
    assert_same_nbest(runner.nbest(TEXTS, **options), translator.nbest(TEXTS, **options))


@pytest.fixture(scope="module")
def growing_ids(translator):
    """What `GROWING` is to a device."""
    ids = [np.zeros((1, LIMITS["max_source_length"]), "int32") for _ in GROWING]
    for row, text in zip(ids, translator.source_tokenizer.encode(GROWING), strict=True):
        row[0, : len(text) + 1] = [*text, EOS]
    return ids


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_texts_of_increasing_length_in_fresh_interpreters(device_file, translator, growing_ids):
    scores = [each.score for each in translator(GROWING, **GREEDY)]
    read = None
    # With growing sizes in the decoder's loop, 1 in 10 to 1 in 100 results were wrong.
    for _ in range(100):
        for runtime in (Interpreter, tf.lite.Interpreter):
            translate = runtime(str(device_file)).get_signature_runner("translate")
            found = [translate(source_ids=row)["score"][0] for row in growing_ids]
            np.testing.assert_allclose(found, scores, atol=1e-4)
            encode = runtime(str(device_file)).get_signature_runner("encode")
            found = [encode(source_ids=row) for row in growing_ids]
            read = read or found
            for got, wanted in zip(found, read, strict=True):
                for name, value in wanted.items():
                    np.testing.assert_allclose(got[name], value, atol=1e-5)


# What `pip install --no-deps` of this package finds on a device: every other installed package is
# hidden from it.
ON_A_DEVICE = """
import sys

INSTALLED = {"keras_attn_nmt", "numpy", "ai_edge_litert", "sentencepiece"}

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in INSTALLED | sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import json
from keras_attn_nmt import Tokenizer, Translation
from keras_attn_nmt.export import TFLiteTranslator

runner = TFLiteTranslator(sys.argv[1])
found = [runner(json.loads(sys.argv[2]), beam_size=size)[0] for size in (1, 3)]
print(json.dumps([[each.text, each.score, each.attention.tolist()] for each in found]))
from keras_attn_nmt import cli
sys.exit(cli.main(["translate", sys.argv[1]]))
"""


def test_runner_needs_only_its_three_packages(device_file, runner):
    done = subprocess.run(
        [sys.executable, "-c", ON_A_DEVICE, str(device_file), json.dumps(["ein Haus"])],
        input="ein Haus\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results, line = done.stdout.splitlines()
    for beam_size, (text, score, attention) in zip((1, 3), json.loads(results), strict=True):
        (wanted,) = runner(["ein Haus"], beam_size=beam_size)
        assert text == wanted.text
        assert score == pytest.approx(wanted.score)
        np.testing.assert_allclose(attention, wanted.attention, atol=1e-6)
    assert line == runner(["ein Haus"])[0].text


def test_all_signatures_share_the_weights(device_file, translator):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(device_file.read_bytes()))
    sizes = [len(each.data) for each in model.buffers if each.data is not None]
    # Buffer padding and graph constants are small compared with another table.
    assert sum(size for size in sizes if size > 100) < 1.2 * 4 * translator.model.count_params()


@pytest.fixture(scope="module", params=[pytest.param("float16", marks=pytest.mark.slow), "int8"])
def quantised_file(request, model_directory, tmp_path_factory):
    if request.param == "int8":
        return request.getfixturevalue("int8_file")
    path = tmp_path_factory.mktemp("float16") / "float16.tflite"
    return export_tflite(model_directory, path, quantize="float16", **LIMITS)


def test_quantised_files_are_close(quantised_file, runner, growing_ids):
    quantised = TFLiteTranslator(quantised_file)
    assert quantised.metadata["quantization"] == quantised_file.stem
    for got, wanted in zip(quantised(TEXTS, beam_size=1), runner(TEXTS, beam_size=1), strict=True):
        pairs = enumerate(zip(got.target_tokens, wanted.target_tokens, strict=False))
        # Weights are random: where the tokens part, both must be about as probable.
        parting = next((place for place, pair in pairs if len(set(pair)) > 1), None)
        stop = None if parting is None else parting + 1
        np.testing.assert_allclose(got.token_scores[:stop], wanted.token_scores[:stop], atol=0.02)
        np.testing.assert_allclose(got.attention[:stop], wanted.attention[:stop], atol=0.02)
        assert parting is not None or got.text == wanted.text
    scores = []
    for _ in range(50):
        translate = Interpreter(str(quantised_file)).get_signature_runner("translate")
        scores.append([translate(source_ids=row)["score"][0] for row in growing_ids])
    np.testing.assert_allclose(scores, scores[:1] * 50, atol=1e-5)


def test_float16_files_know_every_id_of_a_large_vocabulary():
    """Constants of floats are rounded in such files."""
    size = 6000

    def best(logits):
        return DeviceOperations().top_tokens(logits, 1)[1]

    traced = tf.function(best).get_concrete_function(tf.TensorSpec((2, 1, size)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    for ids in ([EOS, 999], [2049, 4097], [5997, 5999]):
        logits = np.zeros((2, 1, size), "float32")
        logits[[0, 1], 0, ids] = 1
        interpreter.set_tensor(given["index"], logits)
        interpreter.invoke()
        assert interpreter.get_tensor(found["index"]).ravel().tolist() == ids


def test_command_translates_with_the_file(device_file, runner, monkeypatch, capsys, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("ein Haus\n\n", encoding="utf-8")
    with lines.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert cli.main(["translate", str(device_file), "--beam-size", "3", "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    wanted = runner(["ein Haus"], beam_size=3, length_penalty=1.0)[0]
    assert first["translation"] == wanted.text
    assert second["translation"] == ""


def test_command_skips_and_crops_at_the_limit_of_the_file(
    device_file, runner, monkeypatch, capsys, caplog
):
    limit = runner.max_source_length
    text = b"ein\n" + b"ein Haus " * limit + b"\n\n"
    for too_long, done, length in (("skip", "skipped", 0), ("crop", "cropped", limit)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        arguments = ["translate", str(device_file), "--json", "--too-long", too_long]
        assert cli.main(arguments) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["line"] for row in rows] == [1, 2, 3]
        assert len(rows[1]["source_tokens"]) == length
        (warning,) = [each for each in caplog.messages if each.endswith(done)]
        assert warning.startswith("Line 2 of the input has")
        assert f"the limit is {limit}" in warning


def test_too_long_text_is_rejected(runner):
    with pytest.raises(TextTooLong, match=r"Text 2 has .* the limit is 32"):
        runner(["ein", "e" * 10_000])


def _made_a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (lambda path: path.unlink(), FileNotFoundError, r"The model .* does not exist"),
        (_made_a_folder, IsADirectoryError, r"is a folder; expected a \.tflite file"),
        (lambda path: path.write_bytes(b"no model"), ValueError, "damaged, or was not written by"),
        (
            lambda path: path.with_suffix(".source.spm").unlink(),
            FileNotFoundError,
            "The source vocabulary",
        ),
        (
            lambda path: shutil.copy(
                path.with_suffix(".target.spm"), path.with_suffix(".source.spm")
            ),
            ValueError,
            "does not belong to this model",
        ),
    ],
)
def test_missing_or_damaged_files_are_named(device_file, tmp_path, damage, error, words):
    folder = tmp_path / "copy"
    shutil.copytree(device_file.parent, folder)
    damage(folder / device_file.name)
    with pytest.raises(error, match=words):
        TFLiteTranslator(folder / device_file.name)


@pytest.fixture
def changed_metadata(device_file, tmp_path):
    """Writes the file with other metadata."""
    path = shutil.copytree(device_file.parent, tmp_path / "copy") / device_file.name

    def change(**values):
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
        path.write_bytes(content[: content.index(b"PK\x03\x04")])
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("metadata.json", json.dumps({**metadata, **values}))
        return path

    return change


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_vocabulary": "../x.spm"}, "source_vocabulary must be a file in its folder"),
        ({"target_vocabulary": 5}, "target_vocabulary must be a text"),
        ({"max_source_length": 10**9}, "source_ids of the signature translate must be of shape"),
        ({"beam_size": 99}, "tokens of the signature decode_step must be of shape"),
        ({"max_target_length": "x"}, "max_length must be a whole number"),
        ({"model_sha256": "0" * 64}, "the SHA-256 of the model is not that of its metadata"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(changed_metadata, values, message):
    path = changed_metadata(**values)
    with pytest.raises(ValueError, match=f"damaged.*{message}"):
        TFLiteTranslator(path)


def test_one_other_bit_of_the_model_never_reaches_the_interpreter(changed_metadata, monkeypatch):
    path = changed_metadata()
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(runner_module, "Interpreters", None)
    with pytest.raises(ValueError, match="the SHA-256 of the model is not that of its metadata"):
        TFLiteTranslator(path)


def test_file_that_fails_verification_is_not_written(
    model_directory, tmp_path, monkeypatch, device_file
):
    content = device_file.read_bytes()
    content = content[: content.index(b"PK\x03\x04")]
    translated = Translator.__call__

    def other(*arguments, **options):
        return translated(*arguments, **options)[::-1]

    monkeypatch.setattr(tflite, "_convert", lambda *_: content)
    monkeypatch.setattr(Translator, "__call__", other)
    with pytest.raises(ExportError, match="failed verification"):
        export_tflite(model_directory, tmp_path / "new.tflite", beam_size=3, **LIMITS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantize": "int4"}, "quantize must be one of none, float16, int8, got 'int4'"),
        ({"signatures": ["encode"]}, r"signatures must be \('translate',\) or .* got \['encode'\]"),
        ({"signatures": "translate"}, "signatures must be"),
        ({"signatures": []}, "signatures must be"),
        ({"signatures": ["translate"], "beam_size": 2}, "beam_size must be 1 for a file"),
        ({"text": True, "beam_size": 5}, "beam_size must be 1 for a file"),
        ({"text": True, "diversity_penalty": 0.5}, "diversity_penalty=0.5 needs a beam_size"),
        ({"text": True, "signatures": list(tflite.SIGNATURES)}, "signatures must be"),
        ({"signatures": ["translate"], "energies": True}, "energies are an output of decode_step"),
        ({"text": True, "energies": True}, "energies are an output of decode_step"),
        ({"max_source_length": -1}, "max_source_length must be .* of at least 2, got -1"),
        ({"max_source_length": 1}, "max_source_length must be .* of at least 2, got 1"),
    ],
)
def test_options_out_of_range_are_rejected(model_directory, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        export_tflite(model_directory, tmp_path / "new.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_documented_program_needs_only_the_runtime(device_file, runner):
    program = Path(__file__).parents[2] / "docs" / "translate_on_device.py"
    done = subprocess.run(
        [sys.executable, str(program), str(device_file), "ein Haus"],
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    (wanted,) = runner(["ein Haus"], beam_size=1)
    blank = [sys.executable, str(program), str(device_file), " \u200b"]
    assert subprocess.run(blank, capture_output=True, check=True).stdout == b""
    assert "keras_attn_nmt" not in program.read_text().split('"""')[2]
    assert done.stdout.startswith(f"{wanted.text}\n")
    assert done.stdout.count("looked at") == len(wanted.target_tokens)


def test_text_file_has_only_the_two_tf_text_ops(device_file_with_text):
    path = device_file_with_text
    assert flatbuffer.custom_ops(path.read_bytes()) == set(fast_sentencepiece.OPS)
    assert [each.name for each in path.parent.iterdir()] == ["text.tflite"]
    with pytest.raises(ValueError, match="exported with --text"):
        TFLiteTranslator(path)


def test_id_file_has_only_builtin_ops(device_file):
    assert flatbuffer.custom_ops(device_file.read_bytes()) == set()


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "int8"])
def test_tensors_are_aligned_for_files_mapped_into_memory(device_file, int8_file, quantized):
    content = (int8_file if quantized else device_file).read_bytes()
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength())]
    start = np.frombuffer(content, np.uint8).ctypes.data
    places = [each.ctypes.data - start for each in buffers if isinstance(each, np.ndarray)]
    assert len(places) > 50
    assert {place % 16 for place in places} == {0}


def test_custom_ops_are_named(model_directory, tmp_path, monkeypatch):
    class Foreign(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1], tf.string, "text")])
        def upper(self, text):
            return {"upper": tf.strings.upper(text)}

    foreign = Foreign()
    foreign.functions = {"translate": foreign.upper.get_concrete_function()}
    monkeypatch.setattr(tflite, "_module", lambda *_: foreign)
    for text in (False, True):
        with pytest.raises(ExportError, match=r"ops that are not builtins: \w*StringUpper\.$"):
            export_tflite(model_directory, tmp_path / "new.tflite", text=text)
    assert not list(tmp_path.iterdir())


def test_unnormalized_and_blank_texts_in_a_text_file(
    device_file_with_text, model_directory, runner
):
    ask = TextRunner(device_file_with_text)
    typed, composed = "zwei kleine Ha\u0308u\u00adser am See", "zwei kleine Häuser am See"
    assert ask(typed).target_tokens == ask(composed).target_tokens
    for text in [*BLANK, "\x0b \x85", "\u3000\u200b\ufeff", "  "]:
        assert ask(text).source_tokens == [], repr(text)
        assert runner([text])[0].source_tokens == [], repr(text)
    assert ask("\u200d").source_tokens
    with pytest.raises(RuntimeError, match="num_input_elements != num_output_elements"):
        ask._translate(text=np.array([typed, composed]))
    assert ask(typed).target_tokens == ask(composed).target_tokens
