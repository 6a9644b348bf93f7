"""Runs a `.tflite` file; a reference implementation for apps in other languages.

Requires NumPy, ai-edge-litert and sentencepiece; neither TensorFlow nor Keras.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np

from keras_attn_nmt.checks import check_attention, check_whole
from keras_attn_nmt.decoding.coverage import coverage
from keras_attn_nmt.decoding.search_options import (
    SearchOptions,
    length_penalty,
    longest_translation,
)
from keras_attn_nmt.export.device_metadata import check_limits, check_model_digest, read_metadata
from keras_attn_nmt.export.interpreters import SIZED, Interpreters
from keras_attn_nmt.processes import LoadedInEachProcess
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.paragraphs import ParagraphTranslator
from keras_attn_nmt.text.protection import Protection, plan_texts, restore_all
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import IMPOSSIBLE, TextTooLong, Translation, copying_rare


class TFLiteTranslator(LoadedInEachProcess, ParagraphTranslator):
    """Translates with a `.tflite` file, like `Translator` with a model directory.

    It is thread-safe (each interpreter runs one call at a time) and fork-safe (each process opens
    its own interpreters).

    Args:
        path: The file.
        source_vocabulary: SentencePiece model of the source language; defaults to the file named in
            the metadata, in the same folder.
        target_vocabulary: Same for the target language.
        threads: Number of threads of an interpreter.
        jobs: Number of interpreters, each of which translates sentences of its own.

    Attributes:
        metadata: Metadata of the file: languages, vocabularies, limits.
        source_tokenizer: Tokeniser of the source language.
        rows: Number of sentences that greedy search translates at once.
        max_source_length: Maximum number of source tokens, `</s>` included.

    Raises:
        FileNotFoundError: The file or a vocabulary is missing.
        ValueError: The file is damaged or was not written by `export_tflite`, or a vocabulary is
            not the one it was trained with.

    Example:
        >>> translator = TFLiteTranslator("demo.tflite")
        >>> translator(["einundvierzig"])[0].text
        'forty-one'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        source_vocabulary: str | os.PathLike[str] | None = None,
        target_vocabulary: str | os.PathLike[str] | None = None,
        threads: int = 1,
        jobs: int = 1,
    ):
        check_whole("threads", threads)
        self._jobs = check_whole("jobs", jobs)
        path = Path(path)
        self.metadata = read_metadata(path)
        self.max_source_length: int = self.metadata["max_source_length"]
        # Older files do not say.
        self.has_attention: bool = self.metadata.get("attention", True)
        self.search = SearchOptions(
            self.metadata["beam_size"],
            self.metadata["length_penalty"],
            self.metadata["max_target_length"],
            # Older files have none.
            self.metadata.get("coverage_penalty", 0.0),
            self.metadata.get("diversity_penalty", 0.0),
        )
        given = {"source": source_vocabulary, "target": target_vocabulary}
        self.source_tokenizer, self._target_tokenizer = (
            self._vocabulary(side, path.parent, vocabulary) for side, vocabulary in given.items()
        )
        # Not re-read after a fork: the file at `path` may have been replaced.
        self._content = path.read_bytes()
        self._threads = threads
        try:
            check_model_digest(self._content, self.metadata)
            self._interpreter = Interpreters(self._content, threads, jobs)
            self._interpreter.check_shapes(self.max_source_length, self.search.beam_size)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is damaged: {error}. Export or download it again.") from error
        self.rows: int = max(self._interpreter.sizes, default=(1, 0))[0]

    def _run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        # In a forked process, an interpreter may be in use forever by a thread of the parent.
        if self._interpreter.process != os.getpid():
            self._interpreter = Interpreters(self._content, self._threads, self._jobs)
        return self._interpreter.run(signature, **inputs)

    def _vocabulary(
        self, side: str, folder: Path, given: str | os.PathLike[str] | None
    ) -> Tokenizer:
        path = Path(given or folder / self.metadata[f"{side}_vocabulary"])
        if not os.path.isfile(path):  # `is_file` raises for a name that is too long.
            raise FileNotFoundError(
                f"The {side} vocabulary {path} does not exist: keep it in the folder of the "
                ".tflite file, where the export wrote it."
            )
        return Tokenizer.load(path, self.metadata[f"{side}_vocabulary_sha256"])

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
        batch_size: int = 1,
        copy: bool = False,
        protect: Sequence[str] = (),
        markup: bool = False,
        stand_in: str | None = None,
    ) -> list[list[Translation]]:
        """Returns up to `beam_size` translations of each text, best first.

        Args:
            texts: Sentences. A blank text has one empty translation.
            beam_size: Beam size, at most that of the export, which is the default; 1 is greedy
                search. Both run entirely in the file; other options of a beam search take longer.
            length_penalty: Exponent of the length penalty (Wu et al. 2016, eq. 14);
                defaults to that of the export.
            max_length: Maximum target length in tokens, `</s>` included, at most that of the
                export, which is the default.
            coverage_penalty: See `Translator.nbest`; defaults to that of the export.
            diversity_penalty: See `Translator.nbest`; defaults to that of the export.
            batch_size: Ignored; a file that was exported with `bulk=True` translates 16 sentences
                of similar length at once in greedy search.
            copy: See `Translation.copying`.
            protect: See `Translator.nbest`.
            markup: See `Translator.nbest`.
            stand_in: See `Translator.nbest`.

        Raises:
            TextTooLong: A text exceeds the maximum source length of the export.
            ValueError: An option is out of range, `beam_size` is above 1 for a file with only the
                signature `translate`, or markup is not well-formed.
        """
        plans = plan_texts(Protection(protect, markup=markup, stand_in=stand_in), texts)
        texts = [plan.text for plan in plans]
        options = self.search.replaced(
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_length=max_length,
            coverage_penalty=coverage_penalty,
            diversity_penalty=diversity_penalty,
        )
        beam_size = options.beam_size
        check_attention(self.has_attention, coverage_penalty=options.coverage_penalty, copy=copy)
        if beam_size > 1 and "decode_step" not in self._interpreter.signatures:
            raise ValueError(
                f"beam_size must be 1, got {beam_size}: this file only has the signature translate "
                "(greedy search); export it with all signatures for beam search."
            )
        check_limits(self.metadata, beam_size, options.max_length)
        sources = []
        for index, (text, ids) in enumerate(
            zip(texts, self.source_tokenizer.encode(texts), strict=True)
        ):
            source = [] if is_blank(text) else [*ids, EOS]
            if len(source) > self.max_source_length:
                raise TextTooLong(index, len(source), self.max_source_length)
            sources.append(source)
        # Nothing to translate: one empty translation.
        found = [[self._translation([], [], [], np.zeros((0, 0), "float32"), options)]] * len(
            sources
        )
        if beam_size == 1:
            search, groups = self._greedy, self._groups(sources)
        else:
            search = self._beam
            groups = [[index] for index, source in enumerate(sources) if source]

        def translate(group: list[int]) -> list[list[Translation]]:
            return search([sources[index] for index in group], options)

        for group, results in zip(groups, self._in_parallel(translate, groups), strict=True):
            for index, hypotheses in zip(group, results, strict=True):
                found[index] = hypotheses
        return restore_all(plans, copying_rare(texts, found) if copy else found)

    def _in_parallel(
        self, translate: Callable[[list[int]], Any], groups: list[list[int]]
    ) -> Iterable[Any]:
        if self._jobs == 1:
            return map(translate, groups)
        with futures.ThreadPoolExecutor(self._jobs) as threads:
            return list(threads.map(translate, groups))

    def _groups(self, sources: list[list[int]]) -> list[list[int]]:
        """Indices of sentences to translate at once, of similar length."""
        rows, places = max(self._interpreter.sizes, default=(1, 0))
        if rows == 1:
            places = self.max_source_length
        present = [index for index, source in enumerate(sources) if source]
        order = sorted(present, key=lambda index: len(sources[index]))
        groups: list[list[int]] = []
        start = 0
        while start < len(order):
            group = order[start : start + rows]
            # A batch takes as long as about four single sentences, also if it is not full.
            if len(group) < rows / 4 or len(sources[group[-1]]) > places:
                group = group[:1]
            groups.append(group)
            start += len(group)
        return groups

    def _greedy(self, sources: list[list[int]], options: SearchOptions) -> list[list[Translation]]:
        sizes = [*self._interpreter.sizes, (1, self.max_source_length)]
        longest = max(map(len, sources))
        rows, places = min(each for each in sizes if each[0] >= len(sources) and each[1] >= longest)
        whole = (rows, places) == sizes[-1]
        signature = "translate" if whole else SIZED.format(rows, places)
        found = self._run(signature, source_ids=_padded(sources, rows, places))
        translations = []
        for row, source in enumerate(sources):
            most = min(options.max_length, longest_translation(len(source)))
            ids = found["target_ids"][row]
            tokens = ids[ids != PAD][:most].tolist()
            scores = found["token_scores"][row, : len(tokens)]
            attention = found["attention"][row]
            translations.append([self._translation(source, tokens, scores, attention, options)])
        return translations

    def _beam(self, sources: list[list[int]], options: SearchOptions) -> list[list[Translation]]:
        """Beam search in the file, if it has that of these options."""
        (source,) = sources
        if options != self.search or "translate_beam" not in self._interpreter.signatures:
            return [self._beam_by_step(source, options)]
        found = self._run("translate_beam", source_ids=self._padded_source(source))
        hypotheses = []
        for place, ids in enumerate(found["target_ids"][0]):
            # Positions of the beam that are not filled.
            if place and found["score"][0, place] < IMPOSSIBLE / 1000:
                break
            tokens = ids[ids != PAD].tolist()
            scores = found["token_scores"][0, place, : len(tokens)]
            attention = found["attention"][0, place]
            hypotheses.append(self._translation(source, tokens, scores, attention, options))
        return [hypotheses]

    def _beam_by_step(self, source: list[int], options: SearchOptions) -> list[Translation]:
        """Beam search as in `decoding.search`: finished hypotheses stay in the beam."""
        memory = self._run("encode", source_ids=self._padded_source(source))
        state = {name: memory.pop(name) for name in sorted(memory) if name.startswith("state_")}
        beam_width = self.search.beam_size
        state = {name: np.repeat(value, beam_width, axis=1) for name, value in state.items()}
        beam = [_Hypothesis([], [], [])]
        continuations = _continuations
        if options.diversity_penalty:
            beam *= options.beam_size
            continuations = _diverse_continuations
        for _ in range(min(options.max_length, longest_translation(len(source)))):
            if all(each.ended for each in beam):
                break
            last = [each.tokens[-1] if each.tokens else BOS for each in beam]
            tokens = np.full((1, beam_width), PAD, "int32")
            tokens[0, : len(beam)] = last
            found = self._run("decode_step", tokens=tokens, **state, **memory)
            rows = found["log_probabilities"][0], found["attention"][0]
            continued = continuations(beam, *rows, options)
            beam = [each for each, _ in continued]
            parents = [place for _, place in continued]
            parents += [0] * (beam_width - len(parents))
            state = {name: found[name][:, parents] for name in state}
        translations = [
            self._translation(
                source, each.tokens, each.token_scores, np.array(each.attention), options
            )
            for each in {tuple(each.tokens): each for each in beam}.values()
        ]
        return sorted(translations, key=lambda each: -each.score)

    def _padded_source(self, source: list[int]) -> np.ndarray:
        return _padded([source], 1, self.max_source_length)

    def _translation(
        self,
        source: list[int],
        tokens: list[int],
        token_scores: Any,
        attention: np.ndarray,
        options: SearchOptions,
    ) -> Translation:
        attention = attention[: len(tokens), : len(source)]
        score = float(np.sum(token_scores)) / length_penalty(len(tokens), options.length_penalty)
        return Translation(
            text=self._target_tokenizer.decode([tokens])[0],
            score=score + coverage(attention, options.coverage_penalty),
            source_tokens=self.source_tokenizer.pieces(source),
            target_tokens=self._target_tokenizer.pieces(tokens),
            token_scores=np.asarray(token_scores, "float32"),
            attention=attention,
        )


