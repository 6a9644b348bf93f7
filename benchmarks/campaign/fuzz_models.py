"""Fuzz targets whose files are read by C++: model directories, vocabularies, exports; and texts."""

from __future__ import annotations

import functools
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign import mutations
from campaign.fuzz_texts import Target, _file

TEXT = "zwei kleine Häuser am See"
LONG = 10_000_000
BOMB_BYTES = 3_000_000_000


def _model(folder: Path) -> Path:
    from tiny_translator import tiny_files

    from keras_attn_nmt import model_directory

    directory = folder / "model"
    if not directory.exists():
        model_directory.save_model(directory, tiny_files())
    return directory


def _answer(directory: Path) -> Any:
    from keras_attn_nmt import Translator

    (found,) = Translator.load(directory).score([TEXT], ["ein Haus am See"])
    return found.token_scores


def _one_file(folder: Path, name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Reads the model directory with another content of one file."""
    directory = _model(folder)
    return _file(directory, name, lambda _: read(directory))


def texts(folder: Path) -> Target:
    """Lines of standard input, translated; every 500th has 10 MB."""
    from keras_attn_nmt import Tokenizer, Translator
    from keras_attn_nmt.text.lines import arriving_lines

    translator = Translator.load(_model(folder))
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
    directory = _model(folder)
    content = (directory / "config.json").read_bytes()

    def read(_: Path) -> None:
        from keras_attn_nmt import Translator

        found = Translator.load(directory).score([TEXT], ["ein Haus am See"])[0]
        assert np.isfinite(found.token_scores).all()

    def make(rng: random.Random) -> bytes:
        return mutations.changed_json(rng, content)

    return make, _one_file(folder, "config.json", read)


def weights(folder: Path) -> Target:
    """`model.keras` of a model with a config: damaged, or well-formed with other members."""
    directory = _model(folder)
    content = (directory / "model.keras").read_bytes()
    return _keras(content), _one_file(folder, "model.keras", _same(directory, content))


def _same(directory: Path, content: bytes) -> Callable[[Path], Any]:
    expected = _answer(directory)

    def read(_: Path) -> None:
        found = _answer(directory)
        # A well-formed file may have other weights; damage may not change an answer.
        data = (directory / "model.keras").read_bytes()
        if not _is_zip_of_other_members(data, content):
            np.testing.assert_array_equal(found, expected)

    return read


def _is_zip_of_other_members(data: bytes, content: bytes) -> bool:
    try:
        return mutations.zip_members(data) != mutations.zip_members(content)
    except Exception:
        return False


def _keras(content: bytes) -> Callable[[random.Random], bytes]:
    def change(rng: random.Random, name: str, member: bytes) -> bytes:
        if name.endswith(".json"):
            return mutations.changed_json(rng, member)
        return rng.choice((_other_h5, mutations.damaged))(rng, member)

    def make(rng: random.Random) -> bytes:
        kind = rng.randrange(200)
        if kind == 0:
            return _bomb(content)
        if kind < 100:
            return mutations.damaged(rng, content)
        return mutations.changed_zip(rng, content, change)

    return make


@functools.cache
def _bomb(content: bytes) -> bytes:
    """Zeros in place of the arrays, a thousand times as many as the bytes of the file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in mutations.zip_members(content).items():
            if name.endswith(".json"):
                archive.writestr(name, member)
                continue
            with archive.open(name, "w", force_zip64=True) as out:
                for _ in range(BOMB_BYTES // 10_000_000):
                    out.write(bytes(10_000_000))
    return file.getvalue()


def _other_h5(rng: random.Random, content: bytes) -> bytes:
    """Weights with one data set of another shape, type or size, or missing."""
    import h5py

    file = io.BytesIO(content)
    with h5py.File(file, "r+") as store:
        names: list[str] = []
        store.visititems(lambda name, each: names.append(name) if hasattr(each, "dtype") else None)
        name = rng.choice(names)
        shape = store[name].shape
        del store[name]
        what = rng.randrange(6)
        if what == 0:  # Half a terabyte, of which nothing is stored.
            store.create_dataset(name, (2**20, 2**17), "float32", chunks=(64, 64), fillvalue=1)
        elif what == 1:
            store[name] = np.zeros((*shape, 2), "float32")
        elif what == 2:
            store[name] = np.full(shape, "x", "S3")
        elif what == 3:
            store[name] = np.full(shape, np.nan, "float32")
        elif what == 4:
            store[name] = np.zeros(shape, "complex64")
    return file.getvalue()


def hand_built(folder: Path) -> Target:
    """`model.keras` that is loaded as saved, from its own config with classes."""
    directory = _model(folder)
    config = json.loads((directory / "config.json").read_bytes())
    kept = {name: config[name] for name in ("vocabularies", "search")}
    (directory / "config.json").write_text(json.dumps({"hand_built": True, **kept}))
    content = (directory / "model.keras").read_bytes()
    classes = [
        {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {
                "function": {
                    "class_name": "__lambda__",
                    "config": {"code": "4wAAAAA=", "defaults": None},
                }
            },
        },
        {"module": "os", "class_name": "system", "config": "true", "registered_name": None},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
        {"module": "keras_attn_nmt.writing", "class_name": "write_text", "config": {}},
        {
            "module": "builtins",
            "class_name": "function",
            "config": "eval",
            "registered_name": "function",
        },
        {"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**10}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/outside"}},
    ]
    damage = _keras(content)

    def other_class(rng: random.Random, document: Any) -> bytes:
        places = [
            (holder, key)
            for holder, key in mutations._places(document)
            if isinstance(holder[key], dict) and "class_name" in holder[key]
        ]
        holder, key = rng.choice(places)
        given = rng.choice(classes)
        kept = holder[key] if rng.randrange(2) else {}
        holder[key] = {**kept, **given}
        return json.dumps(document).encode()

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3):
            return damage(rng)
        members = mutations.zip_members(content)
        members["config.json"] = other_class(rng, json.loads(members["config.json"]))
        return mutations.zipped(members.items())

    return make, _one_file(folder, "model.keras", _same(directory, content))


