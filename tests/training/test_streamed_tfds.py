"""TFDS data sets as streams, read by TFDS from several files."""

import collections

import pytest
import tensorflow_datasets as tfds
from batch_checks import batches_of, texts_of

from keras_attn_nmt.training.corpora import read_tfds
from keras_attn_nmt.training.large_corpora import open_tfds
from keras_attn_nmt.training.streamed_pairs import StreamedPairs

PAIRS = [(f"ein Haus {number}", f"zwei {number}") for number in range(60)]


class ShardedTranslate(tfds.core.GeneratorBasedBuilder):
    """Pairs of two languages, and talks of which some lack a language."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "de": tfds.features.Text(),
            "en": tfds.features.Text(),
            "talk": tfds.features.TranslationVariableLanguages(languages=("fr", "it")),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number, (german, english) in enumerate(PAIRS):
            yield number, {"de": german, "en": english, "talk": {"fr": "un"}}


@pytest.fixture
def folder(tmp_path):
    builder = tfds.builder("sharded_translate", data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    assert len(builder.info.splits["train"].filepaths) == 3
    return tmp_path


def pairs_of(chunks):
    return [
        (source.decode(), target.decode())
        for texts in chunks
        for source, target in zip(*texts, strict=True)
    ]


def test_files_of_tfds_are_blocks(folder, tokenizer):
    corpus = open_tfds("sharded_translate", "train", "de", "en", folder)
    whole = pairs_of(corpus.stream(count=60))
    assert sorted(whole) == sorted(PAIRS) and corpus.pairs == 60
    for start, count in ((0, 5), (17, 30), (58, 4)):
        assert pairs_of(corpus.stream(start, count)) == (whole * 2)[start : start + count]
    orders = {tuple(pairs_of(corpus.stream(0, 60, seed=seed))) for seed in range(9)}
    assert len(orders) > 1 and {tuple(sorted(order)) for order in orders} == {tuple(sorted(PAIRS))}
    data = StreamedPairs(corpus, tokenizer, tokenizer, tokens_per_batch=256)
    found = texts_of(batches_of(data.epochs(1, seed=5)), tokenizer)
    assert found == collections.Counter(PAIRS)


def test_a_part_of_a_split(folder):
    split = "train[10%:75%]"
    corpus = open_tfds("sharded_translate", split, "de", "en", folder)
    wanted = read_tfds("sharded_translate", split, "de", "en", folder).as_numpy_iterator()
    found = pairs_of(corpus.stream(count=corpus.pairs))
    assert corpus.pairs == 39
    assert sorted(found) == sorted((one.decode(), two.decode()) for one, two in wanted)


def test_pairs_that_cannot_be_counted_are_refused(folder):
    with pytest.raises(ValueError, match=r"without 'fr' or 'it'.* set data\.sample=0"):
        open_tfds("sharded_translate", "train", "fr", "it", folder)
