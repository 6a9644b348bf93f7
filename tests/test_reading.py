"""Files from elsewhere are refused before a library reads them (SECURITY.md)."""

import io
import json
import shutil
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from tiny_translator import tiny_files

from keras_attn_nmt import model_directory
from keras_attn_nmt.cli.streams import MOST_SHOWN, presentable
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.reading import check_archive, parse_json
from keras_attn_nmt.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved") / "model"
    model_directory.save_model(directory, tiny_files())
    return directory


@pytest.fixture
def directory(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def archive(path, *members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "c:\\x", "..\\x"], ids=["up", "root", "far", "c", "back"]
)
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    path = archive(tmp_path / "x.zip", ("a", b"a"), (name, b"b"))
    with pytest.raises(ValueError, match="leads out of its folder"):
        check_archive(path, ["a"])


def test_an_archive_that_expands_too_far_is_refused_unread(tmp_path):
    path = archive(tmp_path / "x.zip", ("a", bytes(65 * 2**20)))
    with pytest.raises(ValueError, match="more than 20 times its size"):
        check_archive(path, ["a"])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_missing_doubled_and_damaged_members_are_refused(tmp_path):
    path = archive(tmp_path / "x.zip", ("a", b"content"), compression=zipfile.ZIP_STORED)
    check_archive(path, ["a"])
    with pytest.raises(ValueError, match="it lacks b"):
        check_archive(path, ["a", "b"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"content", b"contemt"))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        check_archive(path, ["a"])
    path.write_bytes(content[:-5])
    with pytest.raises(ValueError, match="not a whole ZIP file"):
        check_archive(path, ["a"])
    # The offset of the list of members: those would lie before the start of the file.
    path.write_bytes(content[:-6] + struct.pack("<L", len(content)) + content[-2:])
    with pytest.raises(ValueError, match="not a whole ZIP file"):
        check_archive(path, ["a"])
    with pytest.raises(ValueError, match="another method"):
        check_archive(archive(path, ("a", b"1"), compression=zipfile.ZIP_LZMA), ["a"])
    with pytest.raises(ValueError, match="twice"):
        check_archive(archive(path, ("a", b"1"), ("a", b"2")), ["a"])


def test_deep_json_is_an_error_like_any_other():
    for text in ("[" * 100_000, "{", b"\xff"):
        with pytest.raises(ValueError, match="not JSON"):
            parse_json(text)


def test_messages_are_short_and_without_control_characters():
    assert presentable("a\x1b[31mb\nü\u202e") == "a\\x1b[31mb\nü\\u202e"
    shown = presentable("a" * 10**6 + "z")
    assert len(shown) < MOST_SHOWN + 10 and shown[0] == "a" and shown[-1] == "z"


def change_config(directory, **values):
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *((f"{name}_units", 10**8) for name in ("embedding", "encoder", "decoder")),
        ("encoder_layers", 200),
    ],
)
def test_a_config_of_any_size_is_refused_before_a_model_is_built(
    directory, monkeypatch, setting, value
):
    monkeypatch.setattr(model_directory, "build_model", None)
    change_config(directory, **{setting: value})
    with pytest.raises(ValueError, match=r"has more than .* weights, but the file stores"):
        model_directory.load_model(directory)


@pytest.mark.parametrize(
    ("setting", "value"), [("encoder_layers", 1), ("layer_normalization", False)]
)
def test_a_config_of_another_model_is_refused(directory, setting, value):
    # Keras does not say that the file has more weights than the model.
    files = tiny_files({"encoder_layers": 2, "layer_normalization": True})
    model_directory.save_model(directory, files)
    change_config(directory, **{setting: value})
    with pytest.raises(ValueError, match=rf"model\.keras does not match .* values of {setting}\."):
        model_directory.load_model(directory)


@pytest.mark.parametrize("settings", [7, {"encoder_units": "many"}])
def test_a_damaged_config_in_the_keras_file_is_refused(directory, settings):
    content = members(directory)
    config = json.loads(content["config.json"])
    config["config"]["model_config"] = settings
    content["config.json"] = json.dumps(config).encode()
    archive(directory / "model.keras", *content.items())
    with pytest.raises(ValueError, match=r"model\.keras is damaged"):
        model_directory.load_model(directory)


def test_dropout_and_initializer_may_be_changed(directory):
    change_config(directory, readout_dropout=0.5, initializer="paper")
    assert model_directory.load_model(directory).config.readout_dropout == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocabularies": []}, "vocabularies must be an object"),
        ({"search": 5}, "search must be an object"),
        ({"search": {"beam_size": 10**9}}, "beam_size must be at most 10,000"),
        ({"search": {"max_length": 2**40}}, "max_length must be at most 100,000"),
    ],
)
def test_values_of_another_kind_are_refused(directory, values, message):
    change_config(directory, **values)
    with pytest.raises(ValueError, match=rf"config\.json is not a model config: {message}"):
        model_directory.load_model(directory)


def test_a_damaged_vocabulary_never_reaches_sentencepiece(directory, monkeypatch):
    path = directory / "source.spm"
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(Tokenizer, "__init__", None)
    with pytest.raises(ValueError, match=r"source\.spm is damaged, or does not belong"):
        model_directory.load_model(directory)


def members(directory):
    with zipfile.ZipFile(directory / "model.keras") as file:
        return {name: file.read(name) for name in file.namelist()}


