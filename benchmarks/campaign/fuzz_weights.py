"""Fuzz targets that read `model.keras`: weights, and hand-built models with classes."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign import mutations
from campaign.fuzz_models import answer, model, one_file
from campaign.fuzz_texts import Target

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def weights(folder: Path) -> Target:
    """`model.keras` of a model with a config: damaged, or well-formed with other members."""
    directory = model(folder)
    content = (directory / "model.keras").read_bytes()
    return _keras(content), one_file(folder, "model.keras", _same(directory, content, (WEIGHTS,)))


def _same(directory: Path, content: bytes, read_members: tuple[str, ...]) -> Callable[[Path], Any]:
    """Loads the model; it has the same answer unless one of the members that are read differs."""
    _, expected = answer(directory)
    names = _arrays(mutations.zip_members(content)[WEIGHTS])

    def read(_: Path) -> None:
        loaded, found = answer(directory)
        data = (directory / "model.keras").read_bytes()
        if _members(data, read_members) == _members(content, read_members):
            np.testing.assert_array_equal(found, expected)
        else:
            # A well-formed file may have other weights, or another config.
            assert found.shape == expected.shape, "another number of scores"
            _check_weights(loaded, names, data)

    return read


def _check_weights(loaded: Any, names: list[str], data: bytes) -> None:
    """All weights of the loaded model are among the arrays of these names in the file."""
    import h5py

    stored: list[Any] = []
    with h5py.File(io.BytesIO(mutations.zip_members(data)[WEIGHTS])) as file:
        for name in names:
            with contextlib.suppress(KeyError, OSError, RuntimeError):
                stored.append(file[name][()])
    for weight in loaded.weights:
        array = np.asarray(weight)
        assert any(
            np.array_equal(each.astype(array.dtype), array)
            for each in stored
            if each.shape == array.shape
        ), f"{weight.path} is not that of the file"


def _arrays(weights: bytes) -> list[str]:
    import h5py

    names: list[str] = []
    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(lambda name, each: names.append(name) if hasattr(each, "dtype") else None)
    return names


def _members(data: bytes, names: tuple[str, ...]) -> list[bytes | None]:
    found = mutations.zip_members(data)
    return [found.get(name) for name in names]


def _keras(content: bytes) -> Callable[[random.Random], bytes]:
    def change(rng: random.Random, name: str, member: bytes) -> bytes:
        if name.endswith(".json"):
            return mutations.changed_json(rng, member)
        return rng.choice((_other_h5, mutations.damaged))(rng, member)

    def make(rng: random.Random) -> bytes:
        kind = rng.randrange(200)
        if kind == 0:
            return mutations.bomb(content)
        if kind < 80:
            return mutations.damaged(rng, content)
        if kind < 120:
            members = mutations.zip_members(content)
            return mutations.zipped({**members, WEIGHTS: _other_h5(rng, members[WEIGHTS])}.items())
        return mutations.changed_zip(rng, content, change)

    return make


def _other_h5(rng: random.Random, content: bytes) -> bytes:
    """Weights with one data set of another shape, type or size; or without it, or a group."""
    import h5py

    name = rng.choice(_arrays(content))
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as store:
        shape = store[name].shape
        what = rng.randrange(7)
        groups = name.split("/")
        group = "/".join(groups[: rng.randint(1, len(groups))])
        del store[name if what < 5 else group]
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
    import keras

    directory = model(folder)
    config = json.loads((directory / "config.json").read_bytes())
    kept = {name: config[name] for name in ("vocabularies", "search")}
    (directory / "config.json").write_text(json.dumps({"hand_built": True, **kept}))
    content = (directory / "model.keras").read_bytes()
    marker = folder / "executed"
    classes = [
        keras.saving.serialize_keras_object(keras.layers.Lambda(writing(str(marker)))),
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

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3):
            return damage(rng)
        return with_other_class(content, rng, rng.choice(classes))

    same = _same(directory, content, (CONFIG, WEIGHTS))

    def read(path: Path) -> None:
        try:
            same(path)
        finally:
            if marker.exists():
                marker.unlink()
                raise AssertionError("executed code of the file")

    return make, one_file(folder, "model.keras", read)


def writing(path: str) -> Callable[[Any], Any]:
    """A function that a Lambda layer is saved with as code. It only writes a marker file."""
    return lambda inputs: (open(path, "w").close(), inputs)[1]


def with_other_class(content: bytes, rng: random.Random, given: dict[str, Any]) -> bytes:
    """A `.keras` file with another class in place of a layer, or of any object."""
    members = mutations.zip_members(content)
    document = json.loads(members[CONFIG])
    if rng.randrange(2):
        rng.choice(document["config"]["layers"]).update(given)
    else:
        places = [
            (holder, key)
            for holder, key in mutations.places(document)
            if isinstance(holder[key], dict) and "class_name" in holder[key]
        ]
        holder, key = rng.choice(places)
        holder[key] = {**(holder[key] if rng.randrange(2) else {}), **given}
    members[CONFIG] = json.dumps(document).encode()
    return mutations.zipped(members.items())
