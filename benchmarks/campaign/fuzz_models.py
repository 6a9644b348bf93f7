"""Fuzz targets of model directories, vocabularies, shortlists, `.tflite` files; and texts."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# NumPy 1.26 starts `lscpu` when it is imported: not while an input is read.
import numpy.testing

from campaign import mutations
from campaign.fuzz_texts import Target, _file

TEXT = "zwei kleine Häuser am See"
LONG = 10_000_000


def model(folder: Path) -> Path:
    from tiny_translator import tiny_files

    from keras_attn_nmt import model_directory

    directory = folder / "model"
    if not directory.exists():
        model_directory.save_model(directory, tiny_files())
    return directory


def answer(directory: Path) -> tuple[Any, Any]:
    """The loaded model, and scores of a translation."""
    import tensorflow as tf

    from keras_attn_nmt import Translator

    translator = Translator.load(directory)
    # Tracing would take most of the time, and keeps memory.
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        (found,) = translator.score([TEXT], ["ein Haus am See"])
    finally:
        tf.config.run_functions_eagerly(eager)
    return translator.model, found.token_scores


def one_file(folder: Path, name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Reads the model directory with another content of one file."""
    directory = model(folder)
    return _file(directory, name, lambda _: read(directory))


def texts(folder: Path) -> Target:
    """Lines of standard input, translated; every 500th has 10 MB."""
    from keras_attn_nmt import Tokenizer, Translator
    from keras_attn_nmt.text.lines import arriving_lines

    translator = Translator.load(model(folder))
    lossless = Tokenizer.learn(["ein Haus am See"] * 3, 290, normalization="identity")

    def make(rng: random.Random) -> bytes:
        if not rng.randrange(500):
            part = (mutations.text(rng, 40).replace("\n", "") or " ").encode()
            return part * (LONG // len(part))
        data = mutations.text(rng).encode()
        if not rng.randrange(4):
            data = mutations.damaged(rng, data or b"x")
        return data

    def read(data: bytes) -> None:
        for lines in arriving_lines(io.BytesIO(data), 64, "standard input"):
            for text in lines:
                if len(text) < 100_000:
                    (ids,) = lossless.encode([text])
                    assert lossless.decode([ids]) == [text.replace("▁", " ")], "not lossless"
            for found in translator(lines, beam_size=2, max_length=8):
                assert np.isfinite(found.score)
                assert np.isfinite(found.attention).all()
                if found.source_tokens:
                    assert np.allclose(found.attention.sum(axis=1), 1, atol=1e-3)

    return make, read


def configs(folder: Path) -> Target:
    from keras_attn_nmt import model_directory

    directory = model(folder)
    content = (directory / "config.json").read_bytes()

    _, expected = answer(directory)
    settings = model_directory.read_config(directory)[0]

    def read(_: Path) -> None:
        _, found = answer(directory)
        if model_directory.read_config(directory)[0] == settings:
            np.testing.assert_array_equal(found, expected)
        assert np.isfinite(found).all()

    def make(rng: random.Random) -> bytes:
        return mutations.changed_json(rng, content)

    return make, one_file(folder, "config.json", read)


def vocabularies(folder: Path) -> Target:
    """`source.spm` of a model directory: refused, whatever was changed."""
    from keras_attn_nmt import Translator

    directory = model(folder)
    content = (directory / "source.spm").read_bytes()

    def read(_: Path) -> None:
        Translator.load(directory)
        raise AssertionError("a changed vocabulary was accepted")

    return lambda rng: mutations.damaged(rng, content), one_file(folder, "source.spm", read)


def foreign_vocabularies(folder: Path) -> Target:
    """A SentencePiece model of a recipe, which nothing but its own content can be checked by."""
    from keras_attn_nmt import Tokenizer

    directory = model(folder)
    content = (directory / "source.spm").read_bytes()

    def read(path: Path) -> None:
        tokenizer = Tokenizer.from_sentencepiece(path)
        (ids,) = tokenizer.encode([TEXT])
        tokenizer.decode([ids])
        tokenizer.pieces(ids)

    return lambda rng: mutations.damaged(rng, content), _file(folder, "fuzz.model", read)


def shortlists(folder: Path) -> Target:
    from keras_attn_nmt import Tokenizer
    from keras_attn_nmt.decoding.shortlist import Shortlist

    directory = model(folder)
    tokenizer = Tokenizer.load(directory / "source.spm")
    size = tokenizer.vocabulary_size
    candidates = np.arange(size * 4, dtype="int32").reshape(size, 4) % size
    path = folder / "shortlist.npz"
    common = np.arange(9, dtype="int32")
    Shortlist(candidates, common).save(path, tokenizer, tokenizer)
    content = path.read_bytes()
    stored = mutations.zip_members(content)

    def array(rng: random.Random, _: str, member: bytes) -> bytes:
        file = io.BytesIO()
        what = rng.randrange(7)
        if what == 0:
            np.save(file, np.array([{"a": 1}, None], object), allow_pickle=True)
        elif what == 1:
            shape = (rng.choice((2**40, 2**31, -1, 0)), rng.choice((1, 4, 2**20)))
            np.lib.format.write_array_header_1_0(
                file, {"descr": "<i4", "fortran_order": False, "shape": shape}
            )
        elif what == 2:
            np.save(file, np.full(candidates.shape, rng.choice((-1, size, 2**31 - 1)), "int32"))
        elif what == 3:
            np.save(file, np.full(candidates.shape, rng.choice((np.nan, np.inf, 0.5))))
        elif what == 4:
            np.save(file, np.zeros(rng.choice(((), (0,), (size,), (size, 0), (2, 2, 2))), "int32"))
        elif what == 5:
            np.save(file, np.zeros(candidates.shape, rng.choice(("U3", "c8", "M8[s]", "V4", "?"))))
        else:
            return mutations.damaged(rng, member)
        return file.getvalue()

    def make(rng: random.Random) -> bytes:
        if not rng.randrange(300):
            return mutations.bomb(content)
        if rng.randrange(2):
            return mutations.damaged(rng, content)
        return mutations.changed_zip(rng, content, array)

    def read(path: Path) -> None:
        found = Shortlist.load(path, tokenizer, tokenizer)
        found.check(tokenizer, tokenizer)
        assert found.candidates.ndim == 2 and found.common.ndim == 1, "other dimensions"
        members = mutations.zip_members(path.read_bytes())
        for name, values in (("candidates", candidates), ("common", common)):
            if members[f"{name}.npy"] == stored[f"{name}.npy"]:
                np.testing.assert_array_equal(getattr(found, name), values)

    return make, _file(folder, "fuzz.npz", read)


def device_files(folder: Path) -> Target:
    """A `.tflite` file: the model, the metadata behind it, or both."""
    from keras_attn_nmt.export import TFLiteTranslator, export_tflite

    path = folder / "tiny.tflite"
    if not path.exists():
        export_tflite(model(folder), path, max_source_length=32, max_target_length=12)
    content = path.read_bytes()
    expected = TFLiteTranslator(path)([TEXT])[0].text
    metadata = mutations.zip_members(content)["metadata.json"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        first = min(info.header_offset for info in archive.infolist())
    without_metadata = content[:first]
    names = [f"tiny.{side}.spm" for side in ("source", "target")]
    assert all((folder / name).exists() for name in names)

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3) == 0:
            return mutations.damaged(rng, content)
        if rng.randrange(2):
            return mutations.damaged(rng, without_metadata) + content[first:]
        return mutations.zipped(
            [("metadata.json", mutations.changed_json(rng, metadata))], without_metadata
        )

    def read(path: Path) -> None:
        translator = TFLiteTranslator(path)
        (found,) = translator([TEXT])
        if mutations.zip_members(path.read_bytes())["metadata.json"] == metadata:
            assert found.text == expected, "another translation"

    return make, _file(folder, "fuzz.tflite", read)