def vocabularies(folder: Path) -> Target:
    """`source.spm` of a model directory: refused, whatever was changed."""
    from keras_attn_nmt import Translator

    directory = _model(folder)
    content = (directory / "source.spm").read_bytes()

    def read(_: Path) -> None:
        Translator.load(directory)
        raise AssertionError("a changed vocabulary was accepted")

    return lambda rng: mutations.damaged(rng, content), _one_file(folder, "source.spm", read)


def foreign_vocabularies(folder: Path) -> Target:
    """A SentencePiece model of a recipe, which nothing but its own content can be checked by."""
    from keras_attn_nmt import Tokenizer

    directory = _model(folder)
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

    directory = _model(folder)
    tokenizer = Tokenizer.load(directory / "source.spm")
    size = tokenizer.vocabulary_size
    candidates = np.arange(size * 4, dtype="int32").reshape(size, 4) % size
    path = folder / "shortlist.npz"
    Shortlist(candidates, np.arange(9, dtype="int32")).save(path, tokenizer, tokenizer)
    content = path.read_bytes()

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
            return _bomb(content)
        if rng.randrange(2):
            return mutations.damaged(rng, content)
        return mutations.changed_zip(rng, content, array)

    def read(path: Path) -> None:
        found = Shortlist.load(path, tokenizer, tokenizer)
        found.check(tokenizer, tokenizer)
        assert found.candidates.ndim == 2 and found.common.ndim == 1, "other dimensions"
        if not _is_zip_of_other_members(path.read_bytes(), content):
            np.testing.assert_array_equal(found.candidates, candidates)

    return make, _file(folder, "fuzz.npz", read)


def device_files(folder: Path) -> Target:
    """A `.tflite` file: the model, the metadata behind it, or both."""
    from keras_attn_nmt.export import TFLiteTranslator, export_tflite

    path = folder / "tiny.tflite"
    if not path.exists():
        export_tflite(_model(folder), path, max_source_length=32, max_target_length=12)
    content = path.read_bytes()
    expected = TFLiteTranslator(path)([TEXT])[0].text
    metadata = mutations.zip_members(content)["metadata.json"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        first = min(info.header_offset for info in archive.infolist())
    model = content[:first]
    names = [f"tiny.{side}.spm" for side in ("source", "target")]
    assert all((folder / name).exists() for name in names)

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3) == 0:
            return mutations.damaged(rng, content)
        if rng.randrange(2):
            return mutations.damaged(rng, model) + content[first:]
        return mutations.zipped([("metadata.json", mutations.changed_json(rng, metadata))], model)

    def read(path: Path) -> None:
        translator = TFLiteTranslator(path)
        (found,) = translator([TEXT])
        if mutations.zip_members(path.read_bytes())["metadata.json"] == metadata:
            assert found.text == expected, "another translation"

    return make, _file(folder, "fuzz.tflite", read)


def rest_requests(folder: Path) -> Target:
    """Bodies to the served model, by the tests' stand-in for TensorFlow Serving."""
    import serving_rest
    from serving_batching import StatusError

    from keras_attn_nmt.export import export_saved_model
    from keras_attn_nmt.export.saved_model_check import SessionModel

    if not (folder / "served").exists():
        export_saved_model(_model(folder), folder / "served", constraints=True)
    session = SessionModel(next((folder / "served").glob("[0-9]*")))
    bodies = [
        {"instances": [{"text": TEXT}, {"text": ""}]},
        {"inputs": {"text": [TEXT, {"b64": "/w=="}]}},
        {"signature_name": "score", "inputs": {"text": ["Haus"], "reference": ["Haus am See"]}},
        {"signature_name": "embed", "inputs": ["Haus"]},
        {
            "signature_name": "translate_constrained",
            "inputs": {"text": ["Haus"], "constraints": ["Haus\tSee\nHaus"]},
        },
    ]

    def make(rng: random.Random) -> bytes:
        body = rng.choice(bodies)
        if rng.randrange(3) == 0:
            body = json.loads(
                json.dumps(body).replace(
                    "Haus", mutations.text(rng).replace("\\", "").replace('"', "")
                ),
                strict=False,
            )
        return mutations.changed_json(rng, json.dumps(body).encode())

    def read(data: bytes) -> None:
        try:
            request, _ = serving_rest.read_predict(data, "x", None, lambda: session.signatures)
        except StatusError as error:
            raise ValueError(error.message) from error
        name = request.model_spec.signature_name
        inputs = {k: list(v.string_val) for k, v in request.inputs.items()}
        if any(len(v.tensor_shape.dim) != 1 for v in request.inputs.values()):
            raise ValueError("the shape does not fit: expected one dimension")
        if len({len(values) for values in inputs.values()}) > 1:
            raise ValueError("inputs of other lengths: expected as many of each")
        found = session.run(name, inputs)
        for value in found.values():
            assert len(value) == len(next(iter(inputs.values())))
            if value.dtype.kind == "f":
                assert np.isfinite(value).all(), "not finite"

    return make, read