def test_one_other_bit_of_the_weights_is_refused(directory, monkeypatch):
    weights = members(directory)["model.weights.h5"]
    path = directory / "model.keras"
    middle = path.read_bytes().index(weights) + len(weights) // 2
    content = bytearray(path.read_bytes())
    content[middle] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(model_directory, "build_model", None)
    with pytest.raises(ValueError, match=r"model\.keras is damaged .*Bad CRC-32"):
        model_directory.load_model(directory)


def test_weights_that_are_not_numbers_are_refused(directory):
    files = tiny_files()
    files.model.set_weights([np.full(w.shape, np.nan) for w in files.model.get_weights()])
    model_directory.save_model(directory, files)
    with pytest.raises(ValueError, match=r"model\.keras has weights that are NaN or infinite"):
        model_directory.load_model(directory)


@pytest.mark.parametrize("hand_built", [False, True])
@pytest.mark.parametrize("group", ["", "/rnns", "/rnns/container"])
@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_layers_without_weights_in_the_file_are_refused(directory, group, hand_built):
    if hand_built:
        (directory / "config.json").write_text('{"hand_built": true}')
    content = members(directory)
    file = io.BytesIO(content["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        del weights[f"layers/bidirectional_encoder{group}"]
    content["model.weights.h5"] = file.getvalue()
    archive(directory / "model.keras", *content.items())
    # Keras 3.15.0 raises an error of its own.
    lacking = "lacks 6 weights, the first of them encoder/|objects could not be loaded"
    with pytest.raises(ValueError, match=rf"model\.keras is damaged .*({lacking})"):
        model_directory.load_model(directory)


def test_a_hand_built_layer_that_cannot_be_called_is_refused(directory):
    (directory / "config.json").write_text('{"hand_built": true}')
    content = members(directory)
    config = json.loads(content["config.json"])
    (layer,) = (x for x in config["config"]["layers"] if x["class_name"] == "AttentionDecoder")
    layer["build_config"] = ["damaged"]
    content["config.json"] = json.dumps(config).encode()
    archive(directory / "model.keras", *content.items())
    with pytest.raises(ValueError, match=r"model\.keras is damaged .* calling AttentionDecoder"):
        model_directory.load_model(directory)


def writing(marker):
    """A function whose code only writes a file."""
    return lambda inputs: (open(marker, "w").close(), inputs)[1]


OTHERS = {
    "module": {"module": "os", "class_name": "system", "config": "true"},
    "class": {"module": "x.y", "class_name": "C", "registered_name": "x>C"},
    "program": {"module": "keras.layers", "class_name": "TFSMLayer", "config": {}},
    "size": {"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**10}},
}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("module", "not registered: os.system"),
        ("class", "not registered: x>C"),
        ("program", "contains code or names a program .TFSMLayer"),
        ("lambda", "contains code or names a program .__lambda__"),
        ("size", "Dense has more weights than fit in the"),
    ],
)
def test_no_code_and_no_huge_layer_comes_from_a_hand_built_model(directory, kind, message):
    marker = directory / "executed"
    layer = keras.layers.Lambda(writing(str(marker)))
    given = {**OTHERS, "lambda": keras.saving.serialize_keras_object(layer)}[kind]
    (directory / "config.json").write_text('{"hand_built": true}')
    content = members(directory)
    config = json.loads(content["config.json"])
    layers = config["config"]["layers"]
    next(each for each in layers if each["class_name"] == "Dropout").update(given)
    content["config.json"] = json.dumps(config).encode()
    path = archive(directory / "model.keras", *content.items())
    if kind == "lambda":  # Without the check, it is executed.
        keras.saving.load_model(path, compile=False, safe_mode=False)
        assert marker.exists()
        marker.unlink()
    for unsafe in (False, True):
        if unsafe:
            keras.config.enable_unsafe_deserialization()
        try:
            with pytest.raises(ValueError, match=message):
                model_directory.load_model(directory)
        finally:
            # There is no public function to disable it.
            keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["objects", "shape", "dimensions", "numbers"])
def test_arrays_of_another_kind_are_no_shortlist(tmp_path, kind):
    tokenizer = tiny_files().source_tokenizer
    size = tokenizer.vocabulary_size
    path = tmp_path / "shortlist.npz"
    common = np.arange(5, dtype="int32")
    Shortlist(np.zeros((size, 2), "int32"), common).save(path, tokenizer, tokenizer)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["candidates"] = {
        "objects": np.array([[{}]], object),
        "shape": np.zeros((size, 2), "int32"),
        "dimensions": np.zeros(size, "int32"),
        "numbers": np.zeros((size, 2), "float32"),
    }[kind]
    np.savez(path, **arrays)
    if kind == "shape":  # The header, of which NumPy would allocate a terabyte.
        content = path.read_bytes()
        header = f"({size}, 2), }}".encode()
        assert content.count(header) == 1
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        wide = f"({size}, 999999999), }}".encode()
        old = parts["candidates.npy"]
        spaces = b" " * (len(wide) - len(header))
        parts["candidates.npy"] = old.replace(header + spaces, wide)
        assert len(parts["candidates.npy"]) == len(old)
        archive(path, *parts.items())
    with pytest.raises(ValueError, match=r"is damaged .*learn it again"):
        Shortlist.load(path, tokenizer, tokenizer)
