"""The signatures of the SavedModel: text in, text and attention out, in dense tensors.

    text -> ids with EOS -> search (`decoding.search`) -> pieces, text

Results are independent of batch composition and padding. A text that cannot be translated therefore
does not raise an error, which would fail the whole batch:

- a blank text has an empty translation, with a score of 0;
- a text of more than `MAX_SOURCE_LENGTH` tokens has an empty translation too, but a score of
  `IMPOSSIBLE`, and `source_length` is its number of tokens; its sentence vector is all zeros, as
  for a blank text;
- bytes that are not UTF-8 are read as U+FFFD;
- constraints that cannot be met are counted, see `served_constraints`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from sentencepiece import sentencepiece_model_pb2

from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.constraints import PieceTables
from keras_attn_nmt.decoding.ensemble import decoder_of
from keras_attn_nmt.decoding.hypotheses import Found, Hypotheses, best_hypotheses
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export.client import CONSTRAINED
from keras_attn_nmt.export.served_constraints import read_constraints, search_with_constraints
from keras_attn_nmt.export.served_search import ServedOperations
from keras_attn_nmt.export.stepwise_decoder import StepwiseDecoder
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.text.blank import BLANK_PATTERN
from keras_attn_nmt.text.special_ids import EOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import IMPOSSIBLE, MAX_SOURCE_LENGTH


class ServedTranslator(tf.Module):
    """A model with its tokenisers, for `tf.saved_model.save`.

    Args:
        files: Output of `load_for_export`; several are an ensemble.
        options: Search options.
        shortlist: Optional vocabulary shortlist.
        constraints: Whether it has the signature `translate_constrained`.
        attention: The dtype of the attention, `"float32"` or `"float16"`, or `"none"`.
    """

    def __init__(
        self,
        files: Sequence[ModelFiles],
        options: SearchOptions,
        shortlist: Shortlist | None = None,
        constraints: bool = False,
        attention: str = "float32",
    ):
        super().__init__()
        # A Session restores only TensorFlow's variables, not those of Keras.
        self.variables_of_model = [weight.value for each in files for weight in each.model.weights]
        self.source = _TextSide(files[0].source_tokenizer)
        self.target = _TextSide(files[0].target_tokenizer)
        parts = [ModelParts.of(each.model) for each in files]
        # A shortlist makes its own copy of the selected columns.
        self.output_kernels = [None if shortlist else _output_kernel(each) for each in parts]
        if shortlist is not None:
            # One table, shared by all signatures.
            table = tf.Variable(shortlist.candidates, trainable=False, name="candidates")
            shortlist = shortlist._replace(candidates=table)
        self.shortlist = shortlist

        def decoder(kind: type[IncrementalDecoder]) -> _Untracked:
            pairs = zip(parts, self.output_kernels, strict=True)
            return _Untracked(decoder_of([kind(*pair, shortlist) for pair in pairs]))

        # `constrained_search` has a beam, whatever the beam size.
        self._beam_decoder = decoder(IncrementalDecoder)
        self._decoder = self._beam_decoder
        if options.beam_size == 1:
            self._decoder = decoder(StepwiseDecoder)
        self._attention = None if attention == "none" else attention
        self.has_attention = self._beam_decoder.value.has_attention
        # The coverage penalty is computed from it, also where it is left out of the answers.
        kept = "float32" if options.coverage_penalty else self._attention
        self._operations = _Untracked(ServedOperations(kept))
        self._options = options
        tables = PieceTables.of(files[0].target_tokenizer) if constraints else None
        self._tables = _Untracked(tables)
        # Three signatures share one traced search: tracing takes most of an export's time.
        ids = tf.TensorSpec([None, None], tf.int32, name="ids")
        self._found = _Untracked(tf.function(self._find, input_signature=[ids], autograph=False))

    def signatures(self) -> dict[str, Callable]:
        """The functions by name, each with its input signature."""
        text = tf.TensorSpec([None], tf.string, name="text")
        reference = tf.TensorSpec([None], tf.string, name="reference")

        def function(python_function: Callable, *specs: tf.TensorSpec) -> Callable:
            return tf.function(python_function, input_signature=specs, autograph=False)

        functions = {
            "serving_default": function(self.translate_with_attention, text),
            "translate": function(self.translate, text),
            "nbest": function(self.nbest, text),
            "score": function(self.score, text, reference),
            "embed": function(self.embed, text),
        }
        if self._tables.value is not None:
            constraints = tf.TensorSpec([None], tf.string, name="constraints")
            functions[CONSTRAINED] = function(self.translate_constrained, text, constraints)
        return functions

    def nbest(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """`beam_size` translations of each text, best first."""
        return self._search(text, keep=self._options.beam_size)

    def translate_with_attention(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation of each text, with attention."""
        return _first(self._search(text, keep=1))

    def translate(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best translation of each text and its score."""
        answers = _first(self._search(text, keep=1))
        return {name: answers[name] for name in ("translation", "score")}

    def _search(self, text: tf.Tensor, keep: int) -> dict[str, tf.Tensor]:
        source, source_length = self.source.read(text)
        found = self._best(source, keep)
        return self._answers(found, source, source_length)

    def _best(self, source: tf.Tensor, keep: int) -> Hypotheses:
        found = self._found.value(source)
        return best_hypotheses(found, source, self._options, keep)

    def _find(self, ids: tf.Tensor) -> Found:
        return searching.find(self._decoder.value, ids, self._options, self._operations.value)

    def translate_constrained(
        self, text: tf.Tensor, constraints: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The best translation of each text that contains given phrases, with attention."""
        source, source_length = self._read_pairs(text, constraints, "constraints")
        wanted, count = read_constraints(
            *(constraints, self.source.tokenizer, self.target.tokenizer),
            max_length=self._options.max_length,
        )
        found, met = search_with_constraints(
            *(self._beam_decoder.value, source, wanted, self._tables.value, self._options),
            *(self._operations.value, self._best),
        )
        answers = _first(self._answers(found, source, source_length))
        return {**answers, "constraints_missing": count - met}

    def score(self, text: tf.Tensor, reference: tf.Tensor) -> dict[str, tf.Tensor]:
        """Scores given translations."""
        source, source_length = self._read_pairs(text, reference, "reference")
        target, target_length = self.target.read(reference, keep_blank=True)
        scored = searching.score(
            self._decoder.value,
            source,
            target,
            self._options,
        )
        answers = _first(self._answers(scored, source, source_length, target_length))
        names = (
            *("score", "token_scores", "source_tokens", "target_tokens"),
            *("source_length", "target_length", "attention"),
        )
        return {name: answers[name] for name in names if name in answers}

    def embed(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """The sentence vectors of texts."""
        source, source_length = self.source.read(text)
        return {"embedding": self._decoder.value.embed(source), "source_length": source_length}

    def _read_pairs(
        self, text: tf.Tensor, other: tf.Tensor, name: str
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads texts, of which each has a row of another input."""
        same = tf.debugging.assert_equal(
            tf.shape(text), tf.shape(other), f"text and {name} must have equal length"
        )
        with tf.control_dependencies([same]):
            return self.source.read(text)

    def _answers(
        self,
        found: Hypotheses,
        source: tf.Tensor,
        source_length: tf.Tensor,
        target_length: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Hypotheses as outputs, cut to the longest one of the batch."""
        lengths = found.lengths
        width = tf.maximum(1, tf.reduce_max(lengths))
        tokens = found.tokens[:, :, :width]
        untranslated = tf.equal(tf.reduce_max(source, axis=1), PAD) & (source_length > 0)
        scores = tf.where(untranslated[:, tf.newaxis], IMPOSSIBLE, found.scores)
        if target_length is not None:
            unscored = tf.equal(lengths[:, 0], 0)
            scores = tf.where(unscored[:, tf.newaxis], IMPOSSIBLE, scores)
            lengths = target_length[:, tf.newaxis]
        attention = {}
        if self._attention is not None:
            attention["attention"] = tf.cast(found.attention[:, :, :width], self._attention)
        return {
            "translation": self.target.text(tokens, found.lengths),
            # Unfilled beam positions all have the same score.
            "score": tf.where(scores < IMPOSSIBLE / 1000, IMPOSSIBLE, scores),
            "token_scores": found.token_scores[:, :, :width],
            "source_tokens": self.source.pieces(source),
            "target_tokens": self.target.pieces(tokens),
            "source_length": source_length,
            "target_length": lengths,
            **attention,
        }


def _output_kernel(parts: ModelParts) -> tf.Variable | None:
    """A transposed copy of a tied embedding: a third less time for a batch or a beam."""
    if (tied := parts.tied_embedding) is None:
        return None
    kernel = keras.ops.transpose(tied.embeddings)
    return tf.Variable(kernel, trainable=False, name="output_kernel")


def _first(answers: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Selects the best hypothesis and drops the axis of hypotheses."""
    of_the_text = ("source_tokens", "source_length")
    return {name: value if name in of_the_text else value[:, 0] for name, value in answers.items()}


class _Untracked:
    """Hides Keras objects from `tf.Module`, which would save more than their weights."""

    def __init__(self, value: Any):
        self.value = value


class _TextSide(tf.Module):
    """A vocabulary in a graph."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        self.tokenizer = tokenizer.tf_tokenizer()
        # `detokenize` strips all leading spaces instead of only the first, if any: prepend a
        # visible piece and remove it afterwards.
        self._first_id, self._first_text = next(
            (number, text)
            for number in range(UNK + 1, tokenizer.vocabulary_size)
            if (text := tokenizer.decode([[number]])[0]).isprintable() and text.strip() == text
            if text
        )
        model = sentencepiece_model_pb2.ModelProto.FromString(  # type: ignore[attr-defined]
            tokenizer.model_proto
        )
        self._leading_space = _leading_space(model.normalizer_spec)

    def read(self, text: tf.Tensor, keep_blank: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Ids with EOS, `(batch, length)`, and their number, `(batch,)`, both int32.

        Rows of texts that are too long, or blank without `keep_blank`, contain only padding; the
        length of a blank text is 0.
        """
        text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", replacement_char=0xFFFD)
        ids = self.tokenizer.tokenize(text)
        lengths = tf.cast(ids.row_lengths(), tf.int32) + 1
        if not keep_blank:
            lengths = tf.where(tf.strings.regex_full_match(text, BLANK_PATTERN), 0, lengths)
        kept = tf.where(lengths > MAX_SOURCE_LENGTH, 0, lengths)
        width = tf.maximum(1, tf.reduce_max(kept))
        # At least as wide as the longest kept row, EOS included.
        dense = ids[:, : MAX_SOURCE_LENGTH + 1].to_tensor(PAD, shape=[None, MAX_SOURCE_LENGTH + 1])
        dense = dense[:, :width]
        last = tf.expand_dims(kept - 1, 1)
        position = tf.range(width)[tf.newaxis]
        dense = tf.where(position < last, dense, tf.where(position == last, EOS, PAD))
        return dense, lengths

    def pieces(self, ids: tf.Tensor) -> tf.Tensor:
        """The piece of each id, `""` at padding; ids of any shape."""
        found = self.tokenizer.id_to_string(tf.reshape(ids, [-1]))
        return tf.where(ids == PAD, "", tf.reshape(found, tf.shape(ids)))

    def text(self, ids: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Ids `(batch, hypotheses, length)` to texts, `(batch, hypotheses)`."""
        flat, counts = tf.reshape(ids, [-1, tf.shape(ids)[-1]]), tf.reshape(lengths, [-1])
        # Without EOS, which is at the end if it is there.
        last = tf.gather(flat, tf.maximum(counts - 1, 0), batch_dims=1)
        counts -= tf.cast((last == EOS) & (counts > 0), counts.dtype)
        first = tf.fill([tf.shape(flat)[0], 1], self._first_id)
        rows = tf.concat([first, tf.RaggedTensor.from_tensor(flat, counts)], axis=1)
        text = self.tokenizer.detokenize(rows)
        text = tf.strings.substr(text, len(self._first_text.encode()), -1)
        text = tf.strings.regex_replace(text, *self._leading_space)
        return tf.reshape(text, tf.shape(lengths))


def _leading_space(normalizer: Any) -> tuple[str, str]:
    """What `Tokenizer.decode` removes from the start of a text: pattern and replacement."""
    if normalizer.remove_extra_whitespaces:
        return "^ +", ""
    if normalizer.add_dummy_prefix:
        return "^ ", ""
    return "^ (\u2047)", r"\1"  # Only that of an unknown piece.
