"""Signatures of a `.tflite` file, and concurrent use by threads and processes."""

import collections
import copy
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent import futures
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from questions import LIMITS, OPTIONS, TEXTS, assert_same_nbest
from tensorflow.lite.python import schema_py_generated as schema

from keras_attn_nmt import Translator, cli, quiet
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export import TFLiteTranslator, export_tflite, interpreters, tflite
from keras_attn_nmt.export.interpreters import Interpreters
from keras_attn_nmt.quiet import quiet_stderr


@pytest.fixture(scope="module")
def runner(device_file):
    return TFLiteTranslator(device_file)


def tensor_types(path):
    """The dtypes of the inputs and outputs of all signatures."""
    interpreter = Interpreter(str(path))
    runners = map(interpreter.get_signature_runner, interpreter.get_signature_list())
    return {
        details["dtype"]
        for runner in runners
        for each in (runner.get_input_details(), runner.get_output_details())
        for details in each.values()
    }


def test_tensors_are_float32_or_int32(device_file):
    # LiteRT.js refuses a file that has any other, in whichever signature.
    assert tensor_types(device_file) == {np.float32, np.int32}


def test_command_imports_no_tensorflow_and_prints_no_messages(device_file):
    program = (
        "import sys; from keras_attn_nmt import cli; code = cli.main(sys.argv[1:]); "
        'sys.exit(f\'imported: {sorted({"keras", "tensorflow"} & set(sys.modules))}, {code}\')'
    )
    command = [sys.executable, "-c", program, "translate", str(device_file), "--beam-size", "2"]
    done = subprocess.run(command, input="ein Haus\n", capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "imported: [], 0"
    assert "INFO" not in done.stderr  # Of the runtime.
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_beam_search_runs_on_files_of_older_versions(
    model_directory, tmp_path, monkeypatch, runner
):
    """Its mask is bool, and its metadata does not name its signatures."""
    current_module, current_dumps = tflite._module, json.dumps

    def with_mask_of_bool(function):
        given = function.structured_input_signature[0]
        specs = [
            tf.TensorSpec(each.shape, tf.bool if each.name == "mask" else each.dtype, each.name)
            for each in given
        ]

        def cast(*inputs):
            pairs = zip(inputs, given, strict=True)
            found = function(*(tf.cast(value, spec.dtype) for value, spec in pairs))
            return found | {"mask": tf.cast(found["mask"], tf.bool)} if "mask" in found else found

        return tf.function(cast, autograph=False).get_concrete_function(*specs)

    def older_module(*arguments):
        module = current_module(*arguments)
        module.functions = {
            name: with_mask_of_bool(each) for name, each in module.functions.items()
        }
        return module

    def older_dumps(metadata, **options):
        return current_dumps({k: v for k, v in metadata.items() if k != "signatures"}, **options)

    monkeypatch.setattr(tflite, "_module", older_module)
    monkeypatch.setattr(tflite.json, "dumps", older_dumps)
    path = export_tflite(model_directory, tmp_path / "older.tflite", beam_size=3, **LIMITS)
    assert np.bool_ in tensor_types(path)
    older = TFLiteTranslator(path)
    assert "signatures" not in older.metadata
    for beam_size in (1, 3):
        options = {"beam_size": beam_size}
        assert_same_nbest(older.nbest(TEXTS, **options), runner.nbest(TEXTS, **options))


@pytest.fixture(scope="module")
def greedy_file(model_directory, tmp_path_factory):
    """What the command writes with one signature."""
    path = tmp_path_factory.mktemp("greedy") / "greedy.tflite"
    arguments = ["export", "tflite", str(model_directory), "--signatures", "translate"]
    arguments += ["--output", str(path), "--length-penalty", str(OPTIONS["length_penalty"])]
    arguments += ["--max-target-length", str(LIMITS["max_target_length"])]
    assert cli.main([*arguments, "--beam-size", "4"]) == 1
    assert not path.exists()
    assert cli.main(arguments) == 0
    return path


def test_file_with_one_signature_is_greedy(greedy_file, device_file, runner):
    assert list(Interpreter(str(greedy_file)).get_signature_list()) == ["translate"]
    # Nothing of the others is left for a runtime that reads the first graph it finds.
    (graph,) = schema.ModelT.InitFromObj(
        schema.Model.GetRootAs(greedy_file.read_bytes())
    ).signatureDefs
    assert (graph.signatureKey, graph.subgraphIndex) == (b"translate", 0)
    greedy = TFLiteTranslator(greedy_file)
    assert greedy.metadata["signatures"] == ["translate"]
    assert runner.metadata["signatures"] == [
        *("translate", "encode", "decode_step", "translate_beam", "translate_1x16"),
    ]
    assert_same_nbest(greedy.nbest(TEXTS), runner.nbest(TEXTS, beam_size=1))
    with pytest.raises(ValueError, match=r"beam_size must be 1, got 3: .* with all signatures"):
        greedy(TEXTS, beam_size=3)
    longest = greedy.metadata["max_target_length"]
    with pytest.raises(ValueError, match=f"max_length must be at most {longest}, got 300: export"):
        greedy(TEXTS, max_length=300)


def test_command_searches_greedily_with_one_signature(
    greedy_file, runner, monkeypatch, capsys, tmp_path
):
    (tmp_path / "lines.txt").write_text("ein Haus\n", encoding="utf-8")
    for options, code in (([], 0), (["--beam-size", "2"], 1)):
        with (tmp_path / "lines.txt").open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            assert cli.main(["translate", str(greedy_file), *options]) == code
    captured = capsys.readouterr()
    assert captured.out == f"{runner(['ein Haus'], beam_size=1)[0].text}\n"
    assert "export it with all signatures" in captured.err


def test_protected_text_and_paragraphs(runner):
    options = {"protect": ["defaults"], "markup": True}
    (found,) = runner(["zwei <b>kleine</b> {name} am See"], **options)
    assert all(found.text.count(each) == 1 for each in ("<b>", "</b>", "{name}"))
    assert "".join(found.source_tokens) == "▁zwei▁kleine▁am▁See</s>"
    pytest.importorskip("sentencex", reason="needs the extra text")
    (paragraph,) = runner.paragraphs(["Ein Haus.  Am <i>See. Ein</i> Haus."], "de", **options)
    first, *_, last = paragraph.sentences
    assert paragraph.sources == ["Ein Haus.", "Am See.", "Ein Haus."]
    assert paragraph.text.startswith(f"{first.text}  "[: len(first.text) + 2 * bool(first.text)])
    assert paragraph.score == pytest.approx(sum(each.score for each in paragraph.sentences))
    assert last.attention.shape == (len(last.target_tokens), len(last.source_tokens))


@pytest.mark.parametrize(
    ("options", "beam_sizes"),
    [
        ({"signatures": ["translate"]}, [1]),
        # Greedy search from the columns; beam search in the file, and around `decode_step`, from
        # all logits.
        pytest.param({"beam_size": 3}, [1, 3, 2], marks=pytest.mark.slow),
    ],
)
def test_shortlist_in_the_file(
    model_directory, device_file, tmp_path, monkeypatch, caplog, capsys, options, beam_sizes
):
    directory = shutil.copytree(model_directory, tmp_path / "model")
    plain = Translator.load(directory)
    vocabularies = plain.source_tokenizer, plain.target_tokenizer
    sizes = [each.vocabulary_size for each in vocabularies]
    candidates = np.arange(2 * sizes[0]).reshape(-1, 2) % sizes[1]
    shortlist = Shortlist(candidates.astype("int32"), np.array([5, 9], "int32"))
    shortlist.save(directory / "shortlist.npz", *vocabularies)
    path = tmp_path / "short.tflite"
    export_tflite(
        directory, path, shortlist=True, max_source_length=8, max_target_length=8, **options
    )
    runner, translator = TFLiteTranslator(path), Translator.load(directory)
    assert runner.metadata["shortlist"]
    texts = ["ein Haus", "am See", "", "zwei", "kleine"]
    for beam_size in beam_sizes:
        asked = {"beam_size": beam_size, "max_length": 8}
        wanted = translator.nbest(texts, shortlist=True, **asked)
        assert_same_nbest(runner.nbest(texts, **asked), wanted)
    assert [each.text for each in runner(texts)] != [each.text for each in plain(texts)]
    for file, message in ((path, "already uses its shortlist"), (device_file, "has no shortlist")):
        assert cli.main(["translate", str(file), "--shortlist"]) == 2
        assert message in capsys.readouterr().err
    # Of 310 target pieces, 64 places have 144 columns.
    assert "shortlist" not in caplog.text
    monkeypatch.setattr(tflite, "_module", mock.Mock(side_effect=InterruptedError))
    with pytest.raises(InterruptedError):
        export_tflite(directory, path, shortlist=True, signatures=["translate"])
    assert "--max-source-length of at most 29" in caplog.text


@pytest.fixture(scope="module")
def bulk_file(model_directory, tmp_path_factory):
    path = tmp_path_factory.mktemp("bulk") / "bulk.tflite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "BULK_PLACES", (12,))  # Each takes a second to convert.
        return export_tflite(model_directory, path, bulk=True, max_source_length=20, beam_size=1)


def test_many_sentences_are_translated_at_once_and_keep_their_order(
    bulk_file, translator, monkeypatch
):
    generator = np.random.default_rng(0)
    words = ["ein", "Haus", "zwei", "kleine", "am", "See", ""]
    texts = [" ".join(generator.choice(words, size)) for size in generator.integers(0, 5, 70)]
    wanted = translator.nbest(texts, beam_size=1, max_length=64)
    shapes = collections.Counter()
    run = Interpreters.run

    def counted(self, signature, **inputs):
        shapes[inputs["source_ids"].shape] += 1
        return run(self, signature, **inputs)

    monkeypatch.setattr(Interpreters, "run", counted)
    assert_same_nbest(TFLiteTranslator(bulk_file).nbest(texts), wanted)
    assert {rows for rows, _ in shapes} <= {1, 16} and {12, 20} <= {each for _, each in shapes}
    assert sum(shapes.values()) < 10
    # Fewer than fill a quarter are translated one by one.
    shapes.clear()
    assert_same_nbest(TFLiteTranslator(bulk_file).nbest(texts[:3]), wanted[:3])
    assert {rows for rows, _ in shapes} == {1}


def test_jobs_translate_at_the_same_time(bulk_file, device_file, runner):
    # Even as single characters and bytes, these are within the 20 tokens of a source.
    short = [text[:15] for text in TEXTS]
    texts = [*short, *reversed(short)] * 5
    for path, beam_size in ((bulk_file, 1), (device_file, 3)):
        several = TFLiteTranslator(path, jobs=2)
        wanted = TFLiteTranslator(path).nbest(texts, beam_size=beam_size)
        assert_same_nbest(several.nbest(texts, beam_size=beam_size), wanted)
    with pytest.raises(ValueError, match="jobs must be a whole number of at least 1, got 0"):
        TFLiteTranslator(device_file, jobs=0)


def test_threads_share_one_translator(runner):
    texts = [f"{text} {number}" for number in range(8) for text in ("See", "zwei kleine Häuser")]
    for beam_size in (1, 3):
        wanted = [runner.nbest([text], beam_size=beam_size) for text in texts]
        start = threading.Barrier(len(texts))

        def translate(text, start=start, beam_size=beam_size):
            start.wait()
            return [runner.nbest([text], beam_size=beam_size) for _ in range(10)]

        with futures.ThreadPoolExecutor(len(texts)) as pool:
            for found, expected in zip(pool.map(translate, texts), wanted, strict=True):
                for each in found:
                    assert_same_nbest(each, expected)


def test_forked_process_translates_during_a_parents_run(device_file):
    program = f"""
import os, threading
from keras_attn_nmt.export.runner import TFLiteTranslator
translator = TFLiteTranslator({str(device_file)!r})
wanted = translator(["ein Haus"], beam_size=3)[0].score

def ask():
    while not done:
        translator(["zwei kleine Häuser am See"], beam_size=3)

done = []
thread = threading.Thread(target=ask)
thread.start()
wrong = 0
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(translator(["ein Haus"], beam_size=3)[0].score != wanted)
    wrong += os.waitpid(child, 0)[1]
done.append(True)
thread.join()
raise SystemExit(wrong != 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=100)


def test_standard_error_is_redirected_for_commands_only(device_file, monkeypatch):
    monkeypatch.setattr(quiet, "_of_a_command", False)
    seen = []

    class Watched(interpreters.Interpreter):
        def __init__(self, **options):
            seen.append(os.readlink("/proc/self/fd/2") == os.devnull)
            super().__init__(**options)

    monkeypatch.setattr(interpreters, "Interpreter", Watched)
    TFLiteTranslator(device_file)
    quiet.set_process_of_a_command()
    TFLiteTranslator(device_file)
    assert seen == [False, True]


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy])
def test_pickling_says_to_load_in_each_process(device_file, copied):
    device = TFLiteTranslator(device_file)
    for each in (device, Translator.__new__(Translator)):
        with pytest.raises(TypeError, match="cannot be pickled or copied: load it in each process"):
            copied(each)
    other = copy.copy(device)
    assert (type(other), other.metadata) == (TFLiteTranslator, device.metadata)


def test_forked_process_does_not_deadlock_on_quiet_stderr():
    quiet, forked = threading.Event(), threading.Event()

    def hold():
        with quiet_stderr():
            quiet.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    quiet.wait()
    child = os.fork()
    if not child:
        signal.alarm(5)
        with quiet_stderr():
            os._exit(0)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
