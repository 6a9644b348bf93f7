"""A small model in all three forms, made once for a session."""

import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    from keras_attn_nmt import ModelConfig, Tokenizer, build_model
    from keras_attn_nmt.decoding.search_options import SearchOptions
    from keras_attn_nmt.model_directory import ModelFiles, save_model

    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)
    size = tokenizer.vocabulary_size
    config = ModelConfig(
        size, size, embedding_units=6, encoder_units=5, decoder_units=7, attention_units=4
    )
    model = build_model(config)
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    folder = tmp_path_factory.mktemp("bulk") / "model"
    search = SearchOptions(2, 1.0, 12)
    save_model(folder, ModelFiles(model, config, tokenizer, tokenizer, search))
    return str(folder)


@pytest.fixture(scope="session")
def device_file(model_directory, tmp_path_factory):
    from keras_attn_nmt.export import export_tflite

    path = tmp_path_factory.mktemp("device") / "small.tflite"
    export_tflite(model_directory, path, max_source_length=32, max_target_length=12)
    return str(path)


@pytest.fixture(scope="session")
def served(model_directory, tmp_path_factory, check_here):
    from keras_attn_nmt.export import export_saved_model

    with check_here():
        return str(export_saved_model(model_directory, tmp_path_factory.mktemp("served")))


@pytest.fixture
def command():
    """Runs a command as users do; returns exit code, standard output and error."""

    def run(*arguments, text=b""):
        program = [sys.executable, "-m", "keras_attn_nmt.cli", *map(str, arguments)]
        done = subprocess.run(program, input=text, capture_output=True)
        return done.returncode, done.stdout, done.stderr.decode()

    return run


@pytest.fixture
def job(device_file, tmp_path):
    """Runs bulk translation in this process, from `in` to `out`; returns the report."""
    from keras_attn_nmt.bulk import BulkOptions, bulk_translate

    (tmp_path / "in").mkdir()

    def run(model=device_file, output="out", batch_size=2, **options):
        # Parts of 64 lines.
        options = {"search": {"beam_size": 1}, **options}
        return bulk_translate(
            str(model),
            [str(tmp_path / "in" / "*")],
            str(tmp_path / output),
            BulkOptions(batch_size=batch_size, **options),
            ["--runner=FnApiRunner"],
        )

    return run
