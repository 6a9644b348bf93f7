"""A transform for pipelines of one's own: texts in, translations out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from keras_attn_nmt.bulk.models import BulkModel, BulkOptions, Outcome
from keras_attn_nmt.extras import extra

with extra("beam"):
    import apache_beam as beam
    from apache_beam.metrics import Metrics
    from apache_beam.utils.shared import Shared

NAMESPACE = "keras_attn_nmt"
# Texts that are grouped by length.
_FEWEST, _MOST = 16, 512


class SharedModel:
    """A model that is loaded once in each process, when it is first used there; picklable.

    Args:
        path: See `BulkModel`.
        options: See `BulkModel`.
    """

    def __init__(self, path: str, options: BulkOptions):
        self.path = path
        self.options = options
        self._shared = Shared()

    def get(self) -> BulkModel:
        return self._shared.acquire(lambda: BulkModel(self.path, self.options))


class Counters:
    """Metrics that a runner shows, in the namespace `keras_attn_nmt`."""

    def __init__(self) -> None:
        self.lines = Metrics.counter(NAMESPACE, "lines")
        self.failed = Metrics.counter(NAMESPACE, "failed_lines")
        self.cut = Metrics.counter(NAMESPACE, "translations_at_maximum_length")
        self.milliseconds = Metrics.distribution(NAMESPACE, "milliseconds_per_line")

    def count(self, outcomes: list[Outcome], seconds: float) -> None:
        self.lines.inc(len(outcomes))
        self.failed.inc(sum(bool(each.failure) for each in outcomes))
        self.cut.inc(sum(not each.best[0].complete for each in outcomes))
        if outcomes:
            self.milliseconds.update(round(1000 * seconds / len(outcomes)))


class Translate(beam.PTransform):
    """Translates a collection of texts, or of pairs of a key and a text.

    The result has a pair for each element: the text or the key, and an `Outcome`, whose `best` are
    the translations, best first, and whose `failure` says why a text has none. Elements are
    translated in batches of similar length. Each process loads the model once. Needs the extra
    `beam`.

    Args:
        model: A `.tflite` file, the folder of a SavedModel's version, or a model directory, which
            the workers can read: also `gs://` and other paths of Beam's file systems.
        n_best: Translations of each text.
        too_long: `"skip"` gives a too long text an empty translation and a failure, `"crop"`
            translates its beginning, `"split"` translates it in pieces.
        batch_size: Sentences per batch.
        search: Other options of `Translator.nbest`, such as `beam_size`.

    Example:
        >>> import apache_beam as beam
        >>> with beam.Pipeline("FnApiRunner") as pipeline:
        ...     _ = (
        ...         pipeline
        ...         | beam.Create(["einundvierzig"])
        ...         | Translate("demo.tflite")
        ...         | beam.MapTuple(lambda text, outcome: print(outcome.best[0].text))
        ...     )
        forty-one
    """

    def __init__(
        self,
        model: str,
        *,
        n_best: int = 1,
        too_long: str = "skip",
        batch_size: int = 64,
        **search: Any,
    ):
        super().__init__()
        options = BulkOptions(
            n_best=n_best, too_long=too_long, batch_size=batch_size, search=search
        )
        self._model = SharedModel(model, options)

    def expand(self, texts: beam.PCollection) -> beam.PCollection:
        """The translated collection."""
        batches = texts | beam.BatchElements(_FEWEST, _MOST)
        return batches | beam.ParDo(_TranslateBatch(self._model))


class _TranslateBatch(beam.DoFn):
    def __init__(self, model: SharedModel):
        self._model = model
        self._counters = Counters()

    def setup(self) -> None:
        self._loaded = self._model.get()

    def process(self, elements: list[Any]) -> Iterator[tuple[Any, Outcome]]:
        """The outcome of each element."""
        pairs = [each if isinstance(each, tuple) else (each, each) for each in elements]
        begin = time.perf_counter()
        outcomes = self._loaded.translate([text for _, text in pairs])
        self._counters.count(outcomes, time.perf_counter() - begin)
        for (key, _), outcome in zip(pairs, outcomes, strict=True):
            yield key, outcome
