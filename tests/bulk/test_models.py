"""All three forms of a model, in files and in a pipeline of one's own."""

import json
import os
import pickle
import shutil
import signal

import pytest
from bulk_files import content_of
from tiny_translator import tiny_files

from keras_attn_nmt import Glossary, Translator
from keras_attn_nmt.export import device_metadata
from keras_attn_nmt.export.saved_model_runner import METADATA, SavedModelTranslator, read_metadata
from keras_attn_nmt.model_directory import save_model

beam = pytest.importorskip("apache_beam", reason="no Beam here: make test-beam")
from apache_beam.testing.util import assert_that, equal_to  # noqa: E402

from keras_attn_nmt.bulk import BulkOptions, Translate  # noqa: E402
from keras_attn_nmt.bulk.models import BulkModel, check_model, model_digest  # noqa: E402

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "ein"]


def test_all_forms_translate_alike(job, model_directory, device_file, served, tmp_path):
    (tmp_path / "in" / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    for output, model in enumerate([model_directory, device_file, served]):
        job(model=model, output=str(output), search={}, n_best=2)
    one, two, three = (content_of(tmp_path / str(output)) for output in range(3))
    assert one == two == three
    wanted = Translator.load(model_directory).nbest(TEXTS)
    lines = one["a.txt"].decode().split("\n")
    assert lines == [each.text for best in wanted for each in (best + best)[:2]] + [""] or (
        lines[::2][:4] == [best[0].text for best in wanted]
    )


def test_a_saved_model_says_what_is_too_long(served):
    model = BulkModel(served, BulkOptions())
    outcomes = model.translate(["ein Haus", "ein Haus " * 600, "ein"])
    assert ["the limit is 1000" in each.failure for each in outcomes] == [False, True, False]
    assert [bool(each.best[0].text) for each in outcomes] == [True, False, True]


def test_a_text_of_few_bytes_with_too_many_tokens_is_skipped(served):
    unknown = "東" * 333  # Three tokens a character.
    outcomes = BulkModel(served, BulkOptions()).translate(["ein Haus", unknown, "ein"])
    assert ["has 1001 tokens" in each.failure for each in outcomes] == [False, True, False]
    assert [bool(each.best[0].text) for each in outcomes] == [True, False, True]


def test_a_saved_model_in_this_process_is_that_of_the_client(served, model_directory):
    found, wanted = SavedModelTranslator(served), Translator.load(model_directory)
    for one, two in zip(found.nbest(TEXTS), wanted.nbest(TEXTS), strict=True):
        assert [each.text for each in one] == [each.text for each in two]
        assert [each.score for each in one] == pytest.approx([each.score for each in two], abs=1e-4)
    with pytest.raises(ValueError, match=r"no signature .* export saved-model --constraints"):
        found(TEXTS, glossary=Glossary({"Haus": "house"}))
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        SavedModelTranslator(served, batch_size=0)
    with pytest.raises(FileNotFoundError, match=r"no saved_model\.pb"):
        SavedModelTranslator(model_directory)
    unpickled = pickle.loads(pickle.dumps(found))  # noqa: S301  Our own.
    assert unpickled(TEXTS[:1])[0].text == found(TEXTS[:1])[0].text
    for use in (lambda: found(TEXTS), lambda: SavedModelTranslator(served)):
        read, write = os.pipe()
        if not (child := os.fork()):
            signal.alarm(60)
            try:
                use()
            except RuntimeError as error:
                os.write(write, str(error).encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        assert b"was forked from process" in os.read(read, 1000)
        os.close(read)


def test_the_source_of_a_cropped_line_is_its_beginning(device_file):
    # Alignments have the words of what was translated.
    line = "zwei kleine Häuser am See " * 12
    options = BulkOptions(too_long="crop", search={"beam_size": 1})
    cropped, whole = BulkModel(device_file, options).translate([line, "ein Haus"])
    assert line.startswith(cropped.source) and 0 < len(cropped.source) < len(line)
    assert whole.source == "ein Haus"


@pytest.mark.parametrize("name", ["n_best", "batch_size"])
def test_numbers_of_translations_and_of_a_batch_are_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        BulkOptions(**{name: 0})


@pytest.mark.slow
def test_options_that_a_saved_model_does_not_have(served):
    for name, value in (("beam_size", 2), ("length_penalty", 0.0), ("diversity_penalty", 0)):
        with pytest.raises(ValueError, match="set at export: remove --" + name.replace("_", "-")):
            BulkModel(served, BulkOptions(search={name: value}))
    with pytest.raises(ValueError, match="can only skip"):
        BulkModel(served, BulkOptions(too_long="crop"))
    most = read_metadata(served)["beam_size"]
    for check in (BulkModel, check_model):
        with pytest.raises(ValueError, match=f"requires a beam_size .* got {most}"):
            check(served, BulkOptions(n_best=most + 1))


def test_a_longer_translation_than_the_file_has_is_refused_at_once(device_file):
    with pytest.raises(ValueError, match=r"max_length must be at most \d+, got 300: export the"):
        check_model(str(device_file), BulkOptions(search={"max_length": 300}))


def test_no_alignment_of_a_model_without_attention(tmp_path):
    save_model(tmp_path / "model", tiny_files({"attention": "none"}))
    with pytest.raises(ValueError, match="alignment needs attention, which this model"):
        BulkModel(str(tmp_path / "model"), BulkOptions(alignment=True))


def test_no_alignment_of_a_file_without_attention(device_file, monkeypatch):
    metadata = {**device_metadata.read_metadata(device_file), "attention": False}
    monkeypatch.setattr(device_metadata, "read_metadata", lambda _: metadata)
    with pytest.raises(ValueError, match="alignment needs attention, which this model"):
        check_model(device_file, BulkOptions(alignment=True))


@pytest.mark.parametrize("recorded", [{"attention": "none"}, {"has_attention": False}])
def test_no_alignment_of_an_export_without_attention(recorded, served, tmp_path):
    version = shutil.copytree(served, tmp_path / "1")
    metadata = {**read_metadata(version), **recorded}
    (version / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ValueError, match="alignment needs attention, which this model"):
        check_model(str(version), BulkOptions(alignment=True))


def test_a_model_directory_may_have_a_bracket_in_its_path(model_directory, tmp_path):
    model = shutil.copytree(model_directory, tmp_path / "m[1]")
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1" / "model.keras").write_bytes(b"another model")
    assert model_digest(str(model)) == model_digest(model_directory)
    (model / "config.json").write_bytes(b"{}")
    assert model_digest(str(model)) != model_digest(model_directory)


def test_the_digest_of_a_saved_model_is_that_of_its_own_weights(tmp_path):
    digests = []
    for folder in ("m1", "m[1]", "m"):
        variables = tmp_path / folder / "variables"
        variables.mkdir(parents=True)
        (tmp_path / folder / "saved_model.pb").write_bytes(b"graph")
        (variables / "variables.index").write_text("one" if folder == "m1" else "two")
        digests.append(model_digest(str(tmp_path / folder)))
    assert digests[0] != digests[1] == digests[2]
    shutil.rmtree(variables)
    with pytest.raises(FileNotFoundError, match="without variables"):
        model_digest(str(tmp_path / "m"))


def test_a_saved_model_that_tensorflow_cannot_find_is_refused_at_once(tmp_path):
    version = tmp_path / "m[1]"
    version.mkdir()
    (version / "saved_model.pb").write_bytes(b"graph")
    for check in (check_model, BulkModel):
        with pytest.raises(ValueError, match="contains a bracket"):
            check(str(version), BulkOptions())


def test_a_pipeline_of_ones_own(device_file):
    pairs = [(number, text) for number, text in enumerate([*TEXTS, "ein Haus " * 30])]
    wanted = BulkModel(device_file, BulkOptions(search={"beam_size": 1})).translate(TEXTS)
    with beam.Pipeline("FnApiRunner") as pipeline:
        translate = Translate(device_file, beam_size=1)
        found = (
            pipeline
            | beam.Create(pairs)
            | translate
            | beam.MapTuple(lambda key, outcome: (key, outcome.best[0].text, bool(outcome.failure)))
        )
        expected = [(key, each.best[0].text, False) for key, each in enumerate(wanted)]
        assert_that(found, equal_to([*expected, (4, "", True)]))
        texts = (
            pipeline
            | "Texts" >> beam.Create(TEXTS[:1])
            | "Translate texts" >> translate
            | "Text" >> beam.MapTuple(lambda text, outcome: (text, outcome.best[0].text))
        )
        assert_that(texts, equal_to([(TEXTS[0], wanted[0].best[0].text)]), "texts")
