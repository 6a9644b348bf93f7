"""Text to text: a trained model with its tokenisers, and every translation with its attention."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attn_nmt import model_directory
from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.decoding.batches import batches, pad, pad_rows, to_numpy
from keras_attn_nmt.decoding.constrained_batches import constraint_ids
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.sampling import SamplingOptions, check_seed, uniform_numbers
from keras_attn_nmt.decoding.search_options import MOST, SearchOptions, check_constrained
from keras_attn_nmt.decoding.searches import Searches
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.processes import LoadedInEachProcess, check_process, register_process
from keras_attn_nmt.text.glossary import Constraint, Glossary, target_phrases, text_constraints
from keras_attn_nmt.text.paragraphs import ParagraphTranslator
from keras_attn_nmt.text.protection import Protection, plan_texts, restore_all
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.tokenizer_pair import TokenizerPair
from keras_attn_nmt.translation import MAX_SOURCE_LENGTH, Translation, check_lengths


class Translator(LoadedInEachProcess, ParagraphTranslator):
    """Translates, scores and embeds texts with a trained model.

    Args:
        model: From `build_model`, a `.keras` file or hand-built: any functional model from source
            and target ids to logits with one `AttentionDecoder`.
        source_tokenizer: Tokeniser of the source language.
        target_tokenizer: Tokeniser of the target language.
        shortlist: The vocabulary shortlist for `shortlist=True`, or its file.
        search: Default search options; `load` takes those of the model directory.
        ensemble: Models that translate together with `model`, see `decoding.ensemble`.

    Attributes:
        max_source_length: Maximum number of source tokens, `</s>` included.
        config: The `ModelConfig` of a model from `build_model`, otherwise `None`. Of an ensemble,
            that of the first model.

    Raises:
        ValueError: The model does not match the vocabularies, or cannot be decoded incrementally.

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
        ensemble: Sequence[keras.Model] = (),
    ):
        register_process()
        self._members = [ModelParts.of(each) for each in (model, *ensemble)]
        sizes = source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size
        for parts in self._members:
            parts.check_vocabularies(*sizes)
            if getattr(parts.whole, "model_config", None) is None:
                IncrementalDecoder(parts).check_steps(sizes[0])
        self.config = getattr(model, "model_config", None)
        self.model = model
        self._texts = TokenizerPair(source_tokenizer, target_tokenizer)
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.search = search or SearchOptions()
        self.max_source_length = MAX_SOURCE_LENGTH
        self._searches = Searches(self._members, self._texts, shortlist)
        self._decoder = self._searches.decoder

    @classmethod
    def load(
        cls,
        directory: str | os.PathLike[str],
        ensemble: Sequence[str | os.PathLike[str]] = (),
    ) -> Translator:
        """Loads a model directory.

        Args:
            directory: The model directory.
            ensemble: Further model directories with the same vocabularies, whose models translate
                together with the first one. Search options and shortlist are those of the first.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: See `model_directory.load_model`;
                `ValueError` also for other vocabularies.
        """
        directories = [directory, *ensemble]
        model_directory.check_same_vocabularies(directories)
        first, *others = map(model_directory.load_model, directories)
        return cls(
            *(first.model, first.source_tokenizer, first.target_tokenizer),
            *(Path(directory, model_directory.SHORTLIST), first.search),
            ensemble=[each.model for each in others],
        )

    @property
    def has_attention(self) -> bool:
        """Whether the decoder has attention, i.e. not `attention="none"`."""
        return self._decoder.has_attention

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes a model directory for `load`, the command line and the exports.

        Existing files are replaced; a shortlist is written if there is one. Hand-built models are
        loaded from `model.keras`: register custom layers with
        `keras.saving.register_keras_serializable`, and import them before loading.

        Raises:
            ValueError: It is an ensemble, which is several model directories.
        """
        if len(self._members) > 1:
            raise ValueError(
                "An ensemble cannot be saved as one model directory: save each model with a "
                "Translator of its own, and load them with Translator.load(first, ensemble=others)."
            )
        model_directory.save_model(
            directory,
            model_directory.ModelFiles(
                *(self.model, self.config, self.source_tokenizer, self.target_tokenizer),
                self.search,
            ),
        )
        self._searches.save_shortlist(Path(directory, model_directory.SHORTLIST))

    def __call__(self, texts: Sequence[str], **options: Any) -> list[Translation]:
        """Translates texts and returns the best translation of each. Options: see `nbest`."""
        return [hypotheses[0] for hypotheses in self.nbest(texts, **options)]

    def nbest(
        self,
        texts: Sequence[str],
        *,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        coverage_penalty: float | None = None,
        diversity_penalty: float | None = None,
        batch_size: int = 64,
        copy: bool = False,
        shortlist: bool = False,
        glossary: Glossary | None = None,
        constraints: Sequence[Sequence[Constraint | str]] | None = None,
        protect: Sequence[str] = (),
        markup: bool = False,
        stand_in: str | None = None,
    ) -> list[list[Translation]]:
        """Returns up to `beam_size` translations of each text, best first.

        A blank text has one empty translation.

        Args:
            texts: Sentences, in any order and of any lengths.
            beam_size: Beam size; 1 is greedy search. Defaults to `search`.
            length_penalty: Exponent of the length penalty (Wu et al. 2016, eq. 14); 0 disables it.
                Defaults to `search`.
            max_length: Maximum target length in tokens, `</s>` included. Defaults to `search`.
                Translations are also limited to three times the source length plus 20.
            coverage_penalty: Weight of the coverage penalty (Wu et al. 2016, eq. 14), which ranks
                the hypotheses of the beam by how much of the source they attended to; 0 disables
                it. Defaults to `search`.
            diversity_penalty: Search diverse hypotheses, see `decoding.diverse_search`: penalty of
                a token that an earlier hypothesis of the beam took at the same step, in nats; 0
                disables it. Not with greedy search, a glossary or constraints. Defaults to
                `search`.
            batch_size: Sentences per batch.
            copy: Copy rare words from the source, see `Translation.copying`.
            shortlist: Restrict the softmax to the model's shortlist: faster, but some translations
                differ. Scores are log-probabilities over the shortlist.
            glossary: Terms that translations must contain, see `Glossary`. Texts without a term
                are translated as without a glossary; those with one by `constrained_search`.
            constraints: Phrases that the translations of each text must contain, besides those of
                the glossary: a list for each text.
            protect: What comes through unchanged, see `Protection`. Tokens, scores and attention
                of a `Translation` are those of the model, which does not see all of it.
            markup: Translate HTML or XLIFF; see `Protection`.
            stand_in: What the model sees of protected text; see `Protection`.

        Raises:
            TextTooLong: A text is longer than `MAX_SOURCE_LENGTH` tokens.
            ValueError: An option is out of range, there is no shortlist, markup is not
                well-formed, or the target vocabulary or `max_length` has no room for a phrase.
            RuntimeError: This process was forked after a model was loaded or run, or the model has
                other weights than before, as after `enable_lora` or `model.quantize`.
        """
        self._check(batch_size)
        search = self.search.replaced(
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_length=max_length,
            coverage_penalty=coverage_penalty,
            diversity_penalty=diversity_penalty,
        )
        self._decoder.check_options(search, copy)
        if glossary is not None or constraints is not None:
            check_constrained(search, copy)
        find = self._searches.search(search, shortlist)
        wanted = target_phrases(glossary, constraints) if protect or markup else ()
        protection = Protection(protect, markup=markup, stand_in=stand_in, wanted=wanted)
        plans = plan_texts(protection, texts)
        texts = [plan.text for plan in plans]
        rows = constraint_ids(
            text_constraints(texts, glossary, constraints),
            *(self.source_tokenizer, self.target_tokenizer, search.max_length),
        )

        def find_batch(ids: np.ndarray, batch: Sequence[int]) -> Hypotheses:
            if not rows[batch[0]]:
                return find(ids)
            return self._searches.constrained(search, shortlist)(ids, [rows[i] for i in batch])

        found = self._texts.searched(texts, find_batch, batch_size, copy, list(map(bool, rows)))
        return restore_all(plans, found)

    def sample(
        self,
        texts: Sequence[str],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
        first_line: int = 0,
        length_penalty: float | None = None,
        max_length: int | None = None,
        batch_size: int = 64,
        copy: bool = False,
        shortlist: bool = False,
    ) -> list[list[Translation]]:
        """Returns independent samples of the translations of each text, in the order drawn.

        The random numbers of a sample depend on the seed, the line number and the number of the
        sample, not on the other texts or the batch size. Scores are log-probabilities of the model
        at temperature 1, as in `nbest` without coverage penalty.

        Args:
            texts: See `nbest`.
            samples: Number of samples per text.
            temperature: The logits are divided by it; smaller values prefer likely tokens.
            top_k: Draw from this many most likely tokens at each step; `None` draws from all.
            seed: Seed of the random numbers, 0 to 2^64 - 1.
            first_line: Line number of the first text, for texts that arrive in parts, 0 to 2^63.
            length_penalty: See `nbest`; affects only the scores.
            max_length: See `nbest`.
            batch_size: See `nbest`.
            copy: See `nbest`.
            shortlist: See `nbest`.

        Raises:
            TextTooLong, ValueError, RuntimeError: See `nbest`.
        """
        self._check(batch_size)
        check_whole("samples", samples, most=MOST["beam_size"])
        check_seed(seed)
        check_whole("first_line", first_line, least=0, most=2**63)
        search = self.search.replaced(
            beam_size=samples,
            length_penalty=length_penalty,
            max_length=max_length,
            coverage_penalty=0.0,
            diversity_penalty=0.0,
        )
        sampling = SamplingOptions(temperature, top_k)
        self._decoder.check_options(search, copy)
        find = self._searches.samples(search, sampling, shortlist)

        def draw(ids: np.ndarray, batch: Sequence[int]) -> Hypotheses:
            numbers = np.stack(
                [uniform_numbers(seed, first_line + i, samples, search.max_length) for i in batch]
            )
            return find(ids, pad_rows(numbers, len(ids)))

        return self._texts.searched(texts, draw, batch_size, copy)

    def score(
        self,
        texts: Sequence[str],
        references: Sequence[str],
        *,
        length_penalty: float | None = None,
        coverage_penalty: float | None = None,
        batch_size: int = 64,
    ) -> list[Translation]:
        """Scores given translations (forced decoding): token scores and attention.

        Args:
            texts: Source sentences.
            references: One translation per sentence.
            length_penalty: See `nbest`.
            coverage_penalty: See `nbest`.
            batch_size: See `nbest`.

        Raises:
            TextTooLong: A text or a reference is longer than `MAX_SOURCE_LENGTH` tokens.
            ValueError: The numbers of texts and references differ, or an option is out of range.
            RuntimeError: See `nbest`.
        """
        if not isinstance(texts, (str, bytes)) and not isinstance(references, (str, bytes)):
            texts, references = list(texts), list(references)  # They may be generators.
        if len(texts) != len(references):
            raise ValueError(
                f"Expected one reference per text: got {len(texts)} texts and "
                f"{len(references)} references."
            )
        self._check(batch_size)
        search = self.search.replaced(
            length_penalty=length_penalty, coverage_penalty=coverage_penalty
        )
        self._decoder.check_options(search)
        force = self._searches.scores(search)
        ids = self._texts.source_ids(texts)
        targets = check_lengths(self._texts.target_ids(references), "reference")
        results: list[Translation | None] = [None] * len(ids)
        for batch in batches([s + t for s, t in zip(ids, targets, strict=True)], batch_size):
            scored = to_numpy(
                force(
                    pad([ids[i] for i in batch], batch_size),
                    pad([targets[i] for i in batch], batch_size),
                )
            )
            for row, i in enumerate(batch):
                results[i] = self._texts.translations(ids[i], scored, row)[0]
        return [result for result in results if result is not None]

    def embed(self, texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
        """Sentence vectors, float32, `(len(texts), annotation_units)`.

        `annotation_units` is `2 * encoder_units`, or `encoder_units` without backward encoder. Of
        an ensemble, the vectors of all models, one after the other. That of a blank text is zeros.

        Raises:
            TextTooLong, ValueError, RuntimeError: See `nbest`; `ValueError` also for NaN.
        """
        self._check(batch_size)
        ids = self._texts.source_ids(texts)
        result = np.zeros((len(ids), self._decoder.embedding_size), "float32")
        for batch in batches(ids, batch_size):
            result[batch] = keras.ops.convert_to_numpy(
                self._searches.embed(pad([ids[i] for i in batch], batch_size))
            )[: len(batch)]
        if np.isnan(result).any():
            raise ValueError(
                "A sentence vector is NaN: the weights of the encoder are damaged, or diverged in "
                "training: restore or train them again."
            )
        return result

    def _check(self, batch_size: int) -> None:
        check_process()
        check_whole("batch_size", batch_size)
        for parts in self._members:
            parts.check_weights()
