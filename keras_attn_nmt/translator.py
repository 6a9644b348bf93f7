"""Text to text: a trained model with its tokenisers, and every translation with its attention."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attn_nmt import model_directory
from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.processes import check_process, register_process
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.special_ids import EOS, PAD
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import (
    IMPOSSIBLE,
    MAX_SOURCE_LENGTH,
    TextTooLong,
    Translation,
    copying_rare,
)

# On backends that compile for every shape, lengths are rounded up to a multiple of this, and the
# number of rows to a power of two.
LENGTH_STEP = 16


class Translator:
    """Translates with a trained model.

    Args:
        model: From `build_model`, from a `.keras` file, or put together by hand: any functional
            model from source and target ids to logits with one `AttentionDecoder` in it.
        source_tokenizer: Tokeniser of the source language.
        target_tokenizer: Tokeniser of the target language.
        shortlist: What a search with `shortlist=True` may choose from, or its file.
        search: Defaults of every search; those of the model where it was loaded.

    Attributes:
        max_source_length: Most tokens of a text, `</s>` included.
        config: The `ModelConfig` of a model from `build_model`, else `None`.

    Raises:
        ValueError: The model does not fit the vocabularies, or cannot be searched step by step.

    Example:
        >>> translator = Translator.load("build/demo/model")
        >>> translator(["einundvierzig"])[0].text
        'forty-one'
    """

    def __init__(
        self,
        model: keras.Model,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        shortlist: Shortlist | str | os.PathLike[str] | None = None,
        search: SearchOptions | None = None,
    ):
        register_process()
        self._decoder = IncrementalDecoder(model)
        _check_vocabularies(self._decoder, source_tokenizer, target_tokenizer)
        self.config = getattr(model, "model_config", None)
        if self.config is None:
            self._decoder.check_steps(source_tokenizer.vocabulary_size)
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.search = search or SearchOptions()
        self.max_source_length = MAX_SOURCE_LENGTH
        self._shortlist = shortlist
        self._embed = _compiled(self._decoder.embed, model, 1)
        self._searches: dict[tuple, Callable] = {}
        self._scorings: dict[float, Callable] = {}

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Translator:
        """Loads a model directory; errors as of `model_directory.load_model`."""
        loaded = model_directory.load_model(directory)
        shortlist = Path(directory, model_directory.SHORTLIST)
        return cls(
            loaded.model,
            loaded.source_tokenizer,
            loaded.target_tokenizer,
            shortlist,
            loaded.search,
        )

    @property
    def has_attention(self) -> bool:
        """Whether the decoder attends to the source: not with `attention="none"`."""
        return self._decoder.decoder.attention is not None

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes a model directory, which `load`, the command line and the exports take.

        What is there of the same names is replaced, file by file. A model that was put together by
        hand is loaded from its `model.keras`: register layers of your own with
        `keras.saving.register_keras_serializable`, and import them before.
        """
        model_directory.save_model(
            directory,
            model_directory.ModelFiles(
                *(self.model, self.config, self.source_tokenizer, self.target_tokenizer),
                self.search,
            ),
        )

    def __call__(self, texts: Sequence[str], **options: Any) -> list[Translation]:
        """Translates texts; the best translation of each. Options as in `nbest`."""
        return [hypotheses[0] for hypotheses in self.nbest(texts, **options)]

    def nbest(
        self,
        texts: Sequence[str],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        batch_size: int = 64,
        copy: bool = False,
        shortlist: bool = False,
    ) -> list[list[Translation]]:
        """Translates texts; up to `beam_size` translations of each, the best first.

        A text of nothing but white space has one empty translation.

        Args:
            texts: Sentences, in any order and of any lengths.
            beam_size: Hypotheses kept; 1 is greedy search. Without it, and likewise the next two,
                that of `search`.
            length_penalty: Exponent of the length penalty (Wu et al. 2016, eq. 14); 0 for none.
            max_length: Maximum target length in tokens, `</s>` included. No translation gets
                longer than three times its source and 20 more.
            batch_size: Sentences translated at a time.
            copy: Copy what is rare from the source, see `Translation.copying`.
            shortlist: Choose from the model's shortlist alone: faster, and with another
                translation of some texts. Scores are log-probabilities among what is on it.

        Raises:
            TextTooLong: A text is longer than `MAX_SOURCE_LENGTH` tokens.
            ValueError: An option is out of its range, or there is no shortlist.
            RuntimeError: This process was forked from one in which a model was loaded or run.
        """
        check_process()
        check_whole("batch_size", batch_size)
        search = self.search.replaced(
            beam_size=beam_size, length_penalty=length_penalty, max_length=max_length
        )
        if not isinstance(shortlist, bool):
            raise ValueError(
                f"shortlist must be true or false, got {type(shortlist).__name__}: the shortlist "
                "itself is an argument of Translator."
            )
        key = (search, shortlist)
        if key not in self._searches:
            decoder = self._decoder
            if shortlist:
                decoder = IncrementalDecoder(self._decoder.parts, shortlist=self._known_shortlist())
            self._searches[key] = _compiled(
                functools.partial(
                    searching.search,
                    decoder,
                    beam_size=search.beam_size,
                    length_alpha=search.length_penalty,
                    max_length=search.max_length,
                ),
                self.model,
                1,
            )
        texts = texts if isinstance(texts, (str, bytes)) else list(texts)
        ids = self._source_ids(texts)
        results: list[list[Translation]] = [[] for _ in ids]
        for batch in _batches(ids, batch_size):
            found = _to_numpy(self._searches[key](_pad([ids[i] for i in batch], batch_size)))
            for row, i in enumerate(batch):
                results[i] = self._translations(ids[i], found, row)
        return copying_rare(texts, results) if copy else results

    def score(
        self,
        texts: Sequence[str],
        references: Sequence[str],
        *,
        length_penalty: float | None = None,
        batch_size: int = 64,
    ) -> list[Translation]:
        """Scores given translations: what the model thinks of them, and where it looks.

        Args:
            texts: Sentences.
            references: A translation of each.
            length_penalty: As in `nbest`.
            batch_size: As in `nbest`.

        Raises:
            ValueError: There are not as many references as texts, or one is too long.
        """
        if len(texts) != len(references):
            raise ValueError(
                f"Every text needs one reference: got {len(texts)} texts and "
                f"{len(references)} references."
            )
        check_process()
        check_whole("batch_size", batch_size)
        alpha = self.search.replaced(length_penalty=length_penalty).length_penalty
        if alpha not in self._scorings:
            self._scorings[alpha] = _compiled(
                functools.partial(searching.score, self._decoder.parts.model, length_alpha=alpha),
                self.model,
                2,
            )
        ids = self._source_ids(texts)
        targets = self._ids(self.target_tokenizer, references, "reference")
        targets = _fitting(targets, "reference")
        results: list[Translation | None] = [None] * len(ids)
        for batch in _batches([s + t for s, t in zip(ids, targets, strict=True)], batch_size):
            scored = _to_numpy(
                self._scorings[alpha](
                    _pad([ids[i] for i in batch], batch_size),
                    _pad([targets[i] for i in batch], batch_size),
                )
            )
            for row, i in enumerate(batch):
                results[i] = self._translations(ids[i], scored, row)[0]
        return [result for result in results if result is not None]

    def embed(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """The sentence vectors of texts, float32, `(len(texts), annotation_units)`.

        Annotations have `2 * encoder_units`, or `encoder_units` without the backward encoder.
        """
        check_process()
        check_whole("batch_size", batch_size)
        ids = self._source_ids(texts)
        width = self._decoder.parts.encode.outputs[1].shape[-1]
        result = np.zeros((len(ids), width), "float32")
        for batch in _batches(ids, batch_size):
            result[batch] = keras.ops.convert_to_numpy(
                self._embed(_pad([ids[i] for i in batch], batch_size))
            )[: len(batch)]
        return result

    def _known_shortlist(self) -> Shortlist:
        if self._shortlist is None:
            raise ValueError(
                "This Translator has no shortlist: give it one that learn_shortlist made, or "
                "translate without."
            )
        if not isinstance(self._shortlist, Shortlist):
            self._shortlist = Shortlist.load(
                self._shortlist, self.source_tokenizer, self.target_tokenizer
            )
        self._shortlist.check(self.source_tokenizer, self.target_tokenizer)
        return self._shortlist

    def _source_ids(self, texts: Sequence[str]) -> list[list[int]]:
        # A text without anything in it is all padding: the search leaves it alone.
        texts = texts if isinstance(texts, (str, bytes)) else list(texts)
        ids = self._ids(self.source_tokenizer, texts, "text")
        ids = [[] if is_blank(text) else each for each, text in zip(ids, texts, strict=True)]
        return _fitting(ids, "text")

    def _ids(self, tokenizer: Tokenizer, texts: Sequence[str], kind: str) -> list[list[int]]:
        if isinstance(texts, (str, bytes)):
            raise ValueError(f"Expected a list of strings, got one: put the {kind} into a list.")
        return [[*each, EOS] for each in tokenizer.encode(texts)]

    def _translations(
        self, source: list[int], found: searching.Hypotheses, row: int
    ) -> list[Translation]:
        results = []
        source_tokens = self.source_tokenizer.pieces(source)
        for beam, score in enumerate(found.scores[row]):
            if score <= IMPOSSIBLE / 1000:
                continue
            length = int(found.lengths[row, beam])
            tokens = found.tokens[row, beam, :length].tolist()
            results.append(
                Translation(
                    text=self.target_tokenizer.decode([tokens])[0],
                    score=float(score),
                    source_tokens=source_tokens,
                    target_tokens=self.target_tokenizer.pieces(tokens),
                    token_scores=found.token_scores[row, beam, :length],
                    attention=found.attention[row, beam, :length, : len(source)],
                )
            )
        return results


def _check_vocabularies(decoder: IncrementalDecoder, source: Tokenizer, target: Tokenizer) -> None:
    parts = decoder.parts
    sizes = {
        "source": (source.vocabulary_size, parts.source_vocabulary_size),
        "target": (target.vocabulary_size, parts.vocabulary_size),
    }
    for side, (pieces, ids) in sizes.items():
        if ids is not None and pieces != ids:
            raise ValueError(
                f"The model was made for {ids} {side} pieces, and its vocabulary has {pieces}: "
                "give the vocabulary that it was trained with."
            )


def _fitting(ids: list[list[int]], kind: str) -> list[list[int]]:
    """The ids as they are; raises `TextTooLong` for the first text that has too many."""
    for index, each in enumerate(ids):
        if len(each) > MAX_SOURCE_LENGTH:
            raise TextTooLong(index, len(each), MAX_SOURCE_LENGTH, kind)
    return ids


def _batches(ids: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Indices in batches of like lengths, the longest first."""
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _pad(rows: Sequence[Sequence[int]], batch_size: int) -> np.ndarray:
    """Ids as an array, int32, `(rows, length)`; padded to few shapes where these are compiled."""
    height, width = len(rows), max(1, *map(len, rows))
    if keras.backend.backend() != "tensorflow":
        height = min(1 << (height - 1).bit_length(), batch_size)
        width = -(-width // LENGTH_STEP) * LENGTH_STEP
    result = np.full((height, width), PAD, "int32")
    for row, ids in zip(result, rows, strict=False):
        row[: len(ids)] = ids
    return result


def _to_numpy(found: searching.Hypotheses) -> searching.Hypotheses:
    return searching.Hypotheses(*(keras.ops.convert_to_numpy(each) for each in found))


def _compiled(function: Callable, model: keras.Model, arguments: int) -> Callable:
    """The function as one graph of the backend, for ids of any batch size and length.

    Args:
        function: Takes id tensors, int32, `(batch, length)`.
        model: Whose weights it uses, as they are when it is called.
        arguments: How many tensors it takes.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        ids = tf.TensorSpec((None, None), tf.int32)
        return tf.function(function, input_signature=[ids] * arguments, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        # The weights are an argument: what jit finds in a closure stays as it was first seen.
        def stateless(values: list, *inputs: Any) -> Any:
            with keras.StatelessScope(
                state_mapping=list(zip(model.variables, values, strict=True))
            ):
                return function(*inputs)

        compiled = jax.jit(stateless)
        return lambda *inputs: compiled([each.value for each in model.variables], *inputs)
    return function
