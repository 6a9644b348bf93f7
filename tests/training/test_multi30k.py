import functools
import gzip
import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from keras_attn_nmt.training.corpora import read_tfds
from keras_attn_nmt.training.datasets import Multi30k, multi30k

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "multi30k"
SIZES = {"train": 12, "val": 3, "test_2016_flickr": 2}


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    for stem, size in SIZES.items():
        for language in ("de", "en", "fr"):
            lines = "".join(f"{language} {stem} {number}é\n" for number in range(size))
            (folder / f"{stem}.{language}.gz").write_bytes(gzip.compress(lines.encode()))
    return folder


def unpack(folder, name):
    packed = folder / f"{name}.gz"
    (folder / name).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()


def test_local_folder_preserves_order(folder, tmp_path):
    unpack(folder, "train.de")
    for split, stem in {"train": "train", "validation": "val", "test": "test_2016_flickr"}.items():
        dataset = read_tfds(
            "multi30k/de-fr", split, "de", "fr", tmp_path / "data", manual_dir=str(folder)
        )
        expected = [(f"de {stem} {i}é", f"fr {stem} {i}é") for i in range(SIZES[stem])]
        assert dataset.cardinality() == SIZES[stem]
        assert texts(dataset) == expected


def test_missing_file_is_named_and_no_partial_dataset_remains(folder, tmp_path):
    (folder / "val.en.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no val\.en\.gz or val\.en in .*toy"):
        read_tfds("multi30k/de-en", "test", "de", "en", tmp_path / "data", manual_dir=folder)
    assert not list((tmp_path / "data").rglob("*.tfrecord*"))


def test_files_must_be_aligned(folder, tmp_path):
    (folder / "val.en.gz").write_bytes(gzip.compress(b"one\n"))
    with pytest.raises(ValueError, match=r"val\.de\.gz has 3 lines and .*val\.en\.gz has 1"):
        read_tfds("multi30k/de-en", "test", "de", "en", tmp_path / "data", manual_dir=folder)


def test_unknown_language_pair_lists_known_pairs(tmp_path):
    with pytest.raises(ValueError, match=r"'de-cs'.*de-en, de-fr, en-de, en-fr, fr-de, fr-en"):
        read_tfds("multi30k/de-cs", "test", "de", "cs", tmp_path)


@pytest.fixture
def repository(folder, monkeypatch):
    """The public repository, on this machine."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(multi30k, "URL", url)
    infos = {}
    for path in folder.iterdir():
        content = path.read_bytes()
        size = tfds.core.utils.Size(len(content))
        checksum = hashlib.sha256(content).hexdigest()
        infos[url + path.name] = UrlInfo(size=size, checksum=checksum, filename=None)
    monkeypatch.setattr(Multi30k, "url_infos", infos)
    yield folder
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_files_are_downloaded(repository, tmp_path):
    dataset = read_tfds("multi30k/en-de", "validation", "en", "de", tmp_path / "data")
    assert texts(dataset) == [(f"en val {i}é", f"de val {i}é") for i in range(3)]


def test_download_with_wrong_checksum_is_rejected(repository, tmp_path):
    (repository / "train.de.gz").write_bytes(gzip.compress(b"something else\n"))
    with pytest.raises(Exception, match=r"Artifact http.*train\.de\.gz.*wrong checksum"):
        read_tfds("multi30k/en-de", "validation", "en", "de", tmp_path / "data")
    # Other downloads go on, and their folders come and go.
    written = [name for *_, names in os.walk(tmp_path / "data") for name in names]
    assert not [name for name in written if ".tfrecord" in name]


@pytest.mark.skipif(not REAL.exists(), reason=f"no Multi30k files in {REAL}")
def test_real_files(tmp_path):
    read = functools.partial(read_tfds, "multi30k/de-en", manual_dir=REAL, data_dir=tmp_path)
    sizes = [read(split, "de", "en").cardinality() for split in ("train", "validation", "test")]
    assert sizes == [29_000, 1_014, 1_000]
    assert texts(read("train", "de", "en").take(1)) == [
        (
            "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
            "Two young, White males are outside near many bushes.",
        )
    ]
    known = {Path(url).name: info for url, info in Multi30k.url_infos.items()}
    assert len(known) == 9
    for name, info in known.items():
        assert hashlib.sha256((REAL / name).read_bytes()).hexdigest() == info.checksum