def _padded(sources: list[list[int]], rows: int, places: int) -> np.ndarray:
    ids = np.full((rows, places), PAD, "int32")
    for row, source in zip(ids, sources, strict=False):
        row[: len(source)] = source
    return ids


class _Hypothesis:
    """A partial translation: tokens with their log-probabilities and attention weights."""

    def __init__(self, tokens: list[int], token_scores: list[float], attention: list[np.ndarray]):
        self.tokens = tokens
        self.token_scores = token_scores
        self.attention = attention

    @property
    def ended(self) -> bool:
        return self.tokens[-1:] == [EOS]

    def extended(self, token: int, score: float, attention: np.ndarray) -> _Hypothesis:
        return _Hypothesis(
            [*self.tokens, token], [*self.token_scores, score], [*self.attention, attention]
        )

    def score(self, alpha: float) -> float:
        return float(np.sum(self.token_scores)) / length_penalty(len(self.tokens), alpha)


def _continuations(
    beam: list[_Hypothesis],
    log_probabilities: np.ndarray,
    attention: np.ndarray,
    options: SearchOptions,
) -> list[tuple[_Hypothesis, int]]:
    """The best continuations of all hypotheses, each with the place of its parent."""
    continued = []
    for place, each in enumerate(beam):
        if each.ended:
            continued.append((each, place))
            continue
        # PAD and BOS are excluded.
        scores = log_probabilities[place, EOS:]
        for token in np.argsort(-scores)[: options.beam_size]:
            child = each.extended(int(token) + EOS, scores[token], attention[place])
            continued.append((child, place))
    continued.sort(key=lambda pair: -pair[0].score(options.length_penalty))
    return continued[: options.beam_size]


def _diverse_continuations(
    beam: list[_Hypothesis],
    log_probabilities: np.ndarray,
    attention: np.ndarray,
    options: SearchOptions,
) -> list[tuple[_Hypothesis, int]]:
    """The continuation of each hypothesis, see `decoding.diverse_search`."""
    continued = []
    taken = np.zeros(log_probabilities.shape[1])
    for place, each in enumerate(beam):
        if not each.ended:
            scores = log_probabilities[place] - options.diversity_penalty * taken
            # PAD and BOS are excluded.
            token = int(np.argmax(scores[EOS:])) + EOS
            taken[token] += 1
            each = each.extended(token, log_probabilities[place, token], attention[place])
        continued.append((each, place))
    return continued
